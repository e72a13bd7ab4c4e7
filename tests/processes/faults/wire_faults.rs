//! What can happen between the server and its Redis.

use std::time::Duration;

use super::doors::{During, knock, knock_twice};
use super::proxy::Wire;
use super::scene::Scene;
use crate::effort::rounds;

/// How soon all is well again.
const RECOVERS: Duration = Duration::from_secs(3);

const WIRES: [(&str, Wire, During); 15] = [
    ("a delay of 100 ms", Wire::Late(Duration::from_millis(100)), During::Open),
    // A change is known by two answers: the lease may end before both are there.
    ("a delay of 200 ms", Wire::Late(Duration::from_millis(200)), During::Either),
    ("a delay just under the staleness bound", Wire::Late(Duration::from_millis(430)), During::Either),
    ("a delay just under the time-out", Wire::Late(Duration::from_millis(900)), During::Closed),
    ("a delay over the time-out", Wire::Late(Duration::from_millis(1_200)), During::Closed),
    ("a black hole", Wire::BlackHole, During::Closed),
    ("a refused connection", Wire::Refusing, During::Closed),
    ("a reset connection", Wire::Reset, During::Closed),
    ("half an answer", Wire::CutOff, During::Either),
    ("garbage", Wire::Says(b"HTTP/1.1 400 Bad Request\r\n\r\n"), During::Closed),
    ("an answer to another question", Wire::Says(b"+OK\r\n"), During::Closed),
    ("an error of no known kind", Wire::Says(b"-STRANGE words\r\n"), During::Closed),
    ("a number too large", Wire::Says(b"*99999999999\r\n"), During::Closed),
    ("endless words", Wire::Endless(b"+words without an end "), During::Closed),
    ("endless answers", Wire::Endless(b"$2\r\nOK\r\n"), During::Closed),
];

#[test]
fn whatever_happens_on_the_wire_every_door_answers_in_time_and_recovers() {
    let scene = Scene::on_redis(&[]);
    for round in 0..rounds(1, 10) {
        for (what, wire, during) in WIRES {
            scene.proxy.becomes(wire);
            knock_twice(&scene, what, during);
            scene.proxy.becomes(Wire::Sound);
            let took = scene.recovers(RECOVERS, what);
            println!("round {round}: {what}: well after {took:?}");
        }
    }
    scene.nothing_is_missing_in_the_audit();
}

#[test]
fn answers_that_are_each_just_in_time_do_not_add_up() {
    // Without a bound to staleness, so that the first of them is not refused as too old.
    let scene = Scene::with(&[], "0");
    scene.proxy.becomes(Wire::Late(Duration::from_millis(800)));
    knock(&scene, "just in time", During::Either);
    scene.proxy.becomes(Wire::Sound);
    scene.recovers(RECOVERS, "just in time");
}
