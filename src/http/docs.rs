//! The OpenAPI document (3.1) of what is served, and a page to read it.

use std::fmt::Write as _;

use aws_lc_rs::digest;
use axum::Extension;
use axum::body::Bytes;
use axum::http::{HeaderValue, header};
use axum::response::{Html, IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::answers;
use super::problem::ProblemBody;

/// The document without its paths.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Countermark",
        description = "Service-account tokens for APIs. Errors are application/problem+json (RFC 9457); their `reason` is for programs.",
        license(name = "Apache-2.0 OR MIT", identifier = "Apache-2.0 OR MIT")
    ),
    components(schemas(ProblemBody<'static>, crate::web::FieldError)),
    modifiers(&Bearer)
)]
pub struct Description;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("JWT")
            .description(Some("A token of this issuer. The scopes of an operation are the permissions that it needs."))
            .build();
        openapi.components.get_or_insert_default().add_security_scheme("bearer", SecurityScheme::Http(scheme));
    }
}

/// The document as it is served: operations get ids that are unique, and all that they may answer.
pub fn finished(openapi: &utoipa::openapi::OpenApi) -> Value {
    let mut document = serde_json::to_value(openapi).unwrap_or_default();
    let paths = document.get_mut("paths").and_then(Value::as_object_mut);
    let operations = paths.into_iter().flat_map(|paths| paths.values_mut()).filter_map(Value::as_object_mut);
    for operation in operations.flat_map(|item| item.values_mut()).filter_map(Value::as_object_mut) {
        let tag = operation.get("tags").and_then(|tags| tags.get(0)?.as_str()).unwrap_or_default().to_owned();
        if let Some(Value::String(id)) = operation.get_mut("operationId") {
            *id = format!("{tag}_{id}");
        }
    }
    answers::complete(&mut document);
    document
}

/// What is served of it, made once: however many ask, it is there once.
#[derive(Clone)]
pub struct Pages {
    document: Bytes,
    page: Bytes,
    policy: HeaderValue,
}

impl Pages {
    /// Of this document.
    pub fn of(document: &Value) -> Self {
        let hash = STANDARD.encode(digest::digest(&digest::SHA256, STYLE.as_bytes()));
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        );
        Self {
            document: document.to_string().into(),
            page: render(document).into(),
            policy: HeaderValue::from_str(&policy).unwrap_or_else(|_| HeaderValue::from_static("default-src 'none'")),
        }
    }
}

/// The document.
pub async fn openapi(Extension(pages): Extension<Pages>) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], pages.document).into_response()
}

/// The page: each operation with what it needs and does.
pub async fn page(Extension(pages): Extension<Pages>) -> Response {
    ([(header::CONTENT_SECURITY_POLICY, pages.policy)], Html(pages.page)).into_response()
}

const STYLE: &str = include_str!("docs.css");

fn render(document: &Value) -> String {
    let mut html = String::new();
    let _ = write!(
        html,
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>Countermark: the API</title><style>{STYLE}</style><main><h1>Countermark</h1><p>{}</p>\
         <p>Send a token with every call: <code>Authorization: Bearer …</code>. For programs: \
         <a href=\"/api/v1/openapi.json\">openapi.json</a> (OpenAPI 3.1).</p>",
        prose(document.pointer("/info/description").and_then(Value::as_str).unwrap_or_default()),
    );
    for (path, item) in document["paths"].as_object().into_iter().flatten() {
        for (method, operation) in item.as_object().into_iter().flatten() {
            render_operation(&mut html, document, path, method, operation);
        }
    }
    html.push_str("<h2>For verifiers and gateways</h2><dl>");
    for (call, what) in OTHERS {
        let _ = write!(html, "<dt><code>{}</code></dt><dd>{}</dd>", escape(call), escape(what));
    }
    html.push_str("</dl></main></html>");
    html
}

/// What stands outside `/api/v1`.
const OTHERS: &[(&str, &str)] = &[
    ("GET /.well-known/jwks.json", "The published keys (RFC 7517)."),
    ("GET /.well-known/oauth-authorization-server", "Metadata (RFC 8414); also as openid-configuration."),
    (
        "POST /oauth2/introspect",
        "Tells about a token (RFC 7662). Needs tokens:introspect, by bearer token or HTTP Basic.",
    ),
    ("POST /oauth2/revoke", "Ends the token that is shown (RFC 7009)."),
    ("any /verify?permission=&team=&audience=", "Forward auth for gateways; also /verify/~POLICY and any longer path."),
    ("GET /healthz, GET /readyz", "Alive; ready."),
];

fn render_operation(html: &mut String, document: &Value, path: &str, method: &str, operation: &Value) {
    let summary = operation["summary"].as_str().or(operation["description"].as_str()).unwrap_or_default();
    let permissions: Vec<&str> = operation
        .pointer("/security/0/bearer")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let needs = if permissions.is_empty() { "any good token".to_owned() } else { permissions.join(", ") };
    let _ = write!(
        html,
        "<section><h2><code>{} {}</code></h2><p>{}</p><p class=\"needs\">Needs {}.</p>",
        escape(&method.to_uppercase()),
        escape(path),
        prose(summary),
        escape(&needs)
    );
    let parameters: Vec<&Value> = operation["parameters"].as_array().into_iter().flatten().collect();
    if !parameters.is_empty() {
        html.push_str("<dl>");
        for parameter in parameters {
            let _ = write!(
                html,
                "<dt><code>{}</code> <small>{}</small></dt><dd>{}</dd>",
                escape(parameter["name"].as_str().unwrap_or_default()),
                escape(parameter["in"].as_str().unwrap_or_default()),
                prose(parameter["description"].as_str().unwrap_or_default())
            );
        }
        html.push_str("</dl>");
    }
    render_body(html, document, operation);
    html.push_str("</section>");
}

/// The members of the body that an operation takes.
fn render_body(html: &mut String, document: &Value, operation: &Value) {
    let schema = operation
        .pointer("/requestBody/content/application~1json/schema/$ref")
        .and_then(Value::as_str)
        .and_then(|reference| document.pointer(reference.strip_prefix('#')?));
    let Some(members) = schema.and_then(|schema| schema.get("properties")?.as_object()) else { return };
    let required: Vec<&str> = schema
        .and_then(|schema| schema.get("required")?.as_array())
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    html.push_str("<p>Takes JSON:</p><dl>");
    for (name, member) in members {
        let needed = if required.contains(&name.as_str()) { "required" } else { "optional" };
        let what = member.get("description").and_then(Value::as_str).unwrap_or_default();
        let _ = write!(html, "<dt><code>{}</code> <small>{needed}</small></dt><dd>{}</dd>", escape(name), prose(what));
    }
    html.push_str("</dl>");
}

/// What stands between backticks is code.
fn prose(text: &str) -> String {
    let parts = text.split('`').enumerate();
    parts.map(|(n, part)| if n % 2 == 1 { format!("<code>{}</code>", escape(part)) } else { escape(part) }).collect()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
