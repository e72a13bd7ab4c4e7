//! The outermost layer: every request gets an id, every answer carries it, every error is rendered, every call is recorded,
//! counted and logged, once.

use std::borrow::Cow;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt as _;
use zeroize::Zeroizing;

use super::edge::Edge;
use super::leftover::Leftover;
use super::problem::{InPage, Problem};
use crate::clock::uuid_v7;
use crate::listen::Arrival;
use crate::node::{Call, Ending};
use crate::verify::{Demand, Presenter, Reason};
use crate::web::credential::{Credential, id_and_token};
use crate::web::{REQUEST_ID, given_id};

macro_rules! log {
    ($level:ident, $call:ident, $route:ident, $status:ident, $elapsed_us:ident, $response:ident) => {
        tracing::event!(
            target: "countermark::request",
            tracing::Level::$level,
            request_id = $call.request_id(),
            method = $call.method(),
            route = &*$route,
            status = $status,
            duration_us = $elapsed_us,
            client = $call.client_address().map(|address| address.to_string()),
            account = $call.record().holder.as_ref().map(|holder| holder.account.to_string()),
            reason = $response.extensions().get::<Problem>().map(Problem::reason),
            "request"
        )
    };
}

/// See the module. What may change something is gone through with also when its client has left meanwhile: a change that was
/// sent gets its answer, and every call that was decided its event.
pub async fn observe(State(edge): State<Arc<Edge>>, mut request: Request, next: Next) -> Response {
    let arrival = request.extensions_mut().remove::<Arrival>();
    let matched = request.extensions().get::<MatchedPath>();
    let route = matched.map_or(Cow::Borrowed("none"), |path| Cow::Owned(path.as_str().to_owned()));
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let next = async |mut request: Request, call: &Call| {
        request.extensions_mut().insert(call.clone());
        next.run(request).await
    };
    if reads {
        return observed(&edge, request, arrival, route, next).await;
    }
    let going_through = tokio::spawn(async move { observed(&edge, request, arrival, route, next).await }).await;
    going_through.unwrap_or_else(|_| Problem::internal("a request's task ended").answer("", false))
}

/// What is done around every request; `next` answers it.
pub(super) async fn observed(
    edge: &Edge,
    request: Request,
    arrival: Option<Arrival>,
    route: impl Into<Cow<'static, str>>,
    next: impl AsyncFnOnce(Request, &Call) -> Response,
) -> Response {
    let route = route.into();
    let peer = arrival.as_ref().map(Arrival::peer);
    // A request that its caller named keeps the name.
    let request_id =
        given_id(request.headers()).map_or_else(|| uuid_v7(edge.clock.now()).to_string(), ToOwned::to_owned);
    let client_address = peer.and_then(|peer| edge.client_address(peer, request.headers()));
    let method = request.method().clone();
    let call = {
        let path = request.uri().path();
        let agent = request.headers().get(header::USER_AGENT).map(|value| String::from_utf8_lossy(value.as_bytes()));
        Call::begin(request_id, method.as_str(), path, client_address, agent.as_deref(), edge.clock.as_ref())
    };

    let form = Form::of(request.uri().path());
    let too_large = arrival.as_ref().and_then(Arrival::too_large);
    let (leftover, request) = Leftover::of(request);
    let private = peer.is_some_and(|peer| edge.is_private(peer, request.headers()));
    let answer = if !private {
        let answer = Box::pin(exposed(edge, &call, request.headers(), form)).await.into_response();
        drop(request);
        answer
    } else if let Some(most) = too_large {
        drop(request);
        form.of_refusal(Problem::head_too_large(most)).into_response()
    } else {
        // Boxed, so that it is not copied with each of what goes around it.
        let answering = Box::pin(next(request, &call));
        match AssertUnwindSafe(crate::store::for_one_request(answering)).catch_unwind().await {
            Ok(response) => response,
            Err(panic) => {
                let what = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
                // Only texts that stand in the code: a formatted one could quote a request.
                Problem::internal(format!("panic: {}", what.as_deref().unwrap_or("…"))).into_response()
            }
        }
    };
    if let Some(arrival) = arrival.as_ref().filter(|_| call.shows_a_live_token()) {
        arrival.prove();
    }
    leftover.discard().await;
    let response = finish(edge, &call, &method, form, answer).await;
    let status = response.status().as_u16();
    let elapsed_us = call.elapsed_us(edge.clock.as_ref());
    #[allow(clippy::cast_precision_loss)] // microseconds of one request
    edge.metrics.answered(route.clone(), status, elapsed_us as f64 / 1e6);
    // Of what gateways are answered, the audit tells; a line for each of them would cost more than the answer.
    if route == super::verify::ROUTE && status < 400 {
        log!(DEBUG, call, route, status, elapsed_us, response);
    } else {
        log!(INFO, call, route, status, elapsed_us, response);
    }
    response
}

/// The form that errors have, which depends on who asks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Gateway,
    OAuth,
    Console,
    Ours,
}

impl Form {
    fn of(path: &str) -> Self {
        if super::verify::is_gateway_path(path) {
            Self::Gateway
        } else if path.starts_with("/oauth2/") {
            Self::OAuth
        } else if path == "/console" || path.starts_with("/console/") {
            Self::Console
        } else {
            Self::Ours
        }
    }

