//! Every operation and what it demands, walked along the served description.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::app::{Actor, App};

/// A request for an operation that gets past authorization, whatever it answers then.
struct Sample {
    operation: &'static str,
    path: &'static str,
    body: fn() -> Option<Value>,
}

const fn without_body(operation: &'static str, path: &'static str) -> Sample {
    Sample { operation, path, body: || None }
}

const SAMPLES: &[Sample] = &[
    Sample {
        operation: "post /api/v1/accounts",
        path: "/accounts",
        body: || Some(json!({ "username": "made", "role": "nothing", "valid_for_months": 6 })),
    },
    without_body("get /api/v1/accounts", "/accounts"),
    without_body("get /api/v1/accounts/{account}", "/accounts/target"),
    Sample {
        operation: "patch /api/v1/accounts/{account}",
        path: "/accounts/target",
        body: || Some(json!({ "description": "seen" })),
    },
    without_body("delete /api/v1/accounts/{account}", "/accounts/target"),
    Sample {
        operation: "post /api/v1/accounts/{account}/token",
        path: "/accounts/target/token",
        body: || Some(json!({ "valid_for_months": 6 })),
    },
    without_body("delete /api/v1/accounts/{account}/token", "/accounts/target/token"),
    without_body("get /api/v1/accounts/{account}/activity", "/accounts/target/activity"),
    without_body("get /api/v1/accounts/{account}/usage", "/accounts/target/usage"),
    Sample {
        operation: "post /api/v1/users",
        path: "/users",
        body: || Some(json!({ "username": "person", "role": "nothing" })),
    },
    Sample {
        operation: "post /api/v1/accounts/{account}/password-link",
        path: "/accounts/somebody/password-link",
        body: || Some(json!({})),
    },
    without_body("get /api/v1/accounts/{account}/sessions", "/accounts/target/sessions"),
    without_body("delete /api/v1/accounts/{account}/sessions", "/accounts/target/sessions"),
    without_body("delete /api/v1/accounts/{account}/sessions/{session}", "/accounts/target/sessions/SESSION"),
    without_body("get /api/v1/self/sessions", "/self/sessions"),
    without_body("delete /api/v1/self/sessions", "/self/sessions"),
    without_body("delete /api/v1/self/sessions/{session}", "/self/sessions/OWN"),
    // Only for people: what he is told is for whom it is.
    Sample {
        operation: "post /api/v1/self/password",
        path: "/self/password",
        body: || Some(json!({ "present": "x", "new": "y" })),
    },
    without_body("get /api/v1/self", "/self"),
    Sample {
        operation: "post /api/v1/self/token",
        path: "/self/token",
        body: || Some(json!({ "valid_for_months": 6 })),
    },
    without_body("get /api/v1/roles", "/roles"),
    without_body("get /api/v1/roles/{name}", "/roles/nothing"),
    Sample { operation: "put /api/v1/roles/{name}", path: "/roles/made", body: || Some(json!({ "permissions": [] })) },
    without_body("delete /api/v1/roles/{name}", "/roles/made"),
    Sample {
        operation: "post /api/v1/roles/{name}/preview",
        path: "/roles/nothing/preview",
        body: || Some(json!({ "permissions": [] })),
    },
    without_body("get /api/v1/teams", "/teams"),
    without_body("get /api/v1/teams/{name}", "/teams/there"),
    Sample { operation: "put /api/v1/teams/{name}", path: "/teams/made", body: || Some(json!({})) },
    without_body("delete /api/v1/teams/{name}", "/teams/made"),
    without_body("get /api/v1/keys", "/keys"),
    without_body("get /api/v1/keys/{kid}", "/keys/PENDING"),
    Sample { operation: "post /api/v1/keys", path: "/keys", body: || Some(json!({})) },
    Sample {
        operation: "post /api/v1/keys/{kid}/activate",
        path: "/keys/PENDING/activate",
        body: || Some(json!({ "force": true })),
    },
    without_body("post /api/v1/keys/recount", "/keys/recount"),
    without_body("post /api/v1/keys/{kid}/retire", "/keys/RETIRING/retire"),
    Sample { operation: "post /api/v1/keys/{kid}/revoke", path: "/keys/PENDING/revoke", body: || Some(json!({})) },
    without_body("get /api/v1/audit", "/audit"),
    without_body("get /api/v1/audit/export", "/audit/export"),
    without_body("get /api/v1/audit/tail", "/audit/tail"),
    without_body("get /api/v1/audit/status", "/audit/status"),
    without_body("get /api/v1/nodes", "/nodes"),
    without_body("get /api/v1/overview", "/overview"),
];

/// The permissions of Countermark's own API, and one that is not.
const ALL: &[&str] = &[
    "accounts:read",
    "accounts:write",
    "tokens:issue",
    "tokens:revoke",
    "tokens:renew",
    "tokens:introspect",
    "roles:read",
    "roles:write",
    "keys:read",
    "keys:rotate",
    "audit:read",
    "nodes:read",
    "deployments:create",
];

async fn operations(app: &App) -> Vec<(String, Vec<String>)> {
    let document = app.nobody().door("GET", "/api/v1/openapi.json", 200).await;
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let security = &operation["security"];
            assert_eq!(security.as_array().map(Vec::len), Some(1), "{method} {path} says nothing about security");
            let permissions = security[0]["bearer"].as_array().unwrap_or_else(|| panic!("{method} {path}: {security}"));
            operations.push((
                format!("{method} {path}"),
                permissions.iter().map(|text| text.as_str().unwrap().to_owned()).collect(),
            ));
        }
    }
    operations
}

async fn holding(app: &App, name: &str, permissions: impl IntoIterator<Item = &str>) -> Actor {
    app.account(name, &permissions.into_iter().collect::<Vec<_>>()).await
}

