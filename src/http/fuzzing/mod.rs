//! What clients send, except tokens.

mod bodies;
mod headers;

pub use bodies::json;
pub use headers::headers;

use axum::http::StatusCode;
use futures_util::FutureExt as _;
use http_body_util::BodyExt as _;
use serde_json::{Map, Value};

use super::problem::Problem;

/// Of which media type, size and wording an answer is that says what is wrong with a request.
fn told(problem: &Problem, statuses: &[StatusCode]) {
    assert!(statuses.contains(&problem.status()), "{problem:?}");
    assert_eq!(problem.cause(), None, "nothing failed in here");
    let answer = problem.answer("id", false);
    let challenged = answer.headers().contains_key("www-authenticate");
    assert_eq!(challenged, problem.reason() == "invalid_request", "{problem:?}");
    let body = answer.into_body().collect().now_or_never().and_then(Result::ok).unwrap_or_default().to_bytes();
    assert!(body.len() < 16_384, "{} bytes", body.len());
    let body: Map<String, Value> = serde_json::from_slice(&body).unwrap_or_default();
    assert_eq!(body.get("status").and_then(Value::as_u64), Some(problem.status().as_u16().into()));
    body.values().for_each(harmless);
}

/// Texts hold nothing that a terminal would obey, and no token.
fn harmless(value: &Value) {
    match value {
        Value::String(text) => {
            assert!(text.chars().count() < 1_500, "{text:?}");
            assert_eq!(crate::audit::printable(text, usize::MAX), *text);
        }
        Value::Array(values) => values.iter().for_each(harmless),
        Value::Object(members) => members.values().for_each(harmless),
        _ => {}
    }
}
