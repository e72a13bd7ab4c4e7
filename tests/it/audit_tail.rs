//! The audit as it is written.

use std::time::Duration;

use axum::body::Body;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use crate::app::{Actor, App};

/// Somebody who looks on.
struct Looker {
    body: Body,
    text: String,
    id: String,
}

impl Looker {
    async fn new(actor: &Actor, query: &str, after: Option<&str>) -> Self {
        let mut request = actor.request("GET", &format!("/api/v1/audit/tail{query}"));
        if let Some(after) = after {
            request = request.header("last-event-id", after);
        }
        let arrival = countermark::listen::Arrival::from(actor.client.peer.clone());
        let response = actor.client.router.answer(request.body(Body::empty()).unwrap(), arrival).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-store");
        Self { body: response.into_body(), text: String::new(), id: String::new() }
    }

    /// The next event: its name and what it holds. `None`: it has ended.
    async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.text = rest;
                let field =
                    |name: &str| event.lines().find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()));
                self.id = field("id:").unwrap_or_else(|| self.id.clone());
                if let Some(data) = field("data:") {
                    return Some((field("event:").unwrap_or_default(), serde_json::from_str(&data).unwrap()));
                }
                continue;
            }
            let frame = tokio::time::timeout(Duration::from_secs(10), self.body.frame()).await.expect("nothing comes");
            self.text.push_str(std::str::from_utf8(&frame?.unwrap().into_data().unwrap()).unwrap());
        }
    }

    /// The next of these kinds, with its reason.
    async fn next_of(&mut self, kinds: &[&str]) -> (String, String) {
        loop {
            let (name, event) = self.next().await.expect("it has ended");
            assert_eq!(name, "");
            assert!(event["sequence"].is_u64() && event.get("team").is_some(), "{event}");
            let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
            if kinds.contains(&text("kind").as_str()) && event["path"] != "/api/v1/audit/tail" {
                return (text("kind"), text("reason"));
            }
        }
    }
}

#[tokio::test]
async fn events_are_told_as_they_are_written_and_after_an_interruption_those_that_were_missed() {
    let app = App::start().await;
    let ci = app.account("ci", &[]).await;
    let auditor = app.account("auditor", &["audit:read"]).await;
    app.account("other", &["accounts:read"]).await.get("/audit/tail", 403).await;
    let mut looker = Looker::new(&auditor, "?account=ci", None).await;
    app.account("somebody-else", &[]).await;
    ci.door("GET", "/verify", 200).await;
    ci.door("GET", "/verify?permission=a:b", 403).await;
    let kinds = ["call", "token.regenerate", "account.create"];
    assert_eq!(looker.next_of(&kinds).await, ("call".into(), String::new()));
    let after = looker.id.clone();
    assert_eq!(looker.next_of(&kinds).await, ("call".into(), "insufficient_permission".into()));
    drop(looker);
    app.admin().regenerate("ci").await;
    ci.door("GET", "/verify", 401).await;
    // In the middle of a block, and in other streams.
    let mut again = Looker::new(&auditor, "?account=ci", Some(&after)).await;
    let mut missed = Vec::new();
    for _ in 0..3 {
        missed.push(again.next_of(&kinds).await);
    }
    missed.sort();
    let of = |kind: &str, reason: &str| (kind.to_owned(), reason.to_owned());
    assert_eq!(missed, [of("call", "insufficient_permission"), of("call", "superseded"), of("token.regenerate", "")]);
    // From the beginning, and only some.
    let mut of_old = Looker::new(&auditor, "?account=ci&from=2020-01-01T00:00:00Z&outcome=done", None).await;
    assert_eq!(of_old.next_of(&kinds).await, ("account.create".into(), String::new()));
    assert_eq!(of_old.next_of(&kinds).await, ("token.regenerate".into(), String::new()));
    for (query, status) in [("?from=yesterday", 422), ("?limit=5", 422), ("?address=x", 422)] {
        auditor.get(&format!("/audit/tail{query}"), status).await;
    }
    let bad = auditor.send_with("GET", "/audit/tail", None, &[("last-event-id", "x")]).await;
    assert_eq!(bad.expect(400).reason(), "invalid_request");
}

#[tokio::test]
async fn whoever_may_not_look_on_any_more_sees_nothing_more() {
    let app = App::start().await;
    let auditor = app.account("auditor", &["audit:read"]).await;
    for (what, reason) in [("narrowed", "insufficient_permission"), ("superseded", "superseded")] {
        let mut looker = Looker::new(&auditor, "?kind=token.revoke", None).await;
        match what {
            "narrowed" => app.role("auditor-role", &["accounts:read"]).await,
            _ => _ = app.admin().regenerate("auditor").await,
        }
        assert_eq!(looker.next().await, Some(("end".to_owned(), json!({ "reason": reason }))), "{what}");
        assert_eq!(looker.next().await, None);
        app.role("auditor-role", &["audit:read"]).await;
    }
}

#[tokio::test]
async fn so_many_look_on_at_once_and_all_are_told_when_the_service_stops() {
    let app = App::start().await;
    let auditor = app.account("auditor", &["audit:read"]).await;
    let mut lookers = Vec::new();
    for name in ["one", "two", "three", "four"] {
        let other = app.account(name, &["audit:read"]).await;
        for _ in 0..8 {
            lookers.push(Looker::new(&other, "", None).await);
        }
    }
    let refused = auditor.get("/audit/tail", 429).await;
    assert_eq!((refused.reason(), refused.header("retry-after")), ("rate_limited", "10"));
    lookers.pop();
    crate::app::eventually("a place is free", || async { auditor.send("GET", "/audit", None).await.status == 200 })
        .await;
    let mut last = Looker::new(&auditor, "?kind=token.revoke", None).await;
    app.edge.drain();
    assert_eq!(last.next().await, Some(("end".to_owned(), json!({ "reason": "stopping" }))));
}

#[tokio::test]
async fn blocks_without_events_keep_nobody_where_he_is() {
    let app = App::start().await;
    let auditor = app.account("auditor", &["audit:read"]).await;
    // Each act has one of its own.
    for number in 0..6 {
        app.role(&format!("role-{number}"), &["a:b"]).await;
        crate::app::eventually("it is linked", || async {
            app.redis.run::<u64>(&["HLEN", &app.key("unlinked")]).await == 0
        })
        .await;
    }
    let ci = app.account("ci", &[]).await;
    ci.door("GET", "/verify?permission=a:b", 403).await;
    let mut looker = Looker::new(&auditor, "?from=2020-01-01T00:00:00Z", None).await;
    let of_call = ("call".to_owned(), "insufficient_permission".to_owned());
    while looker.next_of(&["call", "role.set"]).await != of_call {}
}

#[tokio::test]
async fn one_account_leaves_others_a_place_to_look_on_from() {
    let app = App::start().await;
    let admin = app.admin();
    let other = app.account("other", &["audit:read"]).await;
    let mut looking = Vec::new();
    for _ in 0..8 {
        looking.push(Looker::new(&admin, "", None).await);
    }
    assert_eq!(admin.get("/audit/tail", 429).await.reason(), "rate_limited");
    drop(Looker::new(&other, "", None).await);
    looking.pop();
    drop(Looker::new(&admin, "", None).await);
}
