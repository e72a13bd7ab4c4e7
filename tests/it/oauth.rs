//! Introspection (RFC 7662), revocation (RFC 7009), metadata (RFC 8414).

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::app::{Answer, App, ISSUER, claims_of};

const FORM: &str = "application/x-www-form-urlencoded";

async fn basic(app: &App, pair: &str, form: &str) -> Answer {
    let request = app
        .nobody()
        .request("POST", "/oauth2/introspect")
        .header("content-type", FORM)
        .header("authorization", format!("Basic {}", STANDARD.encode(pair)));
    app.client.answer(request.body(Body::from(form.to_owned())).unwrap()).await
}

#[tokio::test]
async fn introspection_tells_what_the_contract_says_and_no_more() {
    let app = App::start().await;
    app.role("r", &["b:read", "a:*"]).await;
    app.team("payments").await;
    let body = json!({ "username": "ci", "role": "r", "teams": { "payments": "r" }, "audiences": ["x", "y"], "valid_for_months": 6 });
    let ci = app.create(body).await;
    let claims = claims_of(ci.token());
    let api = app.account("api", &["tokens:introspect"]).await;
    let answer =
        api.form("/oauth2/introspect", &format!("token={}&token_type_hint=access_token", ci.token()), 200).await;
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(
        answer.json,
        json!({
            "active": true, "scope": "a:* b:read", "client_id": ci.id, "username": "ci", "token_type": "Bearer",
            "exp": claims["exp"], "iat": claims["iat"], "sub": ci.id, "aud": ["x", "y"], "iss": ISSUER, "gen": 1,
            "role": "r", "teams": { "payments": "r" }, "token_id": app.look("ci").await["token"]["id"],
        })
    );
    // What holds now, not what stood in the token.
    app.role("r", &["c:read"]).await;
    assert_eq!(api.form("/oauth2/introspect", &format!("token={}", ci.token()), 200).await["scope"], "c:read");
}

#[tokio::test]
async fn introspection_leads_back_to_the_tokens_account() {
    let app = App::start().await;
    let ci = app.account("ci", &[]).await;
    let api = app.account("api", &["tokens:introspect"]).await;
    let form = format!("token={}", ci.token());
    api.form("/oauth2/introspect", &form, 200).await;
    app.admin().regenerate("ci").await;
    api.form("/oauth2/introspect", &form, 200).await;
    for account in ["ci", "api"] {
        let calls: Vec<_> = app
            .activity(account)
            .await
            .into_iter()
            .filter(|event| event["path"] == "/oauth2/introspect")
            .map(|event| {
                assert_eq!(event["account_id"], ci.id.as_str());
                assert_eq!(event["actor_id"], api.id.as_str());
                assert_eq!(event["generation"], 1);
                (event["outcome"].clone(), event["reason"].clone())
            })
            .collect();
        assert_eq!(calls, [(json!("refused"), json!("superseded")), (json!("allowed"), json!(null))], "{account}");
    }
}

#[tokio::test]
async fn an_api_may_introspect_by_http_basic() {
    let app = App::start().await;
    let ci = app.account("ci", &[]).await;
    let api = app.account("api", &["tokens:introspect"]).await;
    let form = format!("token={}", ci.token());
    assert_eq!(basic(&app, &format!("{}:{}", api.id, api.token()), &form).await.expect(200)["active"], true);
    let encoded = format!("{}:{}", api.id.replace('-', "%2D"), api.token().replace('.', "%2E"));
    assert_eq!(basic(&app, &encoded, &form).await.expect(200)["active"], true);
    for pair in [
        format!("{}:{}", ci.id, api.token()),
        format!("api:{}", api.token()),
        format!("{}:garbage", api.id),
        format!(":{}", api.token()),
    ] {
        let refused = basic(&app, &pair, &form).await.expect(401);
        assert_eq!(refused.reason(), "invalid_token", "{pair}");
        assert!(refused.header("www-authenticate").starts_with("Basic realm=\"countermark\""), "{refused:?}");
        assert_eq!(refused["error"], "invalid_client");
    }
    let lacking = basic(&app, &format!("{}:{}", ci.id, ci.token()), &form).await.expect(403);
    assert_eq!(lacking.reason(), "insufficient_permission");
    app.admin().regenerate("api").await;
    let refused = basic(&app, &format!("{}:{}", api.id, api.token()), &form).await.expect(401);
    assert_eq!(refused.reason(), "superseded");
}

