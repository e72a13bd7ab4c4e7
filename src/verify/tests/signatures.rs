//! The signature cache: a hit decides nothing, and garbage never enters. (That it makes no difference to any decision of any
//! test is what [`Scene::decide`] sees to.)

use std::sync::Barrier;
use std::time::Duration;

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::*;
use crate::account::Status;
use crate::clock::ManualClock;
use crate::token::{Algorithm, Jti, SigningKey};
use scene::NOW;

const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// What is decided with the scene's own cache.
fn reason(scene: &Scene, token: &str) -> Option<Reason> {
    scene.decide_with(&scene.signatures, token).err().map(|refusal| refusal.reason)
}

fn counts(scene: &Scene) -> SignatureCounts {
    scene.signatures.counts()
}

type Change = (Option<Reason>, fn(&mut Scene));

/// What can happen between two uses of one token, and what is said at the second.
const CHANGES: [Change; 24] = [
    (None, |_| {}),
    (Some(Reason::Expired), |it| it.clock.advance(Duration::from_secs(1005))),
    (Some(Reason::WrongIssuer), |it| it.issuers = vec!["https://elsewhere.example".to_owned()]),
    (Some(Reason::WrongAudience), |it| it.demand.audience = Some("mail".parse().unwrap())),
    (Some(Reason::WrongAudience), |it| it.state(|state| state.audiences = vec!["search".parse().unwrap()])),
    (Some(Reason::Superseded), |it| it.regenerate(None)),
    (None, |it| it.regenerate(Some(NOW + 1))),
    (Some(Reason::Superseded), |it| it.regenerate(Some(NOW))),
    (Some(Reason::Revoked), |it| it.state(|state| state.token_id = None)),
    (Some(Reason::Revoked), |it| it.state(|state| state.generation = 2)),
    (Some(Reason::Disabled), |it| it.state(|state| state.status = Status::Disabled)),
    (Some(Reason::UnknownAccount), |it| it.snapshot().record = None),
    (Some(Reason::StoreUnavailable), |it| it.source.state_unavailable = true),
    (Some(Reason::RevokedKey), |it| it.key_state(KeyState::Revoked)),
    (Some(Reason::RevokedKey), |it| it.key_state(KeyState::Retired)),
    (None, |it| it.key_state(KeyState::Retiring)),
    (Some(Reason::RevokedKey), |it| {
        it.source.stored_keys = it.key_set(2, KeyState::Revoked);
        it.snapshot().keys_version = 2;
    }),
    (Some(Reason::UnknownKey), |it| {
        it.source.keys = KeySet::new(2, []);
        it.source.stored_keys = KeySet::new(2, []);
    }),
    (Some(Reason::StoreUnavailable), |it| {
        it.source.keys = KeySet::new(2, []);
        it.source.keys_unavailable = true;
    }),
    (Some(Reason::BindingMismatch), |it| {
        it.state(|state| state.binding = Some(Binding::Certificate("another".to_owned())));
    }),
    (Some(Reason::NetworkNotAllowed), |it| {
        it.state(|state| state.allowed_networks = vec!["192.0.2.0/24".parse().unwrap()]);
    }),
    (Some(Reason::NetworkNotAllowed), |it| {
        it.state(|state| state.allowed_networks = vec!["10.1.2.0/24".parse().unwrap()]);
        it.presented_from(Some("10.1.3.3"));
    }),
    (Some(Reason::InsufficientPermission), |it| it.demand.permission = Some("money:print".parse().unwrap())),
    (Some(Reason::InsufficientPermission), |it| it.snapshot().roles.clear()),
];

#[test]
fn a_hit_decides_nothing() {
    for (nth, (expected, change)) in CHANGES.into_iter().enumerate() {
        let mut scene = Scene::new();
        let token = scene.token();
        assert_eq!(reason(&scene, &token), None);
        change(&mut scene);
        assert_eq!(reason(&scene, &token), expected, "change {nth}");
        let SignatureCounts { hits, misses, entries, .. } = counts(&scene);
        // Where there is no such key, nobody looks.
        let found = u64::from(scene.source.keys.find(scene.key.public().key_id()).is_some());
        assert_eq!((hits, misses, entries), (found, 1, 1), "change {nth} was decided about a token that was known");
    }
}

