//! What nobody read of a request's body.
//!
//! In HTTP/2 an answer that comes before the end of the body is followed by a reset of the stream (RFC 9113, section 8.1), in
//! HTTP/1.1 by the end of the connection. That is allowed, and yet clients in use (curl 7.88) throw the answer away and report an
//! error: whoever sends an expired token with a POST would never learn why it is refused. So the rest is read and forgotten
//! first, within limits.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::header;
use http_body_util::BodyExt as _;
use hyper::body::{Frame, SizeHint};

/// Far more than any body that is good for something.
const MOST: usize = 1024 * 1024;
const WITHIN: Duration = Duration::from_secs(1);

/// Where the rest of a body ends up.
#[derive(Default)]
pub(super) struct Leftover(Option<Arc<Mutex<Option<Body>>>>);

impl Leftover {
    /// Of this request. Nothing is to be done for a client that waits to be asked for its body (`Expect: 100-continue`).
    pub(super) fn of(request: Request) -> (Self, Request) {
        if request.body().is_end_stream() || request.headers().contains_key(header::EXPECT) {
            return (Self::default(), request);
        }
        let rest = Arc::default();
        (Self(Some(Arc::clone(&rest))), request.map(|body| Body::new(Kept { body, rest })))
    }

    /// Reads it and forgets it, when its request is no longer needed.
    pub(super) async fn discard(self) {
        let left = self.0.and_then(|rest| rest.lock().unwrap_or_else(PoisonError::into_inner).take());
        let Some(mut body) = left else { return };
        let reading = async {
            let mut read = 0;
            while let Some(Ok(frame)) = body.frame().await {
                read += frame.data_ref().map_or(0, Bytes::len);
                if read > MOST {
                    return;
                }
            }
        };
        // Not in time: then the client gets the reset.
        let _ = tokio::time::timeout(WITHIN, reading).await;
    }
}

/// A body that is handed on when it is dropped.
struct Kept {
    body: Body,
    rest: Arc<Mutex<Option<Body>>>,
}

impl HttpBody for Kept {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if !self.body.is_end_stream() {
            let body = std::mem::take(&mut self.body);
            *self.rest.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
        }
    }
}
