//! What anyone would write: `jsonwebtoken::decode` with the usual demands.

use countermark::token::Algorithm;
use jsonwebtoken::{DecodingKey, Validation};
use serde::Deserialize;

use super::signers::{ISSUER, Signer};

#[derive(Debug, Deserialize)]
#[allow(dead_code, reason = "to be read is all that they are for")]
pub struct Claims {
    pub sub: String,
    pub r#gen: u64,
}

pub struct Naive {
    key: DecodingKey,
    validation: Validation,
}

impl Naive {
    pub fn new(signer: &Signer) -> Self {
        let jwk = signer.key.public().jwk();
        let mut validation = Validation::new(match signer.algorithm {
            Algorithm::EdDSA => jsonwebtoken::Algorithm::EdDSA,
            _ => jsonwebtoken::Algorithm::ES256,
        });
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[ISSUER]);
        validation.validate_nbf = true;
        Self { key: DecodingKey::from_jwk(jwk).unwrap(), validation }
    }

    #[allow(clippy::disallowed_methods, reason = "it is measured, and believed by nobody")]
    pub fn decode(&self, token: &str) -> Claims {
        jsonwebtoken::decode(token, &self.key, &self.validation).unwrap().claims
    }
}
