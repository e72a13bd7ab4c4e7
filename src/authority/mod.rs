//! Every decision of the product, without HTTP.

mod accounts;
mod activity;
mod acts;
mod archive;
mod audit_status;
pub mod backup;
mod bootstrap;
mod call;
mod checkpoints;
mod checks;
mod error;
mod export;
mod home;
mod key_acts;
mod key_uses;
mod keys;
mod master_key;
mod metrics;
mod new_key;
mod overview;
mod passwords;
mod precondition;
mod raise;
mod receipts;
mod recorder_metrics;
mod recover;
mod role_preview;
mod roles;
mod rotation;
mod sessions;
mod shares;
mod tail;
mod tokens;
mod upkeep;
mod usage;
mod users;
mod verification;

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;

pub use accounts::{AccountFilter, AccountPage, AccountPatch, NewAccount};
pub use activity::EventPage;
pub use archive::{Archive, ArchivePlace, Archiving, NotArchived};
pub use audit_status::{
    ArchiveStatus, AuditStatus, ChainEnd, ChainState, LastCheckpoint, LostBlock, SinkStatus, StreamStatus,
};
pub use bootstrap::{BootstrapError, Fate, Startup};
pub use call::Act;
pub use checkpoints::{Checkpoints, NoCheckpoint};
pub use error::{AccountRef, Error};
pub use export::{ExportMark, Exporting};
pub use home::Issuer;
pub use key_acts::{ChangedKey, KeyToPrepare};
pub use key_uses::{BlastRadius, KeyDetail, KeyUser, Recount, RecountedKey};
pub use keys::{KeyView, NextStep, PublishedKeys};
pub use master_key::MasterKeyChange;
pub use metrics::{Metrics, VERIFY};
pub use overview::{
    AccountStates, AccountsOverview, AuditHealth, CallsAt, CallsOverview, Census, DeadTokenUser, GivenReceipt,
    NextRotation, NodesOverview, Overview, RotationStep, SigningOverview,
};
pub use passwords::{PASSWORD_LENGTH, Password};
pub use precondition::{Precondition, Versions};
pub use receipts::Receipt;
pub use recover::recover;
pub use role_preview::{AffectedAccount, GrantChange, RolePreview};
pub use roles::Changed;
pub use sessions::{Begun, KNOWN_FOR, SessionSettings, SessionView};
pub use tail::{Looking, PlaceToLook, Told};
pub use tokens::MAX_OVERLAP;
pub use tokens::{Issued, RevokeError, SelfSession, SelfToken, SelfView};
pub use upkeep::Upkeep;
pub use usage::{Count, DeadToken, HourUsage, Usage};
pub use users::{Invited, Link, NewUser, PasswordSet};

use crate::account::Audience;
use crate::audit::kinds;
use crate::clock::Clock;
use crate::keyring::Keys;
use crate::node::{Call, Ending, Full, Node, Recorded, Recorder, Refused};
use crate::store::{Dataset, Lately, Store};
use crate::token::Algorithm;
use receipts::Tables;

/// What is configured.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Lifetimes that may be asked for, in calendar months, ascending.
    pub valid_for_months: Vec<u32>,
    /// How old the state behind a decision may be.
    pub max_staleness: Duration,
    /// The most bytes that states of accounts may take in memory.
    pub account_cache_bytes: u64,
    /// Issuers whose tokens are good too: former ones of this dataset.
    pub also_accept_issuers: Vec<String>,
    /// How long a deleted account's name stays taken.
    pub name_retention: Duration,
    /// Memory for tokens whose signature is known, in bytes; 0: none.
    pub signature_cache_bytes: u64,
    /// Whether calls are recorded, and not only what administers, exposes or guesses.
    pub records_calls: bool,
    /// How signing keys come and go.
    pub signing: SigningSettings,
    /// Whether the audit is archived.
    pub archive: Archive,
    /// How long sessions of people go on.
    pub sessions: SessionSettings,
}

/// How signing keys come and go.
#[derive(Debug, Clone)]
pub struct SigningSettings {
    /// Of new keys.
    pub algorithm: Algorithm,
    /// How long a key is published before it signs, so that every cache of the key set has it (K1).
    pub publish_ahead: TimeDelta,
    /// How long a key signs before the next one does; `None`: until somebody activates another.
    pub rotate_every: Option<TimeDelta>,
}

/// So many may look on at the audit at once.
const LOOKERS: usize = 32;
/// So many of them for one account.
const LOOKS: usize = 8;
/// So many exports may be under way at once: each reads as fast as it is read.
const EXPORTS: usize = 4;

/// The one that decides.
pub struct Authority {
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    keys: Arc<Keys>,
    node: Arc<Node<Issuer>>,
    tables: Tables,
    /// That it holds everywhere.
    held: Lately,
    recounting: tokio::sync::Mutex<()>,
    places_to_look: Arc<tokio::sync::Semaphore>,
    looks: Arc<shares::Shares>,
    places_to_export: Arc<tokio::sync::Semaphore>,
    metrics: Arc<Metrics>,
    passwords: passwords::Passwords,
    settings: Settings,
    dataset: Dataset,
    own_audience: Audience,
}

impl Authority {
    /// The id of the dataset.
    pub fn dataset_id(&self) -> &str {
        &self.dataset.id
    }

    /// The issuer URL of the dataset.
    pub fn issuer(&self) -> &str {
        &self.dataset.issuer
    }

    /// The audience of Countermark's own API, and of accounts that name none.
    pub fn own_audience(&self) -> &Audience {
        &self.own_audience
    }

    /// The lifetimes that may be asked for, in calendar months, ascending.
    pub fn lifetimes(&self) -> &[u32] {
        &self.settings.valid_for_months
    }

    /// The store; for readiness and upkeep.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// This process as a node.
    pub fn node(&self) -> &Arc<Node<Issuer>> {
        &self.node
    }

    /// The keys.
    pub fn keys(&self) -> &Arc<Keys> {
        &self.keys
    }

    /// Records how a call ended.
    pub fn record(&self, call: &Call, ending: Ending<'_>) -> Result<Recorded, Full> {
        if !self.settings.records_calls && call.record().kind() == Some(kinds::CALL) {
            return Ok(Recorded::at_once());
        }
        self.node.record(call, ending)
    }

    fn recorder(&self) -> &Recorder {
        self.node.recorder()
    }

    /// What is counted.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// The clock.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }
}
