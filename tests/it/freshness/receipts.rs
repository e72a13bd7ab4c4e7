//! What a receipt waits for, and what it says.

use std::time::Duration;

use serde_json::{Value, json};

use super::{LEASE, Pair, WHOLE_LEASE, regenerating, waits};
use crate::app::{Answer, eventually};
use crate::wire::Sent;

fn numbers(answer: &Answer) -> (u64, u64) {
    let number = |name: &str| answer["receipt"][name].as_u64().unwrap();
    (number("nodes_acknowledged"), number("nodes_expired"))
}

#[tokio::test]
async fn r1_every_act_that_takes_something_away_is_receipted_by_every_node() {
    let pair = Pair::start().await;
    let (admin, issuer) = (pair.issuer.admin(), &pair.issuer);
    issuer.role("weak", &[]).await;
    issuer.role("unused", &[]).await;
    issuer.team("payments").await;
    issuer.team("idle").await;
    pair.is_known().await;
    let acts: [(&str, &str, Option<Value>, u16, &str); 12] = [
        ("PATCH", "/accounts/ci", Some(json!({ "role": "weak" })), 200, "insufficient_permission"),
        ("PATCH", "/accounts/ci", Some(json!({ "role": "ci-role" })), 200, "allowed"),
        ("PATCH", "/accounts/ci", Some(json!({ "teams": { "payments": "weak" } })), 200, "allowed"),
        ("PATCH", "/accounts/ci", Some(json!({ "status": "disabled" })), 200, "disabled"),
        ("PATCH", "/accounts/ci", Some(json!({ "status": "active" })), 200, "allowed"),
        ("PATCH", "/accounts/ci", Some(json!({ "allowed_networks": ["192.0.2.0/24"] })), 200, "network_not_allowed"),
        ("PATCH", "/accounts/ci", Some(json!({ "allowed_networks": [] })), 200, "allowed"),
        ("PUT", "/roles/ci-role", Some(json!({ "permissions": [] })), 200, "insufficient_permission"),
        ("DELETE", "/roles/unused", None, 200, "insufficient_permission"),
        ("PUT", "/teams/payments", Some(json!({ "description": "x" })), 200, "insufficient_permission"),
        ("DELETE", "/teams/idle", None, 200, "insufficient_permission"),
        ("DELETE", "/accounts/ci/token", None, 200, "revoked"),
    ];
    let verdict = async || {
        let answer = pair.node.bearer(pair.ci.token());
        let request = answer.request("GET", "/verify?permission=deployments:create");
        let answer = answer.client.answer(request.body(axum::body::Body::empty()).unwrap()).await;
        if answer.status == 200 { "allowed".to_owned() } else { answer.text_of("reason") }
    };
    let looked_up = pair.count(|counters| &counters.looked_up);
    for (method, path, body, status, after) in acts {
        let answer = admin.send(method, path, body).await.expect(status);
        assert_eq!(numbers(&answer), (2, 0), "{method} {path}");
        let (term, counter) = issuer.epoch().await;
        assert_eq!(answer["receipt"]["epoch"], format!("{term}-{counter}"), "{method} {path}");
        // R1: at once, and from memory.
        assert_eq!(verdict().await, after, "{method} {path}");
    }
    let answer = admin.post("/accounts/ci/token", json!({ "valid_for_months": 6 }), 201).await;
    assert_eq!(numbers(&answer), (2, 0));
    assert_eq!(verdict().await, "superseded");
    assert_eq!(numbers(&admin.delete("/accounts/ci", 200).await), (2, 0));
    assert_eq!(verdict().await, "unknown_account");
    // What names a role that it did not name before is looked up.
    assert!(pair.count(|counters| &counters.looked_up) <= looked_up + 2);
}

