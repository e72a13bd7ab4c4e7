//! What can't be understood, or may not be, is refused with the field named, and changes nothing.

use axum::body::{Body, Bytes};
use axum::http::header;
use serde_json::{Value, json};

use crate::app::{Actor, Answer, App};

async fn raw(actor: &Actor, method: &str, path: &str, media_type: Option<&str>, body: impl Into<Body>) -> Answer {
    let mut request = actor.request(method, &format!("/api/v1{path}"));
    if let Some(media_type) = media_type {
        request = request.header("content-type", media_type);
    }
    actor.client.answer(request.body(body.into()).unwrap()).await
}

/// An object with some members set.
fn with(base: &Value, changes: &[(&str, Value)]) -> Value {
    let mut body = base.clone();
    for (name, value) in changes {
        body[*name] = value.clone();
    }
    body
}

#[tokio::test]
async fn each_wrong_field_of_a_new_account_is_named_and_nothing_is_made() {
    let app = App::start().await;
    let admin = app.admin();
    app.role("r", &[]).await;
    app.team("t").await;
    let before = app.epoch().await;
    let good = json!({ "username": "ci", "role": "r", "valid_for_months": 12 });
    let many = |count: usize, of: &dyn Fn(usize) -> String| Value::from((0..count).map(of).collect::<Vec<_>>());
    let teams: serde_json::Map<String, Value> = (0..33).map(|number| (format!("t{number}"), json!("r"))).collect();
    let cases: Vec<(&str, Value, &str)> = vec![
        ("username", json!(""), "username"),
        ("username", json!("A"), "username"),
        ("username", json!("-a"), "username"),
        ("username", json!("a-"), "username"),
        ("username", json!("a b"), "username"),
        ("username", json!("a/b"), "username"),
        ("username", json!("ä"), "username"),
        ("username", json!("a\u{0}"), "username"),
        ("username", json!("a".repeat(65)), "username"),
        ("username", json!("01890a5d-ac96-774b-bcce-b302099a8057"), "username"),
        ("username", json!(null), "username"),
        ("username", json!(1), "username"),
        ("username", json!(["a"]), "username"),
        ("description", json!("x".repeat(501)), "description"),
        ("description", json!("bell\u{7}"), "description"),
        ("description", json!(null), "description"),
        ("description", json!({}), "description"),
        ("role", json!("R"), "role"),
        ("role", json!("nobody-knows"), "role"),
        ("role", json!(null), "role"),
        ("role", json!("r".repeat(65)), "role"),
        ("teams", json!(null), "teams"),
        ("teams", json!([]), "teams"),
        ("teams", json!({ "t": "unknown" }), "teams.t"),
        ("teams", json!({ "unknown": "r" }), "teams.unknown"),
        ("teams", json!({ "t": null }), "teams.t"),
        ("teams", json!({ "t": 1 }), "teams.t"),
        ("teams", Value::Object(teams), "teams"),
        ("audiences", json!(null), "audiences"),
        ("audiences", json!("x"), "audiences"),
        ("audiences", json!([""]), "audiences[0]"),
        ("audiences", json!(["ok", "a b"]), "audiences[1]"),
        ("audiences", json!(["a\"b"]), "audiences[0]"),
        ("audiences", json!(["x".repeat(201)]), "audiences[0]"),
        ("audiences", json!(["x", "x"]), "audiences"),
        ("audiences", many(17, &|number| format!("a{number}")), "audiences"),
        ("allowed_networks", json!(null), "allowed_networks"),
        ("allowed_networks", json!(["10.0.0.0/33"]), "allowed_networks"),
        ("allowed_networks", json!(["10.0.0.0"]), "allowed_networks"),
        ("allowed_networks", json!(["10.0.0.1/8"]), "allowed_networks"),
        ("allowed_networks", json!(["2001:db8::1/32"]), "allowed_networks"),
        ("allowed_networks", json!(["everywhere"]), "allowed_networks"),
        ("allowed_networks", json!([1]), "allowed_networks"),
        ("allowed_networks", many(33, &|number| format!("10.{number}.0.0/16")), "allowed_networks"),
        ("valid_for_months", json!(0), "valid_for_months"),
        ("valid_for_months", json!(7), "valid_for_months"),
        ("valid_for_months", json!(-12), "valid_for_months"),
        ("valid_for_months", json!(12.5), "valid_for_months"),
        ("valid_for_months", json!("12"), "valid_for_months"),
        ("valid_for_months", json!(4_294_967_308_u64), "valid_for_months"),
        ("valid_for_months", json!(null), "valid_for_months"),
        ("unknown", json!(1), "unknown"),
        ("token", json!("x"), "token"),
        ("kind", json!("user"), "kind"),
    ];
    for (name, value, field) in cases {
        let refused = admin.post("/accounts", with(&good, &[(name, value.clone())]), 422).await;
        assert_eq!(refused.reason(), "invalid_field");
        let fields = refused.fields();
        assert!(
            !fields.is_empty() && fields.iter().all(|named| named == field || named.starts_with(&format!("{field}["))),
            "{name}: {value}: {}",
            refused.text
        );
    }
    for missing in ["username", "role", "valid_for_months"] {
        let mut body = good.clone();
        body.as_object_mut().unwrap().remove(missing);
        assert_eq!(admin.post("/accounts", body, 422).await.fields(), [missing]);
    }
    let several = with(&good, &[("teams", json!({ "a": "r", "t": "x" })), ("role", json!("y"))]);
    assert_eq!(admin.post("/accounts", several, 422).await.fields(), ["role", "teams.a", "teams.t"]);
    // A token that nobody could read is not issued.
    let audiences: Vec<String> = (0..16).map(|number| format!("{number:x<200}")).collect();
    let long = with(&good, &[("audiences", json!(audiences))]);
    let refused = admin.post("/accounts", long, 422).await;
    assert_eq!(refused.reason(), "invalid_field");
    assert_eq!(app.epoch().await, before);
    assert_eq!(admin.get("/accounts/ci", 404).await.reason(), "not_found");
    admin.post("/accounts", good, 201).await;
}

