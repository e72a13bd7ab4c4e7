//! Signatures that were found genuine, so that a token that comes again and again is checked once. What is remembered is a
//! fact about bytes, never a verdict: the key's state, the times and the account's state are asked every time.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use aws_lc_rs::digest;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{OptionsBuilder, Weighter};

use super::KnownKey;
use super::hashing::Digested;
use super::signed::{Commons, Signed};
use crate::token::{Claimed, MAX_TOKEN_LENGTH};

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

type Known = Cache<Digest, Signed, Weight, Digested, DefaultLifecycle<Digest, Signed>>;

/// The memory of signatures. Made by `default()`, it holds none.
pub(super) struct Signatures {
    known: Option<Known>,
    commons: Commons,
    under_way: UnderWay,
    hits: [Stripe; STRIPES],
    misses: AtomicU64,
}

/// So that those who count hits at the same time rarely write to the same place.
const STRIPES: usize = 16;

#[derive(Default)]
#[repr(align(64))]
struct Stripe(AtomicU64);

impl Default for Signatures {
    fn default() -> Self {
        Self::within(0)
    }
}

impl fmt::Debug for Signatures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.counts().fmt(f)
    }
}

impl Signatures {
    /// One of at most so many bytes. 0: it holds nothing.
    pub(super) fn within(bytes: u64) -> Self {
        // What tokens have in common gets an eighth: it is little, or each holds its own.
        let for_commons = bytes / 8;
        // Tables never shrink: there must be room beside as many tokens as there ever were for what fewer hold for themselves.
        let places = (bytes - for_commons) / (PLACE + LEAST);
        let contents = places * LEAST;
        let options = OptionsBuilder::new()
            .estimated_items_capacity(usize::try_from(places).unwrap_or(usize::MAX))
            .weight_capacity(contents)
            .ghost_allocation(GHOSTS)
            .shards(usize::try_from(contents / SHARD).unwrap_or(usize::MAX).clamp(1, SHARDS))
            .build();
        let known = options.ok().filter(|_| places > 0);
        let known = known.map(|options| Cache::with_options(options, Weight, Digested, DefaultLifecycle::default()));
        let commons = Commons::within(if known.is_some() { for_commons } else { 0 });
        Self { known, commons, under_way: UnderWay::default(), hits: Default::default(), misses: AtomicU64::new(0) }
    }

    /// The name of a token here. `None`: it is none, or nothing is held.
    pub(super) fn digest(&self, token: &str) -> Option<Digest> {
        if self.known.is_none() || token.len() > MAX_TOKEN_LENGTH {
            return None;
        }
        digest::digest(&digest::SHA256, token.as_bytes()).as_ref().try_into().ok().map(Digest)
    }

    /// What the token of this name says, if its signature is known to be genuine.
    pub(super) fn find(&self, digest: &Digest) -> Option<Signed> {
        let found = self.known.as_ref()?.get(digest)?;
        let Digest([.., last]) = digest;
        if let Some(Stripe(hits)) = self.hits.get(usize::from(*last) % STRIPES) {
            hits.fetch_add(1, Ordering::Relaxed);
        }
        Some(found)
    }

    /// What the token says, if this key signed it, which is the one that it names. Remembered if it did, unless the key may no longer sign: with a revoked one
    /// anybody might, as much as he likes.
    pub(super) fn check(
        &self,
        digest: Option<Digest>,
        claimed: &Claimed<'_>,
        key: &KnownKey,
        signed: &[u8],
        signature: &[u8],
    ) -> Option<Signed> {
        let is_genuine = || key.public.verifies(signed, signature);
        self.once(digest, key.state.is_published(), || is_genuine().then(|| self.commons.signed(claimed, key)))
    }

    /// Those who ask about one token at the same time wait for one check, whatever comes of it: quick_cache's own guard would
    /// pass a failure on from one of them to the next.
    fn once(
        &self,
        digest: Option<Digest>,
        is_remembered: bool,
        check: impl FnOnce() -> Option<Signed>,
    ) -> Option<Signed> {
        let check = || {
            self.misses.fetch_add(1, Ordering::Relaxed);
            check()
        };
        let (Some(known), Some(digest)) = (&self.known, digest) else { return check() };
        let flight = Flight::join(&self.under_way, digest);
        let genuine = flight.genuine.get_or_init(|| {
            // It may have landed since we looked.
            if let Some(signed) = known.peek(&digest) {
                return Some(signed);
            }
            let genuine = check();
            if let Some(signed) = genuine.as_ref().filter(|_| is_remembered) {
                known.insert(digest, signed.clone());
            }
            genuine
        });
        genuine.clone()
    }

    pub(super) fn counts(&self) -> SignatureCounts {
        let hits = self.hits.iter().map(|Stripe(hits)| hits.load(Ordering::Relaxed)).sum();
        let misses = self.misses.load(Ordering::Relaxed);
        let Some(known) = &self.known else { return SignatureCounts { misses, ..SignatureCounts::default() } };
        let entries = known.len() as u64;
        let charged = known.weight().saturating_sub(entries * LEAST);
        let bytes = known.memory_used().total() as u64 + charged + self.commons.bytes();
        SignatureCounts { hits, misses, entries, bytes }
    }
}

type Flights = HashMap<Digest, Arc<OnceLock<Option<Signed>>>, Digested>;

type UnderWay = Mutex<Flights>;

/// A check under way. It is synchronous: there are no more of them than threads.
struct Flight<'a> {
    all: &'a UnderWay,
    digest: Digest,
    genuine: Arc<OnceLock<Option<Signed>>>,
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

fn locked(all: &UnderWay) -> MutexGuard<'_, Flights> {
    all.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Evicted tokens whose hashes are remembered, for each that is held: each takes a whole place.
const GHOSTS: f64 = 0.25;

/// What the tables take for a token, in bytes: its place in the slab and in the map, which grows by doubling, and its share of
/// the evicted tokens whose hashes are remembered.
const PLACE: u64 = 160;

/// What a token weighs that holds nothing for itself: the more this is, the more is kept free for those that do.
const LEAST: u64 = 48;

/// At most so many pieces that are locked one by one, each with room for the heaviest of tokens.
const SHARDS: usize = 32;
const SHARD: u64 = 256 << 10;

/// What a token holds for itself, in bytes, and a little for its place, of which there are only so many.
#[derive(Clone)]
struct Weight;

impl Weighter<Digest, Signed> for Weight {
    fn weight(&self, _: &Digest, signed: &Signed) -> u64 {
        LEAST + signed.common.charge()
    }
}

#[cfg(test)]
mod tests;
