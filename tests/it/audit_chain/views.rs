//! What an event looks like to others: its schema, and OCSF.

use std::collections::BTreeSet;

use countermark::audit::checkpoint::Part;
use countermark::audit::{Event, Outcome, kinds, ocsf};
use serde_json::{Map, Value, json};

use super::{a_history, exported, linked, real_time};
use crate::app::App;

const SCHEMA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/event.schema.json");

/// The schema of a line, as it follows from that of the API, where what is missing is null.
fn of_a_line(openapi: &Value) -> Value {
    let schemas = &openapi["components"]["schemas"];
    let mut event = schemas["Event"].clone();
    let mut needed = Vec::new();
    let mut definitions = Map::new();
    for (name, property) in event["properties"].as_object_mut().unwrap() {
        let can_be_null = without_null(property);
        if !can_be_null {
            needed.push(name.clone());
        }
        define(property, schemas, &mut definitions);
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:countermark:audit:event",
        "title": "Countermark audit event",
        "description": format!(
            "A line of an export of the audit that is no record. {} What it does not have is left out, never null; members may be added.",
            event["description"].as_str().unwrap()
        ),
        "type": "object",
        "required": needed,
        "properties": event["properties"],
        "$defs": definitions,
    })
}

/// Whether it could be null.
fn without_null(property: &mut Value) -> bool {
    if let Some(types) = property.get_mut("type").and_then(Value::as_array_mut) {
        types.retain(|kind| kind != "null");
        assert_eq!(types.len(), 1);
        property["type"] = types[0].clone();
        return true;
    }
    let Some(choices) = property.get_mut("oneOf").and_then(Value::as_array_mut) else { return false };
    choices.retain(|choice| choice["type"] != "null");
    assert_eq!(choices.len(), 1);
    let choice = choices.remove(0);
    let members = property.as_object_mut().unwrap();
    members.remove("oneOf");
    for (name, value) in choice.as_object().unwrap() {
        members.entry(name.clone()).or_insert(value.clone());
    }
    true
}

fn define(property: &mut Value, schemas: &Value, definitions: &mut Map<String, Value>) {
    let Some(path) = property.get("$ref").and_then(Value::as_str) else { return };
    let name = path.strip_prefix("#/components/schemas/").unwrap().to_owned();
    definitions.insert(name.clone(), schemas[&name].clone());
    property["$ref"] = json!(format!("#/$defs/{name}"));
}

/// Whether a value is what a schema says, as far as ours go (JSON Schema 2020-12: `type`, `enum`, `$ref`, `required`).
fn fits(value: &Value, schema: &Value, all: &Value) -> bool {
    if let Some(name) = schema["$ref"].as_str().and_then(|path| path.strip_prefix("#/$defs/")) {
        return fits(value, &all["$defs"][name], all);
    }
    if let Some(values) = schema["enum"].as_array() {
        return values.contains(value);
    }
    match schema["type"].as_str().unwrap() {
        "string" => value.is_string(),
        "integer" => value.is_u64(),
        "object" => value.as_object().is_some_and(|members| {
            let required = schema["required"].as_array().cloned().unwrap_or_default();
            let properties = schema["properties"].as_object().cloned().unwrap_or_default();
            required.iter().all(|name| members.contains_key(name.as_str().unwrap()))
                && (properties.is_empty()
                    || members
                        .iter()
                        .all(|(name, member)| properties.get(name).is_some_and(|of| fits(member, of, all))))
        }),
        other => panic!("{other}"),
    }
}

async fn events(app: &App) -> Vec<String> {
    let lines = exported(app, Part::default()).await;
    lines.into_iter().filter(|line| !line.starts_with("{\"record\":")).collect()
}

/// As many kinds as can be had without a machine of one's own.
async fn all_kinds_of_things(app: &App) {
    a_history(app).await;
    let admin = app.admin();
    app.role("some", &["a:b"]).await;
    admin.send("DELETE", "/roles/some", None).await.expect(200);
    admin.send("PUT", "/teams/team", Some(json!({"description": ""}))).await;
    let ci = app.account("late", &["accounts:read"]).await;
    for path in ["/verify", "/verify/deployments/7?x=y", "/verify?permission=a:b"] {
        ci.door("GET", path, if path.contains("permission") { 403 } else { 200 }).await;
    }
    ci.send("PATCH", "/accounts/late", Some(json!({"description": "x"}))).await.expect(403);
    admin.send("PATCH", "/accounts/late", Some(json!({"status": "disabled"}))).await.expect(200);
    admin.send("DELETE", "/accounts/late", None).await.expect(200);
    app.bearer("e30.e30.e30").door("GET", "/verify", 401).await;
    linked(app).await;
}

