//! The layer for `tower` services: it lets in who shows a good token, and records each call with what the API answered.
//!
//! ```no_run
//! # async fn example<S>(service: S, verifier: countermark::Verifier) -> Result<(), Box<dyn std::error::Error>> {
//! use countermark::layer::require;
//! use tower_layer::Layer as _;
//!
//! // Around the whole service: who is it?
//! // And around a part of it, inside: may he do this?
//! let deploying = require("deployments:create".parse()?).layer(service);
//! let service = verifier.layer().layer(deploying);
//! # Ok(())
//! # }
//! ```
//!
//! A request that is let in carries [`Verified`] in its extensions. One that is not is answered 401, 403, 429 or 503 with a problem
//! (RFC 9457) and a challenge (RFC 6750), as Countermark's own doors do it. A service need not know anything of this: it is one of
//! `http` requests and responses, whatever their bodies.
//!
//! Where calls come from is known to whoever accepts connections, and has to be told: see [`AuthLayer::peer`]. Without, accounts that
//! are restricted to networks are refused.

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
    /// `|extensions| extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip())`. Where that is one of
    /// [`trusted_proxies`](crate::api_node::Builder::trusted_proxies), the client's own is taken from `X-Forwarded-For`.
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
