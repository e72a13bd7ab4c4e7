use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Extensions, Request, Response, StatusCode};
use http_body_util::{Either, Full};
use tower_layer::Layer;
use tower_service::Service;

use super::Body;
use super::service::{LetIn, name};
use crate::Verified;
use crate::clock::{Clock as _, SystemClock, uuid_v7};
use crate::name::TeamName;
use crate::permission::Permission;
use crate::web::Problem;

/// Lets in only who has this permission. It belongs inside of [`AuthLayer`](super::AuthLayer), around what needs it.
pub fn require(permission: Permission) -> RequireLayer {
    RequireLayer { permission }
}

/// Who asks [`Verified::allows`] himself would leave the audit without what was asked: this asks, and notes it in the call. For
/// handlers and extractors that know the team only from the path.
///
/// `extensions`: those of a request that an [`AuthLayer`](super::AuthLayer) has let in.
///
/// # Errors
/// He may not. Or nobody was let in, because there is no such layer around: that is the program's fault, which the log tells.
pub fn authorize(
    extensions: &Extensions,
    permission: &Permission,
    team: Option<&TeamName>,
) -> Result<Verified, Denied> {
    let found = (extensions.get::<LetIn>(), extensions.get::<Verified>());
    // Fail closed: without the layer nobody has shown anything.
    let (Some(LetIn { verifier, call }), Some(verified)) = found else { return Err(Denied::nobody_was_let_in()) };
    match verifier.allow(call, verified, permission, team) {
        Ok(()) => Ok(verified.clone()),
        Err(refusal) => Err(Denied { problem: (&refusal).into(), request_id: call.request_id().to_owned() }),
    }
}

/// A refusal, ready to be answered.
#[derive(Debug, Clone)]
pub struct Denied {
    problem: Problem,
    request_id: String,
}

impl Denied {
    /// Not the caller's fault: whatever he sent, nobody has looked at it.
    fn nobody_was_let_in() -> Self {
        let request_id = uuid_v7(SystemClock.now()).to_string();
        tracing::error!(
            request_id,
            "a permission is asked for where no layer has let anybody in: put Verifier::layer around it. In axum that is the \
             `.layer(…)` that is written further down"
        );
        let detail = "something is wrong on our side; the request's id leads to it in the log";
        Self { problem: Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", detail), request_id }
    }

    /// The answer: 403 with a problem and a challenge; 500 where there is no layer around.
    pub fn response<B: From<Vec<u8>>>(&self) -> Response<B> {
        let mut response = self.problem.render(&self.request_id, false).map(B::from);
        name(&self.request_id, response.headers_mut());
        response
    }
}

/// Puts [`Require`] around a service. Made by [`require`].
#[derive(Debug, Clone)]
pub struct RequireLayer {
    permission: Permission,
}

impl<S> Layer<S> for RequireLayer {
    type Service = Require<S>;

    fn layer(&self, inner: S) -> Require<S> {
        Require { inner, permission: self.permission.clone() }
    }
}

/// Lets in only who has a permission, by his default role.
#[derive(Debug, Clone)]
pub struct Require<S> {
    inner: S,
    permission: Permission,
}

impl<S, B, R> Service<Request<B>> for Require<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    R: Send + 'static,
{
    type Response = Response<Body<R>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match authorize(request.extensions(), &self.permission, None) {
            Ok(_) => {
                let answer = self.inner.call(request);
                Box::pin(async move { Ok(answer.await?.map(Either::Left)) })
            }
            Err(denied) => {
                let answer: Response<Vec<u8>> = denied.response();
                Box::pin(std::future::ready(Ok(answer.map(|body| Either::Right(Full::<Bytes>::from(body))))))
            }
        }
    }
}