#[tokio::test]
async fn each_wrong_field_of_a_change_is_named_and_nothing_changes() {
    let app = App::start().await;
    let admin = app.admin();
    let ci = app.account("ci", &[]).await;
    let before = (app.look("ci").await, app.epoch().await);
    for (name, value) in [
        ("username", json!("other")),
        ("description", json!(null)),
        ("description", json!("x".repeat(501))),
        ("role", json!(null)),
        ("role", json!("unknown")),
        ("teams", json!(null)),
        ("audiences", json!(null)),
        ("allowed_networks", json!(null)),
        ("allowed_networks", json!(["192.0.2.1/24"])),
        ("status", json!(null)),
        ("status", json!("deleted")),
        ("status", json!(1)),
        ("generation", json!(7)),
        ("valid_for_months", json!(12)),
        ("unknown", json!(1)),
    ] {
        // A good change beside it is not made either.
        let body = with(&json!({ "description": "changed" }), &[(name, value.clone())]);
        let refused = admin.patch("/accounts/ci", body, 422).await;
        assert!(refused.fields()[0].starts_with(name), "{name} {value}: {}", refused.text);
    }
    for body in [
        json!({ "valid_for_months": 5 }),
        json!({ "valid_for_months": 12, "overlap_seconds": 604_801 }),
        json!({ "valid_for_months": 12, "overlap_seconds": -1 }),
        json!({ "valid_for_months": 12, "overlap_seconds": null }),
        json!({ "valid_for_months": 12, "overlap_seconds": "60" }),
        json!({ "overlap_seconds": 60 }),
        json!({ "valid_for_months": 12, "unknown": 1 }),
    ] {
        let refused = admin.post("/accounts/ci/token", body.clone(), 422).await;
        assert_eq!(refused.fields().len(), 1, "{body}");
    }
    assert_eq!((app.look("ci").await, app.epoch().await), before);
    assert_eq!(ci.verdict().await, "allowed");
}

