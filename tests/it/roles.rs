//! Roles, and that nobody grants what they don't hold.

use serde_json::json;

use crate::app::App;

#[tokio::test]
async fn a_role_is_created_changed_and_deleted() {
    let app = App::start().await;
    let admin = app.admin();
    let body = json!({ "description": "Ships", "permissions": ["b:*", "a:read", "a:read"] });
    let made = admin.put("/roles/deployer", body, 201).await;
    let role = json!({ "name": "deployer", "description": "Ships", "permissions": ["a:read", "b:*"] });
    assert_eq!(made["role"], role);
    assert!(made["receipt"]["epoch"].is_string());
    assert_eq!(admin.get("/roles/deployer", 200).await.json, role);
    let body = json!({ "name": "deployer", "permissions": [] });
    let changed = admin.put("/roles/deployer", body, 200).await;
    assert_eq!(changed["role"], json!({ "name": "deployer", "description": "", "permissions": [] }));
    let names: Vec<_> = admin.get("/roles", 200).await["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|role| role["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["admin", "auditor", "deployer"]);
    assert_eq!(
        admin.put("/roles/deployer", json!({ "name": "other", "permissions": [] }), 422).await.fields(),
        ["name"]
    );
    admin.delete("/roles/deployer", 200).await;
    assert_eq!(admin.get("/roles/deployer", 404).await.reason(), "not_found");
    assert_eq!(admin.delete("/roles/deployer", 404).await.reason(), "not_found");
}

#[tokio::test]
async fn built_in_roles_stay_as_they_are() {
    let app = App::start().await;
    let admin = app.admin();
    let before = admin.get("/roles", 200).await.json;
    assert_eq!(admin.get("/roles/admin", 200).await["permissions"], json!(["*:*"]));
    let auditor = json!(["accounts:read", "audit:read", "keys:read", "roles:read"]);
    assert_eq!(admin.get("/roles/auditor", 200).await["permissions"], auditor);
    for name in ["admin", "auditor"] {
        let refused = admin.put(&format!("/roles/{name}"), json!({ "permissions": [] }), 409).await;
        assert_eq!(refused.reason(), "built_in");
        assert_eq!(admin.delete(&format!("/roles/{name}"), 409).await.reason(), "built_in");
    }
    assert_eq!(admin.get("/roles", 200).await.json, before);
}

#[tokio::test]
async fn a_role_in_use_stays_until_nobody_has_it() {
    let app = App::start().await;
    let admin = app.admin();
    app.role("default", &[]).await;
    app.role("of-team", &[]).await;
    app.team("payments").await;
    app.create(
        json!({ "username": "ci", "role": "default", "teams": { "payments": "of-team" }, "valid_for_months": 6 }),
    )
    .await;
    for name in ["default", "of-team"] {
        assert_eq!(admin.delete(&format!("/roles/{name}"), 409).await.reason(), "role_in_use");
    }
    admin.patch("/accounts/ci", json!({ "teams": {} }), 200).await;
    admin.delete("/roles/of-team", 200).await;
    admin.delete("/accounts/ci", 200).await;
    admin.delete("/roles/default", 200).await;
}

#[tokio::test]
async fn a_changed_role_holds_at_once_with_the_same_token() {
    let app = App::start().await;
    let ci = app.account("ci", &["accounts:read", "roles:read"]).await;
    ci.get("/accounts", 200).await;
    app.role("ci-role", &["roles:read"]).await;
    assert_eq!(ci.get("/accounts", 403).await.reason(), "insufficient_permission");
    assert_eq!(ci.get("/self", 200).await["permissions"], json!(["roles:read"]));
    ci.get("/roles", 200).await;
    app.role("ci-role", &["*:read"]).await;
    ci.get("/accounts", 200).await;
}

