//! `token inspect`: what a token says about itself. Nothing is checked and nothing leaves the machine.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::Output;
use super::answer::{Answer, Failure};
use super::json::indent;
use super::secret::BearerToken;
use super::table::{clean, details, plain};
use super::when;

/// Longer input is refused everywhere.
const MAX_TOKEN: usize = 4096;

/// Shows a token.
pub fn run(token: &BearerToken, output: Output, now: DateTime<Utc>) -> Result<Answer, Failure> {
    let Read { header, mut claims } = read(token)?;
    // The `jti` is a secret of the holder; what may be shown is the id made from it.
    let token_id = claims.remove("jti").as_ref().and_then(Value::as_str).map(token_id);
    let expiry = claims.get("exp").and_then(Value::as_i64).and_then(when::from_unix);
    if output == Output::Json {
        let body = json!({
            "verified": false,
            "header": header,
            "claims": claims,
            "token_id": token_id,
            "expires_at": expiry.map(when::rfc3339),
            "expired": expiry.map(|time| time <= now),
        });
        return indent(&body.to_string()).map(Answer::yes);
    }
    let mut lines: Vec<(&str, String)> = header.iter().map(|(name, value)| (name.as_str(), plain(value))).collect();
    lines.push(("token id", token_id.unwrap_or_else(|| "none".to_owned())));
    lines.extend(claims.iter().map(|(name, value)| (name.as_str(), claim(name, value, now))));
    let names: Vec<String> = lines.iter().map(|(name, _)| clean(name)).collect();
    let lines: Vec<(&str, String)> =
        names.iter().map(String::as_str).zip(lines.iter().map(|(_, value)| value.clone())).collect();
    let text = format!("NOT verified: this is only what the token says about itself.\n\n{}", details(&lines));
    Ok(Answer::yes(text))
}

fn claim(name: &str, value: &Value, now: DateTime<Utc>) -> String {
    let time = value.as_i64().and_then(when::from_unix).filter(|_| matches!(name, "exp" | "iat" | "nbf"));
    let Some(time) = time else { return plain(value) };
    let relative = when::relative(time, now);
    match name {
        "exp" if time <= now => format!("{} (expired {relative})", when::rfc3339(time)),
        _ => format!("{} ({relative})", when::rfc3339(time)),
    }
}

struct Read {
    header: Map<String, Value>,
    claims: Map<String, Value>,
}

fn read(token: &BearerToken) -> Result<Read, Failure> {
    let broken = |why: &str| {
        Failure::new(format!("this is not a token: {why}"))
            .next("a token is one line of three parts with dots between them")
    };
    let token = token.reveal();
    if token.len() > MAX_TOKEN {
        return Err(broken("it is longer than 4096 characters"));
    }
    let parts: Vec<&str> = token.split('.').collect();
    let [header, claims, signature] = parts.as_slice() else { return Err(broken("it does not have three parts")) };
    // The signature is not shown, but a token with a broken one is none.
    URL_SAFE_NO_PAD.decode(signature).map_err(|_| broken("its signature is not base64url"))?;
    Ok(Read {
        header: object(header).ok_or_else(|| broken("its header is not a JSON object in base64url"))?,
        claims: object(claims).ok_or_else(|| broken("its claims are not a JSON object in base64url"))?,
    })
}

// No cause is reported: it may quote the token.
fn object(part: &str) -> Option<Map<String, Value>> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

/// The first 16 bytes of SHA-256 over the ASCII of the `jti`, in hex.
fn token_id(jti: &str) -> String {
    digest(&SHA256, jti.as_bytes()).as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const JTI: &str = "c2VjcmV0LW9mLWhvbGRlcg";

    fn token(claims: &Value) -> BearerToken {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = json!({"alg": "ES256", "typ": "at+jwt", "kid": "k\u{1b}1"});
        BearerToken::parse(format!("{}.{}.c2lnbmF0dXJl", part(&header), part(claims))).unwrap()
    }

    fn sample() -> BearerToken {
        token(&json!({"iss": "https://localhost:8443", "sub": "0197", "aud": ["https://localhost:8443"],
            "iat": 1_800_000_000, "exp": 1_813_000_000, "jti": JTI, "role": "deployer", "teams": {"web": "admin"}, "gen": 2}))
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        when::from_unix(seconds).unwrap()
    }

    #[test]
    fn a_token_is_shown_without_its_secrets_and_with_the_word_not_verified() {
        for output in [Output::Table, Output::Json] {
            let answer = run(&sample(), output, at(1_800_000_000)).unwrap();
            assert!(!answer.text.contains(JTI), "{}", answer.text);
            assert!(!answer.text.contains("c2lnbmF0dXJl"));
            assert!(!answer.text.contains('\u{1b}'));
            // printf %s c2VjcmV0LW9mLWhvbGRlcg | sha256sum | head -c 32
            assert!(answer.text.contains("7f16f95e82c2072434c98483800a2aef"), "{}", answer.text);
        }
        let text = run(&sample(), Output::Table, at(1_800_000_000)).unwrap().text;
        assert!(text.contains("NOT verified"));
        assert!(text.contains("2027-06-14T19:06:40Z (in 4 months)"), "{text}");
        assert!(text.contains("web=admin"));
        let json = run(&sample(), Output::Json, at(1_800_000_000)).unwrap().text;
        let json: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["verified"], false);
        assert_eq!(json["expired"], false);
    }

    #[test]
    fn an_expired_token_is_shown_and_said_to_be_expired() {
        let text = run(&sample(), Output::Table, at(1_813_000_000 + 3 * 86_400)).unwrap().text;
        assert!(text.contains("(expired 3 days ago)"), "{text}");
    }

    #[test]
    fn what_is_not_a_token_is_an_error_that_does_not_quote_it() {
        for bad in ["secret", "secret.b.c", "e30.e30.!!!", "e30.W10.c2ln", "e30.e30.c2ln.e30.e30", "e30=.e30.c2ln"] {
            let failure = run(&BearerToken::parse(bad.to_owned()).unwrap(), Output::Table, at(0)).err().unwrap();
            assert!(!failure.to_string().contains("secret"), "{bad}");
        }
        let long = format!("{}.e30.c2ln", "e".repeat(4096));
        let failure = run(&BearerToken::parse(long).unwrap(), Output::Table, at(0)).err().unwrap();
        assert!(failure.to_string().contains("4096"));
    }
}