    fn of_refusal(self, problem: Problem) -> Problem {
        if self == Self::Gateway { problem.for_gateway() } else { problem }
    }
}

/// A token came in plain text from elsewhere: a clear refusal, never a redirect, and an event.
async fn exposed(edge: &Edge, call: &Call, headers: &HeaderMap, form: Form) -> Problem {
    let problem = Problem::invalid_request(
        "this came in plain text: use https. A token that was sent so must be taken for known to others; generate a new one",
    );
    let problem = form.of_refusal(problem);
    let token = match Credential::of(headers, None) {
        Ok(Credential::Bearer(token)) => Some(Zeroizing::new(token.to_owned())),
        Ok(Credential::Basic(basic)) => id_and_token(basic).ok().map(|(_, token)| token),
        Ok(Credential::Missing) | Err(_) => None,
    };
    let (Some(token), Ok(authority)) = (token, edge.authority()) else { return problem };
    let demand = Demand { audience: None, permission: None, team: None, presenter: Presenter::ThirdParty };
    // Only to know whose it is. It is refused whatever comes out; garbage counts as it does elsewhere.
    match authority.verify(call, &token, &demand).await {
        Err(refused) if refused.refusal.reason == Reason::RateLimited => refused.into(),
        Err(refused) if refused.refusal.holder.is_none() => problem,
        _ => {
            let mut record = call.record();
            record.exposed = true;
            record.refusal = None;
            problem
        }
    }
}

async fn finish(edge: &Edge, call: &Call, method: &Method, form: Form, answer: Response) -> Response {
    let in_page = answer.extensions().get::<InPage>().map(|InPage(problem)| problem.clone());
    let is_told = in_page.is_some();
    let problem =
        in_page.or_else(|| answer.extensions().get::<Problem>().cloned()).or_else(|| foreign(method, &answer));
    if let Some(cause) = problem.as_ref().and_then(Problem::cause) {
        tracing::error!(request_id = call.request_id(), cause, "a request failed");
    }
    let rendered = |problem: &Problem| match form {
        Form::Console => crate::console::problem_page(problem, call.request_id()),
        _ => problem.answer(call.request_id(), form == Form::OAuth),
    };
    let mut response = match &problem {
        Some(problem) => {
            let mut response = if is_told { answer } else { rendered(problem) };
            response.extensions_mut().insert(problem.clone());
            response
        }
        None => answer,
    };
    // Decisions that the one function never saw.
    match problem.as_ref().map(Problem::reason) {
        Some("missing_token") => edge.metrics.decided(Some(Reason::MissingToken)),
        Some("invalid_request") => edge.metrics.decided(Some(Reason::InvalidRequest)),
        _ => {}
    }
    let ending = match &problem {
        None => Ending::Allowed,
        Some(problem) if problem.status().is_server_error() => Ending::Failed(problem.reason()),
        Some(problem) => Ending::Refused(problem.reason()),
    };
    // No audit, no answer.
    let recorded = edge.authority().ok().map(|authority| authority.record(call, ending));
    let may_be_answered = match recorded {
        Some(Ok(recorded)) => recorded.may_be_answered().await,
        Some(Err(full)) => Err(full),
        None => Ok(()),
    };
    if may_be_answered.is_err() {
        let problem = Problem::not_ready("the audit can't be written right now, so nothing is answered; try again");
        response = rendered(&problem);
        response.extensions_mut().insert(problem);
    }
    if let Ok(mut value) = HeaderValue::from_str(call.request_id()) {
        // Never the same again: HTTP/2 is to remember what is (RFC 7541, section 6.2.3).
        value.set_sensitive(true);
        response.headers_mut().insert(REQUEST_ID.clone(), value);
    }
    for (name, value) in
        [(header::X_CONTENT_TYPE_OPTIONS, "nosniff"), (header::STRICT_TRANSPORT_SECURITY, "max-age=63072000")]
    {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    // Pages of the console have one of their own.
    response.headers_mut().entry(header::REFERRER_POLICY).or_insert(HeaderValue::from_static("no-referrer"));
    response
}

/// An error that the framework made itself.
fn foreign(method: &Method, answer: &Response) -> Option<Problem> {
    match answer.status() {
        StatusCode::METHOD_NOT_ALLOWED => {
            Some(Problem::method_not_allowed(method).with_allow(answer.headers().get(header::ALLOW).cloned()))
        }
        StatusCode::NOT_FOUND => Some(Problem::no_such_path()),
        status if status.is_client_error() && !answer.headers().contains_key(header::CONTENT_TYPE) => {
            Some(Problem::invalid_request("the request can't be understood"))
        }
        status if status.is_server_error() && status != StatusCode::SERVICE_UNAVAILABLE => {
            Some(Problem::internal("an answer without a problem"))
        }
        _ => None,
    }
}

/// What a call without a credential is noted as.
pub fn note_missing(call: &Call) -> Problem {
    call.record().refusal = Some(Reason::MissingToken);
    Reason::MissingToken.into()
}
