//! Events as the Open Cybersecurity Schema Framework has them (OCSF 1.9.0, <https://schema.ocsf.io/1.9.0>).
//!
//! A view for those who read that: it leaves nothing out (what has no place there is in `unmapped`), but proves nothing. What was asked of
//! an API, and what administers, is API Activity (6003); what only tells whether a token is good, and what gives or takes one, is
//! Authentication (3002). `docs/audit-export.md` has the table.

use serde_json::{Value, json};

use super::{Event, Outcome, kinds};

/// The version of the schema.
pub const VERSION: &str = "1.9.0";
const PRODUCT: &str = "countermark";

/// The classes that are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    ApiActivity,
    Authentication,
}

impl Class {
    fn uid(self) -> u64 {
        match self {
            Self::ApiActivity => 6003,
            Self::Authentication => 3002,
        }
    }

    /// Identity & Access Management, or Application Activity.
    fn category(self) -> u64 {
        match self {
            Self::ApiActivity => 6,
            Self::Authentication => 3,
        }
    }
}

/// An activity: its number in the class, and what it is called.
type Activity = (u64, String);

/// The same event.
pub fn of(event: &Event) -> Value {
    let class = class(event);
    let (activity_id, activity_name) = match class {
        Class::ApiActivity => api_activity(event),
        Class::Authentication => authentication_activity(event),
    };
    let (status_id, status) = match event.outcome {
        Outcome::Allowed | Outcome::Done => (1, "Success"),
        Outcome::Refused | Outcome::Failed => (2, "Failure"),
    };
    let (severity_id, severity) = severity(event);
    let mut mapped = json!({
        "activity_id": activity_id,
        "activity_name": activity_name,
        "category_uid": class.category(),
        "class_uid": class.uid(),
        "type_uid": class.uid() * 100 + activity_id,
        "severity_id": severity_id,
        "severity": severity,
        "status_id": status_id,
        "status": status,
        "time": event.time.timestamp_millis(),
        "actor": { "user": actor(event) },
        "src_endpoint": source(event),
        "metadata": metadata(event),
        "unmapped": unmapped(event),
    });
    put(&mut mapped, "status_detail", event.reason.as_deref());
    // In milliseconds.
    put(&mut mapped, "duration", event.duration_us.map(|us| us / 1000));
    put(&mut mapped, "http_request", http_request(event));
    // An account has a status too.
    let code = detail(event, "status").and_then(Value::as_u64);
    put(&mut mapped, "http_response", code.map(|code| json!({ "code": code })));
    match class {
        Class::ApiActivity => {
            put(&mut mapped, "api", Some(api(event)));
            put(&mut mapped, "resources", resource(event).map(|resource| json!([resource])));
        }
        Class::Authentication => {
            put(&mut mapped, "user", Some(subject(event)));
            put(&mut mapped, "service", Some(json!({ "name": PRODUCT })));
            put(&mut mapped, "auth_protocol_id", Some(6));
            put(&mut mapped, "auth_protocol", Some("OAUTH 2.0"));
            put(&mut mapped, "logon_type_id", event.client_address.as_ref().map(|_| 3));
            put(&mut mapped, "is_remote", Some(event.client_address.is_some()));
            put(&mut mapped, "is_cleartext", Some(event.kind == kinds::TOKEN_EXPOSED));
        }
    }
    mapped
}

/// Whether a line is an event in this form.
pub fn is_one(line: &str) -> bool {
    #[derive(serde::Deserialize)]
    struct Mapped {
        class_uid: u64,
        type_uid: u64,
    }
    serde_json::from_str(line).is_ok_and(|Mapped { class_uid, type_uid }| type_uid / 100 == class_uid)
}

fn class(event: &Event) -> Class {
    match event.kind.as_str() {
        kinds::TOKEN_EXPOSED
        | kinds::INVALID_SIGNATURES
        | kinds::SESSION_BEGIN
        | kinds::SESSION_END
        | kinds::PASSWORD_LINK
        | kinds::PASSWORD_SET
        | kinds::TOKEN_REGENERATE
        | kinds::TOKEN_RENEW
        | kinds::TOKEN_REVOKE
        | kinds::OVERLAP_END
        | kinds::RECOVER => Class::Authentication,
        kinds::CALL if is_about_the_token_alone(event) => Class::Authentication,
        _ => Class::ApiActivity,
    }
}

