//! From what went wrong to what to do next: the server's problems (RFC 9457), and servers that aren't reached.

use std::error::Error;
use std::io;

use reqwest::header::{LOCATION, RETRY_AFTER};
use reqwest::{Method, StatusCode};
use rustls::CertificateError;
use serde_json::Value;

use super::address::Server;
use super::answer::Failure;
use super::client::RawReply;
use super::connect::Credential;
use super::table::clean;

/// A refusal, as the server words it. Every text is cleaned: it may come from anywhere.
#[derive(Debug)]
pub struct Problem {
    /// The HTTP status.
    pub status: StatusCode,
    /// The machine-readable reason.
    pub reason: Option<String>,
    /// The sentence for people: `detail`, else `title`, else the name of the status.
    pub detail: String,
    errors: Vec<String>,
    retry_after: Option<String>,
    location: Option<String>,
    request_id: Option<String>,
}

impl Problem {
    /// Reads an answer that isn't a success; whatever is missing is made do without.
    pub fn read(raw: &RawReply) -> Self {
        let body: Value = serde_json::from_slice(&raw.body).unwrap_or_default();
        let text = |name: &str| body.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(clean);
        let header = |name| raw.headers.get(name).and_then(|value| value.to_str().ok()).map(clean);
        let errors = body.get("errors").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let detail = text("detail").or_else(|| text("title"));
        Self {
            status: raw.status,
            reason: text("reason"),
            detail: detail.unwrap_or_else(|| format!("the server answered {}", raw.status)),
            errors: errors.iter().filter_map(field_error).collect(),
            retry_after: header(RETRY_AFTER),
            location: header(LOCATION),
            request_id: text("request_id"),
        }
    }

    /// How many seconds the server asks to wait, in words.
    pub fn try_again(&self) -> String {
        match &self.retry_after {
            Some(seconds) if seconds.bytes().all(|byte| byte.is_ascii_digit()) => format!("try again in {seconds} s"),
            _ => "try again in a moment".to_owned(),
        }
    }

    /// The error for the user.
    pub fn into_failure(self, server: &Server, credential: Option<&Credential>) -> Failure {
        let reason = self.reason.as_deref().unwrap_or_default();
        let next = match (self.status.as_u16(), reason) {
            (300..=399, _) => format!(
                "redirections are not followed; name the right server with --server{}",
                self.location.as_ref().map(|to| format!(" (it points at {to})")).unwrap_or_default()
            ),
            (401, _) => return self.not_let_in(server, credential),
            (403, _) => "ask an administrator for a role that has this permission".to_owned(),
            (404, _) => "check the name or id; the matching `list` command shows what there is".to_owned(),
            (405 | 415, _) => "is that really a Countermark server, of the same version? check --server".to_owned(),
            (409, "last_admin") => "make another account admin first".to_owned(),
            (409, "account_disabled") => "enable it first: countermark account enable NAME".to_owned(),
            (409, "role_in_use" | "team_in_use") => {
                "take it from the accounts that have it first: countermark account list --role or --team".to_owned()
            }
            (409 | 412, _) => "look at what is there now, then change or repeat the command".to_owned(),
            (400 | 413 | 422, _) => "change the command and run it again".to_owned(),
            (429, _) => self.try_again(),
            (503, "store_full") => "make room on the store's disk or in its memory first".to_owned(),
            (503, _) => self.try_again(),
            _ => match &self.request_id {
                Some(id) => format!("the server's log has more, under request {id}"),
                None => "the server's log may have more".to_owned(),
            },
        };
        let failure = Failure::new(self.sentence()).next(next);
        if self.status.is_server_error() || self.status == StatusCode::TOO_MANY_REQUESTS {
            failure.passing()
        } else {
            failure
        }
    }

    /// The detail stays as the server wrote it: it may say that a change may or may not have been made.
    fn sentence(&self) -> String {
        let mut sentence = self.detail.clone();
        // Of a single field the detail says it already.
        for error in self.errors.iter().filter(|error| self.detail != **error) {
            sentence.push_str("; ");
            sentence.push_str(error);
        }
        match &self.reason {
            Some(reason) => format!("{sentence} ({}, {reason})", self.status.as_u16()),
            None => format!("{sentence} ({})", self.status.as_u16()),
        }
    }

