//! An API with the library's layer around it, on the store of a running service, as an ACL user that may do what a verifier does and
//! nothing else.

mod answers;
mod recording;

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::http::{Extensions, Request};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use countermark::api_node::{Builder, StartError};
use countermark::layer::{authorize, require};
use countermark::store::schema::Schema;
use countermark::{Verified, Verifier};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::app::{Actor, App, ISSUER, Setup, eventually};
use crate::redis_server::RedisServer;

struct Api {
    app: App,
    verifier: Verifier,
    router: Router,
    /// Calls that came through to a handler.
    reached: Arc<AtomicU64>,
    directory: tempfile::TempDir,
}

struct Answered {
    status: u16,
    json: Value,
    challenge: String,
}

impl Api {
    async fn start() -> Self {
        Self::start_with(Setup::default(), |builder| builder).await
    }

    async fn start_with(setup: Setup, with: impl FnOnce(Builder) -> Builder) -> Self {
        let app = App::with(setup).await;
        let directory = tempfile::tempdir().unwrap();
        let builder = of(&app, directory.path().join("jwks.json")).await;
        let verifier = with(builder).start_with(app.clock.clone()).await.unwrap();
        verifier.ready(Duration::from_secs(10)).await.unwrap();
        let reached = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&reached);
        let deploy = |Path(team): Path<String>, extensions: Extensions| async move {
            let team = team.parse().unwrap();
            match authorize(&extensions, &"deployments:create".parse().unwrap(), Some(&team)) {
                Ok(verified) => (axum::http::StatusCode::CREATED, verified.username().to_string()).into_response(),
                Err(denied) => denied.response::<Body>(),
            }
        };
        let router = Router::new()
            .route("/whoami", get(|verified: axum::Extension<Verified>| async move { verified.username().to_string() }))
            .route("/broken", get(|| async { axum::http::StatusCode::INTERNAL_SERVER_ERROR }))
            .route("/headers", get(|headers: axum::http::HeaderMap| async move { format!("{headers:?}") }))
            .route("/deployments", post(|| async { "deployed" }).layer(require("deployments:create".parse().unwrap())))
            .route("/teams/{team}/deployments", post(deploy))
            .layer(axum::middleware::from_fn(move |request: axum::extract::Request, next: axum::middleware::Next| {
                counted.fetch_add(1, Ordering::SeqCst);
                next.run(request)
            }))
            .layer(verifier.layer().peer(|extensions| extensions.get::<IpAddr>().copied()));
        Self { app, verifier, router, reached, directory }
    }

    async fn call(&self, actor: &Actor, method: &str, path: &str) -> Answered {
        let mut request = actor.request(method, path).body(Body::empty()).unwrap();
        request.extensions_mut().insert(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)));
        self.send(request).await
    }

    async fn send(&self, request: Request<Body>) -> Answered {
        let response: Response = self.router.clone().oneshot(request).await.unwrap().map(Body::new);
        let (parts, body) = response.into_parts();
        assert!(parts.headers.contains_key("x-request-id"));
        let text = body.collect().await.unwrap().to_bytes();
        let header = |name: &str| parts.headers.get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
        let json =
            serde_json::from_slice(&text).unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&text).into()));
        Answered { status: parts.status.as_u16(), json, challenge: header("www-authenticate") }
    }
}

/// A builder for this service's store, with its key set in a file, as a user with a verifier's rights.
async fn of(app: &App, keys: PathBuf) -> Builder {
    let set = app.nobody().door("GET", "/.well-known/jwks.json", 200).await;
    std::fs::write(&keys, &set.text).unwrap();
    let user = format!("verifier-{}", app.prefix);
    let rules = Schema::new(&app.prefix).verifier_rules();
    let mut command = vec!["ACL", "SETUSER", &user, ">only-for-verifiers"];
    command.extend(rules.iter().map(String::as_str));
    app.redis.run::<()>(&command).await;
    Verifier::builder(ISSUER)
        .redis(format!("unix:{}", app.redis.socket().display()))
        .redis_user(user)
        .redis_password("only-for-verifiers")
        .prefix(&app.prefix)
        .key_set_file(keys)
        .node_name("orders-api")
}

#[tokio::test]
async fn who_shows_a_good_token_is_let_in_and_known() {
    let api = Api::start().await;
    let ci = api.app.account("ci", &[]).await;
    let answer = api.call(&ci, "GET", "/whoami").await;
    assert_eq!((answer.status, answer.json), (200, json!("ci")));
    // The handler has no use for the token.
    let headers = api.call(&ci, "GET", "/headers").await.json.to_string();
    assert!(!headers.contains("authorization") && !headers.contains(ci.token()), "{headers}");
}

