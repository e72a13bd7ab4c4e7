//! Teams.

use serde_json::json;

use crate::app::App;

#[tokio::test]
async fn a_team_is_created_changed_and_deleted() {
    let app = App::start().await;
    let admin = app.admin();
    let made = admin.put("/teams/payments", json!({ "description": "Money" }), 201).await;
    assert_eq!(made["team"], json!({ "name": "payments", "description": "Money" }));
    assert!(made["receipt"]["epoch"].is_string());
    admin.put("/teams/payments", json!({}), 200).await;
    assert_eq!(admin.get("/teams/payments", 200).await.json, json!({ "name": "payments", "description": "" }));
    assert_eq!(admin.get("/teams", 200).await["items"].as_array().unwrap().len(), 1);
    assert_eq!(admin.put("/teams/payments", json!({ "name": "x" }), 422).await.fields(), ["name"]);
    admin.delete("/teams/payments", 200).await;
    assert_eq!(admin.get("/teams/payments", 404).await.reason(), "not_found");
}

#[tokio::test]
async fn a_team_in_use_stays_until_nobody_is_in_it() {
    let app = App::start().await;
    let admin = app.admin();
    app.role("r", &[]).await;
    app.team("payments").await;
    app.create(json!({ "username": "ci", "role": "r", "teams": { "payments": "r" }, "valid_for_months": 6 })).await;
    assert_eq!(admin.delete("/teams/payments", 409).await.reason(), "team_in_use");
    admin.patch("/accounts/ci", json!({ "teams": {} }), 200).await;
    admin.delete("/teams/payments", 200).await;
    let body = json!({ "teams": { "payments": "r" } });
    assert_eq!(admin.patch("/accounts/ci", body, 422).await.fields(), ["teams.payments"]);
}

#[tokio::test]
async fn a_team_is_changed_and_deleted_only_in_the_version_that_was_read() {
    let app = App::start().await;
    let admin = app.admin();
    let call = async |method: &str, only: (&str, &str), expected| {
        let body = (method == "PUT").then(|| json!({}));
        admin.send_with(method, "/teams/payments", body, &[only]).await.expect(expected)
    };
    assert_eq!(call("PUT", ("if-match", "*"), 412).await.reason(), "precondition_failed");
    call("PUT", ("if-none-match", "*"), 201).await;
    assert_eq!(call("PUT", ("if-none-match", "*"), 412).await.reason(), "precondition_failed");
    let first = admin.get("/teams/payments", 200).await.header("etag").to_owned();
    call("PUT", ("if-match", &first), 200).await;
    assert_eq!(call("PUT", ("if-match", &first), 412).await.reason(), "precondition_failed");
    assert_eq!(call("DELETE", ("if-match", &first), 412).await.reason(), "precondition_failed");
    let second = admin.get("/teams/payments", 200).await.header("etag").to_owned();
    call("DELETE", ("if-match", &second), 200).await;
}
