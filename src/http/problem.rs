//! The ONE mapping of errors to answers (contract, section 2; RFC 9457, RFC 6750).

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::authority::{Error, FieldError, RevokeError};
use crate::listen::HeadTooLarge;
use crate::node::Refused;
use crate::verify::{Reason, Refusal};

/// The media type of errors.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// An error as it is answered. Rendered by the outermost layer, which knows the request's id.
#[derive(Debug, Clone)]
pub struct Problem(Box<Told>);

#[derive(Debug, Clone)]
struct Told {
    status: StatusCode,
    reason: &'static str,
    detail: String,
    errors: Vec<FieldError>,
    retry_after: Option<Duration>,
    allow: Option<HeaderValue>,
    /// RFC 6750, section 3.
    challenge: Option<Challenge>,
    /// What only the log may know.
    cause: Option<String>,
}

#[derive(Debug, Clone, Copy)]
enum Challenge {
    /// No `error`: there was no token.
    Plain,
    /// `Bearer` with this error code.
    Bearer(&'static str),
    /// A bad HTTP Basic credential gets a `Basic` challenge.
    Basic,
}

/// The body of an error.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ProblemBody<'a> {
    /// A URN that names the kind of error.
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    kind: String,
    /// Its short title.
    #[schema(value_type = String)]
    title: &'a str,
    /// The status again.
    status: u16,
    /// What is wrong here, and what to do.
    #[schema(value_type = String)]
    detail: &'a str,
    /// The same for programs.
    #[schema(value_type = String)]
    reason: &'a str,
    /// The id of the request.
    #[schema(value_type = String)]
    request_id: &'a str,
    /// The fields that are wrong; only with the reason `invalid_field`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<FieldError>>)]
    errors: Option<&'a [FieldError]>,
    /// The error code of RFC 6749, section 5.2, where an OAuth client expects one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    error: Option<&'a str>,
}

