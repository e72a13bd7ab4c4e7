//! Signing keys that are new, and where they are made.

use chrono::{DateTime, Utc};

use super::{Authority, Error};
use crate::keyring::{KeyEntry, KeyringDocument};
use crate::pkcs11::{FreshKey, TokenError};
use crate::token::{Algorithm, SigningKey, VerificationKey};

/// A key that nobody knows yet.
#[derive(Debug)]
pub(super) enum NewKey {
    /// Its private half is here, and will be sealed.
    Here(Box<SigningKey>),
    /// Its private half lies in the hardware token, where it is destroyed again unless the key is published.
    InToken(Box<FreshKey>),
}

impl NewKey {
    pub(super) fn public(&self) -> &VerificationKey {
        match self {
            Self::Here(key) => key.public(),
            Self::InToken(key) => key.public(),
        }
    }

    /// Its entry, published from now on.
    pub(super) fn pending(&self, now: DateTime<Utc>) -> KeyEntry {
        match self {
            Self::Here(key) => KeyEntry::pending(key, now),
            Self::InToken(key) => KeyEntry::pending_in_token(key.public(), key.place().clone(), now),
        }
    }

    /// Whether it may be published by now: a private half that may be needed is not destroyed.
    pub(super) fn set_published(&self, may_be: bool) {
        if let Self::InToken(key) = self {
            key.set_published(may_be);
        }
    }
}

impl Authority {
    /// A key of this algorithm.
    pub(super) async fn new_key(&self, algorithm: Algorithm, in_token: bool) -> Result<NewKey, Error> {
        if in_token {
            let hardware = self.keys.hardware().ok_or(TokenError::NotConfigured)?;
            return Ok(NewKey::InToken(Box::new(hardware.make(algorithm).await?)));
        }
        // To find the primes of an RSA key takes a while.
        let made = tokio::task::spawn_blocking(move || SigningKey::generate(algorithm)).await;
        Ok(NewKey::Here(Box::new(made.map_err(|error| Error::Internal(error.to_string()))??)))
    }

    /// What follows a key lies where that one lies: nobody who uses a hardware token is to have keys elsewhere without knowing. An
    /// issuer with another token leaves it to those that have the same.
    pub(super) fn successor_is_in_token(&self, document: &KeyringDocument) -> Result<bool, Error> {
        let Some(place) = document.active().and_then(KeyEntry::in_token) else { return Ok(false) };
        match self.keys.hardware() {
            Some(hardware) if hardware.label() == place.label => Ok(true),
            _ => Err(Error::TokenAway(format!(
                "the next key belongs in the hardware token {}, which is not that of this issuer",
                place.label
            ))),
        }
    }

    /// Has the key that is about to sign sign something, if it lies in a hardware token: the one before it loses its private
    /// half, and there is no way back.
    pub(super) async fn can_sign(&self, document: &KeyringDocument) -> Result<(), Error> {
        const PROBE: &[u8] = b"countermark: can this key sign?";
        let Some(signer) = document.signer(self.keys.hardware())? else { return Ok(()) };
        if !signer.waits() {
            return Ok(());
        }
        // It verifies what it signs.
        let signed = tokio::task::spawn_blocking(move || signer.sign(PROBE).map(|_| ())).await;
        Ok(signed.map_err(|error| Error::Internal(error.to_string()))??)
    }
}
