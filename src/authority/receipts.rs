//! From when on a change holds everywhere (protocols, section 3).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::{Authority, Error};
use crate::account::AccountId;
use crate::clock::rfc3339;
use crate::epoch::Epoch;
use crate::store::{Committed, NodeLease, Store, StoreError, Table, for_one_request, with_drift};

/// From when on a change holds everywhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Receipt {
    /// The epoch of the change.
    pub epoch: Epoch,
    /// From then on no node accepts what the change ended.
    #[serde(with = "rfc3339")]
    pub effective_at: DateTime<Utc>,
    /// Nodes that reported to have applied it. Nodes that look everything up need no acknowledgement.
    pub nodes_acknowledged: u64,
    /// Nodes whose lease ran out before they did.
    pub nodes_expired: u64,
    /// Replicas that confirmed it.
    pub replicas: u64,
    /// What the answer waited for all that, in milliseconds.
    pub waited_ms: u64,
}

/// How long it may take to read the table once nothing else is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often one change is begun anew because the store has become another server meanwhile.
pub(super) const TRIES: usize = 3;

/// Why a change is not known to hold everywhere.
pub(super) enum NotHeld {
    /// The store has become another server since.
    OtherServer,
    /// It can't be read.
    Away(StoreError),
}

/// The store is not the same server for long enough.
pub(super) fn changes_servers() -> StoreError {
    StoreError::Uncertain("the store became another server time and again".into())
}

impl Receipt {
    /// Of a change before which there was nothing that a node could know.
    pub(super) fn of_the_first(committed: &Committed, now: DateTime<Utc>) -> Self {
        Self {
            epoch: committed.epoch,
            effective_at: now,
            nodes_acknowledged: 0,
            nodes_expired: 0,
            replicas: committed.replicas,
            waited_ms: u64::try_from(committed.waited.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

/// The table of nodes, read for all who wait for it at once.
#[derive(Default)]
pub(super) struct Tables {
    /// Readings that were begun.
    begun: AtomicU64,
    /// The last one, and its number among them.
    last: Mutex<(u64, Option<Reading>)>,
}

type Reading = Result<Arc<Table>, String>;

impl Authority {
    /// Whether a change that was made some time ago was known to every node when the store told of it.
    pub(super) fn is_known_everywhere(&self, told: &Committed) -> bool {
        let is_known = |lease: &NodeLease| lease.length.is_zero() || lease.applied >= told.epoch;
        self.store.is_here(&told.identity) && self.store.settles_in().is_none() && told.leases.iter().all(is_known)
    }

    /// Waits until the last change of an account, also of one that was deleted, is noted and holds everywhere: for whoever repeats an act
    /// of this kind and finds it done. Whoever did it was perhaps not answered, or still waits. `NotFound`: there never was such an account.
    pub(super) async fn is_held(&self, account: AccountId, kind: &str) -> Result<(), Error> {
        let failed = |error: StoreError| Error::of_account(error).after(kind);
        for _ in 0..TRIES {
            if self.was_held(account).await {
                return Ok(());
            }
            let committed = self.store.last_change(account).await.map_err(failed)?;
            let held = if self.is_known_everywhere(&committed) {
                Ok(())
            } else {
                self.held_everywhere(&committed, None).await.map(|_| ())
            };
            match held {
                Ok(()) => {
                    self.held.keep(account, &committed.identity, committed.epoch);
                    return Ok(());
                }
                Err(NotHeld::OtherServer) => {}
                Err(NotHeld::Away(error)) => return Err(failed(error)),
            }
        }
        Err(failed(changes_servers()))
    }

    /// Whether that was found before, of what still is the last change, at the same server. Holding a dead token is enough to ask: whoever
    /// shows it time and again would keep those waiting who change something, of whom one at a time waits for replicas.
    async fn was_held(&self, account: AccountId) -> bool {
        if !self.held.has_any(account) {
            return false;
        }
        let Ok(found) = self.store.look_up(account).await else { return false };
        let here = &found.place.identity;
        let is_held = found.record.is_some_and(|record| self.held.has(account, here, record.version));
        is_held && self.store.is_here(here) && self.store.settles_in().is_none()
    }

    /// Waits until a change holds everywhere: each node that had a lease at the commit has reported its epoch, or its lease is
    /// over by our clock, and the store is still the same server.
    pub(super) async fn held_everywhere(
        &self,
        committed: &Committed,
        ends: Option<DateTime<Utc>>,
    ) -> Result<Receipt, NotHeld> {
        // Since the commit's reply: any lease that was given before is over when its length has passed from here.
        let since = self.clock.monotonic();
        let mut waiting: BTreeMap<&str, Duration> = committed
            .leases
            .iter()
            .filter(|lease| !lease.length.is_zero())
            .map(|lease| (lease.id.as_str(), with_drift(lease.length)))
            .collect();
        let (mut acknowledged, mut expired) = (0, 0);
        let mut pause = Duration::from_millis(1);
        let mut only_the_table_since: Option<tokio::time::Instant> = None;
        loop {
            let now = self.clock.monotonic();
            let elapsed = now.saturating_duration_since(since);
            waiting.retain(|_, bound| {
                let is_over = elapsed >= *bound;
                expired += u64::from(is_over);
                !is_over
            });
            // R4: leases of a server that came before this one may not stand in its table.
            if !self.store.is_here(&committed.identity) {
                return Err(NotHeld::OtherServer);
            }
            let settling = self.store.settles_in();
            match self.tables.read(&self.store).await {
                Ok(table) => {
                    // The same read shows who has acknowledged and which server says so; whoever has gone from the table has
                    // not acknowledged.
                    if table.place.identity != committed.identity {
                        return Err(NotHeld::OtherServer);
                    }
                    for lease in &table.leases {
                        if lease.applied >= committed.epoch && waiting.remove(lease.id.as_str()).is_some() {
                            acknowledged += 1;
                        }
                    }
                    if waiting.is_empty() && settling.is_none() {
                        break;
                    }
                }
                Err(why) if waiting.is_empty() && settling.is_none() => {
                    let began = *only_the_table_since.get_or_insert_with(tokio::time::Instant::now);
                    if began.elapsed() >= PATIENCE {
                        return Err(NotHeld::Away(StoreError::Uncertain(why)));
                    }
                }
                Err(_) => {}
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 3 / 2).min(Duration::from_millis(20));
        }
        let now = self.clock.now();
        let waited = committed.waited + self.clock.monotonic().saturating_duration_since(since);
        Ok(Receipt {
            epoch: committed.epoch,
            effective_at: ends.filter(|ends| *ends > now).unwrap_or(now),
            nodes_acknowledged: acknowledged,
            nodes_expired: expired,
            replicas: committed.replicas,
            waited_ms: u64::try_from(waited.as_millis()).unwrap_or(u64::MAX),
        })
    }
}

impl Tables {
    /// The table as it was now or later: by a reading that began after this was asked for.
    async fn read(&self, store: &Store) -> Reading {
        let begun = self.begun.load(Ordering::SeqCst);
        let mut last = self.last.lock().await;
        if let (number, Some(reading)) = &*last
            && *number > begun
        {
            return reading.clone();
        }
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        // Not on the time of the request: it waits for the nodes, not for the store.
        let reading = for_one_request(store.table()).await.map(Arc::new).map_err(|error| error.to_string());
        *last = (number, Some(reading.clone()));
        reading
    }
}
