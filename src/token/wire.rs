//! JWS compact serialization (RFC 7515, section 7.1), as strict as its strictest reader.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;

use super::{Algorithm, Claims, Jti, KeyError, SigningKey};
use crate::strict_json;

/// The longest token, in characters (contract, section 1). The form limits what a stranger can make a node read.
pub const MAX_TOKEN_LENGTH: usize = 4096;

/// Why a text is not a token, before any key was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FormError {
    /// Longer than [`MAX_TOKEN_LENGTH`].
    TooLarge,
    /// Not three segments of strict base64url, not JSON objects, a duplicate member, a forbidden or missing header, a claim of another shape.
    Malformed,
    /// The `alg` is none of [`Algorithm::ALL`].
    UnsupportedAlgorithm,
}

/// The header: exactly `alg`, `typ` = `at+jwt` and `kid`. Whatever else a header could say (`crit`, `b64`, `jwk`, `jku`,
/// `x5u`, `x5c` …) would have a stranger tell the node how to check him.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The algorithm that it claims; believed only where its key has the same.
    pub algorithm: Algorithm,
    /// The key.
    pub key_id: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHeader {
    alg: String,
    typ: String,
    kid: String,
}

/// A token taken apart, its signature not yet checked.
#[derive(Clone, Copy)]
pub struct Parts<'a> {
    /// What is signed: header, dot, payload.
    pub signed: &'a [u8],
    header: &'a str,
    payload: &'a str,
    /// The signature, base64url, of strict form.
    pub signature: &'a str,
}

/// It is the whole token still, secret and all.
impl fmt::Debug for Parts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Parts(…)")
    }
}

impl<'a> Parts<'a> {
    /// Takes a token apart.
    pub fn of(token: &'a str) -> Result<Self, FormError> {
        if token.len() > MAX_TOKEN_LENGTH {
            return Err(FormError::TooLarge);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(FormError::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(FormError::Malformed)?;
        // A fourth segment would leave a dot in the payload, which is not base64url.
        if decode(signature)?.is_empty() {
            return Err(FormError::Malformed);
        }
        Ok(Self { signed: signed.as_bytes(), header, payload, signature })
    }

    /// Reads the header.
    pub fn header(&self) -> Result<Header, FormError> {
        let raw: RawHeader = serde_json::from_value(object(self.header)?).map_err(|_| FormError::Malformed)?;
        if raw.typ != "at+jwt" {
            return Err(FormError::Malformed);
        }
        let algorithm = raw.alg.parse().map_err(|_| FormError::UnsupportedAlgorithm)?;
        Ok(Header { algorithm, key_id: raw.kid })
    }

    /// Reads the claims. Believe them after the signature.
    pub fn claims(&self) -> Result<Claims, FormError> {
        Claims::from_json(object(self.payload)?).ok_or(FormError::Malformed)
    }
}

fn decode(segment: &str) -> Result<Vec<u8>, FormError> {
    // Without padding and without loose trailing bits: one byte string has one spelling.
    URL_SAFE_NO_PAD.decode(segment).map_err(|_| FormError::Malformed)
}

fn object(segment: &str) -> Result<Value, FormError> {
    match strict_json::parse(&decode(segment)?) {
        Ok(value @ Value::Object(_)) => Ok(value),
        _ => Err(FormError::Malformed),
    }
}

fn signed_text(claims: &Claims, jti: &Jti, algorithm: Algorithm, key_id: &str) -> String {
    let header = format!(r#"{{"alg":"{algorithm}","typ":"at+jwt","kid":"{key_id}"}}"#);
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims.to_json(jti)))
}

/// Makes the token.
pub fn encode(claims: &Claims, jti: &Jti, key: &SigningKey) -> Result<String, KeyError> {
    let public = key.public();
    let mut token = signed_text(claims, jti, public.algorithm(), public.key_id());
    let signature = key.sign(token.as_bytes())?;
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    Ok(token)
}

/// How long the token with these claims would be under any key in use (signatures of up to 4,096 bits), in characters.
pub fn encoded_length(claims: &Claims, jti: &Jti) -> usize {
    signed_text(claims, jti, Algorithm::RS256, &"k".repeat(43)).len() + 1 + (512 * 4_usize).div_ceil(3)
}
