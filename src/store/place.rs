//! Where answers come from, and whether they may be rested on (F6).

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::journal::{Journal, Lineage};
use super::{Store, StoreError};
use crate::verify::freshness::Identity;

/// The longest lease of a new dataset.
pub(super) const LEASE_CEILING: Duration = Duration::from_secs(5);

/// For how long a primary that was cut off may go on, unless it is configured: `min-replicas-max-lag` of Redis.
pub const REPLICA_MAX_LAG: Duration = Duration::from_secs(10);

/// How much longer than that an issuer waits where there are replicas (R4): Redis looks at them once a second.
const BEYOND_LAG: Duration = Duration::from_secs(2);

/// How long somebody else's lease of this length may last by our clock: clocks run at different speeds.
pub fn with_drift(length: Duration) -> Duration {
    length + length / 50 + Duration::from_millis(10)
}

/// Whether another server may hold a copy of the dataset, and have given leases that this one knows nothing of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Twins {
    /// None can: the store is private, held by the lock of the data directory.
    Impossible,
    /// One may. The journal names the server at which the wait of R4 is behind us, through restarts of this process.
    Possible,
}

/// What an issuer remembers, and how the store knows it.
#[derive(Debug, Clone)]
pub struct Remembering {
    /// What it has changed.
    pub journal: Arc<Journal>,
    /// Its configured name.
    pub name: String,
    /// Its id in the table of nodes, if it will stand there.
    pub node: Option<String>,
}

/// The server that was met.
#[derive(Debug, Clone)]
pub(super) struct Met {
    pub(super) identity: Identity,
    pub(super) lineage: Arc<Lineage>,
    /// When leases that another server had given are over by our clock. `None`: there are none.
    pub(super) settled_at: Option<Instant>,
    /// Whether it has all that our journal names.
    pub(super) is_raised: bool,
}

impl Store {
    /// Meets the store again where it has become another server. Nothing may rest on its answers before.
    pub async fn meet_again(&self) -> Result<(), StoreError> {
        self.met().await.map(|_| ())
    }

    /// Notes which server was met. R4: one that our journal does not name may follow upon another, whose leases it does not know.
    pub(super) fn note_met(&self, identity: Identity, lineage: Arc<Lineage>, created: bool, ceiling: Duration) {
        let mut here = self.here.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(met) = here.as_mut().filter(|met| met.identity == identity) {
            met.lineage = lineage;
            return;
        }
        let is_settled = match self.options.twins {
            Twins::Impossible => true,
            // Nobody can hold a lease of a dataset that was not there before.
            Twins::Possible if created => {
                self.name_server(identity.as_str());
                true
            }
            Twins::Possible => {
                let file = self.remembering().map(|it| it.journal.server_file());
                let named = file.and_then(|path| std::fs::read_to_string(path).ok());
                named.is_some_and(|named| named.trim_end() == identity.as_str())
            }
        };
        // Whoever comes back to the server that is named must not find it named, when leases of this one are not over.
        if !is_settled {
            self.name_server("another server");
        }
        let lag = if self.options.replicated { self.options.replica_max_lag + BEYOND_LAG } else { Duration::ZERO };
        let settled_at = (!is_settled).then(|| self.clock.monotonic() + with_drift(ceiling) + lag);
        *here = Some(Met { identity, lineage, settled_at, is_raised: false });
    }

    /// Whether this is the server that was met. Where it is not, it is met again before the next change.
    pub fn is_here(&self, identity: &Identity) -> bool {
        let is_here = self.here().is_some_and(|met| met.identity == *identity);
        if !is_here {
            self.unmet();
        }
        is_here
    }

    /// The server that was met last.
    pub(super) fn here(&self) -> Option<Met> {
        self.here.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// How long it still takes until no lease of another server than the one that was met can be left (R4). `None`: there is
    /// none.
    pub fn settles_in(&self) -> Option<Duration> {
        let mut here = self.here.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let met = here.as_mut()?;
        let left = met.settled_at?.saturating_duration_since(self.clock.monotonic());
        if left.is_zero() {
            met.settled_at = None;
            self.name_server(met.identity.as_str());
            return None;
        }
        Some(left)
    }

    /// What this issuer remembers.
    pub(super) fn remembering(&self) -> Option<&Remembering> {
        self.options.remembering.as_ref()
    }

    fn name_server(&self, named: &str) {
        let (Twins::Possible, Some(Remembering { journal, .. })) = (self.options.twins, self.remembering()) else {
            return;
        };
        let path = journal.server_file();
        // Without it the next start waits once more.
        if let Err(error) = crate::durable::write_for_owner(&path, format!("{named}\n").as_bytes(), 0o644) {
            tracing::warn!(%error, path = %path.display(), "the server could not be named in the journal");
        }
    }
}
