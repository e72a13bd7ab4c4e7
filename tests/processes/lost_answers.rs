//! The connection to the store breaks around a change: its caller is told the truth, and goes on from there.

mod callers;
mod scene;
mod store;

use serde_json::{Value, json};

use crate::between::Break;
use crate::call::Reply;
use crate::machine::Machine;
use crate::until::soon;
use scene::Scene;

const BREAKS: [Break; 4] = [Break::BeforeTheCommand, Break::BeforeTheReply, Break::WithinTheReply, Break::LateReply];

const KINDS: usize = 12;

/// Where the way breaks for this kind of change: everywhere for a new account and a new token, in the long form for all.
fn breaks(kind: usize) -> Vec<Break> {
    if kind < 2 || crate::effort::long() { BREAKS.to_vec() } else { vec![BREAKS[kind % BREAKS.len()]] }
}

fn prepared(command_timeout: &str) -> (Machine, Scene) {
    let machine = Machine::new();
    let scene = Scene::new(&machine, command_timeout);
    // Redis knows the scripts already: what is lost is the answer to the change, and not that it knows none.
    let path = "/api/v1/accounts/known";
    scene.server.create("known", "auditor");
    scene.server.call("DELETE", &format!("{path}/token")).bearer(&scene.server.admin()).send().expect(200);
    scene.server.call("DELETE", path).bearer(&scene.server.admin()).send().expect(200);
    let role = json!({"description": "", "permissions": ["tokens:renew"]});
    scene.server.call("PUT", "/api/v1/roles/renewer").bearer(&scene.server.admin()).json(&role).send().expect(201);
    (machine, scene)
}

#[test]
fn an_answer_that_is_lost_between_store_and_server_is_asked_for_again() {
    let (_machine, mut scene) = prepared("900ms");
    for kind in 0..KINDS {
        for at in breaks(kind) {
            let wanted = scene.prepare(kind);
            let id = format!("lost-{}", scene.count);
            let broken = scene.way.broken();
            scene.way.break_at(&id, at, false);
            let reply = scene.call(&wanted, &id).send();
            assert_eq!(scene.way.broken(), broken + 1, "{}, {at:?}: nothing broke", wanted.what);
            assert_eq!(reply.status, wanted.done, "{}, {at:?}: {reply:?}", wanted.what);
            assert_eq!(scene.acts_of(&id), 1, "{}, {at:?}", wanted.what);
            if wanted.done == 201 && wanted.path.contains("token") || wanted.what == "create" {
                let issued = reply.json();
                scene.server.verify(issued["token"].as_str().unwrap()).expect(200);
                let generation = if wanted.what == "create" { 1 } else { 2 };
                assert_eq!(issued["account"]["generation"], generation, "{}, {at:?}", wanted.what);
            }
            scene.server.becomes_ready();
        }
    }
    scene.numbers_are_complete();
    scene.server.stop();
}

#[test]
fn an_answer_that_stays_lost_is_said_to_be_unknown_and_a_repetition_tells() {
    let (_machine, mut scene) = prepared("400ms");
    for kind in 0..KINDS {
        for at in breaks(kind) {
            let wanted = scene.prepare(kind);
            let (id, again) = (format!("unknown-{}", scene.count), format!("repeated-{}", scene.count));
            scene.way.break_at(&id, at, true);
            let detail = is_told_that_it_is_unknown(scene.call(&wanted, &id).send());
            scene.way.open();
            scene.changes_again();
            let done = scene.acts_of(&id);
            let what = format!("{}, {at:?}, done {done}", wanted.what);
            assert_eq!(done, usize::from(at != Break::BeforeTheCommand), "{what}");

            // The audit does not say more than is known.
            soon("its event", || {
                let (_, calls) = scene.events();
                let failed = |event: &Value| event["outcome"] == "failed" && event["reason"] == "unconfirmed";
                calls.iter().filter(|event| event["request_id"] == id.as_str()).filter(|event| failed(event)).count()
                    == 1
            });

            let repeated = scene.call(&wanted, &again).send();
            assert_eq!(repeated.status, if done == 1 { wanted.repeated } else { wanted.done }, "{what}: {repeated:?}");
            // Where the repetition says that it was done, its caller was told what to do about it.
            match (wanted.what, done) {
                ("create", 1) => {
                    assert_eq!(repeated.reason(), "username_taken");
                    assert!(detail.contains("username") && detail.contains("generate a new one"), "{detail}");
                    let name = wanted.body.as_ref().unwrap()["username"].as_str().unwrap();
                    let issued = scene.server.regenerate(&wanted.token, name).expect(201).json();
                    assert_eq!(issued["account"]["generation"], 2);
                    scene.server.verify(issued["token"].as_str().unwrap()).expect(200);
                }
                ("renew", 1) => {
                    assert_eq!(repeated.reason(), "superseded");
                    assert!(detail.contains("superseded") && detail.contains("an admin"), "{detail}");
                }
                ("regenerate", _) => {
                    let issued = repeated.json();
                    assert_eq!(issued["account"]["generation"], 2 + done, "{what}");
                    scene.server.verify(issued["token"].as_str().unwrap()).expect(200);
                }
                _ => {}
            }
        }
    }
    scene.server.stop();
}

#[track_caller]
fn is_told_that_it_is_unknown(reply: Reply) -> String {
    let reply = reply.expect(503);
    assert_eq!(reply.reason(), "unconfirmed", "{reply:?}");
    assert!(reply.header("Retry-After").is_some(), "{reply:?}");
    let detail = reply.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("may or may not have been made") && detail.contains("Repeating it is safe"), "{detail}");
    detail
}
