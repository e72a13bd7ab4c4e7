//! What an issuer does by itself.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::archive::Archiving;
use super::call::By;
use super::checkpoints::Checkpoints;
use super::{AccountRef, Authority, Error};
use crate::account::AccountState;
use crate::audit::kinds;
use crate::store::{AccountChange, KnownIssuer, Table};
use crate::told::Told;

/// How often ended overlaps are looked for.
const OVERLAPS: Duration = Duration::from_secs(1);

/// How often it is looked whether a signing key is to come or to go.
const KEYS: Duration = Duration::from_secs(2);
/// The same, where a step could not be taken.
const KEYS_LATER: Duration = Duration::from_secs(60);

/// How often tokens that expired long ago are forgotten.
const FORGET: Duration = Duration::from_secs(600);

/// How often it is looked whether the signing keys in the store are still what they were.
const LOOK: Duration = Duration::from_secs(10);

/// How often the ends of the chains of the audit are looked at, and signed.
const CHECKPOINTS: Duration = Duration::from_secs(5);

/// How often it is looked whether something of the audit is to be archived.
const ARCHIVE: Duration = Duration::from_secs(5);

/// How often it is looked whether the accounts are to be counted.
const CENSUS: Duration = Duration::from_secs(10);

/// How often nodes that stand still are looked for.
const STANDING: Duration = Duration::from_secs(1);
/// After so long without a renewal a node is taken out of the table: it has no lease, or none for long.
const GONE: Duration = Duration::from_secs(60);

/// How long it is until the store is tried to be raised again, where that failed.
const AGAIN: Duration = Duration::from_millis(200);

/// An issuer's regular work.
pub struct Upkeep {
    authority: Arc<Authority>,
    /// Each node's renewals, and since when they stand there by our clock.
    standing: HashMap<String, (u64, Instant)>,
    /// Acts that no block linked at the last look.
    unlinked: BTreeSet<(String, u64)>,
    /// Issuers that are no nodes, as they stand in the store, and since when that is so by our clock.
    gone: HashMap<KnownIssuer, Instant>,
    /// That another server acts as this issuer.
    twin: Told,
}

impl Upkeep {
    /// Of this issuer.
    pub fn new(authority: Arc<Authority>) -> Self {
        Self {
            authority,
            standing: HashMap::new(),
            unlinked: BTreeSet::new(),
            gone: HashMap::new(),
            twin: Told::default(),
        }
    }

    /// Works until it is stopped.
    pub async fn run(self, stop: CancellationToken) {
        // By itself: a key that is made in a hardware token may take its time.
        let rotating = rotate(Arc::clone(&self.authority), stop.clone());
        let signing = checkpoints(Arc::clone(&self.authority), stop.clone());
        let archiving = archive(Arc::clone(&self.authority), stop.clone());
        let counting = count_accounts(Arc::clone(&self.authority), stop.clone());
        let raising = raise(Arc::clone(&self.authority), stop.clone());
        tokio::join!(self.work(stop), rotating, signing, archiving, counting, raising);
    }

    async fn work(mut self, stop: CancellationToken) {
        let mut overlaps = tokio::time::interval(OVERLAPS);
        let mut standing = tokio::time::interval(STANDING);
        let mut look = tokio::time::interval(LOOK);
        let mut forget = tokio::time::interval(FORGET);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = overlaps.tick() => self.end_overlaps().await,
                _ = standing.tick() => {
                    match self.authority.store.table().await {
                        Ok(table) => {
                            self.remove_standing(&table).await;
                            self.look_at_issuers(&table).await;
                        }
                        Err(error) => tracing::debug!(%error, "the table of nodes waits"),
                    }
                }
                _ = forget.tick() => self.authority.forget_expired_tokens().await,
                _ = look.tick() => {
                    self.look_at_keys().await;
                    self.link_orphans().await;
                    if let Err(error) = self.authority.tell_of_restore().await {
                        tracing::debug!(%error, "that a backup was restored is told later");
                    }
                }
            }
        }
    }

    /// A node that was killed says no goodbye, and each receipt would wait for its lease. Its lease has long been over by our
    /// clock when it is taken out, and only if it has not renewed meanwhile.
    async fn remove_standing(&mut self, table: &Table) {
        let store = &self.authority.store;
        // The wait of R4 is remembered as soon as it is over.
        let _ = store.settles_in();
        let now = self.authority.clock.monotonic();
        self.standing.retain(|id, _| table.leases.iter().any(|lease| lease.id == *id));
        for lease in &table.leases {
            let (renewals, since) = self.standing.entry(lease.id.clone()).or_insert((lease.renewals, now));
            if *renewals != lease.renewals {
                (*renewals, *since) = (lease.renewals, now);
            }
            let patience = if lease.length.is_zero() { GONE } else { lease.length * 4 };
            if now.saturating_duration_since(*since) > patience
                && let Err(error) = store.remove_standing(lease).await
            {
                tracing::debug!(%error, "a node that stands still was not taken out of the table");
            }
        }
    }

    async fn look_at_issuers(&mut self, table: &Table) {
        let issuers = match self.authority.store.issuers().await {
            Ok(issuers) => issuers,
            Err(error) => return tracing::debug!(%error, "the list of issuers waits"),
        };
        self.authority.store.look_for_twin(&issuers, table);
        match self.authority.store.twin() {
            Some(why) => self.twin.is("", |_| tracing::error!("{why}")),
            None => _ = self.twin.is_over(),
        }
        self.withdraw_gone(issuers, table).await;
    }

    /// An issuer that was killed changes nothing more: all that it has changed is in this store, which it has raised. One that was
    /// only paused is known again with its next change.
    async fn withdraw_gone(&mut self, issuers: Vec<KnownIssuer>, table: &Table) {
        let store = &self.authority.store;
        let now = self.authority.clock.monotonic();
        let is_there = |issuer: &KnownIssuer| {
            issuer.node.as_ref().is_some_and(|node| table.leases.iter().any(|lease| lease.id == *node))
        };
        let gone: Vec<KnownIssuer> = issuers.into_iter().filter(|issuer| !is_there(issuer)).collect();
        self.gone.retain(|known, _| gone.contains(known));
        for issuer in gone {
            let since = *self.gone.entry(issuer.clone()).or_insert(now);
            if now.saturating_duration_since(since) < GONE {
                continue;
            }
            match store.withdraw_gone(&issuer).await {
                Ok(true) => tracing::info!(issuer = issuer.name, "it is gone, and all that it has changed is here"),
                Ok(false) => {}
                Err(error) => {
                    tracing::debug!(%error, issuer = issuer.name, "an issuer that is gone still stands in the store")
                }
            }
        }
    }

    /// Whoever writes to the store by hand is noticed, and not only by the next one to start.
    async fn look_at_keys(&self) {
        if let Err(error) = self.authority.keys.look().await {
            tracing::error!(%error, "the signing keys in the store are not what they were; those in memory go on");
            self.authority.metrics.keys_refused.inc();
        }
    }

    async fn link_orphans(&mut self) {
        if let Err(error) = self.authority.link_orphans(&mut self.unlinked).await {
            tracing::debug!(%error, "acts of nodes that have gone wait for their place in the chain");
        }
    }

    async fn end_overlaps(&self) {
        let ended = match self.authority.store.ended_overlaps(self.authority.clock.now()).await {
            Ok(ended) => ended,
            Err(error) => return tracing::debug!(%error, "overlaps wait"),
        };
        for id in ended {
            match self.authority.end_overlap(id).await {
                // Another issuer, or another change, was faster.
                Ok(()) | Err(Error::Conflict | Error::NotFound(_)) => {}
                Err(error) => tracing::warn!(%error, account = %id, "an overlap could not be ended"),
            }
        }
    }
}

