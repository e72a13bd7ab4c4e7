//! Keys come and go by themselves: the next one is prepared ahead, signs when its time has come, and goes when no token needs it.
//!
//! Every issuer looks; compare-and-set lets one of them act, and the others find it done.

use chrono::{DateTime, TimeDelta, Utc};

use super::key_acts::until_accepted;
use super::{Authority, Error};
use crate::keyring::KeyFacts;
use crate::verify::KeyState;

/// No clock is off by more, and no leeway is longer.
const LONG_AGO: TimeDelta = TimeDelta::days(1);

/// What is to be done now.
#[derive(Debug, PartialEq, Eq)]
enum Due {
    Prepare,
    Activate(String),
}

impl Authority {
    /// Takes the steps that are due. `false`: one could not be taken, and is not to be tried again at once.
    pub(super) async fn rotate_keys(&self) -> bool {
        let loaded = self.keys.now();
        let facts = &loaded.facts;
        let now = self.clock.now();
        let mut is_well = self.rotate_audit_key().await;
        is_well &= match self.due(facts, now) {
            Some(Due::Prepare) => done("prepared", self.prepare_new().await.map(|changed| changed.key.id)),
            Some(Due::Activate(id)) => done("activated", self.activate_next(&id).await.map(|changed| changed.key.id)),
            None => true,
        };
        for key in facts.iter().filter(|key| key.state == KeyState::Retiring) {
            match self.store.live_tokens_of(&key.id, until_accepted(now)).await {
                Ok((0, _)) => {
                    is_well &= done("retired", self.retire_unneeded(&key.id).await.map(|changed| changed.key.id));
                }
                Ok(_) => {}
                Err(error) => tracing::debug!(%error, "the counts of living tokens wait"),
            }
        }
        is_well
    }

    /// What expired long ago, by whosever clock, is counted nowhere.
    pub(super) async fn forget_expired_tokens(&self) {
        let before = self.clock.now() - LONG_AGO;
        for key in &self.keys.now().facts {
            if let Err(error) = self.store.forget_expired(&key.id, before).await {
                return tracing::debug!(%error, "tokens that have expired are still listed");
            }
        }
    }

    fn due(&self, facts: &[KeyFacts], now: DateTime<Utc>) -> Option<Due> {
        let signing = &self.settings.signing;
        let every = signing.rotate_every?;
        let active = facts.iter().find(|key| key.state == KeyState::Active)?;
        let rotates_at = active.activated_at? + every;
        let pending = facts.iter().filter(|key| key.state == KeyState::Pending).filter_map(|key| {
            // Whoever is published for longest is next.
            Some((key.published_at?, &key.id))
        });
        match pending.min() {
            None => (now >= rotates_at - signing.publish_ahead).then_some(Due::Prepare),
            Some((published_at, id)) => {
                let is_due = now >= rotates_at && now >= published_at + signing.publish_ahead;
                is_due.then(|| Due::Activate(id.clone()))
            }
        }
    }
}

fn done(what: &str, outcome: Result<String, Error>) -> bool {
    match outcome {
        Ok(key) => tracing::info!(%key, "a signing key was {what}"),
        // Another issuer was faster.
        Err(Error::Conflict | Error::Key(_)) => {}
        Err(error) => {
            tracing::warn!(%error, "a signing key could not be {what}; it is tried again later");
            return false;
        }
    }
    true
}
