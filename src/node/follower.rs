//! What keeps a node's memory fresh: it follows the feed, reports what it has applied, and renews its lease (protocols,
//! section 2).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::{Home, Node};
use crate::store::{Followed, Introduction, Renewal, Renewed, StoreError};
use crate::told::Told;
use crate::verify::freshness::{Change, Freshness, Memory, RENEWALS_PER_LEASE, Unusable};

/// How often a node without a lease says that it is there.
const ANNOUNCE: Duration = Duration::from_secs(5);

/// Renewals that may be under way at once.
const IN_FLIGHT: usize = 8;

/// How long it is until the next try after one that failed.
const PAUSE: Duration = Duration::from_millis(20);

/// And where the keys could not be read, which is told each time.
const PAUSE_FOR_KEYS: Duration = Duration::from_millis(500);

/// One node's part.
pub struct Follower<H: Home> {
    node: Arc<Node<H>>,
    node_id: String,
    introduction: Introduction,
    /// A memory has begun, and needs a lease.
    begun: Notify,
}

impl<H: Home> Follower<H> {
    /// Of this node. `node_id` is this process' alone; `address` is where it listens, for people.
    pub fn new(node: Arc<Node<H>>, node_id: String, address: String) -> Self {
        let introduction = Introduction {
            name: node.recorder().node().to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            address,
        };
        Self { node, node_id, introduction, begun: Notify::new() }
    }

    /// Works until it is stopped; then drops its lease and says goodbye.
    pub async fn run(self, stop: CancellationToken) {
        let me = Arc::new(self);
        tokio::select! {
            () = stop.cancelled() => {}
            () = async { tokio::join!(me.follow(), Arc::clone(&me).renew()); } => {}
        }
        // In this order: after the goodbye nobody waits for this node any more.
        me.freshness().close();
        if let Err(error) = me.node.store().leave(&me.node_id).await {
            tracing::debug!(%error, "no goodbye");
        }
    }

    fn freshness(&self) -> &Freshness {
        self.node.freshness()
    }

