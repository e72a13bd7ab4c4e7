//! What a node does beside verifying: it follows the feed, renews its lease, fills its memory.

use crate::rules::{Protection, Scene};
use crate::state::{A, Generation, LookUp, Memory, Node, Renewal, State, Step};
use crate::store::Next;

impl State {
    /// The map, the window, the lease and the answers in flight are gone.
    pub fn drop_memory(&mut self, scene: &Scene, number: usize) {
        self.nodes[number].memory = None;
        self.nodes[number].renewals = [None; 2];
        if scene.has(Protection::DropInFlight) {
            self.drop_answers(number);
        }
        if usize::from(self.verification.node) == number {
            // What was read from the dropped memory was read before.
            if let Step::Captured(_) = self.verification.step {
                self.verification.step = Step::Captured(None);
            }
        }
    }

    fn drop_answers(&mut self, number: usize) {
        self.nodes[number].look_ups = [None; 2];
        if usize::from(self.verification.node) == number && matches!(self.verification.step, Step::Waits(_)) {
            self.verification.step = Step::Captured(None);
        }
    }

    /// Memory begins: empty, at the epoch that the store said, from which the feed is followed.
    pub fn begin_memory(&mut self, scene: &Scene, number: usize) {
        let Some((store, applied)) = self.nodes[number].beginning.take() else { return };
        if scene.has(Protection::DropInFlight) && scene.has(Protection::BeginningDropsInFlight) {
            self.drop_answers(number);
        }
        self.nodes[number].memory =
            Some(Memory { store, applied, seen: applied, map: None, window: None, lease: None });
    }

    /// A renewal is sent; the clock has been noted.
    pub fn send_renewal(&mut self, scene: &Scene, number: usize, store: u8) {
        let node = &mut self.nodes[number];
        let Some(memory) = node.memory else { return };
        if scene.counted > 0 {
            node.renewed += 1;
        }
        let Some(slot) = node.renewals.iter().position(Option::is_none) else { return };
        node.renewals[slot] = Some(Renewal { store, noted: 0, applied: memory.applied, reply: None });
        if !scene.slow_requests {
            self.run_renewal(scene, number, slot);
        }
    }

    /// The renewal's script: it is recorded if the server is the one that the node follows, and returns the epoch.
    pub fn run_renewal(&mut self, scene: &Scene, number: usize, slot: usize) {
        let Node { memory, renewed, .. } = self.nodes[number];
        let Some(renewal) = self.nodes[number].renewals[slot] else { return };
        if memory.is_some_and(|memory| memory.store == renewal.store) || !scene.has(Protection::IdentityDrops) {
            self.record(scene, renewal.store, number, renewal.applied, renewed);
        }
        let epoch = self.store(renewal.store).epoch;
        self.nodes[number].renewals[slot] = Some(Renewal { reply: Some(epoch), ..renewal });
    }

    /// Whether a renewal's reply, which may be here since long, makes a difference now.
    pub fn may_take_lease(&self, scene: &Scene, number: usize, slot: usize) -> bool {
        let Node { memory: Some(memory), renewals, .. } = &self.nodes[number] else { return false };
        let Some(Renewal { store, reply: Some(epoch), .. }) = renewals[slot] else { return false };
        let is_applied = memory.applied >= epoch || !scene.has(Protection::LeaseOnceApplied);
        is_applied || (store != memory.store && scene.has(Protection::IdentityDrops))
    }

    /// The renewal's reply is here, and its epoch is applied: the lease runs from the noted moment.
    pub fn take_lease(&mut self, scene: &Scene, number: usize, slot: usize) {
        let Some(renewal) = self.nodes[number].renewals[slot].take() else { return };
        let Some(memory) = &mut self.nodes[number].memory else { return };
        if renewal.store != memory.store && scene.has(Protection::IdentityDrops) {
            self.drop_memory(scene, number);
            return;
        }
        let noted = if scene.has(Protection::NotedBeforeSending) { renewal.noted } else { 0 };
        if noted < scene.lease {
            memory.lease = Some(memory.lease.map_or(noted, |age| age.min(noted)));
        }
    }

    /// The next entry of the feed. `None`: there is none, or it has been seen.
    pub fn next_entry(&self, number: usize) -> Option<(u8, bool)> {
        let memory = self.nodes[number].memory?;
        match self.stores[usize::from(memory.store)].next(memory.applied) {
            Next::Entry { epoch, is_the_change } => Some((epoch, is_the_change)),
            Next::Nothing => None,
        }
    }

