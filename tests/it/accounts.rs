//! Accounts: their life, who is told what of it, and that somebody can always administer.

use serde_json::json;

use crate::app::{App, DAY};

#[tokio::test]
async fn the_whole_life_of_an_account() {
    let app = App::start().await;
    let admin = app.admin();
    app.role("deployer", &["deployments:create"]).await;
    let body = json!({ "username": "ci", "description": "Builds", "role": "deployer", "valid_for_months": 12 });
    let created = admin.post("/accounts", body, 201).await;
    assert_eq!(created.header("cache-control"), "no-store");
    let id = created["account"]["id"].as_str().unwrap().to_owned();
    assert_eq!(created.header("location"), format!("/api/v1/accounts/{id}"));
    assert_eq!(created["account"]["generation"], 1);
    assert_eq!(created["account"]["kind"], "service");
    assert_eq!(created["account"]["status"], "active");
    let first = app.bearer(&created.text_of("token"));

    // It works at both doors, and they say who it is.
    let verified = first.door("GET", "/verify?permission=deployments:create", 200).await;
    assert_eq!(verified.text, "");
    assert_eq!(verified.header("x-countermark-account"), id);
    assert_eq!(verified.header("x-countermark-username"), "ci");
    assert_eq!(verified.header("x-countermark-role"), "deployer");
    assert_eq!(verified.header("x-countermark-generation"), "1");
    assert_eq!(verified.header("x-countermark-token-id"), created["account"]["token"]["id"]);
    let me = first.get("/self", 200).await;
    assert_eq!(me["account"]["id"], id);
    assert_eq!(me["permissions"], json!(["deployments:create"]));
    assert_eq!(me["token"]["id"], created["account"]["token"]["id"]);
    assert_eq!(me["token"]["expires_at"], created["expires_at"]);

    // A new token ends the old one, at once and everywhere.
    let regenerated = admin.post("/accounts/ci/token", json!({ "valid_for_months": 6 }), 201).await;
    let second = app.bearer(&regenerated.text_of("token"));
    assert_eq!(regenerated["account"]["generation"], 2);
    assert_eq!(first.verdict().await, "superseded");
    assert_eq!(first.get("/self", 401).await.reason(), "superseded");
    assert_eq!(second.verdict().await, "allowed");

    admin.patch("/accounts/ci", json!({ "status": "disabled" }), 200).await;
    assert_eq!(second.verdict().await, "disabled");
    let refused = admin.post("/accounts/ci/token", json!({ "valid_for_months": 6 }), 409).await;
    assert_eq!(refused.reason(), "account_disabled");
    admin.patch("/accounts/ci", json!({ "status": "active" }), 200).await;
    assert_eq!(second.verdict().await, "allowed");
    assert_eq!(first.verdict().await, "superseded");

    admin.delete("/accounts/ci/token", 200).await;
    assert_eq!(second.verdict().await, "revoked");
    assert_eq!(app.look("ci").await["token"], json!(null));
    let third = app.bearer(&admin.regenerate("ci").await);
    assert_eq!(third.verdict().await, "allowed");
    assert_eq!(second.verdict().await, "superseded");

    let gone = admin.delete("/accounts/ci", 200).await;
    assert!(gone["receipt"]["epoch"].as_str().is_some());
    assert_eq!(third.verdict().await, "unknown_account");
    for path in ["/accounts/ci".to_owned(), format!("/accounts/{id}")] {
        assert_eq!(admin.get(&path, 404).await.reason(), "not_found");
    }

    // All of it is in the activity log, which outlives the account.
    let activity = app.activity(&id).await;
    let kinds = |kind: &str| activity.iter().filter(|event| event["kind"] == kind).count();
    assert_eq!(
        ["account.create", "token.regenerate", "account.update", "token.revoke", "account.delete"].map(kinds),
        [1, 3, 2, 1, 1],
        "two regenerations were done and one was refused"
    );
    assert!(activity.iter().all(|event| event["account_id"] == id.as_str()));
    let calls: Vec<_> = activity
        .iter()
        .rev()
        .filter(|event| event["kind"] == "call")
        .map(|event| event["reason"].as_str().unwrap_or_else(|| event["outcome"].as_str().unwrap()))
        .collect();
    assert_eq!(
        calls,
        [
            "allowed",
            "allowed",
            "superseded",
            "superseded",
            "allowed",
            "disabled",
            "allowed",
            "superseded",
            "revoked",
            "allowed",
            "superseded",
            "unknown_account"
        ]
    );
    let oldest = activity.iter().rev().find(|event| event["kind"] == "call").unwrap();
    assert_eq!(oldest["path"], "/verify");
    assert_eq!(oldest["permission"], "deployments:create");
    assert_eq!(oldest["client_address"], "127.0.0.1");
    assert_eq!(oldest["token_id"], created["account"]["token"]["id"]);
    assert_eq!(oldest["generation"], 1);
    assert_eq!(oldest["node"], "node-1");
    let refused = activity.iter().find(|event| event["reason"] == "account_disabled").unwrap();
    assert_eq!((&refused["kind"], &refused["outcome"]), (&json!("token.regenerate"), &json!("refused")));
    assert_eq!(refused["actor_id"], admin.id);
}

