//! Tokens: overlap, renewal, expiry, what stands in them.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;

use crate::app::{App, DAY, ISSUER, claims_of};

#[tokio::test]
async fn the_old_token_is_good_until_the_overlap_ends() {
    let app = App::start().await;
    let admin = app.admin();
    let first = app.account("ci", &[]).await;
    let body = json!({ "valid_for_months": 12, "overlap_seconds": 3600 });
    let issued = admin.post("/accounts/ci/token", body, 201).await;
    let second = first.holding(&issued.text_of("token"));
    assert_eq!(issued["receipt"]["effective_at"], issued["account"]["previous_token"]["ends_at"]);
    assert_eq!(first.verdict().await, "allowed");
    assert_eq!(second.verdict().await, "allowed");
    let previous = app.look("ci").await["previous_token"].clone();
    assert_eq!(previous["generation"], 1);

    app.clock.advance(Duration::from_secs(3599));
    assert_eq!(first.verdict().await, "allowed");
    // No leeway here.
    app.clock.advance(Duration::from_secs(1));
    assert_eq!(first.verdict().await, "superseded");
    assert_eq!(second.verdict().await, "allowed");
    // Who still uses it is seen, and that it may have leaked.
    let leak = app.activity("ci").await.into_iter().find(|event| event["reason"] == "superseded").unwrap();
    assert_eq!(leak["details"]["possible_leak"], true);
    assert_eq!(leak["token_id"], previous["id"]);
    let usage = admin.get("/accounts/ci/usage", 200).await;
    assert_eq!(usage["dead_tokens"][0]["token_id"], previous["id"]);
    assert_eq!(usage["dead_tokens"][0]["reason"], "superseded");
}

#[tokio::test]
async fn a_second_regenerate_ends_an_overlap() {
    let app = App::start().await;
    let admin = app.admin();
    let first = app.account("ci", &[]).await;
    let overlap = json!({ "valid_for_months": 12, "overlap_seconds": 604_800 });
    let second = first.holding(&admin.post("/accounts/ci/token", overlap.clone(), 201).await.text_of("token"));
    let third = first.holding(&admin.post("/accounts/ci/token", overlap, 201).await.text_of("token"));
    assert_eq!(first.verdict().await, "superseded");
    assert_eq!(second.verdict().await, "allowed");
    assert_eq!(third.verdict().await, "allowed");
    let fourth = first.holding(&admin.regenerate("ci").await);
    for dead in [&first, &second, &third] {
        assert_eq!(dead.verdict().await, "superseded");
    }
    assert_eq!(fourth.verdict().await, "allowed");
    assert_eq!(app.look("ci").await["previous_token"], json!(null));
}

#[tokio::test]
async fn an_overlap_survives_neither_revocation_nor_disabling_and_ends_by_itself_in_the_record() {
    let app = App::start().await;
    let admin = app.admin();
    let first = app.account("ci", &[]).await;
    let overlap = json!({ "valid_for_months": 12, "overlap_seconds": 60 });
    let second = first.holding(&admin.post("/accounts/ci/token", overlap.clone(), 201).await.text_of("token"));
    admin.patch("/accounts/ci", json!({ "status": "disabled" }), 200).await;
    assert_eq!(first.verdict().await, "disabled");
    assert_eq!(second.verdict().await, "disabled");
    admin.patch("/accounts/ci", json!({ "status": "active" }), 200).await;
    assert_eq!(first.verdict().await, "allowed");
    admin.delete("/accounts/ci/token", 200).await;
    assert_eq!(first.verdict().await, "revoked");
    assert_eq!(second.verdict().await, "revoked");

    let third = admin.regenerate("ci").await;
    admin.post("/accounts/ci/token", overlap, 201).await;
    app.clock.advance(Duration::from_secs(60));
    let stop = tokio_util::sync::CancellationToken::new();
    let upkeep = countermark::authority::Upkeep::new(app.authority.clone());
    let upkeep = tokio::spawn(upkeep.run(stop.clone()));
    crate::app::eventually("the end of the overlap is a change", || async {
        app.look("ci").await["previous_token"].is_null()
    })
    .await;
    stop.cancel();
    upkeep.await.unwrap();
    assert_eq!(first.holding(&third).verdict().await, "superseded");
    assert!(app.activity("ci").await.iter().any(|event| event["kind"] == "token.overlap_end"));
}

