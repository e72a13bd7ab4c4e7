//! The layer for `tower` services: it lets in who shows a good token, and records each call with what the API answered.
//!
//! # Around a service
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::net::SocketAddr;
//!
//! use axum::extract::ConnectInfo;
//! use axum::routing::get;
//! use axum::{Extension, Router};
//! use countermark::{Verified, Verifier};
//!
//! let verifier = Verifier::builder("https://tokens.example.com").redis("redis://127.0.0.1").start().await?;
//! let layer = verifier.layer().peer(|extensions| {
//!     extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(address)| address.ip())
//! });
//! let app = Router::new()
//!     .route("/whoami", get(|Extension(who): Extension<Verified>| async move { who.username().to_string() }))
//!     .layer(layer);
//!
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//! axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>())
//!     .with_graceful_shutdown(async { tokio::signal::ctrl_c().await.unwrap_or_default() })
//!     .await?;
//! // After the last call: it says goodbye, and writes the events that wait.
//! verifier.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! A service need not be axum's: it is any of `http` requests and responses, whatever their bodies. It finds [`Verified`] in the
//! extensions of a request that was let in, and the request's id in `X-Request-Id`: the caller's own where that is sane, else a new
//! one. The `Authorization` header is taken away, so that no token gets into a log, or to another service, behind the layer.
//! The same layer around a service that has it already lets pass what the outer one has let in.
//!
//! # A permission for a part of it
//!
//! [`require`] asks for a permission that somebody has by his default role. It belongs inside of the layer: in axum, where
//! the last `.layer(…)` is the outermost, it is written further up.
//!
//! ```no_run
//! # async fn example(verifier: countermark::Verifier) -> Result<(), Box<dyn std::error::Error>> {
//! use axum::Router;
//! use axum::routing::post;
//! use countermark::layer::require;
//!
//! let app: Router = Router::new()
//!     .route("/deployments", post(|| async { "deployed" }).layer(require("deployments:create".parse()?)))
//!     .layer(verifier.layer());
//! # Ok(())
//! # }
//! ```
//!
//! # A permission in a team
//!
//! Whose team it is stands in the path, or in the body: then a handler asks [`authorize`], or an extractor for it, so that none is
//! without:
//!
//! ```no_run
//! use std::collections::BTreeMap;
//!
//! use axum::body::Body;
//! use axum::extract::{FromRequestParts, Path};
//! use axum::http::request::Parts;
//! use axum::response::{IntoResponse, Response};
//! use countermark::Verified;
//! use countermark::layer::authorize;
//!
//! /// Somebody who may deploy in the team that the path names.
//! struct Deployer(Verified);
//!
//! impl<S: Send + Sync> FromRequestParts<S> for Deployer {
//!     type Rejection = Response;
//!
//!     async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
//!         let path = Path::<BTreeMap<String, String>>::from_request_parts(parts, state).await;
//!         let team = path.ok().and_then(|Path(path)| path.get("team")?.parse().ok());
//!         let permission = "deployments:create".parse();
//!         let (Some(team), Ok(permission)) = (team, permission) else {
//!             return Err(axum::http::StatusCode::NOT_FOUND.into_response());
//!         };
//!         authorize(&parts.extensions, &permission, Some(&team)).map(Self).map_err(|denied| denied.response::<Body>())
//!     }
//! }
//! ```
//!
//! # What is answered
//!
//! Whoever is refused gets a problem (RFC 9457) with the member `reason` for programs, a challenge (RFC 6750), and the request's id,
//! as at Countermark's own doors. [`Reason`](crate::verify::Reason) has them all; to outsiders some are one.
//!
//! | status | reason | when |
//! |---|---|---|
//! | 400 | `invalid_request` | two `Authorization` headers, or one of another form; a token in the query: `token` or `access_token` with a value that looks like a JWT (any other is the service's own affair) |
//! | 401 | `missing_token`, `invalid_token`, `superseded`, `expired`, … | the token is not good here, or no longer |
//! | 403 | `insufficient_permission` | [`require`] or [`authorize`]: it is good, and not for this |
//! | 429 | `rate_limited` | too many invalid signatures from this address; `Retry-After` says for how long |
//! | 503 | `store_unavailable` | it can't be known whether the token is good; or there is no room for the event of the call: no audit, no answer. Nothing was begun; `Retry-After` |
//! | 500 | `internal_error` | [`require`] or [`authorize`] with no layer around them: the log says what to do |
//!
//! What the service answers itself goes out as it is, with `X-Request-Id`. Its status is in the event; where the client leaves in the
//! middle, or the service panics, the event has none.
//!
//! # What it does not do
//!
//! - **Addresses**: where calls come from is known to whoever accepts connections, and has to be told: see [`AuthLayer::peer`].
//!   Without, accounts that are restricted to networks are refused, events have no address, all invalid signatures count as one
//!   address' (so that one guesser shuts out the others' mistakes), and `trusted_proxies` are without effect.
//! - **Bound tokens** (`cnf`) are refused: the layer proves no possession. A service that does it by itself asks
//!   [`Verifier::verify`] with the proof.
//! - **CORS**: a browser's preflight has no token, and is answered 401. Put the CORS layer outside of this one.
//! - **What lasts**: a call is decided when it begins. A WebSocket or a stream goes on after its token was revoked; end it by a time
//!   of your own.

mod require;
mod service;

use std::net::IpAddr;
use std::sync::Arc;

use http::Extensions;
use tower_layer::Layer;

pub use require::{Denied, Require, RequireLayer, authorize, require};
pub use service::{Auth, Body};

#[cfg(doc)]
use crate::Verified;
use crate::Verifier;

type Peer = Arc<dyn Fn(&Extensions) -> Option<IpAddr> + Send + Sync>;

/// Puts [`Auth`] around a service. Made by [`Verifier::layer`].
#[derive(Clone)]
pub struct AuthLayer {
    verifier: Verifier,
    peer: Peer,
}

impl std::fmt::Debug for AuthLayer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AuthLayer({:?})", self.verifier)
    }
}

impl Verifier {
    /// The layer that lets in who shows a good token for this API.
    pub fn layer(&self) -> AuthLayer {
        AuthLayer { verifier: self.clone(), peer: Arc::new(|_| None) }
    }
}

impl AuthLayer {
    /// How the address at the other end of the connection is found in a request's extensions: with axum
    /// `|extensions| extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip())`, of a service that is made with
    /// `into_make_service_with_connect_info::<SocketAddr>()`. Where that is one of
    /// [`trusted_proxies`](crate::api_node::Builder::trusted_proxies), the client's own is taken from `X-Forwarded-For`; so those are
    /// without effect where this is not said.
    #[must_use]
    pub fn peer(mut self, peer: impl Fn(&Extensions) -> Option<IpAddr> + Send + Sync + 'static) -> Self {
        self.peer = Arc::new(peer);
        self
    }
}

impl<S> Layer<S> for AuthLayer {
    type Service = Auth<S>;

    fn layer(&self, inner: S) -> Auth<S> {
        Auth::new(inner, self.clone())
    }
}
