//! What an attacker, or a slip of the hand, would try.

use std::collections::BTreeMap;

use countermark::http::NamedDemand;
use countermark::listen::{Arrival, Transport};
use serde_json::json;

use crate::app::{App, DAY, Setup, a_peer};

#[tokio::test]
async fn a_policy_spelled_otherwise_is_not_a_path_of_the_client() {
    let demand = NamedDemand { permission: Some("x:write".parse().unwrap()), ..NamedDemand::default() };
    let policies = BTreeMap::from([("adm".to_owned(), demand)]);
    let app = App::with(Setup { policies, ..Setup::default() }).await;
    let ci = app.account("ci", &[]).await;
    ci.door("GET", "/verify/~adm", 403).await;
    for path in
        ["/verify/%7Eadm", "/verify/%7eadm/x", "/verify//~adm", "/verify///~adm/x", "/verify/~none", "/verify/~"]
    {
        assert_eq!(ci.door("GET", path, 401).await.reason(), "invalid_request", "{path}");
    }
    for path in ["/verify/x/~adm", "/verify/a~adm", "/verify//x"] {
        ci.door("GET", path, 200).await;
    }
}

#[tokio::test]
async fn a_team_without_a_permission_is_no_demand() {
    let app = App::start().await;
    let ci = app.account("ci", &[]).await;
    assert_eq!(ci.door("GET", "/verify?team=payments", 401).await.reason(), "invalid_request");
}

#[tokio::test]
async fn an_admin_whom_nobody_can_reach_is_not_the_one_who_stays() {
    let app = App::start().await;
    let admin = app.admin();
    let far =
        json!({ "username": "far", "role": "admin", "allowed_networks": ["203.0.113.0/24"], "valid_for_months": 24 });
    app.create(far).await;
    // Whatever is changed of it: it stays out of reach.
    admin.patch("/accounts/far", json!({ "description": "far away" }), 200).await;
    admin.post("/accounts/far/token", json!({ "valid_for_months": 24 }), 201).await;
    assert_eq!(admin.delete("/accounts/admin", 409).await.reason(), "last_admin");
    // One that may be used from where it was made is.
    let near =
        json!({ "username": "near", "role": "admin", "allowed_networks": ["127.0.0.0/8"], "valid_for_months": 24 });
    app.create(near).await;
    admin.delete("/accounts/admin", 200).await;
}

#[tokio::test]
async fn the_last_admin_stays_when_its_token_has_expired() {
    let app = App::start().await;
    let permissions = ["accounts:read", "accounts:write", "tokens:issue", "tokens:revoke"];
    app.role("clerk", &permissions).await;
    let clerk = app.create(json!({ "username": "clerk", "role": "clerk", "valid_for_months": 24 })).await;
    app.clock.advance(400 * DAY);
    assert_eq!(app.admin().verdict().await, "expired");
    assert_eq!(clerk.delete("/accounts/admin", 409).await.reason(), "last_admin");
    assert_eq!(clerk.patch("/accounts/admin", json!({ "status": "disabled" }), 409).await.reason(), "last_admin");
    // Its dead token may go: `countermark recover` makes another.
    clerk.delete("/accounts/admin/token", 200).await;
    assert_eq!(clerk.delete("/accounts/admin", 409).await.reason(), "last_admin");
}

#[tokio::test]
async fn an_account_narrowed_to_fewer_apis_is_narrowed_with_the_token_that_it_has() {
    let app = App::start().await;
    app.role("r", &[]).await;
    let body = json!({ "username": "ci", "role": "r", "audiences": ["a", "b"], "valid_for_months": 12 });
    let ci = app.create(body).await;
    for audience in ["a", "b"] {
        ci.door("GET", &format!("/verify?audience={audience}"), 200).await;
    }
    app.admin().patch("/accounts/ci", json!({ "audiences": ["a"] }), 200).await;
    ci.door("GET", "/verify?audience=a", 200).await;
    assert_eq!(ci.door("GET", "/verify?audience=b", 401).await.reason(), "wrong_audience");
}

#[tokio::test]
async fn a_disabled_accounts_token_that_its_holder_ends_stays_dead() {
    let app = App::start().await;
    let ci = app.account("ci", &[]).await;
    app.admin().patch("/accounts/ci", json!({ "status": "disabled" }), 200).await;
    app.nobody().form("/oauth2/revoke", &format!("token={}", ci.token()), 200).await;
    app.admin().patch("/accounts/ci", json!({ "status": "active" }), 200).await;
    assert_eq!(ci.verdict().await, "revoked");
}