    async fn follow(&self) {
        if self.freshness().max_staleness().is_zero() {
            // F4: there is no memory to keep fresh.
            return;
        }
        let mut told = Told::default();
        loop {
            self.node.store().feed_connected().await;
            let Err(error) = self.turn().await else { continue };
            match error {
                Trouble::Store(StoreError::Unmet) => {
                    if let Err(error) = self.node.home().met().await {
                        tracing::debug!(%error, "the store was not met again");
                    }
                }
                Trouble::Store(error) => tracing::debug!(%error, "the feed waits for the store"),
                Trouble::Keys => tokio::time::sleep(PAUSE_FOR_KEYS).await,
                Trouble::RolledBack => told.is("", |_| {
                    let applied = self.freshness().furthest().map(|known| known.epoch.to_string()).unwrap_or_default();
                    tracing::error!(
                        applied,
                        "the store has gone back behind what was applied here, and no issuer that has changed it since then has made up \
                         for that: nothing is decided by what it says. Start the issuers that were there, with their data directories; \
                         or restore the store to its newest state; or restart this node to accept what is there"
                    );
                }),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Asks once for what is new, and waits for more where there is nothing.
    async fn turn(&self) -> Result<(), Trouble> {
        let store = self.node.store();
        self.freshness().counters().feed_reads.fetch_add(1, Ordering::Relaxed);
        let Some(memory) = self.freshness().memory() else {
            let known = self.freshness().furthest();
            let (on, applied) = known.map(|known| (known.identity, known.epoch)).unzip();
            let found = store.follow(&self.node_id, None, applied.unwrap_or_default(), on.as_ref()).await?;
            return self.begin(&found).await;
        };
        let applied = memory.applied();
        let found = store.follow(&self.node_id, Some(memory.identity()), applied, Some(memory.identity())).await?;
        if self.freshness().same_server(&memory, &found.place).is_err() {
            tracing::warn!("the store has become another server: what was known of it is dropped");
            return self.begin(&found).await;
        }
        if found.place.epoch < applied {
            self.freshness().rolled_back(&memory);
            return Err(Trouble::RolledBack);
        }
        let caught_up = found.place.epoch == applied;
        if self.apply(&memory, &found).await? {
            return if caught_up { Ok(store.wait_for_change(applied).await?) } else { Ok(()) };
        }
        // Dropped before anything else is waited for.
        self.freshness().drop_memory(&memory);
        tracing::warn!(%applied, now = %found.place.epoch, "the feed does not go on where it was left: what was known is dropped");
        self.begin(&found).await
    }

    /// `false`: the feed has a gap, or says something that can't be read.
    async fn apply(&self, memory: &Arc<Memory>, found: &Followed) -> Result<bool, Trouble> {
        if found.entries.is_empty() && (found.place.epoch != memory.applied() || found.broken) {
            return Ok(false);
        }
        for entry in &found.entries {
            // The key set is part of what the epoch stands for.
            if let Change::Keys(version) = entry.change {
                self.have_keys(version).await?;
            }
            if memory.apply(entry.clone(), self.node.clock().as_ref()).is_err() {
                return Ok(false);
            }
        }
        Ok(!found.broken)
    }

    async fn begin(&self, found: &Followed) -> Result<(), Trouble> {
        self.have_keys(found.keys_version).await?;
        let applied = self.freshness().furthest();
        match self.freshness().begin(&found.place, found.term_ended) {
            Ok(_) => {
                if let Some(known) = applied.filter(|known| known.identity != found.place.identity)
                    && found.term_ended.is_some_and(|ended| ended < known.epoch.counter)
                {
                    tracing::warn!(
                        applied = %known.epoch,
                        found = found.term_ended,
                        "the store has lost changes that were applied here; its issuers have made up for what they had confirmed of them"
                    );
                }
                self.begun.notify_one();
                Ok(())
            }
            Err(_) => Err(Trouble::RolledBack),
        }
    }

    async fn have_keys(&self, version: u64) -> Result<(), Trouble> {
        self.node.home().keys_at_least(version).await.map(|_| ()).map_err(|_| Trouble::Keys)
    }

    async fn renew(self: Arc<Self>) {
        let length = self.freshness().max_staleness();
        let every =
            if length.is_zero() { ANNOUNCE } else { (length / RENEWALS_PER_LEASE).max(Duration::from_millis(1)) };
        let mut tick = tokio::time::interval(every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut rate = Rate::default();
        let mut in_flight = JoinSet::new();
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = self.begun.notified() => {}
                Some(_) = in_flight.join_next() => continue,
            }
            let decided = self.freshness().counters().decided.load(Ordering::Relaxed);
            let tokens_per_second = rate.after(decided, self.node.clock().monotonic());
            if in_flight.len() < IN_FLIGHT {
                let me = Arc::clone(&self);
                in_flight.spawn(async move { me.renew_once(length, tokens_per_second).await });
            }
        }
    }

    async fn renew_once(&self, length: Duration, tokens_per_second: u64) {
        let noted = self.freshness().noting();
        if noted.is_none() && !length.is_zero() {
            return;
        }
        let count = self.freshness().counters().renewals.fetch_add(1, Ordering::Relaxed) + 1;
        let renewal = Renewal {
            count,
            node: &self.node_id,
            identity: noted.as_ref().map(|noted| noted.identity()),
            length,
            applied: noted.as_ref().map(|noted| noted.applied()).unwrap_or_default(),
            tokens_per_second,
            introduction: &self.introduction,
        };
        let renewed = self.node.store().renew(&renewal).await;
        let outcome = match (&noted, renewed) {
            (Some(noted), Ok(Renewed::Recorded(place))) => self.freshness().renewed(noted, &place),
            (Some(noted), Ok(Renewed::OtherServer(place))) => self.freshness().another_server(noted, &place),
            (None, Ok(_)) => Ok(()),
            (_, Ok(Renewed::TooLong(ceiling))) => {
                return tracing::error!(
                    ?ceiling,
                    "max_staleness is longer than this dataset allows: every record is looked up"
                );
            }
            (_, Err(StoreError::Unmet)) => {
                // Those who follow the feed see to that themselves.
                if noted.is_none()
                    && let Err(error) = self.node.home().met().await
                {
                    tracing::debug!(%error, "the store was not met again");
                }
                return;
            }
            (_, Err(error)) => return tracing::debug!(%error, "the lease was not renewed"),
        };
        if let Err(error @ Unusable::RolledBack) = outcome {
            tracing::error!(%error, "the lease was not renewed");
        }
    }
}

enum Trouble {
    Store(StoreError),
    Keys,
    RolledBack,
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Tokens a second, over a second at least.
#[derive(Default)]
struct Rate {
    last: Option<(u64, Instant)>,
    rate: u64,
}

impl Rate {
    fn after(&mut self, count: u64, now: Instant) -> u64 {
        let (before, since) = *self.last.get_or_insert((count, now));
        let elapsed = now.saturating_duration_since(since).as_secs_f64();
        if elapsed >= 1.0 {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
            let rate = ((count - before) as f64 / elapsed).round() as u64;
            (self.last, self.rate) = (Some((count, now)), rate);
        }
        self.rate
    }
}
