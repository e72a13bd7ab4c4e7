//! Where answers come from, and whether they may be rested on (F6).

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::{Store, StoreError};
use crate::verify::freshness::Identity;

/// The longest lease of a new dataset.
pub(super) const LEASE_CEILING: Duration = Duration::from_secs(5);

/// How much longer an issuer waits where there are replicas (R4): as long as a cut-off primary may go on, and two seconds.
const REPLICATED: Duration = Duration::from_secs(10 + 2);

/// How long somebody else's lease of this length may last by our clock: clocks run at different speeds.
pub fn with_drift(length: Duration) -> Duration {
    length + length / 50 + Duration::from_millis(10)
}

/// Whether another server may hold a copy of the dataset, and have given leases that this one knows nothing of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Twins {
    /// None can: the store is private, held by the lock of the data directory.
    Impossible,
    /// One may. The journal names the server at which the wait of R4 is behind us, through restarts of this process.
    Possible {
        /// A file in the data directory. `None`: nothing is remembered.
        journal: Option<PathBuf>,
    },
}

/// The server that was met.
#[derive(Debug, Clone)]
pub(super) struct Met {
    pub(super) identity: Identity,
    /// When leases that another server had given are over by our clock. `None`: there are none.
    pub(super) settled_at: Option<Instant>,
}

impl Store {
    /// Meets the store again where it has become another server. Nothing may rest on its answers before.
    pub async fn meet_again(&self) -> Result<(), StoreError> {
        self.met().await.map(|_| ())
    }

    /// Notes which server was met. R4: one that our journal does not name may follow upon another, whose leases it does not know.
    pub(super) fn note_met(&self, identity: Identity, created: bool, ceiling: Duration) {
        let mut here = self.here.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if here.as_ref().is_some_and(|met| met.identity == identity) {
            return;
        }
        let is_settled = match &self.options.twins {
            Twins::Impossible => true,
            // Nobody can hold a lease of a dataset that was not there before.
            Twins::Possible { .. } if created => {
                self.write_journal(identity.as_str());
                true
            }
            Twins::Possible { journal } => journal
                .as_ref()
                .and_then(|path| std::fs::read_to_string(path).ok())
                .is_some_and(|named| named.trim_end() == identity.as_str()),
        };
        // Whoever comes back to the server that is named must not find it named, when leases of this one are not over.
        if !is_settled {
            self.write_journal("another server");
        }
        let replicated = if self.options.replicas_required > 0 { REPLICATED } else { Duration::ZERO };
        let settled_at = (!is_settled).then(|| self.clock.monotonic() + with_drift(ceiling) + replicated);
        *here = Some(Met { identity, settled_at });
    }

    /// Whether this is the server that was met. Where it is not, it is met again before the next change.
    pub fn is_here(&self, identity: &Identity) -> bool {
        let here = self.here.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let is_here = here.as_ref().is_some_and(|met| met.identity == *identity);
        if !is_here {
            self.unmet();
        }
        is_here
    }

    /// How long it still takes until no lease of another server than the one that was met can be left (R4). `None`: there is
    /// none.
    pub fn settles_in(&self) -> Option<Duration> {
        let mut here = self.here.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let met = here.as_mut()?;
        let left = met.settled_at?.saturating_duration_since(self.clock.monotonic());
        if left.is_zero() {
            met.settled_at = None;
            self.write_journal(met.identity.as_str());
            return None;
        }
        Some(left)
    }

    fn write_journal(&self, named: &str) {
        let Twins::Possible { journal: Some(path) } = &self.options.twins else { return };
        // Without it the next start waits once more.
        if let Err(error) = crate::durable::write(path, format!("{named}\n").as_bytes(), 0o644) {
            tracing::warn!(%error, path = %path.display(), "the journal could not be written");
        }
    }
}
