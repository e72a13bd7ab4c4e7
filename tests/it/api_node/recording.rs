//! No audit, no answer: what is recorded of calls, and what is answered where that can't be.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Extensions, Request};
use axum::response::Response;
use axum::routing::{get, post};
use countermark::api_node::AuditMode;
use countermark::layer::authorize;
use countermark::store::schema::Schema;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tower::ServiceExt as _;
use tower_layer::Layer as _;

use super::Api;
use crate::app::{Actor, Setup, eventually};
use crate::redis_server::RedisServer;

impl Api {
    /// The events of an account's calls, oldest first.
    async fn calls_of(&self, actor: &Actor, expected: u64) -> Vec<Value> {
        eventually("all is written", || async { self.verifier.counts().events_written == expected }).await;
        let mut events = self.app.activity(&actor.id).await;
        events.retain(|event| event["kind"] == "call");
        events.reverse();
        events
    }
}

fn request(actor: &Actor, method: &str, path: &str) -> Request<Body> {
    actor.request(method, path).body(Body::empty()).unwrap()
}

#[tokio::test]
async fn a2_each_call_is_in_the_activity_with_what_was_answered_in_the_end() {
    let api = Api::start().await;
    let ci = api.app.account("ci", &[]).await;
    for (method, path, status) in [("GET", "/whoami", 200), ("GET", "/broken", 500), ("POST", "/deployments", 403)] {
        assert_eq!(api.call(&ci, method, path).await.status, status);
    }
    eventually("all is written", || async { api.verifier.counts().events_written == 3 }).await;
    let activity = api.app.activity(&ci.id).await;
    let told: Vec<(&str, u64, &str)> = activity
        .iter()
        .filter(|event| event["kind"] == "call")
        .map(|event| {
            assert_eq!((&event["node"], &event["client_address"]), (&json!("orders-api"), &json!("192.0.2.7")));
            let text = |name: &str| event[name].as_str().unwrap();
            (text("path"), event["details"]["status"].as_u64().unwrap(), text("outcome"))
        })
        .collect();
    assert_eq!(told, [("/deployments", 403, "refused"), ("/broken", 500, "allowed"), ("/whoami", 200, "allowed")]);
}

/// An inner service that takes its time: it is let on by permits of `go`.
fn held(api: &Api, go: &Arc<Semaphore>) -> Router {
    let go = Arc::clone(go);
    let hold = move || async move {
        go.acquire().await.unwrap().forget();
        "done"
    };
    Router::new().route("/held", post(hold)).layer(api.verifier.layer())
}

#[tokio::test]
async fn a2_no_more_calls_are_begun_than_there_is_room_for_their_events() {
    let api = Api::start_with(Setup::default(), |builder| builder.audit_queue(3)).await;
    let ci = api.app.account("ci", &[]).await;
    let go = Arc::new(Semaphore::new(0));
    let router = held(&api, &go);
    let calls: Vec<_> = (0..20).map(|_| tokio::spawn(router.clone().oneshot(request(&ci, "POST", "/held")))).collect();
    eventually("the others are refused", || async { calls.iter().filter(|call| call.is_finished()).count() == 17 })
        .await;
    go.add_permits(3);
    let mut answers = Vec::new();
    for call in calls {
        answers.push(call.await.unwrap().unwrap().status().as_u16());
    }
    answers.sort_unstable();
    assert_eq!((&answers[..3], &answers[3..]), (&[200; 3][..], &[503; 17][..]));
    eventually("what was answered is written", || async { api.verifier.counts().events_written == 3 }).await;
    let counts = api.verifier.counts();
    assert_eq!((counts.events_refused, counts.events_waiting), (17, 0));
    // Room comes back: with what is written, with calls whose client leaves, and with those that have no event.
    for _ in 0..9 {
        assert_eq!(api.call(&api.app.bearer("eyJh.eyJi.c2ln"), "GET", "/whoami").await.status, 401);
        let leaves = router.clone().oneshot(request(&ci, "POST", "/held"));
        assert!(tokio::time::timeout(Duration::from_millis(20), leaves).await.is_err());
        eventually("they are written", || async { api.verifier.counts().events_waiting == 0 }).await;
    }
    eventually("there is room", || async { api.call(&ci, "GET", "/whoami").await.status == 200 }).await;
}