impl Problem {
    fn new(status: StatusCode, reason: &'static str, detail: impl Into<String>) -> Self {
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

    /// 404, for paths that are nobody's.
    pub fn no_such_path() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "there is nothing at this path; /docs lists what there is")
    }

    /// 405.
    pub fn method_not_allowed(method: &Method) -> Self {
        // A method may be anything that a client makes up; only known ones are repeated.
        let known =
            [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::HEAD, Method::OPTIONS];
        let named = if known.contains(method) { method.as_str() } else { "this method" };
        let detail = format!("{named} is not possible here; the Allow header says what is");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
    }

    /// 400, no JSON.
    pub fn invalid_json(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_json", detail)
    }

    /// 422.
    pub fn invalid_field(field: impl Into<String>, message: impl Into<String>) -> Self {
        Error::field(field, message).into()
    }

    /// 413.
    pub fn too_large(limit: usize) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", format!("a body has at most {limit} bytes"))
    }

    /// 431.
    pub fn head_too_large(most: HeadTooLarge) -> Self {
        let HeadTooLarge { bytes, fields } = most;
        let detail = format!("a request line and its headers have at most {bytes} bytes, in at most {fields} headers");
        Self::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "head_too_large", detail)
    }

    /// 408.
    pub fn too_slow() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", "the body did not arrive in time")
    }

    /// 415.
    pub fn media_type(wanted: &str) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", format!("send the body as {wanted}"))
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

    /// 500. The cause goes to the log, never outside.
    pub fn internal(cause: impl Into<String>) -> Self {
        Error::Internal(cause.into()).into()
    }

    /// On `/verify` a request that can't be understood is a 401, because nginx turns a 400 into a 500.
    pub fn for_gateway(mut self) -> Self {
        if !matches!(
            self.0.status,
            StatusCode::UNAUTHORIZED
                | StatusCode::FORBIDDEN
                | StatusCode::TOO_MANY_REQUESTS
                | StatusCode::SERVICE_UNAVAILABLE
        ) && self.0.status.is_client_error()
        {
            self.0.status = StatusCode::UNAUTHORIZED;
            self.0.reason = Reason::InvalidRequest.outside();
            self.0.challenge = Some(Challenge::Bearer("invalid_request"));
        }
        self
    }

    /// For a caller who came with HTTP Basic.
    pub fn for_basic(mut self) -> Self {
        if matches!(self.0.status, StatusCode::UNAUTHORIZED | StatusCode::BAD_REQUEST) {
            self.0.status = StatusCode::UNAUTHORIZED;
            self.0.challenge = Some(Challenge::Basic);
        }
        self
    }

    /// With the `Allow` of the response that it takes the place of.
    pub fn with_allow(mut self, allow: Option<HeaderValue>) -> Self {
        self.0.allow = allow;
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

    fn title(&self) -> &'static str {
        match self.0.status {
            StatusCode::BAD_REQUEST => "The request can't be understood",
            StatusCode::UNAUTHORIZED => "No valid token",
            StatusCode::FORBIDDEN => "Not permitted",
            StatusCode::NOT_FOUND => "Not found",
            StatusCode::METHOD_NOT_ALLOWED => "Method not allowed",
            StatusCode::CONFLICT => "Conflict",
            StatusCode::PRECONDITION_FAILED => "Changed meanwhile",
            StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => "Too large",
            StatusCode::UNSUPPORTED_MEDIA_TYPE => "Unsupported media type",
            StatusCode::UNPROCESSABLE_ENTITY => "Invalid fields",
            StatusCode::TOO_MANY_REQUESTS => "Too many invalid tokens",
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
    pub fn render(&self, request_id: &str, oauth: bool) -> Response {
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
        let mut response = Response::new(Body::from(serde_json::to_vec(&body).unwrap_or_default()));
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
        if let Some(after) = self.0.retry_after {
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
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

impl IntoResponse for Problem {
    /// Carries itself to the outermost layer, which renders it.
    fn into_response(self) -> Response {
        let mut response = self.0.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

fn of_reason(reason: Reason) -> Problem {
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

impl From<RevokeError> for Problem {
    fn from(error: RevokeError) -> Self {
        match error {
            RevokeError::Refused(refused) => refused.into(),
            RevokeError::Failed(error) => error.into(),
        }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let detail = error.to_string();
        let conflict = |reason| Problem::new(StatusCode::CONFLICT, reason, detail.clone());
        match error {
            Error::Refused(refusal) => (&*refusal).into(),
            Error::Lacking(detail) => {
                let mut problem = of_reason(Reason::InsufficientPermission);
                problem.0.detail = detail;
                problem
            }
            Error::Invalid(errors) => {
                let detail = match errors.as_slice() {
                    [one] => format!("{}: {}", one.field, one.message),
                    _ => "several fields are wrong; errors lists them".to_owned(),
                };
                let mut problem = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_field", detail);
                problem.0.errors = errors;
                problem
            }
            Error::NotFound(_) => Self::new(StatusCode::NOT_FOUND, "not_found", detail),
            Error::PreconditionFailed => Self::new(StatusCode::PRECONDITION_FAILED, "precondition_failed", detail),
            Error::Conflict | Error::AuthorChanged | Error::NotCurrent => conflict("conflict"),
            Error::UsernameTaken => conflict("username_taken"),
            Error::LastAdmin => conflict("last_admin"),
            Error::RoleInUse(_) => conflict("role_in_use"),
            Error::TeamInUse(_) => conflict("team_in_use"),
            Error::BuiltIn => conflict("built_in"),
            Error::AccountDisabled => conflict("account_disabled"),
            Error::Full(_) => {
                let mut problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "store_full", detail);
                problem.0.retry_after = Some(Duration::from_secs(10));
                problem
            }
            Error::Unavailable(cause) => {
                let mut problem = Self::not_ready(detail);
                problem.0.cause = Some(cause);
                problem
            }
            // Told apart from what certainly was not done, for programs too.
            Error::Uncertain { cause, .. } => {
                let mut problem = Self::not_ready(detail);
                problem.0.reason = "unconfirmed";
                problem.0.cause = Some(cause);
                problem
            }
            Error::Internal(cause) => {
                let mut problem = Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", detail);
                problem.0.cause = Some(cause);
                problem
            }
        }
    }
}