#[tokio::test]
async fn nobody_grants_what_they_dont_hold() {
    let app = App::start().await;
    app.role("strong", &["payments:delete"]).await;
    app.role("weak", &["deployments:read"]).await;
    app.team("payments").await;
    let lead =
        app.account("lead", &["accounts:write", "tokens:issue", "tokens:revoke", "roles:write", "deployments:*"]).await;
    app.create(json!({ "username": "victim", "role": "strong", "valid_for_months": 6 })).await;
    app.create(json!({ "username": "pawn", "role": "weak", "valid_for_months": 6 })).await;
    let before = (app.look("victim").await, app.look("pawn").await, app.epoch().await);

    let token = json!({ "valid_for_months": 6 });
    let refused = [
        lead.post("/accounts", json!({ "username": "a", "role": "strong", "valid_for_months": 6 }), 403).await,
        lead.post("/accounts", json!({ "username": "a", "role": "admin", "valid_for_months": 6 }), 403).await,
        lead.post(
            "/accounts",
            json!({ "username": "a", "role": "weak", "teams": { "payments": "strong" }, "valid_for_months": 6 }),
            403,
        )
        .await,
        lead.patch("/accounts/pawn", json!({ "role": "strong" }), 403).await,
        lead.patch("/accounts/pawn", json!({ "teams": { "payments": "strong" } }), 403).await,
        // Nor do they take it away.
        lead.patch("/accounts/victim", json!({ "role": "weak" }), 403).await,
        lead.patch("/accounts/victim", json!({ "allowed_networks": ["192.0.2.0/24"] }), 403).await,
        lead.patch("/accounts/victim", json!({ "audiences": ["x"] }), 403).await,
        // A token of his would be his power.
        lead.post("/accounts/victim/token", token.clone(), 403).await,
        lead.put("/roles/new", json!({ "permissions": ["payments:delete"] }), 403).await,
        lead.put("/roles/new", json!({ "permissions": ["*:read"] }), 403).await,
        lead.put("/roles/weak", json!({ "permissions": ["payments:delete"] }), 403).await,
        lead.put("/roles/strong", json!({ "permissions": [] }), 403).await,
        lead.put("/roles/lead-role", json!({ "permissions": ["*:*"] }), 403).await,
    ];
    for answer in &refused {
        assert_eq!(answer.reason(), "insufficient_permission", "{answer:?}");
    }
    assert_eq!((app.look("victim").await, app.look("pawn").await, app.epoch().await), before);

    // What they hold they may grant.
    lead.post("/accounts", json!({ "username": "a", "role": "weak", "valid_for_months": 6 }), 201).await;
    lead.put("/roles/new", json!({ "permissions": ["deployments:create", "deployments:*"] }), 201).await;
    lead.patch("/accounts/pawn", json!({ "role": "new", "teams": { "payments": "weak" } }), 200).await;
    lead.post("/accounts/pawn/token", token, 201).await;
    // Quick to stop, whoever it is; and not to start again.
    lead.patch("/accounts/victim", json!({ "status": "disabled" }), 200).await;
    assert_eq!(
        lead.patch("/accounts/victim", json!({ "status": "active" }), 403).await.reason(),
        "insufficient_permission"
    );
    lead.delete("/accounts/victim/token", 200).await;

    // The refusals are events, of what was tried, and changed nothing.
    let events = app.activity("lead").await;
    let tried = events.iter().filter(|event| event["outcome"] == "refused" && event["actor_id"] == lead.id.as_str());
    let kinds: std::collections::BTreeSet<_> = tried.map(|event| event["kind"].as_str().unwrap()).collect();
    for kind in ["account.create", "account.update", "token.regenerate", "role.set"] {
        let own = events.iter().any(|event| event["kind"] == kind && event["outcome"] == "refused");
        assert!(kinds.contains(kind) || own, "{kind}: {kinds:?}");
    }
}

#[tokio::test]
async fn power_in_a_team_is_granted_in_that_team_alone() {
    let app = App::start().await;
    app.role("ship", &["deployments:create"]).await;
    app.role("none", &[]).await;
    app.role("manager", &["accounts:write", "tokens:issue", "roles:write"]).await;
    for team in ["payments", "search"] {
        app.team(team).await;
    }
    let body = json!({ "username": "lead", "role": "manager", "teams": { "payments": "ship" }, "valid_for_months": 6 });
    let lead = app.create(body).await;
    let new = |name: &str, role: &str, teams: serde_json::Value| json!({ "username": name, "role": role, "teams": teams, "valid_for_months": 6 });
    lead.post("/accounts", new("in-payments", "none", json!({ "payments": "ship" })), 201).await;
    lead.post("/accounts", new("x", "none", json!({ "search": "ship" })), 403).await;
    lead.post("/accounts", new("x", "none", json!({ "payments": "ship", "search": "ship" })), 403).await;
    lead.post("/accounts", new("x", "ship", json!({})), 403).await;
    lead.patch("/accounts/in-payments", json!({ "role": "ship" }), 403).await;
    lead.patch("/accounts/in-payments", json!({ "teams": { "search": "ship" } }), 403).await;
    lead.post("/accounts/in-payments/token", json!({ "valid_for_months": 6 }), 201).await;
    // A role is for everybody, so that power in one team does not do.
    lead.put("/roles/mine", json!({ "permissions": ["deployments:create"] }), 403).await;

    let member = lead.holding(&app.admin().regenerate("in-payments").await);
    member.door("GET", "/verify?permission=deployments:create&team=payments", 200).await;
    member.door("GET", "/verify?permission=deployments:create&team=search", 403).await;
    member.door("GET", "/verify?permission=deployments:create", 403).await;
    let me = member.get("/self", 200).await;
    assert_eq!(me["team_permissions"], json!({ "payments": ["deployments:create"] }));
}

