//! The memory itself: one check for all who ask at once, and never more bytes than allowed.

mod concurrent;
mod memory;

use std::collections::BTreeMap;

use super::*;
use crate::account::AccountId;
use crate::token::{Algorithm, TokenId};
use crate::verify::scene::Scene;

impl Digest {
    fn numbered(nth: u64) -> Self {
        let mut bytes = [0; 32];
        bytes
            .iter_mut()
            .zip(digest::digest(&digest::SHA256, &nth.to_be_bytes()).as_ref())
            .for_each(|(to, from)| *to = *from);
        Self(bytes)
    }
}

/// What a token says that has so many audiences and teams.
fn saying(audiences: usize, teams: usize) -> Arc<Signed> {
    let name = |kind: &str, nth: usize| format!("{kind}-with-quite-a-long-name-{nth:03}");
    let claims = Claims {
        issuer: "https://id.example.com".to_owned(),
        account: "0191f3a0-0000-7000-8000-000000000000".parse::<AccountId>().unwrap(),
        audiences: (0..audiences).map(|nth| name("https://audience", nth).parse().unwrap()).collect(),
        issued_at: 0,
        expires_at: 1,
        token_id: TokenId::of_jti("one"),
        role: "r".parse().unwrap(),
        teams: (0..teams)
            .map(|nth| (name("team", nth).parse().unwrap(), name("role", nth).parse().unwrap()))
            .collect::<BTreeMap<_, _>>(),
        generation: 1,
        confirmation: None,
    };
    Arc::new(Signed { header: Header { algorithm: Algorithm::ES256, key_id: "k".repeat(43) }, claims })
}

/// The lightest that a token can be.
fn lightest() -> Arc<Signed> {
    let mut signed = Arc::into_inner(saying(0, 0)).unwrap();
    signed.claims.audiences = vec!["a".parse().unwrap()];
    Arc::new(signed)
}

#[test]
fn it_shows_nothing_but_counts() {
    let signatures = Signatures::within(1 << 20);
    signatures.once(Some(Digest::numbered(1)), Some(&saying(1, 1)), || true);
    let SignatureCounts { bytes, .. } = signatures.counts();
    let shown = format!("SignatureCounts {{ hits: 0, misses: 1, entries: 1, bytes: {bytes} }}");
    assert_eq!(format!("{signatures:?}"), shown);
}

#[test]
fn what_is_too_long_for_a_token_is_not_even_hashed() {
    let signatures = Signatures::within(1 << 20);
    assert!(signatures.digest(&"A".repeat(MAX_TOKEN_LENGTH)).is_some());
    assert!(signatures.digest(&"A".repeat(MAX_TOKEN_LENGTH + 1)).is_none());
    assert!(Signatures::default().digest("A").is_none(), "nor is anything where nothing is remembered");
}

/// K4: whoever reads the memory of a node learns no `jti`, and no token.
#[test]
fn k4_neither_the_token_nor_its_secret_is_kept() {
    let scene = Scene::new();
    let token = scene.token();
    assert!(scene.decide_with(&scene.signatures, &token).is_ok());
    let signed = scene.signatures.find(&scene.signatures.digest(&token).unwrap()).unwrap();
    let shown = format!("{signed:?}");
    let jti = scene.payload()["jti"].as_str().unwrap().to_owned();
    for secret in token.split('.').chain([jti.as_str()]) {
        assert!(!shown.contains(secret));
    }
    assert!(shown.contains("token_id") && shown.contains(&scene.claims.token_id.to_string()));
}
