//! The ONE mapping of errors to answers (contract, section 2; RFC 9457, RFC 6750).

use std::time::Duration;

use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;

use crate::node::Refused;
use crate::verify::{Reason, Refusal};

/// The media type of errors.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// One field that is wrong, and what it may be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct FieldError {
    /// Its path: `teams.payments`.
    pub field: String,
    /// What is wrong, and what is allowed.
    pub message: String,
}

/// An error as it is answered. Rendered by the outermost layer, which knows the request's id.
#[derive(Debug, Clone)]
pub struct Problem(pub(crate) Box<Told>);

#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) status: StatusCode,
    pub(crate) reason: &'static str,
    pub(crate) detail: String,
    pub(crate) errors: Vec<FieldError>,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) allow: Option<HeaderValue>,
    /// RFC 6750, section 3.
    pub(crate) challenge: Option<Challenge>,
    /// What only the log may know.
    pub(crate) cause: Option<String>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Challenge {
    /// No `error`: there was no token.
    Plain,
    /// `Bearer` with this error code.
    Bearer(&'static str),
    /// A bad HTTP Basic credential gets a `Basic` challenge.
    Basic,
}

/// The body of an error.
#[derive(Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct ProblemBody<'a> {
    /// A URN that names the kind of error.
    #[serde(rename = "type")]
    #[cfg_attr(feature = "server", schema(value_type = String))]
    kind: String,
    /// Its short title.
    #[cfg_attr(feature = "server", schema(value_type = String))]
    title: &'a str,
    /// The status again.
    status: u16,
    /// What is wrong here, and what to do.
    #[cfg_attr(feature = "server", schema(value_type = String))]
    detail: &'a str,
    /// The same for programs.
    #[cfg_attr(feature = "server", schema(value_type = String))]
    reason: &'a str,
    /// The id of the request.
    #[cfg_attr(feature = "server", schema(value_type = String))]
    request_id: &'a str,
    /// The fields that are wrong; only with the reason `invalid_field`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(value_type = Option<Vec<FieldError>>))]
    errors: Option<&'a [FieldError]>,
    /// The error code of RFC 6749, section 5.2, where an OAuth client expects one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(value_type = Option<String>))]
    error: Option<&'a str>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, reason: &'static str, detail: impl Into<String>) -> Self {
        Self(Box::new(Told {
            status,
            reason,
            detail: detail.into(),
            errors: Vec::new(),
            retry_after: None,
            allow: None,
            challenge: None,
            cause: None,
        }))
    }

    /// 400 `invalid_request`: two credentials, a token in the query, an unusable header, plain text.
    pub fn invalid_request(detail: impl Into<String>) -> Self {
        let mut problem = Self::new(StatusCode::BAD_REQUEST, Reason::InvalidRequest.outside(), detail);
        problem.0.challenge = Some(Challenge::Bearer("invalid_request"));
        problem
    }

    /// 503 before there is anything to decide with.
    pub fn not_ready(detail: impl Into<String>) -> Self {
        let mut problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, Reason::StoreUnavailable.outside(), detail);
        problem.0.retry_after = Some(Duration::from_secs(1));
        problem
    }

    /// For a caller who came with HTTP Basic.
    pub fn for_basic(mut self) -> Self {
        if matches!(self.0.status, StatusCode::UNAUTHORIZED | StatusCode::BAD_REQUEST) {
            self.0.status = StatusCode::UNAUTHORIZED;
            self.0.challenge = Some(Challenge::Basic);
        }
        self
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The reason, as told outside.
    pub fn reason(&self) -> &'static str {
        self.0.reason
    }

    /// What only the log may know.
    pub fn cause(&self) -> Option<&str> {
        self.0.cause.as_deref()
    }

    /// What is told of it, for those who write it otherwise than as JSON.
    #[cfg(feature = "server")]
    pub(crate) fn told(&self) -> &Told {
        &self.0
    }

    /// How long to wait, in whole seconds, for `Retry-After`.
    pub(crate) fn retry_after(&self) -> Option<HeaderValue> {
        let after = self.0.retry_after?;
        let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
        Some(HeaderValue::from(seconds.max(1)))
    }

    /// Its short title.
    pub(crate) fn title(&self) -> &'static str {
        match self.0.status {
            StatusCode::BAD_REQUEST => "The request can't be understood",
            StatusCode::UNAUTHORIZED => "No valid token",
            StatusCode::FORBIDDEN => "Not permitted",
            StatusCode::NOT_FOUND => "Not found",
            StatusCode::METHOD_NOT_ALLOWED => "Method not allowed",
            StatusCode::CONFLICT => "Conflict",
            StatusCode::GONE => "No longer there",
            StatusCode::PRECONDITION_FAILED => "Changed meanwhile",
            StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => "Too large",
            StatusCode::UNSUPPORTED_MEDIA_TYPE => "Unsupported media type",
            StatusCode::UNPROCESSABLE_ENTITY => "Invalid fields",
            StatusCode::TOO_MANY_REQUESTS => "Too many requests",
            StatusCode::SERVICE_UNAVAILABLE => "Not available",
            StatusCode::REQUEST_TIMEOUT => "Too slow",
            _ => "Internal error",
        }
    }

    /// The error code of RFC 6749, section 5.2, and RFC 6750, section 3.1, where there is one.
    fn oauth_error(&self) -> Option<&'static str> {
        match (self.0.challenge, self.0.status) {
            (Some(Challenge::Bearer(error)), _) => Some(error),
            (Some(Challenge::Basic | Challenge::Plain), _) => Some("invalid_client"),
            (None, StatusCode::BAD_REQUEST) => Some("invalid_request"),
            _ => None,
        }
    }

    /// The whole answer.
    pub fn render(&self, request_id: &str, oauth: bool) -> Response<Vec<u8>> {
        let body = ProblemBody {
            kind: format!("urn:countermark:problem:{}", self.0.reason),
            title: self.title(),
            status: self.0.status.as_u16(),
            detail: &self.0.detail,
            reason: self.0.reason,
            request_id,
            errors: (!self.0.errors.is_empty()).then_some(&self.0.errors),
            error: self.oauth_error().filter(|_| oauth),
        };
        let mut response = Response::new(serde_json::to_vec(&body).unwrap_or_default());
        *response.status_mut() = self.0.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(challenge) = self.0.challenge {
            let text = match challenge {
                Challenge::Plain => r#"Bearer realm="countermark""#.to_owned(),
                Challenge::Basic => r#"Basic realm="countermark", charset="UTF-8""#.to_owned(),
                Challenge::Bearer(error) => {
                    format!(
                        r#"Bearer realm="countermark", error="{error}", error_description="{}""#,
                        quotable(&self.0.detail)
                    )
                }
            };
            if let Ok(value) = HeaderValue::from_str(&text) {
                headers.insert(header::WWW_AUTHENTICATE, value);
            }
        }
        if let Some(after) = self.retry_after() {
            headers.insert(header::RETRY_AFTER, after);
        }
        if let Some(allow) = &self.0.allow {
            headers.insert(header::ALLOW, allow.clone());
        }
        response
    }
}