#[test]
fn what_was_refused_once_is_good_once_its_reason_is_gone() {
    for (nth, (_, change)) in CHANGES.into_iter().enumerate().filter(|(_, (expected, _))| expected.is_some()) {
        let (mut spoilt, good) = (Scene::new(), Scene::new());
        spoilt.jti = good.jti.clone();
        spoilt.claims = good.claims.clone();
        spoilt.source.snapshots = good.source.snapshots.clone();
        let token = good.token();
        change(&mut spoilt);
        assert!(reason(&spoilt, &token).is_some(), "change {nth}");
        let mended = Scene { signatures: Arc::clone(&spoilt.signatures), ..good };
        assert_eq!(reason(&mended, &token), None, "change {nth}");
    }
}

#[test]
fn the_proof_of_a_binding_is_asked_for_every_time() {
    let mut scene = Scene::new();
    let binding = Binding::Key("thumbprint".to_owned());
    scene.claims.confirmation = Some(Confirmation::Key { jkt: "thumbprint".to_owned() });
    scene.state(|state| state.binding = Some(binding.clone()));
    let token = scene.token();
    let address = Some("10.1.2.3".parse().unwrap());
    for (proof, expected) in [
        (Some(binding.clone()), None),
        (None, Some(Reason::BindingMismatch)),
        (Some(Binding::Certificate("thumbprint".to_owned())), Some(Reason::BindingMismatch)),
        (Some(binding), None),
    ] {
        scene.demand.presenter = Presenter::Holder { address, proof: proof.map(Proof) };
        assert_eq!(reason(&scene, &token), expected);
    }
    assert_eq!((counts(&scene).hits, counts(&scene).misses), (3, 1));
}

/// The same key bytes could be good for another algorithm: RSA.
#[test]
fn a_token_whose_key_is_now_for_another_algorithm_is_refused() {
    let ours = SigningKey::generate(Algorithm::RS256).unwrap();
    let twin = SigningKey::from_pkcs8(Algorithm::PS256, ours.expose_pkcs8()).unwrap();
    let mut scene = Scene::signed_by(Arc::new(ours));
    let token = scene.token();
    assert_eq!(reason(&scene, &token), None);
    scene.source.keys = KeySet::new(1, [KnownKey { public: twin.public().clone(), state: KeyState::Active }]);
    assert_eq!(reason(&scene, &token), Some(Reason::UnsupportedAlgorithm));
    assert_eq!((counts(&scene).hits, counts(&scene).misses), (0, 1), "nobody looked whether its signature is known");
}

#[test]
fn a_token_with_one_altered_character_is_a_miss_and_refused() {
    for algorithm in [Algorithm::ES256, Algorithm::EdDSA, Algorithm::RS256] {
        let scene = Scene::signed_by(Arc::new(SigningKey::generate(algorithm).unwrap()));
        let token = scene.token();
        assert_eq!(reason(&scene, &token), None);
        let known = counts(&scene);
        for at in 0..token.len() {
            // The last one carries bits that mean nothing: each of its alternatives.
            let all = at + 1 == token.len() || at == token.rfind('.').unwrap() - 1;
            let others = ALPHABET.iter().filter(|other| **other != token.as_bytes()[at]);
            for other in others.skip(if all { 0 } else { at % 60 }).take(if all { 63 } else { 1 }) {
                let mut altered = token.clone().into_bytes();
                altered[at] = *other;
                let refused = scene.decide_with(&scene.signatures, std::str::from_utf8(&altered).unwrap()).unwrap_err();
                assert!(refused.reason.is_unproven() && refused.holder.is_none(), "{algorithm}, {at}: {refused:?}");
            }
        }
        for altered in
            [format!("{token}="), format!("{token}A"), format!("{token}."), format!(" {token}"), format!("{token}\n")]
        {
            assert!(reason(&scene, &altered).is_some_and(Reason::is_unproven), "{algorithm}");
        }
        let now = counts(&scene);
        assert_eq!((now.hits, now.entries, now.bytes), (known.hits, known.entries, known.bytes), "{algorithm}");
        assert_eq!(reason(&scene, &token), None);
        assert_eq!(counts(&scene).hits, known.hits + 1, "{algorithm}");
    }
}