#[tokio::test]
async fn r1_a_receipt_waits_for_the_whole_lease_of_a_node_that_says_nothing() {
    let pair = Pair::start().await;
    pair.is_known().await;
    pair.node.stands_still().await;
    let asked = regenerating(&pair.issuer, &pair.ci).await;
    pair.advance(LEASE - Duration::from_millis(1));
    assert_eq!(pair.verdict().await, "allowed", "as it may under its lease");
    waits(&asked).await;
    pair.advance(WHOLE_LEASE - LEASE);
    waits(&asked).await;
    assert_eq!(pair.verdict().await, "superseded", "looked up");
    pair.advance(Duration::from_millis(1));
    let answer = asked.await.unwrap().expect(201);
    assert_eq!(numbers(&answer), (1, 1));
    assert_eq!(answer["receipt"]["waited_ms"], 520);
}

#[tokio::test]
async fn r1_whoever_repeats_a_deletion_waits_for_the_nodes_that_the_first_one_waits_for() {
    let pair = Pair::start().await;
    pair.is_known().await;
    pair.node.stands_still().await;
    let delete = |account: &str| {
        let (admin, path) = (pair.issuer.admin(), format!("/accounts/{account}"));
        tokio::spawn(async move { admin.send("DELETE", &path, None).await })
    };
    let first = delete("ci");
    let dead = || async { pair.issuer.bearer(pair.ci.token()).verdict().await == "unknown_account" };
    eventually("it is made", dead).await;
    let repeated = [delete("ci"), delete(&pair.ci.id)];
    assert_eq!(pair.verdict().await, "allowed", "as it may under its lease");
    for asked in &repeated {
        waits(asked).await;
    }
    pair.advance(WHOLE_LEASE);
    first.await.unwrap().expect(200);
    for asked in repeated {
        assert_eq!(asked.await.unwrap().expect(404).reason(), "not_found");
    }
}

#[tokio::test]
async fn r1_a_node_drops_its_lease_before_it_says_goodbye_and_is_not_waited_for_after_it() {
    let pair = Pair::start().await;
    pair.is_known().await;
    super::nobody_leaves(&pair.issuer).await;
    let held = pair.wire.hold(Sent::Leaving);
    let goes = pair.node.goes();
    tokio::pin!(goes);
    tokio::select! {
        () = &mut goes => panic!("it does not wait for the answer to its goodbye"),
        () = held.answered(1) => {}
    }
    assert!(!pair.node.authority.node().freshness().has_lease());
    // It is out of the table, and asks the store about every token that it still has to decide about.
    let answer = pair.issuer.admin().post("/accounts/ci/token", json!({ "valid_for_months": 6 }), 201).await;
    assert_eq!(numbers(&answer), (1, 0));
    assert_eq!(pair.verdict().await, "superseded");
    held.release();
    goes.await;
    assert!(!pair.node.authority.node().freshness().has_lease());
}

#[tokio::test]
async fn r1_a_node_that_goes_before_it_has_reported_is_waited_for() {
    let pair = Pair::start().await;
    let (bell, follow) = (pair.wire.hold(Sent::Bell), pair.wire.hold(Sent::Follow));
    let asked = regenerating(&pair.issuer, &pair.ci).await;
    // Gone from the table is not acknowledged.
    pair.node.goes().await;
    waits(&asked).await;
    pair.advance(WHOLE_LEASE);
    assert_eq!(numbers(&asked.await.unwrap().expect(201)), (1, 1));
    drop((bell, follow));
}

#[tokio::test]
async fn an_overlap_ends_by_the_clock_of_the_node() {
    let pair = Pair::start().await;
    let body = json!({ "valid_for_months": 12, "overlap_seconds": 60 });
    let answer = pair.issuer.admin().post("/accounts/ci/token", body, 201).await;
    pair.is_known().await;
    // Nobody tells it any more.
    let (bell, follow) = (pair.wire.hold(Sent::Bell), pair.wire.hold(Sent::Follow));
    pair.advance(Duration::from_millis(59_999));
    pair.node.has_lease().await;
    assert_eq!(pair.verdict().await, "allowed");
    pair.advance(Duration::from_millis(1));
    assert_eq!(pair.verdict().await, "superseded", "without leeway, and from memory");
    assert_eq!(pair.node.bearer(&answer.text_of("token")).verdict().await, "allowed");
    drop((bell, follow));
}
