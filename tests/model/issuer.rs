//! The receipt, and who looks after the table.

use crate::rules::{Goodbye, Protection, Scene};
use crate::state::{B, Issuer, Phase, Remover, State};

impl State {
    /// The commit's script: the change, its epoch, the node table. Who committed it before recognises it.
    pub fn commit(&mut self) {
        let (Some(store), Phase::Sent { elapsed }) = (self.issuer.home, self.issuer.phase) else { return };
        if self.store(store).changed.is_none() {
            self.change(store);
        }
        let copy = *self.store(store);
        let Some(epoch) = copy.changed else { return };
        let waiting = copy.table.map(|row| row.is_some());
        self.issuer.phase = Phase::Committed { store, epoch, waiting, elapsed };
    }

    /// The commit's reply is here, and goes into the journal; the wait begins.
    pub fn committed(&mut self) {
        let Phase::Committed { store, epoch, waiting, elapsed } = self.issuer.phase else { return };
        self.issuer.journal = true;
        self.issuer.phase = Phase::Waiting { store, epoch, waiting, elapsed };
    }

    /// The table is read again.
    pub fn poll(&mut self, scene: &Scene) {
        let polled = self.polled(scene);
        if let (Some(polled), Phase::Waiting { waiting, .. }) = (polled, &mut self.issuer.phase) {
            *waiting = polled;
        }
    }

    /// What the table says now. Returns who is still waited for.
    pub fn polled(&self, scene: &Scene) -> Option<[bool; 2]> {
        let Phase::Waiting { store, epoch, mut waiting, .. } = self.issuer.phase else { return None };
        // On another server: that is found out when the identity is read again.
        if self.issuer.home != Some(store) {
            return None;
        }
        let table = self.stores[usize::from(store)].table;
        for (node, waits) in waiting.iter_mut().enumerate() {
            *waits &= match table[node] {
                Some(row) => row.applied < epoch,
                None => scene.has(Protection::VanishedIsNotAcknowledged),
            };
        }
        Some(waiting)
    }

    /// Whether the wait is over, and if so, whether by acknowledgements alone.
    pub fn waited(&self, scene: &Scene) -> Option<bool> {
        let Phase::Waiting { waiting, elapsed, .. } = self.issuer.phase else { return None };
        if scene.has(Protection::Settle) && self.issuer.settling.is_some() {
            return None;
        }
        let mut nodes = waiting.iter().take(scene.nodes);
        let acknowledged =
            if scene.has(Protection::EachNode) { !nodes.any(|waits| *waits) } else { nodes.any(|waits| !*waits) };
        if acknowledged {
            return Some(true);
        }
        (elapsed >= scene.leases_end() || !scene.has(Protection::ReceiptWaits)).then_some(false)
    }

    /// All have acknowledged or are without a lease: the identity is read again, and where it has changed, all begins anew.
    pub fn conclude(&mut self, scene: &Scene) {
        let Phase::Waiting { store, .. } = self.issuer.phase else { return };
        let Some(acknowledged) = self.waited(scene) else { return };
        self.issuer.phase = if self.issuer.home != Some(store) && scene.has(Protection::IdentityReadAgain) {
            Phase::Idle
        } else if scene.failover.is_some() {
            Phase::Confirmed { acknowledged }
        } else {
            Phase::Receipted { acknowledged }
        };
    }

    pub fn give_receipt(&mut self) {
        if let Phase::Confirmed { acknowledged } = self.issuer.phase {
            self.issuer.phase = Phase::Receipted { acknowledged };
        }
    }

    /// The issuer meets the promoted server: it raises it by what its journal names, and waits for the leases of the other.
    pub fn meet(&mut self, scene: &Scene) {
        self.issuer.home = Some(B);
        self.issuer.settling = (scene.has(Protection::Settle) && !self.issuer.named).then_some(0);
        self.issuer.named |= !scene.has(Protection::NamedOnceSettled);
        if self.issuer.journal && self.store(B).changed.is_none() {
            self.change(B);
        }
        self.store(B).met = true;
        // A request on the connection that broke has not run, or its reply is lost; or the reply is there already.
        if let Phase::Sent { .. } = self.issuer.phase {
            self.issuer.phase = Phase::Idle;
        }
    }

    /// The process ends, and another one begins with its journal.
    pub fn restart_issuer(&mut self) {
        let Issuer { journal, named, .. } = self.issuer;
        self.issuer = Issuer { journal, named, ..Issuer::NOT_STARTED };
    }

    /// A remover sees the node's count.
    pub fn watch(&mut self, remover: usize) {
        let row = self.stores[0].table[0];
        self.removers[remover] = row.map_or(Remover::Idle, |row| Remover::Watches { count: row.count, age: 0 });
    }

    /// The count has stood still for long.
    pub fn send_removal(&mut self, remover: usize) {
        if let Remover::Watches { count, .. } = self.removers[remover] {
            self.removers[remover] = Remover::Removes { count };
        }
    }

    /// The script that removes a node.
    pub fn remove(&mut self, scene: &Scene, remover: usize) {
        let Remover::Removes { count } = self.removers[remover] else { return };
        self.removers[remover] = Remover::Idle;
        let row = &mut self.stores[0].table[0];
        if row.is_some_and(|row| row.count == count || !scene.has(Protection::RemovalByCount)) {
            *row = None;
        }
    }

    /// Whether nodes may say goodbye now.
    pub fn may_say_goodbye(&self, scene: &Scene) -> bool {
        match scene.goodbye {
            Goodbye::Never => false,
            Goodbye::Ever => true,
            Goodbye::AfterTheCommit => matches!(self.issuer.phase, Phase::Waiting { .. }),
        }
    }
}

impl Issuer {
    pub const NOT_STARTED: Self = Self { home: None, journal: false, named: false, settling: None, phase: Phase::Idle };
}
