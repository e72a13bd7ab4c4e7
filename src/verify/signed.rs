//! What a genuine token says, in few bytes: what tokens have in common is held once for all of them.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use super::KnownKey;
use super::hashing::{Digested, Seeded};
use crate::account::{AccountId, Audience, Binding};
use crate::token::{Algorithm, Claimed, Confirmation, TokenId};

/// What a token says, its signature being genuine. Neither its text nor its `jti` is kept, nor its roles, which are hints.
#[derive(Debug, Clone)]
pub(super) struct Signed {
    pub(super) account: AccountId,
    pub(super) token_id: TokenId,
    pub(super) generation: u64,
    pub(super) issued_at: i64,
    pub(super) expires_at: i64,
    pub(super) common: Arc<Common>,
}

/// What most tokens say alike.
pub(super) struct Common {
    pub(super) key_id: Arc<str>,
    pub(super) algorithm: Algorithm,
    pub(super) issuer: String,
    pub(super) audiences: Box<[Audience]>,
    /// What the token is bound to; hardly two are bound to the same.
    pub(super) binding: Option<Binding>,
    /// Whether it is held for all, and not for one token alone.
    pub(super) is_shared: bool,
}

/// For how many it is held is nobody's affair.
impl fmt::Debug for Common {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key_id, algorithm, issuer, audiences, binding, is_shared: _ } = self;
        write!(f, "Common({algorithm} {key_id} of {issuer} for {audiences:?}, bound to {binding:?})")
    }
}

impl Common {
    fn of(claimed: &Claimed<'_>, key: &KnownKey, is_shared: bool) -> Self {
        Self {
            key_id: Arc::clone(key.public.shared_key_id()),
            algorithm: key.public.algorithm(),
            issuer: claimed.issuer.clone().into_owned(),
            audiences: claimed.audiences.iter().cloned().collect(),
            binding: claimed.confirmation.as_ref().map(Confirmation::to_binding),
            is_shared,
        }
    }

    fn says(&self, claimed: &Claimed<'_>, key: &KnownKey) -> bool {
        *self.key_id == *key.public.key_id()
            && self.algorithm == key.public.algorithm()
            && self.issuer == claimed.issuer
            && *self.audiences == *claimed.audiences
            && self.binding.is_none()
            && claimed.confirmation.is_none()
    }

    /// What it takes, in bytes, as malloc counts them.
    fn bytes(&self) -> u64 {
        let audiences = self.audiences.iter().map(|audience| block(audience.as_str().len()));
        let bound =
            self.binding.as_ref().map_or(0, |(Binding::Certificate(text) | Binding::Key(text))| block(text.capacity()));
        let held = block(2 * size_of::<usize>() + size_of::<Self>())
            + block(2 * size_of::<usize>() + self.key_id.len())
            + block(self.issuer.capacity())
            + block(size_of_val(&*self.audiences))
            + audiences.sum::<usize>()
            + bound;
        held as u64
    }

    /// What a token that says this holds of its own besides its own words.
    pub(super) fn charge(&self) -> u64 {
        if self.is_shared { 0 } else { self.bytes() }
    }
}

/// What malloc takes for so many bytes.
fn block(bytes: usize) -> usize {
    if bytes == 0 { 0 } else { (bytes + 8).next_multiple_of(16).max(32) }
}

/// What tokens have in common, held once.
#[derive(Debug)]
pub(super) struct Commons {
    /// The most bytes that it may hold. What comes when it is full, each token holds for itself.
    most: u64,
    seeded: Seeded,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    held: HashMap<u64, Arc<Common>, Digested>,
    bytes: u64,
    /// So many more must come before it is worth looking again for what no token says any more.
    patience: usize,
}

/// Of the table's own: a place for each, with its share of what it keeps free to grow.
const PLACE: u64 = 48;

impl Commons {
    /// Of at most so many bytes. 0: it holds nothing.
    pub(super) fn within(most: u64) -> Self {
        Self { most, seeded: Seeded::new(), table: Mutex::default() }
    }

    /// What it takes, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.table.lock().unwrap_or_else(PoisonError::into_inner).bytes
    }

    /// What a token says that this key signed.
    pub(super) fn signed(&self, claimed: &Claimed<'_>, key: &KnownKey) -> Signed {
        Signed {
            account: claimed.account,
            token_id: claimed.token_id(),
            generation: claimed.generation,
            issued_at: claimed.issued_at,
            expires_at: claimed.expires_at,
            common: self.common(claimed, key),
        }
    }

    fn common(&self, claimed: &Claimed<'_>, key: &KnownKey) -> Arc<Common> {
        let own = || Arc::new(Common::of(claimed, key, false));
        if self.most == 0 || claimed.confirmation.is_some() {
            return own();
        }
        let hash = self.hash(claimed, key);
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = table.held.get(&hash) {
            return if found.says(claimed, key) { Arc::clone(found) } else { own() };
        }
        let common = Common::of(claimed, key, true);
        let bytes = common.bytes() + PLACE;
        if table.bytes + bytes > self.most {
            table.tidy();
        }
        if table.bytes + bytes > self.most {
            return Arc::new(Common { is_shared: false, ..common });
        }
        let common = Arc::new(common);
        table.bytes += bytes;
        table.held.insert(hash, Arc::clone(&common));
        common
    }

    fn hash(&self, claimed: &Claimed<'_>, key: &KnownKey) -> u64 {
        let mut hasher = self.seeded.build_hasher();
        key.public.key_id().hash(&mut hasher);
        claimed.issuer.hash(&mut hasher);
        claimed.audiences.hash(&mut hasher);
        hasher.finish()
    }
}

impl Table {
    /// Lets go of what no token says any more. Not at each that comes: it looks at all of them.
    fn tidy(&mut self) {
        if self.patience > 0 {
            self.patience -= 1;
            return;
        }
        let Self { held, bytes, .. } = self;
        held.retain(|_, common| {
            let is_said = Arc::strong_count(common) > 1;
            if !is_said {
                *bytes -= common.bytes() + PLACE;
            }
            is_said
        });
        self.patience = held.len();
    }
}
