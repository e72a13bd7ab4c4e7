//! The only code that speaks Redis. What must be right whatever happens at the same time is right inside Redis: the scripts
//! in `scripts/` check and write at once. [`schema`] names every key.
//!
//! [`NodeStore`] is what every node has that verifies; `Store`, the service's, changes things.

#[cfg(feature = "server")]
mod account_index;
#[cfg(feature = "server")]
mod account_reads;
#[cfg(feature = "server")]
mod account_record;
#[cfg(feature = "server")]
mod accounts;
#[cfg(feature = "server")]
mod acts;
mod append;
#[cfg(feature = "server")]
mod archive;
#[cfg(feature = "server")]
mod audit;
#[cfg(feature = "server")]
mod backup;
#[cfg(feature = "server")]
mod calls;
#[cfg(feature = "server")]
mod catalogue;
#[cfg(feature = "server")]
mod checkpoints;
mod cluster;
#[cfg(feature = "server")]
mod data_dir;
mod definition;
mod error;
#[cfg(feature = "server")]
mod examine;
#[cfg(feature = "server")]
mod examine_servers;
mod feed;
#[cfg(feature = "server")]
mod filler;
mod greeting;
mod guides;
#[cfg(feature = "server")]
mod issuer;
#[cfg(feature = "server")]
mod issuers;
#[cfg(feature = "server")]
pub mod journal;
#[cfg(feature = "server")]
mod key_uses;
#[cfg(feature = "server")]
mod keyring;
mod kinds;
mod lane;
#[cfg(feature = "server")]
mod lately;
mod lease;
mod lenient;
mod link;
#[cfg(feature = "server")]
mod listing;
mod lookups;
#[cfg(feature = "server")]
mod meeting;
mod node_rights;
mod node_store;
#[cfg(feature = "server")]
mod nodes;
#[cfg(feature = "server")]
mod noted;
#[cfg(feature = "server")]
mod overview;
#[cfg(feature = "server")]
mod place;
#[cfg(feature = "server")]
mod private;
#[cfg(feature = "server")]
mod recount;
#[cfg(feature = "server")]
mod rights;
#[cfg(feature = "server")]
mod roles;
pub mod schema;
mod scripts;
mod sentinels;
#[cfg(feature = "server")]
mod sessions;
mod several;
#[cfg(feature = "server")]
mod sinks;
#[cfg(feature = "server")]
mod standing;
mod state;
#[cfg(feature = "server")]
mod tail;
mod target;
mod url;
#[cfg(feature = "server")]
mod usage;
#[cfg(feature = "server")]
mod waiting;
mod wire;

#[cfg(feature = "server")]
pub use account_record::{IssuedToken, LiveToken, Profile, StoredAccount, StoredLink, StoredPassword};
#[cfg(feature = "server")]
pub use accounts::{AccountChange, Admin, Author, Setup};
pub use append::{ActEntry, Acts, Block, BlockEntry, Claimed, Head};
#[cfg(feature = "server")]
pub use archive::{ArchiveCursor, StoredCursor, Unarchived, audit_streams, before_entry};
#[cfg(feature = "server")]
pub use audit::{AuditCursor, AuditFilter, Trail};
#[cfg(feature = "server")]
pub use backup::{AccountTexts, AtLast, Begun, ChangedSince, Moment, RestoredAccount, RestoredAct, Standing, Texts};
#[cfg(feature = "server")]
pub use calls::{CallCounts, CallsInTime};
#[cfg(feature = "server")]
pub use catalogue::Entry;
#[cfg(feature = "server")]
pub use checkpoints::{ACTS, StoredAct, StoredBlock, comes_before, just_before, stream_of};
#[cfg(feature = "server")]
pub use data_dir::{DataDir, DataDirError};
pub use error::{Full, StoreError};
#[cfg(feature = "server")]
pub use examine::{Backlog, Examiner};
#[cfg(feature = "server")]
pub use examine_servers::{Asked, ClusterServers, Facts, SentinelFacts, ServerFacts};
pub use feed::Followed;
#[cfg(feature = "server")]
pub use filler::Filler;
#[cfg(feature = "server")]
pub use issuer::{Committed, Options, Retention, Store};
#[cfg(feature = "server")]
pub use issuers::{Forgetting, KnownIssuer};
#[cfg(feature = "server")]
pub use journal::{Journal, JournalError};
#[cfg(feature = "server")]
pub use key_uses::CallsOfKey;
#[cfg(feature = "server")]
pub use keyring::KeyringChange;
#[cfg(feature = "server")]
pub(crate) use lately::Lately;
pub use lease::{Introduction, Renewal, Renewed};
pub use link::for_one_request;
#[cfg(feature = "server")]
pub use listing::{List, Listing, Page};
#[cfg(feature = "server")]
pub use meeting::{MeetError, ToRaise};
pub use node_store::{NodeOptions, NodeStore, NotRecognised, Recognised};
#[cfg(feature = "server")]
pub use nodes::{Node, NodeLease, Table};
#[cfg(feature = "server")]
pub use noted::Note;
#[cfg(feature = "server")]
pub use place::{REPLICA_MAX_LAG, Remembering, Twins, with_drift};
#[cfg(feature = "server")]
pub(crate) use private::is_running;
#[cfg(feature = "server")]
pub use private::{PrivateRedis, PrivateRedisError, Space, private_binary, private_socket};
#[cfg(feature = "server")]
pub use roles::{Named, NamedChange, NamedKind, role_definition, stored_role, team_definition};
use schema::Schema;
#[cfg(feature = "server")]
pub use sessions::{StoredSession, Tries};
#[cfg(feature = "server")]
pub use sinks::{Missed, NextForSink, SinkCursor};
#[cfg(feature = "server")]
pub use standing::{SinkStanding, Stream, written_at};
#[cfg(feature = "server")]
pub use tail::{TailPosition, Tailed};
pub use target::{Address, Place, SentinelAccess, Target};
pub use url::{HostPort, RedisUrl, Servers};
#[cfg(feature = "server")]
pub use usage::RolledUp;
pub(crate) use wire::client_config as tls_config;

#[cfg(feature = "server")]
use issuer::refused;

use crate::epoch::Epoch;

/// The store won't do until somebody changes something: a clear refusal to start.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

/// What is fixed in the dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset {
    /// Its own id.
    pub id: String,
    /// The issuer URL.
    pub issuer: String,
    /// The epoch when it was met.
    pub epoch: Epoch,
}