#[tokio::test]
async fn the_schema_of_events_is_that_of_the_api_and_of_what_is_exported() {
    let app = App::start().await;
    let schema = of_a_line(&app.nobody().get("/openapi.json", 200).await.json);
    let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
    if std::env::var_os("COUNTERMARK_WRITE_SCHEMA").is_some() {
        std::fs::write(SCHEMA, &text).unwrap();
    }
    let shipped = std::fs::read_to_string(SCHEMA).unwrap_or_default();
    assert!(shipped == text, "write docs/event.schema.json anew: run this test with COUNTERMARK_WRITE_SCHEMA=1");
    all_kinds_of_things(&app).await;
    let events = events(&app).await;
    assert!(events.len() > 30);
    for event in events {
        assert!(fits(&serde_json::from_str(&event).unwrap(), &schema, &schema), "{event}");
    }
    let event = Event::new(real_time(), kinds::CALL, Outcome::Allowed);
    for (name, value) in
        [("outcome", json!("perhaps")), ("sequence", json!("1")), ("other", json!(1)), ("reason", Value::Null)]
    {
        let mut changed: Value = serde_json::from_str(&event.to_line()).unwrap();
        changed[name] = value;
        assert!(!fits(&changed, &schema, &schema), "{name}");
    }
}

/// What the schema requires, from ocsf/ocsf-schema at version 1.9.0: `events/base_event.json` with `includes/classification.json` and
/// `includes/occurrence.json`, `events/application/api_activity.json`, `events/iam/authentication.json`, and of objects those in
/// `objects/`: what is required, and of what at least one must be there.
const REQUIRED: [(&str, &[&str]); 8] = [
    ("", &["activity_id", "category_uid", "class_uid", "metadata", "severity_id", "time", "type_uid"]),
    ("metadata", &["product", "version"]),
    ("api", &["operation"]),
    ("api.request", &["uid"]),
    ("http_response", &["code"]),
    ("6003", &["actor", "api", "src_endpoint"]),
    ("3002", &["user"]),
    ("http_request", &[]),
];
const AT_LEAST_ONE: [(&str, &[&str]); 9] = [
    ("3002", &["service", "dst_endpoint"]),
    ("actor", &["process", "user", "invoked_by", "session", "app_name", "app_uid", "application"]),
    ("actor.user", &["account", "name", "uid"]),
    ("user", &["account", "name", "uid"]),
    (
        "src_endpoint",
        &["ip", "uid", "name", "hostname", "svc_name", "instance_uid", "interface_uid", "interface_name", "domain"],
    ),
    ("service", &["name", "uid"]),
    ("api.service", &["name", "uid"]),
    ("metadata.product", &["name", "uid"]),
    ("http_request.url", &["url_string", "path"]),
];

#[track_caller]
fn is_ocsf(mapped: &Value) {
    let number = |name: &str| mapped[name].as_u64().unwrap_or_else(|| panic!("{name}: {mapped}"));
    let class = number("class_uid").to_string();
    let at = |path: &str| match path {
        "" => Some(mapped),
        "6003" | "3002" => (class == path).then_some(mapped),
        _ => path.split('.').try_fold(mapped, |value, name| value.get(name)),
    };
    for (path, names) in REQUIRED {
        let Some(object) = at(path) else { continue };
        assert!(names.iter().all(|name| !object[name].is_null()), "{path}: {mapped}");
    }
    for (path, names) in AT_LEAST_ONE {
        let Some(object) = at(path) else { continue };
        assert!(names.iter().any(|name| !object[name].is_null()), "{path}: {mapped}");
    }
    let (activities, category): (&[u64], _) = match class.as_str() {
        "6003" => (&[0, 1, 2, 3, 4, 99], 6),
        "3002" => (&[1, 2, 99], 3),
        _ => panic!("{mapped}"),
    };
    assert!(activities.contains(&number("activity_id")), "{mapped}");
    assert_eq!(number("category_uid"), category);
    assert_eq!(number("type_uid"), number("class_uid") * 100 + number("activity_id"));
    assert!((1..=4).contains(&number("severity_id")) && (1..=2).contains(&number("status_id")), "{mapped}");
    // 2020 to 2100, in milliseconds.
    assert!((1_577_836_800_000..4_102_444_800_000).contains(&number("time")), "{mapped}");
    assert!(mapped.pointer("/http_response/code").is_none_or(Value::is_u64), "{mapped}");
    // What is another's activity has a name: "99" says that the name is the source's own.
    assert!(mapped["activity_name"].is_string());
    assert!(!mapped.to_string().contains("null"), "{mapped}");
    assert!(ocsf::is_one(&mapped.to_string()));
}

#[tokio::test]
async fn every_event_has_a_form_in_ocsf_and_nothing_of_it_is_lost() {
    let app = App::start().await;
    all_kinds_of_things(&app).await;
    let mut met = BTreeSet::new();
    for line in events(&app).await {
        let event = Event::from_line(&line).unwrap();
        let mapped = ocsf::of(&event);
        is_ocsf(&mapped);
        assert!(!ocsf::is_one(&line), "{line}");
        met.insert(event.kind.clone());
        let text = mapped.to_string();
        let told: Map<String, Value> = serde_json::from_str(&line).unwrap();
        for (name, value) in &told {
            let is_there = match value {
                // In milliseconds, which is told by `is_ocsf`.
                _ if name == "time" => true,
                Value::Object(_) => mapped["unmapped"][name] == *value,
                other => text.contains(&other.to_string()),
            };
            assert!(is_there, "{name}: {line}: {mapped}");
        }
    }
    assert!(met.len() >= 8, "{met:?}");
}

