//! What is made up for, and what is not.

use std::sync::Arc;

use countermark::authority::{Metrics, Upkeep};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{Issuers, acts};
use crate::app::eventually;
use crate::users::{OTHER, PASSWORD, person, set, sign_in};

#[tokio::test]
async fn r2_a_lost_regenerate_is_made_up_for_and_its_token_put_in_place() {
    let (issuers, first) = Issuers::begin("one").await;
    let ci = first.account("ci", &[]).await;
    let promoted = first.redis.copy().await;
    let lost = first.admin().regenerate("ci").await;
    drop(first);
    let again = issuers.start("one", &promoted).await;
    assert_eq!(again.bearer(ci.token()).verdict().await, "superseded");
    assert_eq!(again.bearer(&lost).verdict().await, "allowed", "nobody has to be given another one");
    assert_eq!(again.look("ci").await["generation"], 2);
    let raised = acts(&again, "store.raise").await;
    assert_eq!(raised.len(), 1);
    assert_eq!(raised[0]["username"], "ci");
    assert_eq!(raised[0]["details"]["made_up_for"], json!(["generation"]));
    // Once.
    let epoch = again.epoch().await;
    drop(again);
    let again = issuers.start("one", &promoted).await;
    assert_eq!(again.epoch().await, epoch);
    assert_eq!(acts(&again, "store.raise").await.len(), 1);
    // What is there is not taken away again by what was made up for once.
    let next = again.admin().regenerate("ci").await;
    drop(again);
    let again = issuers.start("one", &promoted).await;
    assert_eq!(again.bearer(&next).verdict().await, "allowed");
}

#[tokio::test]
async fn r2_what_was_disabled_deleted_narrowed_and_revoked_is_so_again() {
    let (issuers, first) = Issuers::begin("one").await;
    let admin = first.admin();
    first.team("ops").await;
    first.role("wide", &["a:*", "b:c"]).await;
    first.role("narrow", &["a:b"]).await;
    let mut actors = Vec::new();
    for name in ["disabled", "deleted", "revoked", "role", "team", "audience", "network", "definition"] {
        let role = if name == "definition" { "wide" } else { "auditor" };
        let role = if name == "role" { "wide" } else { role };
        let body = json!({ "username": name, "role": role, "teams": { "ops": "wide" }, "audiences": ["https://countermark.test", "x"], "valid_for_months": 12 });
        actors.push(first.create(body).await);
    }
    let promoted = first.redis.copy().await;
    admin.patch("/accounts/disabled", json!({ "status": "disabled" }), 200).await;
    admin.delete("/accounts/deleted", 200).await;
    admin.delete("/accounts/revoked/token", 200).await;
    admin.patch("/accounts/role", json!({ "role": "narrow" }), 200).await;
    admin.patch("/accounts/team", json!({ "teams": {} }), 200).await;
    admin.patch("/accounts/audience", json!({ "audiences": ["x"] }), 200).await;
    admin.patch("/accounts/network", json!({ "allowed_networks": ["10.0.0.0/8"] }), 200).await;
    admin.put("/roles/wide", json!({ "permissions": ["a:b", "z:z"] }), 200).await;
    drop(first);
    let again = issuers.start("one", &promoted).await;
    let mut verdicts = Vec::new();
    for actor in &actors {
        verdicts.push(again.bearer(actor.token()).verdict().await);
    }
    let expected = [
        "disabled",
        "unknown_account",
        "revoked",
        "allowed",
        "allowed",
        "wrong_audience",
        "network_not_allowed",
        "allowed",
    ];
    assert_eq!(verdicts, expected);
    assert_eq!(again.look("role").await["role"], "narrow");
    assert_eq!(again.look("team").await["teams"], json!({}));
    assert_eq!(again.look("audience").await["audiences"], json!(["x"]));
    let wide = again.admin().get("/roles/wide", 200).await;
    assert_eq!(wide["permissions"], json!(["a:b"]), "what both definitions grant");
    assert_eq!(again.look("definition").await["status"], "active");
    // A list by the console finds them where they are now.
    assert_eq!(again.admin().all("/accounts?status=disabled").await.len(), 1);
    assert!(acts(&again, "store.raise").await.len() >= 7);
}

/// Verifications consult the record alone.
#[tokio::test]
async fn r2_an_account_of_which_only_the_record_is_there_is_not_passed_over() {
    let (issuers, first) = Issuers::begin("one").await;
    let two = issuers.start("two", &first.redis).await;
    let ci = first.account("ci", &[]).await;
    let promoted = first.redis.copy().await;
    two.admin().delete("/accounts/ci/token", 200).await;
    drop((first, two));
    let profile = format!("{{{}}}:p:{}", issuers.prefix, ci.id);
    assert_eq!(promoted.run::<u64>(&["DEL", &profile]).await, 1);
    let one = issuers.start("one", &promoted).await;
    let (setup, stop) = (issuers.setup("two", &promoted), CancellationToken::new());
    let store = Arc::new(setup.open_store(Arc::clone(&one.clock) as _, &stop));
    store.connected().await;
    let begun = setup.begin(store, Arc::clone(&one.clock) as _, Arc::new(Metrics::new()), "two").await;
    let why = begun.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(why.contains("the profile of account"), "{why}");
    assert_eq!(one.bearer(ci.token()).verdict().await, "store_unavailable");
    stop.cancel();
}

