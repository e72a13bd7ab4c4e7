//! The same faults again and again: nothing grows.

use std::time::Duration;

use super::footprint::Footprint;
use super::proxy::Wire;
use super::scene::Scene;
use crate::effort::rounds;

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
    let before = Footprint::of(&scene);
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

fn round(scene: &Scene) {
    for wire in WIRES {
        scene.proxy.becomes(wire);
        for _ in 0..3 {
            scene.server.verify(&scene.good).expect(503);
        }
        scene.proxy.becomes(Wire::Sound);
        scene.recovers(Duration::from_secs(3), &format!("{wire:?}"));
    }
}
