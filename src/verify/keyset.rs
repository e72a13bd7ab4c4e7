use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::token::VerificationKey;

/// The life of a key (protocols, section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub enum KeyState {
    /// Published, does not sign yet.
    Pending,
    /// Signs.
    Active,
    /// Verifies only.
    Retiring,
    /// No longer published; no live token needs it.
    Retired,
    /// Nothing that it signed is accepted.
    Revoked,
}

impl KeyState {
    /// Whether the key stands in the published set.
    pub fn is_published(self) -> bool {
        matches!(self, Self::Pending | Self::Active | Self::Retiring)
    }
}

/// A key with its state.
#[derive(Debug, Clone)]
pub struct KnownKey {
    /// The key.
    pub public: VerificationKey,
    /// Its state.
    pub state: KeyState,
}

/// All keys of the issuer, as of one version of its sealed document. Retired and revoked ones too: a genuine token that is
/// dead gets its precise reason.
#[derive(Debug, Clone, Default)]
pub struct KeySet {
    version: u64,
    keys: HashMap<String, KnownKey>,
}

impl KeySet {
    /// The set of this version.
    pub fn new(version: u64, keys: impl IntoIterator<Item = KnownKey>) -> Self {
        Self { version, keys: keys.into_iter().map(|key| (key.public.key_id().to_owned(), key)).collect() }
    }

    /// The version of the document that it was read from. 0: none was read yet.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The key of this id.
    pub fn find(&self, key_id: &str) -> Option<&KnownKey> {
        self.keys.get(key_id)
    }

    /// All of them, by id.
    pub fn iter(&self) -> impl Iterator<Item = &KnownKey> {
        let mut keys: Vec<_> = self.keys.values().collect();
        keys.sort_by(|a, b| a.public.key_id().cmp(b.public.key_id()));
        keys.into_iter()
    }
}