/// A call that came to no API: the token was not good, or whether it is was all that was asked.
fn is_about_the_token_alone(event: &Event) -> bool {
    let is_refused_token = event.outcome == Outcome::Refused
        && event.reason.as_deref().is_some_and(|reason| !matches!(reason, "insufficient_permission" | "rate_limited"));
    // A gateway names what it asks for; so `/verify`, or a policy of it, without anything more is no API's path.
    let asks_for_nothing_else = event.path.as_deref().is_some_and(|path| {
        matches!(path, "/verify" | "/oauth2/introspect" | "/oauth2/revoke")
            || path.strip_prefix("/verify/~").is_some_and(|policy| !policy.contains('/'))
    });
    is_refused_token || asks_for_nothing_else
}

fn api_activity(event: &Event) -> Activity {
    let named = |id, name: &str| (id, name.to_owned());
    match event.kind.as_str() {
        kinds::CALL => match event.method.as_deref() {
            Some("POST") => named(1, "Create"),
            Some("GET" | "HEAD" | "OPTIONS") => named(2, "Read"),
            Some("PUT" | "PATCH") => named(3, "Update"),
            Some("DELETE") => named(4, "Delete"),
            Some(other) => named(99, other),
            None => named(0, "Unknown"),
        },
        kinds::ACCOUNT_CREATE | kinds::KEY_PREPARE | kinds::BOOTSTRAP => named(1, "Create"),
        kinds::BACKUP => named(2, "Read"),
        kinds::ACCOUNT_DELETE | kinds::ROLE_DELETE | kinds::TEAM_DELETE => named(4, "Delete"),
        kinds::ACCOUNT_UPDATE
        | kinds::ROLE_SET
        | kinds::TEAM_SET
        | kinds::KEY_ACTIVATE
        | kinds::KEY_RETIRE
        | kinds::KEY_REVOKE
        | kinds::MASTER_KEY
        | kinds::AUDIT_KEY
        | kinds::RESTORE => named(3, "Update"),
        // One that a later version wrote.
        other => named(99, other),
    }
}

/// Tokens of the schema's tickets are Kerberos': ours are none.
fn authentication_activity(event: &Event) -> Activity {
    match event.kind.as_str() {
        kinds::CALL if event.path.as_deref() == Some("/oauth2/revoke") => (2, "Logoff".to_owned()),
        kinds::CALL | kinds::TOKEN_EXPOSED | kinds::INVALID_SIGNATURES => (1, "Logon".to_owned()),
        kinds::SESSION_BEGIN => (1, "Logon".to_owned()),
        kinds::TOKEN_REVOKE | kinds::OVERLAP_END | kinds::SESSION_END => (2, "Logoff".to_owned()),
        other => (99, other.to_owned()),
    }
}

fn severity(event: &Event) -> (u64, &'static str) {
    let is_possible_leak = detail(event, "possible_leak").is_some_and(|value| value == &Value::Bool(true));
    match (event.kind.as_str(), event.outcome) {
        _ if is_possible_leak => (4, "High"),
        (kinds::TOKEN_EXPOSED | kinds::AUDIT_DROPPED, _) => (4, "High"),
        (kinds::INVALID_SIGNATURES, _) | (_, Outcome::Failed) => (3, "Medium"),
        (_, Outcome::Refused) => (2, "Low"),
        (_, Outcome::Allowed | Outcome::Done) => (1, "Informational"),
    }
}

/// Whoever did it: the account that acted, or the one that it is about, or the service itself.
fn actor(event: &Event) -> Value {
    match event.actor_id {
        Some(actor) => {
            let mut user = json!({ "uid": actor.to_string() });
            put(&mut user, "credential_uid", detail(event, "actor_token_id").cloned());
            user
        }
        // OCSF's type 3 is the system.
        None if is_by_the_service(event) => json!({ "name": PRODUCT, "type_id": 3, "type": "System" }),
        None => subject(event),
    }
}

