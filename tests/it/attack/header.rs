//! What stands in the header: algorithms, keys that a stranger brings along, key ids that would be more than ids.

use std::sync::Arc;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
    RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countermark::token::Algorithm;
use serde_json::{Value, json};

use super::bench::{Bench, Row};

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

#[tokio::test]
async fn an_algorithm_that_is_not_the_keys_opens_no_door() {
    let bench = Bench::new().await;
    let victim = &bench.victim;
    let mut rows = Vec::new();
    for other in [
        "none",
        "None",
        "NONE",
        "nOnE",
        "",
        " ",
        "none ",
        "HS256",
        "HS384",
        "HS512",
        "ES384",
        "ES512",
        "ES256K",
        "RS256",
        "RS384",
        "RS512",
        "PS256",
        "PS384",
        "PS512",
        "EdDSA",
        "Ed25519",
        "Ed448",
        "ML-DSA-44",
        "es256",
        "ES256 ",
        "ES256\0",
        "RSA1_5",
        "RSA-OAEP",
        "dir",
        "A128KW",
        "ECDH-ES",
        "../ES256",
    ] {
        let name = format!("alg {other:?}");
        let token = victim.with_header("alg", Some(&quoted(other)));
        let [header, payload, _] = token.split('.').collect::<Vec<_>>().try_into().unwrap();
        rows.push(Row::refused(&name, "unsupported_algorithm", token.clone()));
        rows.push(Row::refused(format!("{name}, unsigned"), "malformed", format!("{header}.{payload}.")));
        let unsigned = format!("{header}.{payload}.{}", URL_SAFE_NO_PAD.encode([0]));
        rows.push(Row::refused(format!("{name}, hardly signed"), "unsupported_algorithm", unsigned));
    }
    for (name, raw) in [
        ("missing", None),
        ("null", Some("null")),
        ("a list", Some(r#"["ES256"]"#)),
        ("a number", Some("256")),
        ("an object", Some(r#"{"ES256":true}"#)),
        ("true", Some("true")),
    ] {
        rows.push(Row::refused(format!("alg {name}"), "malformed", victim.with_header("alg", raw)));
    }
    bench.stand(rows).await;
}

/// RFC 8725, section 2.1: the public key, which everybody has, is taken for a shared secret.
#[tokio::test]
async fn the_public_key_is_no_secret_for_a_mac() {
    for ours in Algorithm::ALL {
        let bench = Bench::under(ours).await;
        let mut rows = Vec::new();
        for (form, secret) in bench.key.public_forms() {
            for (alg, mac) in [("HS256", hmac::HMAC_SHA256), ("HS384", hmac::HMAC_SHA384), ("HS512", hmac::HMAC_SHA512)]
            {
                for (claimed, reason) in [(alg, "unsupported_algorithm"), (ours.as_str(), "bad_signature")] {
                    let token = bench.victim.with_header("alg", Some(&quoted(claimed)));
                    let (signed, _) = token.rsplit_once('.').unwrap();
                    let tag = hmac::sign(&hmac::Key::new(mac, &secret), signed.as_bytes());
                    let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag));
                    let name = format!("{alg} with the {form} of our {ours} key, called {claimed}");
                    rows.push(Row::refused(name, reason, token));
                }
            }
        }
        bench.stand(rows).await;
    }
}

type Sign = Box<dyn Fn(&[u8]) -> Vec<u8>>;

/// An attacker's own key.
struct Foreign {
    algorithm: &'static str,
    jwk: Value,
    sign: Sign,
}

fn foreign_keys() -> Vec<Foreign> {
    let (random, text) = (SystemRandom::new(), |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes));
    let p256 = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let (x, y) = p256.public_key().as_ref()[1..].split_at(32);
    let p256_jwk = json!({ "kty": "EC", "crv": "P-256", "x": text(x), "y": text(y) });
    let p384 = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
    let ed25519 = Ed25519KeyPair::generate().unwrap();
    let ed25519_jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": text(ed25519.public_key().as_ref()) });
    let rsa = Arc::new(RsaKeyPair::generate(KeySize::Rsa2048).unwrap());
    let by_rsa = |padding: &'static dyn RsaEncoding| {
        let (rsa, random) = (Arc::clone(&rsa), random.clone());
        Box::new(move |message: &[u8]| {
            let mut signature = vec![0; 256];
            rsa.sign(padding, &random, message, &mut signature).unwrap();
            signature
        })
    };
    let (other, another) = (random.clone(), random.clone());
    vec![
        Foreign {
            algorithm: "ES256",
            jwk: p256_jwk,
            sign: Box::new(move |message| p256.sign(&other, message).unwrap().as_ref().to_vec()),
        },
        Foreign {
            algorithm: "ES384",
            jwk: json!({}),
            sign: Box::new(move |message| p384.sign(&another, message).unwrap().as_ref().to_vec()),
        },
        Foreign {
            algorithm: "EdDSA",
            jwk: ed25519_jwk,
            sign: Box::new(move |message| ed25519.sign(message).as_ref().to_vec()),
        },
        Foreign { algorithm: "RS256", jwk: json!({}), sign: by_rsa(&RSA_PKCS1_SHA256) },
        Foreign { algorithm: "PS256", jwk: json!({}), sign: by_rsa(&RSA_PSS_SHA256) },
    ]
}

