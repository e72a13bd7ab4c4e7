//! What each door says to each kind of token.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use countermark::account::AccountId;
use countermark::http::NamedDemand;
use countermark::listen::Transport;
use countermark::token::{Claims, Jti, TokenId};
use serde_json::{Value, json};

use crate::app::{Actor, Answer, App, Client, DAY, ISSUER, Setup, a_peer, claims_of, of_tokens};

/// Claims as they would stand in a token of this account.
fn claims(app: &App, account: &str) -> Claims {
    let now = countermark::clock::Clock::now(app.clock.as_ref()).timestamp();
    Claims {
        issuer: ISSUER.into(),
        account: account.parse().unwrap(),
        audiences: vec![ISSUER.parse().unwrap()],
        issued_at: now,
        expires_at: now + 3600,
        token_id: TokenId::of_jti(""),
        role: "admin".parse().unwrap(),
        teams: BTreeMap::new(),
        generation: 1,
        confirmation: None,
    }
}

/// A genuine signature under whatever is claimed, as by a thief of the key.
pub fn signed(app: &App, claims: &Claims) -> String {
    let keys = app.authority.keys().now();
    countermark::token::encode(claims, &Jti::random().unwrap(), keys.signer.as_deref().unwrap()).unwrap()
}

fn with_header(token: &str, change: impl Fn(&mut serde_json::Value)) -> String {
    let (header, rest) = token.split_once('.').unwrap();
    let mut header: serde_json::Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
    change(&mut header);
    format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header.to_string()))
}

/// Tokens that nobody signed, by what the metrics call them.
fn unproven(genuine: &str) -> Vec<(&'static str, String)> {
    let mut flipped = genuine.as_bytes().to_vec();
    let middle = genuine.rfind('.').unwrap() + 10;
    flipped[middle] = if flipped[middle] == b'A' { b'B' } else { b'A' };
    vec![
        ("malformed", "garbage".into()),
        ("malformed", "a.b.c".into()),
        ("malformed", genuine.replace('.', "..")),
        ("malformed", with_header(genuine, |header| header["crit"] = json!(["x"]))),
        ("malformed", with_header(genuine, |header| header["jwk"] = json!({}))),
        ("too_large", "a".repeat(4097)),
        ("unsupported_algorithm", with_header(genuine, |header| header["alg"] = json!("none"))),
        ("unsupported_algorithm", with_header(genuine, |header| header["alg"] = json!("EdDSA"))),
        ("unknown_key", with_header(genuine, |header| header["kid"] = json!("A".repeat(43)))),
        ("bad_signature", String::from_utf8(flipped).unwrap()),
    ]
}

/// What one and the same answer is compared by.
fn without_id(answer: &Answer) -> (u16, serde_json::Value, String, String) {
    let mut body = answer.json.clone();
    body.as_object_mut().unwrap().remove("request_id");
    let headers = (answer.header("www-authenticate").to_owned(), answer.header("retry-after").to_owned());
    (answer.status.as_u16(), body, headers.0, headers.1)
}

/// All that a token with a genuine signature can be refused for.
async fn dead_tokens(app: &App) -> Vec<(&'static str, Actor)> {
    let admin = app.admin();
    let mut dead = Vec::new();
    for (reason, name) in [
        ("disabled", "disabled"),
        ("superseded", "superseded"),
        ("revoked", "revoked"),
        ("unknown_account", "deleted"),
        ("network_not_allowed", "networks"),
        ("binding_mismatch", "bound"),
    ] {
        dead.push((reason, app.account(name, &["*:*"]).await));
    }
    admin.patch("/accounts/disabled", json!({ "status": "disabled" }), 200).await;
    admin.regenerate("superseded").await;
    admin.delete("/accounts/revoked/token", 200).await;
    admin.delete("/accounts/deleted", 200).await;
    admin.patch("/accounts/networks", json!({ "allowed_networks": ["192.0.2.0/24"] }), 200).await;
    let bound = dead[5].1.id.clone();
    let (version, mut state) = app.state(&bound).await;
    state["b"] = json!({ "jkt": "x" });
    app.redis.run::<()>(&["SET", &app.state_key(&bound), &format!("{version} {state}")]).await;

    let of = |claims: &Claims| app.bearer(&signed(app, claims));
    let base = claims(app, &admin.id);
    dead.push(("wrong_issuer", of(&Claims { issuer: "https://other.test".into(), ..base.clone() })));
    dead.push((
        "expired",
        of(&Claims { issued_at: base.issued_at - 20, expires_at: base.issued_at - 10, ..base.clone() }),
    ));
    dead.push(("not_yet_valid", of(&Claims { issued_at: base.issued_at + 60, ..base.clone() })));
    let nobody = AccountId::new(chrono::DateTime::UNIX_EPOCH);
    dead.push(("unknown_account", of(&Claims { account: nobody, ..base.clone() })));
    // K4: whoever has the key alone still has no token.
    dead.push(("superseded", of(&base)));
    dead.push(("revoked", of(&Claims { generation: 1000, ..base })));
    dead
}