/// What nobody asked for over HTTP.
fn is_by_the_service(event: &Event) -> bool {
    event.method.is_none() && event.request_id.is_none()
}

/// Whom it is about. Of whoever has shown no genuine token nobody knows.
fn subject(event: &Event) -> Value {
    if event.account_id.is_none() && event.username.is_none() {
        return json!({ "name": "unknown", "type_id": 0, "type": "Unknown" });
    }
    let mut user = json!({});
    put(&mut user, "uid", event.account_id.map(|id| id.to_string()));
    put(&mut user, "name", event.username.as_deref());
    put(&mut user, "credential_uid", event.token_id.map(|id| id.to_string()));
    user
}

/// Where it came from: whatever the service did itself, from its node.
fn source(event: &Event) -> Value {
    match &event.client_address {
        Some(address) => json!({ "ip": address }),
        None => json!({ "name": event.node, "svc_name": PRODUCT }),
    }
}

fn metadata(event: &Event) -> Value {
    let mut metadata = json!({
        "version": VERSION,
        "product": { "name": PRODUCT, "vendor_name": PRODUCT, "version": env!("CARGO_PKG_VERSION") },
        "uid": event.id.to_string(),
        "original_event_uid": event.id.to_string(),
        "event_code": event.kind,
        "log_name": "audit",
        "log_source": event.node,
        "sequence": event.sequence,
    });
    put(&mut metadata, "correlation_uid", event.request_id.as_deref());
    metadata
}

fn http_request(event: &Event) -> Option<Value> {
    let method = event.method.as_deref()?;
    let mut request = json!({ "http_method": method });
    put(&mut request, "url", event.path.as_deref().map(|path| json!({ "path": path })));
    put(&mut request, "user_agent", event.user_agent.as_deref());
    put(&mut request, "uid", event.request_id.as_deref());
    Some(request)
}

fn api(event: &Event) -> Value {
    let operation = match event.kind.as_str() {
        kinds::CALL => event.method.as_deref().unwrap_or(kinds::CALL),
        act => act,
    };
    let mut api = json!({ "operation": operation });
    put(&mut api, "request", event.request_id.as_deref().map(|id| json!({ "uid": id })));
    // A call may have been for any API: whose, the path alone tells.
    put(&mut api, "service", (event.kind != kinds::CALL).then(|| json!({ "name": PRODUCT })));
    api
}

/// What an act has changed.
fn resource(event: &Event) -> Option<Value> {
    let named = |kind: &str, name: &Value| Some(json!({ "type": kind, "name": name }));
    let (kind, _) = event.kind.split_once('.')?;
    match kind {
        "account" => {
            let mut resource = json!({ "type": kind, "uid": event.account_id?.to_string() });
            put(&mut resource, "name", event.username.as_deref());
            Some(resource)
        }
        "role" | "team" => named(kind, detail(event, kind)?),
        "key" => Some(json!({ "type": kind, "uid": detail(event, "key")? })),
        _ => None,
    }
}

/// What has no place of its own, under the names that it has here.
fn unmapped(event: &Event) -> Value {
    let mut unmapped = json!({});
    put(&mut unmapped, "generation", event.generation);
    put(&mut unmapped, "key_id", event.key_id.as_deref());
    put(&mut unmapped, "token_id", event.token_id.map(|id| id.to_string()));
    put(&mut unmapped, "team", event.team.as_deref());
    put(&mut unmapped, "permission", event.permission.as_deref());
    put(&mut unmapped, "duration_us", event.duration_us);
    put(&mut unmapped, "outcome", Some(event.outcome.as_str()));
    put(&mut unmapped, "account_id", event.account_id.map(|id| id.to_string()));
    put(&mut unmapped, "username", event.username.as_deref());
    put(&mut unmapped, "details", event.details.clone());
    unmapped
}

fn detail<'a>(event: &'a Event, name: &str) -> Option<&'a Value> {
    event.details.as_ref()?.get(name)
}

/// Absent is better than null: the schema knows no nulls.
fn put<T: Into<Value>>(object: &mut Value, name: &str, value: Option<T>) {
    if let (Some(members), Some(value)) = (object.as_object_mut(), value) {
        members.insert(name.to_owned(), value.into());
    }
}
