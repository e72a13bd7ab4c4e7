//! Issuer URLs (RFC 8414, section 2), compared as they are written, so that there is one way to write them.
use url::Url;

/// The text is not an issuer URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not an issuer: an https URL without user, query, fragment or a slash at its end, such as https://tokens.example.com"
)]
pub(super) struct NotAnIssuer;

/// Checks an issuer and returns it as it was written.
pub(super) fn check(text: &str) -> Result<String, NotAnIssuer> {
    let url = Url::parse(text).map_err(|_| NotAnIssuer)?;
    let plain = url.scheme() == "https"
        && url.has_host()
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none()
        && !text.ends_with('/');
    // Two spellings of one URL would be two issuers: only the normal one is taken (a lone slash is added by the parser).
    let normal = text == url.as_str() || (url.path() == "/" && url.as_str().strip_suffix('/') == Some(text));
    if plain && normal { Ok(text.to_owned()) } else { Err(NotAnIssuer) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_an_https_url_in_its_normal_spelling() {
        for good in [
            "https://a",
            "https://tokens.example.com",
            "https://localhost:8443",
            "https://a.example/one/two",
            "https://[::1]:1",
        ] {
            assert_eq!(check(good).as_deref(), Ok(good));
        }
        for bad in [
            "",
            "a",
            "http://a",
            "https://",
            "https://a/",
            "https://a/b/",
            "https://a?x",
            "https://a?",
            "https://a#x",
            "https://a#",
            "https://u@a",
            "https://u:p@a",
            "https://A.example",
            "https://a:443",
            "https://a/../b",
            " https://a",
            "https://a\n",
            "https:a",
        ] {
            assert_eq!(check(bad), Err(NotAnIssuer), "{bad}");
        }
    }
}
