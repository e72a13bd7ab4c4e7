//! What a page says of what was done before it: after a form was carried out, the browser is sent on, and the next page tells.
//!
//! It travels in a cookie of its own, so that no link can put words into the console's mouth.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::parts::Tone;
use crate::http::Problem;

const COOKIE: &str = "__Host-countermark-notice";
/// What is longer was not written here.
const LONGEST: usize = 2_000;

/// Why something was not done, to a person who has a page before him. Programs, to which a problem speaks otherwise, would read again.
pub fn why(problem: &Problem) -> String {
    match problem.reason() {
        "precondition_failed" => {
            "This was changed by somebody else after you opened the page, so nothing was done. What is sent from this \
                                  page now takes the place of that change."
                .to_owned()
        }
        _ => problem.told().detail.clone(),
    }
}

/// What is said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// How it is meant.
    pub tone: Tone,
    /// In a sentence or two.
    pub text: String,
}

impl Notice {
    /// It was done.
    pub fn done(text: impl Into<String>) -> Self {
        Self { tone: Tone::Good, text: text.into() }
    }

    /// Why it was not done.
    pub fn failed(problem: &Problem) -> Self {
        Self { tone: Tone::Bad, text: why(problem) }
    }

    /// The one that a request brings along.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut pairs = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let (_, value) = pairs.find(|(name, value)| *name == COOKIE && value.len() <= LONGEST)?;
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(value).ok()?).ok()
    }

    /// Sends the browser on to a page that says it.
    pub fn on(&self, page: &str) -> Response {
        let value = URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default());
        let mut response = see_other(page);
        let cookie = format!("{COOKIE}={value}; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=60");
        if let Ok(cookie) = HeaderValue::from_str(&cookie) {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
        response
    }

    /// It was said, and is not said again.
    pub fn was_said(response: &mut Response) {
        let cookie = "__Host-countermark-notice=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0";
        response.headers_mut().append(header::SET_COOKIE, HeaderValue::from_static(cookie));
    }
}

/// 303: the browser goes on with a GET of that page.
pub fn see_other(page: &str) -> Response {
    let location = HeaderValue::from_str(page).unwrap_or(HeaderValue::from_static("/console"));
    let headers = [(header::LOCATION, location), (header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    (StatusCode::SEE_OTHER, headers).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_travels_in_its_cookie_and_nothing_else_does() {
        let notice = Notice::done("Disabled on all 3 nodes; \"quoted\" <b>");
        let response = notice.on("/console/users");
        let cookie = response.headers()[header::SET_COOKIE].to_str().unwrap();
        let pair = cookie.split(';').next().unwrap();
        let of = |cookie: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::COOKIE, HeaderValue::from_str(cookie).unwrap());
            Notice::of(&headers)
        };
        assert_eq!(of(&format!("a=b; {pair}; c=d")), Some(notice));
        for bad in ["", "a=b", COOKIE, &format!("{COOKIE}="), &format!("{COOKIE}=e30"), &format!("x{pair}")] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }
}