#[test]
fn calls_are_api_activity_and_what_is_about_tokens_is_authentication() {
    let event = |kind: &str, outcome, reason: Option<&str>, method: Option<&str>, path: Option<&str>| {
        let mut event = Event::new(real_time(), kind, outcome);
        (event.node, event.sequence) = ("node-1".to_owned(), 7);
        (event.reason, event.method, event.path) =
            (reason.map(Into::into), method.map(Into::into), path.map(Into::into));
        event.account_id = Some("0197f0a0-0000-7000-8000-0000deadbeef".parse().unwrap());
        event.client_address = method.map(|_| "192.0.2.1".to_owned());
        event
    };
    use Outcome::{Allowed, Done, Failed, Refused};
    let get = Some("GET");
    for (event, type_uid, severity, status) in [
        (event(kinds::CALL, Allowed, None, get, Some("/a")), 600_302, 1, 1),
        (event(kinds::CALL, Allowed, None, Some("POST"), Some("/a")), 600_301, 1, 1),
        (event(kinds::CALL, Allowed, None, Some("PATCH"), Some("/a")), 600_303, 1, 1),
        (event(kinds::CALL, Allowed, None, Some("DELETE"), Some("/a")), 600_304, 1, 1),
        (event(kinds::CALL, Allowed, None, Some("BREW"), Some("/a")), 600_399, 1, 1),
        (event(kinds::CALL, Refused, Some("insufficient_permission"), get, Some("/a")), 600_302, 2, 2),
        (event(kinds::CALL, Failed, Some("internal"), get, Some("/a")), 600_302, 3, 2),
        // The token was not good, whatever was asked for.
        (event(kinds::CALL, Refused, Some("expired"), get, Some("/a")), 300_201, 2, 2),
        (event(kinds::CALL, Refused, Some("superseded"), get, Some("/a")).detail("possible_leak", true), 300_201, 4, 2),
        // Whether it is good was all.
        (event(kinds::CALL, Allowed, None, get, Some("/verify")), 300_201, 1, 1),
        (event(kinds::CALL, Allowed, None, get, Some("/verify/~policy")), 300_201, 1, 1),
        (event(kinds::CALL, Allowed, None, Some("POST"), Some("/oauth2/introspect")), 300_201, 1, 1),
        (event(kinds::TOKEN_EXPOSED, Refused, Some("invalid_request"), get, Some("/a")), 300_201, 4, 2),
        (event(kinds::INVALID_SIGNATURES, Refused, Some("bad_signature"), get, Some("/a")), 300_201, 3, 2),
        (event(kinds::TOKEN_REGENERATE, Done, None, Some("POST"), Some("/b")), 300_299, 1, 1),
        (event(kinds::TOKEN_RENEW, Done, None, Some("POST"), Some("/b")), 300_299, 1, 1),
        (event(kinds::RECOVER, Done, None, None, None), 300_299, 1, 1),
        (event(kinds::TOKEN_REVOKE, Done, None, Some("DELETE"), Some("/b")), 300_202, 1, 1),
        (event(kinds::OVERLAP_END, Done, None, None, None), 300_202, 1, 1),
        (event(kinds::ACCOUNT_CREATE, Done, None, Some("POST"), Some("/b")), 600_301, 1, 1),
        (event(kinds::ACCOUNT_DELETE, Refused, Some("last_admin"), Some("DELETE"), Some("/b")), 600_304, 2, 2),
        (event(kinds::ROLE_SET, Done, None, Some("PUT"), Some("/b")), 600_303, 1, 1),
        (event(kinds::KEY_REVOKE, Done, None, Some("POST"), Some("/b")), 600_303, 1, 1),
        (event(kinds::BOOTSTRAP, Done, None, None, None), 600_301, 1, 1),
        (event(kinds::AUDIT_DROPPED, Failed, None, None, None), 600_399, 4, 2),
        (event("of.tomorrow", Done, None, None, None), 600_399, 1, 1),
    ] {
        let mapped = ocsf::of(&event);
        is_ocsf(&mapped);
        let got = (&mapped["type_uid"], &mapped["severity_id"], &mapped["status_id"]);
        assert_eq!(got, (&json!(type_uid), &json!(severity), &json!(status)), "{}: {mapped}", event.kind);
        assert_eq!(mapped["metadata"]["event_code"], event.kind);
        let by_itself = event.method.is_none();
        assert_eq!(mapped["actor"]["user"]["name"] == "countermark", by_itself, "{mapped}");
        assert_eq!(mapped["src_endpoint"]["ip"] == "192.0.2.1", !by_itself, "{mapped}");
    }
    let mut nobody = event(kinds::INVALID_SIGNATURES, Refused, Some("bad_signature"), get, Some("/a"));
    nobody.account_id = None;
    let mapped = ocsf::of(&nobody);
    is_ocsf(&mapped);
    assert_eq!((&mapped["user"]["name"], &mapped["status_detail"]), (&json!("unknown"), &json!("bad_signature")));
}