#[tokio::test]
async fn last_use_is_shown_and_only_good_use_counts() {
    let app = App::start().await;
    let ci = app.account("ci", &[]).await;
    assert_eq!(app.look("ci").await["token"]["last_used_at"], json!(null));
    ci.door("GET", "/verify", 200).await;
    app.settled().await;
    let used = app.look("ci").await["token"]["last_used_at"].clone();
    assert!(used.is_string(), "{used}");
    app.clock.advance(std::time::Duration::from_secs(60));
    ci.door("GET", "/verify?permission=not:held", 403).await;
    app.settled().await;
    assert_eq!(app.look("ci").await["token"]["last_used_at"], used);
    ci.door("GET", "/verify", 200).await;
    app.settled().await;
    assert_ne!(app.look("ci").await["token"]["last_used_at"], used);
}

#[tokio::test]
async fn a_username_is_taken_until_its_accounts_activity_is_gone() {
    let app = App::start().await;
    let admin = app.admin();
    let ci = app.account("ci", &[]).await;
    let body = json!({ "username": "ci", "role": "ci-role", "valid_for_months": 12 });
    assert_eq!(admin.post("/accounts", body.clone(), 409).await.reason(), "username_taken");
    assert_eq!(ci.verdict().await, "allowed");
    admin.delete("/accounts/ci", 200).await;
    assert_eq!(admin.post("/accounts", body.clone(), 409).await.reason(), "username_taken");
    // The activity is readable under the name for as long as the name is his.
    assert!(app.activity("ci").await.iter().all(|event| event["account_id"] == ci.id.as_str()));

    app.clock.advance(401 * DAY);
    // The first admin's token has expired by then.
    let issued =
        countermark::authority::recover(&app.authority, &"admin".parse().unwrap(), None, |_| Ok(())).await.unwrap();
    let admin = admin.holding(&issued.token);
    let again = admin.post("/accounts", body, 201).await;
    assert_ne!(again["account"]["id"], ci.id.as_str());
    assert_eq!(again["account"]["generation"], 1);
    assert_eq!(app.bearer(&again.text_of("token")).verdict().await, "allowed");
    assert_ne!(ci.verdict().await, "allowed");
    assert_eq!(admin.get("/accounts/ci", 200).await["id"], again["account"]["id"]);
    assert_eq!(admin.get(&format!("/accounts/{}", ci.id), 404).await.reason(), "not_found");
}

#[tokio::test]
async fn the_last_admin_stays() {
    let app = App::start().await;
    let admin = app.admin();
    app.role("weak", &["accounts:read"]).await;
    let version = app.look("admin").await["version"].clone();
    let last = |answer: crate::app::Answer| assert_eq!(answer.reason(), "last_admin");
    last(admin.delete("/accounts/admin", 409).await);
    last(admin.patch("/accounts/admin", json!({ "status": "disabled" }), 409).await);
    last(admin.patch("/accounts/admin", json!({ "role": "weak" }), 409).await);
    last(admin.patch("/accounts/admin", json!({ "audiences": ["https://elsewhere.test"] }), 409).await);
    last(admin.patch("/accounts/admin", json!({ "allowed_networks": ["192.0.2.0/24"] }), 409).await);
    last(admin.delete("/accounts/admin/token", 409).await);
    last(app.nobody().form("/oauth2/revoke", &format!("token={}", admin.token()), 409).await);
    assert_eq!(app.look("admin").await["version"], version);
    assert_eq!(admin.verdict().await, "allowed");

    // A disabled one, one without a token, one for another API and one whose token has expired are none.
    let others = ["disabled", "revoked", "elsewhere", "expired"];
    for name in others {
        let audiences = if name == "elsewhere" { vec!["https://elsewhere.test"] } else { vec![] };
        let months = if name == "expired" { 6 } else { 24 };
        app.create(json!({ "username": name, "role": "admin", "audiences": audiences, "valid_for_months": months }))
            .await;
    }
    admin.patch("/accounts/disabled", json!({ "status": "disabled" }), 200).await;
    admin.delete("/accounts/revoked/token", 200).await;
    app.clock.advance(200 * DAY);
    last(admin.delete("/accounts/admin", 409).await);

    // With another real one it goes.
    let other = app.create(json!({ "username": "other", "role": "admin", "valid_for_months": 24 })).await;
    admin.delete("/accounts/admin", 200).await;
    last(other.delete("/accounts/other", 409).await);
    assert_eq!(admin.verdict().await, "unknown_account");
    assert_eq!(other.verdict().await, "allowed");
}