#[tokio::test]
async fn a2_a_full_queue_refuses_calls_until_the_store_takes_events_again() {
    let setup = Setup { redis: RedisServer::start(), ..Setup::default() };
    let api = Api::start_with(setup, |builder| builder.audit_queue(5)).await;
    let ci = api.app.account("ci", &[]).await;
    let user = format!("verifier-{}", api.app.prefix);
    let log = format!("~{{{}:a*}}:log", api.app.prefix);
    let rules: Vec<String> = Schema::new(&api.app.prefix).verifier_rules();
    let without: Vec<&str> = rules.iter().map(String::as_str).filter(|rule| **rule != log).collect();
    api.app.redis.run::<()>(&[&["ACL", "SETUSER", &user], &without[..]].concat()).await;
    let before = api.reached.load(Ordering::SeqCst);
    for status in [200, 200, 200, 200, 200, 503, 503] {
        let answer = api.call(&ci, "GET", "/whoami").await;
        assert_eq!(answer.status, status, "{}", answer.json);
        if status == 503 {
            assert_eq!(answer.json["reason"], "store_unavailable");
        }
    }
    assert_eq!(api.reached.load(Ordering::SeqCst) - before, 5);
    let counts = api.verifier.counts();
    assert_eq!((counts.events_written, counts.events_waiting, counts.events_refused), (0, 5, 2));
    let all: Vec<&str> = rules.iter().map(String::as_str).collect();
    api.app.redis.run::<()>(&[&["ACL", "SETUSER", &user], &all[..]].concat()).await;
    eventually("all is written", || async { api.verifier.counts().events_written == 5 }).await;
    assert_eq!(api.call(&ci, "GET", "/whoami").await.status, 200);
}

#[tokio::test]
async fn a2_a_node_that_stops_waits_for_calls_under_way_and_takes_no_further_ones() {
    let api = Api::start().await;
    let ci = api.app.account("ci", &[]).await;
    let go = Arc::new(Semaphore::new(0));
    let router = held(&api, &go);
    let call = tokio::spawn(router.oneshot(request(&ci, "POST", "/held")));
    eventually("it is under way", || async { api.verifier.counts().allowed == 1 }).await;
    let stopping = tokio::spawn({
        let verifier = api.verifier.clone();
        async move { verifier.stop().await }
    });
    eventually("no further one is taken", || async { api.call(&ci, "GET", "/whoami").await.status == 503 }).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!stopping.is_finished());
    go.add_permits(1);
    assert_eq!(call.await.unwrap().unwrap().status(), 200);
    stopping.await.unwrap();
    // Those that came before it was told to stop have theirs, too.
    let before = api.reached.load(Ordering::SeqCst);
    let counts = api.verifier.counts();
    assert_eq!((counts.events_written, counts.events_waiting), (before + 1, 0));
}

#[tokio::test]
async fn a2_a_call_whose_client_leaves_or_whose_handler_fails_is_recorded_once() {
    let api = Api::start().await;
    let ci = api.app.account("ci", &[]).await;
    let go = Arc::new(Semaphore::new(0));
    let leaves = held(&api, &go).oneshot(request(&ci, "POST", "/held"));
    assert!(tokio::time::timeout(Duration::from_millis(200), leaves).await.is_err());
    let panics = Router::new().route("/panics", get(broken)).layer(api.verifier.layer());
    assert!(tokio::spawn(panics.oneshot(request(&ci, "GET", "/panics"))).await.unwrap_err().is_panic());
    let fails = tower::service_fn(|_: Request<Body>| async { Err::<Response, _>("no answer") });
    assert_eq!(
        api.verifier.layer().layer(fails).oneshot(request(&ci, "GET", "/fails")).await.unwrap_err(),
        "no answer"
    );
    let events = api.calls_of(&ci, 3).await;
    let told: Vec<_> = events.iter().map(|event| (&event["path"], &event["outcome"], &event["details"])).collect();
    // What was answered is not known.
    let known = ["/held", "/panics", "/fails"].map(|path| (json!(path), json!("allowed"), Value::Null));
    assert_eq!(told, known.each_ref().map(|(path, outcome, details)| (path, outcome, details)));
    assert_eq!(api.verifier.counts().events_waiting, 0);
}

async fn broken() -> &'static str {
    panic!("on purpose")
}

#[tokio::test]
async fn a2_what_was_permitted_in_the_end_is_not_told_as_refused() {
    let api = Api::start().await;
    let ci = api.app.account("ci", &["deployments:create"]).await;
    let either = |extensions: Extensions| async move {
        let may = |permission: &str| authorize(&extensions, &permission.parse().unwrap(), None).is_ok();
        if may("deployments:admin") || may("deployments:create") { "done" } else { "refused" }
    };
    let router = Router::new().route("/either", post(either)).layer(api.verifier.layer());
    assert_eq!(router.oneshot(request(&ci, "POST", "/either")).await.unwrap().status(), 200);
    let events = api.calls_of(&ci, 1).await;
    let told = (&events[0]["outcome"], &events[0]["reason"], &events[0]["permission"]);
    assert_eq!(told, (&json!("allowed"), &Value::Null, &json!("deployments:create")));
}

