//! What only the service answers: errors of its own doors, and of the authority.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::authority::{Error, RevokeError};
use crate::keyring::StepError;
use crate::listen::HeadTooLarge;
use crate::verify::Reason;
use crate::web::problem::{Challenge, of_reason};
pub use crate::web::problem::{MEDIA_TYPE, Problem, ProblemBody};

impl Problem {
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

    /// With the `Allow` of the response that it takes the place of.
    pub fn with_allow(mut self, allow: Option<HeaderValue>) -> Self {
        self.0.allow = allow;
        self
    }

    /// The whole answer, as axum has it.
    pub fn answer(&self, request_id: &str, oauth: bool) -> Response {
        self.render(request_id, oauth).map(Body::from)
    }
}

/// In the extensions of an answer: a problem that the answer tells of itself, as a form does that is shown again. It is not rendered
/// anew, and recorded all the same.
#[derive(Clone)]
pub struct InPage(pub Problem);

impl IntoResponse for Problem {
    /// Carries itself to the outermost layer, which renders it.
    fn into_response(self) -> Response {
        let mut response = self.0.status.into_response();
        response.extensions_mut().insert(self);
        response
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
            Error::Conflict | Error::AuthorChanged | Error::KeysChanged | Error::NotCurrent => conflict("conflict"),
            Error::UsernameTaken => conflict("username_taken"),
            Error::LastAdmin | Error::LastAdminOfKey => conflict("last_admin"),
            Error::Key(StepError::NoSuchKey) => Self::new(StatusCode::NOT_FOUND, "not_found", detail),
            Error::Key(StepError::TooEarly(_)) => conflict("too_early"),
            Error::Key(StepError::Needed { .. }) => conflict("key_in_use"),
            Error::Key(StepError::TooMany) => conflict("too_many_keys"),
            Error::Key(_) => conflict("key_state"),
            Error::NotConfirmed => conflict("not_confirmed"),
            // Of the machine itself: no door leads there.
            Error::MasterKeyUnderWay | Error::NotTheNewMasterKey => conflict("conflict"),
            Error::KeysUnreadable(cause) => {
                let mut problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "keys_unreadable", detail);
                problem.0.retry_after = Some(Duration::from_secs(10));
                problem.0.cause = Some(cause);
                problem
            }
            Error::TokenAway(cause) => {
                let mut problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "hardware_token_away", detail);
                problem.0.retry_after = Some(Duration::from_secs(10));
                problem.0.cause = Some(cause);
                problem
            }
            Error::Hardware(_) => conflict("hardware_token"),
            Error::RoleInUse(_) => conflict("role_in_use"),
            Error::TeamInUse(_) => conflict("team_in_use"),
            Error::BuiltIn => conflict("built_in"),
            Error::AccountDisabled => conflict("account_disabled"),
            Error::NotAUser => conflict("not_a_user"),
            Error::SignInRefused => Self::new(StatusCode::UNAUTHORIZED, "sign_in_refused", detail),
            Error::LinkGone => Self::new(StatusCode::GONE, "link_gone", detail),
            Error::TooManyTries(wait) => {
                let mut problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", detail);
                problem.0.retry_after = Some(wait);
                problem
            }
            Error::Busy => {
                let mut problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail);
                problem.0.retry_after = Some(Duration::from_secs(5));
                problem
            }
            Error::Full(_) => {
                let mut problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "store_full", detail);
                problem.0.retry_after = Some(Duration::from_secs(10));
                problem
            }
            Error::Journal(cause) => {
                let mut problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "journal_stuck", detail);
                problem.0.retry_after = Some(Duration::from_secs(10));
                problem.0.cause = Some(cause);
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
