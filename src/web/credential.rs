//! What a caller shows: exactly one credential, in the `Authorization` header (RFC 6750, section 2.1).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue, header};
use zeroize::Zeroizing;

use super::problem::Problem;

/// A credential, unchecked.
pub enum Credential<'a> {
    /// None.
    Missing,
    /// A bearer token.
    Bearer(&'a str),
    /// HTTP Basic, not decoded: most doors don't take it, however good it is.
    Basic(&'a str),
}

impl<'a> Credential<'a> {
    /// Reads it; `query` is looked at for tokens that have no business there.
    pub fn of(headers: &'a HeaderMap, query: Option<&str>) -> Result<Self, Problem> {
        Self::unless_in_query(headers, query, |_| true)
    }

    /// The same in front of somebody else's service, where `token` may mean anything: only what looks like a JWT is refused.
    pub fn of_any_service(headers: &'a HeaderMap, query: Option<&str>) -> Result<Self, Problem> {
        Self::unless_in_query(headers, query, looks_like_a_token)
    }

    fn unless_in_query(
        headers: &'a HeaderMap,
        query: Option<&str>,
        is_token: impl Fn(&str) -> bool,
    ) -> Result<Self, Problem> {
        let stands_in = |query: &str| {
            form_urlencoded::parse(query.as_bytes())
                .any(|(name, value)| matches!(&*name, "access_token" | "token") && is_token(&value))
        };
        if query.is_some_and(stands_in) {
            return Err(Problem::invalid_request(
                "a token in the query ends up in logs: send it in the Authorization header, and generate a new one",
            ));
        }
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let value = match (values.next(), values.next()) {
            (None, _) => return Ok(Self::Missing),
            // Some gateways send the header empty where there is nothing to pass on.
            (Some(value), None) if value.is_empty() => return Ok(Self::Missing),
            (Some(value), None) => value,
            (Some(_), Some(_)) => {
                return Err(Problem::invalid_request("there are two Authorization headers; send one"));
            }
        };
        let text = ascii(value).ok_or_else(unusable)?;
        let (scheme, rest) = text.split_once(' ').ok_or_else(unusable)?;
        let rest = rest.trim_start_matches(' ');
        if rest.is_empty() || memchr::memchr3(b' ', b',', b'\t', rest.as_bytes()).is_some() {
            return Err(unusable());
        }
        if scheme.eq_ignore_ascii_case("bearer") {
            Ok(Self::Bearer(rest))
        } else if scheme.eq_ignore_ascii_case("basic") {
            Ok(Self::Basic(rest))
        } else {
            Err(unusable())
        }
    }
}

/// As [`HeaderValue::to_str`], which looks at one character after the other: a token has hundreds of them.
fn ascii(value: &HeaderValue) -> Option<&str> {
    // Of control characters only a tab can stand in a header's value.
    std::str::from_utf8(value.as_bytes()).ok().filter(|text| text.is_ascii())
}

/// Three parts of base64url, the first of which begins as JSON objects do.
fn looks_like_a_token(value: &str) -> bool {
    let is_part =
        |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    value.starts_with("eyJ") && value.split('.').count() == 3 && value.split('.').all(is_part)
}

fn unusable() -> Problem {
    Problem::invalid_request("the Authorization header must be: Bearer, a space, and the token")
}

/// What HTTP Basic holds (RFC 7617): account id and token.
pub fn id_and_token(basic: &str) -> Result<(Zeroizing<String>, Zeroizing<String>), Problem> {
    halves(basic).ok_or_else(|| unusable().for_basic())
}

fn halves(basic: &str) -> Option<(Zeroizing<String>, Zeroizing<String>)> {
    let bytes = Zeroizing::new(STANDARD.decode(basic).ok()?);
    let pair = Zeroizing::new(String::from_utf8(bytes.to_vec()).ok()?);
    let (id, secret) = pair.split_once(':')?;
    // OAuth clients encode both halves as form fields first (RFC 6749, section 2.3.1), of which each is one.
    let decoded = |half: &str| {
        let field = Zeroizing::new(format!("x={}", half.replace('+', "%2B").replace('&', "%26")));
        form_urlencoded::parse(field.as_bytes()).next().map(|(_, value)| Zeroizing::new(value.into_owned()))
    };
    Some((decoded(id)?, decoded(secret)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[&str], query: Option<&str>) -> Result<Credential<'static>, Problem> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        Credential::of(Box::leak(Box::new(headers)), query)
    }

    #[test]
    fn exactly_one_credential_is_taken() {
        assert!(matches!(of(&[], None), Ok(Credential::Missing)));
        for good in ["Bearer abc", "bearer abc", "BEARER   abc"] {
            assert!(matches!(of(&[good], None), Ok(Credential::Bearer("abc"))));
        }
        for bad in [
            "Bearer",
            "Bearer ",
            "abc",
            "Digest abc",
            "Bearer a b",
            "Bearer a,b",
            "Bearer a\tb",
            "Bearer a, Bearer b",
            "Bearer ä",
        ] {
            assert!(of(&[bad], None).is_err(), "{bad}");
        }
        assert!(of(&["Bearer a", "Bearer b"], None).is_err());
        assert!(of(&["Bearer a"], Some("access_token=b")).is_err());
        assert!(of(&[], Some("x=1&access%5ftoken=b")).is_err());
        assert!(of(&["Bearer a"], Some("permission=a:b")).is_ok());
    }

    #[test]
    fn in_front_of_another_service_a_query_may_name_other_tokens() {
        let headers = HeaderMap::new();
        let of = |query: &str| Credential::of_any_service(&headers, Some(query));
        for fine in
            ["token=abc", "token", "access_token=eyJ.b", "token=a.b.c", "token=eyJh.b.", "token=eyJ.b+.c", "t=eyJh.b.c"]
        {
            assert!(matches!(of(fine), Ok(Credential::Missing)), "{fine}");
        }
        for bad in ["token=eyJh.b-_.c", "x=1&access%5ftoken=eyJh%2Eb.c", "token=a&token=eyJh.b.c"] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn both_halves_of_basic_may_be_form_encoded() {
        for (pair, id, token) in [
            ("0189%2D0a5d:ey%5F%2Ex", "0189-0a5d", "ey_.x"),
            ("a:b:c", "a", "b:c"),
            ("a+b:c&d=e", "a+b", "c&d=e"),
            ("a&b:", "a&b", ""),
        ] {
            let Ok(Credential::Basic(basic)) = of(&[&format!("Basic {}", STANDARD.encode(pair))], None) else {
                panic!("no Basic")
            };
            let (found_id, found_token) = id_and_token(basic).unwrap();
            assert_eq!((found_id.as_str(), found_token.as_str()), (id, token), "{pair}");
        }
        for bad in ["!", "OjpB=", "bm8gY29sb24=", "/zr/"] {
            assert!(id_and_token(bad).is_err(), "{bad}");
        }
    }
}
