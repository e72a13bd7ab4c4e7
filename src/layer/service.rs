use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body_util::{Either, Full};
use tower_service::Service;

use super::AuthLayer;
use crate::Verifier;
use crate::node::{Call, Ending, Full as NotTaken, Permit, Recorded};
use crate::verify::Reason;
use crate::web::credential::Credential;
use crate::web::{Problem, REQUEST_ID, client_address, given_id};

/// The inner service's body, or that of a problem.
pub type Body<B> = Either<B, Full<Bytes>>;

/// Lets in who shows a good token.
#[derive(Clone, Debug)]
pub struct Auth<S> {
    inner: S,
    layer: AuthLayer,
}

impl<S> Auth<S> {
    pub(super) fn new(inner: S, layer: AuthLayer) -> Self {
        Self { inner, layer }
    }
}

impl<S, B, R> Service<Request<B>> for Auth<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
    R: Send + 'static,
{
    type Response = Response<Body<R>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The one that was found ready is the one to be called.
        let next = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, next);
        let layer = self.layer.clone();
        Box::pin(answered(inner, layer, request))
    }
}

/// In the extensions of a request that was let in. Nobody else can make one: a [`Verifier`] that a service passes around in
/// extensions of its own says nothing.
#[derive(Clone)]
pub(super) struct LetIn {
    pub(super) verifier: Verifier,
    pub(super) call: Call,
}

async fn answered<S, B, R>(
    mut inner: S,
    layer: AuthLayer,
    mut request: Request<B>,
) -> Result<Response<Body<R>>, S::Error>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    let verifier = &layer.verifier;
    if request.extensions().get::<LetIn>().is_some_and(|outer| outer.verifier.is(verifier)) {
        // The same layer stands around this one: it has let this call in, and records it.
        return Ok(inner.call(request).await?.map(Either::Left));
    }
    let headers = request.headers();
    let request_id = given_id(headers).map_or_else(|| verifier.request_id(), ToOwned::to_owned);
    let agent = headers.get(header::USER_AGENT).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let peer = (layer.peer)(request.extensions());
    let address = client_address(verifier.trusted_proxies(), peer, headers);
    let (method, path) = (request.method().as_str(), request.uri().path());
    let mut recording =
        Recording { verifier, call: verifier.call(request_id, method, path, address, agent.as_deref()), permit: None };
    let verified = match let_in(&mut recording, headers, request.uri().query()).await {
        Ok(verified) => verified,
        Err(problem) => {
            let ending = if problem.status().is_server_error() {
                Ending::Failed(problem.reason())
            } else {
                Ending::Refused(problem.reason())
            };
            return Ok(recording.refused(&problem, ending).await);
        }
    };
    request.extensions_mut().insert(verified);
    request.extensions_mut().insert(LetIn { verifier: verifier.clone(), call: recording.call.clone() });
    // Nobody behind us has any use for it; and what is not there can't be logged.
    request.headers_mut().remove(header::AUTHORIZATION);
    name(recording.call.request_id(), request.headers_mut());
    let mut response = inner.call(request).await?.map(Either::Left);
    let refused = recording.call.record().refusal == Some(Reason::InsufficientPermission);
    let ending = if refused { Ending::Refused(Reason::InsufficientPermission.as_str()) } else { Ending::Allowed };
    if !recording.may_be_answered(ending, response.status().as_u16()).await {
        response = recording.response_of(&not_recorded());
    }
    name(recording.call.request_id(), response.headers_mut());
    Ok(response)
}

async fn let_in(
    recording: &mut Recording<'_>,
    headers: &HeaderMap,
    query: Option<&str>,
) -> Result<crate::Verified, Problem> {
    let Recording { verifier, call, permit } = recording;
    let not_understood = |problem| {
        verifier.count_refusal(Reason::InvalidRequest);
        problem
    };
    let token = match Credential::of_any_service(headers, query).map_err(not_understood)? {
        Credential::Bearer(token) => token,
        Credential::Missing => {
            call.record().refusal = Some(Reason::MissingToken);
            verifier.count_refusal(Reason::MissingToken);
            return Err(Reason::MissingToken.into());
        }
        Credential::Basic(_) => {
            let problem = Problem::invalid_request("send a bearer token: Authorization: Bearer ...");
            return Err(not_understood(problem));
        }
    };
    // No audit, no answer: there is room for the event before anything is done, or nothing is.
    let reserved = verifier.reserve();
    *permit = Some(reserved.map_err(|_| not_recorded())?);
    verifier.verify(call, token, None, None).await.map_err(Problem::from)
}

/// A call is recorded once, also where its client leaves in the middle: what was decided has its event.
struct Recording<'a> {
    verifier: &'a Verifier,
    call: Call,
    /// Room for its event, until that is written; `None` before there is anything to be recorded.
    permit: Option<Permit>,
}

impl Recording<'_> {
    fn end(&mut self, ending: Ending<'_>, status: Option<u16>) -> Option<Result<Recorded, NotTaken>> {
        let permit = self.permit.take()?;
        let recorded = self.verifier.record(permit, &self.call, ending, status);
        if recorded.is_err() {
            tracing::error!(
                request_id = self.call.request_id(),
                "a call has no event in the audit: it ended too long after the verifier was stopped"
            );
        }
        Some(recorded)
    }

    /// Whether it may be answered so. What is answered too late after the end is, since what was done is done, but in strict mode.
    async fn may_be_answered(&mut self, ending: Ending<'_>, status: u16) -> bool {
        match self.end(ending, Some(status)) {
            Some(Ok(recorded)) => recorded.may_be_answered().await.is_ok(),
            Some(Err(_)) => !self.verifier.is_strict(),
            None => true,
        }
    }

    fn response_of<R>(&self, problem: &Problem) -> Response<Body<R>> {
        problem.render(self.call.request_id(), false).map(|body| Either::Right(Full::from(body)))
    }

    async fn refused<R>(&mut self, problem: &Problem, ending: Ending<'_>) -> Response<Body<R>> {
        let mut response = self.response_of(problem);
        if !self.may_be_answered(ending, response.status().as_u16()).await {
            response = self.response_of(&not_recorded());
        }
        name(self.call.request_id(), response.headers_mut());
        response
    }
}

impl Drop for Recording<'_> {
    fn drop(&mut self) {
        // Nobody waits for the answer any more.
        let _ = self.end(Ending::Allowed, None);
    }
}

fn not_recorded() -> Problem {
    Problem::not_ready("the audit can't be written right now, so nothing is answered; try again")
}

/// Says which request it is, in place of whatever stood there.
pub(super) fn name(request_id: &str, headers: &mut HeaderMap) {
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert(REQUEST_ID.clone(), id);
    }
}
