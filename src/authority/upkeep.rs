//! What an issuer does by itself.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::call::By;
use super::{AccountRef, Authority, Error};
use crate::account::AccountState;
use crate::audit::kinds;
use crate::store::{AccountChange, Introduction};

/// How often a node says that it is there.
const ANNOUNCE: Duration = Duration::from_secs(5);
/// How often ended overlaps are looked for.
const OVERLAPS: Duration = Duration::from_secs(1);

/// A node's regular work.
pub struct Upkeep {
    authority: Arc<Authority>,
    node_id: String,
    address: String,
}

impl Upkeep {
    /// Of this node.
    pub fn new(authority: Arc<Authority>, node_id: String, address: String) -> Self {
        Self { authority, node_id, address }
    }

    /// Works until it is stopped, then says goodbye.
    pub async fn run(self, stop: CancellationToken) {
        let mut announce = tokio::time::interval(ANNOUNCE);
        let mut overlaps = tokio::time::interval(OVERLAPS);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = announce.tick() => self.announce().await,
                _ = overlaps.tick() => self.end_overlaps().await,
            }
        }
        if let Err(error) = self.authority.store.leave(&self.node_id).await {
            tracing::debug!(%error, "no goodbye");
        }
    }

    async fn announce(&self) {
        let store = &self.authority.store;
        // A node that looks every record up has applied whatever there is.
        let announced = match store.epoch().await {
            Ok(applied_epoch) => {
                let introduction = Introduction {
                    name: self.authority.recorder.node().to_owned(),
                    version: env!("CARGO_PKG_VERSION"),
                    address: self.address.clone(),
                    lease_ms: 0,
                    applied_epoch,
                };
                store.announce(&self.node_id, &introduction).await
            }
            Err(error) => Err(error),
        };
        if let Err(error) = announced {
            tracing::debug!(%error, "not announced");
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
            reuse: None,
            keys_version: None,
            now,
            event: &event,
        };
        self.commit(By::Machine, &change).await.map(|_| ())
    }
}
