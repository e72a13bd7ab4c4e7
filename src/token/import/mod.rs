//! Private keys that were made elsewhere, read from PEM. Whatever form one came in, it leaves as PKCS#8 v1.
//!
//! No text of a refusal holds anything of the key or the passphrase: only names and numbers from here, and the length of a modulus.

mod elliptic;
mod error;
mod form;
mod pbes2;
mod pem;
mod roca;
mod rsa;

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::{Algorithm, SigningKey};
pub use error::ImportError;
use pem::Label;
#[cfg(feature = "pkcs11")]
pub(crate) use roca::has_the_mark as has_the_mark_of_roca;

/// What a private key is, before it has its algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// An elliptic curve key on P-256 (secp256r1, prime256v1).
    P256,
    /// An Edwards curve key (RFC 8032).
    Ed25519,
    /// Two primes, 2048 to 4096 bits.
    Rsa,
}

impl KeyKind {
    /// The algorithms that it can have; the first is the one that it gets if none is asked for.
    pub fn algorithms(self) -> &'static [Algorithm] {
        match self {
            Self::P256 => &[Algorithm::ES256],
            Self::Ed25519 => &[Algorithm::EdDSA],
            Self::Rsa => &[Algorithm::RS256, Algorithm::PS256],
        }
    }

    /// [`KeyKind::algorithms`], the first.
    pub fn default_algorithm(self) -> Algorithm {
        match self {
            Self::P256 => Algorithm::ES256,
            Self::Ed25519 => Algorithm::EdDSA,
            Self::Rsa => Algorithm::RS256,
        }
    }

    fn what_fits(self) -> &'static str {
        match self {
            Self::P256 => "ES256 fits",
            Self::Ed25519 => "EdDSA fits",
            Self::Rsa => "RS256 and PS256 fit",
        }
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::P256 => "an EC key on P-256",
            Self::Ed25519 => "an Ed25519 key",
            Self::Rsa => "an RSA key",
        })
    }
}

/// A private key that was read and found sound.
pub struct PrivateKey {
    kind: KeyKind,
    pkcs8: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({} …)", self.kind)
    }
}

impl PrivateKey {
    /// What it is.
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// As PEM that is not encrypted, for whoever seals it.
    pub fn expose_pem(&self) -> Zeroizing<String> {
        let text = Zeroizing::new(STANDARD.encode(self.pkcs8.as_slice()));
        // Room from the start: a text that grows leaves copies behind, which nobody wipes.
        let mut pem = Zeroizing::new(String::with_capacity(text.len() * 2 + 64));
        pem.push_str("-----BEGIN PRIVATE KEY-----\n");
        for line in text.as_bytes().chunks(64) {
            pem.extend(line.iter().map(|byte| char::from(*byte)));
            pem.push('\n');
        }
        pem.push_str("-----END PRIVATE KEY-----\n");
        pem
    }

    /// The key, for one algorithm.
    pub fn signing_key(&self, asked: Option<Algorithm>) -> Result<SigningKey, ImportError> {
        const PROBE: &[u8] = b"countermark: does this pair belong together?";
        let algorithm = asked.unwrap_or(self.kind.default_algorithm());
        if !self.kind.algorithms().contains(&algorithm) {
            return Err(ImportError::UnfitAlgorithm { asked: algorithm, kind: self.kind, fits: self.kind.what_fits() });
        }
        let key = SigningKey::from_pkcs8(algorithm, &self.pkcs8).map_err(|_| ImportError::Inconsistent)?;
        // Nothing before this sees a factor that is no prime.
        let signed = key.sign(PROBE).is_ok_and(|signature| key.public().verifies(PROBE, &signature));
        if signed { Ok(key) } else { Err(ImportError::Inconsistent) }
    }
}

/// The one private key in this PEM (RFC 7468): PKCS#8 (RFC 5958), encrypted or not, SEC1 (RFC 5915) or PKCS#1 (RFC 8017).
///
/// Of a key that is not encrypted the passphrase is not looked at. An encrypted one may take ten seconds of computing, which its file
/// decides within bounds: not for a thread that others wait for.
pub fn read_private(text: &str, passphrase: Option<&str>) -> Result<PrivateKey, ImportError> {
    let (label, der) = pem::the_private_key(text)?;
    match label {
        Label::Pkcs8 => form::pkcs8(&der),
        Label::Sec1 => elliptic::sec1(&der, None, None),
        Label::Pkcs1 => rsa::pkcs1(&der, None),
        Label::Encrypted => form::pkcs8(&pbes2::decrypt(&der, passphrase)?).map_err(|error| match error {
            // One wrong passphrase in 256 ends in what passes for padding.
            ImportError::Damaged => ImportError::WrongPassphrase,
            error => error,
        }),
    }
}

#[cfg(test)]
mod tests;