#[tokio::test]
async fn wrong_roles_and_teams_are_refused_with_the_field() {
    let app = App::start().await;
    let admin = app.admin();
    let before = app.epoch().await;
    let many: Vec<String> = (0..201).map(|number| format!("r{number}:a")).collect();
    for (body, field) in [
        (json!({}), "permissions"),
        (json!({ "permissions": null }), "permissions"),
        (json!({ "permissions": "a:b" }), "permissions"),
        (json!({ "permissions": ["a"] }), "permissions[0]"),
        (json!({ "permissions": ["a:b", "a:b:c"] }), "permissions[1]"),
        (json!({ "permissions": ["A:b"] }), "permissions[0]"),
        (json!({ "permissions": ["a*:b"] }), "permissions[0]"),
        (json!({ "permissions": [":"] }), "permissions[0]"),
        (json!({ "permissions": [1] }), "permissions[0]"),
        (json!({ "permissions": many }), "permissions"),
        (json!({ "permissions": [], "name": null }), "name"),
        (json!({ "permissions": [], "x": 1 }), "x"),
        (json!({ "permissions": [], "description": 1 }), "description"),
    ] {
        let refused = admin.put("/roles/new", body.clone(), 422).await;
        assert!(
            refused
                .fields()
                .iter()
                .all(|named| named == field || named.starts_with("permissions[") && field.starts_with("permissions")),
            "{body}: {}",
            refused.text
        );
    }
    for path in ["/roles/New", "/roles/-a", "/roles/a%20b"] {
        assert_eq!(admin.put(path, json!({ "permissions": [] }), 422).await.fields(), ["name"]);
    }
    for path in [format!("/teams/{}", "a".repeat(65)), "/teams/A".into()] {
        assert_eq!(admin.put(&path, json!({}), 422).await.fields(), ["name"]);
    }
    assert_eq!(admin.put("/teams/new", json!({ "members": [] }), 422).await.fields(), ["members"]);
    assert_eq!(app.epoch().await, before);
}