#[tokio::test]
async fn r2_a_lost_revocation_of_a_key_is_made_up_for_although_the_keys_are_older_than_before() {
    let (issuers, first) = Issuers::begin("one").await;
    let admin = first.admin();
    let key = admin.get("/keys", 200).await["items"][0]["id"].as_str().unwrap().to_owned();
    let ci = first.account("ci", &[]).await;
    let next = admin.post("/keys", json!({}), 201).await["key"]["id"].as_str().unwrap().to_owned();
    admin.post(&format!("/keys/{next}/activate"), json!({ "force": true }), 200).await;
    let admin = admin.holding(&admin.regenerate("admin").await);
    let promoted = first.redis.copy().await;
    admin.post(&format!("/keys/{key}/revoke"), json!({ "confirm": key }), 200).await;
    assert_eq!(ci.verdict().await, "revoked_key");
    drop(first);
    let again = issuers.start("one", &promoted).await;
    assert_eq!(again.bearer(ci.token()).verdict().await, "revoked_key");
    let admin = again.bearer(admin.token());
    let states = admin.get("/keys", 200).await;
    assert_eq!(states["items"].as_array().unwrap().iter().filter(|key| key["state"] == "revoked").count(), 1);
    let raised = acts(&again, "store.raise").await;
    assert_eq!((raised.len(), &raised[0]["details"]["key"]), (1, &json!(key)));
    // The keys go on from there.
    admin.post("/keys", json!({}), 201).await;
    drop(again);
    issuers.start("one", &promoted).await;
}

#[tokio::test]
async fn r2_who_has_signed_out_stays_so_and_a_replaced_password_is_good_no_more() {
    let (issuers, first) = Issuers::begin("one").await;
    let out = person(&first, "out", "auditor").await;
    sign_in(&out, "out", PASSWORD, 303).await;
    person(&first, "other", "auditor").await;
    let promoted = first.redis.copy().await;
    issuers.clock.advance(std::time::Duration::from_secs(1));
    out.get("/console/me", 200).await;
    out.post("/console/sign-out", &[], 303).await;
    let link = first.admin().post("/accounts/other/password-link", json!({}), 201).await.text_of("link");
    set(&first.browser(), &link, OTHER, 303).await;
    drop(first);
    let again = issuers.start("one", &promoted).await;
    let sessions = again.admin().get("/accounts/out/sessions", 200).await;
    assert_eq!(sessions["items"], json!([]));
    for password in [PASSWORD, OTHER] {
        sign_in(&again.browser(), "other", password, 401).await;
    }
}

#[tokio::test]
async fn r2_a_store_whose_memory_is_full_is_raised() {
    let (issuers, first) = Issuers::begin("one").await;
    let ci = first.account("ci", &[]).await;
    let promoted = first.redis.copy().await;
    first.admin().delete("/accounts/ci/token", 200).await;
    drop(first);
    promoted.run::<()>(&["CONFIG", "SET", "maxmemory", "1"]).await;
    // It has started before, so that what is no raise is there.
    let again = issuers.start("one", &promoted).await;
    assert_eq!(again.bearer(ci.token()).verdict().await, "revoked");
}

#[tokio::test]
async fn r2_a_raise_that_leaves_no_admin_says_so() {
    let (issuers, first) = Issuers::begin("one").await;
    let second = json!({ "username": "second", "role": "admin", "valid_for_months": 12 });
    let second = first.create(second).await;
    let promoted = first.redis.copy().await;
    // Either is one of two when it is done; together they leave a third.
    let third = first.create(json!({ "username": "third", "role": "admin", "valid_for_months": 12 })).await;
    third.patch("/accounts/admin", json!({ "status": "disabled" }), 200).await;
    third.patch("/accounts/second", json!({ "status": "disabled" }), 200).await;
    drop(first);
    let again = issuers.start("one", &promoted).await;
    assert_eq!(again.bearer(second.token()).verdict().await, "disabled");
    let raised = acts(&again, "store.raise").await;
    assert_eq!(raised.iter().filter(|event| event["details"]["last_admin"] == json!(true)).count(), 1);
}

/// The server changes under a running issuer: it raises it by itself, and whoever changes something meanwhile waits for that.
#[tokio::test]
async fn r2_an_issuer_that_finds_itself_at_a_server_that_lacks_something_raises_it() {
    let (_issuers, app) = Issuers::begin("one").await;
    let ci = app.account("ci", &[]).await;
    app.account("other", &[]).await;
    let stop = CancellationToken::new();
    tokio::spawn(Upkeep::new(Arc::clone(&app.authority)).run(stop.clone()));
    let earlier = app.redis.copy().await;
    app.admin().regenerate("ci").await;
    app.redis.go_back_to(&earlier).await;
    assert_ne!(app.bearer(ci.token()).verdict().await, "allowed");
    eventually("it is raised", || async { app.bearer(ci.token()).verdict().await == "superseded" }).await;
    app.redis.go_back_to(&earlier).await;
    eventually("a change is made on what was raised", || async {
        app.admin().send("POST", "/accounts/ci/token", Some(json!({ "valid_for_months": 12 }))).await.status == 201
    })
    .await;
    assert!(app.look("ci").await["generation"].as_u64().unwrap() >= 3);
    stop.cancel();
}