    fn not_let_in(self, server: &Server, credential: Option<&Credential>) -> Failure {
        let sentence = self.sentence();
        let Some(credential) = credential else {
            return Failure::new(sentence).next(format!("log in with `countermark login --server {server}`"));
        };
        let next = if credential.is_first_admin {
            "name another token with --token-file; if no admin has one left, `countermark recover` makes a new one"
                .to_owned()
        } else {
            format!("log in again with `countermark login --server {server}`, or name another token with --token-file")
        };
        Failure::new(format!("the server did not accept the token from {}: {sentence}", credential.source)).next(next)
    }
}

fn field_error(error: &Value) -> Option<String> {
    let message = clean(error.get("message")?.as_str()?);
    match error.get("field").and_then(Value::as_str) {
        Some(field) => Some(format!("{}: {message}", clean(field))),
        None => Some(message),
    }
}

/// The error for a request that got no answer.
pub fn unreachable(error: &reqwest::Error, server: &Server, method: &Method) -> Failure {
    let perhaps = if method.is_safe() { "" } else { "; the change may or may not have been made" };
    let running = "is it running? scripts/run starts one here; otherwise check --server";
    if let Some(tls) = cause::<rustls::Error>(error) {
        return tls_failure(tls, server);
    }
    // While connecting nothing was sent, so that nothing can have been changed.
    if error.is_timeout() && !error.is_connect() {
        return Failure::new(format!("{server} did not answer in time{perhaps}"))
            .next("is it running and reachable from here? look before you repeat a change")
            .passing();
    }
    match cause::<io::Error>(error).map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionRefused) => {
            return Failure::new(format!("{server} refused the connection")).next(running).passing();
        }
        _ if error.is_dns() => {
            return Failure::new(format!("the name in {server} can't be resolved"))
                .next("check --server for a typing error");
        }
        _ if error.is_connect() => {
            return Failure::new(format!("{server} can't be reached: {}", innermost(error))).next(running).passing();
        }
        _ => {}
    }
    Failure::new(format!("the connection to {server} broke: {}{perhaps}", innermost(error)))
        .next("is it http:// instead of https://, or the other way round? otherwise look before you repeat a change")
        .passing()
}

fn tls_failure(error: &rustls::Error, server: &Server) -> Failure {
    match error {
        // A bad signature is what another CA of the same name looks like: that of an older data directory, for example.
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            Failure::new(format!("the certificate of {server} comes from a CA that is not trusted here"))
                .next("name its CA with --ca-file FILE (a local server keeps it in data/tls/ca.pem)")
        }
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => Failure::new(format!("the certificate of {server} is for another name"))
            .next("use a name that the certificate has, or serve with --public-name NAME"),
        rustls::Error::InvalidMessage(_) => {
            Failure::new(format!("{server} does not speak TLS")).next("a plain listener on loopback is http://…")
        }
        other => Failure::new(format!("no secure connection to {server}: {other}"))
            .next("check the server's certificate, --ca-file, and both machines' clocks"),
    }
}

/// The first cause of a kind. What an `io::Error` wraps is not its `source`, so it is asked separately.
fn cause<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut current = Some(error);
    while let Some(error) = current {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(found) = wrapped.and_then(|wrapped| cause::<E>(wrapped as &(dyn Error + 'static))) {
            return Some(found);
        }
        current = error.source();
    }
    None
}

fn innermost(error: &reqwest::Error) -> String {
    let mut innermost: &dyn Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    clean(&innermost.to_string())
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use serde_json::json;

    use super::*;

    fn sentence(detail: &str, errors: &Value) -> String {
        let body = json!({ "reason": "invalid_field", "detail": detail, "errors": errors }).to_string().into_bytes();
        Problem::read(&RawReply { status: StatusCode::UNPROCESSABLE_ENTITY, headers: HeaderMap::new(), body })
            .sentence()
    }

    #[test]
    fn what_is_wrong_with_a_field_is_said_once() {
        let role = json!({ "field": "role", "message": "there is none" });
        let months = json!({ "field": "months", "message": "6, 12 or 24" });
        assert_eq!(sentence("role: there is none", &json!([role])), "role: there is none (422, invalid_field)");
        assert_eq!(
            sentence("several", &json!([role, months])),
            "several; role: there is none; months: 6, 12 or 24 (422, invalid_field)"
        );
    }
}
