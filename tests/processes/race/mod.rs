//! Nodes, issuers and their store are paused, cut off, killed and started again, while tokens are shown and taken away: a token
//! is good nowhere once its end was receipted, and everywhere until then.

mod admins;
mod api;
mod callers;
pub mod checker;
mod checker_tests;
pub mod dice;
pub mod history;
pub mod line;
mod nemesis;
pub mod run;
pub mod scene;
mod told;
mod witness;

use nemesis::{OF_NODES, OF_REDIS, OF_WIRES};
use run::{Form, race};

#[test]
fn r1_and_f2_hold_while_nodes_are_paused_and_killed() {
    race(&OF_NODES, Form::one_at_a_time());
}

#[test]
fn r1_and_f2_hold_while_redis_is_paused_and_killed() {
    race(&OF_REDIS, Form::one_at_a_time());
}

#[test]
fn r1_and_f2_hold_while_connections_are_cut_delayed_and_held() {
    race(&OF_WIRES, Form::one_at_a_time());
}

#[test]
fn r1_and_f2_hold_while_everything_happens_at_once() {
    race(&[nemesis::ANYTHING], Form::two_at_a_time());
}
