//! The same faults again and again: nothing grows.

use std::time::{Duration, Instant};

use super::footprint::{CONNECTIONS, Footprint};
use super::proxy::Wire;
use super::scene::Scene;
use crate::effort::rounds;
use crate::until::{leases_end, until};

/// Kilobytes of memory that many rounds may add.
const ROOM: u64 = 64 * 1024;

const WIRES: [Wire; 6] = [
    Wire::BlackHole,
    Wire::CutOff,
    Wire::Reset,
    Wire::Refusing,
    Wire::Says(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    Wire::Endless(b"$2\r\nOK\r\n"),
];

#[test]
fn connections_that_break_again_and_again_leave_nothing_behind() {
    let scene = Scene::on_redis(&[]);
    round(&scene);
    let before = Footprint::at_rest(&scene);
    for _ in 0..rounds(2, 60) {
        round(&scene);
    }
    before.is_reached_again(&scene);
    let after = Footprint::of(&scene);
    println!("{before:?}, then {after:?}");
    assert!(after.memory < before.memory + ROOM, "{before:?}, then {after:?}");
    // Where the connections of a stopped server would pile up.
    for _ in 0..rounds(20, 500) {
        scene.command(&["CLIENT", "KILL", "TYPE", "normal"]);
        scene.server.verify(&scene.good);
    }
    scene.recovers(Duration::from_secs(3), "connections that were killed");
    before.is_reached_again(&scene);
}

#[test]
fn connections_that_are_given_up_are_closed_while_the_other_end_keeps_them() {
    let scene = Scene::on_redis(&[]);
    let before = Footprint::at_rest(&scene);
    scene.proxy.becomes(Wire::Silenced);
    let tried = scene.proxy.accepted() + rounds(20, 200);
    until(Duration::from_secs(240), "many tries", || (scene.proxy.accepted() >= tried).then_some(()));
    // Each of them may just be trying again.
    let now = Footprint::of(&scene);
    assert!(now.descriptors <= before.descriptors + CONNECTIONS, "{before:?}, then {now:?}");
    scene.proxy.becomes(Wire::Sound);
    scene.recovers(Duration::from_secs(5), "silence");
    before.is_reached_again(&scene);
}

fn round(scene: &Scene) {
    for wire in WIRES {
        scene.proxy.becomes(wire);
        leases_end(Instant::now());
        for _ in 0..3 {
            let status = scene.server.verify(&scene.good).status;
            // Half of what was written may hold a whole answer.
            let is_whole = wire == Wire::CutOff && status == 200;
            assert!(status == 503 || is_whole, "{wire:?}: {status}");
        }
        scene.proxy.becomes(Wire::Sound);
        scene.recovers(Duration::from_secs(3), &format!("{wire:?}"));
    }
}
