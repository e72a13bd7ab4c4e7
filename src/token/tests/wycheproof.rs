//! The signature sets of Project Wycheproof, through the function that decides about the signature of every token.
//!
//! What the sets call valid is accepted, and what they call invalid refused, but for [`DEVIATIONS`]. Sets of other algorithms
//! stand here too: their signatures are good ones of somebody else's, and none of ours.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use wycheproof::TestResult;
use wycheproof::ecdsa::TestName::*;
use wycheproof::eddsa::TestName::*;
use wycheproof::rsa_pkcs1_verify::TestName::*;
use wycheproof::rsa_pss_verify::TestName::*;

use crate::token::{Algorithm, VerificationKey};

struct Case {
    id: usize,
    flags: Vec<String>,
    expected: TestResult,
    accepted: bool,
}

/// Where we decide otherwise than a set expects, or where it leaves the decision to us.
struct Deviation {
    set: &'static str,
    which: fn(&Case) -> bool,
    /// How many cases those are; all of them deviate.
    count: usize,
    why: &'static str,
}

const fn of_another(set: &'static str, count: usize, why: &'static str) -> Deviation {
    Deviation { set, which: |case| case.expected == TestResult::Valid, count, why }
}

/// A DigestInfo without the NULL parameters. RFC 8017, appendix A.2.4, has verifiers accept it or not; who signs adds the NULL.
const fn missing_null(set: &'static str) -> Deviation {
    let which = |case: &Case| case.expected == TestResult::Acceptable && case.flags == ["MissingNull"];
    Deviation { set, which, count: 1, why: "nobody who signs our tokens leaves the NULL out" }
}

const DEVIATIONS: &[Deviation] = &[
    missing_null("RS256, 2048 bits"),
    missing_null("RS256, 3072 bits"),
    missing_null("RS256, 4096 bits"),
    missing_null("RS256, 8192 bits"),
    missing_null("RS256, SHA-512"),
    of_another("ES256, DER", 174, "in a JWS a signature is r and s, 32 bytes each (RFC 7518, section 3.4)"),
    of_another("ES256, SHA-512", 242, "ES256 hashes with SHA-256"),
    of_another("ES256, secp256k1", 167, "ES256 is on P-256; the keys are none of ours"),
    of_another("EdDSA, Ed448", 17, "EdDSA is Ed25519 here; the keys are none of ours"),
    of_another(
        "RS256, 8192 bits",
        7,
        "a token has no room for a signature above 4,096 bits; the keys are none of ours",
    ),
    of_another("RS256, SHA-512", 8, "RS256 hashes with SHA-256"),
    Deviation {
        set: "RS256, SHA-512",
        which: |case| case.id == 221 && case.flags == ["WrongHash"],
        count: 1,
        why: "what is the wrong hash there is SHA-256, ours",
    },
    of_another("PS256, no salt", 61, "the salt is as long as the hash (RFC 7518, section 3.5)"),
    Deviation {
        set: "PS256, no salt",
        which: |case| case.id == 69 && case.flags == ["ModifiedSignature"],
        count: 1,
        why: "what is modified there is the length of the salt, to ours",
    },
    of_another("PS256, MGF1 with SHA-1", 63, "MGF1 uses the same hash (RFC 7518, section 3.5)"),
    of_another("PS256, SHA-384", 95, "PS256 hashes with SHA-256"),
];

