use std::fmt;
use std::str::FromStr;

use jsonwebtoken::jwk::KeyAlgorithm;
use serde::{Deserialize, Serialize};

use crate::name::Invalid;

/// A signature algorithm (RFC 7518, section 3.1; RFC 8037 for `EdDSA`, with Ed25519). One key has one algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256. The default: everything in use verifies it.
    ES256,
    /// Ed25519.
    EdDSA,
    /// RSASSA-PKCS1-v1_5 with SHA-256, 2048 bits and more.
    RS256,
    /// RSASSA-PSS with SHA-256, 2048 bits and more.
    PS256,
}

impl Algorithm {
    /// All of them, as they are written in headers and configuration.
    pub const ALL: [Algorithm; 4] = [Self::ES256, Self::EdDSA, Self::RS256, Self::PS256];

    /// The `alg` of headers and key sets.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ES256 => "ES256",
            Self::EdDSA => "EdDSA",
            Self::RS256 => "RS256",
            Self::PS256 => "PS256",
        }
    }

    pub(crate) fn in_jwk(self) -> KeyAlgorithm {
        match self {
            Self::ES256 => KeyAlgorithm::ES256,
            Self::EdDSA => KeyAlgorithm::EdDSA,
            Self::RS256 => KeyAlgorithm::RS256,
            Self::PS256 => KeyAlgorithm::PS256,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Algorithm {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.as_str() == text)
            .ok_or_else(|| Invalid::new("an algorithm is one of ES256, EdDSA, RS256, PS256"))
    }
}
