//! `/healthz`, `/readyz`, `/metrics`

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::edge::Edge;
use super::no_store;

/// The process is alive.
pub async fn live() -> Response {
    no_store(axum::Json(json!({ "status": "alive" })))
}

/// Whether it can answer: the store is reachable, a signing key usable, the process not stopping.
pub async fn ready(State(edge): State<Arc<Edge>>) -> Response {
    let checks = edge.readiness().await;
    let ready = checks.iter().all(|(_, result)| result.is_ok());
    let details: Map<String, Value> = checks
        .into_iter()
        .map(|(name, result)| (name.to_owned(), result.map_or_else(Value::from, |()| "ok".into())))
        .collect();
    let body = axum::Json(json!({ "ready": ready, "checks": details, "warnings": edge.warnings() }));
    if ready { no_store(body) } else { no_store((StatusCode::SERVICE_UNAVAILABLE, body)) }
}

/// What is counted, for Prometheus.
pub async fn metrics(State(edge): State<Arc<Edge>>) -> Response {
    let _ = (edge.readiness().await, edge.warnings());
    if let Ok(authority) = edge.authority() {
        authority.measure();
    }
    let media_type = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    ([(header::CONTENT_TYPE, media_type)], edge.metrics.text()).into_response()
}
