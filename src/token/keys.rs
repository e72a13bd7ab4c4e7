//! Keys: one key has one algorithm, and its id is its thumbprint.

use std::fmt;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
    RsaKeyPair,
};
use jsonwebtoken::jwk::{Jwk, KeyAlgorithm, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{AlgorithmFamily, DecodingKey};
use zeroize::Zeroizing;

use super::Algorithm;

/// What can go wrong with a key. Says nothing of its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A private key could not be made.
    #[error("a key could not be made")]
    Generation,
    /// The bytes are not a private key of that algorithm, or a weak one.
    #[error("not a usable private key of its algorithm")]
    Unusable,
    /// Not a public key of its algorithm, or its id is not its thumbprint.
    #[error("not a usable public key of its algorithm")]
    UnusablePublic,
    /// Signing failed.
    #[error("signing failed")]
    Signing,
}

/// A public key that verifies tokens.
#[derive(Clone)]
pub struct VerificationKey {
    key_id: String,
    algorithm: Algorithm,
    jwk: Jwk,
    decoding: DecodingKey,
}

impl fmt::Debug for VerificationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerificationKey({} {})", self.algorithm, self.key_id)
    }
}

impl VerificationKey {
    /// From the key's own bytes: an uncompressed point, 32 bytes of Ed25519, or a PKCS#1 `RSAPublicKey`.
    fn from_raw(algorithm: Algorithm, raw: &[u8]) -> Result<Self, KeyError> {
        let decoding = match algorithm {
            Algorithm::ES256 => DecodingKey::from_ec_der(raw),
            Algorithm::EdDSA => DecodingKey::from_ed_der(raw),
            Algorithm::RS256 | Algorithm::PS256 => DecodingKey::from_rsa_der(raw),
        };
        let jwk =
            Jwk::from_decoding_key(&decoding, Some(algorithm.in_library())).map_err(|_| KeyError::UnusablePublic)?;
        Self::from_jwk(algorithm, jwk)
    }

    /// From a JWK (RFC 7517). The id is computed, never believed.
    pub fn from_jwk(algorithm: Algorithm, mut jwk: Jwk) -> Result<Self, KeyError> {
        let key_id = jwk.thumbprint(ThumbprintHash::SHA256).map_err(|_| KeyError::UnusablePublic)?;
        let decoding = DecodingKey::from_jwk(&jwk).map_err(|_| KeyError::UnusablePublic)?;
        let family = match algorithm {
            Algorithm::ES256 => AlgorithmFamily::Ec,
            Algorithm::EdDSA => AlgorithmFamily::Ed,
            Algorithm::RS256 | Algorithm::PS256 => AlgorithmFamily::Rsa,
        };
        if decoding.family() != family {
            return Err(KeyError::UnusablePublic);
        }
        jwk.common.key_id = Some(key_id.clone());
        jwk.common.public_key_use = Some(PublicKeyUse::Signature);
        jwk.common.key_algorithm = Some(match algorithm {
            Algorithm::ES256 => KeyAlgorithm::ES256,
            Algorithm::EdDSA => KeyAlgorithm::EdDSA,
            Algorithm::RS256 => KeyAlgorithm::RS256,
            Algorithm::PS256 => KeyAlgorithm::PS256,
        });
        Ok(Self { key_id, algorithm, jwk, decoding })
    }

    /// RFC 7638 SHA-256 thumbprint, base64url.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// The one algorithm of this key.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// As published: `use: sig`, `alg`, `kid`.
    pub fn jwk(&self) -> &Jwk {
        &self.jwk
    }

    /// Whether the signature (base64url) is this key's over the message.
    pub fn verifies(&self, signed: &[u8], signature: &str) -> bool {
        jsonwebtoken::crypto::verify(signature, signed, &self.decoding, self.algorithm.in_library()).unwrap_or(false)
    }
}

enum Pair {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

/// A private key that signs tokens. Parsed once: parsing costs more than signing.
pub struct SigningKey {
    public: VerificationKey,
    pair: Pair,
    #[cfg_attr(not(feature = "server"), allow(dead_code))] // only the service seals keys
    pkcs8: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({} {} …)", self.public.algorithm, self.public.key_id)
    }
}

