//! What the scripts do, each in one step.

use crate::rules::{Protection, Scene};
use crate::state::{A, B, Generation, Row, State, Store};

/// How much of the feed is there after an applied epoch.
pub enum Next {
    Nothing,
    Entry { epoch: u8, is_the_change: bool },
}

impl Store {
    pub fn generation(&self) -> Generation {
        if self.changed.is_some() { Generation::New } else { Generation::Old }
    }

    /// The next entry of the feed: what was trimmed is skipped without a word.
    pub fn next(&self, applied: u8) -> Next {
        let epoch = applied.max(self.trimmed) + 1;
        if epoch > self.epoch {
            return Next::Nothing;
        }
        Next::Entry { epoch, is_the_change: self.changed == Some(epoch) }
    }
}

impl State {
    pub fn store(&mut self, store: u8) -> &mut Store {
        &mut self.stores[usize::from(store)]
    }

    fn is_cut_off(&self, scene: &Scene) -> bool {
        self.promoted.is_some_and(|age| age >= scene.lag())
    }

    fn answers(&self, scene: &Scene, store: u8, fence: Protection) -> bool {
        let runs = match store {
            A => !self.is_cut_off(scene) || !scene.has(fence),
            _ => self.promoted.is_some(),
        };
        let met = self.stores[usize::from(store)].met || !scene.has(Protection::MetBeforeServing);
        runs && met
    }

    /// Whether the server runs the scripts of renewals and of beginnings.
    pub fn renews(&self, scene: &Scene, store: u8) -> bool {
        self.answers(scene, store, Protection::FencedRenewals)
    }

    /// Whether it runs look-ups.
    pub fn looks_up(&self, scene: &Scene, store: u8) -> bool {
        self.answers(scene, store, Protection::FencedLookUps)
    }

    /// Whether it takes changes.
    pub fn commits(&self, scene: &Scene, store: u8) -> bool {
        if store == A { !self.is_cut_off(scene) } else { self.promoted.is_some() }
    }

    /// The change: from now on the old generation is dead, if this is the store that counts.
    pub fn change(&mut self, store: u8) {
        let copy = self.store(store);
        copy.epoch += 1;
        copy.changed = Some(copy.epoch);
        if store == B || self.promoted.is_none() {
            self.dead = [Some(0); 2];
        }
    }

    /// A node's renewal is recorded.
    pub fn record(&mut self, scene: &Scene, store: u8, node: usize, applied: u8, renewed: u8) {
        let row = &mut self.store(store).table[node];
        let known = row.unwrap_or(Row { applied: 0, count: 0 });
        let count = match scene.counted {
            0 => 0,
            // The node's own count, or one that the table keeps for as long as the node is in it.
            _ if scene.has(Protection::CountNeverReturns) => renewed,
            _ => known.count + 1,
        };
        *row = Some(Row { applied: known.applied.max(applied), count });
    }

    /// The replica takes over with what it has: what the old primary took since is lost.
    pub fn promote(&mut self) {
        self.promoted = Some(0);
        self.store(B).met = false;
        if self.stores[usize::from(B)].changed.is_none() {
            self.dead = [None; 2];
        }
    }
}
