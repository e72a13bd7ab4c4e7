//! Every door, and what it may answer while the store misbehaves.

use std::time::{Duration, Instant};

use serde_json::json;

use super::scene::Scene;
use crate::call::{Call, Reply};
use crate::until::leases_end;

/// What is promised, and what a busy machine adds to it.
const BOUND: Duration = Duration::from_secs(2);
const NOISE: Duration = Duration::from_millis(500);

/// What a door needs in order to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needs {
    /// The state of a token: it is closed where that can't be known, and memory knows it for as long as it has a lease.
    State,
    /// What lies in the store: memory does not let anybody in to that.
    Store,
    /// The store, to make a change.
    Change,
    /// The process alone.
    Nothing,
    /// Nothing, but it says how the store is.
    Readiness,
}

/// How the store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum During {
    /// Nothing can be known, since so short a time that memory may still have a lease.
    Leased,
    /// Nothing can be known.
    Closed,
    /// Everything goes on, if slower.
    Open,
    /// What was begun before it was noticed may be answered; a token that was killed is never good.
    Either,
    /// Everything but changes, which are refused for this reason.
    Reading(&'static str),
}

struct Door {
    name: &'static str,
    needs: Needs,
    call: fn(&Scene) -> Call,
    /// The status where all is well.
    well: u16,
}

const DOORS: [Door; 13] = [
    Door { name: "/verify", needs: Needs::State, call: |s| s.server.call("GET", "/verify").bearer(&s.good), well: 200 },
    Door {
        name: "/verify, killed",
        needs: Needs::State,
        call: |s| s.server.call("GET", "/verify").bearer(&s.dead),
        well: 401,
    },
    Door {
        name: "/self",
        needs: Needs::Store,
        call: |s| s.server.call("GET", "/api/v1/self").bearer(&s.good),
        well: 200,
    },
    Door {
        name: "/self, killed",
        needs: Needs::Store,
        call: |s| s.server.call("GET", "/api/v1/self").bearer(&s.dead),
        well: 401,
    },
    Door {
        name: "introspection",
        needs: Needs::State,
        call: |s| form(s, "/oauth2/introspect", &s.good).bearer(&s.admin),
        well: 200,
    },
    Door {
        name: "introspection, killed",
        needs: Needs::State,
        call: |s| form(s, "/oauth2/introspect", &s.dead).bearer(&s.admin),
        well: 200,
    },
    Door { name: "revocation, killed", needs: Needs::Store, call: |s| form(s, "/oauth2/revoke", &s.dead), well: 200 },
    Door {
        name: "a list",
        needs: Needs::Store,
        call: |s| s.server.call("GET", "/api/v1/accounts").bearer(&s.admin),
        well: 200,
    },
    Door {
        name: "a change",
        needs: Needs::Change,
        call: |s| {
            let path = format!("/api/v1/accounts/{}", s.id);
            s.server.call("PATCH", &path).bearer(&s.admin).json(&json!({ "description": "during" }))
        },
        well: 200,
    },
    Door { name: "/readyz", needs: Needs::Readiness, call: |s| s.server.operations("/readyz"), well: 200 },
    Door { name: "/healthz", needs: Needs::Nothing, call: |s| s.server.operations("/healthz"), well: 200 },
    Door { name: "JWKS", needs: Needs::Nothing, call: |s| s.server.call("GET", "/.well-known/jwks.json"), well: 200 },
    Door {
        name: "metadata",
        needs: Needs::Nothing,
        call: |s| s.server.call("GET", "/.well-known/oauth-authorization-server"),
        well: 200,
    },
];

fn form(scene: &Scene, path: &str, token: &str) -> Call {
    scene.server.call("POST", path).option("--data", &format!("token={token}"))
}

/// Knocks while a fault is new, and once more: when the connections were given up, and no lease is left.
#[track_caller]
pub fn knock_twice(scene: &Scene, what: &str, during: During) {
    let began = Instant::now();
    let may_remember = during == During::Closed && scene.has_memory;
    knock(scene, what, if may_remember { During::Leased } else { during });
    leases_end(began);
    knock(scene, what, during);
}

/// Knocks at every door at once.
#[track_caller]
pub fn knock(scene: &Scene, what: &str, during: During) {
    let log = scene.server.log().len();
    let failures: Vec<String> = std::thread::scope(|scope| {
        let calls: Vec<_> = DOORS
            .iter()
            .map(|door| {
                scope.spawn(move || {
                    let began = Instant::now();
                    let reply = (door.call)(scene).attempt();
                    let took = began.elapsed();
                    let wrong = match &reply {
                        Err(error) => Some(error.clone()),
                        Ok(_) if took > BOUND + NOISE => Some("late".to_owned()),
                        Ok(reply) => judge(door, reply, during),
                    };
                    if let Ok(reply) = &reply {
                        note(scene, door, reply);
                    }
                    wrong.map(|wrong| format!("{what}: {}: {wrong} after {took:?}: {reply:?}", door.name))
                })
            })
            .collect();
        calls.into_iter().filter_map(|call| call.join().unwrap()).collect()
    });
    assert!(failures.is_empty(), "{}\n{}", failures.join("\n"), &scene.server.log()[log..]);
}

fn note(scene: &Scene, door: &Door, reply: &Reply) {
    if matches!(door.needs, Needs::State | Needs::Store) && matches!(reply.status, 200 | 401) {
        scene.decided.lock().unwrap().insert(reply.header("X-Request-Id").unwrap().to_owned());
    }
    if door.needs == Needs::Change {
        scene.note_change(reply);
    }
}

/// What is wrong with an answer.
fn judge(door: &Door, reply: &Reply, during: During) -> Option<String> {
    let wrong = |what: &str| Some(what.to_owned());
    if door.name == "introspection, killed" && reply.status == 200 && reply.json() != json!({ "active": false }) {
        return wrong("a killed token is active");
    }
    let refused = |reason: &str| {
        if reply.status != 503 || reply.reason() != reason {
            return Some(format!("not refused as {reason}"));
        }
        let seconds = reply.header("Retry-After").and_then(|text| text.parse::<u64>().ok());
        if seconds.is_none_or(|seconds| seconds == 0) { wrong("no Retry-After") } else { None }
    };
    let well = || (reply.status != door.well).then(|| format!("not {}", door.well));
    match (door.needs, during) {
        (Needs::Nothing, _) | (_, During::Open) => well(),
        (Needs::State | Needs::Store | Needs::Readiness, During::Reading(_)) => well(),
        (Needs::Readiness, During::Leased | During::Closed) => (reply.status != 503).then(|| "ready".to_owned()),
        (Needs::Readiness, During::Either) => {
            (reply.status != 503 && reply.status != 200).then(|| "neither ready nor not".to_owned())
        }
        (Needs::State, During::Leased) | (Needs::State | Needs::Store | Needs::Change, During::Either) => {
            well().and_then(|_| refused("store_unavailable"))
        }
        (Needs::State | Needs::Store | Needs::Change, During::Closed) => refused("store_unavailable"),
        (Needs::Store | Needs::Change, During::Leased) => refused("store_unavailable"),
        (Needs::Change, During::Reading(reason)) => refused(reason),
    }
}