#[tokio::test]
async fn somebody_elses_key_opens_no_door() {
    let bench = Bench::new().await;
    let mut rows = Vec::new();
    for Foreign { algorithm, jwk, sign } in foreign_keys() {
        let token = |header: &Value| {
            let encoded = |text: String| URL_SAFE_NO_PAD.encode(text);
            let signed = format!("{}.{}", encoded(header.to_string()), encoded(bench.victim.payload()));
            format!("{signed}.{}", URL_SAFE_NO_PAD.encode(sign(signed.as_bytes())))
        };
        let header = |kid: &str, alg: &str| json!({ "alg": alg, "typ": "at+jwt", "kid": kid });
        let own = "A".repeat(43);
        let reason = |otherwise| match algorithm {
            "ES256" => otherwise,
            "ES384" => "unsupported_algorithm",
            _ if otherwise == "unknown_key" => otherwise,
            _ => "unsupported_algorithm",
        };
        let ours = &bench.key.id;
        rows.push(Row::refused(algorithm, reason("unknown_key"), token(&header(&own, algorithm))));
        let name = format!("{algorithm} under our key id");
        rows.push(Row::refused(name, reason("bad_signature"), token(&header(ours, algorithm))));
        rows.push(Row::refused(format!("{algorithm} as our key's"), "bad_signature", token(&header(ours, "ES256"))));
        // A key that comes along with the token that it signed.
        for (name, value) in [
            ("jwk", jwk),
            ("jwk", Value::Null),
            ("jku", json!("https://attacker.example/jwks.json")),
            ("jku", json!("http://169.254.169.254/latest/meta-data/")),
            ("x5u", json!("https://attacker.example/cert.pem")),
            ("x5c", json!(["MIIBszCCAVmgAwIBAgIUAttacker"])),
            ("x5t", json!("A".repeat(27))),
            ("x5t#S256", json!("A".repeat(43))),
        ] {
            for kid in [&own, ours] {
                let mut header = header(kid, algorithm);
                header[name] = value.clone();
                rows.push(Row::refused(format!("{algorithm} with its {name} {value}"), "malformed", token(&header)));
            }
        }
    }
    bench.stand(rows).await;
}

#[tokio::test]
async fn a_header_that_says_more_or_less_than_it_has_to_opens_no_door() {
    let bench = Bench::new().await;
    let victim = &bench.victim;
    let mut rows = Vec::new();
    for (name, raw) in [
        ("crit", r#"["exp"]"#),
        ("crit", "[]"),
        ("crit", r#"["b64"]"#),
        ("b64", "false"),
        ("b64", "true"),
        ("cty", r#""JWT""#),
        ("zip", r#""DEF""#),
        ("enc", r#""A256GCM""#),
        ("epk", "{}"),
        ("p2c", "2147483647"),
        ("url", r#""https://attacker.example""#),
        ("nonce", r#""x""#),
        ("note", "null"),
        ("Kid", r#""x""#),
        ("", r#""""#),
        ("__proto__", "{}"),
    ] {
        rows.push(Row::refused(format!("{name} {raw}"), "malformed", victim.with_header(name, Some(raw))));
    }
    for other in
        ["", "JWT", "jwt", "at+JWT", "AT+JWT", "application/at+jwt", "at+jwt ", "at jwt", "dpop+jwt", "at+jwt\0"]
    {
        rows.push(Row::refused(format!("typ {other:?}"), "malformed", victim.with_header("typ", Some(&quoted(other)))));
    }
    for raw in [None, Some("null"), Some("1"), Some("[]"), Some("{}"), Some("true")] {
        for name in ["typ", "kid"] {
            rows.push(Row::refused(format!("{name} {raw:?}"), "malformed", victim.with_header(name, raw)));
        }
    }
    bench.stand(rows).await;
}

#[tokio::test]
async fn a_key_id_is_looked_up_and_nothing_else() {
    let bench = Bench::new().await;
    let ours = bench.key.id.clone();
    let mut rows = Vec::new();
    for other in [
        String::new(),
        " ".to_owned(),
        "../../../../../../dev/null".to_owned(),
        "/dev/null".to_owned(),
        "file:///proc/self/environ".to_owned(),
        "https://attacker.example/key".to_owned(),
        "' UNION SELECT 'key' --".to_owned(),
        "x' OR '1'='1".to_owned(),
        "*".to_owned(),
        "\r\nFLUSHALL\r\n".to_owned(),
        "*1\r\n$8\r\nFLUSHALL\r\n".to_owned(),
        "x\r\nSet-Cookie: a=b".to_owned(),
        "x\0".to_owned(),
        "$(reboot)".to_owned(),
        "{{7*7}}".to_owned(),
        "\u{202e}\u{feff}".to_owned(),
        format!("{ours}\0"),
        format!("{ours} "),
        format!("{ours}="),
        ours[..42].to_owned(),
        ours.to_ascii_lowercase(),
        ours.chars().rev().collect(),
        "k".repeat(2000),
    ] {
        let name = format!("kid {:?}", other.chars().take(40).collect::<String>());
        rows.push(Row::refused(name, "unknown_key", bench.victim.with_header("kid", Some(&quoted(&other)))));
    }
    bench.stand(rows).await;
    // What was written into it was no command.
    assert!(bench.app.redis.run::<u64>(&["DBSIZE"]).await > 0);
}
