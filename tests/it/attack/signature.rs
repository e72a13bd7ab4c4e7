//! Signatures that are none, and genuine ones of something else.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use countermark::token::Algorithm;

use super::bench::{Bench, Row};

/// The order of P-256's group (SEC 2, section 2.4.2).
const N: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad, 0xa7,
    0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// n - s, under which the same key's signature of the same message is as good.
pub fn malleated(signature: &[u8]) -> Vec<u8> {
    let (r, s) = signature.split_at(32);
    let (mut negated, mut borrow) = ([0u8; 32], 0i16);
    for at in (0..32).rev() {
        let digit = i16::from(N[at]) - i16::from(s[at]) - borrow;
        borrow = i16::from(digit < 0);
        negated[at] = u8::try_from(digit.rem_euclid(256)).unwrap();
    }
    [r, &negated].concat()
}

#[tokio::test]
async fn a_signature_that_is_none_opens_no_door() {
    let bench = Bench::new().await;
    let victim = &bench.victim;
    let genuine = victim.signature();
    let (r, s) = genuine.split_at(32);
    let zero = [0u8; 32];
    let one = {
        let mut one = zero;
        one[31] = 1;
        one
    };
    let below = {
        let mut below = N;
        below[31] -= 1;
        below
    };
    let above = {
        let mut above = N;
        above[31] += 1;
        above
    };
    let most = [0xff; 32];
    let mut rows = Vec::new();
    // CVE-2022-21449: r and s that are zero, or zero in disguise.
    for (left_name, left) in
        [("0", &zero[..]), ("1", &one), ("n-1", &below), ("n", &N), ("n+1", &above), ("2^256-1", &most), ("r", r)]
    {
        for (right_name, right) in
            [("0", &zero[..]), ("1", &one), ("n-1", &below), ("n", &N), ("n+1", &above), ("2^256-1", &most), ("s", s)]
        {
            if (left_name, right_name) != ("r", "s") {
                let token = victim.with_signature([left, right].concat());
                rows.push(Row::refused(format!("r={left_name} s={right_name}"), "bad_signature", token));
            }
        }
    }
    let (signed, _) = victim.token.rsplit_once('.').unwrap();
    let mut flipped = genuine.clone();
    flipped[63] ^= 1;
    let der = bench.key.sign_der(signed.as_bytes());
    for (name, signature) in [
        ("one bit changed", flipped),
        ("s before r", [s, r].concat()),
        ("one byte", vec![0]),
        ("the first half", r.to_vec()),
        ("63 bytes", genuine[..63].to_vec()),
        ("without its first byte", genuine[1..].to_vec()),
        ("65 bytes", [&genuine[..], &[0]].concat()),
        ("a zero in front", [&[0], &genuine[..]].concat()),
        ("66 bytes, zeros before r and s", [&[0], r, &[0], s].concat()),
        ("twice", [&genuine[..], &genuine[..]].concat()),
        ("DER", der.clone()),
        ("DER cut to 64 bytes", der[..64].to_vec()),
        ("empty DER", vec![0x30, 0]),
        ("DER of zeros", vec![0x30, 6, 2, 1, 0, 2, 1, 0]),
        ("two thousand bytes", vec![0x41; 2000]),
        ("of its payload alone", bench.key.sign(victim.segments()[1].as_bytes())),
        ("of its bytes decoded", bench.key.sign(&[victim.header(), victim.payload()].concat().into_bytes())),
        ("of the text in lower case", bench.key.sign(signed.to_ascii_lowercase().as_bytes())),
        ("of nothing", bench.key.sign(b"")),
    ] {
        rows.push(Row::refused(format!("signature: {name}"), "bad_signature", victim.with_signature(signature)));
    }
    rows.push(Row::refused("signature: none", "malformed", format!("{signed}.")));
    bench.stand(rows).await;
}

