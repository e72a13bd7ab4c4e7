//! Chance that can be had again: what follows from one seed.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

/// SplitMix64.
pub struct Dice(u64);

/// Of the environment, or a new one.
pub fn seed() -> u64 {
    let wanted = std::env::var("COUNTERMARK_RACE_SEED").ok();
    wanted.map_or_else(|| RandomState::new().hash_one(0) % 1_000_000, |seed| seed.parse().expect("a number"))
}

impl Dice {
    /// Each thread has its own.
    pub fn new(seed: u64, thread: u64) -> Self {
        Self(seed.wrapping_mul(0x2545_f491_4f6c_dd1d).wrapping_add(thread << 32))
    }

    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.roll() % limit.max(1) as u64) as usize
    }

    pub fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    pub fn of<T: Copy>(&mut self, some: &[T]) -> T {
        some[self.below(some.len())]
    }

    /// Milliseconds.
    pub fn between(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_micros(least * 1_000 + self.below(((most - least) * 1_000) as usize) as u64)
    }
}
