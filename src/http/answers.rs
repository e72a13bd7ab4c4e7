//! What the OpenAPI document says beyond what stands at the handlers: the errors that an operation of this shape may answer,
//! headers, where to go on from an answer, and the limits of an account.

#![allow(clippy::indexing_slicing, reason = "the document is our own: members that are missing are made")]

use serde_json::{Map, Value, json};

use super::problem::MEDIA_TYPE;
use crate::account::limits;
use crate::permission::PERMISSIONS_PER_ROLE;

/// An error: its status, what it is called in the document, what it means, a header that it may have.
const ERRORS: [(&str, &str, &str, Option<&str>); 14] = [
    ("400", "BadRequest", "The credential or the body can't be understood", Some("WWW-Authenticate")),
    ("401", "Unauthorized", "No good token", Some("WWW-Authenticate")),
    ("403", "Forbidden", "The token lacks the permission", Some("WWW-Authenticate")),
    ("404", "NotFound", "There is no such thing", None),
    ("408", "RequestTimeout", "The body did not arrive in time", None),
    ("409", "Conflict", "Not as things are; `reason` says what is in the way", None),
    ("412", "PreconditionFailed", "Not as `If-Match` or `If-None-Match` says: changed since, or there already", None),
    ("413", "PayloadTooLarge", "The body is too large", None),
    ("415", "UnsupportedMediaType", "The body is not said to be JSON", None),
    ("422", "InvalidFields", "Members or parameters are wrong; `errors` names them", None),
    ("429", "TooManyInvalidTokens", "Too many invalid tokens from this address", Some("Retry-After")),
    ("431", "HeadTooLarge", "The request line and headers are too large", None),
    ("500", "InternalError", "A fault of the service", None),
    ("503", "Unavailable", "The store can't be reached; a change may or may not have been made", Some("Retry-After")),
];

const HEADERS: [(&str, &str); 5] = [
    ("X-Request-Id", "The id of the request: the caller's own if it is sane"),
    ("WWW-Authenticate", "What credential is wanted (RFC 6750, section 3)"),
    ("Retry-After", "Seconds to wait"),
    ("ETag", "Its version, for `If-Match`"),
    ("Location", "Where the account is"),
];

/// Headers of good answers: operation, status, header.
const GOOD: [(&str, &str, &str); 5] = [
    ("accounts_show", "200", "ETag"),
    ("accounts_update", "200", "ETag"),
    ("accounts_create", "201", "Location"),
    ("roles_show", "200", "ETag"),
    ("teams_show", "200", "ETag"),
];

/// What a change answers, where in it the name is, and the paths that take it, with the name of the parameter.
const LINKS: [(&str, &str, &str, &str); 3] = [
    ("accounts_create", "/account/id", "/api/v1/accounts/{account}", "account"),
    ("roles_set", "/role/name", "/api/v1/roles/{name}", "name"),
    ("teams_set", "/team/name", "/api/v1/teams/{name}", "name"),
];

/// Completes the document, whose operations have their ids.
pub(super) fn complete(document: &mut Value) {
    limits_of_accounts(document);
    let targets = targets(document);
    for (path, item) in members(document, "/paths") {
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            let errors: Vec<_> = ERRORS.iter().filter(|error| may_answer(error.0, path, method, operation)).collect();
            let id = operation["operationId"].as_str().unwrap_or_default().to_owned();
            let Some(responses) = operation.get_mut("responses").and_then(Value::as_object_mut) else { continue };
            for (status, response) in responses.iter_mut() {
                good(response, &id, status, &targets);
            }
            for (status, name, ..) in errors {
                responses.insert((*status).to_owned(), reference("responses", name));
            }
        }
    }
    document["components"]["headers"] = HEADERS.iter().map(|(name, what)| (*name, header(name, what))).collect();
    document["components"]["responses"] = ERRORS.iter().map(|error| (error.1, problem(error.2, error.3))).collect();
}

