//! What is answered to whom, and what is counted of it.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request};
use axum::routing::{get, post};
use countermark::Verifier;
use countermark::layer::require;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::{Api, of};
use crate::app::{App, ISSUER, Setup};

#[tokio::test]
async fn without_the_layer_around_nobody_is_let_in_and_the_log_says_what_to_do() {
    let log = Log::default();
    let made = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || made.clone()).with_ansi(false).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let api = Api::start().await;
    let ci = api.app.account("ci", &["deployments:create"]).await;
    // As somebody would write it who takes axum's layers for a list from the outside to the inside.
    let router = Router::new()
        .route("/deployments", post(|| async { "deployed" }))
        .layer(api.verifier.layer())
        .layer(require("deployments:create".parse().unwrap()));
    let answer = router.oneshot(ci.request("POST", "/deployments").body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), 500);
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
    let problem: Value = serde_json::from_slice(&answer.into_body().collect().await.unwrap().to_bytes()).unwrap();
    assert_eq!((&problem["reason"], &problem["request_id"]), (&json!("internal_error"), &json!(id)));
    let text = log.text();
    assert!(id.len() == 36 && text.contains(&id) && text.contains("Verifier::layer"), "{id}: {text}");
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_store_of_another_issuer_that_comes_late_lets_nobody_through() {
    let app = App::start().await;
    let directory = tempfile::tempdir().unwrap();
    let (keys, link) = (directory.path().join("jwks.json"), directory.path().join("redis.sock"));
    let _ = of(&app, keys.clone()).await;
    let verifier = Verifier::builder("https://other.test")
        .also_accept_issuers([ISSUER.to_owned()])
        .redis(format!("unix:{}", link.display()))
        .redis_user(format!("verifier-{}", app.prefix))
        .redis_password("only-for-verifiers")
        .prefix(&app.prefix)
        .audience(ISSUER)
        .key_set_file(&keys)
        .start_with(app.clock.clone())
        .await
        .unwrap();
    std::os::unix::fs::symlink(app.redis.socket(), &link).unwrap();
    verifier.ready(Duration::from_secs(1)).await.unwrap_err();
    let ci = app.account("ci", &[]).await;
    let router = Router::new().route("/", get(|| async { "done" })).layer(verifier.layer());
    let answer = router.oneshot(ci.request("GET", "/").body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), 503);
}

#[tokio::test]
async fn a_query_may_name_a_token_that_is_none_of_ours() {
    let api = Api::start().await;
    let ci = api.app.account("ci", &[]).await;
    for query in
        ["token=invitation-7", "access_token=eyJ", "token=eyJh.b", "page=eyJh.eyJi.c2ln", "token=eyJh.eyJ!.c2ln"]
    {
        let answer = api.call(&ci, "GET", &format!("/whoami?{query}")).await;
        assert_eq!(answer.status, 200, "{query}: {}", answer.json);
    }
    for query in [format!("token={}", ci.token()), format!("x=1&access%5ftoken={}", ci.token())] {
        let answer = api.call(&ci, "GET", &format!("/whoami?{query}")).await;
        assert_eq!((answer.status, &answer.json["reason"]), (400, &json!("invalid_request")), "{query}");
    }
}

#[tokio::test]
async fn a_verifier_in_the_extensions_lets_nobody_in() {
    let api = Api::start().await;
    let router = Router::new()
        .route("/", get(|| async { "done" }))
        .layer(api.verifier.layer())
        .layer(axum::Extension(api.verifier.clone()));
    let answer = router.oneshot(Request::get("/").body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), 401);
}

#[tokio::test]
async fn each_refusal_is_counted_under_its_reason() {
    let api = Api::start_with(Setup::default(), |builder| builder.audit_queue(1)).await;
    let ci = api.app.account("ci", &[]).await;
    assert_eq!(api.call(&api.app.nobody(), "GET", "/whoami").await.status, 401);
    assert_eq!(api.call(&ci, "GET", &format!("/whoami?token={}", ci.token())).await.status, 400);
    assert_eq!(api.call(&ci, "POST", "/deployments").await.status, 403);
    api.verifier.stop().await;
    assert_eq!(api.call(&ci, "GET", "/whoami").await.status, 503);
    let text = api.verifier.counts().to_prometheus();
    for (reason, count) in [
        ("allowed", 1),
        ("missing_token", 1),
        ("invalid_request", 1),
        ("insufficient_permission", 1),
        ("store_unavailable", 1),
    ] {
        let line = format!("countermark_node_decisions_total{{reason=\"{reason}\"}} {count}\n");
        assert!(text.contains(&line), "{line}{text}");
    }
    for line in [
        "countermark_node_audit_written_events_total 1",
        "countermark_node_lease 0",
        "# TYPE countermark_node_lease gauge",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}: {text}");
    }
    // The format: a type before each name, and a number behind it.
    let mut typed = "";
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            typed = rest.split(' ').next().unwrap();
        } else {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(name.split('{').next() == Some(typed) && value.parse::<u64>().is_ok(), "{line}");
        }
    }
}

#[tokio::test]
async fn behind_a_trusted_proxy_the_address_is_the_clients() {
    let api =
        Api::start_with(Setup::default(), |builder| builder.trusted_proxies(["192.0.2.0/24".parse().unwrap()])).await;
    api.app.role("reader", &[]).await;
    let body =
        json!({"username": "ci", "role": "reader", "allowed_networks": ["198.51.100.0/24"], "valid_for_months": 6});
    let ci = api.app.create(body).await;
    for (peer, forwarded, status) in [
        (Some("192.0.2.7"), "203.0.113.9, 198.51.100.4", 200),
        (Some("192.0.2.7"), "198.51.100.4, 203.0.113.9", 401),
        (Some("203.0.113.9"), "198.51.100.4", 401),
        (Some("198.51.100.4"), "203.0.113.9", 200),
        (None, "198.51.100.4", 401),
    ] {
        let mut request =
            ci.request("GET", "/whoami").header("x-forwarded-for", forwarded).body(Body::empty()).unwrap();
        if let Some(peer) = peer {
            request.extensions_mut().insert(peer.parse::<std::net::IpAddr>().unwrap());
        }
        assert_eq!(api.send(request).await.status, status, "{peer:?} for {forwarded}");
    }
}

#[tokio::test]
async fn the_service_within_sees_the_id_of_the_request() {
    let api = Api::start().await;
    let ci = api.app.account("ci", &[]).await;
    let seen = |headers: HeaderMap| async move {
        let ids: Vec<_> = headers.get_all("x-request-id").iter().map(|id| id.to_str().unwrap().to_owned()).collect();
        ids.join(" ")
    };
    let router = Router::new().route("/", get(seen)).layer(api.verifier.layer());
    for (given, kept) in [(vec!["order-7"], true), (vec![], false), (vec!["a b"], false), (vec!["a", "b"], false)] {
        let mut request: Request<Body> = ci.request("GET", "/").body(Body::empty()).unwrap();
        for id in &given {
            request.headers_mut().append("x-request-id", id.parse().unwrap());
        }
        let answer = router.clone().oneshot(request).await.unwrap();
        let told = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
        let seen = answer.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(seen, told.as_bytes());
        assert_eq!(given == [told.as_str()], kept, "{given:?}: {told}");
    }
    assert_eq!(api.reached.load(Ordering::SeqCst), 0);
}
