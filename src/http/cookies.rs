//! The cookies of people who sign in (RFC 6265bis), and what shows that a request that came with them was meant by their owner.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use chrono::TimeDelta;

use super::problem::Problem;
use crate::authority::KNOWN_FOR;
use crate::session::Secret;

/// The secret of a session. The prefix makes browsers refuse one that another host, a path or plain HTTP would set.
pub const SESSION: &str = "__Host-countermark";
/// What a browser is known by that somebody has signed in with.
pub const DEVICE: &str = "__Host-countermark-device";
/// Where programs that come with a session show that they were given its pages.
pub static FORM_TOKEN: HeaderName = HeaderName::from_static("x-countermark-form");
static FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// A secret in a cookie. What is none of ours is none; nor are two of them.
pub fn secret(headers: &HeaderMap, name: &str) -> Option<Secret> {
    let mut found = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(';'))
        .filter_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='));
    match (found.next(), found.next()) {
        (Some(value), None) => value.parse().ok(),
        _ => None,
    }
}

/// Sets what a browser is known by.
pub fn device(secret: &Secret) -> Result<HeaderValue, Problem> {
    set(DEVICE, secret, Some(KNOWN_FOR))
}

/// Sets a cookie that scripts can't read, for as long as the browser runs or for so long.
pub fn set(name: &str, secret: &Secret, keep_for: Option<TimeDelta>) -> Result<HeaderValue, Problem> {
    let age = keep_for.map_or_else(String::new, |age| format!("; Max-Age={}", age.num_seconds()));
    sensitive(&format!("{name}={}; Path=/; Secure; HttpOnly; SameSite=Lax{age}", secret.expose()))
}

/// Removes a cookie.
pub fn remove(name: &str) -> Result<HeaderValue, Problem> {
    sensitive(&format!("{name}=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0"))
}

fn sensitive(text: &str) -> Result<HeaderValue, Problem> {
    let mut value = HeaderValue::from_str(text).map_err(|_| Problem::internal("a cookie"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// What every form of a session's pages holds. No other site can know it.
pub fn form_token(session: &Secret) -> String {
    session.derived("form")
}

/// Whether a form token is that of a session.
pub fn is_form_token(session: &Secret, shown: &str) -> bool {
    verify_slices_are_equal(form_token(session).as_bytes(), shown.as_bytes()).is_ok()
}

/// 403 where a browser says that another site sent this, or can't say that ours did.
///
/// `Sec-Fetch-Site` (Fetch Metadata) is told by all browsers of today; where it is missing, `Origin` must name the host that was
/// asked, and TLS: browsers keep these cookies for nothing else.
pub fn same_origin(parts: &Parts) -> Result<(), Problem> {
    let headers = &parts.headers;
    let is_ours = match (one(headers, &FETCH_SITE), one(headers, &header::ORIGIN)) {
        (Some(site), _) => site == "same-origin",
        (None, Some(origin)) => {
            let host = parts.uri.authority().map(|authority| authority.as_str());
            let host = host.or_else(|| one(headers, &header::HOST));
            let named = origin.strip_prefix("https://");
            named.is_some() && named.map(str::to_ascii_lowercase) == host.map(str::to_ascii_lowercase)
        }
        (None, None) => false,
    };
    if is_ours { Ok(()) } else { Err(cross_site()) }
}

/// A header that is there once.
fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

/// Whether a request of a program, which came with a session, was meant by its owner: what changes nothing is; anything else has to
/// come from our origin and show the form token.
pub fn is_meant(parts: &Parts, session: &Secret) -> Result<(), Problem> {
    if matches!(parts.method, Method::GET | Method::HEAD) {
        return Ok(());
    }
    same_origin(parts)?;
    let shown = one(&parts.headers, &FORM_TOKEN).unwrap_or_default();
    if is_form_token(session, shown) { Ok(()) } else { Err(cross_site()) }
}

/// 403.
pub fn cross_site() -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        "cross_site",
        "this was not sent from a page of this console, or the page is older than the session; open the page anew and send it again",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;

    fn parts(uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().method("POST").uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_cookie_is_found_among_others_and_two_are_none() {
        let one = Secret::random().unwrap();
        let headers = |texts: &[String]| {
            let mut headers = HeaderMap::new();
            for text in texts {
                headers.append(header::COOKIE, HeaderValue::from_str(text).unwrap());
            }
            headers
        };
        let ours = format!("{SESSION}={}", one.expose());
        let found = |texts: &[String]| secret(&headers(texts), SESSION).map(|secret| secret.id());
        assert_eq!(found(&[format!("a=b; {ours}; x=y")]), Some(one.id()));
        assert_eq!(found(&["a=b".into(), ours.clone()]), Some(one.id()));
        for none in
            [vec![], vec![format!("{ours}; {ours}")], vec![ours.clone(), ours.clone()], vec![format!("x{ours}")]]
        {
            assert_eq!(found(&none), None, "{none:?}");
        }
        assert_eq!(found(&[format!("{SESSION}=short")]), None);
        assert_eq!(secret(&headers(&[ours]), DEVICE).map(|secret| secret.id()), None);
    }

    #[test]
    fn only_our_own_origin_may_send_a_form() {
        let at = |headers: &[(&str, &str)]| same_origin(&parts("/console/me", headers)).is_ok();
        assert!(at(&[("sec-fetch-site", "same-origin"), ("origin", "null")]));
        assert!(at(&[("host", "cm.example:8443"), ("origin", "https://cm.example:8443")]));
        assert!(same_origin(&parts("https://cm.example/x", &[("origin", "https://CM.example")])).is_ok());
        for foreign in [
            vec![],
            vec![("host", "cm.example")],
            vec![("host", "cm.example"), ("origin", "null")],
            vec![("host", "cm.example"), ("origin", "https://cm.example.evil")],
            vec![("host", "cm.example"), ("origin", "https://evil")],
            vec![("host", "cm.example"), ("origin", "http://cm.example")],
            vec![("host", "cm.example"), ("origin", "https://cm.example"), ("origin", "https://evil")],
            vec![("host", "cm.example"), ("origin", "https://cm.example"), ("sec-fetch-site", "cross-site")],
            vec![("host", "cm.example"), ("origin", "https://cm.example"), ("sec-fetch-site", "same-site")],
            vec![("sec-fetch-site", "none")],
        ] {
            assert!(!at(&foreign), "{foreign:?}");
        }
    }

    #[test]
    fn what_changes_something_needs_the_form_token_of_its_own_session() {
        let (session, other) = (Secret::random().unwrap(), Secret::random().unwrap());
        let sent =
            |token: &str| parts("/api/v1/self", &[("sec-fetch-site", "same-origin"), ("x-countermark-form", token)]);
        assert!(is_meant(&sent(&form_token(&session)), &session).is_ok());
        for wrong in ["", "x", &form_token(&other), session.expose()] {
            assert!(is_meant(&sent(wrong), &session).is_err(), "{wrong}");
        }
        let foreign = parts("/api/v1/self", &[("x-countermark-form", &form_token(&session))]);
        assert!(is_meant(&foreign, &session).is_err());
    }
}
