//! Keys as the product holds them and as the libraries below do, and tokens that they signed.

use std::collections::BTreeMap;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
    ParsedPublicKey, Signature,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countermark::account::AccountId;
use countermark::clock::{Clock, SystemClock};
use countermark::token::{Algorithm, Claims, Jti, SigningKey, TokenId, encode};

pub const ISSUER: &str = "https://tokens.example.com";
pub const ROLE: &str = "deployer";

pub struct Signers {
    pub es256: Signer,
    pub eddsa: Signer,
}

impl Signers {
    pub fn new() -> Self {
        Self { es256: Signer::es256(), eddsa: Signer::eddsa() }
    }

    pub fn all(&self) -> [&Signer; 2] {
        [&self.es256, &self.eddsa]
    }
}

enum Pair {
    Ecdsa(EcdsaKeyPair, SystemRandom),
    Ed25519(Ed25519KeyPair),
}

/// One key.
pub struct Signer {
    pub algorithm: Algorithm,
    pub key: SigningKey,
    pub public: ParsedPublicKey,
    pair: Pair,
}

impl Signer {
    fn es256() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let pkcs8 = pair.to_pkcs8v1().unwrap();
        Self {
            algorithm: Algorithm::ES256,
            key: SigningKey::from_pkcs8(Algorithm::ES256, pkcs8.as_ref()).unwrap(),
            public: ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, pair.public_key().as_ref()).unwrap(),
            pair: Pair::Ecdsa(pair, SystemRandom::new()),
        }
    }

    fn eddsa() -> Self {
        let pair = Ed25519KeyPair::generate().unwrap();
        let pkcs8 = pair.to_pkcs8v1().unwrap();
        Self {
            algorithm: Algorithm::EdDSA,
            key: SigningKey::from_pkcs8(Algorithm::EdDSA, pkcs8.as_ref()).unwrap(),
            public: ParsedPublicKey::new(&ED25519, pair.public_key().as_ref()).unwrap(),
            pair: Pair::Ed25519(pair),
        }
    }

    /// As the library signs, with a key that was parsed before.
    pub fn sign(&self, message: &[u8]) -> Signature {
        match &self.pair {
            Pair::Ecdsa(pair, random) => pair.sign(random, message).unwrap(),
            Pair::Ed25519(pair) => pair.sign(message),
        }
    }

    /// New tokens, each of another account.
    pub fn tokens(&self, count: usize) -> Vec<Token> {
        (0..count).map(|_| self.token(1_000_000)).collect()
    }

    /// A token that was issued a while ago and ends so many seconds from now.
    pub fn token(&self, seconds: i64) -> Token {
        let jti = Jti::random().unwrap();
        let now = SystemClock.now();
        let claims =
            claims(AccountId::new(now), jti.token_id(), now.timestamp() - 10_000_000, now.timestamp() + seconds);
        let text = encode(&claims, &jti, &self.key).unwrap();
        Token { account: claims.account, id: claims.token_id, text: text.into() }
    }

    /// A text like a token of these two members, genuinely signed.
    pub fn token_of(&self, header: &str, payload: &str) -> String {
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        let signature = URL_SAFE_NO_PAD.encode(self.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }
}

pub fn claims(account: AccountId, token_id: TokenId, issued_at: i64, expires_at: i64) -> Claims {
    Claims {
        issuer: ISSUER.to_owned(),
        account,
        audiences: vec![ISSUER.parse().unwrap()],
        issued_at,
        expires_at,
        token_id,
        role: ROLE.parse().unwrap(),
        teams: BTreeMap::new(),
        generation: 3,
        confirmation: None,
    }
}

pub struct Token {
    pub account: AccountId,
    pub id: TokenId,
    pub text: Box<str>,
}

impl Token {
    /// What is signed, and the signature.
    pub fn signed(&self) -> (&[u8], Vec<u8>) {
        let (signed, signature) = self.text.rsplit_once('.').unwrap();
        (signed.as_bytes(), URL_SAFE_NO_PAD.decode(signature).unwrap())
    }

    /// The decoded header and payload.
    pub fn members(&self) -> [String; 2] {
        let segments: Vec<_> = self.text.split('.').collect();
        [segments[0], segments[1]].map(|segment| String::from_utf8(URL_SAFE_NO_PAD.decode(segment).unwrap()).unwrap())
    }
}