/// ECDSA: whoever has one signature can make its twin (r, n − s). That is a token of its own, checked for itself.
#[test]
fn another_signature_of_the_same_claims_is_another_token() {
    let scene = Scene::new();
    let (one, other) = (scene.token(), scene.token());
    assert_ne!(one, other, "ECDSA signs with a random number");
    for token in [&one, &other] {
        assert_eq!(reason(&scene, token), None);
    }
    assert_eq!((counts(&scene).hits, counts(&scene).misses, counts(&scene).entries), (0, 2, 2));
}

#[test]
fn garbage_never_enters_and_drives_nothing_out() {
    let small = || Scene { signatures: Arc::new(Signatures::within(64 << 10)), ..Scene::new() };
    let scene = small();
    let token = scene.token();
    assert_eq!(reason(&scene, &token), None);
    let known = counts(&scene);
    let (signed, _) = token.rsplit_once('.').unwrap();
    let flood = 500;
    for nth in 0..flood {
        let mut signature = [0; 64];
        rand::fill(&mut signature).unwrap();
        let forged = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
        assert_eq!(reason(&scene, &forged), Some(Reason::BadSignature));
        assert_eq!(reason(&scene, &format!("{forged}{nth}.")), Some(Reason::Malformed));
        assert_eq!(reason(&scene, &"A".repeat(5000 + nth)), Some(Reason::TooLarge));
        let stranger = small().with_header("kid", Some(&format!("\"made up {nth}\"")));
        assert_eq!(reason(&scene, &stranger), Some(Reason::UnknownKey));
    }
    let now = counts(&scene);
    assert_eq!((now.entries, now.bytes, now.hits), (1, known.bytes, known.hits));
    assert_eq!(now.misses, known.misses + flood as u64, "nothing but the forged signatures was ever checked");
    assert_eq!(reason(&scene, &token), None);
    assert_eq!(counts(&scene).hits, known.hits + 1);
}

/// Whoever stole a key can sign as much as he likes.
#[test]
fn tokens_under_a_revoked_key_never_enter() {
    for state in [KeyState::Revoked, KeyState::Retired] {
        let mut scene = Scene::new();
        scene.key_state(state);
        for _ in 0..3 {
            let expected = if state == KeyState::Revoked { Reason::RevokedKey } else { Reason::UnknownAccount };
            assert_eq!(reason(&scene, &Scene::new().token()), Some(expected));
        }
        let SignatureCounts { hits, misses, entries, .. } = counts(&scene);
        assert_eq!((hits, misses, entries), (0, 3, 0), "{state:?}");
    }
}

#[test]
fn without_a_cache_every_signature_is_checked() {
    let scene = Scene::new();
    let deciders = [
        Decider::<ManualClock>::new(scene.issuers.clone(), Arc::clone(&scene.clock)),
        Decider::new(scene.issuers.clone(), Arc::clone(&scene.clock)).with_signature_cache(0),
    ];
    for decider in deciders {
        for _ in 0..3 {
            assert!(scene.decide_with(&decider.signatures, &scene.token()).is_ok());
        }
        let expected = SignatureCounts { misses: 3, ..SignatureCounts::default() };
        assert_eq!(decider.signature_counts(), expected);
    }
}

#[test]
fn many_who_show_the_same_tokens_at_once_have_each_checked_once() {
    let scene = Scene::new();
    let tokens: Vec<String> = (0..40).map(|_| Scene { jti: Jti::random().unwrap(), ..Scene::new() }.token()).collect();
    let start = Barrier::new(8);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for token in &tokens {
                    start.wait();
                    assert_eq!(reason(&scene, token), Some(Reason::UnknownAccount));
                }
            });
        }
    });
    let SignatureCounts { misses, entries, .. } = counts(&scene);
    assert_eq!((misses, entries), (40, 40));
}
