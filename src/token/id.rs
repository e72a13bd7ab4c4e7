use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use aws_lc_rs::{constant_time, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::clock::{NoRandomness, random};
use crate::name::Invalid;

/// The `jti` of a token: 128 random bits, base64url. A secret of the holder: whoever steals the signing key still can't
/// make a token of a living generation without it (K4). It is never shown; a token is named by its [`TokenId`].
#[derive(Clone)]
pub struct Jti(Zeroizing<String>);

impl Jti {
    /// A new one from the operating system's random source.
    pub fn random() -> Result<Self, NoRandomness> {
        Ok(Self(Zeroizing::new(URL_SAFE_NO_PAD.encode(random::<16>()?))))
    }

    pub(super) fn expose(&self) -> &str {
        &self.0
    }

    /// The name of the token that has it.
    pub fn token_id(&self) -> TokenId {
        TokenId::of_jti(&self.0)
    }
}

impl fmt::Debug for Jti {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Jti(…)")
    }
}

/// The name of a token: the first 16 bytes of SHA-256 over the ASCII of its `jti`, 32 digits of lower-case hex outside.
#[derive(Clone, Copy, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "server", schema(value_type = String, pattern = "^[0-9a-f]{32}$"))]
pub struct TokenId([u8; 16]);

impl TokenId {
    /// The name of the token with this `jti`.
    pub fn of_jti(jti: &str) -> Self {
        let mut id = [0; 16];
        for (to, from) in id.iter_mut().zip(digest::digest(&digest::SHA256, jti.as_bytes()).as_ref()) {
            *to = *from;
        }
        Self(id)
    }

    /// The id in 22 characters of base64url, as it lies in the store.
    pub(crate) fn packed(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// Reads what [`packed`](Self::packed) writes.
    pub(crate) fn unpacked(text: &str) -> Result<Self, Invalid> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| Invalid::new("a packed token id is 22 characters of base64url"))
    }

    /// As it is shown, without a formatter: it stands in every event and every answer to a gateway.
    pub(crate) fn encode<'a>(&self, buffer: &'a mut [u8; 32]) -> &'a str {
        // As a UUID without hyphens is spelt: quicker than digit by digit.
        Uuid::from_bytes(self.0).simple().encode_lower(buffer)
    }
}

/// In constant time: how much of an id was right must not show in how long the answer takes.
impl PartialEq for TokenId {
    fn eq(&self, other: &Self) -> bool {
        constant_time::verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl Hash for TokenId {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.0.hash(hasher);
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.encode(&mut [0; 32]))
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for TokenId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let wrong = || Invalid::new("a token id is 32 digits of lower-case hex");
        if text.len() != 32 || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(wrong());
        }
        Ok(Self(u128::from_str_radix(text, 16).map_err(|_| wrong())?.to_be_bytes()))
    }
}

impl Serialize for TokenId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TokenId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_the_head_of_the_hash() {
        // printf abc | sha256sum
        assert_eq!(TokenId::of_jti("abc").to_string(), "ba7816bf8f01cfea414140de5dae2223");
        assert_eq!("ba7816bf8f01cfea414140de5dae2223".parse::<TokenId>().unwrap(), TokenId::of_jti("abc"));
        for bad in ["", "BA7816BF8F01CFEA414140DE5DAE2223", "+a7816bf8f01cfea414140de5dae2223", "ba"] {
            assert!(bad.parse::<TokenId>().is_err());
        }
    }

    #[test]
    fn a_jti_does_not_show() {
        let jti = Jti::random().unwrap();
        assert_eq!(jti.expose().len(), 22);
        assert!(!format!("{jti:?}").contains(jti.expose()));
    }
}
