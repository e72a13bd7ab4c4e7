//! The two ways in: what gateways ask, which is most of all that is asked, goes straight to its handler, and the rest to the
//! router. Both are observed alike.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::http::{Method, Request, header};
use axum::response::Response;
use axum::{BoxError, Router};
use tower::Service;

use super::edge::Edge;
use super::observe::observed;
use super::verify;

/// What the main listeners serve.
#[derive(Clone)]
pub struct Doors {
    edge: Arc<Edge>,
    router: Router,
}

impl Doors {
    pub(super) fn new(edge: Arc<Edge>, router: Router) -> Self {
        Self { edge, router }
    }
}

/// As a router answers HEAD: all but the body, whose length is told (RFC 9110, section 9.3.2). Over HTTP/2 nobody else sees to it.
fn without_body(answer: Response) -> Response {
    let (mut head, body) = answer.into_parts();
    if let Some(length) = body.size_hint().exact() {
        head.headers.entry(header::CONTENT_LENGTH).or_insert_with(|| length.into());
    }
    Response::from_parts(head, Body::empty())
}

impl<B> Service<Request<B>> for Doors
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // Neither the handler nor a router ever has anything to wait for.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let request = request.map(Body::new);
        if !verify::is_gateway_path(request.uri().path()) {
            return Box::pin(self.router.call(request));
        }
        let edge = Arc::clone(&self.edge);
        let is_head = request.method() == Method::HEAD;
        Box::pin(async move {
            let decided = Arc::clone(&edge);
            let next = async |request, call: &_| verify::verify(&decided, request, call).await;
            let answer = observed(&edge, request, verify::ROUTE, next).await;
            Ok(if is_head { without_body(answer) } else { answer })
        })
    }
}