#[tokio::test]
async fn a_token_says_what_the_contract_says() {
    let app = App::start().await;
    app.role("r", &[]).await;
    app.team("payments").await;
    let body = json!({ "username": "ci", "role": "r", "teams": { "payments": "r" }, "valid_for_months": 6 });
    let issued = app.admin().post("/accounts", body, 201).await;
    let token = issued.text_of("token");
    let claims = claims_of(&token);
    let names: BTreeSet<&str> = claims.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, BTreeSet::from(["iss", "sub", "client_id", "aud", "iat", "exp", "jti", "role", "teams", "gen"]));
    assert_eq!(claims["iss"], ISSUER);
    assert_eq!(claims["aud"], json!([ISSUER]));
    assert_eq!(claims["sub"], claims["client_id"]);
    assert_eq!(claims["sub"], issued["account"]["id"]);
    assert_eq!(claims["teams"], json!({ "payments": "r" }));
    let expires = chrono::DateTime::from_timestamp(claims["exp"].as_i64().unwrap(), 0).unwrap();
    assert_eq!(countermark::clock::rfc3339::text(&expires), issued["expires_at"]);
    let issued_at = chrono::DateTime::from_timestamp(claims["iat"].as_i64().unwrap(), 0).unwrap();
    assert_eq!(issued_at.checked_add_months(chrono::Months::new(6)).unwrap(), expires);
    // Its name outside is the beginning of the hash of its jti.
    let id = countermark::token::TokenId::of_jti(claims["jti"].as_str().unwrap());
    assert_eq!(issued["account"]["token"]["id"], id.to_string());
}

#[tokio::test]
async fn a_token_expires_with_five_seconds_leeway() {
    let app = App::start().await;
    let ci = app.account("ci", &[]).await;
    let claims = claims_of(ci.token());
    let life = claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap();
    app.clock.advance(Duration::from_secs(life + 4));
    assert_eq!(ci.verdict().await, "allowed");
    app.clock.advance(Duration::from_secs(1));
    assert_eq!(ci.verdict().await, "expired");
    app.clock.advance(DAY);
    assert_eq!(ci.get("/self", 401).await.reason(), "expired");
}

#[tokio::test]
async fn who_may_renew_renews_himself_alone() {
    let app = App::start().await;
    let ci = app.account("ci", &["tokens:renew"]).await;
    let other = app.account("other", &[]).await;
    let renewed = ci.post("/self/token", json!({ "valid_for_months": 24 }), 201).await;
    assert_eq!(renewed["account"]["id"], ci.id.as_str());
    assert_eq!(ci.verdict().await, "superseded");
    let ci = ci.holding(&renewed.text_of("token"));
    assert_eq!(ci.verdict().await, "allowed");
    let refused = other.post("/self/token", json!({ "valid_for_months": 24 }), 403).await;
    assert_eq!(refused.reason(), "insufficient_permission");
    assert_eq!(other.verdict().await, "allowed");
    assert_eq!(
        ci.post("/accounts/other/token", json!({ "valid_for_months": 24 }), 403).await.reason(),
        "insufficient_permission"
    );
    // During an overlap only the newer token renews: the older one would kill it.
    let overlap = json!({ "valid_for_months": 12, "overlap_seconds": 60 });
    let next = ci.post("/self/token", overlap, 201).await.text_of("token");
    assert_eq!(ci.post("/self/token", json!({ "valid_for_months": 12 }), 409).await.reason(), "conflict");
    let next = ci.holding(&next);
    assert_eq!((ci.verdict().await, next.verdict().await), ("allowed".to_owned(), "allowed".to_owned()));
    next.post("/self/token", json!({ "valid_for_months": 12 }), 201).await;
    assert_eq!((ci.verdict().await, next.verdict().await), ("superseded".to_owned(), "superseded".to_owned()));
}

#[tokio::test]
async fn what_is_asked_of_a_version_is_not_done_to_another() {
    let app = App::start().await;
    let admin = app.admin();
    let ci = app.account("ci", &[]).await;
    let read = admin.get("/accounts/ci", 200).await.header("etag").to_owned();
    let body = json!({ "valid_for_months": 12 });
    let send = async |method: &str, path: &str, tag: &str| {
        let body = (method == "POST").then(|| body.clone());
        admin.send_with(method, path, body, &[("if-match", tag)]).await
    };
    let issued = send("POST", "/accounts/ci/token", &read).await.expect(201);
    let second = ci.holding(&issued.text_of("token"));
    // Sent again, as by a browser that is told to reload: nothing happens.
    for (method, path) in [("POST", "/accounts/ci/token"), ("DELETE", "/accounts/ci/token"), ("DELETE", "/accounts/ci")]
    {
        assert_eq!(send(method, path, &read).await.expect(412).reason(), "precondition_failed", "{method} {path}");
    }
    assert_eq!(app.look("ci").await["generation"], 2);
    assert_eq!(second.verdict().await, "allowed");
    for path in ["/accounts/ci/token", "/accounts/ci"] {
        let tag = admin.get("/accounts/ci", 200).await.header("etag").to_owned();
        send("DELETE", path, &tag).await.expect(200);
    }
    admin.get("/accounts/ci", 404).await;
}