#[tokio::test]
async fn garbage_in_plain_text_is_sampled_and_limited_like_any_other() {
    let app = App::with(Setup { guessing: (1, 5), ..Setup::default() }).await;
    let mut seen = Vec::new();
    for _ in 0..8 {
        let mut request = app.bearer("garbage").request("GET", "/api/v1/self").body(axum::body::Body::empty()).unwrap();
        request.extensions_mut().insert(Arrival::from(a_peer(Transport::Plain, Some("192.0.2.1"))));
        seen.push(app.client.answer(request).await.status.as_u16());
    }
    assert_eq!(seen, [400, 400, 400, 400, 400, 429, 429, 429]);
    app.settled().await;
    let events = app.admin().all("/audit?kind=token.exposed").await;
    assert!(events.is_empty(), "{events:?}");
    assert_eq!(app.admin().all("/audit?kind=call.invalid").await.len(), 1);
}

#[tokio::test]
async fn the_audit_says_what_somebody_was_made() {
    let app = App::start().await;
    let ci = app.account("ci", &[]).await;
    app.team("payments").await;
    let change = json!({ "role": "admin", "teams": { "payments": "auditor" }, "audiences": ["a"], "allowed_networks": ["10.0.0.0/8"] });
    app.admin().patch("/accounts/ci", change, 200).await;
    let event = app.activity(&ci.id).await.into_iter().find(|event| event["kind"] == "account.update").unwrap();
    let details = &event["details"];
    assert_eq!((&details["role"], &details["role_before"]), (&json!("admin"), &json!("ci-role")));
    assert_eq!(details["teams"], json!({ "payments": "auditor" }));
    assert_eq!(details["audiences"], json!(["a"]));
    assert_eq!(details["allowed_networks"], json!(["10.0.0.0/8"]));
}

#[tokio::test]
async fn two_headers_for_one_request_are_marked() {
    let app = App::start().await;
    let ci = app.account("ci", &[]).await;
    let headers = [("x-original-uri", "/harmless"), ("x-forwarded-uri", "https://u:pw@host/admin/delete?all")];
    for (headers, path, marked) in [(&headers[..], "/harmless", true), (&headers[1..], "/admin/delete", false)] {
        let mut request = ci.request("GET", "/verify");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        app.client.answer(request.body(axum::body::Body::empty()).unwrap()).await.expect(200);
        app.settled().await;
        let event = app.activity(&ci.id).await.into_iter().find(|event| event["path"] == path).unwrap();
        assert_eq!(event.pointer("/details/original_disagrees") == Some(&json!(true)), marked, "{event}");
    }
}

#[tokio::test]
async fn the_description_is_one_that_generators_take() {
    let app = App::start().await;
    let document = app.nobody().get("/openapi.json", 200).await.json;
    let mut ids = std::collections::BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id.to_owned()), "{id} twice, at {method} {path}");
            for (status, response) in operation["responses"].as_object().unwrap() {
                let shared = response["$ref"].as_str().map(|reference| reference.trim_start_matches('#'));
                let response = shared.map_or(response, |pointer| document.pointer(pointer).unwrap());
                assert!(
                    response["description"].as_str().is_some_and(|text| !text.is_empty()),
                    "{method} {path} {status}"
                );
            }
        }
    }
    assert!(ids.len() >= 20);
}