#[tokio::test]
async fn an_admin_may_restrict_himself_to_the_network_that_he_is_in() {
    let app = App::start().await;
    let admin = app.admin();
    admin.patch("/accounts/admin", json!({ "allowed_networks": ["127.0.0.0/8"] }), 200).await;
    assert_eq!(admin.at("192.0.2.1").verdict().await, "network_not_allowed");
    assert_eq!(admin.verdict().await, "allowed");
}

#[tokio::test]
async fn networks_and_audiences_bind_a_token() {
    let app = App::start().await;
    app.role("r", &["accounts:read"]).await;
    let inside = app
        .create(json!({ "username": "inside", "role": "r", "allowed_networks": ["192.0.2.0/24", "2001:db8::/32"], "valid_for_months": 12 }))
        .await;
    for (address, verdict) in [
        ("192.0.2.255", "allowed"),
        ("::ffff:192.0.2.1", "allowed"),
        ("2001:db8::1", "allowed"),
        ("192.0.3.1", "network_not_allowed"),
        ("127.0.0.1", "network_not_allowed"),
        ("2001:db9::1", "network_not_allowed"),
    ] {
        assert_eq!(inside.at(address).verdict().await, verdict, "{address}");
    }
    assert_eq!(inside.get("/self", 401).await.reason(), "network_not_allowed");
    app.admin().patch("/accounts/inside", json!({ "allowed_networks": [] }), 200).await;
    assert_eq!(inside.verdict().await, "allowed");

    let elsewhere = app
        .create(json!({ "username": "elsewhere", "role": "r", "audiences": ["payments", "https://b.test"], "valid_for_months": 12 }))
        .await;
    assert_eq!(elsewhere.verdict().await, "wrong_audience");
    elsewhere.door("GET", "/verify?audience=payments", 200).await;
    elsewhere.door("GET", "/verify?audience=https://b.test", 200).await;
    assert_eq!(elsewhere.door("GET", "/verify?audience=c", 401).await.reason(), "wrong_audience");
    assert_eq!(elsewhere.get("/accounts", 401).await.reason(), "wrong_audience");
    elsewhere.get("/self", 200).await;
    inside.door("GET", "/verify?audience=payments", 401).await;
}

#[tokio::test]
async fn a_version_that_was_read_guards_a_change() {
    let app = App::start().await;
    app.account("ci", &[]).await;
    let admin = app.admin();
    let tag = admin.get("/accounts/ci", 200).await.header("etag").to_owned();
    assert_eq!(tag.trim_matches('"'), app.look("ci").await["version"]);
    let change = |text: &str, tag: &str| {
        let (admin, body, tag) = (admin.clone(), json!({ "description": text }), tag.to_owned());
        async move { admin.send_with("PATCH", "/accounts/ci", Some(body), &[("if-match", &tag)]).await }
    };
    let changed = change("one", &tag).await.expect(200);
    assert_ne!(changed.header("etag"), tag);
    assert_eq!(change("two", &tag).await.expect(412).reason(), "precondition_failed");
    for no_match in [format!("W/{}", changed.header("etag")), "\"x\"".into(), "x".into(), "\"1-1\", \"9-9\"".into()] {
        change("two", &no_match).await.expect(412);
    }
    assert_eq!(app.look("ci").await["description"], "one");
    change("three", &format!("\"9-9\", {}", changed.header("etag"))).await.expect(200);
    change("four", "*").await.expect(200);
    assert_eq!(app.look("ci").await["description"], "four");
}
