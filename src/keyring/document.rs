//! The document of keys, as it is sealed.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use jsonwebtoken::jwk::Jwk;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::audit_keys::AuditKey;
use crate::clock::rfc3339;
use crate::pkcs11::{HardwareToken, InToken, TokenError};
use crate::token::{Algorithm, KeyError, Signer, SigningKey, VerificationKey};
use crate::verify::{KeySet, KeyState, KnownKey};

/// All keys, as they lie sealed in the store.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct KeyringDocument {
    /// In the order in which they were made.
    pub keys: Vec<KeyEntry>,
    /// Those that sign checkpoints of the audit; the newest last.
    #[serde(default)]
    pub audit: Vec<AuditKey>,
}

/// One key of the document.
#[derive(Serialize, Deserialize)]
pub struct KeyEntry {
    /// Its thumbprint.
    pub id: String,
    /// Its one algorithm.
    pub algorithm: Algorithm,
    /// Its state.
    pub state: KeyState,
    /// When it was made.
    #[serde(with = "rfc3339")]
    pub created_at: DateTime<Utc>,
    /// Since when it stands in the published set.
    #[serde(with = "rfc3339::option")]
    pub published_at: Option<DateTime<Utc>>,
    /// Since when it signs, or signed.
    #[serde(with = "rfc3339::option")]
    pub activated_at: Option<DateTime<Utc>>,
    /// Since when it is retired.
    #[serde(with = "rfc3339::option")]
    pub retired_at: Option<DateTime<Utc>>,
    /// What is remembered of its revocation.
    pub revoked: Option<Revoked>,
    public: Jwk,
    /// PKCS#8 in base64. Gone as soon as the key signs nothing any more.
    private: Option<Zeroizing<String>>,
    /// Where its private half lies instead. Gone at the same time.
    #[serde(rename = "token", default, skip_serializing_if = "Option::is_none")]
    in_token: Option<InToken>,
}

/// That a key was revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    /// When.
    #[serde(with = "rfc3339")]
    pub at: DateTime<Utc>,
    /// Living tokens that died of it.
    pub tokens: u64,
}

impl std::fmt::Debug for KeyEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyEntry({} {} {:?} …)", self.id, self.algorithm, self.state)
    }
}

impl KeyEntry {
    /// The entry of a key that is published from now on.
    pub fn pending(key: &SigningKey, now: DateTime<Utc>) -> Self {
        let private = Zeroizing::new(STANDARD.encode(key.expose_pkcs8()));
        Self { private: Some(private), ..Self::published(key.public(), now) }
    }

    /// The same of one whose private half lies in a hardware token.
    pub fn pending_in_token(key: &VerificationKey, place: InToken, now: DateTime<Utc>) -> Self {
        Self { in_token: Some(place), ..Self::published(key, now) }
    }

    fn published(key: &VerificationKey, now: DateTime<Utc>) -> Self {
        Self {
            id: key.key_id().to_owned(),
            algorithm: key.algorithm(),
            state: KeyState::Pending,
            created_at: now,
            published_at: Some(now),
            activated_at: None,
            retired_at: None,
            revoked: None,
            public: key.jwk().clone(),
            private: None,
            in_token: None,
        }
    }

    /// The entry of a key that signs from now on.
    pub fn active(key: &SigningKey, now: DateTime<Utc>) -> Self {
        Self { state: KeyState::Active, activated_at: Some(now), ..Self::pending(key, now) }
    }

    /// It signs nothing any more, so that nobody need have its private half.
    pub(super) fn signs_no_more(&mut self) {
        self.private = None;
        self.in_token = None;
    }

    /// Where its private half lies, if in a hardware token.
    pub fn in_token(&self) -> Option<&InToken> {
        self.in_token.as_ref()
    }

    /// Whether its private half is here.
    #[cfg(test)]
    pub(super) fn can_sign(&self) -> bool {
        self.private.is_some() || self.in_token.is_some()
    }

    fn verification_key(&self) -> Result<VerificationKey, KeyError> {
        let key = VerificationKey::from_jwk(self.algorithm, self.public.clone())?;
        if key.key_id() == self.id { Ok(key) } else { Err(KeyError::UnusablePublic) }
    }

