//! What is answered to whom, and what is counted of it.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use countermark::Verifier;
use serde_json::json;
use tower::ServiceExt as _;

use super::{Api, of};
use crate::app::{App, ISSUER};

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
