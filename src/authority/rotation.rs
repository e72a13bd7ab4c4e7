//! Keys come and go by themselves: the next one is prepared ahead, signs when its time has come, and goes when no token needs it.
//!
//! Every issuer looks; compare-and-set lets one of them act, and the others find it done.

use chrono::TimeDelta;

use super::key_acts::until_accepted;
use super::{Authority, Error, NextRotation, RotationStep};
use crate::keyring::KeyFacts;
use crate::verify::KeyState;

/// No clock is off by more, and no leeway is longer.
const LONG_AGO: TimeDelta = TimeDelta::days(1);

impl Authority {
    /// Takes the steps that are due. `false`: one could not be taken, and is not to be tried again at once.
    pub(super) async fn rotate_keys(&self) -> bool {
        let loaded = self.keys.now();
        let facts = &loaded.facts;
        let now = self.clock.now();
        let mut is_well = self.rotate_audit_key().await;
        let due = self.next_rotation(facts).filter(|next| next.is_automatic && now >= next.at);
        is_well &= match due.map(|next| (next.step, next.key_id)) {
            Some((RotationStep::Activate, Some(id))) => {
                done("activated", self.activate_next(&id).await.map(|changed| changed.key.id))
            }
            Some(_) => done("prepared", self.prepare_new().await.map(|changed| changed.key.id)),
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

    /// What comes next on the way to the next signing key.
    pub(super) fn next_rotation(&self, facts: &[KeyFacts]) -> Option<NextRotation> {
        let signing = &self.settings.signing;
        let active = facts.iter().find(|key| key.state == KeyState::Active);
        let rotates_at =
            active.and_then(|active| active.activated_at).zip(signing.rotate_every).map(|(since, every)| since + every);
        let pending = facts.iter().filter(|key| key.state == KeyState::Pending).filter_map(|key| {
            // Whoever is published for longest is next.
            Some((key.published_at?, &key.id))
        });
        let is_automatic = rotates_at.is_some();
        match (pending.min(), rotates_at) {
            (None, rotates_at) => {
                let at = rotates_at? - signing.publish_ahead;
                Some(NextRotation { step: RotationStep::Prepare, key_id: None, at, is_automatic })
            }
            (Some((published_at, id)), rotates_at) => {
                let possible_at = published_at + signing.publish_ahead;
                let at = rotates_at.map_or(possible_at, |rotates_at| rotates_at.max(possible_at));
                Some(NextRotation { step: RotationStep::Activate, key_id: Some(id.clone()), at, is_automatic })
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