#[tokio::test]
async fn the_holder_of_a_token_ends_it() {
    let app = App::start().await;
    let first = app.account("ci", &[]).await;
    let admin = app.admin();
    let overlap = json!({ "valid_for_months": 12, "overlap_seconds": 3600 });
    let second = first.holding(&admin.post("/accounts/ci/token", overlap.clone(), 201).await.text_of("token"));
    // One in its overlap ends only itself.
    let answer = app.nobody().form("/oauth2/revoke", &format!("token={}", first.token()), 200).await;
    assert_eq!(answer.text, "");
    assert_eq!(first.verdict().await, "superseded");
    assert_eq!(second.verdict().await, "allowed");
    // The current one takes all with it.
    let third = first.holding(&admin.post("/accounts/ci/token", overlap, 201).await.text_of("token"));
    assert_eq!(second.verdict().await, "allowed");
    app.nobody().form("/oauth2/revoke", &format!("token={}&token_type_hint=x", third.token()), 200).await;
    for dead in [&first, &second, &third] {
        assert_eq!(dead.verdict().await, "revoked");
    }
    // Again changes nothing.
    let version = app.look("ci").await["version"].clone();
    app.nobody().form("/oauth2/revoke", &format!("token={}", third.token()), 200).await;
    assert_eq!(app.look("ci").await["version"], version);
    let events = app.activity("ci").await;
    let done: Vec<_> =
        events.iter().filter(|event| event["kind"] == "token.revoke" && event["outcome"] == "done").collect();
    assert_eq!(done.len(), 2);
    assert!(done.iter().all(|event| event["account_id"] == first.id.as_str()));
}

#[tokio::test]
async fn forms_are_read_strictly() {
    let app = App::start().await;
    let admin = app.admin();
    let token = admin.token().to_owned();
    for path in ["/oauth2/introspect", "/oauth2/revoke"] {
        for form in ["", "token=", "x=y", "token=a&token=b", "token=a&x=1&x=2"] {
            let refused = admin.form(path, form, 400).await;
            assert_eq!((refused.reason(), &refused["error"]), ("invalid_request", &json!("invalid_request")), "{form}");
        }
        let refused = admin.form(&format!("{path}?token={token}"), "token=x", 400).await;
        assert_eq!(refused.reason(), "invalid_request");
        let request = admin.request("POST", path).header("content-type", "application/json");
        let refused = app.client.answer(request.body(Body::from("{}")).unwrap()).await.expect(415);
        assert_eq!(refused.reason(), "unsupported_media_type");
        let large = format!("token={}", "a".repeat(64 * 1024));
        assert_eq!(admin.form(path, &large, 413).await.reason(), "payload_too_large");
        let refused = admin.door("GET", path, 405).await;
        assert_eq!((refused.reason(), refused.header("allow")), ("method_not_allowed", "POST"));
    }
    assert_eq!(admin.verdict().await, "allowed");
}

#[tokio::test]
async fn metadata_names_the_endpoints_under_both_names() {
    let app = App::start().await;
    let one = app.nobody().door("GET", "/.well-known/oauth-authorization-server", 200).await;
    let two = app.nobody().door("GET", "/.well-known/openid-configuration", 200).await;
    assert_eq!(one.json, two.json);
    assert_eq!(one["issuer"], ISSUER);
    for (member, path) in [
        ("jwks_uri", "/.well-known/jwks.json"),
        ("introspection_endpoint", "/oauth2/introspect"),
        ("revocation_endpoint", "/oauth2/revoke"),
    ] {
        assert_eq!(one[member], format!("{ISSUER}{path}"));
    }
    assert_eq!(one["id_token_signing_alg_values_supported"], json!(["ES256"]));
}
