//! What may happen next, in any order: every process takes a step, or a clock ticks, or a message arrives, or none of it.

use crate::rules::{Protection, Scene};
use crate::state::{A, B, Phase, Remover, State, Step};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// A clock; with no drift, all of them.
    Tick(usize),
    // The verification.
    Begin {
        node: usize,
    },
    CaptureLease,
    ReadState,
    Join {
        slot: usize,
    },
    LookUp {
        store: u8,
    },
    GiveUp,
    ReadClock,
    Finish,
    // A node.
    AskWhereToBegin {
        node: usize,
        store: u8,
    },
    BeginMemory {
        node: usize,
    },
    SendRenewal {
        node: usize,
        store: u8,
    },
    RunRenewal {
        node: usize,
        slot: usize,
    },
    TakeLease {
        node: usize,
        slot: usize,
    },
    SendLookUp {
        node: usize,
        store: u8,
    },
    RunLookUp {
        node: usize,
        slot: usize,
    },
    Answer {
        node: usize,
        slot: usize,
    },
    SeeEntry {
        node: usize,
    },
    Apply {
        node: usize,
    },
    Report {
        node: usize,
    },
    Evict {
        node: usize,
    },
    Restart {
        node: usize,
    },
    SayGoodbye {
        node: usize,
    },
    RunGoodbye {
        node: usize,
    },
    // The issuer that commits the change.
    SendCommit,
    RunCommit,
    CommitReply,
    LoseCommitReply,
    Poll,
    Conclude,
    GiveReceipt,
    Meet,
    RestartIssuer,
    // Others.
    OtherChange {
        store: u8,
    },
    Trim {
        store: u8,
    },
    Replicate,
    Promote,
    Watch {
        remover: usize,
    },
    SendRemoval {
        remover: usize,
    },
    RunRemoval {
        remover: usize,
    },
}

pub fn possible(scene: &Scene, state: &State, actions: &mut Vec<Action>) {
    if let Step::Accepted { .. } = state.verification.step {
        return actions.push(Action::Finish);
    }
    actions.extend(state.may_tick(scene).map(Action::Tick));
    of_the_verification(scene, state, actions);
    for node in 0..scene.nodes {
        of_a_node(scene, state, node, actions);
    }
    of_the_issuer(scene, state, actions);
    of_others(scene, state, actions);
}

fn stores(scene: &Scene) -> impl Iterator<Item = u8> + use<> {
    [A].into_iter().chain(scene.failover.map(|_| B))
}

fn of_the_verification(scene: &Scene, state: &State, actions: &mut Vec<Action>) {
    let node = &state.nodes[usize::from(state.verification.node)];
    match state.verification.step {
        Step::Idle => actions.extend((0..scene.nodes).map(|node| Action::Begin { node })),
        Step::Began => actions.push(Action::CaptureLease),
        Step::Captured(lease) => {
            if lease.is_some() && node.memory.is_some_and(|memory| memory.map.is_some()) {
                return actions.push(Action::ReadState);
            }
            let may_join = |later: bool| later || lease.is_some() || !scene.has(Protection::JoinOnlyLater);
            let slots = node.look_ups.iter().take(scene.look_ups).enumerate();
            for (slot, look_up) in slots.clone() {
                if look_up.is_some_and(|look_up| may_join(look_up.later)) {
                    actions.push(Action::Join { slot });
                }
            }
            if slots.into_iter().any(|(_, look_up)| look_up.is_none()) {
                let there = stores(scene).filter(|store| state.looks_up(scene, *store));
                actions.extend(there.map(|store| Action::LookUp { store }));
            }
            actions.push(Action::GiveUp);
        }
        Step::Waits(_) | Step::Accepted { .. } => {}
        Step::Read(_) | Step::Answered(_) => actions.push(Action::ReadClock),
    }
}

