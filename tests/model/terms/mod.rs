//! Several failovers in a row, each of which may lose what was done since a copy was made: two issuers, each with a journal, terms that
//! are written down, and a node that follows (F6, R2).
//!
//! Each script is a step, and so is each thing that an issuer writes to its disk. Issuers are killed between any two of them. What other
//! checks are about is left out: leases and messages under way, and that the old primary runs on (it is gone when another is promoted).
//! Unlike in the others it is also asked whether the service comes back: where nobody has anything left to do, nodes are served, and the
//! one that had followed earlier servers follows this one.

mod rules;
mod state;
mod steps;

use rules::{Protection, Scene};
use stateright::{Checker, Model, Property};
use steps::{Action, State};

use crate::check::told;
use crate::effort::long;

const R1: &str = "R1";
const COMES_BACK: &str = "the service comes back";
/// What must be possible, so that a check says something.
const MADE_UP: &str = "a change that was answered is lost, and made again";
const VOUCHED: &str = "a node follows a server that lacks the term in which it was";

const TWICE: Scene = Scene { failovers: 2, kills: 0, copies: 2, changes: 1, forgetful: false, without: None };
/// Terms alone.
const UNCHANGED: Scene = Scene { changes: 0, ..TWICE };
const FORGETFUL: Scene = Scene { forgetful: true, ..UNCHANGED };
const KILLED: Scene = Scene { failovers: 1, kills: 1, ..TWICE };

struct Protocol {
    scene: Scene,
    /// What is looked for. Each costs time in each state.
    sought: Vec<&'static str>,
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::first(&self.scene)]
    }

    fn actions(&self, _: &State, actions: &mut Vec<Action>) {
        actions.extend(steps::possible(&self.scene));
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        state.after(&self.scene, action)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let all = vec![
            Property::always(R1, |_, state: &State| {
                let accepts =
                    |account: usize| state.store.serves(state.server) && state.store.revoked[account].is_none();
                !(0..state.receipts.len()).any(|account| state.receipts[account] && accepts(account))
            }),
            Property::always(COMES_BACK, |Self { scene, .. }, state: &State| {
                let is_left = |action: Action| !action.is_fate() && state.after(scene, action).is_some();
                state.store.serves(state.server) && state.followed == (state.server, state.store.now.0)
                    || steps::possible(scene).any(is_left)
            }),
            Property::sometimes(MADE_UP, |_, state: &State| {
                (0..state.receipts.len()).any(|account| {
                    let again = state.issuers[account].journal.iter().filter(|entry| !entry.is_raised).count() > 1;
                    state.receipts[account] && again && state.store.serves(state.server)
                })
            }),
            Property::sometimes(VOUCHED, |_, state: &State| {
                !state.store.lacks.is_empty() && state.followed.0 == state.server
            }),
        ];
        all.into_iter().filter(|property| self.sought.contains(&property.name)).collect()
    }
}

fn holds(scene: Scene, possible: &[&'static str]) {
    let sought = [&[R1, COMES_BACK], possible].concat();
    let checker = Protocol { scene, sought }.checker().spawn_bfs().join();
    println!("{} states, {} steps, depth {}", checker.unique_state_count(), checker.state_count(), checker.max_depth());
    for claim in [R1, COMES_BACK] {
        if let Some(path) = checker.discovery(claim) {
            panic!("{claim} is broken:\n{}", told(&path.into_actions()));
        }
    }
    for name in possible {
        assert!(checker.discovery(name).is_some(), "it is never so that {name}");
    }
}

fn breaks(scene: Scene, protection: Protection, claim: &'static str) {
    let checker = Protocol { scene: scene.without(protection), sought: vec![claim] }.checker().spawn_bfs().join();
    println!("{} states, {} steps, depth {}", checker.unique_state_count(), checker.state_count(), checker.max_depth());
    let path = checker.discovery(claim).unwrap_or_else(|| panic!("{claim}: it holds without {protection:?}"));
    println!("{}", told(&path.into_actions()));
}

#[test]
fn r2_what_was_answered_stays_ended_and_the_service_comes_back_whatever_is_lost_in_two_failovers() {
    holds(TWICE, &[MADE_UP, VOUCHED]);
    holds(KILLED, &[MADE_UP]);
    holds(FORGETFUL, &[VOUCHED]);
    if long() {
        holds(Scene { changes: 2, ..KILLED }, &[MADE_UP]);
        holds(Scene { failovers: 3, ..UNCHANGED }, &[VOUCHED]);
    }
}

#[test]
fn r2_without_waiting_for_each_issuer_nodes_are_served_by_a_server_that_lacks_a_change() {
    breaks(TWICE, Protection::WaitsForIssuers, R1);
}

/// Two servers have begun terms of one number, and what was changed on one counts as changed on the other.
#[test]
fn r2_without_the_server_in_an_entry_a_change_counts_as_known_to_another_ones_term() {
    breaks(TWICE, Protection::TermsOfServers, R1);
}

#[test]
fn r2_without_naming_the_server_that_was_raised_the_next_one_counts_as_raised() {
    breaks(Scene { kills: 1, ..TWICE }, Protection::RaisedOnThatServer, R1);
}

#[test]
fn r2_without_noting_a_change_before_its_answer_a_killed_issuer_knows_nothing_of_it() {
    breaks(TWICE, Protection::NotedFirst, R1);
}

/// The copy of before begins the same term once more, and whoever has followed the first one does not follow it.
#[test]
fn f6_without_a_term_beyond_those_that_were_met_nodes_follow_nobody_any_more() {
    breaks(FORGETFUL, Protection::BeyondTermsMet, COMES_BACK);
}

#[test]
fn f6_without_beginning_again_a_term_of_an_issuer_who_knew_less_is_followed_by_nobody() {
    breaks(FORGETFUL, Protection::BegunAgainBeyond, COMES_BACK);
}

#[test]
fn f6_without_writing_a_term_down_first_it_is_begun_twice() {
    breaks(UNCHANGED, Protection::NamedFirst, COMES_BACK);
}

#[test]
fn r2_without_vouching_for_a_term_that_is_lost_nodes_that_were_there_follow_nobody_any_more() {
    breaks(UNCHANGED, Protection::Vouches, COMES_BACK);
}