    /// The next entry of the feed is applied; or memory is dropped, where that is not the successor.
    pub fn apply(&mut self, scene: &Scene, number: usize) {
        let Some((epoch, is_the_change)) = self.next_entry(number) else { return };
        let Some(memory) = &mut self.nodes[number].memory else { return };
        if epoch != memory.applied + 1 && scene.has(Protection::GapDrops) {
            self.drop_memory(scene, number);
            return;
        }
        if is_the_change {
            let remembers = memory.map.is_none() || scene.has(Protection::WindowOfMapped);
            if remembers && scene.has(Protection::Window) {
                memory.window = Some(0);
            }
            memory.map = memory.map.map(|_| Generation::New);
        }
        memory.applied = epoch;
        memory.seen = epoch;
    }

    /// Without the rule: the next entry counts as applied before it is.
    pub fn see(&mut self, number: usize) {
        let next = self.next_entry(number);
        if let (Some((epoch, _)), Some(memory)) = (next, &mut self.nodes[number].memory) {
            memory.seen = epoch;
        }
    }

    /// A report arrives: what was reported only rises.
    pub fn report(&mut self, number: usize) {
        let Some(memory) = self.nodes[number].memory else { return };
        if let Some(row) = &mut self.store(memory.store).table[number] {
            row.applied = row.applied.max(memory.seen);
        }
    }

    /// The account has to make room for others.
    pub fn evict(&mut self, number: usize) {
        if let Some(memory) = &mut self.nodes[number].memory {
            memory.map = None;
        }
    }

    /// A look-up is sent; the clock has been noted.
    pub fn ask(&mut self, scene: &Scene, number: usize, store: u8, awaited: bool) {
        let later = !matches!(self.verification.step, Step::Idle) && usize::from(self.verification.node) == number;
        let Some(slot) = self.nodes[number].look_ups.iter().position(Option::is_none) else { return };
        self.nodes[number].look_ups[slot] = Some(LookUp { store, asked: 0, reply: None, later, awaited });
        if !scene.slow_requests {
            self.run_look_up(number, slot);
        }
    }

    pub fn run_look_up(&mut self, number: usize, slot: usize) {
        let Some(look_up) = self.nodes[number].look_ups[slot] else { return };
        let reply = self.store(look_up.store).generation();
        self.nodes[number].look_ups[slot] = Some(LookUp { reply: Some(reply), ..look_up });
    }

    /// A look-up's answer is here: it is merged into memory, and the verification that waits for it goes on.
    pub fn answer(&mut self, scene: &Scene, number: usize, slot: usize) {
        let Some(look_up) = self.nodes[number].look_ups[slot].take() else { return };
        let Some(reply) = look_up.reply else { return };
        let another = self.nodes[number].memory.is_some_and(|memory| memory.store != look_up.store);
        if another && scene.has(Protection::IdentityDrops) {
            if look_up.awaited {
                self.verification.step = Step::Captured(None);
            }
            self.drop_memory(scene, number);
            return;
        }
        if let Some(memory) = &mut self.nodes[number].memory
            && (look_up.asked <= scene.lease || !scene.has(Protection::NoLateFill))
        {
            let remembered = memory.window.map(|_| Generation::New);
            memory.map = if scene.has(Protection::MergeByVersion) {
                memory.map.max(remembered).max(Some(reply))
            } else {
                Some(reply)
            };
        }
        if look_up.awaited {
            self.answered(scene, look_up, reply);
        }
    }

    /// The process is killed, and another one starts.
    pub fn restart(&mut self, number: usize) {
        self.nodes[number] = Node::STARTING;
        for store in &mut self.stores {
            store.table[number] = None;
        }
        if usize::from(self.verification.node) == number {
            self.verification = crate::state::Verification::IDLE;
        }
    }

    /// The goodbye's script.
    pub fn leave(&mut self, number: usize) {
        self.nodes[number].goodbye = false;
        self.store(A).table[number] = None;
    }

    /// The node goes: it drops its lease, and then says goodbye.
    pub fn say_goodbye(&mut self, scene: &Scene, number: usize) {
        self.nodes[number].stopping = true;
        self.nodes[number].goodbye = true;
        if !scene.has(Protection::GoodbyeDropsLease) {
            return;
        }
        if scene.has(Protection::GoodbyeIsFinal) {
            self.drop_memory(scene, number);
        } else if let Some(memory) = &mut self.nodes[number].memory {
            memory.lease = None;
        }
    }
}

impl Node {
    /// A process that has just started.
    pub const STARTING: Self = Self {
        memory: None,
        beginning: None,
        renewals: [None; 2],
        look_ups: [None; 2],
        renewed: 0,
        stopping: false,
        goodbye: false,
    };
}
