//! Keys: one key has one algorithm, and its id is its thumbprint.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
    ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RSA_PSS_2048_8192_SHA256, RSA_PSS_SHA256,
    RsaKeyPair, RsaPublicKeyComponents,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{
    AlgorithmParameters, CommonParameters, EllipticCurve, EllipticCurveKeyParameters, Jwk, KeyOperations,
    OctetKeyPairParameters, PublicKeyUse, RSAKeyParameters, ThumbprintHash,
};
use zeroize::Zeroizing;

use super::{Algorithm, wire};

/// What can go wrong with a key. Says nothing of its bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
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
    /// Its private half lies where it can't be used now.
    #[error("{0}")]
    OutOfReach(String),
}

/// RSA keys are at least as strong as RFC 7518, section 3.3, demands, and no larger than [`super::encoded_length`] counts on.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;

/// A public key that verifies tokens. Parsed once, and checked when it is.
#[derive(Clone)]
pub struct VerificationKey {
    key_id: Arc<str>,
    /// The first segment of every token that it signs.
    header: Arc<str>,
    algorithm: Algorithm,
    jwk: Jwk,
    parsed: ParsedPublicKey,
}

impl fmt::Debug for VerificationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerificationKey({} {})", self.algorithm, self.key_id)
    }
}

impl VerificationKey {
    /// From a JWK (RFC 7517) that is for this algorithm, for signatures, and of one spelling. The id is computed, never
    /// believed; of what else the JWK says, nothing is kept.
    pub fn from_jwk(algorithm: Algorithm, jwk: Jwk) -> Result<Self, KeyError> {
        let said = &jwk.common;
        let fits = said.public_key_use.as_ref().is_none_or(|said| *said == PublicKeyUse::Signature)
            && said.key_operations.as_ref().is_none_or(|said| said.contains(&KeyOperations::Verify))
            && said.key_algorithm.as_ref().is_none_or(|said| *said == algorithm.in_jwk());
        if fits { Self::from_parameters(algorithm, jwk.algorithm) } else { Err(KeyError::UnusablePublic) }
    }

    fn from_parameters(algorithm: Algorithm, parameters: AlgorithmParameters) -> Result<Self, KeyError> {
        let parsed = parse(algorithm, &parameters).ok_or(KeyError::UnusablePublic)?;
        let mut jwk = Jwk { common: CommonParameters::default(), algorithm: parameters };
        let key_id = jwk.thumbprint(ThumbprintHash::SHA256).map_err(|_| KeyError::UnusablePublic)?;
        jwk.common.key_id = Some(key_id.clone());
        jwk.common.public_key_use = Some(PublicKeyUse::Signature);
        jwk.common.key_algorithm = Some(algorithm.in_jwk());
        let header = wire::header_segment(algorithm, &key_id).into();
        Ok(Self { key_id: key_id.into(), header, algorithm, jwk, parsed })
    }

    /// RFC 7638 SHA-256 thumbprint, base64url.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// The same, to be kept by many.
    pub(crate) fn shared_key_id(&self) -> &Arc<str> {
        &self.key_id
    }

    /// The header of the tokens that it signs, as it stands in them. It has other spellings, which we don't write.
    pub(crate) fn header(&self) -> &str {
        &self.header
    }

    /// Whether a token begins with this header, and if not, where that stands in the order of headers.
    pub(crate) fn compare_header(&self, token: &str) -> Ordering {
        let (header, token) = (self.header.as_bytes(), token.as_bytes());
        let (begin, rest) = token.split_at_checked(header.len()).unwrap_or((token, &[]));
        // None is the beginning of another: their last characters hold the end of the JSON.
        header.cmp(begin).then_with(|| b'.'.cmp(rest.first().unwrap_or(&0)))
    }

    /// The one algorithm of this key.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// As published: `use: sig`, `alg`, `kid`.
    pub fn jwk(&self) -> &Jwk {
        &self.jwk
    }

    /// Whether the signature is this key's over the message.
    pub fn verifies(&self, signed: &[u8], signature: &[u8]) -> bool {
        self.parsed.verify_sig(signed, signature).is_ok()
    }
}