#[tokio::test]
async fn what_is_no_json_object_is_told_so() {
    let app = App::start().await;
    let admin = app.admin();
    app.role("r", &[]).await;
    let before = app.epoch().await;
    let json = Some("application/json");
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    for body in [
        Bytes::new(),
        Bytes::from("{"),
        Bytes::from("[]"),
        Bytes::from("null"),
        Bytes::from("\"x\""),
        Bytes::from("{} {}"),
        Bytes::from("{'a':1}"),
        Bytes::from("{\"username\": \"ci\",}"),
        Bytes::from("{\"valid_for_months\": NaN}"),
        Bytes::from(&b"{\"username\": \"\xff\xfe\"}"[..]),
        Bytes::from(&b"{\"username\": \"\xed\xa0\x80\"}"[..]),
        Bytes::from("{\"username\": \"\\ud800\"}"),
        Bytes::from("\u{feff}{}"),
        Bytes::from(deep),
    ] {
        let refused = raw(&admin, "POST", "/accounts", json, body.clone()).await.expect(400);
        assert_eq!(refused.reason(), "invalid_json", "{body:?}");
    }
    for (body, field) in [
        (r#"{"username":"a","username":"b","role":"r","valid_for_months":12}"#, "username"),
        (r#"{"username":"a","role":"r","valid_for_months":12,"teams":{"t":"r","t":"r"}}"#, "teams.t"),
        (r#"{"username":"a","role":"r","valid_for_months":12,"\u0072ole":"r"}"#, "role"),
    ] {
        let refused = raw(&admin, "POST", "/accounts", json, body).await.expect(422);
        assert_eq!(refused.fields(), [field]);
    }
    let body = r#"{"username":"ci","role":"r","valid_for_months":12}"#;
    for media_type in
        [None, Some("text/plain"), Some("application/x-www-form-urlencoded"), Some("application/jsonx"), Some("")]
    {
        let refused = raw(&admin, "POST", "/accounts", media_type, body).await.expect(415);
        assert_eq!(refused.reason(), "unsupported_media_type");
    }
    assert_eq!(app.epoch().await, before);
    raw(&admin, "POST", "/accounts", Some("Application/JSON; charset=utf-8"), body).await.expect(201);
}

#[tokio::test]
async fn a_body_over_64_kib_is_refused_whatever_it_says_of_its_length() {
    let app = App::start().await;
    let admin = app.admin();
    app.role("r", &[]).await;
    let padded = |length: usize| {
        let body = r#"{"username":"ci","role":"r","valid_for_months":12}"#;
        format!("{body}{}", " ".repeat(length - body.len()))
    };
    let too_long = padded(64 * 1024 + 1);
    let request = || admin.request("POST", "/api/v1/accounts").header("content-type", "application/json");
    let announced = request().header(header::CONTENT_LENGTH, too_long.len()).body(Body::from(too_long.clone()));
    assert_eq!(app.client.answer(announced.unwrap()).await.expect(413).reason(), "payload_too_large");
    // Announced and never sent.
    let never = request().header(header::CONTENT_LENGTH, "99999999999").body(Body::empty()).unwrap();
    app.client.answer(never).await.expect(413);
    let pieces = too_long.as_bytes().chunks(1000).map(|piece| Ok::<_, std::io::Error>(Bytes::copy_from_slice(piece)));
    let stream = Body::from_stream(futures_util::stream::iter(pieces.collect::<Vec<_>>()));
    assert_eq!(app.client.answer(request().body(stream).unwrap()).await.expect(413).reason(), "payload_too_large");
    app.client.answer(request().body(Body::from(padded(64 * 1024))).unwrap()).await.expect(201);
}

#[tokio::test]
async fn a_wrong_method_or_path_is_told_so() {
    let app = App::start().await;
    let admin = app.admin();
    for (method, path, allow) in [
        ("PUT", "/api/v1/accounts", "GET,HEAD,POST"),
        ("POST", "/api/v1/accounts/admin", "DELETE,GET,HEAD,PATCH"),
        ("GET", "/api/v1/accounts/admin/token", "DELETE,POST"),
        ("POST", "/api/v1/roles/r", "DELETE,GET,HEAD,PUT"),
        ("DELETE", "/api/v1/self", "GET,HEAD"),
        ("POST", "/.well-known/jwks.json", "GET,HEAD"),
        ("TRACE", "/healthz", "GET,HEAD"),
    ] {
        let refused = admin.door(method, path, 405).await;
        assert_eq!(refused.reason(), "method_not_allowed");
        let mut allowed: Vec<&str> = refused.header("allow").split(',').map(str::trim).collect();
        allowed.sort_unstable();
        assert_eq!(allowed.join(","), allow, "{path}");
    }
    for path in [
        "/",
        "/api",
        "/api/v1",
        "/api/v1/",
        "/api/v1/accounts/",
        "/api/v1/nothing",
        "/api/v2/accounts",
        "/verifyx",
        "/api/v1/accounts/%ff",
        "/api/v1/accounts/A",
        "/api/v1/accounts/..%2fx",
        "/api/v1/accounts/nobody",
        "/api/v1/accounts/01890a5d-ac96-774b-bcce-b302099a8057",
        "/api/v1/accounts/nobody/activity",
        "/api/v1/accounts/nobody/usage",
        "/api/v1/roles/nothing",
        "/api/v1/teams/nothing",
    ] {
        assert_eq!(admin.door("GET", path, 404).await.reason(), "not_found", "{path}");
    }
    for (method, path) in [("PATCH", ""), ("DELETE", ""), ("POST", "/token"), ("DELETE", "/token")] {
        let body =
            (method == "PATCH").then(|| json!({})).or((method == "POST").then(|| json!({ "valid_for_months": 12 })));
        let refused = admin.send(method, &format!("/accounts/nobody{path}"), body).await.expect(404);
        assert_eq!(refused.reason(), "not_found");
    }
}

#[tokio::test]
async fn each_wrong_parameter_of_a_query_is_named() {
    let app = App::start().await;
    let admin = app.admin();
    let limits = [
        "limit=0",
        "limit=501",
        "limit=-1",
        "limit=x",
        "limit=",
        "limit=1.5",
        "limit=%2B5",
        "limit=99999999999999999999",
    ];
    for path in ["/accounts", "/audit", "/accounts/admin/activity"] {
        for query in limits {
            assert_eq!(admin.get(&format!("{path}?{query}"), 422).await.fields(), ["limit"], "{query}");
        }
        for (query, field) in [
            ("unknown=1", "unknown"),
            ("limit=1&limit=1", "limit"),
            ("cursor=x", "cursor"),
            ("cursor=", "cursor"),
            ("cursor=!!!!", "cursor"),
            ("cursor=e30", "cursor"),
        ] {
            assert_eq!(admin.get(&format!("{path}?{query}"), 422).await.fields(), [field], "{path}?{query}");
        }
        admin.get(&format!("{path}?limit=500"), 200).await;
    }
    for (path, query, field) in [
        ("/accounts", "role=A", "role"),
        ("/accounts", "team=", "team"),
        ("/accounts", "status=gone", "status"),
        ("/accounts", "kind=robot", "kind"),
        ("/accounts", "expires_before=tomorrow", "expires_before"),
        ("/accounts", "expires_before=2027-01-01", "expires_before"),
        ("/audit", "account=A", "account"),
        ("/audit", "outcome=maybe", "outcome"),
        ("/audit", "from=2027-13-01T00:00:00Z", "from"),
        ("/audit", "to=1", "to"),
        ("/accounts/admin/activity", "outcome=", "outcome"),
        ("/accounts/admin/activity", "from=x", "from"),
        ("/accounts/admin/activity", "address=here", "address"),
    ] {
        assert_eq!(admin.get(&format!("{path}?{query}"), 422).await.fields(), [field], "{path}?{query}");
    }
    admin.get("/audit?account=nobody", 404).await;
}