/// With the lifetimes that are configured.
pub(super) fn with_lifetimes(mut document: Value, months: &[u32]) -> Value {
    for body in ["NewAccountBody", "NewTokenBody"] {
        if let Some(field) = document.pointer_mut(&format!("/components/schemas/{body}/properties/valid_for_months")) {
            field["enum"] = months.into();
        }
    }
    document
}

fn may_answer(status: &str, path: &str, method: &str, operation: &Value) -> bool {
    let has_parameter = |name: &str| {
        operation["parameters"].as_array().is_some_and(|all| all.iter().any(|parameter| parameter["name"] == name))
    };
    match status {
        // What changes something may come with a session from another site.
        "403" => operation.pointer("/security/0/bearer/0").is_some() || method != "get",
        "404" => path.contains('{') || has_parameter("account"),
        "409" => method != "get",
        "412" => has_parameter("If-Match"),
        "408" | "413" | "415" => operation.get("requestBody").is_some(),
        _ => true,
    }
}

/// The operations below a path of [`LINKS`], with their paths.
fn targets(document: &mut Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (path, item) in members(document, "/paths") {
        for operation in item.as_object().into_iter().flat_map(Map::values) {
            found.push((path.clone(), operation["operationId"].as_str().unwrap_or_default().to_owned()));
        }
    }
    found
}

fn good(response: &mut Value, id: &str, status: &str, targets: &[(String, String)]) {
    if response["description"].as_str().is_none_or(str::is_empty) {
        response["description"] = if status == "201" { "Created" } else { "Done" }.into();
    }
    response["headers"]["X-Request-Id"] = reference("headers", "X-Request-Id");
    for (.., name) in GOOD.iter().filter(|(of, at, _)| *of == id && *at == status) {
        response["headers"][*name] = reference("headers", name);
    }
    for (_, pointer, base, parameter) in LINKS.iter().filter(|(of, ..)| *of == id) {
        for (_, target) in targets.iter().filter(|(path, _)| path.starts_with(base)) {
            response["links"][target] =
                json!({ "operationId": target, "parameters": { *parameter: format!("$response.body#{pointer}") } });
        }
    }
}

fn limits_of_accounts(document: &mut Value) {
    for body in ["NewAccountBody", "AccountPatchBody", "NewUserBody"] {
        let fields = &mut document["components"]["schemas"][body]["properties"];
        fields["teams"]["maxProperties"] = limits::TEAMS.into();
        fields["teams"]["propertyNames"] = reference("schemas", "TeamName");
        // People have none.
        if let Some(audiences) = fields.get_mut("audiences") {
            audiences["maxItems"] = limits::AUDIENCES.into();
            audiences["uniqueItems"] = true.into();
        }
        fields["allowed_networks"]["maxItems"] = limits::NETWORKS.into();
        fields["allowed_networks"]["items"]["format"] = "cidr".into();
    }
    for body in ["RoleBody", "PreviewBody"] {
        document["components"]["schemas"][body]["properties"]["permissions"]["maxItems"] = PERMISSIONS_PER_ROLE.into();
    }
}

fn members<'a>(document: &'a mut Value, pointer: &str) -> impl Iterator<Item = (&'a String, &'a mut Value)> {
    document.pointer_mut(pointer).and_then(Value::as_object_mut).into_iter().flatten()
}

fn reference(kind: &str, name: &str) -> Value {
    json!({ "$ref": format!("#/components/{kind}/{name}") })
}

fn header(name: &str, what: &str) -> Value {
    let kind = if name == "Retry-After" { "integer" } else { "string" };
    // The others only where there is something to say.
    json!({ "description": what, "required": name == "X-Request-Id", "schema": { "type": kind } })
}

fn problem(what: &str, further: Option<&str>) -> Value {
    let headers: Map<String, Value> =
        ["X-Request-Id"].into_iter().chain(further).map(|name| (name.to_owned(), reference("headers", name))).collect();
    let content = json!({ MEDIA_TYPE: { "schema": reference("schemas", "ProblemBody") } });
    json!({ "description": what, "headers": headers, "content": content })
}