/// `None`: it is no key of this algorithm, or a weak one, or another spelling of one.
fn parse(algorithm: Algorithm, parameters: &AlgorithmParameters) -> Option<ParsedPublicKey> {
    let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
    // RFC 7518, section 6.2.1.2; RFC 8037, section 2: always of full length.
    let coordinate = |text: &str| bytes(text)?.try_into().ok() as Option<[u8; 32]>;
    // RFC 7518, section 2, Base64urlUInt: without zeros in front.
    let integer = |text: &str| bytes(text).filter(|bytes| bytes.first().is_some_and(|first| *first != 0));
    match (algorithm, parameters) {
        (Algorithm::ES256, AlgorithmParameters::EllipticCurve(key)) if key.curve == EllipticCurve::P256 => {
            let point = [&[4][..], &coordinate(&key.x)?, &coordinate(&key.y)?].concat();
            ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).ok()
        }
        (Algorithm::EdDSA, AlgorithmParameters::OctetKeyPair(key)) if key.curve == EllipticCurve::Ed25519 => {
            ParsedPublicKey::new(&ED25519, coordinate(&key.x)?).ok()
        }
        (Algorithm::RS256 | Algorithm::PS256, AlgorithmParameters::RSA(key)) => {
            let (n, e) = (integer(&key.n)?, integer(&key.e)?);
            let bits = n.len() * 8 - n.first()?.leading_zeros() as usize;
            let exponent = e.len() <= 8 && e.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)) >= 3;
            if !RSA_BITS.contains(&bits) || !exponent || n.last()? % 2 == 0 || e.last()? % 2 == 0 {
                return None;
            }
            let how =
                if algorithm == Algorithm::PS256 { &RSA_PSS_2048_8192_SHA256 } else { &RSA_PKCS1_2048_8192_SHA256 };
            RsaPublicKeyComponents { n, e }.to_parsed_public_key(how).ok()
        }
        _ => None,
    }
}

/// The members of an elliptic curve's uncompressed point (SEC 1, section 2.3.3).
pub(crate) fn of_point(point: &[u8]) -> Option<AlgorithmParameters> {
    let (x, y) = point.strip_prefix(&[4])?.split_at_checked(32)?;
    Some(AlgorithmParameters::EllipticCurve(EllipticCurveKeyParameters {
        curve: EllipticCurve::P256,
        x: URL_SAFE_NO_PAD.encode(x),
        y: URL_SAFE_NO_PAD.encode(y),
        ..Default::default()
    }))
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
        let unusable = |_| KeyError::Unusable;
        let (pair, parameters) = match algorithm {
            Algorithm::ES256 => {
                let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).map_err(unusable)?;
                let parameters = of_point(pair.public_key().as_ref()).ok_or(KeyError::Unusable)?;
                (Pair::Ecdsa(pair), parameters)
            }
            Algorithm::EdDSA => {
                let pair = Ed25519KeyPair::from_pkcs8(pkcs8).map_err(unusable)?;
                let parameters = AlgorithmParameters::OctetKeyPair(OctetKeyPairParameters {
                    curve: EllipticCurve::Ed25519,
                    x: URL_SAFE_NO_PAD.encode(pair.public_key()),
                    ..Default::default()
                });
                (Pair::Ed25519(pair), parameters)
            }
            Algorithm::RS256 | Algorithm::PS256 => {
                let pair = RsaKeyPair::from_pkcs8(pkcs8).map_err(unusable)?;
                let RsaPublicKeyComponents { n, e } = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
                let parameters = AlgorithmParameters::RSA(RSAKeyParameters {
                    n: URL_SAFE_NO_PAD.encode(n),
                    e: URL_SAFE_NO_PAD.encode(e),
                    ..Default::default()
                });
                (Pair::Rsa(pair), parameters)
            }
        };
        let public = VerificationKey::from_parameters(algorithm, parameters).map_err(|_| KeyError::Unusable)?;
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

    #[test]
    fn each_algorithm_signs_what_its_public_half_verifies() {
        for algorithm in Algorithm::ALL {
            let key = SigningKey::generate(algorithm).unwrap();
            let signature = key.sign(b"message").unwrap();
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