/// What RFC 6750, section 3, lets stand in `error_description`: printable ASCII without quotes and backslashes.
fn quotable(text: &str) -> String {
    text.chars().map(|c| if (' '..='~').contains(&c) && !matches!(c, '"' | '\\') { c } else { '\'' }).collect()
}

pub(crate) fn of_reason(reason: Reason) -> Problem {
    let (status, detail) = match reason {
        Reason::MissingToken => (StatusCode::UNAUTHORIZED, "send a token: Authorization: Bearer ..."),
        Reason::InvalidRequest => return Problem::invalid_request("the request's credentials can't be understood"),
        Reason::Malformed
        | Reason::TooLarge
        | Reason::UnsupportedAlgorithm
        | Reason::UnknownKey
        | Reason::BadSignature => (StatusCode::UNAUTHORIZED, "this is not a token of this issuer"),
        Reason::RevokedKey => (StatusCode::UNAUTHORIZED, "the key that signed this token was revoked; get a new token"),
        Reason::WrongIssuer => (StatusCode::UNAUTHORIZED, "this token is of another issuer"),
        Reason::WrongAudience => (StatusCode::UNAUTHORIZED, "this token is not for this API"),
        Reason::Expired => (StatusCode::UNAUTHORIZED, "this token has expired; get a new one"),
        Reason::NotYetValid => (StatusCode::UNAUTHORIZED, "this token was issued in the future; check the clocks"),
        Reason::UnknownAccount => (StatusCode::UNAUTHORIZED, "the account of this token does not exist, or no longer"),
        Reason::Disabled => (StatusCode::UNAUTHORIZED, "the account of this token is disabled"),
        Reason::Superseded => (StatusCode::UNAUTHORIZED, "a newer token exists for this account; use that one"),
        Reason::Revoked => (StatusCode::UNAUTHORIZED, "this token was revoked; get a new one"),
        Reason::BindingMismatch => {
            (StatusCode::UNAUTHORIZED, "this token is bound to a certificate or key that this request does not prove")
        }
        Reason::NetworkNotAllowed => (StatusCode::UNAUTHORIZED, "this token may not be used from this address"),
        Reason::InsufficientPermission => (StatusCode::FORBIDDEN, "this token lacks the permission"),
        Reason::RateLimited => {
            (StatusCode::TOO_MANY_REQUESTS, "too many invalid tokens from this address; wait, and send a valid one")
        }
        Reason::SessionEnded => (StatusCode::UNAUTHORIZED, "the session has ended; sign in again"),
        Reason::StoreUnavailable => {
            (StatusCode::SERVICE_UNAVAILABLE, "whether this token is good can't be known right now; try again")
        }
    };
    let mut problem = Problem::new(status, reason.outside(), detail);
    problem.0.challenge = match (reason, status) {
        (Reason::MissingToken, _) => Some(Challenge::Plain),
        (_, StatusCode::UNAUTHORIZED) => Some(Challenge::Bearer("invalid_token")),
        (_, StatusCode::FORBIDDEN) => Some(Challenge::Bearer("insufficient_scope")),
        _ => None,
    };
    if reason == Reason::StoreUnavailable {
        problem.0.retry_after = Some(Duration::from_secs(1));
    }
    problem
}

impl From<Reason> for Problem {
    fn from(reason: Reason) -> Self {
        of_reason(reason)
    }
}

impl From<&Refusal> for Problem {
    fn from(refusal: &Refusal) -> Self {
        of_reason(refusal.reason)
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let mut problem = of_reason(refused.refusal.reason);
        problem.0.retry_after = refused.retry_after;
        problem
    }
}
