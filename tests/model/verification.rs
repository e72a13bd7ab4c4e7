//! The decision: capture the lease, read the state, read the clock last.

use crate::rules::{Protection, Scene};
use crate::state::{Generation, LookUp, Phase, State, Step, Verification};

impl State {
    /// A verification of the old token begins.
    pub fn begin(&mut self, node: usize) {
        let late = matches!(self.issuer.phase, Phase::Receipted { .. });
        // What is in flight was sent before.
        for look_up in self.nodes[node].look_ups.iter_mut().flatten() {
            look_up.later = false;
        }
        self.verification = Verification { node: u8::try_from(node).unwrap(), late, step: Step::Began };
    }

    pub fn capture(&mut self) {
        let memory = self.nodes[usize::from(self.verification.node)].memory;
        self.verification.step = Step::Captured(memory.and_then(|memory| memory.lease));
    }

    /// The state in memory, under the captured lease.
    pub fn read(&mut self) {
        let Step::Captured(Some(lease)) = self.verification.step else { return };
        let memory = self.nodes[usize::from(self.verification.node)].memory;
        match memory.and_then(|memory| memory.map) {
            Some(Generation::Old) => self.verification.step = Step::Read(lease),
            Some(Generation::New) => self.verification = Verification::IDLE,
            None => {}
        }
    }

    /// It goes on waiting for a look-up that is under way.
    pub fn join(&mut self, slot: usize) {
        let Step::Captured(lease) = self.verification.step else { return };
        if let Some(look_up) = &mut self.nodes[usize::from(self.verification.node)].look_ups[slot] {
            look_up.awaited = true;
            self.verification.step = Step::Waits(lease);
        }
    }

    /// It asks the store itself.
    pub fn look_up(&mut self, scene: &Scene, store: u8) {
        let Step::Captured(lease) = self.verification.step else { return };
        self.ask(scene, usize::from(self.verification.node), store, true);
        self.verification.step = Step::Waits(lease);
    }

    /// The look-up that it waited for has answered.
    pub fn answered(&mut self, scene: &Scene, look_up: LookUp, reply: Generation) {
        let Step::Waits(lease) = self.verification.step else { return };
        let is_joined = !look_up.later;
        if is_joined && scene.has(Protection::JoinOnlyLater) && scene.has(Protection::JoinedThroughMemory) {
            // As if it had been in memory from the beginning.
            self.verification.step = Step::Captured(lease);
            return;
        }
        match reply {
            Generation::Old => self.verification.step = Step::Answered(look_up.asked.min(scene.lease)),
            Generation::New => self.verification = Verification::IDLE,
        }
    }

    /// Reads the clock, and accepts if it may.
    pub fn decide(&mut self, scene: &Scene) {
        let node = usize::from(self.verification.node);
        let memory = self.nodes[node].memory;
        let (from_memory, fresh) = match self.verification.step {
            Step::Read(_) if !scene.has(Protection::ClockReadLast) => (true, true),
            Step::Read(_) if !scene.has(Protection::CapturedLease) => {
                (true, memory.is_some_and(|memory| memory.lease.is_some()))
            }
            Step::Read(lease) => (true, lease < scene.lease),
            Step::Answered(asked) => (false, asked < scene.lease || !scene.has(Protection::LookUpBound)),
            _ => return,
        };
        self.verification.step = match (fresh, from_memory) {
            (true, _) => Step::Accepted { from_memory, stale: self.dead[node].is_some_and(|age| age >= scene.bound()) },
            // The lease is over: the store is asked.
            (false, true) => Step::Captured(None),
            // 503.
            (false, false) => Step::Idle,
        };
        if self.verification.step == Step::Idle {
            self.verification = Verification::IDLE;
        }
    }
}

impl Verification {
    pub const IDLE: Self = Self { node: 0, late: false, step: Step::Idle };
}
