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
