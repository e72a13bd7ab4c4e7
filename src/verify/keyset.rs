use std::cmp::Ordering;

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
    /// As it is written in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Retiring => "retiring",
            Self::Retired => "retired",
            Self::Revoked => "revoked",
        }
    }

    /// Whether the key stands in the published set.
    pub fn is_published(self) -> bool {
        matches!(self, Self::Pending | Self::Active | Self::Retiring)
    }
}

impl std::fmt::Display for KeyState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
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
    /// By id. They are few.
    keys: Vec<KnownKey>,
    /// Their places, by the header of what they sign.
    by_header: Vec<usize>,
}

impl KeySet {
    /// The set of this version. Of two keys of one id the later one is taken.
    pub fn new(version: u64, keys: impl IntoIterator<Item = KnownKey>) -> Self {
        let mut sorted: Vec<KnownKey> = Vec::new();
        for key in keys {
            match sorted.binary_search_by(|known| known.public.key_id().cmp(key.public.key_id())) {
                Ok(at) => sorted.splice(at..=at, [key]).for_each(drop),
                Err(at) => sorted.insert(at, key),
            }
        }
        let mut by_header: Vec<usize> = (0..sorted.len()).collect();
        by_header.sort_by_key(|at| sorted.get(*at).map(|key| key.public.header()));
        Self { version, keys: sorted, by_header }
    }

    /// The version of the document that it was read from. 0: none was read yet.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The key of this id.
    pub fn find(&self, key_id: &str) -> Option<&KnownKey> {
        let at = self.keys.binary_search_by(|key| key.public.key_id().cmp(key_id)).ok()?;
        self.keys.get(at)
    }

    /// The key that writes the header of this token, whatever else that is. `None`: there is no such key, or it is another
    /// spelling.
    pub(super) fn find_by_header(&self, token: &str) -> Option<&KnownKey> {
        let compare = |at: &usize| self.keys.get(*at).map_or(Ordering::Less, |key| key.public.compare_header(token));
        let at = self.by_header.binary_search_by(compare).ok()?;
        self.keys.get(*self.by_header.get(at)?)
    }

    /// All of them, by id.
    pub fn iter(&self) -> impl Iterator<Item = &KnownKey> {
        self.keys.iter()
    }
}
