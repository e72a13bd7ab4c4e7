//! Teams: who is in them.

use serde_json::json;

use super::seen::{HOSTILE, hidden, hides, is_sound, shows};
use super::{admin, visitor};
use crate::app::App;
use crate::browser::sent_to;

#[tokio::test]
async fn a_team_is_made_changed_and_deleted() {
    let app = App::start().await;
    let browser = admin(&app).await;
    shows(&browser.get("/console/teams", 200).await, &["There are no teams yet", "New team"]);
    is_sound(&browser.get("/console/teams/~new", 200).await);
    let made = browser.post("/console/teams/~new", &[("name", "payments"), ("description", "Money")], 303).await;
    assert_eq!(sent_to(&made), "/console/teams/payments");
    let page = browser.get("/console/teams/payments", 200).await;
    is_sound(&page);
    shows(&page, &["The team payments was made.", "Money", "Nobody is in this team"]);
    app.role("r", &[]).await;
    app.create(json!({ "username": "ci", "role": "r", "teams": { "payments": "r" }, "valid_for_months": 6 })).await;
    shows(&browser.get("/console/teams/payments", 200).await, &[">ci</a>", "1 account", "Role in the team"]);
    shows(&browser.get("/console/teams", 200).await, &["class=\"number\">1</td>"]);

    let page = browser.get("/console/teams/payments/edit", 200).await;
    let version = hidden(&page, "version");
    let long = "x".repeat(501);
    let wrong =
        browser.post("/console/teams/payments/edit", &[("version", &version), ("description", &long)], 422).await;
    shows(&wrong, &["id=\"e-description\"", &long]);
    browser.post("/console/teams/payments/edit", &[("version", &version), ("description", "Other")], 303).await;
    let stale =
        browser.post("/console/teams/payments/edit", &[("version", &version), ("description", "Third")], 412).await;
    is_sound(&stale);
    shows(&stale, &["This was changed by somebody else", "Third</textarea>"]);
    assert_eq!(app.admin().get("/teams/payments", 200).await["description"], "Other");
    browser
        .post("/console/teams/payments/edit", &[("version", &hidden(&stale, "version")), ("description", "Third")], 303)
        .await;

    let page = browser.get("/console/teams/payments/delete", 200).await;
    shows(&page, &["The team has members"]);
    app.admin().patch("/accounts/ci", json!({ "teams": {} }), 200).await;
    let page = browser.get("/console/teams/payments/delete", 200).await;
    is_sound(&page);
    shows(&page, &["Delete payments", "It has no members now."]);
    let version = hidden(&page, "version");
    app.admin().patch("/accounts/ci", json!({ "teams": { "payments": "r" } }), 200).await;
    let page = browser.post("/console/teams/payments/delete", &[("version", &version)], 409).await;
    shows(&page, &["1 accounts are still members", "The team has members"]);
    app.admin().patch("/accounts/ci", json!({ "teams": {} }), 200).await;
    let deleted = browser.post("/console/teams/payments/delete", &[("version", &version)], 303).await;
    assert_eq!(sent_to(&deleted), "/console/teams");
    shows(&browser.get("/console/teams", 200).await, &["The team payments was deleted."]);
}

#[tokio::test]
async fn each_sees_and_does_only_what_he_may() {
    let app = App::start().await;
    app.team("ops").await;
    let pages = [
        "/console/teams",
        "/console/teams/ops",
        "/console/teams/~new",
        "/console/teams/ops/edit",
        "/console/teams/ops/delete",
    ];
    for (name, permissions, expected) in [
        ("stranger", &["accounts:read"][..], [403, 403, 403, 403, 403]),
        ("reader", &["roles:read"], [200, 200, 403, 403, 403]),
        ("writer", &["roles:write"], [403, 403, 200, 403, 403]),
        ("both", &["roles:read", "roles:write"], [200, 200, 200, 200, 200]),
    ] {
        let browser = visitor(&app, name, permissions).await;
        for (path, expected) in pages.iter().zip(expected) {
            is_sound(&browser.get(path, expected).await);
        }
    }
    let reader = visitor(&app, "other-reader", &["roles:read"]).await;
    hides(&reader.get("/console/teams/ops", 200).await, &["/edit", "/delete", "Members"]);
    hides(&reader.get("/console/teams", 200).await, &["New team"]);
    for path in ["/console/teams/~new", "/console/teams/ops/edit", "/console/teams/ops/delete"] {
        reader.post(path, &[("version", "0-0"), ("name", "x")], 403).await;
    }
}

#[tokio::test]
async fn nothing_that_is_typed_runs() {
    let app = App::start().await;
    let browser = admin(&app).await;
    browser.get("/console/teams/~new", 200).await;
    for (number, text) in HOSTILE.iter().enumerate() {
        let page = browser.post("/console/teams/~new", &[("name", text), ("description", text)], 422).await;
        shows(&page, &["id=\"e-name\""]);
        if !text.contains('\u{202e}') {
            is_sound(&page);
        }
        let name = format!("t{number}");
        app.admin().put(&format!("/teams/{name}"), json!({ "description": text }), 201).await;
        for path in [format!("/console/teams/{name}"), "/console/teams".into()] {
            is_sound(&browser.get(&path, 200).await);
        }
    }
}
