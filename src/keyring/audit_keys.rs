//! Keys that sign checkpoints of the audit, and nothing else (protocols, section 6, A3).

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use jsonwebtoken::jwk::{Jwk, KeyOperations};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::KeyringDocument;
use crate::clock::rfc3339;
use crate::token::{Algorithm, KeyError, SigningKey, VerificationKey};

/// So many are remembered. What an older one signed can be checked with a copy of its public half alone.
const MOST: usize = 64;

/// One key of the document. It is always for ES256, and there is no need to publish it ahead: nobody keeps it for long.
#[derive(Serialize, Deserialize)]
pub struct AuditKey {
    /// Its thumbprint.
    pub id: String,
    /// Since when it signs, or signed.
    #[serde(with = "rfc3339")]
    pub created_at: DateTime<Utc>,
    public: Jwk,
    /// PKCS#8 in base64. Gone as soon as another one signs.
    private: Option<Zeroizing<String>>,
}

impl std::fmt::Debug for AuditKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AuditKey({} …)", self.id)
    }
}

impl AuditKey {
    fn generate(now: DateTime<Utc>) -> Result<Self, KeyError> {
        let key = SigningKey::generate(Algorithm::ES256)?;
        Ok(Self {
            id: key.public().key_id().to_owned(),
            created_at: now,
            public: key.public().jwk().clone(),
            private: Some(Zeroizing::new(STANDARD.encode(key.expose_pkcs8()))),
        })
    }

    fn public(&self) -> Result<VerificationKey, KeyError> {
        let key = VerificationKey::from_jwk(Algorithm::ES256, self.public.clone())?;
        if key.key_id() == self.id { Ok(key) } else { Err(KeyError::UnusablePublic) }
    }

    fn signer(&self) -> Result<Option<SigningKey>, KeyError> {
        let Some(text) = &self.private else { return Ok(None) };
        let pkcs8 = Zeroizing::new(STANDARD.decode(text.as_str()).map_err(|_| KeyError::Unusable)?);
        let key = SigningKey::from_pkcs8(Algorithm::ES256, &pkcs8)?;
        if key.public().key_id() == self.id { Ok(Some(key)) } else { Err(KeyError::Unusable) }
    }
}

/// As a process works with them.
#[derive(Debug)]
pub struct AuditKeys {
    /// The one that signs, and since when. `None`: none was made yet.
    pub signer: Option<(Arc<SigningKey>, DateTime<Utc>)>,
    /// All, the newest last.
    pub public: Vec<VerificationKey>,
}

impl AuditKeys {
    /// As published: like those of tokens, and with `key_ops`, which those never have.
    pub fn published(&self) -> impl Iterator<Item = Jwk> {
        self.public.iter().map(|key| {
            let mut jwk = key.jwk().clone();
            jwk.common.key_operations = Some(vec![KeyOperations::Verify]);
            jwk
        })
    }
}

impl KeyringDocument {
    /// Another key signs checkpoints from now on: its id.
    pub fn change_audit_key(&mut self, now: DateTime<Utc>) -> Result<String, KeyError> {
        let key = AuditKey::generate(now)?;
        let id = key.id.clone();
        self.audit.iter_mut().for_each(|older| older.private = None);
        self.audit.push(key);
        let too_many = self.audit.len().saturating_sub(MOST);
        self.audit.drain(..too_many);
        Ok(id)
    }

    /// Since when the key that signs checkpoints does. `None`: there is none.
    pub fn audit_key_since(&self) -> Option<DateTime<Utc>> {
        self.audit.last().map(|key| key.created_at)
    }

    /// Those that sign checkpoints, to work with.
    pub fn audit_keys(&self) -> Result<AuditKeys, KeyError> {
        let newest = self.audit.last();
        let signer = newest.map(|key| Ok::<_, KeyError>((key.signer()?, key.created_at))).transpose()?;
        Ok(AuditKeys {
            signer: signer.and_then(|(signer, since)| Some((Arc::new(signer?), since))),
            public: self.audit.iter().map(AuditKey::public).collect::<Result<_, _>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_signs_and_those_before_it_verify_what_they_signed() {
        let now = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let mut document = KeyringDocument::default();
        assert!(document.audit_keys().unwrap().signer.is_none());
        let first = document.change_audit_key(now).unwrap();
        let signed = document.audit_keys().unwrap().signer.unwrap().0.sign(b"a").unwrap();
        let second = document.change_audit_key(now).unwrap();
        let private = document.audit[1].private.clone().unwrap();
        assert!(!format!("{document:?}").contains(&private.as_str()[..40]));
        let document: KeyringDocument = serde_json::from_str(&serde_json::to_string(&document).unwrap()).unwrap();
        assert!(document.audit[0].private.is_none());
        let keys = document.audit_keys().unwrap();
        assert_eq!(keys.public.iter().map(VerificationKey::key_id).collect::<Vec<_>>(), [&first, &second]);
        assert!(keys.public[0].verifies(b"a", &signed) && !keys.public[1].verifies(b"a", &signed));
        assert_eq!(keys.signer.unwrap().0.public().key_id(), second);
    }

    #[test]
    fn only_so_many_are_remembered() {
        let now = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let mut document = KeyringDocument::default();
        let first = document.change_audit_key(now).unwrap();
        for _ in 0..MOST {
            document.change_audit_key(now).unwrap();
        }
        assert_eq!(document.audit.len(), MOST);
        assert!(document.audit.iter().all(|key| key.id != first));
    }

    #[test]
    fn one_under_another_id_is_refused() {
        let now = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let mut document = KeyringDocument::default();
        document.change_audit_key(now).unwrap();
        document.audit[0].id = "another".into();
        assert!(document.audit_keys().is_err());
    }
}
