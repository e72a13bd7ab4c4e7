//! Where forged tokens come from: the signing key in the hands of an attacker, and everything that he could do with it.

use std::sync::Arc;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
    RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use countermark::keyring::KeyringDocument;
use countermark::token::Algorithm;
use serde_json::{Map, Value};

/// A private key of the keyring, out of its hiding place.
pub struct StolenKey {
    algorithm: Algorithm,
    pkcs8: Vec<u8>,
    pub id: String,
    pub jwk: Value,
}

impl StolenKey {
    pub fn from(document: &KeyringDocument, number: usize) -> Self {
        let entry = &document.keys[number];
        let written = serde_json::to_value(entry).unwrap();
        let pkcs8 = STANDARD.decode(written["private"].as_str().unwrap()).unwrap();
        Self { algorithm: entry.algorithm, pkcs8, id: entry.id.clone(), jwk: written["public"].clone() }
    }

    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self.algorithm {
            Algorithm::ES256 => {
                let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &self.pkcs8).unwrap();
                pair.sign(&random, message).unwrap().as_ref().to_vec()
            }
            Algorithm::EdDSA => Ed25519KeyPair::from_pkcs8(&self.pkcs8).unwrap().sign(message).as_ref().to_vec(),
            Algorithm::RS256 | Algorithm::PS256 => {
                let pair = RsaKeyPair::from_pkcs8(&self.pkcs8).unwrap();
                let mut signature = vec![0; pair.public_modulus_len()];
                let padding: &'static dyn aws_lc_rs::signature::RsaEncoding =
                    if self.algorithm == Algorithm::PS256 { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
                pair.sign(padding, &random, message, &mut signature).unwrap();
                signature
            }
        }
    }

    /// ES256 as X.509 and OpenSSL write it.
    pub fn sign_der(&self, message: &[u8]) -> Vec<u8> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &self.pkcs8).unwrap();
        pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
    }

    /// The public key's own bytes, and as a `SubjectPublicKeyInfo`.
    fn public(&self) -> (Vec<u8>, Vec<u8>) {
        let der = |key: &dyn AsDer<PublicKeyX509Der<'static>>| key.as_der().unwrap().as_ref().to_vec();
        match self.algorithm {
            Algorithm::ES256 => {
                let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &self.pkcs8).unwrap();
                (pair.public_key().as_ref().to_vec(), der(pair.public_key()))
            }
            Algorithm::EdDSA => {
                let pair = Ed25519KeyPair::from_pkcs8(&self.pkcs8).unwrap();
                (pair.public_key().as_ref().to_vec(), der(pair.public_key()))
            }
            Algorithm::RS256 | Algorithm::PS256 => {
                let pair = RsaKeyPair::from_pkcs8(&self.pkcs8).unwrap();
                (pair.public_key().as_ref().to_vec(), der(pair.public_key()))
            }
        }
    }

    /// The public half in all the forms in which it goes around.
    pub fn public_forms(&self) -> Vec<(&'static str, Vec<u8>)> {
        let (raw, der) = self.public();
        let lines: Vec<_> = STANDARD.encode(&der).into_bytes().chunks(64).map(<[u8]>::to_vec).collect();
        let pem = [b"-----BEGIN PUBLIC KEY-----".to_vec(), lines.join(&b'\n'), b"-----END PUBLIC KEY-----".to_vec()]
            .join(&b'\n');
        let number = ["x", "n"].iter().find_map(|name| self.jwk[name].as_str()).unwrap();
        vec![
            ("PEM", [pem.clone(), b"\n".to_vec()].concat()),
            ("PEM without a line's end", pem),
            ("DER", der),
            ("bytes", raw),
            ("JWK", self.jwk.to_string().into_bytes()),
            ("x or n", URL_SAFE_NO_PAD.decode(number).unwrap()),
            ("x or n, encoded", number.as_bytes().to_vec()),
            ("key id", self.id.clone().into_bytes()),
            ("nothing", Vec::new()),
        ]
    }
}

/// A genuine token to be spoilt, and the key that signed it.
#[derive(Clone)]
pub struct Forge {
    pub key: Arc<StolenKey>,
    pub token: String,
}

impl Forge {
    /// The genuine token's segments.
    pub fn segments(&self) -> [&str; 3] {
        self.token.split('.').collect::<Vec<_>>().try_into().unwrap()
    }

    pub fn signature(&self) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(self.segments()[2]).unwrap()
    }

    /// The genuine token under another signature.
    pub fn with_signature(&self, signature: impl AsRef<[u8]>) -> String {
        let [header, payload, _] = self.segments();
        format!("{header}.{payload}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn members(&self, nth: usize) -> Map<String, Value> {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(self.segments()[nth]).unwrap()).unwrap()
    }

    /// The genuine header and payload as texts.
    pub fn header(&self) -> String {
        Value::Object(self.members(0)).to_string()
    }

    pub fn payload(&self) -> String {
        Value::Object(self.members(1)).to_string()
    }

    pub fn claim(&self, name: &str) -> Value {
        self.members(1)[name].clone()
    }

    /// Signed by the stolen key, whatever the texts are.
    pub fn sign(&self, header: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> String {
        self.sign_segments(&URL_SAFE_NO_PAD.encode(header), &URL_SAFE_NO_PAD.encode(payload))
    }

    pub fn sign_segments(&self, header: &str, payload: &str) -> String {
        let signed = format!("{header}.{payload}");
        let signature = self.key.sign(signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// Genuinely signed, with one member of the header written so, or left out.
    pub fn with_header(&self, name: &str, raw: Option<&str>) -> String {
        self.sign(text(&self.members(0), &[(name, raw)]), self.payload())
    }

    /// Genuinely signed, with some claims written so, or left out.
    pub fn with_claims(&self, changes: &[(&str, Option<&str>)]) -> String {
        self.sign(self.header(), text(&self.members(1), changes))
    }

    pub fn with_claim(&self, name: &str, raw: Option<&str>) -> String {
        self.with_claims(&[(name, raw)])
    }
}

/// The members, with some of them replaced, added or left out.
fn text(members: &Map<String, Value>, changes: &[(&str, Option<&str>)]) -> String {
    let kept = members.iter().filter(|(name, _)| !changes.iter().any(|(changed, _)| changed == name));
    let kept = kept.map(|(name, value)| format!("{name:?}:{value}"));
    let new = changes.iter().filter_map(|(name, raw)| raw.map(|raw| format!("{name:?}:{raw}")));
    format!("{{{}}}", kept.chain(new).collect::<Vec<_>>().join(","))
}