/// The order of Ed25519's group, least significant byte first (RFC 8032, section 5.1).
const L: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// EdDSA has a twin too, with S + L, which RFC 8032, section 5.1.7, has verifiers refuse.
fn above_the_order(signature: &[u8]) -> Vec<u8> {
    let mut carry = 0;
    let s = signature[32..].iter().zip(L).map(|(s, l)| {
        let sum = u16::from(*s) + u16::from(l) + carry;
        carry = sum >> 8;
        (sum & 0xff) as u8
    });
    [&signature[..32], &s.collect::<Vec<_>>()].concat()
}

#[tokio::test]
async fn a_signature_that_is_none_opens_no_door_under_another_algorithm_either() {
    for algorithm in [Algorithm::EdDSA, Algorithm::RS256, Algorithm::PS256] {
        let bench = Bench::under(algorithm).await;
        let victim = &bench.victim;
        let genuine = victim.signature();
        let length = genuine.len();
        let filled = |byte: u8| vec![byte; length];
        let mut one = filled(0);
        one[length - 1] = 1;
        let mut small_order = filled(0);
        small_order[0] = 1;
        let mut flipped = genuine.clone();
        flipped[length - 1] ^= 1;
        let mut signatures = vec![
            ("zeros", filled(0)),
            ("one", one),
            ("the neutral point and zero", small_order),
            ("all bits", filled(0xff)),
            ("one bit changed", flipped),
            ("a byte less", genuine[..length - 1].to_vec()),
            ("a byte more", [&genuine[..], &[0]].concat()),
            ("a zero in front", [&[0], &genuine[..]].concat()),
            ("the other way round", genuine.iter().rev().copied().collect()),
        ];
        if algorithm == Algorithm::EdDSA {
            signatures.push(("S + L", above_the_order(&genuine)));
        } else {
            let n = URL_SAFE_NO_PAD.decode(bench.key.jwk["n"].as_str().unwrap()).unwrap();
            signatures.push(("n", n.clone()));
            signatures.push(("0x00 0x01 0xff …", [&[0, 1][..], &filled(0xff)[2..]].concat()));
        }
        let rows = signatures.into_iter().map(|(name, signature)| {
            Row::refused(format!("{algorithm}: {name}"), "bad_signature", victim.with_signature(signature))
        });
        bench.stand(rows.collect()).await;
        let spare = bench.spare().await;
        bench
            .stand(vec![Row::allowed(
                format!("{algorithm}, signed again"),
                spare.sign(spare.header(), spare.payload()),
            )])
            .await;
    }
}

#[tokio::test]
async fn parts_of_two_genuine_tokens_make_no_third() {
    let bench = Bench::new().await;
    let [header, payload, signature] = bench.victim.segments();
    let [_, other_payload, other_signature] = bench.other.split('.').collect::<Vec<_>>().try_into().unwrap();
    let [_, older_payload, older_signature] = bench.older.split('.').collect::<Vec<_>>().try_into().unwrap();
    let mut rows = Vec::new();
    for (name, payload, signature) in [
        ("of another token", payload, other_signature),
        ("under another's payload", other_payload, signature),
        ("of the older token", payload, older_signature),
        ("under the older payload", older_payload, signature),
    ] {
        rows.push(Row::refused(
            format!("signature {name}"),
            "bad_signature",
            format!("{header}.{payload}.{signature}"),
        ));
    }
    for (name, token) in [
        ("header and payload swapped", format!("{payload}.{header}.{signature}")),
        ("payload and signature swapped", format!("{header}.{signature}.{payload}")),
        ("the header twice", format!("{header}.{header}.{signature}")),
        ("the payload twice", format!("{payload}.{payload}.{signature}")),
        ("two payloads in one", format!("{header}.{payload}{other_payload}.{signature}")),
    ] {
        rows.push(Row::refused(name, "malformed", token));
    }
    // Who holds the key, too, needs the living token (K4).
    let claims = URL_SAFE_NO_PAD.decode(older_payload).unwrap();
    rows.push(Row::refused("the older token", "superseded", bench.older.clone()));
    rows.push(Row::refused(
        "the older token, signed again",
        "superseded",
        bench.victim.sign(bench.victim.header(), claims),
    ));
    bench.stand(rows).await;
}