impl SigningKey {
    /// A new key; RSA keys have 2048 bits.
    pub fn generate(algorithm: Algorithm) -> Result<Self, KeyError> {
        let failed = |_| KeyError::Generation;
        // PKCS#8 v1 throughout: it is what OpenSSL 3.0 and every other reader takes.
        let pkcs8 = match algorithm {
            Algorithm::ES256 => {
                let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(failed)?;
                Zeroizing::new(pair.to_pkcs8v1().map_err(failed)?.as_ref().to_vec())
            }
            Algorithm::EdDSA => {
                let pair = Ed25519KeyPair::generate().map_err(failed)?;
                Zeroizing::new(pair.to_pkcs8v1().map_err(failed)?.as_ref().to_vec())
            }
            Algorithm::RS256 | Algorithm::PS256 => {
                let pair = RsaKeyPair::generate(KeySize::Rsa2048).map_err(failed)?;
                let der: Pkcs8V1Der<'_> = pair.as_der().map_err(failed)?;
                Zeroizing::new(der.as_ref().to_vec())
            }
        };
        Self::from_pkcs8(algorithm, &pkcs8)
    }

    /// From PKCS#8 (RFC 5958).
    pub fn from_pkcs8(algorithm: Algorithm, pkcs8: &[u8]) -> Result<Self, KeyError> {
        let (pair, public) = match algorithm {
            Algorithm::ES256 => {
                let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8)
                    .map_err(|_| KeyError::Unusable)?;
                let public = VerificationKey::from_raw(algorithm, pair.public_key().as_ref())?;
                (Pair::Ecdsa(pair), public)
            }
            Algorithm::EdDSA => {
                let pair = Ed25519KeyPair::from_pkcs8(pkcs8).map_err(|_| KeyError::Unusable)?;
                let public = VerificationKey::from_raw(algorithm, pair.public_key().as_ref())?;
                (Pair::Ed25519(pair), public)
            }
            Algorithm::RS256 | Algorithm::PS256 => {
                let pair = RsaKeyPair::from_pkcs8(pkcs8).map_err(|_| KeyError::Unusable)?;
                let public = VerificationKey::from_raw(algorithm, pair.public_key().as_ref())?;
                (Pair::Rsa(pair), public)
            }
        };
        Ok(Self { public, pair, pkcs8: Zeroizing::new(pkcs8.to_vec()) })
    }

    /// The public half.
    pub fn public(&self) -> &VerificationKey {
        &self.public
    }

    /// The private key, for sealing and nothing else.
    #[cfg(any(feature = "server", test))]
    pub(crate) fn expose_pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let failed = |_| KeyError::Signing;
        match &self.pair {
            Pair::Ecdsa(pair) => Ok(pair.sign(&SystemRandom::new(), message).map_err(failed)?.as_ref().to_vec()),
            Pair::Ed25519(pair) => Ok(pair.try_sign(message).map_err(failed)?.as_ref().to_vec()),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let padding: &'static dyn aws_lc_rs::signature::RsaEncoding =
                    if self.public.algorithm == Algorithm::PS256 { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
                pair.sign(padding, &SystemRandom::new(), message, &mut signature).map_err(failed)?;
                Ok(signature)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    #[test]
    fn each_algorithm_signs_what_its_public_half_verifies() {
        for algorithm in Algorithm::ALL {
            let key = SigningKey::generate(algorithm).unwrap();
            let signature = URL_SAFE_NO_PAD.encode(key.sign(b"message").unwrap());
            assert!(key.public().verifies(b"message", &signature), "{algorithm}");
            assert!(!key.public().verifies(b"massage", &signature), "{algorithm}");
            let again = SigningKey::from_pkcs8(algorithm, key.expose_pkcs8()).unwrap();
            assert_eq!(again.public().key_id(), key.public().key_id());
            let published = VerificationKey::from_jwk(algorithm, key.public().jwk().clone()).unwrap();
            assert_eq!(published.key_id(), key.public().key_id());
            assert!(published.verifies(b"message", &signature));
            assert_eq!(key.public().key_id().len(), 43);
        }
    }

    #[test]
    fn a_key_shows_no_private_byte() {
        let key = SigningKey::generate(Algorithm::EdDSA).unwrap();
        assert_eq!(format!("{key:?}"), format!("SigningKey(EdDSA {} …)", key.public().key_id()));
        let published = serde_json::to_value(key.public().jwk()).unwrap();
        assert!(published.get("d").is_none());
    }

    #[test]
    fn a_key_of_one_algorithm_is_not_one_of_another() {
        let key = SigningKey::generate(Algorithm::ES256).unwrap();
        assert!(SigningKey::from_pkcs8(Algorithm::EdDSA, key.expose_pkcs8()).is_err());
        assert!(VerificationKey::from_jwk(Algorithm::RS256, key.public().jwk().clone()).is_err());
    }
}