#[tokio::test]
async fn whoever_is_stopped_while_his_request_is_under_way_does_nothing_any_more() {
    let app = App::start().await;
    let body = json!({ "username": "mallory", "role": "admin", "valid_for_months": 12 });
    let mallory = app.create(body).await;
    for (round, stop) in ["delete", "disable", "revoke", "demote"].into_iter().enumerate() {
        let mallory = if round == 0 {
            mallory.clone()
        } else {
            app.create(json!({ "username": format!("mallory-{round}"), "role": "admin", "valid_for_months": 12 })).await
        };
        let (begun, wait) = tokio::sync::oneshot::channel();
        let (go_on, held) = tokio::sync::oneshot::channel::<()>();
        let new =
            json!({ "username": format!("backdoor-{round}"), "role": "admin", "valid_for_months": 12 }).to_string();
        // The body is asked for once its sender was let in.
        let rest = futures_util::stream::once(async move {
            begun.send(()).unwrap();
            held.await.unwrap();
            Ok::<_, std::convert::Infallible>(new)
        });
        let request = mallory
            .request("POST", "/api/v1/accounts")
            .header("content-type", "application/json")
            .body(axum::body::Body::from_stream(rest))
            .unwrap();
        let client = app.client.clone();
        let under_way = tokio::spawn(async move { client.answer(request).await });
        wait.await.unwrap();
        let path = format!("/accounts/{}", mallory.id);
        let admin = app.admin();
        match stop {
            "delete" => admin.delete(&path, 200).await,
            "disable" => admin.patch(&path, json!({ "status": "disabled" }), 200).await,
            "revoke" => admin.delete(&format!("{path}/token"), 200).await,
            _ => admin.patch(&path, json!({ "role": "auditor" }), 200).await,
        };
        go_on.send(()).unwrap();
        assert_eq!(under_way.await.unwrap().expect(409).reason(), "conflict", "{stop}");
        admin.get(&format!("/accounts/backdoor-{round}"), 404).await;
    }
}

#[tokio::test]
async fn whoever_only_acts_uses_his_token_too() {
    let app = App::start().await;
    let ci = app.account("ci", &["roles:write"]).await;
    assert!(app.look("ci").await["token"]["last_used_at"].is_null());
    ci.put("/teams/payments", json!({}), 201).await;
    crate::app::eventually("the use is noted", || async { !app.look("ci").await["token"]["last_used_at"].is_null() })
        .await;
}

#[tokio::test]
async fn a_token_in_the_wrong_field_is_not_repeated() {
    let app = App::start().await;
    let admin = app.admin();
    let body = json!({ "username": "ci", "role": "auditor", "valid_for_months": admin.token() });
    let answer = admin.post("/accounts", body, 422).await;
    assert_eq!(answer.fields(), ["valid_for_months"]);
    let shows = |answer: &crate::app::Answer| answer.json.to_string().contains(&admin.token()[..40]);
    assert!(!shows(&answer), "{answer:?}");
    let twice = format!(r#"{{"{0}":1,"{0}":2}}"#, admin.token());
    let request = admin.request("POST", "/api/v1/accounts").header("content-type", "application/json");
    let answer = app.client.answer(request.body(axum::body::Body::from(twice)).unwrap()).await.expect(422);
    assert!(!shows(&answer), "{answer:?}");
}

#[tokio::test]
async fn a_token_in_a_fields_name_is_not_repeated() {
    let app = App::start().await;
    let admin = app.admin();
    let shows = |answer: &crate::app::Answer| format!("{answer:?}").contains(&admin.token()[..40]);
    for name in [
        admin.token().to_owned(),
        format!("x, {}", admin.token()),
        format!("x`, {}", admin.token()),
        format!("x`, expected {}", admin.token()),
        format!("`x`, expected one of `{}`, y", admin.token()),
        format!("\u{1b}[2J, \u{202e}{}", admin.token()),
    ] {
        let mut body = serde_json::Map::new();
        body.insert(name.clone(), json!(1));
        let answer = admin.post("/accounts", body.into(), 422).await;
        assert!(!shows(&answer) && !answer["detail"].as_str().unwrap().contains('\u{1b}'), "{answer:?}");
        let name: String = name.bytes().map(|byte| format!("%{byte:02X}")).collect();
        for path in ["/accounts", "/audit", "/accounts/admin/activity", "/self", "/nodes"] {
            let answer = admin.get(&format!("{path}?{name}=1"), 422).await;
            assert!(!shows(&answer) && !answer["detail"].as_str().unwrap().contains('\u{1b}'), "{answer:?}");
        }
        let answer = admin.door("GET", &format!("/verify?{name}=1"), 401).await;
        assert!(!shows(&answer), "{answer:?}");
    }
    // What is allowed is still told.
    let answer = admin.get("/accounts?x,%20y=1", 422).await;
    assert_eq!(answer.fields(), ["x, y"]);
    let told = answer["detail"].as_str().unwrap();
    assert!(told.starts_with("x, y: there is no such field; expected one of `query`"), "{told}");
}
