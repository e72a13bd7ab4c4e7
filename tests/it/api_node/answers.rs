//! What is answered to whom, and what is counted of it.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use countermark::Verifier;
use serde_json::json;
use tower::ServiceExt as _;

use super::{Api, of};
use crate::app::{App, ISSUER, Setup};

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
