//! Countermark says "later", says nothing, or is gone.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use super::Kind;
use super::scene::{Holder, Scene};
use crate::until::{leases_end, signal, stand_still, until};

pub fn check(kind: &'static Kind) {
    let mut scene = Scene::with(kind, "\n[guessing]\nper_minute = 1\nburst = 3\n");
    let writer = scene.writer();
    scene.passes(scene.call("GET", "/"), &writer);
    if kind.forwards {
        later(&scene, &writer);
    }
    if kind.asks {
        store_away(&scene, &writer);
        hung(&scene, &writer);
    }

    scene.server.take().expect("Countermark").stop();
    for method in ["GET", "POST", "OPTIONS"] {
        let call = scene.call(method, "/");
        match kind.away {
            Some(status) => {
                scene.refuses(call.bearer(&writer.token), status);
            }
            None => {
                scene.passes(call, &writer);
            }
        }
        let unknown = scene.call(method, "/").send();
        assert!(unknown.status >= 400 && scene.backend.take().is_empty(), "{unknown:?}");
    }
    scene.serve_again();
    passes_again(&scene, &writer);
    let fresh = scene.account("fresh", "writer", &json!({}));
    scene.passes(scene.call("GET", "/"), &fresh);
}

/// Guessers are told to wait, and nobody else.
fn later(scene: &Scene, writer: &Holder) {
    let guess = || scene.call("GET", "/").bearer("garbage");
    for _ in 0..3 {
        scene.refuses(guess(), 401);
    }
    let reply = scene.refuses(guess(), 429);
    assert!(reply.header("retry-after").unwrap().parse::<u64>().unwrap() > 0, "{reply:?}");
    scene.passes(scene.call("GET", "/"), writer);
    scene.refuses(guess().option("--interface", "127.0.0.9"), 401);
}

/// Countermark can't know, and says so.
fn store_away(scene: &Scene, writer: &Holder) {
    let redis = scene.server().redis_pid().unwrap();
    stand_still(redis);
    leases_end(Instant::now());
    let refused = scene.call("GET", "/").bearer(&writer.token).attempt();
    signal(redis, Signal::CONT);
    let refused = refused.unwrap();
    assert!(scene.backend.take().is_empty(), "{refused:?}");
    if scene.kind.forwards {
        assert_eq!(refused.status, 503, "{refused:?}");
    } else {
        assert!(refused.status >= 400, "{refused:?}");
    }
    passes_again(scene, writer);
}

/// Countermark takes connections and says nothing: its gateway waits five seconds, not for ever.
fn hung(scene: &Scene, writer: &Holder) {
    stand_still(scene.server().pid());
    let began = Instant::now();
    let refused = scene.call("GET", "/").bearer(&writer.token).attempt();
    let waited = began.elapsed();
    scene.server().signal(Signal::CONT);
    let refused = refused.unwrap();
    let status = if scene.kind.name == "caddy" { Some(504) } else { scene.kind.away };
    assert_eq!(Some(refused.status), status, "{refused:?}");
    assert!(scene.backend.take().is_empty() && waited < Duration::from_secs(15), "{waited:?}");
    passes_again(scene, writer);
}

/// By itself, without a word to the gateway.
fn passes_again(scene: &Scene, writer: &Holder) {
    until(Duration::from_secs(20), "a gateway that lets good tokens through again", || {
        let reply = scene.call("GET", "/").bearer(&writer.token).send();
        (reply.status == 200).then_some(())
    });
    scene.is_sound(&scene.backend.take(), &writer.id);
}
