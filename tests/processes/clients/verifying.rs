//! Local verification by the published keys: every algorithm with every library.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::{client, outcomes};
use crate::machine::Machine;

/// A library, and how it refuses what is wrong.
struct Library {
    script: &'static str,
    arguments: &'static [&'static str],
    /// Whether it is told which algorithms it may take.
    told_algorithms: bool,
    tampered: &'static str,
    unknown_key: &'static str,
    audience: &'static str,
    issuer: &'static str,
    algorithm: &'static str,
}

const LIBRARIES: [Library; 6] = [
    Library {
        script: "pyjwt_verify.py",
        arguments: &[],
        told_algorithms: true,
        tampered: "InvalidSignatureError",
        unknown_key: "PyJWKClientError",
        audience: "InvalidAudienceError",
        issuer: "InvalidIssuerError",
        algorithm: "InvalidAlgorithmError",
    },
    Library {
        script: "joserfc_verify.py",
        arguments: &[],
        told_algorithms: true,
        tampered: "BadSignatureError",
        unknown_key: "InvalidKeyIdError",
        audience: "InvalidClaimError",
        issuer: "InvalidClaimError",
        algorithm: "UnsupportedAlgorithmError",
    },
    Library {
        script: "authlib_verify.py",
        arguments: &[],
        told_algorithms: false,
        tampered: "InvalidTokenError",
        unknown_key: "InvalidTokenError",
        audience: "InvalidTokenError",
        issuer: "InvalidTokenError",
        algorithm: "",
    },
    Library {
        script: "jose_verify.mjs",
        arguments: &[],
        told_algorithms: true,
        tampered: "ERR_JWS_SIGNATURE_VERIFICATION_FAILED",
        unknown_key: "ERR_JWKS_NO_MATCHING_KEY",
        audience: "ERR_JWT_CLAIM_VALIDATION_FAILED",
        issuer: "ERR_JWT_CLAIM_VALIDATION_FAILED",
        algorithm: "ERR_JOSE_ALG_NOT_ALLOWED",
    },
    Library { arguments: &["oidc"], ..OAUTH4WEBAPI },
    Library { arguments: &["oauth2"], ..OAUTH4WEBAPI },
];

const OAUTH4WEBAPI: Library = Library {
    script: "oauth4webapi_verify.mjs",
    arguments: &[],
    told_algorithms: true,
    tampered: "OAUTH_INVALID_RESPONSE",
    unknown_key: "OAUTH_KEY_SELECTION_FAILED",
    audience: "OAUTH_JWT_CLAIM_COMPARISON_FAILED",
    issuer: "OAUTH_JWT_CLAIM_COMPARISON_FAILED",
    algorithm: "OAUTH_INVALID_RESPONSE",
};

/// The same header and claims with another signature.
fn tampered(token: &str) -> String {
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let first = if signature.starts_with('A') { 'B' } else { 'A' };
    format!("{signed}.{first}{}", &signature[1..])
}

/// The same with a key id that nobody published.
pub fn of_an_unknown_key(token: &str) -> String {
    let (header, rest) = token.split_once('.').unwrap();
    let mut header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
    header["kid"] = json!("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header.to_string()))
}

/// What each library does with tokens of an algorithm. `without`: those that can't be brought to take it.
fn every_library_verifies(algorithm: &str, without: &[&str]) {
    let machine = Machine::new();
    let server = machine.serve().config(&format!("[signing]\nalgorithm = \"{algorithm}\"\n")).ready();
    let issuer = server.issuer();
    let (id, good) = server.create("ci", "auditor");
    let (_, dead) = server.create("old", "auditor");
    let old = server.call("GET", "/api/v1/accounts/old").bearer(&server.admin()).send().expect(200).json();
    server.regenerate(&server.admin(), old["id"].as_str().unwrap()).expect(201);
    assert_eq!(server.verify(&dead).expect(401).reason(), "superseded");

    for library in &LIBRARIES {
        let case = |token: &str, issuer: &str, audience: &str, algorithm: &str| {
            let mut case = json!({"token": token, "issuer": issuer, "audience": audience});
            if library.told_algorithms {
                case["algorithms"] = json!([algorithm]);
            }
            case
        };
        let another = if algorithm == "ES256" { "RS256" } else { "ES256" };
        let elsewhere = "https://elsewhere.example";
        let mut cases = vec![
            case(&good, &issuer, &issuer, algorithm),
            // Local verification does not see that a token is dead.
            case(&dead, &issuer, &issuer, algorithm),
            case(&tampered(&good), &issuer, &issuer, algorithm),
            case(&of_an_unknown_key(&good), &issuer, &issuer, algorithm),
            case(&good, &issuer, elsewhere, algorithm),
            case(&good, elsewhere, &issuer, algorithm),
        ];
        let mut refusals = vec![library.tampered, library.unknown_key, library.audience, library.issuer];
        if library.told_algorithms {
            cases.push(case(&good, &issuer, &issuer, another));
            refusals.push(library.algorithm);
        }
        let name = format!("{} {:?} {algorithm}", library.script, library.arguments);
        let arguments = [&[issuer.as_str()], library.arguments].concat();
        let told = outcomes(&mut client(&machine, &server, library.script, &arguments), &cases);
        if without.contains(&library.script) {
            for outcome in &told {
                assert!(outcome["refused"].is_string(), "{name}: {outcome}");
            }
            continue;
        }
        for outcome in &told[..2] {
            assert!(outcome["ok"].is_object(), "{name}: {outcome}");
        }
        let claims = &told[0]["ok"];
        assert_eq!((&claims["sub"], &claims["client_id"]), (&json!(id), &json!(id)), "{name}");
        assert_eq!((&claims["aud"], &claims["iss"]), (&json!([issuer]), &json!(issuer)), "{name}");
        assert_eq!((&claims["gen"], &claims["role"]), (&json!(1), &json!("auditor")), "{name}");
        for (outcome, refusal) in told[2..].iter().zip(refusals) {
            assert_eq!(outcome["refused"], refusal, "{name}: {outcome}");
        }
    }
}

#[test]
fn every_library_verifies_es256() {
    every_library_verifies("ES256", &[]);
}

#[test]
fn every_library_verifies_rs256() {
    every_library_verifies("RS256", &[]);
}

/// Authlib's validator takes what joserfc recommends, and has no setting for it: neither PS256 nor `EdDSA` is among that.
#[test]
fn every_library_but_authlibs_validator_verifies_ps256() {
    every_library_verifies("PS256", &["authlib_verify.py"]);
}

#[test]
fn every_library_but_authlibs_validator_verifies_eddsa() {
    every_library_verifies("EdDSA", &["authlib_verify.py"]);
}