/// A key that waits, or one that verifies only and that nobody needs.
async fn a_key(app: &App, retiring: bool) -> String {
    let admin = app.admin();
    let prepared = async || admin.post("/keys", json!({}), 201).await["key"]["id"].as_str().unwrap().to_owned();
    let key = prepared().await;
    if retiring {
        for next in [key.clone(), prepared().await] {
            admin.post(&format!("/keys/{next}/activate"), json!({ "force": true }), 200).await;
        }
    }
    key
}

/// A session that somebody begins with his token.
async fn session_of(app: &App, actor: &Actor) -> String {
    app.signed_in(actor.token()).await;
    let sessions = actor.get("/self/sessions", 200).await;
    sessions["items"][0]["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn every_operation_demands_what_its_description_says_and_no_more() {
    let app = App::start().await;
    let operations = operations(&app).await;
    let described: BTreeSet<&str> = operations.iter().map(|(operation, _)| operation.as_str()).collect();
    let sampled: BTreeSet<&str> = SAMPLES.iter().map(|sample| sample.operation).collect();
    assert_eq!(described, sampled, "every operation has one row in the table of samples");
    app.role("nothing", &[]).await;
    app.team("there").await;
    app.admin().post("/users", json!({ "username": "somebody", "role": "nothing" }), 201).await;

    for (number, (operation, permissions)) in operations.iter().enumerate() {
        let sample = SAMPLES.iter().find(|sample| sample.operation == operation).unwrap();
        let method = operation.split(' ').next().unwrap().to_uppercase();
        app.role("made", &[]).await;
        app.team("made").await;
        // A deleted one's name stays taken.
        let target = format!("target-{number}");
        let its_holder = app.create(json!({ "username": target, "role": "nothing", "valid_for_months": 6 })).await;
        let mut path = sample.path.replace("target", &target);
        if path.contains("SESSION") {
            path = path.replace("SESSION", &session_of(&app, &its_holder).await);
        }
        for state in ["PENDING", "RETIRING"] {
            if path.contains(state) {
                path = path.replace(state, &a_key(&app, state == "RETIRING").await);
            }
        }
        let app = &app;
        let call = |actor: Actor| {
            let (method, mut path) = (method.clone(), path.clone());
            async move {
                if path.contains("OWN") && actor.token.is_some() {
                    path = path.replace("OWN", &session_of(app, &actor).await);
                }
                actor.send(&method, &path, (sample.body)()).await
            }
        };

        let refused = call(app.nobody()).await.expect(401);
        assert_eq!(refused.reason(), "missing_token", "{operation}");

        // Without each of them in turn, and with all others: refused.
        for (place, needed) in permissions.iter().enumerate() {
            let others = ALL.iter().copied().filter(|permission| permission != needed);
            let almost = holding(app, &format!("almost-{number}-{place}"), others).await;
            let refused = call(almost).await.expect(403);
            assert_eq!(refused.reason(), "insufficient_permission", "{operation}");
            assert!(refused.header("www-authenticate").contains("insufficient_scope"), "{operation}");
        }
        // A permission in a team is none without one.
        if !permissions.is_empty() {
            let role = format!("team-{number}");
            app.role(&role, &permissions.iter().map(String::as_str).collect::<Vec<_>>()).await;
            let body = json!({ "username": format!("team-{number}"), "role": "nothing", "teams": { "there": role }, "valid_for_months": 6 });
            call(app.create(body).await).await.expect(403);
            // Tokens of another API are refused too.
            let body = json!({ "username": format!("other-{number}"), "role": role, "audiences": ["other"], "valid_for_months": 6 });
            assert_eq!(call(app.create(body).await).await.expect(401).reason(), "wrong_audience", "{operation}");
        }

        let exactly = holding(app, &format!("exactly-{number}"), permissions.iter().map(String::as_str)).await;
        let answer = call(exactly).await;
        if operation == "post /api/v1/self/password" {
            assert_eq!(answer.expect(409).reason(), "not_a_user");
            continue;
        }
        assert!(answer.status.is_success(), "{operation}: {answer:?}");
    }
}

#[tokio::test]
async fn the_doors_outside_demand_what_the_contract_says() {
    let app = App::start().await;
    let nobody = app.nobody();
    for path in [
        "/.well-known/jwks.json",
        "/.well-known/oauth-authorization-server",
        "/.well-known/openid-configuration",
        "/healthz",
        "/readyz",
        "/docs",
        "/api/v1/openapi.json",
    ] {
        nobody.door("GET", path, 200).await;
    }
    // The operations listener's alone.
    nobody.door("GET", "/metrics", 404).await;

    let target = app.account("target", &[]).await;
    let form = format!("token={}", target.token());
    assert_eq!(nobody.form("/oauth2/introspect", &form, 401).await.reason(), "missing_token");
    let almost = holding(&app, "almost", ALL.iter().copied().filter(|text| *text != "tokens:introspect")).await;
    assert_eq!(almost.form("/oauth2/introspect", &form, 403).await.reason(), "insufficient_permission");
    let exactly = holding(&app, "exactly", ["tokens:introspect"]).await;
    assert_eq!(exactly.form("/oauth2/introspect", &form, 200).await["active"], true);
    // Of any audience.
    let body = json!({ "username": "api", "role": "exactly-role", "audiences": ["payments"], "valid_for_months": 6 });
    assert_eq!(app.create(body).await.form("/oauth2/introspect", &form, 200).await["active"], true);

    assert_eq!(nobody.door("GET", "/verify", 401).await.reason(), "missing_token");
    target.door("GET", "/verify", 200).await;
    // Holding the token is enough.
    nobody.form("/oauth2/revoke", &form, 200).await;
    assert_eq!(target.verdict().await, "revoked");
}
