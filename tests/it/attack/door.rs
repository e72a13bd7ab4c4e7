//! The doors, and how a token is shown at each.

use axum::body::Body;
use axum::http::{HeaderValue, Request};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countermark::listen::Transport;

use crate::app::Actor;

const FORM: &str = "application/x-www-form-urlencoded";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// Forward auth.
    Verify,
    /// `GET /api/v1/self`.
    Own,
    /// An admin call.
    Accounts,
    /// Introspection, as the caller's credential.
    Caller,
    /// The same by HTTP Basic.
    Basic,
    /// Introspection, as what is asked about.
    Introspect,
    /// In plain text from elsewhere, where whoever reads along may have it too: refused, however good it is.
    Exposed,
    Revoke,
}

impl Door {
    pub const ALL: [Door; 8] = [
        Self::Verify,
        Self::Own,
        Self::Accounts,
        Self::Caller,
        Self::Basic,
        Self::Introspect,
        Self::Exposed,
        Self::Revoke,
    ];

    /// Those where a token stands in the `Authorization` header as it is.
    pub const HEADER: [Door; 4] = [Self::Verify, Self::Own, Self::Accounts, Self::Caller];

    /// Its number, for request ids of one length.
    pub fn number(self) -> usize {
        Self::ALL.iter().position(|door| *door == self).unwrap()
    }

    pub fn takes_bearer(self) -> bool {
        Self::HEADER.contains(&self) || self == Self::Exposed
    }

    /// Whether it asks for Countermark's own audience (contract, section 2).
    pub fn wants_own_audience(self) -> bool {
        matches!(self, Self::Verify | Self::Accounts)
    }

    pub fn method_and_path(self) -> (&'static str, &'static str) {
        match self {
            Self::Verify => ("GET", "/verify"),
            Self::Own | Self::Exposed => ("GET", "/api/v1/self"),
            Self::Accounts => ("GET", "/api/v1/accounts"),
            Self::Caller | Self::Basic | Self::Introspect => ("POST", "/oauth2/introspect"),
            Self::Revoke => ("POST", "/oauth2/revoke"),
        }
    }

    pub fn transport(self) -> Transport {
        if self == Self::Exposed { Transport::Plain } else { Transport::Tls }
    }

    /// A request with this token. `None`: HTTP has no form for that.
    pub fn request(self, asker: &Actor, account: &str, token: &str) -> Option<Request<Body>> {
        let (method, path) = self.method_and_path();
        let request = Request::builder().method(method).uri(path);
        let form = |token: &str| Body::from(format!("token={}", encoded(token)));
        match self {
            Self::Verify | Self::Own | Self::Accounts | Self::Caller | Self::Exposed => {
                let value = HeaderValue::from_bytes(format!("Bearer {token}").as_bytes()).ok()?;
                let request = request.header("authorization", value).header("content-type", FORM);
                let body = if self == Self::Caller { form(asker.token()) } else { Body::empty() };
                request.body(body)
            }
            Self::Basic => {
                let pair = STANDARD.encode(format!("{}:{}", encoded(account), encoded(token)));
                let request = request.header("authorization", format!("Basic {pair}")).header("content-type", FORM);
                request.body(form(asker.token()))
            }
            Self::Introspect => asker.request(method, path).header("content-type", FORM).body(form(token)),
            Self::Revoke => request.header("content-type", FORM).body(form(token)),
        }
        .ok()
    }
}

/// As a form field.
pub fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
