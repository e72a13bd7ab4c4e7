//! Hashing for tables whose keys no stranger chooses: a seed that nobody knows, and two multiplications.

use std::hash::{BuildHasher, Hasher, RandomState};

/// Seeded once, for as long as the table lives.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seeded(u64, u64);

impl Seeded {
    pub(super) fn new() -> Self {
        // The standard library's keys come from the operating system.
        let random = RandomState::new();
        // Odd, so that a multiplication loses nothing.
        Self(random.hash_one(0_u64), random.hash_one(1_u64) | 1)
    }
}

impl BuildHasher for Seeded {
    type Hasher = Folding;

    fn build_hasher(&self) -> Folding {
        Folding { state: self.0, key: self.1 }
    }
}

/// Multiplies to 128 bits and folds the halves, eight bytes at a time.
#[derive(Debug)]
pub(super) struct Folding {
    state: u64,
    key: u64,
}

impl Hasher for Folding {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word.iter_mut().zip(chunk).for_each(|(to, from)| *to = *from);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, byte: u8) {
        self.write_u64(u64::from(byte));
    }

    fn write_u64(&mut self, word: u64) {
        let product = u128::from(self.state ^ word) * u128::from(self.key);
        self.state = (product >> 64) as u64 ^ product as u64 ^ self.key.rotate_left(32);
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }

    fn finish(&self) -> u64 {
        let product = u128::from(self.state) * u128::from(self.key);
        (product >> 64) as u64 ^ product as u64
    }
}

/// For keys that are digests: any eight bytes of one are as good as any hash.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Digested;

impl BuildHasher for Digested {
    type Hasher = FirstBytes;

    fn build_hasher(&self) -> FirstBytes {
        FirstBytes(0)
    }
}

/// The first eight bytes that are written.
#[derive(Debug)]
pub(super) struct FirstBytes(u64);

impl Hasher for FirstBytes {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// Ids that differ in a counter, in the time, in one bit: the upper and the lower half tell them apart.
    #[test]
    fn keys_that_are_alike_are_spread() {
        let seeded = Seeded::new();
        let keys: Vec<[u8; 16]> =
            (0..4096_u128).flat_map(|n| [n, n << 40, n << 80, n << 112]).map(u128::to_be_bytes).collect();
        let distinct: HashSet<_> = keys.iter().collect();
        let hashes: HashSet<u64> = keys.iter().map(|key| seeded.hash_one(key)).collect();
        assert_eq!(hashes.len(), distinct.len());
        for half in [|hash: u64| hash as u32, |hash: u64| (hash >> 32) as u32] {
            let halves: HashSet<u32> = hashes.iter().map(|hash| half(*hash)).collect();
            assert!(halves.len() + 16 > distinct.len(), "{} of {}", halves.len(), distinct.len());
        }
    }

    #[test]
    fn two_tables_have_two_seeds() {
        assert_ne!(Seeded::new().hash_one(1_u64), Seeded::new().hash_one(1_u64));
    }
}