#[tokio::test]
async fn who_shows_none_or_a_wrong_one_is_refused_as_by_countermark_itself() {
    let api = Api::start().await;
    let (nobody, forger) = (api.app.nobody(), api.app.bearer("eyJh.eyJi.c2ln"));
    for (who, status, reason, challenge) in [
        (&nobody, 401, "missing_token", r#"Bearer realm="countermark""#),
        (&forger, 401, "invalid_token", r#"error="invalid_token""#),
    ] {
        let (here, there) = (api.call(who, "GET", "/whoami").await, who.door("GET", "/verify", status).await);
        assert_eq!((here.status, here.json["reason"].as_str()), (status, Some(reason)));
        assert_eq!(here.json["detail"], there.json["detail"]);
        assert!(here.challenge.contains(challenge), "{}", here.challenge);
    }
    assert_eq!(api.reached.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn r1_a_regenerated_token_is_refused_once_the_receipt_is_there() {
    let api = Api::start().await;
    let ci = api.app.account("ci", &[]).await;
    assert_eq!(api.call(&ci, "GET", "/whoami").await.status, 200);
    let answer = api.app.admin().post(&format!("/accounts/{}/token", ci.id), json!({"valid_for_months": 6}), 201).await;
    // The issuer and this node: both have said that they have it.
    assert_eq!(answer["receipt"]["nodes_acknowledged"], 2, "{}", answer["receipt"]);
    let old = api.call(&ci, "GET", "/whoami").await;
    assert_eq!((old.status, old.json["reason"].as_str()), (401, Some("superseded")));
    let new = ci.holding(answer["token"].as_str().unwrap());
    assert_eq!(api.call(&new, "GET", "/whoami").await.status, 200);
}

#[tokio::test]
async fn a_permission_is_asked_for_in_front_of_a_handler_and_within() {
    let api = Api::start().await;
    api.app.team("payments").await;
    api.app.role("deployer", &["deployments:create"]).await;
    api.app.role("reader", &["deployments:read"]).await;
    let everywhere = api.app.create(json!({"username": "a", "role": "deployer", "valid_for_months": 6})).await;
    let member = json!({"username": "b", "role": "reader", "teams": {"payments": "deployer"}, "valid_for_months": 6});
    let member = api.app.create(member).await;
    for (who, path, status) in [
        (&everywhere, "/deployments", 200),
        (&member, "/deployments", 403),
        (&everywhere, "/teams/payments/deployments", 201),
        (&member, "/teams/payments/deployments", 201),
        (&member, "/teams/other/deployments", 403),
    ] {
        let answer = api.call(who, "POST", path).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.json);
        if status == 403 {
            assert_eq!(answer.json["reason"], "insufficient_permission");
            assert!(answer.challenge.contains(r#"error="insufficient_scope""#), "{}", answer.challenge);
        }
    }
    // A narrowed role takes effect without a new token.
    api.app.role("deployer", &["deployments:read"]).await;
    assert_eq!(api.call(&everywhere, "POST", "/deployments").await.status, 403);
}

#[tokio::test]
async fn f2_with_the_store_gone_calls_are_refused_and_nothing_is_begun() {
    let setup = Setup { redis: RedisServer::start(), ..Setup::default() };
    let api = Api::start_with(setup, |builder| builder.max_staleness(Duration::ZERO)).await;
    let ci = api.app.account("ci", &[]).await;
    assert_eq!(api.call(&ci, "GET", "/whoami").await.status, 200);
    api.app.redis.run::<()>(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no"]).await;
    api.app.redis.run::<()>(&["ACL", "SETUSER", &format!("verifier-{}", api.app.prefix), "off"]).await;
    api.app.redis.run::<u64>(&["CLIENT", "KILL", "USER", &format!("verifier-{}", api.app.prefix)]).await;
    let before = api.reached.load(Ordering::SeqCst);
    let answer = api.call(&ci, "GET", "/whoami").await;
    assert_eq!((answer.status, answer.json["reason"].as_str()), (503, Some("store_unavailable")));
    assert_eq!(api.reached.load(Ordering::SeqCst), before);
    api.app.redis.run::<()>(&["ACL", "SETUSER", &format!("verifier-{}", api.app.prefix), "on"]).await;
    eventually("it is back", || async { api.call(&ci, "GET", "/whoami").await.status == 200 }).await;
}

#[tokio::test]
async fn what_can_not_be_is_told_at_the_start() {
    let app = App::start().await;
    let directory = tempfile::tempdir().unwrap();
    let keys = directory.path().join("jwks.json");
    let start = |builder: Builder| async move { builder.start().await.map(|_| ()).unwrap_err() };
    let wrong = start(of(&app, keys.clone()).await.redis_password("wrong")).await;
    assert!(matches!(&wrong, StartError::Redis(why) if why.contains("password") && !why.contains("wrong")), "{wrong}");
    let other = Verifier::builder("https://other.test").redis(format!("unix:{}", app.redis.socket().display()));
    let other = start(other.prefix(&app.prefix).key_set_file(&keys)).await;
    assert!(matches!(other, StartError::Issuer { .. }), "{other}");
    for builder in [
        Verifier::builder(ISSUER),
        Verifier::builder("http://plain.test").redis("redis://127.0.0.1"),
        Verifier::builder(ISSUER).redis("redis://127.0.0.1").max_staleness(Duration::from_secs(6)),
        Verifier::builder(ISSUER).redis("redis://127.0.0.1").node_name("Not A Name"),
        Verifier::builder(ISSUER).redis("redis://127.0.0.1").ca_pem("no certificate"),
    ] {
        let error = start(builder).await;
        assert!(matches!(error, StartError::Setting { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_node_that_stops_says_goodbye_and_leaves_nothing_unwritten() {
    let api = Api::start().await;
    let ci = api.app.account("ci", &[]).await;
    assert_eq!(api.call(&ci, "GET", "/whoami").await.status, 200);
    assert_eq!(api.app.redis.run::<u64>(&["HLEN", &api.app.key("leases")]).await, 2);
    api.verifier.stop().await;
    assert_eq!(api.app.redis.run::<u64>(&["HLEN", &api.app.key("leases")]).await, 1);
    assert_eq!(api.verifier.counts().events_waiting, 0);
    assert_eq!(api.call(&ci, "GET", "/whoami").await.status, 503);
    drop(api.directory);
}
