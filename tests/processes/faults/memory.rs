//! A Redis whose memory is full: what takes something away is let through.

use std::time::Duration;

use serde_json::{Value, json};

use super::scene::Scene;
use crate::call::Reply;

const FULL: [(&str, &str); 1] = [("--maxmemory-policy", "noeviction")];

#[track_caller]
fn full(reply: Reply) {
    let reply = reply.expect(503);
    assert_eq!(reply.reason(), "store_full");
    assert!(reply.json()["detail"].as_str().unwrap().contains("the store's memory is full"), "{reply:?}");
}

fn change(scene: &Scene, method: &str, path: &str, body: Option<&Value>) -> Reply {
    let call = scene.server.call(method, &format!("/api/v1{path}")).bearer(&scene.admin);
    body.map_or_else(
        || scene.server.call(method, &format!("/api/v1{path}")).bearer(&scene.admin),
        |body| call.json(body),
    )
    .send()
}

#[test]
fn what_only_takes_something_away_is_done_when_the_memory_is_full() {
    let mut scene = Scene::on_redis(&FULL);
    let names = ["revoked", "disabled", "deleted", "own"];
    let tokens = names.map(|name| scene.server.create(name, "auditor").1);
    change(&scene, "POST", "/accounts/revoked/token", Some(&json!({"valid_for_months": 6, "overlap_seconds": 600})))
        .expect(201);
    scene.server.verify(&tokens[0]).expect(200);
    scene.command(&["CONFIG", "SET", "maxmemory", "1"]);
    // Whoever makes something more of it is refused, also beside taking something away.
    full(scene.describe("more"));
    full(scene.server.regenerate(&scene.admin, &scene.id));
    full(scene.server.try_create("late", "auditor"));
    full(change(&scene, "PATCH", "/accounts/disabled", Some(&json!({"status": "disabled", "role": "admin"}))));
    full(change(&scene, "PUT", "/roles/late", Some(&json!({"description": "", "permissions": []}))));
    assert_eq!(scene.server.verify(&tokens[1]).expect(200).status, 200);

    let own = |token: &str| {
        let form = format!("token={token}");
        scene.server.call("POST", "/oauth2/revoke").option("--data", &form).send().expect(200);
    };
    own(&tokens[0]);
    assert_eq!(scene.server.verify(&tokens[0]).expect(401).reason(), "superseded");
    change(&scene, "DELETE", "/accounts/revoked/token", None).expect(200);
    change(&scene, "PATCH", "/accounts/disabled", Some(&json!({"status": "disabled"}))).expect(200);
    change(&scene, "DELETE", "/accounts/deleted", None).expect(200);
    own(&tokens[3]);
    let reasons = ["revoked", "disabled", "unknown_account", "revoked"];
    for (token, reason) in tokens.iter().zip(reasons) {
        assert_eq!(scene.server.verify(token).expect(401).reason(), reason);
    }
    // It may be repeated, and is not a way in for more.
    change(&scene, "PATCH", "/accounts/disabled", Some(&json!({"status": "disabled"}))).expect(200);
    full(change(&scene, "PATCH", "/accounts/disabled", Some(&json!({"status": "disabled", "description": "more"}))));
    full(change(&scene, "PATCH", "/accounts/disabled", Some(&json!({"status": "active"}))));

    // Also by a server that meets a store which is full.
    scene.redis.end();
    scene.redis.again(&[("--maxmemory", "1")]);
    crate::until::until(Duration::from_secs(3), "disabled", || {
        let reply = change(&scene, "PATCH", "/accounts/ci", Some(&json!({"status": "disabled"})));
        (reply.status == 200).then_some(())
    });
    assert_eq!(scene.server.verify(&scene.good).expect(401).reason(), "disabled");
    scene.command(&["CONFIG", "SET", "maxmemory", "0"]);
    change(&scene, "PATCH", "/accounts/ci", Some(&json!({"status": "active"}))).expect(200);
    scene.recovers(Duration::from_secs(3), "room");
    // A1: each with its entry.
    for (name, kind) in [
        ("revoked", "token.revoke"),
        ("disabled", "account.update"),
        ("deleted", "account.delete"),
        ("own", "token.revoke"),
    ] {
        let list = change(&scene, "GET", "/audit?outcome=done&limit=500", None).expect(200).json();
        let items = list["items"].as_array().unwrap();
        let acts = items.iter().filter(|event| event["username"] == name && event["kind"] == kind);
        let expected = if ["revoked", "disabled"].contains(&name) { 2 } else { 1 };
        assert_eq!(acts.count(), expected, "{name} {kind}: {items:?}");
    }
}
