//! Sessions of people: their secret and their name.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::clock::{NoRandomness, random};
use crate::name::Invalid;
use crate::token::TokenId;

/// Bytes of a secret.
const BYTES: usize = 32;
/// Characters of its text.
const LENGTH: usize = 43;

/// What a browser, or the holder of a link, shows: 256 random bits, 43 characters of base64url. The store knows only its
/// [`SecretId`].
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// A new one from the operating system's random source.
    pub fn random() -> Result<Self, NoRandomness> {
        Ok(Self(Zeroizing::new(URL_SAFE_NO_PAD.encode(random::<BYTES>()?))))
    }

    /// The text itself, for whom it is made.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Its name.
    pub fn id(&self) -> SecretId {
        SecretId(TokenId::of_jti(&self.0))
    }

    /// What is derived from it for one purpose, and says nothing of the secret or of what is derived for another.
    pub fn derived(&self, purpose: &str) -> String {
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, self.0.as_bytes());
        URL_SAFE_NO_PAD.encode(aws_lc_rs::hmac::sign(&key, purpose.as_bytes()))
    }
}

impl FromStr for Secret {
    type Err = Invalid;

    /// Takes what could be one, and nothing else: what is not is not looked for.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let is_one =
            text.len() == LENGTH && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        if is_one { Ok(Self(Zeroizing::new(text.to_owned()))) } else { Err(Invalid::new("not a secret of ours")) }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The name of a secret, made of it as a token's is of its `jti`: the first 16 bytes of SHA-256, 32 digits of lower-case hex.
/// Compared in constant time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(transparent)]
#[schema(value_type = String, pattern = "^[0-9a-f]{32}$")]
pub struct SecretId(TokenId);

/// The name of a session.
pub type SessionId = SecretId;

impl fmt::Display for SecretId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for SecretId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        text.parse().map(Self).map_err(|_| Invalid::new("a session's id is 32 digits of lower-case hex"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_comes_back_from_its_text_and_shows_itself_nowhere() {
        let secret = Secret::random().unwrap();
        let again: Secret = secret.expose().parse().unwrap();
        assert_eq!(again.id(), secret.id());
        assert_eq!(format!("{secret:?}"), "Secret(…)");
        assert_ne!(Secret::random().unwrap().id(), secret.id());
        assert_ne!(secret.derived("one"), secret.derived("other"));
        assert!(!secret.derived("one").contains(secret.expose()));
        assert_eq!(secret.id().to_string().parse::<SecretId>().unwrap(), secret.id());
    }

    #[test]
    fn what_can_be_no_secret_is_none() {
        let secret = Secret::random().unwrap();
        let longer = format!("{}a", secret.expose());
        for text in ["", "a", longer.as_str(), &"=".repeat(43), &"é".repeat(21), &" ".repeat(43)] {
            assert!(text.parse::<Secret>().is_err(), "{text:?}");
        }
    }
}
