//! The search through all states of a scene, and what is asked of them.

use std::fmt::Debug;

use stateright::{Checker, Model, Property};

use crate::actions::{Action, possible};
use crate::rules::{Committer, Scene};
use crate::state::{A, Generation, Issuer, Memory, Node, Phase, Remover, State, Step, Store, Verification};

/// Nothing is served that is older than its lease.
pub const F2: &str = "F2";
/// A verification that begins after a receipt never accepts the old token.
pub const R1: &str = "R1";

/// What must be possible, so that a check says something.
pub const FROM_MEMORY: &str = "the old token is accepted from memory";
pub const FROM_MEMORY_WHILE_DEAD: &str = "and after the commit, before the receipt";
pub const BY_LOOK_UP: &str = "it is accepted by a look-up";
pub const ACKNOWLEDGED: &str = "a receipt is given by acknowledgements";
pub const LEASE_END: &str = "a receipt is given by the lease's end";

struct Protocol {
    scene: Scene,
    /// What is looked for. Each costs time in each state.
    sought: Vec<&'static str>,
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let is_known = self.scene.committer == Committer::Known;
        let issuer = Issuer { home: is_known.then_some(A), ..Issuer::NOT_STARTED };
        let store = Store { epoch: 0, changed: None, trimmed: 0, table: [None; 2], met: true };
        let cold = State {
            ahead: [0; 4],
            stores: [store; 2],
            promoted: None,
            nodes: [Node::STARTING; 2],
            issuer,
            removers: [Remover::Idle; 2],
            verification: Verification::IDLE,
            dead: [None; 2],
        };
        let known = Memory { store: A, applied: 0, seen: 0, map: Some(Generation::Old), window: None, lease: None };
        let mut warm = cold;
        for node in warm.nodes.iter_mut().take(self.scene.nodes) {
            node.memory = Some(known);
        }
        if self.scene.cold { vec![warm, cold] } else { vec![warm] }
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        possible(&self.scene, state, actions);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        Some(state.after(&self.scene, action))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let all = vec![
            Property::always(F2, |_, state: &State| {
                !matches!(state.verification.step, Step::Accepted { stale: true, .. })
            }),
            Property::always(R1, |_, state: &State| {
                !(state.verification.late && matches!(state.verification.step, Step::Accepted { .. }))
            }),
            Property::sometimes(FROM_MEMORY, |_, state: &State| {
                matches!(state.verification.step, Step::Accepted { from_memory: true, .. })
            }),
            Property::sometimes(FROM_MEMORY_WHILE_DEAD, |_, state: &State| {
                let node = usize::from(state.verification.node);
                state.dead[node].is_some()
                    && matches!(state.verification.step, Step::Accepted { from_memory: true, .. })
            }),
            Property::sometimes(BY_LOOK_UP, |_, state: &State| {
                matches!(state.verification.step, Step::Accepted { from_memory: false, .. })
            }),
            Property::sometimes(ACKNOWLEDGED, |_, state: &State| {
                matches!(state.issuer.phase, Phase::Receipted { acknowledged: true })
            }),
            Property::sometimes(LEASE_END, |_, state: &State| {
                matches!(state.issuer.phase, Phase::Receipted { acknowledged: false })
            }),
        ];
        all.into_iter().filter(|property| self.sought.contains(&property.name)).collect()
    }
}

/// Searches all states of the scene: F2 and R1 hold in each, and what is listed is possible.
pub fn holds(scene: Scene, possible: &[&'static str]) {
    let sought = [&[F2, R1], possible].concat();
    let checker = Protocol { scene, sought }.checker().spawn_bfs().join();
    println!("{} states, {} steps, depth {}", checker.unique_state_count(), checker.state_count(), checker.max_depth());
    for claim in [F2, R1] {
        if let Some(path) = checker.discovery(claim) {
            panic!("{claim} is broken:\n{}", told(&path.into_actions()));
        }
    }
    for name in possible {
        assert!(checker.discovery(name).is_some(), "it is never so that {name}");
    }
}

/// Searches the scene for the shortest way in which the claim is broken.
pub fn breaks(scene: Scene, claim: &'static str) {
    assert!(scene.without != [None; 2], "nothing was taken out");
    let checker = Protocol { scene, sought: vec![claim] }.checker().spawn_bfs().join();
    println!("{} states, {} steps, depth {}", checker.unique_state_count(), checker.state_count(), checker.max_depth());
    let path = checker.discovery(claim).unwrap_or_else(|| panic!("{claim} holds without {:?}", scene.without));
    println!("{}", told(&path.into_actions()));
}

/// A way there, a step a line.
pub fn told<A: Debug>(actions: &[A]) -> String {
    actions.iter().map(|action| format!("  {action:?}\n")).collect()
}
