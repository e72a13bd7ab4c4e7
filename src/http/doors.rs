//! The two ways in: what gateways ask, which is most of all that is asked, goes straight to its handler, and the rest to the
//! router. Both are observed alike.

use std::sync::Arc;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::{Method, Request, header};
use axum::response::Response;
use axum::{BoxError, Router};
use hyper::body::Incoming;

use super::edge::Edge;
use super::observe::observed;
use super::verify;
use crate::listen::{Answering, Answers, Arrival, answer_by};

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

    /// Answers a request, whatever its body is.
    pub fn answer<B>(&self, request: Request<B>, arrival: Arrival) -> Answering
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let request = request.map(|body| if body.is_end_stream() { Body::empty() } else { Body::new(body) });
        if !verify::is_gateway_path(request.uri().path()) {
            return answer_by(&self.router, request, arrival);
        }
        let edge = Arc::clone(&self.edge);
        let is_head = request.method() == Method::HEAD;
        Box::pin(async move {
            let decided = Arc::clone(&edge);
            let next = async |request, call: &_| verify::verify(&decided, request, call).await;
            let answer = observed(&edge, request, Some(arrival), verify::ROUTE, next).await;
            if is_head { without_body(answer) } else { answer }
        })
    }
}

impl Answers for Doors {
    type Answer = Answering;

    fn answer(&self, request: Request<Incoming>, arrival: Arrival) -> Answering {
        self.answer(request, arrival)
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
