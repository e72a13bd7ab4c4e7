//! Every decision of the product, without HTTP.

mod accounts;
mod activity;
mod bootstrap;
mod call;
mod checks;
mod error;
mod flights;
mod follower;
mod guessing;
mod keys;
mod metrics;
mod receipts;
mod recorder;
mod recover;
mod roles;
mod tokens;
mod upkeep;
mod usage;
mod verification;

use std::sync::Arc;
use std::time::Duration;

pub use accounts::{AccountFilter, AccountPage, AccountPatch, NewAccount};
pub use activity::{Ending, EventPage};
pub use bootstrap::{BootstrapError, Fate, Startup};
pub use call::{Act, Call, CallRecord, Original};
pub use error::{AccountRef, Error, FieldError};
pub use follower::Follower;
pub use guessing::Guessing;
pub use keys::{KeyView, NextStep};
pub use metrics::Metrics;
pub use receipts::Receipt;
pub use recorder::{Full, Recorder, Writer};
pub use recover::recover;
pub use roles::Changed;
pub use tokens::MAX_OVERLAP;
pub use tokens::{Issued, RevokeError, SelfToken, SelfView};
pub use upkeep::Upkeep;
pub use usage::Usage;
pub use verification::Refused;

use crate::account::Audience;
use crate::clock::Clock;
use crate::keyring::Keys;
use crate::store::{Dataset, Store};
use crate::verify::Decider;
use crate::verify::freshness::Freshness;
use flights::Flights;
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
}

/// The one that decides.
pub struct Authority {
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    keys: Arc<Keys>,
    verifier: Decider<dyn Clock>,
    freshness: Freshness,
    flights: Flights,
    tables: Tables,
    recorder: Arc<Recorder>,
    guessing: Guessing,
    metrics: Arc<Metrics>,
    settings: Settings,
    dataset: Dataset,
    own_audience: Audience,
}

impl Authority {
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

    /// What this node knows, and for how long it may decide by it.
    pub fn freshness(&self) -> &Freshness {
        &self.freshness
    }

    /// The keys.
    pub fn keys(&self) -> &Arc<Keys> {
        &self.keys
    }

    /// Where events go.
    pub fn recorder(&self) -> &Arc<Recorder> {
        &self.recorder
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
