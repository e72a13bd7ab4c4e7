//! Signing keys whose revocation the store lacks.

use std::collections::BTreeSet;

use super::{NotRaised, TRIES};
use crate::audit::{Event, Outcome, kinds};
use crate::authority::acts::Change;
use crate::authority::new_key::NewKey;
use crate::authority::{Authority, Error};
use crate::keyring::KeyringDocument;
use crate::store::{KeyringChange, ToRaise};
use crate::verify::KeyState;

/// The version after a raise is beyond any that was seen by whoever may have seen more than this issuer.
const LEAP: u64 = 1_000_000;

impl Authority {
    /// K5: the document of the store is older than one that was read before, and the journal says why. Keys that were revoked since, as far
    /// as this issuer knows, are revoked in it again, one by one; the next version is beyond all that were seen.
    pub(super) async fn raise_keys(&self, what: &ToRaise) -> Result<(), NotRaised> {
        let seen = self.keys.now();
        let known = seen.facts.iter().filter(|key| key.state == KeyState::Revoked).map(|key| key.id.clone());
        let revoked: BTreeSet<String> = what.lost.revoked.iter().cloned().chain(known).collect();
        let mut tries = 0;
        while tries < TRIES {
            let read = self.keys.document_to_raise().await.map_err(Error::from)?;
            let lacks = |key: &&crate::keyring::KeyEntry| key.state != KeyState::Revoked && revoked.contains(&key.id);
            let again = read.document.keys.iter().find(lacks).map(|key| key.id.clone());
            if again.is_none() && read.version >= self.keys.highest_version() {
                // Another issuer has raised it, or there is nothing more to do.
                let known = self.keys.at_least(read.version).await;
                return known.map(|_| ()).map_err(|_| Error::Unavailable("the keys could not be read".into()).into());
            }
            if !self.raise_key(what, read, again.as_deref()).await? {
                tries += 1;
            }
        }
        Err(Error::Conflict.into())
    }

    /// `false`: another change came between.
    async fn raise_key(
        &self,
        what: &ToRaise,
        mut read: crate::keyring::Read,
        again: Option<&str>,
    ) -> Result<bool, NotRaised> {
        let (now, found, highest) = (self.clock.now(), read.version, self.keys.highest_version());
        let next = highest.max(found) + LEAP;
        let mut event = Event::new(now, kinds::RAISE, Outcome::Done)
            .detail("version_found", found)
            .detail("version_seen", highest)
            .detail("version", next);
        let (mut made, mut shut_out) = (None, Vec::new());
        if let Some(key_id) = again {
            let (tokens, _) = self.store.live_tokens_of(key_id, now).await?;
            let admins = self.admins_of_key(key_id, &read.document, now).await?;
            event = event.detail("key", key_id).detail("live_tokens", tokens);
            if admins.remaining.is_none() && !admins.shut_out.is_empty() {
                event = event.detail("last_admin", true);
                tracing::error!(
                    key = key_id,
                    "no active admin with a living token is left without this signing key: get one with countermark recover"
                );
            }
            shut_out = admins.shut_out;
            made = self.successor_of(key_id, &read.document).await?;
            let successor = made.as_ref().map(|key| key.pending(now));
            read.document.revoke(key_id, now, tokens, successor).map_err(Error::from)?;
        }
        let sealed = self.keys.seal_as(&read, next).map_err(Error::from)?;
        let change = KeyringChange {
            revoked: again,
            shut_out: &shut_out,
            raises: Some(&what.identity),
            next,
            ..KeyringChange::of(found, &sealed)
        };
        // Whoever leaves in the middle does not know either.
        let made = made.inspect(|key| key.set_published(true));
        let done = self.made_up_for(Change::Keys(&change, &event)).await;
        made.inspect(|key| key.set_published(!matches!(done, Ok(false))));
        if matches!(done, Ok(true)) {
            tracing::warn!(key = again, found, highest, next, "the signing keys lacked changes and were raised");
        }
        done
    }

    /// What signs instead of a key that is revoked, where it signs and nothing waits.
    async fn successor_of(&self, key_id: &str, document: &KeyringDocument) -> Result<Option<NewKey>, Error> {
        let active = document.active().filter(|key| key.id == key_id);
        match active {
            Some(key) if document.next_to_sign().is_none() => {
                let in_token = self.successor_is_in_token(document)?;
                self.new_key(key.algorithm, in_token).await.map(Some)
            }
            _ => Ok(None),
        }
    }
}
