//! Where forged tokens come from: the signing key in the hands of an attacker, and everything that he could do with it.

use std::sync::Arc;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair as _,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use countermark::keyring::KeyringDocument;
use serde_json::{Map, Value};

/// A private ES256 key of the keyring, out of its hiding place.
pub struct StolenKey {
    pkcs8: Vec<u8>,
    pair: EcdsaKeyPair,
    pub id: String,
    pub jwk: Value,
}

fn pair(algorithm: &'static EcdsaSigningAlgorithm, pkcs8: &[u8]) -> EcdsaKeyPair {
    EcdsaKeyPair::from_pkcs8(algorithm, pkcs8).unwrap()
}

impl StolenKey {
    pub fn from(document: &KeyringDocument, number: usize) -> Self {
        let entry = serde_json::to_value(&document.keys[number]).unwrap();
        let pkcs8 = STANDARD.decode(entry["private"].as_str().unwrap()).unwrap();
        let pair = pair(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8);
        Self { pair, pkcs8, id: document.keys[number].id.clone(), jwk: entry["public"].clone() }
    }

    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
    }

    /// As X.509 and OpenSSL write it.
    pub fn sign_der(&self, message: &[u8]) -> Vec<u8> {
        let pair = pair(&ECDSA_P256_SHA256_ASN1_SIGNING, &self.pkcs8);
        pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
    }

    /// The public half in all the forms in which it goes around.
    pub fn public_forms(&self) -> Vec<(&'static str, Vec<u8>)> {
        let public = self.pair.public_key();
        let der: PublicKeyX509Der<'_> = public.as_der().unwrap();
        let lines: Vec<_> = STANDARD.encode(der.as_ref()).into_bytes().chunks(64).map(<[u8]>::to_vec).collect();
        let pem = [b"-----BEGIN PUBLIC KEY-----".to_vec(), lines.join(&b'\n'), b"-----END PUBLIC KEY-----".to_vec()]
            .join(&b'\n');
        vec![
            ("PEM", [pem.clone(), b"\n".to_vec()].concat()),
            ("PEM without a line's end", pem),
            ("DER", der.as_ref().to_vec()),
            ("point", public.as_ref().to_vec()),
            ("JWK", self.jwk.to_string().into_bytes()),
            ("x", URL_SAFE_NO_PAD.decode(self.jwk["x"].as_str().unwrap()).unwrap()),
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
