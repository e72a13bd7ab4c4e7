//! S1: of all the tokens that an account ever had, those that its state names are good, and no other.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;

use super::scene::NOW;
use super::*;
use crate::account::Previous;
use crate::token::{Jti, TokenId};

#[test]
fn the_current_token_is_good() {
    assert_eq!(Scene::new().reason(), None);
}

#[test]
fn s1_an_older_token_is_superseded() {
    let mut scene = Scene::new();
    scene.regenerate(None);
    assert_eq!(scene.reason(), Some(Reason::Superseded));
    scene.state(|state| state.generation += 40);
    assert_eq!(scene.reason(), Some(Reason::Superseded));
}

#[test]
fn s1_an_older_token_of_an_account_without_one_is_revoked() {
    let mut scene = Scene::new();
    scene.state(|state| state.token_id = None);
    assert_eq!(scene.reason(), Some(Reason::Revoked), "the newest, revoked");
    scene.state(|state| state.generation += 1);
    assert_eq!(scene.reason(), Some(Reason::Revoked), "an older one, the newest revoked");
    scene.state(|state| state.generation = 0);
    assert_eq!(scene.reason(), Some(Reason::Revoked), "none was ever issued");
}

#[test]
fn s1_the_same_generation_under_another_token_id_is_superseded() {
    let mut scene = Scene::new();
    scene.state(|state| state.token_id = Some(TokenId::of_jti("another")));
    assert_eq!(scene.reason(), Some(Reason::Superseded));
}

#[test]
fn s1_the_right_token_id_under_another_generation_is_refused() {
    let mut scene = Scene::new();
    scene.state(|state| state.generation += 1);
    assert_eq!(scene.reason(), Some(Reason::Superseded));
    scene.state(|state| state.generation -= 2);
    assert_eq!(scene.reason(), Some(Reason::Revoked));
}

/// The state forgot something: a store was restored, or lost its last changes.
#[test]
fn a_token_from_ahead_of_the_state_is_refused() {
    let mut scene = Scene::new();
    for ahead in [1, 2, u64::MAX - 3] {
        scene.claims.generation = 3 + ahead;
        assert_eq!(scene.reason(), Some(Reason::Revoked), "{ahead} ahead");
    }
}

#[test]
fn during_an_overlap_both_tokens_are_good_and_no_third() {
    let mut scene = Scene::new();
    let newer = Jti::random().unwrap();
    scene.regenerate(Some(NOW + 60));
    scene.state(|state| state.token_id = Some(newer.token_id()));
    assert!(!scene.decide(&scene.token()).unwrap().is_current());

    scene.jti = Jti::random().unwrap();
    assert_eq!(scene.reason(), Some(Reason::Superseded), "the previous generation, made up");
    scene.claims.generation -= 1;
    assert_eq!(scene.reason(), Some(Reason::Superseded), "the one before the previous");

    scene.claims.generation = 4;
    scene.jti = newer;
    assert!(scene.decide(&scene.token()).unwrap().is_current());
}

#[test]
fn k4_a_stolen_key_makes_no_token_that_is_accepted() {
    let mut scene = Scene::new();
    let genuine = scene.token();
    for generation in 1..=6 {
        scene.claims.generation = generation;
        for jti in [Jti::random().unwrap(), Jti::random().unwrap()] {
            scene.jti = jti;
            let reason = scene.reason();
            let expected = if generation <= 3 { Reason::Superseded } else { Reason::Revoked };
            assert_eq!(reason, Some(expected), "generation {generation}");
        }
        // The token id is public; it is not the secret that it is made of.
        let public = format!("{:?}", &scene.claims.token_id.to_string()[..22]);
        let reason = scene.reason_for(&scene.with_claim("jti", Some(&public)));
        assert!(reason.is_some(), "generation {generation}");
    }
    assert_eq!(scene.reason_for(&genuine), None);
}

/// Of every ECDSA signature (r, s) there is a twin (r, n - s), which anybody can compute: the text of a token is not its
/// identity, its `jti` is.
#[test]
fn a_token_with_the_twin_of_its_signature_is_the_same_token() {
    const ORDER: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
    let mut scene = Scene::new();
    let token = scene.token();
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let mut signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let mut borrow = 0;
    for (at, byte) in signature[32..].iter_mut().enumerate().rev() {
        let order = i32::from(u8::from_str_radix(&ORDER[2 * at..2 * at + 2], 16).unwrap());
        let difference = order - i32::from(*byte) - borrow;
        borrow = i32::from(difference < 0);
        *byte = u8::try_from(difference.rem_euclid(256)).unwrap();
    }
    let twin = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
    assert_ne!(twin, token);
    assert_eq!(scene.decide(&twin).unwrap().token_id(), scene.claims.token_id);
    scene.regenerate(None);
    assert_eq!(scene.reason_for(&twin), Some(Reason::Superseded));
}

#[test]
fn a_dead_token_still_says_whose_it_is() {
    let mut scene = Scene::new();
    scene.regenerate(None);
    let refusal = scene.decide(&scene.token()).unwrap_err();
    let holder = refusal.holder.unwrap();
    assert_eq!(holder.account, scene.claims.account);
    assert_eq!(holder.username().unwrap().as_str(), "ci-deploy");
    let token = holder.token.unwrap();
    assert_eq!((token.id, token.generation), (scene.claims.token_id, 3));
    assert_eq!(token.key_id(), scene.key.public().key_id());
    assert!(refusal.verified.is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn s1_whatever_the_state_says_only_the_tokens_that_it_names_are_good(
        generation in 0..4_u64,
        current in proptest::option::of(0..3_usize),
        previous in proptest::option::of((1..4_u64, 0..3_usize, -1..2_i64)),
    ) {
        let mut scene = Scene::new();
        let secrets = [0; 3].map(|_| Jti::random().unwrap());
        scene.state(|state| {
            state.generation = generation;
            state.token_id = current.map(|nth| secrets[nth].token_id());
            state.previous = previous.map(|(generation, nth, ends_in)| Previous {
                generation,
                token_id: secrets[nth].token_id(),
                ends_at: NOW + ends_in,
            });
        });
        let mut named = BTreeSet::new();
        named.extend(current.map(|nth| (generation, nth)));
        named.extend(previous.filter(|(.., ends_in)| *ends_in > 0).map(|(generation, nth, _)| (generation, nth)));
        for claimed in 1..5 {
            for (nth, jti) in secrets.iter().enumerate() {
                scene.claims.generation = claimed;
                scene.jti = jti.clone();
                let accepted = scene.reason().is_none();
                prop_assert_eq!(accepted, named.contains(&(claimed, nth)), "generation {} of {:?}", claimed, named);
            }
        }
    }
}
