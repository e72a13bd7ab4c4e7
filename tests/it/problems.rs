//! What every answer carries, and what an error says.

use axum::body::Body;
use serde_json::json;

use crate::app::App;

#[tokio::test]
async fn every_answer_carries_what_protects_it() {
    let app = App::start().await;
    let admin = app.admin();
    for (method, path, status) in [
        ("GET", "/api/v1/self", 200),
        ("HEAD", "/api/v1/self", 200),
        ("GET", "/verify", 200),
        ("GET", "/.well-known/jwks.json", 200),
        ("GET", "/healthz", 200),
        ("GET", "/docs", 200),
        ("GET", "/nowhere", 404),
        ("PUT", "/api/v1/self", 405),
        ("GET", "/api/v1/accounts?limit=x", 422),
    ] {
        let answer = admin.door(method, path, status).await;
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert!(answer.header("strict-transport-security").starts_with("max-age="), "{path}");
        assert_eq!(answer.header("referrer-policy"), "no-referrer", "{path}");
        assert!(!answer.header("x-request-id").is_empty(), "{path}");
        assert!(!answer.header("cache-control").is_empty() || path == "/docs", "{path}");
    }
    for path in ["/api/v1/self", "/api/v1/accounts", "/api/v1/keys", "/api/v1/audit", "/api/v1/roles", "/verify"] {
        assert_eq!(admin.door("GET", path, 200).await.header("cache-control"), "no-store", "{path}");
    }
    let page = admin.door("GET", "/docs", 200).await;
    assert!(page.header("content-security-policy").starts_with("default-src 'none'"));
}

#[tokio::test]
async fn an_error_is_a_problem_of_a_kind_that_programs_can_tell() {
    let app = App::start().await;
    let admin = app.admin();
    for (method, path, body, status, reason) in [
        ("GET", "/accounts/none", None, 404, "not_found"),
        ("DELETE", "/accounts/admin", None, 409, "last_admin"),
        ("DELETE", "/roles/admin", None, 409, "built_in"),
        ("POST", "/accounts", Some(json!({})), 422, "invalid_field"),
        ("PATCH", "/self", None, 405, "method_not_allowed"),
    ] {
        let answer = admin.send(method, path, body).await.expect(status);
        assert_eq!(answer.reason(), reason);
        assert_eq!(answer["type"], format!("urn:countermark:problem:{reason}"));
        assert_eq!(answer.json.get("errors").is_some(), status == 422, "{answer:?}");
        // An OAuth error code only where an OAuth client looks for it.
        assert!(answer.json.get("error").is_none(), "{answer:?}");
    }
}

#[tokio::test]
async fn what_went_wrong_inside_is_not_told_outside() {
    let app = App::start().await;
    let admin = app.admin();
    let ci = app.account("ci", &[]).await;
    app.redis.run::<()>(&["SET", &app.key(&format!("p:{}", ci.id)), "{\"hidden-detail\":1}"]).await;
    for (method, path) in [("GET", "/accounts/ci"), ("DELETE", "/accounts/ci")] {
        let answer = admin.send(method, path, None).await.expect(500);
        assert_eq!(answer.reason(), "internal_error");
        for word in ["hidden", "profile", "unreadable", ci.id.as_str(), "redis"] {
            assert!(!answer.text.contains(word), "{word}: {}", answer.text);
        }
    }
    // Verifications don't need what is damaged.
    assert_eq!(ci.verdict().await, "allowed");
}

#[tokio::test]
async fn whoever_asks_before_there_is_a_store_is_told_to_wait() {
    let app = App::start().await;
    let edge = countermark::http::Edge::new(
        app.metrics.clone(),
        app.clock.clone(),
        Vec::new(),
        Default::default(),
        vec![12],
        1024,
        std::time::Duration::from_secs(1),
    );
    let mut client = app.client.clone();
    client.router = countermark::http::service(edge);
    for path in ["/verify", "/api/v1/self", "/.well-known/jwks.json"] {
        let request = app.admin().request("GET", path).body(Body::empty()).unwrap();
        let answer = client.answer(request).await.expect(503);
        assert_eq!((answer.reason(), answer.header("retry-after")), ("store_unavailable", "1"), "{path}");
    }
    let ready = client.answer(app.nobody().request("GET", "/readyz").body(Body::empty()).unwrap()).await.expect(503);
    assert_eq!(ready["ready"], false);
    client.answer(app.nobody().request("GET", "/healthz").body(Body::empty()).unwrap()).await.expect(200);
}

#[tokio::test]
async fn nodes_say_that_they_are_there_and_goodbye() {
    let app = App::start().await;
    let stop = tokio_util::sync::CancellationToken::new();
    let follower =
        countermark::node::Follower::new(app.authority.node().clone(), "id-1".into(), "https://127.0.0.2".into());
    let follower = tokio::spawn(follower.run(stop.clone()));
    let node = async || {
        let nodes = app.admin().get("/nodes", 200).await;
        nodes["items"].as_array().unwrap().iter().find(|node| node["id"] == "id-1").cloned()
    };
    crate::app::eventually("the node is in the table", || async { node().await.is_some() }).await;
    let found = node().await.unwrap();
    assert_eq!((&found["name"], &found["address"]), (&json!("node-1"), &json!("https://127.0.0.2")));
    for member in ["version", "lease_ms", "lease_age_ms", "applied_epoch", "renewals", "tokens_per_second", "seen_at"] {
        assert!(!found[member].is_null(), "{member}: {found}");
    }
    stop.cancel();
    follower.await.unwrap();
    assert_eq!(node().await, None);
}