    fn signer(&self, hardware: Option<&Arc<HardwareToken>>) -> Result<Arc<dyn Signer>, KeyError> {
        if let Some(place) = &self.in_token {
            let hardware = hardware.ok_or(TokenError::NotConfigured).and_then(|hardware| match hardware.label() {
                label if label == place.label => Ok(hardware),
                label => Err(TokenError::Away(format!("signing.pkcs11.token_label is {label}"))),
            });
            let hardware = hardware.map_err(|why| {
                let text = format!("the key {} lies in the hardware token {}: {why}", self.id, place.label);
                KeyError::OutOfReach(text)
            })?;
            return Ok(hardware.signer(self.verification_key()?, place));
        }
        let text = self.private.as_ref().ok_or(KeyError::Unusable)?;
        let pkcs8 = Zeroizing::new(STANDARD.decode(text.as_str()).map_err(|_| KeyError::Unusable)?);
        let key = SigningKey::from_pkcs8(self.algorithm, &pkcs8)?;
        if key.public().key_id() == self.id { Ok(Arc::new(key)) } else { Err(KeyError::Unusable) }
    }
}

impl KeyringDocument {
    /// The keys that verify, as of this version.
    pub fn key_set(&self, version: u64) -> Result<KeySet, KeyError> {
        let keys = self
            .keys
            .iter()
            .map(|entry| Ok(KnownKey { public: entry.verification_key()?, state: entry.state }))
            .collect::<Result<Vec<_>, KeyError>>()?;
        Ok(KeySet::new(version, keys))
    }

    /// The one key that signs. `None`: none does, until one is activated. [`KeyError::OutOfReach`]: it lies in a hardware token
    /// that is not the one of this issuer.
    pub fn signer(&self, hardware: Option<&Arc<HardwareToken>>) -> Result<Option<Arc<dyn Signer>>, KeyError> {
        self.active().map(|entry| entry.signer(hardware)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k7_no_private_key_shows_and_a_document_reads_back() {
        let key = SigningKey::generate(Algorithm::ES256).unwrap();
        let now = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let document = KeyringDocument { keys: vec![KeyEntry::active(&key, now)], ..Default::default() };
        let private = STANDARD.encode(key.expose_pkcs8());
        assert!(!format!("{document:?}").contains(&private[..40]));
        let text = serde_json::to_string(&document).unwrap();
        let again: KeyringDocument = serde_json::from_str(&text).unwrap();
        assert_eq!(again.signer(None).unwrap().unwrap().public().key_id(), key.public().key_id());
        assert_eq!(again.key_set(7).unwrap().find(key.public().key_id()).unwrap().state, KeyState::Active);
    }

    #[test]
    fn an_entry_in_a_token_verifies_where_there_is_none_and_signs_nowhere_else() {
        let now = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let key = SigningKey::generate(Algorithm::ES256).unwrap();
        let place = InToken { label: "t".into(), object: "0a".into() };
        let mut document =
            KeyringDocument { keys: vec![KeyEntry::pending_in_token(key.public(), place, now)], ..Default::default() };
        document.keys[0].state = KeyState::Active;
        let written = serde_json::to_value(&document).unwrap();
        assert_eq!(written["keys"][0]["token"], serde_json::json!({ "label": "t", "object": "0a" }));
        assert!(written["keys"][0]["private"].is_null());
        let mut document: KeyringDocument = serde_json::from_value(written).unwrap();
        assert_eq!(document.key_set(1).unwrap().find(&document.keys[0].id).unwrap().state, KeyState::Active);
        let Err(KeyError::OutOfReach(why)) = document.signer(None) else { panic!("it signs") };
        assert!(why.contains(&document.keys[0].id) && why.contains("the hardware token t: "), "{why}");
        document.keys[0].signs_no_more();
        assert!(document.keys[0].in_token().is_none() && !document.keys[0].can_sign());
        // As ever where there is none.
        assert!(serde_json::to_value(KeyEntry::pending(&key, now)).unwrap().get("token").is_none());
    }

    #[test]
    fn an_entry_under_another_id_is_refused() {
        let now = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let mut entry = KeyEntry::active(&SigningKey::generate(Algorithm::ES256).unwrap(), now);
        entry.id = "another".into();
        let document = KeyringDocument { keys: vec![entry], ..Default::default() };
        assert!(document.key_set(1).is_err() && document.signer(None).is_err());
    }
}
