//! The memory itself: one check for all who ask at once, and never more bytes than allowed.

mod concurrent;
mod memory;

use std::sync::LazyLock;

use super::*;
use crate::account::{AccountId, Binding};
use crate::token::{Algorithm, TokenId};
use crate::verify::scene::Scene;
use crate::verify::signed::Common;

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

/// What many tokens say that are for so many audiences.
fn common(audiences: usize, is_shared: bool) -> Common {
    Common {
        key_id: "k".repeat(43).into(),
        algorithm: Algorithm::ES256,
        issuer: "https://id.example.com".to_owned(),
        audiences: (0..audiences)
            .map(|nth| format!("https://audience-with-quite-a-long-name-{nth:03}").parse().unwrap())
            .collect(),
        binding: None,
        is_shared,
    }
}

fn saying(common: Arc<Common>) -> Signed {
    Signed {
        account: "0191f3a0-0000-7000-8000-000000000000".parse::<AccountId>().unwrap(),
        token_id: TokenId::of_jti("one"),
        generation: 1,
        issued_at: 0,
        expires_at: 1,
        common,
    }
}

/// What it has in common with others lies elsewhere.
fn ordinary() -> Signed {
    static COMMON: LazyLock<Arc<Common>> = LazyLock::new(|| Arc::new(common(2, true)));
    saying(Arc::clone(&COMMON))
}

/// Nobody says the same; as many audiences as an account may have.
fn heaviest() -> Signed {
    saying(Arc::new(common(16, false)))
}

#[test]
fn it_shows_nothing_but_counts() {
    let signatures = Signatures::within(1 << 20);
    signatures.once(Some(Digest::numbered(1)), true, || Some(ordinary()));
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

#[test]
fn what_tokens_have_in_common_is_held_once() {
    let scene = Scene::new();
    let other = Scene { jti: crate::token::Jti::random().unwrap(), ..Scene::new() };
    let mut elsewhere = Scene::new();
    elsewhere.claims.audiences.reverse();
    let signed = [&scene, &other, &elsewhere].map(|of| {
        let token = of.token();
        let _ = scene.decide_with(&scene.signatures, &token);
        scene.signatures.find(&scene.signatures.digest(&token).unwrap()).unwrap()
    });
    assert!(Arc::ptr_eq(&signed[0].common, &signed[1].common));
    assert!(!Arc::ptr_eq(&signed[0].common, &signed[2].common));
    assert_ne!(signed[0].common.audiences, signed[2].common.audiences, "the order is the token's");
    assert_ne!((signed[0].account, signed[0].token_id), (signed[1].account, signed[1].token_id));
}
