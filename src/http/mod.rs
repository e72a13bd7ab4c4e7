//! All routes and layers on one screen. Handlers translate and never decide: extract, one call of the authority, answer.

mod accounts;
mod answers;
pub(crate) mod audit;
pub(crate) mod cookies;
mod docs;
mod doors;
mod edge;
pub(crate) mod extract;
#[cfg(any(feature = "fuzzing", test))]
pub(crate) mod fuzzing;
mod health;
mod keys;
mod leftover;
mod nodes;
mod oauth;
mod observe;
mod overview;
pub(crate) mod permissions;
mod problem;
mod roles;
mod sessions;
mod still_allowed;
mod tail;
mod teams;
mod tokens;
mod users;
mod verify;
mod well_known;

use std::sync::Arc;

use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use utoipa::OpenApi as _;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use doors::Doors;
pub use edge::{Edge, NamedDemand};
pub use permissions::*;
pub use problem::{InPage, Problem};

use crate::epoch::Epoch;

/// What the main listeners serve.
pub fn service(edge: Arc<Edge>) -> Doors {
    Doors::new(Arc::clone(&edge), router(edge))
}

fn router(edge: Arc<Edge>) -> Router {
    let administration = OpenApiRouter::new()
        .routes(routes!(accounts::create, accounts::list))
        .routes(routes!(accounts::show, accounts::update, accounts::delete))
        .routes(routes!(tokens::regenerate, tokens::revoke))
        .routes(routes!(audit::activity))
        .routes(routes!(audit::usage))
        .routes(routes!(tokens::show_self))
        .routes(routes!(tokens::renew))
        .routes(routes!(users::create))
        .routes(routes!(users::password_link))
        .routes(routes!(users::change_own))
        .routes(routes!(sessions::list_own, sessions::end_own))
        .routes(routes!(sessions::end_own_one))
        .routes(routes!(sessions::list, sessions::end))
        .routes(routes!(sessions::end_one))
        .routes(routes!(roles::list))
        .routes(routes!(roles::show, roles::set, roles::delete))
        .routes(routes!(roles::preview))
        .routes(routes!(teams::list))
        .routes(routes!(teams::show, teams::set, teams::delete))
        .routes(routes!(keys::list, keys::prepare))
        .routes(routes!(keys::show))
        .routes(routes!(keys::recount))
        .routes(routes!(keys::activate))
        .routes(routes!(keys::retire))
        .routes(routes!(keys::revoke))
        .routes(routes!(audit::list))
        .routes(routes!(audit::export))
        .routes(routes!(audit::status))
        .routes(routes!(tail::tail))
        .routes(routes!(nodes::list))
        .routes(routes!(overview::show));
    let (administration, openapi) =
        OpenApiRouter::with_openapi(docs::Description::openapi()).nest("/api/v1", administration).split_for_parts();

    administration
        .route("/.well-known/jwks.json", get(well_known::jwks))
        .route("/.well-known/oauth-authorization-server", get(well_known::metadata))
        .route("/.well-known/openid-configuration", get(well_known::metadata))
        .route("/oauth2/introspect", post(oauth::introspect))
        .route("/oauth2/revoke", post(oauth::revoke))
        .route("/healthz", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/api/v1/openapi.json", get(docs::openapi))
        .route("/docs", get(docs::page))
        .merge(crate::console::router())
        .layer(Extension(docs::Pages::of(&answers::with_lifetimes(docs::finished(&openapi), &edge.lifetimes))))
        .fallback(nothing_here)
        .method_not_allowed_fallback(not_this_method)
        .layer(from_fn_with_state(Arc::clone(&edge), observe::observe))
        .with_state(edge)
}

/// What the operations listener serves.
pub fn operations_router(edge: Arc<Edge>) -> Router {
    Router::new()
        .route("/metrics", get(health::metrics))
        .route("/healthz", get(health::live))
        .route("/readyz", get(health::ready))
        .fallback(nothing_here)
        .method_not_allowed_fallback(not_this_method)
        .layer(from_fn_with_state(Arc::clone(&edge), observe::observe))
        .with_state(edge)
}

async fn nothing_here() -> Problem {
    Problem::no_such_path()
}

async fn not_this_method(request: Request) -> Problem {
    Problem::method_not_allowed(request.method())
}

/// An answer that no cache may keep.
fn no_store(body: impl IntoResponse) -> Response {
    let mut response = body.into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The same of something with a version.
fn tagged(version: Epoch, body: impl IntoResponse) -> Response {
    let mut response = no_store(body);
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{version}\"")) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}