fn of_a_node(scene: &Scene, state: &State, node: usize, actions: &mut Vec<Action>) {
    let it = &state.nodes[node];
    if it.goodbye {
        actions.push(Action::RunGoodbye { node });
    }
    if scene.restarts && !it.stopping {
        actions.push(Action::Restart { node });
    }
    if !it.stopping && state.may_say_goodbye(scene) {
        actions.push(Action::SayGoodbye { node });
    }
    for (slot, look_up) in it.look_ups.iter().take(scene.look_ups).enumerate() {
        match look_up {
            Some(look_up) if look_up.reply.is_some() => actions.push(Action::Answer { node, slot }),
            Some(look_up) if state.looks_up(scene, look_up.store) => actions.push(Action::RunLookUp { node, slot }),
            _ => {}
        }
    }
    if it.look_ups.iter().take(scene.look_ups).any(Option::is_none) {
        let there = stores(scene).filter(|store| state.looks_up(scene, *store));
        actions.extend(there.map(|store| Action::SendLookUp { node, store }));
    }
    for (slot, renewal) in it.renewals.iter().take(scene.renewals).enumerate() {
        match renewal {
            Some(renewal) if renewal.reply.is_none() && state.renews(scene, renewal.store) => {
                actions.push(Action::RunRenewal { node, slot });
            }
            Some(_) if state.may_take_lease(scene, node, slot) => actions.push(Action::TakeLease { node, slot }),
            _ => {}
        }
    }
    let Some(memory) = it.memory else {
        if !it.stopping {
            if it.beginning.is_some() {
                actions.push(Action::BeginMemory { node });
            }
            let there = stores(scene).filter(|store| state.renews(scene, *store));
            actions.extend(there.map(|store| Action::AskWhereToBegin { node, store }));
        }
        return;
    };
    let may_renew = scene.counted == 0 || it.renewed < scene.counted;
    if !it.stopping && may_renew && it.renewals.iter().take(scene.renewals).any(Option::is_none) {
        let there = stores(scene).filter(|store| state.renews(scene, *store));
        actions.extend(there.map(|store| Action::SendRenewal { node, store }));
    }
    if let Some((epoch, _)) = state.next_entry(node) {
        if !scene.has(Protection::ApplyBeforeReport) && memory.seen < epoch {
            actions.push(Action::SeeEntry { node });
        }
        actions.push(Action::Apply { node });
    }
    let row = state.stores[usize::from(memory.store)].table[node];
    if state.renews(scene, memory.store) && row.is_some_and(|row| row.applied < memory.seen) {
        actions.push(Action::Report { node });
    }
    if scene.eviction && memory.map.is_some() {
        actions.push(Action::Evict { node });
    }
}

fn of_the_issuer(scene: &Scene, state: &State, actions: &mut Vec<Action>) {
    let Some(home) = state.issuer.home else {
        if state.promoted.is_some() {
            actions.push(Action::Meet);
        }
        return;
    };
    if state.promoted.is_some() && home == A {
        actions.push(Action::Meet);
    }
    // What it has given a receipt for, it has given a receipt for.
    if scene.issuer_restarts && !matches!(state.issuer.phase, Phase::Receipted { .. }) {
        actions.push(Action::RestartIssuer);
    }
    match state.issuer.phase {
        Phase::Idle => actions.push(Action::SendCommit),
        Phase::Sent { .. } if state.commits(scene, home) => actions.push(Action::RunCommit),
        Phase::Committed { .. } => {
            actions.push(Action::CommitReply);
            if scene.failover.is_some() {
                actions.push(Action::LoseCommitReply);
            }
        }
        Phase::Waiting { waiting, .. } => {
            if state.polled(scene).is_some_and(|polled| polled != waiting) {
                actions.push(Action::Poll);
            }
            if state.waited(scene).is_some() {
                actions.push(Action::Conclude);
            }
        }
        Phase::Confirmed { .. } => actions.push(Action::GiveReceipt),
        Phase::Sent { .. } | Phase::Receipted { .. } => {}
    }
}

