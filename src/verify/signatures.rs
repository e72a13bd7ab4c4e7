//! Signatures that were found genuine, so that a token that comes again and again is checked once. What is remembered is a
//! fact about bytes, never a verdict: the key's state, the times and the account's state are asked every time.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use aws_lc_rs::digest;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::KnownKey;
use crate::account::Audience;
use crate::name::{RoleName, TeamName};
use crate::token::{Claims, Confirmation, FormError, Header, MAX_TOKEN_LENGTH, Parts};

/// What a token says, and which key is to have signed it. Neither its text nor its `jti` is kept.
#[derive(Debug)]
pub(super) struct Signed {
    pub(super) header: Header,
    pub(super) claims: Claims,
}

impl Signed {
    /// Reads the payload and the header, in this order.
    pub(super) fn read(parts: &Parts<'_>) -> Result<Self, FormError> {
        let claims = parts.claims()?;
        Ok(Self { header: parts.header()?, claims })
    }
}

/// SHA-256 of a whole token, its signature too: another signature is another token. Shown nowhere.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Digest([u8; 32]);

/// What the memory of signatures has come to since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SignatureCounts {
    /// Tokens whose signature was known.
    pub hits: u64,
    /// Signatures that had to be checked.
    pub misses: u64,
    /// Signatures that are known.
    pub entries: u64,
    /// The memory that they take up, in bytes.
    pub bytes: u64,
}

/// The memory of signatures. Made by `default()`, it holds none.
#[derive(Default)]
pub(super) struct Signatures {
    known: Option<Cache<Digest, Arc<Signed>, Weight>>,
    under_way: UnderWay,
    misses: AtomicU64,
}

impl fmt::Debug for Signatures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.counts().fmt(f)
    }
}

impl Signatures {
    /// One of at most so many bytes. 0: it holds nothing.
    pub(super) fn within(bytes: u64) -> Self {
        let contents = bytes / (LEAST + TABLES) * LEAST;
        let entries = usize::try_from(contents / TYPICAL).unwrap_or(usize::MAX);
        let known = (contents > 0).then(|| Cache::with_weighter(entries, contents, Weight));
        Self { known, ..Self::default() }
    }

    /// The name of a token here. `None`: it is none, or nothing is held.
    pub(super) fn digest(&self, token: &str) -> Option<Digest> {
        if self.known.is_none() || token.len() > MAX_TOKEN_LENGTH {
            return None;
        }
        digest::digest(&digest::SHA256, token.as_bytes()).as_ref().try_into().ok().map(Digest)
    }

    /// What the token of this name says, if its signature is known to be genuine.
    pub(super) fn find(&self, digest: &Digest) -> Option<Arc<Signed>> {
        self.known.as_ref()?.get(digest)
    }

    /// Whether this key signed it. Remembered if it did, unless the key may no longer sign: with a revoked one anybody might,
    /// as much as he likes.
    pub(super) fn check(
        &self,
        digest: Option<Digest>,
        signed: &Arc<Signed>,
        key: &KnownKey,
        parts: &Parts<'_>,
    ) -> bool {
        let remembered = key.state.is_published().then_some(signed);
        self.once(digest, remembered, || key.public.verifies(parts.signed, parts.signature))
    }

    /// Those who ask about one token at the same time wait for one check, whatever comes of it: quick_cache's own guard would
    /// pass a failure on from one of them to the next.
    fn once(&self, digest: Option<Digest>, remembered: Option<&Arc<Signed>>, check: impl FnOnce() -> bool) -> bool {
        let check = || {
            self.misses.fetch_add(1, Ordering::Relaxed);
            check()
        };
        let (Some(known), Some(digest)) = (&self.known, digest) else { return check() };
        let flight = Flight::join(&self.under_way, digest);
        *flight.genuine.get_or_init(|| {
            // It may have landed since we looked.
            if known.peek(&digest).is_some() {
                return true;
            }
            let genuine = check();
            if let Some(signed) = remembered.filter(|_| genuine) {
                known.insert(digest, Arc::clone(signed));
            }
            genuine
        })
    }

    pub(super) fn counts(&self) -> SignatureCounts {
        let misses = self.misses.load(Ordering::Relaxed);
        let Some(known) = &self.known else { return SignatureCounts { misses, ..SignatureCounts::default() } };
        SignatureCounts {
            hits: known.hits(),
            misses,
            entries: known.len() as u64,
            bytes: known.weight() + known.memory_used().total() as u64,
        }
    }
}

type UnderWay = Mutex<HashMap<Digest, Arc<OnceLock<bool>>>>;

/// A check under way. It is synchronous: there are no more of them than threads.
struct Flight<'a> {
    all: &'a UnderWay,
    digest: Digest,
    genuine: Arc<OnceLock<bool>>,
}

impl<'a> Flight<'a> {
    fn join(all: &'a UnderWay, digest: Digest) -> Self {
        let genuine = Arc::clone(locked(all).entry(digest).or_default());
        Self { all, digest, genuine }
    }
}

/// Whoever joins from now on makes a new check, or finds the signature known.
impl Drop for Flight<'_> {
    fn drop(&mut self) {
        if let Entry::Occupied(entry) = locked(self.all).entry(self.digest)
            && Arc::ptr_eq(entry.get(), &self.genuine)
        {
            entry.remove();
        }
    }
}

fn locked(all: &UnderWay) -> MutexGuard<'_, HashMap<Digest, Arc<OnceLock<bool>>>> {
    all.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The least that a token weighs. So no more of them are held than the tables have room for.
const LEAST: u64 = 384;

/// What the tables take for one of the lightest tokens, in bytes: its place in the slab and in the map, both of which grow by
/// doubling, and its share of the evicted tokens whose hashes are remembered.
const TABLES: u64 = 176;

/// What an ordinary token weighs, generously: the cache then remembers the fewer evicted ones.
const TYPICAL: u64 = 1024;

/// What an entry holds, in bytes, as malloc counts them; without its place in the tables.
#[derive(Clone)]
struct Weight;

impl Weighter<Digest, Arc<Signed>> for Weight {
    fn weight(&self, _: &Digest, signed: &Arc<Signed>) -> u64 {
        let Signed { header, claims } = &**signed;
        let audiences = claims.audiences.iter().map(|audience| block(audience.as_str().len()));
        let teams = claims.teams.iter().map(|(team, role)| block(team.as_str().len()) + block(role.as_str().len()));
        let confirmation = claims
            .confirmation
            .as_ref()
            .map_or(0, |(Confirmation::Certificate { thumbprint: text } | Confirmation::Key { jkt: text })| {
                text.capacity()
            });
        // Nodes of a tree are at least half full of their 11 places, and have up to 12 children.
        let node = 11 * size_of::<(TeamName, RoleName)>() + 14 * size_of::<usize>();
        let held = block(2 * size_of::<usize>() + size_of::<Signed>())
            + block(header.key_id.capacity())
            + block(claims.issuer.capacity())
            + block(claims.role.as_str().len())
            + block(confirmation)
            + block(claims.audiences.capacity() * size_of::<Audience>())
            + audiences.sum::<usize>()
            + claims.teams.len().div_ceil(5) * block(node)
            + teams.sum::<usize>();
        (held as u64).max(LEAST)
    }
}

/// What malloc takes for so many bytes.
fn block(bytes: usize) -> usize {
    if bytes == 0 { 0 } else { (bytes + 8).next_multiple_of(16).max(32) }
}

#[cfg(test)]
mod tests;