#[tokio::test]
async fn a_role_is_changed_and_deleted_only_in_the_version_that_was_read() {
    let app = App::start().await;
    let admin = app.admin();
    let set = async |headers: &[(&str, &str)], expected| {
        admin
            .send_with("PUT", "/roles/ship", Some(json!({ "permissions": ["a:read"] })), headers)
            .await
            .expect(expected)
    };
    for only in [("if-match", "*"), ("if-match", "\"1-1\"")] {
        assert_eq!(set(&[only], 412).await.reason(), "precondition_failed");
    }
    let made = set(&[("if-none-match", "*")], 201).await;
    let first = admin.get("/roles/ship", 200).await.header("etag").to_owned();
    assert_eq!(first, format!("\"{}\"", made["receipt"]["epoch"].as_str().unwrap()));
    assert_eq!(set(&[("if-none-match", "*")], 412).await.reason(), "precondition_failed");
    set(&[("if-none-match", &format!("W/{first}"))], 412).await;

    set(&[("if-match", &format!("\"7-7\", {first}"))], 200).await;
    for stale in [first.as_str(), "\"\"", "x", "W/\"1-1\""] {
        assert_eq!(set(&[("if-match", stale)], 412).await.reason(), "precondition_failed", "{stale}");
    }
    let delete = async |tag: &str, expected| {
        admin.send_with("DELETE", "/roles/ship", None, &[("if-match", tag)]).await.expect(expected)
    };
    assert_eq!(delete(&first, 412).await.reason(), "precondition_failed");
    let second = admin.get("/roles/ship", 200).await.header("etag").to_owned();
    assert_ne!(first, second);
    delete(&second, 200).await;
    // What is not there is not there, whatever was read.
    assert_eq!(delete(&second, 404).await.reason(), "not_found");
    assert_eq!(admin.get("/roles/admin", 200).await.header("etag"), "\"0-0\"");
}

#[tokio::test]
async fn of_two_who_change_the_version_that_both_read_one_does() {
    let app = App::start().await;
    let admin = app.admin();
    app.role("ship", &[]).await;
    let tag = admin.get("/roles/ship", 200).await.header("etag").to_owned();
    let set = async |permission: &str| {
        let body = json!({ "permissions": [permission] });
        let answer = admin.send_with("PUT", "/roles/ship", Some(body), &[("if-match", &tag)]).await;
        answer.status.as_u16()
    };
    let (one, other, third) = tokio::join!(set("a:one"), set("a:other"), set("a:third"));
    let mut answers = [one, other, third];
    answers.sort_unstable();
    assert_eq!(answers, [200, 412, 412]);
}

