//! Which public keys are taken: the mistakes that the key sets of Project Wycheproof are about, and their like.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::token::{Algorithm, KeyError, SigningKey, VerificationKey};

fn jwk(algorithm: Algorithm) -> Value {
    serde_json::to_value(SigningKey::generate(algorithm).unwrap().public().jwk()).unwrap()
}

fn taken(algorithm: Algorithm, jwk: &Value) -> Result<VerificationKey, KeyError> {
    VerificationKey::from_jwk(algorithm, serde_json::from_value(jwk.clone()).map_err(|_| KeyError::UnusablePublic)?)
}

/// The key with one member written so; `null` takes it out.
fn with(jwk: &Value, name: &str, value: Value) -> Value {
    let mut jwk = jwk.clone();
    if value.is_null() {
        jwk.as_object_mut().unwrap().remove(name);
    } else {
        jwk[name] = value;
    }
    jwk
}

fn refused(algorithm: Algorithm, jwk: &Value, changes: &[(&str, Value)]) {
    assert!(taken(algorithm, jwk).is_ok());
    for (name, value) in changes {
        let spoilt = with(jwk, name, value.clone());
        assert!(taken(algorithm, &spoilt).is_err(), "{algorithm} with {name}: {value}");
    }
}

#[test]
fn a_key_for_something_else_is_not_taken() {
    for algorithm in Algorithm::ALL {
        let jwk = jwk(algorithm);
        let mut changes = vec![
            ("use", json!("enc")),
            ("use", json!("other")),
            ("use", json!("SIG")),
            ("key_ops", json!(["sign"])),
            ("key_ops", json!(["encrypt", "wrapKey"])),
            ("key_ops", json!([])),
            ("kty", json!("oct")),
            ("kty", json!("AKP")),
            ("kty", json!(null)),
        ];
        for other in ["HS256", "ES384", "ES521", "RSA1_5", "none", "", "es256"] {
            changes.push(("alg", json!(other)));
        }
        for other in Algorithm::ALL.into_iter().filter(|other| *other != algorithm) {
            changes.push(("alg", json!(other)));
            assert!(taken(other, &jwk).is_err(), "{algorithm} as {other}");
            let relabelled = with(&jwk, "alg", json!(other));
            let twins = matches!(
                (algorithm, other),
                (Algorithm::RS256, Algorithm::PS256) | (Algorithm::PS256, Algorithm::RS256)
            );
            assert_eq!(taken(other, &relabelled).is_ok(), twins, "{algorithm} relabelled {other}");
        }
        refused(algorithm, &jwk, &changes);
        for name in ["use", "alg", "kid"] {
            assert!(taken(algorithm, &with(&jwk, name, json!(null))).is_ok(), "a key need not say {name}");
        }
        assert!(taken(algorithm, &with(&jwk, "key_ops", json!(["verify"]))).is_ok());
    }
}

#[test]
fn a_point_that_is_not_on_the_curve_is_no_key() {
    let jwk = jwk(Algorithm::ES256);
    let (x, y) = (jwk["x"].as_str().unwrap(), jwk["y"].as_str().unwrap());
    let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
    let zero = URL_SAFE_NO_PAD.encode([0; 32]);
    let mut off = bytes(y);
    off[31] ^= 1;
    let changes = [
        ("x", json!(y)),
        ("x", json!(zero)),
        ("x", json!("")),
        ("y", json!(URL_SAFE_NO_PAD.encode(off))),
        ("y", json!(zero)),
        ("y", json!(null)),
        ("y", json!(format!("{y}="))),
        ("y", json!(format!("{y}\n"))),
        ("y", json!(URL_SAFE_NO_PAD.encode([&[0][..], &bytes(y)].concat()))),
        ("crv", json!("P-384")),
        ("crv", json!("P-521")),
        ("crv", json!("Ed25519")),
        ("crv", json!("secp256k1")),
    ];
    refused(Algorithm::ES256, &jwk, &changes);
    // The same 64 bytes, cut elsewhere: another key id for one key.
    let both = [bytes(x), bytes(y)].concat();
    let (short, long) = both.split_at(31);
    let shifted =
        with(&with(&jwk, "x", json!(URL_SAFE_NO_PAD.encode(short))), "y", json!(URL_SAFE_NO_PAD.encode(long)));
    assert!(taken(Algorithm::ES256, &shifted).is_err());
}

#[test]
fn an_edwards_key_has_32_bytes() {
    let jwk = jwk(Algorithm::EdDSA);
    let x = jwk["x"].as_str().unwrap();
    let changes = [
        ("x", json!("")),
        ("x", json!(&x[..42])),
        ("x", json!(format!("{x}A"))),
        ("x", json!(format!("{x}="))),
        ("x", json!(URL_SAFE_NO_PAD.encode([0; 57]))),
        ("crv", json!("Ed448")),
        ("crv", json!("X25519")),
        ("crv", json!("P-256")),
    ];
    refused(Algorithm::EdDSA, &jwk, &changes);
}

#[test]
fn a_weak_or_misspelt_rsa_key_is_no_key() {
    for algorithm in [Algorithm::RS256, Algorithm::PS256] {
        let jwk = jwk(algorithm);
        let n = URL_SAFE_NO_PAD.decode(jwk["n"].as_str().unwrap()).unwrap();
        let odd = |bits: usize| {
            let mut bytes = vec![0xc5; bits.div_ceil(8)];
            bytes[0] = 1 << ((bits + 7) % 8);
            json!(URL_SAFE_NO_PAD.encode(bytes))
        };
        let mut even = n.clone();
        even[255] &= 0xfe;
        let changes = [
            ("n", odd(512)),
            ("n", odd(1024)),
            ("n", odd(2047)),
            ("n", odd(4097)),
            ("n", odd(16384)),
            ("n", json!("")),
            ("n", json!("AQ")),
            ("n", json!(URL_SAFE_NO_PAD.encode(even))),
            ("n", json!(URL_SAFE_NO_PAD.encode([&[0][..], &n].concat()))),
            // Every signature is its own message then.
            ("e", json!("AQ")),
            ("e", json!("AA")),
            ("e", json!("")),
            ("e", json!("Ag")),
            ("e", json!("AQAA")),
            ("e", json!("AAEAAQ")),
            ("e", json!("AQAB=")),
            ("e", json!(URL_SAFE_NO_PAD.encode([0xff; 16]))),
        ];
        refused(algorithm, &jwk, &changes);
        for bits in [2048, 3072, 4096] {
            assert!(taken(algorithm, &with(&jwk, "n", odd(bits))).is_ok(), "{bits}");
        }
    }
}

#[test]
fn of_what_a_key_says_besides_nothing_is_published() {
    for algorithm in Algorithm::ALL {
        let own = jwk(algorithm);
        let mut chatty = own.clone();
        for (name, value) in [
            ("kid", json!("../../dev/null")),
            ("x5u", json!("https://attacker.example/")),
            ("x5c", json!(["MIIB"])),
            ("x5t", json!("AAAA")),
            ("x5t#S256", json!("AAAA")),
            ("key_ops", json!(["verify", "sign"])),
            ("d", json!("AAAA")),
        ] {
            chatty[name] = value;
        }
        let key = taken(algorithm, &chatty).unwrap();
        assert_eq!(serde_json::to_value(key.jwk()).unwrap(), own);
        assert_eq!(key.key_id(), own["kid"]);
    }
}
