//! JWS compact serialization (RFC 7515, section 7.1), as strict as its strictest reader.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{Algorithm, Claimed, Claims, Jti, KeyError, Signer, reading};

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

/// A token taken apart, its signature not yet checked.
pub struct Parts<'a> {
    /// What is signed: header, dot, payload.
    pub signed: &'a [u8],
    header: &'a str,
    payload: &'a str,
    signature: &'a str,
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
        Ok(Self { signed: signed.as_bytes(), header, payload, signature })
    }

    /// Reads the header.
    pub fn header(&self) -> Result<Header, FormError> {
        let text = decode(self.header)?;
        let [algorithm, kind, key_id] = reading::header(&text).ok_or(FormError::Malformed)?;
        if kind != "at+jwt" {
            return Err(FormError::Malformed);
        }
        let algorithm = algorithm.parse().map_err(|_| FormError::UnsupportedAlgorithm)?;
        Ok(Header { algorithm, key_id: key_id.into_owned() })
    }

    /// The payload's text, decoded.
    pub fn payload(&self) -> Result<Payload, FormError> {
        decode(self.payload).map(Payload)
    }

    /// The signature, decoded.
    pub fn signature(&self) -> Result<Vec<u8>, FormError> {
        decode(self.signature).and_then(|bytes| if bytes.is_empty() { Err(FormError::Malformed) } else { Ok(bytes) })
    }
}

/// A payload's text: its `jti` is a secret.
pub struct Payload(Vec<u8>);

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Payload(…)")
    }
}

impl Payload {
    /// Reads the claims. Believe them after the signature.
    pub fn claims(&self) -> Result<Claimed<'_>, FormError> {
        reading::payload(&self.0).ok_or(FormError::Malformed)
    }
}

fn decode(segment: &str) -> Result<Vec<u8>, FormError> {
    // Asked for first, and not as zeros: glibc's `calloc` passes its fast path by.
    let mut bytes = Vec::with_capacity(base64::decoded_len_estimate(segment.len()));
    // Without padding and without loose trailing bits: one byte string has one spelling.
    URL_SAFE_NO_PAD.decode_vec(segment, &mut bytes).map_err(|_| FormError::Malformed)?;
    Ok(bytes)
}

/// The header, as it stands in a token.
pub(super) fn header_segment(algorithm: Algorithm, key_id: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"{algorithm}","typ":"at+jwt","kid":"{key_id}"}}"#))
}

/// Makes the token.
pub fn encode(claims: &Claims, jti: &Jti, key: &dyn Signer) -> Result<String, KeyError> {
    let (header, payload) = (key.public().header(), claims.to_json(jti.expose()));
    let mut token = String::with_capacity(header.len() + 2 + segment_length(payload.len() + LONGEST_SIGNATURE));
    token.push_str(header);
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(payload, &mut token);
    let signature = key.sign(token.as_bytes())?;
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    Ok(token)
}

/// In bytes: of 4,096 bits.
const LONGEST_SIGNATURE: usize = 512;

/// How long the token with these claims would be under any key in use (signatures of up to 4,096 bits), in characters.
pub fn encoded_length(claims: &Claims) -> usize {
    let header = header_segment(Algorithm::RS256, &"k".repeat(43));
    let payload = claims.to_json(&"j".repeat(22));
    header.len() + 1 + segment_length(payload.len()) + 1 + segment_length(LONGEST_SIGNATURE)
}

/// Of so many bytes.
fn segment_length(bytes: usize) -> usize {
    (bytes * 4).div_ceil(3)
}