#[tokio::test]
async fn without_audit_nothing_is_recorded_and_no_room_is_needed() {
    let api = Api::start_with(Setup::default(), |builder| builder.danger_without_audit().audit_queue(1)).await;
    let ci = api.app.account("ci", &[]).await;
    let go = Arc::new(Semaphore::new(0));
    let calls: Vec<_> = (0..3).map(|_| tokio::spawn(held(&api, &go).oneshot(request(&ci, "POST", "/held")))).collect();
    go.add_permits(3);
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap().status(), 200);
    }
    api.verifier.stop().await;
    let counts = api.verifier.counts();
    assert_eq!((counts.allowed, counts.events_written, counts.events_waiting, counts.events_refused), (3, 0, 0, 0));
    assert!(api.app.activity(&ci.id).await.iter().all(|event| event["kind"] != "call"));
}

#[tokio::test]
async fn a2_the_layer_twice_records_once() {
    let api = Api::start().await;
    let ci = api.app.account("ci", &[]).await;
    let inner = get(|| async { "done" }).layer(api.verifier.layer());
    let router = Router::new().route("/twice", inner).layer(api.verifier.layer());
    assert_eq!(router.oneshot(request(&ci, "GET", "/twice")).await.unwrap().status(), 200);
    let events = api.calls_of(&ci, 1).await;
    assert_eq!((&events[0]["outcome"], &events[0]["details"]["status"]), (&json!("allowed"), &json!(200)));
    assert_eq!(api.verifier.counts().allowed, 1);
}

/// Whether this API's user may write blocks.
async fn may_write(api: &Api, may: bool) {
    let user = format!("verifier-{}", api.app.prefix);
    let log = format!("~{{{}:a*}}:log", api.app.prefix);
    let rules: Vec<String> = Schema::new(&api.app.prefix).verifier_rules();
    let rules: Vec<&str> = rules.iter().map(String::as_str).filter(|rule| may || **rule != log).collect();
    api.app.redis.run::<()>(&[&["ACL", "SETUSER", &user], &rules[..]].concat()).await;
}

#[tokio::test]
async fn a2_what_waits_on_disk_follows_when_the_api_begins_anew_also_under_another_name() {
    let files = tempfile::tempdir().unwrap();
    let mode = || AuditMode::Spill { directory: files.path().join("audit"), max_bytes: 1 << 20 };
    let setup = Setup { redis: RedisServer::start(), ..Setup::default() };
    let api = Api::start_with(setup, |builder| builder.audit_mode(mode()).audit_queue(64)).await;
    let ci = api.app.account("ci", &[]).await;
    assert_eq!(api.call(&ci, "GET", "/whoami").await.status, 200);
    eventually("it is written", || async { api.verifier.counts().events_written == 1 }).await;
    may_write(&api, false).await;
    // More than there is room for in memory: each has its own again as soon as it lies on disk.
    for _ in 0..100 {
        eventually("there is room", || async { api.call(&ci, "GET", "/whoami").await.status == 200 }).await;
    }
    eventually("all lie on disk", || async { api.verifier.counts().spilled_bytes > 100 * 300 }).await;
    assert_eq!((api.verifier.counts().events_written, api.verifier.counts().events_waiting), (1, 100));
    // Nobody else has his events there meanwhile.
    let keys = api.directory.path().join("jwks.json");
    let again = super::of(&api.app, keys.clone()).await.node_name("another").audit_mode(mode());
    let refused = again.start_with(api.app.clock.clone()).await.unwrap_err().to_string();
    assert!(refused.contains("audit_mode") && refused.contains("another process"), "{refused}");
    may_write(&api, false).await;
    api.verifier.stop().await;
    may_write(&api, true).await;
    let again = super::of(&api.app, keys).await.node_name("another").audit_mode(mode());
    let verifier = again.start_with(api.app.clock.clone()).await.unwrap();
    eventually("they follow", || async { verifier.counts().events_waiting == 0 }).await;
    assert_eq!(verifier.counts().events_written, 100);
    eventually("they are in the activity", || async {
        api.app.activity(&ci.id).await.iter().filter(|event| event["kind"] == "call").count() == 101
    })
    .await;
    verifier.stop().await;
}

#[tokio::test]
async fn a2_in_strict_mode_nothing_is_answered_before_it_is_written() {
    let setup = Setup { redis: RedisServer::start(), ..Setup::default() };
    let api = Api::start_with(setup, |builder| builder.audit_mode(AuditMode::Strict)).await;
    let ci = api.app.account("ci", &[]).await;
    for number in 1..=3 {
        assert_eq!(api.call(&ci, "GET", "/whoami").await.status, 200);
        assert_eq!(api.verifier.counts().events_written, number);
    }
    may_write(&api, false).await;
    for (method, path) in [("GET", "/whoami"), ("POST", "/deployments")] {
        let answer = api.call(&ci, method, path).await;
        assert_eq!((answer.status, answer.json["reason"].as_str()), (503, Some("store_unavailable")), "{path}");
    }
    may_write(&api, true).await;
    eventually("what happened is told", || async { api.verifier.counts().events_written == 5 }).await;
    assert_eq!(api.call(&ci, "GET", "/whoami").await.status, 200);
}