#[test]
fn signatures_are_accepted_and_refused_as_project_wycheproof_expects() {
    let mut wrong = Vec::new();
    let sets = sets();
    for (set, count, cases) in &sets {
        if cases.len() != *count {
            wrong.push(format!("{set} has {} cases", cases.len()));
        }
        for case in cases {
            let listed = DEVIATIONS.iter().any(|deviation| deviation.set == *set && (deviation.which)(case));
            let as_expected = match case.expected {
                TestResult::Valid => case.accepted,
                TestResult::Invalid => !case.accepted,
                TestResult::Acceptable => false,
            };
            if listed == as_expected {
                wrong.push(format!("{set} {}: {:?} {:?} {}", case.id, case.expected, case.flags, case.accepted));
            }
        }
    }
    for deviation in DEVIATIONS {
        let cases = sets.iter().filter(|(set, ..)| *set == deviation.set).flat_map(|(.., cases)| cases);
        let count = cases.filter(|case| (deviation.which)(case)).count();
        if count != deviation.count {
            wrong.push(format!("{}: {count} cases: {}", deviation.set, deviation.why));
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn rsa(n: &[u8], e: &[u8]) -> Value {
    let integer = |bytes: &[u8]| base64url(&bytes[bytes.iter().take_while(|byte| **byte == 0).count()..]);
    json!({ "kty": "RSA", "n": integer(n), "e": integer(e) })
}

/// The cases of all groups of a set, decided under our key of the group's.
macro_rules! cases {
    ($algorithm:expr, $set:expr, |$group:ident| $jwk:expr) => {{
        let mut cases = Vec::new();
        for $group in $set.test_groups {
            let key = serde_json::from_value($jwk).ok().and_then(|jwk| VerificationKey::from_jwk($algorithm, jwk).ok());
            for test in &$group.tests {
                let accepted = key.as_ref().is_some_and(|key| key.verifies(&test.msg, &test.sig));
                let flags = test.flags.iter().map(|flag| format!("{flag:?}")).collect();
                cases.push(Case { id: test.tc_id, flags, expected: test.result, accepted });
            }
        }
        cases
    }};
}

/// Each with the number of cases that it has.
fn sets() -> Vec<(&'static str, usize, Vec<Case>)> {
    let ecdsa = |name| {
        let set = wycheproof::ecdsa::TestSet::load(name).unwrap();
        cases!(Algorithm::ES256, set, |group| {
            let (x, y) = group.key.key[1..].split_at((group.key.key.len() - 1) / 2);
            json!({ "kty": "EC", "crv": "P-256", "x": base64url(x), "y": base64url(y) })
        })
    };
    let eddsa = |name| {
        let set = wycheproof::eddsa::TestSet::load(name).unwrap();
        cases!(Algorithm::EdDSA, set, |group| json!({ "kty": "OKP", "crv": "Ed25519", "x": base64url(&group.key.pk) }))
    };
    let pkcs1 = |name| {
        let set = wycheproof::rsa_pkcs1_verify::TestSet::load(name).unwrap();
        cases!(Algorithm::RS256, set, |group| rsa(&group.key.n, &group.key.e))
    };
    let pss = |name| {
        let set = wycheproof::rsa_pss_verify::TestSet::load(name).unwrap();
        cases!(Algorithm::PS256, set, |group| rsa(&group.key.n, &group.key.e))
    };
    vec![
        ("ES256", 262, ecdsa(EcdsaSecp256r1Sha256P1363)),
        ("ES256, DER", 484, ecdsa(EcdsaSecp256r1Sha256)),
        ("ES256, SHA-512", 332, ecdsa(EcdsaSecp256r1Sha512P1363)),
        ("ES256, secp256k1", 252, ecdsa(EcdsaSecp256k1Sha256P1363)),
        ("EdDSA", 151, eddsa(Ed25519)),
        ("EdDSA, Ed448", 87, eddsa(Ed448)),
        ("RS256, 2048 bits", 259, pkcs1(Rsa2048Sha256)),
        ("RS256, 3072 bits", 259, pkcs1(Rsa3072Sha256)),
        ("RS256, 4096 bits", 258, pkcs1(Rsa4096Sha256)),
        ("RS256, 8192 bits", 258, pkcs1(Rsa8192Sha256)),
        ("RS256, SHA-512", 259, pkcs1(Rsa2048Sha512)),
        ("PS256, 2048 bits", 108, pss(RsaPss2048Sha256Mgf1SaltLen32)),
        ("PS256, 3072 bits", 108, pss(RsaPss3072Sha256Mgf1SaltLen32)),
        ("PS256, 4096 bits", 108, pss(RsaPss4096Sha256Mgf1SaltLen32)),
        ("PS256, no salt", 103, pss(RsaPss2048Sha256Mgf1SaltLen0)),
        ("PS256, MGF1 with SHA-1", 108, pss(RsaPss2048Sha256Mgf1Sha1_20)),
        ("PS256, SHA-384", 141, pss(RsaPss2048Sha384Mgf1SaltLen48)),
    ]
}
