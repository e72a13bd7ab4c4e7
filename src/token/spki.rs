//! Public keys as everything that isn't a JOSE library reads them.

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RsaPublicKeyComponents, VerificationAlgorithm,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::AlgorithmParameters;

use super::{KeyError, VerificationKey};

/// RFC 7468, section 2.
const CHARACTERS_A_LINE: usize = 64;
/// What an uncompressed point begins with (SEC 1, section 2.3.3).
const UNCOMPRESSED: u8 = 4;

impl VerificationKey {
    /// The DER of its `SubjectPublicKeyInfo` (RFC 5280, section 4.1). A point that is not on its curve is an error.
    pub fn to_spki_der(&self) -> Result<Vec<u8>, KeyError> {
        let parsed = |algorithm: &'static dyn VerificationAlgorithm, raw: &[u8]| {
            ParsedPublicKey::new(algorithm, raw).map_err(|_| KeyError::UnusablePublic)
        };
        let der: PublicKeyX509Der<'_> = match &self.jwk().algorithm {
            AlgorithmParameters::EllipticCurve(point) => {
                let raw = [vec![UNCOMPRESSED], decoded(&point.x)?, decoded(&point.y)?].concat();
                parsed(&ECDSA_P256_SHA256_FIXED, &raw)?.as_der()
            }
            AlgorithmParameters::OctetKeyPair(pair) => parsed(&ED25519, &decoded(&pair.x)?)?.as_der(),
            AlgorithmParameters::RSA(rsa) => {
                RsaPublicKeyComponents { n: decoded(&rsa.n)?, e: decoded(&rsa.e)? }.as_der()
            }
            _ => return Err(KeyError::UnusablePublic),
        }
        .map_err(|_| KeyError::UnusablePublic)?;
        Ok(der.as_ref().to_vec())
    }

    /// The same as PEM (RFC 7468, section 13), with a line end after the last line.
    pub fn to_pem(&self) -> Result<String, KeyError> {
        let mut pem = "-----BEGIN PUBLIC KEY-----\n".to_owned();
        for (index, character) in STANDARD.encode(self.to_spki_der()?).chars().enumerate() {
            if index > 0 && index % CHARACTERS_A_LINE == 0 {
                pem.push('\n');
            }
            pem.push(character);
        }
        pem.push_str("\n-----END PUBLIC KEY-----\n");
        Ok(pem)
    }
}

fn decoded(text: &str) -> Result<Vec<u8>, KeyError> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| KeyError::UnusablePublic)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::{Algorithm, SigningKey};

    #[test]
    fn the_lengths_are_those_of_the_standards() {
        for (algorithm, length) in [(Algorithm::ES256, 91), (Algorithm::EdDSA, 44), (Algorithm::RS256, 294)] {
            let key = SigningKey::generate(algorithm).unwrap();
            assert_eq!(key.public().to_spki_der().unwrap().len(), length, "{algorithm}");
            let pem = key.public().to_pem().unwrap();
            assert!(pem.lines().all(|line| (1..=64).contains(&line.len())), "{pem}");
        }
    }

    #[test]
    fn a_point_that_is_not_on_the_curve_is_not_exported() {
        let key = SigningKey::generate(Algorithm::ES256).unwrap();
        let mut jwk = key.public().jwk().clone();
        let AlgorithmParameters::EllipticCurve(point) = &mut jwk.algorithm else { panic!() };
        std::mem::swap(&mut point.x, &mut point.y);
        let strange = VerificationKey::from_jwk(Algorithm::ES256, jwk);
        assert!(strange.and_then(|key| key.to_pem()).is_err());
    }
}