#[tokio::test]
async fn a_dead_token_is_told_why_at_every_door() {
    let app = App::start().await;
    for (reason, dead) in dead_tokens(&app).await {
        for (method, path) in [("GET", "/verify"), ("GET", "/api/v1/self"), ("GET", "/api/v1/accounts")] {
            let answer = dead.door(method, path, 401).await;
            assert_eq!(answer.reason(), reason, "{path}");
            let challenge = answer.header("www-authenticate");
            assert!(
                challenge.starts_with(r#"Bearer realm="countermark", error="invalid_token", error_description=""#),
                "{challenge}"
            );
            assert_eq!(answer.header("cache-control"), "no-store");
        }
        let asker = app.admin();
        let inactive = asker.form("/oauth2/introspect", &format!("token={}", dead.token()), 200).await;
        // Nobody who asks about a token is its holder, so that his address and his proof don't count.
        if matches!(reason, "network_not_allowed") {
            assert_eq!(inactive["active"], true);
        } else {
            assert_eq!(inactive.json, json!({ "active": false }), "{reason}");
        }
        let refused = dead.form("/oauth2/introspect", "token=x", 401).await;
        assert_eq!(refused.reason(), reason);
    }
    // What is no longer good is as revoked as its holder wants it.
    for (reason, dead) in dead_tokens_again(&app).await {
        app.nobody().form("/oauth2/revoke", &format!("token={}", dead.token()), 200).await;
        assert_eq!(dead.verdict().await, reason);
    }
}

async fn dead_tokens_again(app: &App) -> Vec<(&'static str, Actor)> {
    let old = app.account("old", &[]).await;
    let new = old.holding(&app.admin().regenerate("old").await);
    let revoked = app.account("no-token", &[]).await;
    app.admin().delete("/accounts/no-token/token", 200).await;
    app.nobody().form("/oauth2/revoke", &format!("token={}", old.token()), 200).await;
    assert_eq!(new.verdict().await, "allowed");
    vec![("superseded", old), ("revoked", revoked)]
}

#[tokio::test]
async fn what_nobody_signed_gets_one_and_the_same_answer() {
    let app = App::start().await;
    let genuine = app.admin();
    for path in ["/verify", "/api/v1/self", "/api/v1/accounts"] {
        let mut answers = Vec::new();
        for (_, token) in unproven(genuine.token()) {
            let answer = app.bearer(&token).door("GET", path, 401).await;
            assert_eq!(answer.reason(), "invalid_token");
            answers.push(without_id(&answer));
        }
        answers.dedup();
        assert_eq!(answers.len(), 1, "{answers:#?}");
    }
    let introspect = |token: String| {
        let admin = app.admin();
        async move { admin.form("/oauth2/introspect", &format!("token={token}"), 200).await.json }
    };
    for (_, token) in unproven(genuine.token()) {
        assert_eq!(introspect(token.clone()).await, json!({ "active": false }));
        let answer = app.nobody().form("/oauth2/revoke", &format!("token={token}"), 200).await;
        assert_eq!(answer.text, "");
    }
    // Told apart in the metrics alone.
    let metrics = app.metrics.text();
    for (reason, _) in unproven(genuine.token()) {
        assert!(
            metrics.contains(&format!("countermark_decisions_total{{reason=\"{reason}\"}}")),
            "{reason}: {metrics}"
        );
    }
    assert_eq!(genuine.verdict().await, "allowed");
}

#[tokio::test]
async fn a_missing_or_unusable_credential_is_told_apart() {
    let app = App::start().await;
    let (nobody, admin) = (app.nobody(), app.admin());
    for path in ["/verify", "/verify/any/path", "/api/v1/self", "/api/v1/accounts"] {
        let answer = nobody.door("GET", path, 401).await;
        assert_eq!(answer.reason(), "missing_token");
        assert_eq!(answer.header("www-authenticate"), r#"Bearer realm="countermark""#);
    }
    for (path, status) in [("/verify", 401), ("/api/v1/self", 400)] {
        let token = admin.token();
        let headers: [&[&str]; 5] = [
            &[&format!("Bearer {token}"), &format!("Bearer {token}")],
            &["Bearer"],
            &["Digest x"],
            &[&format!("Bearer {token} x")],
            &[&format!("Basic {}", STANDARD.encode(format!("{}:{token}", admin.id)))],
        ];
        for values in headers {
            let mut request = nobody.request("GET", path);
            for value in values {
                request = request.header("authorization", *value);
            }
            let answer = app.client.answer(request.body(Body::empty()).unwrap()).await.expect(status);
            assert_eq!(answer.reason(), "invalid_request");
            assert!(answer.header("www-authenticate").contains("error=\"invalid_request\""), "{answer:?}");
        }
        for query in [format!("?access_token={token}"), format!("?token={token}")] {
            let answer = nobody.door("GET", &format!("{path}{query}"), status).await;
            assert_eq!(answer.reason(), "invalid_request");
            assert!(!answer.text.contains(token));
        }
    }
}

#[tokio::test]
async fn the_gateways_door_answers_every_method_and_path_and_never_with_another_error() {
    let app = App::start().await;
    let ci = app.account("ci", &["deployments:create"]).await;
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"] {
        for path in [
            "/verify",
            "/verify/",
            "/verify/a/b%20c/..;/d",
            "/verify/%ff",
            "/verify//x",
            "/verify/?permission=not:held",
        ] {
            ci.door(method, path, 200).await;
            app.nobody().door(method, path, 401).await;
        }
    }
    for query in [
        "permission=x",
        "permission=*:*",
        "team=A",
        "audience=",
        "unknown=1",
        "permission=a:b&permission=a:b",
        "permission",
    ] {
        let answer = ci.door("GET", &format!("/verify?{query}"), 401).await;
        assert_eq!(answer.reason(), "invalid_request", "{query}");
    }
    assert_eq!(ci.door("GET", "/verify/~none", 401).await.reason(), "invalid_request");
    let refused = ci.door("GET", "/verify?permission=deployments:delete", 403).await;
    assert_eq!(refused.reason(), "insufficient_permission");
    assert!(
        refused.header("www-authenticate").starts_with(r#"Bearer realm="countermark", error="insufficient_scope""#)
    );
    // A body of any size and kind is none of its business.
    let request = ci.request("POST", "/verify").header("content-length", "99999999");
    app.client.answer(request.body(Body::from(vec![0; 100_000])).unwrap()).await.expect(200);
}

#[tokio::test]
async fn a_policy_demands_what_the_configuration_says_and_the_client_cant_change_it() {
    let policies = BTreeMap::from([(
        "deploy".to_owned(),
        NamedDemand {
            permission: Some("deployments:create".parse().unwrap()),
            team: Some("payments".parse().unwrap()),
            audience: Some("payments".parse().unwrap()),
        },
    )]);
    let app = App::with(Setup { policies, ..Setup::default() }).await;
    app.role("plain", &[]).await;
    app.role("deployer", &["deployments:create"]).await;
    app.team("payments").await;
    let body = json!({ "username": "member", "role": "plain", "teams": { "payments": "deployer" }, "audiences": ["payments"], "valid_for_months": 12 });
    let member = app.create(body).await;
    let body = json!({ "username": "other", "role": "plain", "audiences": ["payments"], "valid_for_months": 12 });
    let other = app.create(body).await;
    for path in ["/verify/~deploy", "/verify/~deploy/", "/verify/~deploy/x?permission=a:b&audience=c&token=x"] {
        let answer = member.door("GET", path, 200).await;
        assert_eq!(answer.header("x-countermark-teams"), "payments=deployer");
        other.door("GET", path, 403).await;
    }
    app.settled().await;
    let refused = app.activity(&other.id).await.into_iter().find(|event| event["outcome"] == "refused").unwrap();
    assert_eq!((&refused["team"], &refused["permission"]), (&json!("payments"), &json!("deployments:create")));
    assert_eq!(refused["path"], "/x");
}

#[tokio::test]
async fn the_request_behind_the_gateway_is_recorded_without_its_query() {
    let app = App::start().await;
    let ci = app.account("ci", &[]).await;
    type Headers = &'static [(&'static str, &'static str)];
    let cases: [(&str, Headers, &str, &str); 5] = [
        ("/verify", &[("x-original-method", "PUT"), ("x-original-uri", "/a?secret=1")], "PUT", "/a"),
        ("/verify", &[("x-forwarded-method", "POST"), ("x-forwarded-uri", "/b?secret=1#x")], "POST", "/b"),
        ("/verify/c/d?secret=1", &[], "GET", "/c/d"),
        ("/verify", &[], "GET", "/verify"),
        ("/verify", &[("x-countermark-account", "x"), ("x-original-uri", "/e\tf")], "GET", "/e\u{fffd}f"),
    ];
    for (path, headers, method, recorded) in cases {
        app.clock.advance(Duration::from_secs(1));
        let mut request = ci.request("GET", path).header("x-request-id", "seen-here");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = app.client.answer(request.body(Body::empty()).unwrap()).await.expect(200);
        assert_eq!(answer.header("x-countermark-account"), ci.id);
        let event = app.activity("ci").await[0].clone();
        assert_eq!((event["method"].as_str().unwrap(), event["path"].as_str().unwrap()), (method, recorded));
        assert_eq!(event["request_id"], "seen-here");
        assert!(!event.to_string().contains("secret"));
    }
}

#[tokio::test]
async fn guessing_is_slowed_down_and_dead_tokens_are_no_guesses() {
    let app = App::with(Setup { guessing: (1, 3), ..Setup::default() }).await;
    let old = app.account("ci", &[]).await;
    let new = old.holding(&app.admin().regenerate("ci").await);
    for _ in 0..20 {
        assert_eq!(old.verdict().await, "superseded");
    }
    let guesser = app.bearer("garbage");
    for _ in 0..3 {
        assert_eq!(guesser.verdict().await, "invalid_token");
    }
    for path in ["/verify", "/api/v1/self", "/api/v1/accounts"] {
        let answer = guesser.door("GET", path, 429).await;
        assert_eq!(answer.reason(), "rate_limited");
        let wait: u64 = answer.header("retry-after").parse().unwrap();
        assert!((1..=60).contains(&wait), "{wait}");
    }
    app.nobody().form("/oauth2/revoke", "token=garbage", 429).await;
    // Whoever has a genuine token at that address is not made to pay for it, and another address neither.
    assert_eq!(new.verdict().await, "allowed");
    assert_eq!(old.verdict().await, "superseded");
    assert_eq!(guesser.at("192.0.2.1").verdict().await, "invalid_token");
    // Asking about garbage is no guessing.
    for _ in 0..10 {
        app.admin().form("/oauth2/introspect", "token=garbage", 200).await;
    }
    app.nobody().at("192.0.2.1").form("/oauth2/revoke", "token=garbage", 200).await;
}

#[tokio::test]
async fn plain_text_from_elsewhere_is_refused_and_recorded_as_exposed() {
    let app = App::with(Setup { trusted_proxies: vec!["192.0.2.10/32".parse().unwrap()], ..Setup::default() }).await;
    let ci = app.account("ci", &[]).await;
    let over = |transport, address| Actor {
        client: Client { peer: a_peer(transport, address), ..app.client.clone() },
        ..ci.clone()
    };
    for (path, status) in [("/api/v1/self", 400), ("/verify", 401)] {
        let answer = over(Transport::Plain, Some("198.51.100.1")).door("GET", path, status).await;
        assert_eq!(answer.reason(), "invalid_request");
        assert!(answer["detail"].as_str().unwrap().contains("https"));
        assert_eq!(answer.header("location"), "");
        over(Transport::Plain, Some("192.0.2.10")).door("GET", path, status).await;
        over(Transport::Plain, Some("127.0.0.1")).door("GET", path, 200).await;
        over(Transport::Unix, None).door("GET", path, 200).await;
    }
    let proxy = over(Transport::Plain, Some("192.0.2.10"));
    for (protocol, status) in [("https", 200), ("HTTPS", 200), ("http", 401), ("https,http", 401)] {
        let request = proxy.request("GET", "/verify").header("x-forwarded-proto", protocol);
        proxy.client.answer(request.body(Body::empty()).unwrap()).await.expect(status);
    }
    // Who is no trusted proxy may say what he likes.
    let liar = over(Transport::Plain, Some("198.51.100.1"));
    let request = liar.request("GET", "/verify").header("x-forwarded-proto", "https");
    liar.client.answer(request.body(Body::empty()).unwrap()).await.expect(401);
    let exposed = app.activity("ci").await.into_iter().filter(|event| event["kind"] == "token.exposed").count();
    assert!(exposed >= 4, "{exposed}");
}

#[tokio::test]
async fn the_client_is_the_rightmost_address_that_is_no_trusted_proxy() {
    let app = App::with(Setup { trusted_proxies: vec!["192.0.2.0/24".parse().unwrap()], ..Setup::default() }).await;
    app.role("r", &[]).await;
    let body = json!({ "username": "ci", "role": "r", "allowed_networks": ["203.0.113.0/24"], "valid_for_months": 12 });
    let ci = app.create(body).await;
    for (peer, forwarded, verdict) in [
        ("192.0.2.1", "203.0.113.7", 200),
        ("192.0.2.1", "198.51.100.1, 203.0.113.7, 192.0.2.9", 200),
        ("192.0.2.1", "203.0.113.7, 198.51.100.1", 401),
        ("192.0.2.1", "203.0.113.7, unknown", 401),
        ("198.51.100.1", "203.0.113.7", 401),
        ("203.0.113.7", "198.51.100.1", 200),
    ] {
        let ci = ci.at(peer);
        let request = ci.request("GET", "/verify").header("x-forwarded-for", forwarded);
        ci.client.answer(request.body(Body::empty()).unwrap()).await.expect(verdict);
    }
}

#[tokio::test]
async fn a_sane_request_id_is_kept_and_an_insane_one_replaced() {
    let app = App::start().await;
    let admin = app.admin();
    let token = admin.token().to_owned();
    let payload = token.split('.').nth(1).unwrap();
    let half = &payload[..payload.len().min(128)];
    let long = "x".repeat(129);
    for (given, kept) in [
        ("abc-1_2.3:4/5+6=", true),
        ("", false),
        ("a b", false),
        ("a\"b", false),
        ("ä", false),
        (long.as_str(), false),
        ("of.the-form.of-a-token", false),
        (token.as_str(), false),
        // With the jti in it.
        (half, false),
    ] {
        for path in ["/verify", "/api/v1/self", "/nowhere", "/healthz"] {
            let request = admin.request("GET", path).header("x-request-id", given.as_bytes());
            let answer = app.client.answer(request.body(Body::empty()).unwrap()).await;
            let id = answer.header("x-request-id");
            assert_eq!(id == given, kept, "{given}");
            assert!(kept || uuid::Uuid::try_parse(id).is_ok_and(|id| id.get_version_num() == 7), "{id}");
        }
    }
    let two = admin.request("GET", "/verify").header("x-request-id", "a").header("x-request-id", "b");
    let answer = app.client.answer(two.body(Body::empty()).unwrap()).await;
    assert!(uuid::Uuid::try_parse(answer.header("x-request-id")).is_ok());
}

#[tokio::test]
async fn a_key_that_was_revoked_ends_all_that_it_signed() {
    let app = App::start().await;
    let admin = app.admin();
    let mut read = app.authority.keys().document().await.unwrap();
    read.document.keys[0].state = countermark::verify::KeyState::Revoked;
    crate::keys::replace(&app.authority, &read).await;
    assert_eq!(admin.verdict().await, "revoked_key");
    assert_eq!(admin.get("/self", 401).await.reason(), "revoked_key");
    let keys = app.nobody().door("GET", "/.well-known/jwks.json", 200).await;
    assert_eq!(of_tokens(&keys.json), Vec::<Value>::new());
}

#[tokio::test]
async fn the_token_says_nothing_about_authority() {
    let app = App::start().await;
    let ci = app.account("ci", &["deployments:create"]).await;
    ci.door("GET", "/verify?permission=deployments:create", 200).await;
    app.role("ci-role", &["deployments:read"]).await;
    ci.door("GET", "/verify?permission=deployments:create", 403).await;
    ci.door("GET", "/verify?permission=deployments:read", 200).await;
    app.role("other", &["deployments:*"]).await;
    app.admin().patch("/accounts/ci", json!({ "role": "other" }), 200).await;
    ci.door("GET", "/verify?permission=deployments:create", 200).await;
    assert_eq!(claims_of(ci.token())["role"], "ci-role");
    app.clock.advance(DAY);
    assert_eq!(ci.door("GET", "/verify", 200).await.header("x-countermark-role"), "other");
}
