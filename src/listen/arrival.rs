use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use hyper::Request;
use hyper::body::Incoming;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tower::Service as _;

use super::places::{Standing, UnderWay};
use super::progress::RequestGuard;

/// An answer on its way.
pub type Answering = Pin<Box<dyn Future<Output = Response> + Send>>;

/// Who answers requests.
pub trait Answers: Send + Sync + 'static {
    /// An answer on its way.
    type Answer: Future<Output = Response> + Send;

    /// Answers one.
    fn answer(&self, request: Request<Incoming>, arrival: Arrival) -> Self::Answer;
}

/// To which a request comes with its [`Arrival`] as an extension.
impl Answers for Router {
    type Answer = Answering;

    fn answer(&self, request: Request<Incoming>, arrival: Arrival) -> Answering {
        answer_by(self, request.map(Body::new), arrival)
    }
}

/// A router's answer.
pub(crate) fn answer_by(router: &Router, mut request: Request<Body>, arrival: Arrival) -> Answering {
    request.extensions_mut().insert(arrival);
    // A router has never anything to wait for, and never fails.
    let answering = router.clone().call(request);
    Box::pin(async { answering.await.unwrap_or_else(|never| match never {}) })
}

/// How a request came.
///
/// It counts until nothing is done for it any more. So whoever goes on when its client has left holds this, and requests which
/// are given up at once are no way around the limits.
#[derive(Clone)]
pub struct Arrival {
    pub(super) origin: Arc<Origin>,
    pub(super) _work: Option<Work>,
    pub(super) too_large: Option<HeadTooLarge>,
}

/// What all requests of a connection have in common.
pub(super) struct Origin {
    pub(super) peer: Peer,
    pub(super) standing: Option<Standing>,
}

/// A request under way.
#[derive(Clone)]
pub(super) struct Work(#[expect(dead_code, reason = "held, not read")] pub(super) Arc<Counted>);

pub(super) type Counted = (RequestGuard, UnderWay, TaskTrackerToken);

impl Arrival {
    /// Where it came from.
    pub fn peer(&self) -> &Peer {
        &self.origin.peer
    }

    /// Set where its head is larger than allowed: then it is to be refused.
    pub fn too_large(&self) -> Option<HeadTooLarge> {
        self.too_large
    }

    /// A live token came with it: its connection is no stranger's any more.
    pub fn prove(&self) {
        if let Some(standing) = &self.origin.standing {
            standing.prove();
        }
    }
}

/// Of a request that takes up no place, as it came by no connection of ours.
impl From<Peer> for Arrival {
    fn from(peer: Peer) -> Self {
        Self { origin: Arc::new(Origin { peer, standing: None }), _work: None, too_large: None }
    }
}

/// The other end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its address (an IPv4 address in IPv6 form is that IPv4 address); `None` on a Unix socket. Not the client's where a
    /// trusted proxy is in between.
    pub address: Option<IpAddr>,
    /// How it came.
    pub transport: Transport,
    /// The address of the listener, as `serve.json` shows it.
    pub listener: Arc<str>,
    /// The name that the client asked for in the TLS handshake (SNI).
    pub server_name: Option<Arc<str>>,
}

/// What protects a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// TLS.
    Tls,
    /// Nothing: plain TCP.
    Plain,
    /// The file permissions of a Unix socket.
    Unix,
}

/// What the head of a request may be.
#[derive(Debug, Clone, Copy)]
pub struct HeadTooLarge {
    /// How many bytes it may have.
    pub bytes: usize,
    /// How many fields.
    pub fields: usize,
}