#[tokio::test]
async fn who_would_gain_and_lose_what_is_told_before_a_role_is_changed() {
    let app = App::start().await;
    let admin = app.admin();
    app.role("ship", &["deployments:read", "deployments:create"]).await;
    app.role("reader", &["deployments:read", "*:list"]).await;
    app.role("none", &[]).await;
    app.team("payments").await;
    app.team("search").await;
    for (name, role, teams) in [
        ("a-default", "ship", json!({ "payments": "none" })),
        ("b-in-team", "none", json!({ "payments": "ship", "search": "none" })),
        ("c-covered", "reader", json!({ "search": "ship" })),
        ("d-both", "ship", json!({ "search": "ship" })),
        ("e-other", "reader", json!({})),
    ] {
        app.create(json!({ "username": name, "role": role, "teams": teams, "valid_for_months": 6 })).await;
    }
    let preview = async |name: &str, permissions: &[&str]| {
        admin.post(&format!("/roles/{name}/preview"), json!({ "permissions": permissions }), 200).await.json
    };
    let before = app.epoch().await;
    let told = preview("ship", &["deployments:create", "builds:list"]).await;
    assert_eq!((&told["gains"], &told["loses"]), (&json!(["builds:list"]), &json!(["deployments:read"])));
    assert_eq!((&told["accounts"], &told["affected"], &told["complete"]), (&json!(4), &json!(3), &json!(true)));
    let change = json!({ "gains": ["builds:list"], "loses": ["deployments:read"] });
    let affected: Vec<_> = told["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| (item["username"].as_str().unwrap(), item["by_default"].clone(), item["in_teams"].clone()))
        .collect();
    let expected = [
        ("a-default", change.clone(), json!({})),
        ("b-in-team", json!(null), json!({ "payments": change })),
        // Whoever has the other role keeps what it grants.
        ("d-both", change, json!({})),
    ];
    assert_eq!(affected, expected);
    assert_eq!(
        format!("\"{}\"", told["version"].as_str().unwrap()),
        admin.get("/roles/ship", 200).await.header("etag")
    );

    let told = preview("ship", &["deployments:*"]).await;
    assert_eq!((&told["gains"], &told["loses"]), (&json!(["deployments:*"]), &json!([])));
    assert_eq!(told["affected"], 4);
    let told = preview("ship", &["deployments:create", "deployments:read"]).await;
    assert_eq!((&told["affected"], &told["items"], &told["complete"]), (&json!(0), &json!([]), &json!(true)));
    let told = preview("new", &["a:b"]).await;
    assert_eq!((&told["version"], &told["accounts"], &told["gains"]), (&json!(null), &json!(0), &json!(["a:b"])));
    assert_eq!(app.epoch().await, before, "nothing was changed");

    assert_eq!(admin.post("/roles/admin/preview", json!({ "permissions": [] }), 409).await.reason(), "built_in");
    let many: Vec<String> = (0..201).map(|number| format!("a:{number}")).collect();
    let refused = admin.post("/roles/ship/preview", json!({ "permissions": many }), 422).await;
    assert_eq!(refused.fields(), ["permissions"]);
    assert_eq!(
        admin.post("/roles/ship/preview", json!({ "permissions": ["x"] }), 422).await.fields(),
        ["permissions[0]"]
    );
}

#[tokio::test]
async fn who_has_a_role_or_is_in_a_team_is_listed_whatever_changes() {
    let app = App::start().await;
    let admin = app.admin();
    for role in ["r", "s"] {
        app.role(role, &[]).await;
    }
    for team in ["t", "u"] {
        app.team(team).await;
    }
    let listed = async |list: &str| -> Vec<String> { app.redis.run(&["ZRANGE", &app.key(list), "0", "-1"]).await };
    let new = json!({ "username": "b", "role": "r", "teams": { "t": "s", "u": "r" }, "valid_for_months": 6 });
    app.create(new).await;
    app.create(json!({ "username": "a", "role": "r", "valid_for_months": 6 })).await;
    for (list, expected) in
        [("of_role:r", vec!["a", "b"]), ("of_role:s", vec!["b"]), ("of_team:t", vec!["b"]), ("of_team:u", vec!["b"])]
    {
        assert_eq!(listed(list).await, expected, "{list}");
    }
    // By default no more, but in a team still.
    admin.patch("/accounts/b", json!({ "role": "s" }), 200).await;
    assert_eq!(listed("of_role:r").await, ["a", "b"]);
    admin.patch("/accounts/b", json!({ "teams": { "t": "s" } }), 200).await;
    assert_eq!((listed("of_role:r").await, listed("of_team:u").await.len()), (vec!["a".to_owned()], 0));
    admin.patch("/accounts/b", json!({ "description": "x", "status": "disabled" }), 200).await;
    admin.regenerate("a").await;
    assert_eq!((listed("of_role:r").await, listed("of_role:s").await), (vec!["a".to_owned()], vec!["b".to_owned()]));
    admin.delete("/accounts/b", 200).await;
    assert_eq!((listed("of_role:s").await.len(), listed("of_team:t").await.len()), (0, 0));
    assert_eq!(listed("of_role:admin").await, ["admin"]);

    // A dataset of an earlier version has no such lists.
    assert_eq!(app.redis.run::<u64>(&["HDEL", &app.key("meta"), "indexed"]).await, 1);
    app.redis.run::<u64>(&["DEL", &app.key("of_role:r")]).await;
    let found = admin.all("/accounts?role=r&limit=1").await;
    assert_eq!(found.iter().map(|account| account["username"].as_str().unwrap()).collect::<Vec<_>>(), ["a"]);
}
