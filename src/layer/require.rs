use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Extensions, Request, Response};
use http_body_util::{Either, Full};
use tower_layer::Layer;
use tower_service::Service;

use super::Body;
use crate::name::TeamName;
use crate::node::Call;
use crate::permission::Permission;
use crate::verify::Reason;
use crate::web::Problem;
use crate::{Verified, Verifier};

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
/// He may not, or nobody was let in: then there is no such layer around.
pub fn authorize(
    extensions: &Extensions,
    permission: &Permission,
    team: Option<&TeamName>,
) -> Result<Verified, Denied> {
    let found = (extensions.get::<Verifier>(), extensions.get::<Call>(), extensions.get::<Verified>());
    // Fail closed: without the layer nobody has shown anything.
    let (Some(verifier), Some(call), Some(verified)) = found else {
        return Err(Denied { problem: Reason::MissingToken.into(), request_id: String::new() });
    };
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
    /// The answer: 403 with a problem and a challenge, or 401 where nobody was let in.
    pub fn response<B: From<Vec<u8>>>(&self) -> Response<B> {
        self.problem.render(&self.request_id, false).map(B::from)
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