/// By itself: whoever changes something waits for it.
async fn raise(authority: Arc<Authority>, stop: CancellationToken) {
    let (mut pause, mut told) = (Duration::MAX, Told::default());
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = authority.store.lacks_something() => {}
            () = tokio::time::sleep(pause) => {}
        }
        pause = match authority.raise().await {
            Ok(()) => {
                told.is_over();
                Duration::MAX
            }
            Err(error) => {
                told.is(&error.cause(), |_| {
                    tracing::error!(
                        cause = error.cause(),
                        "the store lacks changes that were made from here, and serves nobody before they are made up for"
                    );
                });
                AGAIN
            }
        };
    }
}

/// By itself, so that nothing else keeps it waiting.
async fn checkpoints(authority: Arc<Authority>, stop: CancellationToken) {
    let mut known = Checkpoints::default();
    let mut tick = tokio::time::interval(CHECKPOINTS);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        if let Err(error) = authority.checkpoint(&mut known).await {
            known.waits(&error);
        }
    }
}

/// By itself: a disk may be slow.
async fn archive(authority: Arc<Authority>, stop: CancellationToken) {
    let mut known = Archiving::default();
    let mut tick = tokio::time::interval(ARCHIVE);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        // A segment that is not whole when it is to stop does not count.
        tokio::select! {
            () = stop.cancelled() => return,
            archived = authority.archive(&mut known) => if let Err(error) = archived {
                known.waits(&error);
            }
        }
    }
}

/// By itself: accounts may be many.
async fn count_accounts(authority: Arc<Authority>, stop: CancellationToken) {
    let mut tick = tokio::time::interval(CENSUS);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            counted = authority.count_accounts() => if let Err(error) = counted {
                tracing::debug!(%error, "the count of all accounts waits");
            }
        }
    }
}

async fn rotate(authority: Arc<Authority>, stop: CancellationToken) {
    let mut pause = Duration::ZERO;
    loop {
        let turn = async {
            tokio::time::sleep(pause).await;
            authority.rotate_keys().await
        };
        let is_well = tokio::select! {
            () = stop.cancelled() => return,
            is_well = turn => is_well,
        };
        pause = if is_well { KEYS } else { KEYS_LATER };
    }
}

impl Authority {
    /// The end of an overlap is a change like any other (protocols, section 4).
    async fn end_overlap(&self, id: crate::account::AccountId) -> Result<(), Error> {
        let before = self.account(&AccountRef::Id(id)).await?;
        let now = self.clock.now();
        if before.state.previous.as_ref().is_some_and(|previous| previous.ends_at > now.timestamp()) {
            return Ok(());
        }
        let state = AccountState { previous: None, ..before.state.clone() };
        let mut profile = before.profile.clone();
        profile.previous = None;
        let event = self.act_event(By::Machine, kinds::OVERLAP_END, id, &state, &profile);
        let change = AccountChange {
            id,
            before: Some(&before),
            after: Some((&state, &profile)),
            admin: self.admin(&state, &profile),
            author: None,
            setup: None,
            reuse: None,
            keys_version: None,
            now,
            event: &event,
            raises: None,
        };
        self.commit(By::Machine, &change).await.map(|_| ())
    }
}
