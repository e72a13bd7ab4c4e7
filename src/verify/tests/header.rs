//! The header: exactly `alg`, `typ` and `kid`, and an algorithm that is its key's.

use std::sync::atomic::Ordering;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::scene::text;
use super::*;
use crate::token::{Algorithm, SigningKey};

#[test]
fn a_header_that_says_more_is_malformed() {
    let scene = Scene::new();
    let jwk = serde_json::to_string(scene.key.public().jwk()).unwrap();
    let members = [
        ("crit", r#"["exp"]"#),
        ("crit", "[]"),
        ("b64", "false"),
        ("b64", "true"),
        ("jwk", &jwk),
        ("jku", r#""https://attacker.example/keys""#),
        ("x5u", r#""https://attacker.example/cert""#),
        ("x5c", r#"["MIIB"]"#),
        ("x5t", r#""AAAA""#),
        ("x5t#S256", r#""AAAA""#),
        ("cty", r#""JWT""#),
        ("zip", r#""DEF""#),
        ("enc", r#""A256GCM""#),
        ("note", "null"),
        ("Alg", r#""ES256""#),
    ];
    for (name, raw) in members {
        assert_eq!(scene.reason_for(&scene.with_header(name, Some(raw))), Some(Reason::Malformed), "{name}: {raw}");
    }
}

#[test]
fn every_header_member_is_needed_and_is_a_text() {
    let scene = Scene::new();
    for name in ["alg", "typ", "kid"] {
        for raw in [None, Some("null"), Some("1"), Some("[]"), Some("{}"), Some("true")] {
            assert_eq!(scene.reason_for(&scene.with_header(name, raw)), Some(Reason::Malformed), "{name}: {raw:?}");
        }
    }
}

#[test]
fn the_type_is_at_jwt_and_nothing_like_it() {
    let scene = Scene::new();
    assert_eq!(scene.reason_for(&scene.with_header("typ", Some(r#""at+jwt""#))), None);
    for other in ["", "JWT", "jwt", "AT+JWT", "At+jwt", "application/at+jwt", "at+jwt ", "dpop+jwt", "logout+jwt"] {
        let token = scene.with_header("typ", Some(&format!("{other:?}")));
        assert_eq!(scene.reason_for(&token), Some(Reason::Malformed), "{other:?}");
    }
}

#[test]
fn an_algorithm_that_is_none_of_ours_is_unsupported() {
    let scene = Scene::new();
    let others = [
        "", "none", "None", "NONE", "nOnE", "HS256", "HS384", "HS512", "ES384", "ES512", "ES256K", "RS384", "RS512",
        "PS384", "PS512", "Ed25519", "eddsa", "es256", "ES256 ", "RSA-OAEP", "dir",
    ];
    for other in others {
        let token = scene.with_header("alg", Some(&format!("{other:?}")));
        assert_eq!(scene.reason_for(&token), Some(Reason::UnsupportedAlgorithm), "{other:?}");
    }
}

/// RFC 8725, section 2.1: the public key, which everybody has, is taken for a shared secret.
#[test]
fn the_public_key_is_never_a_shared_secret() {
    for algorithm in Algorithm::ALL {
        let scene = Scene::signed_by(Arc::new(SigningKey::generate(algorithm).unwrap()));
        let jwk = serde_json::to_value(scene.key.public().jwk()).unwrap();
        let published = ["x", "n"].iter().find_map(|name| jwk[name].as_str()).unwrap();
        let secrets = [
            published.as_bytes().to_vec(),
            URL_SAFE_NO_PAD.decode(published).unwrap(),
            jwk.to_string().into_bytes(),
            scene.key.public().key_id().as_bytes().to_vec(),
            Vec::new(),
        ];
        for secret in secrets {
            for (alg, expected) in [("HS256", Reason::UnsupportedAlgorithm), (algorithm.as_str(), Reason::BadSignature)]
            {
                let header = text(&scene.header(), "alg", Some(&format!("{alg:?}")));
                let payload = text(&scene.payload(), "", None);
                let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
                let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), signed.as_bytes());
                let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag));
                assert_eq!(scene.reason_for(&token), Some(expected), "{algorithm} as {alg}");
            }
        }
    }
}

#[test]
fn an_algorithm_that_is_not_its_keys_is_unsupported() {
    for algorithm in Algorithm::ALL {
        let scene = Scene::signed_by(Arc::new(SigningKey::generate(algorithm).unwrap()));
        for claimed in Algorithm::ALL.into_iter().filter(|claimed| *claimed != algorithm) {
            let token = scene.with_header("alg", Some(&format!("{:?}", claimed.as_str())));
            assert_eq!(scene.reason_for(&token), Some(Reason::UnsupportedAlgorithm), "{algorithm} as {claimed}");
        }
    }
}

/// An RSA key could do both: the same bytes, the same key id, the other padding.
#[test]
fn an_rsa_key_signs_in_one_way_only() {
    let ours = SigningKey::generate(Algorithm::RS256).unwrap();
    let twin = SigningKey::from_pkcs8(Algorithm::PS256, ours.expose_pkcs8()).unwrap();
    assert_eq!(ours.public().key_id(), twin.public().key_id());
    let scene = Scene::signed_by(Arc::new(ours));
    let forger = Scene { key: Arc::new(twin), ..Scene::new() };
    let (payload, as_ps256) = (text(&scene.payload(), "", None), text(&forger.header(), "", None));
    assert_eq!(scene.reason_for(&forger.sign(&as_ps256, &payload)), Some(Reason::UnsupportedAlgorithm));
    let as_rs256 = text(&scene.header(), "", None);
    assert_eq!(scene.reason_for(&forger.sign(&as_rs256, &payload)), Some(Reason::BadSignature));
}

#[test]
fn a_key_id_is_looked_up_and_nothing_else() {
    let scene = Scene::new();
    let kid = scene.key.public().key_id().to_owned();
    let other_case = |c: char| if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
    let others = [
        String::new(),
        " ".to_owned(),
        "../../../../dev/null".to_owned(),
        "/etc/passwd".to_owned(),
        "https://attacker.example/key".to_owned(),
        "' OR 1=1 --".to_owned(),
        "*".to_owned(),
        format!("{kid} "),
        format!("{kid}="),
        kid[..42].to_owned(),
        kid.chars().map(other_case).collect(),
        "k".repeat(1500),
    ];
    for other in others {
        let token = scene.with_header("kid", Some(&format!("{other:?}")));
        assert_eq!(scene.reason_for(&token), Some(Reason::UnknownKey), "{other:?}");
    }
    assert_eq!(scene.source.lookups.load(Ordering::Relaxed), 0, "no account is looked up for a stranger");
}

#[test]
fn a_changed_token_is_a_bad_signature() {
    let scene = Scene::new();
    let token = scene.token();
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let other = Scene { jti: crate::token::Jti::random().unwrap(), ..Scene::new() }.token();
    let (other_signed, other_signature) = other.rsplit_once('.').unwrap();
    let mut raised = scene.claims.clone();
    raised.generation += 1;
    let raised = Scene { claims: raised, jti: scene.jti.clone(), ..Scene::new() }.token();
    let (raised_signed, _) = raised.rsplit_once('.').unwrap();
    let mut flipped = URL_SAFE_NO_PAD.decode(signature).unwrap();
    flipped[10] ^= 1;
    let spoilt = [
        format!("{signed}.{other_signature}"),
        format!("{other_signed}.{signature}"),
        format!("{raised_signed}.{signature}"),
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(&flipped)),
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(&flipped[..63])),
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode([0; 64])),
        format!("{signed}.AA"),
        format!("{signed}.{signature}AAAA"),
    ];
    for token in spoilt {
        let refusal = scene.decide(&token).unwrap_err();
        assert_eq!(refusal.reason, Reason::BadSignature, "{token}");
        assert!(refusal.holder.is_none(), "whose it is was not proven");
    }
    assert_eq!(scene.source.lookups.load(Ordering::Relaxed), 0);
}

/// The key of another service, published under its own id and claimed under ours.
#[test]
fn a_token_under_somebody_elses_key_is_a_bad_signature() {
    let scene = Scene::new();
    let stranger = Scene { key: Arc::new(SigningKey::generate(Algorithm::ES256).unwrap()), ..Scene::new() };
    assert_eq!(scene.reason_for(&stranger.token()), Some(Reason::UnknownKey));
    let claimed = stranger.sign(&text(&scene.header(), "", None), &text(&scene.payload(), "", None));
    assert_eq!(scene.reason_for(&claimed), Some(Reason::BadSignature));
}