fn of_others(scene: &Scene, state: &State, actions: &mut Vec<Action>) {
    for store in stores(scene).filter(|store| state.commits(scene, *store)) {
        let copy = &state.stores[usize::from(store)];
        if copy.epoch - u8::from(copy.changed.is_some()) < scene.other_changes && copy.met {
            actions.push(Action::OtherChange { store });
        }
        if scene.trimming && copy.trimmed < copy.epoch {
            actions.push(Action::Trim { store });
        }
    }
    if scene.failover.is_some() && state.promoted.is_none() {
        actions.push(Action::Promote);
        if state.stores[0] != state.stores[1] {
            actions.push(Action::Replicate);
        }
    }
    let count = state.stores[0].table[0].map(|row| row.count);
    for (remover, doing) in state.removers.iter().take(scene.removers).enumerate() {
        match *doing {
            Remover::Idle if count.is_some() => actions.push(Action::Watch { remover }),
            Remover::Idle => {}
            Remover::Watches { count: seen, age } => {
                if count != Some(seen) {
                    actions.push(Action::Watch { remover });
                }
                if age >= scene.stands_still() {
                    actions.push(Action::SendRemoval { remover });
                }
            }
            Remover::Removes { .. } => actions.push(Action::RunRemoval { remover }),
        }
    }
}

impl State {
    /// The state after an action.
    pub fn after(&self, scene: &Scene, action: Action) -> Self {
        let mut next = *self;
        next.act(scene, action);
        // Which slot is which makes no difference.
        for node in &mut next.nodes {
            node.renewals.sort_by(|a, b| b.cmp(a));
            node.look_ups.sort_by(|a, b| b.cmp(a));
        }
        next.removers.sort();
        next
    }

    fn act(&mut self, scene: &Scene, action: Action) {
        match action {
            Action::Tick(clock) => self.tick(scene, clock),
            Action::Begin { node } => self.begin(node),
            Action::CaptureLease => self.capture(),
            Action::ReadState => self.read(),
            Action::Join { slot } => self.join(slot),
            Action::LookUp { store } => self.look_up(scene, store),
            Action::GiveUp | Action::Finish => self.verification = crate::state::Verification::IDLE,
            Action::ReadClock => self.decide(scene),
            Action::AskWhereToBegin { node, store } => {
                self.nodes[node].beginning = Some((store, self.stores[usize::from(store)].epoch));
            }
            Action::BeginMemory { node } => self.begin_memory(scene, node),
            Action::SendRenewal { node, store } => self.send_renewal(scene, node, store),
            Action::RunRenewal { node, slot } => self.run_renewal(scene, node, slot),
            Action::TakeLease { node, slot } => self.take_lease(scene, node, slot),
            Action::SendLookUp { node, store } => self.ask(scene, node, store, false),
            Action::RunLookUp { node, slot } => self.run_look_up(node, slot),
            Action::Answer { node, slot } => self.answer(scene, node, slot),
            Action::SeeEntry { node } => self.see(node),
            Action::Apply { node } => self.apply(scene, node),
            Action::Report { node } => self.report(node),
            Action::Evict { node } => self.evict(node),
            Action::Restart { node } => self.restart(node),
            Action::SayGoodbye { node } => self.say_goodbye(scene, node),
            Action::RunGoodbye { node } => self.leave(node),
            Action::SendCommit => self.issuer.phase = Phase::Sent { elapsed: 0 },
            Action::RunCommit => self.commit(),
            Action::CommitReply => self.committed(),
            Action::LoseCommitReply => self.issuer.phase = Phase::Idle,
            Action::Poll => self.poll(scene),
            Action::Conclude => self.conclude(scene),
            Action::GiveReceipt => self.give_receipt(),
            Action::Meet => self.meet(scene),
            Action::RestartIssuer => self.restart_issuer(),
            Action::OtherChange { store } => self.store(store).epoch += 1,
            Action::Trim { store } => self.store(store).trimmed += 1,
            Action::Replicate => self.stores[1] = self.stores[0],
            Action::Promote => self.promote(),
            Action::Watch { remover } => self.watch(remover),
            Action::SendRemoval { remover } => self.send_removal(remover),
            Action::RunRemoval { remover } => self.remove(scene, remover),
        }
    }
}
