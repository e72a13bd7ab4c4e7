//! The states of a key, and a memory of them that is older than the account's state.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::*;

#[test]
fn a_published_key_verifies() {
    for state in [KeyState::Pending, KeyState::Active, KeyState::Retiring] {
        let mut scene = Scene::new();
        scene.key_state(state);
        assert!(state.is_published());
        assert_eq!(scene.reason(), None, "{state:?}");
    }
}

#[test]
fn a_retired_or_revoked_key_verifies_nothing_that_lives() {
    for state in [KeyState::Retired, KeyState::Revoked] {
        let mut scene = Scene::new();
        scene.key_state(state);
        assert!(!state.is_published());
        let refusal = scene.decide(&scene.token()).unwrap_err();
        assert_eq!(refusal.reason, Reason::RevokedKey, "{state:?}");
        assert_eq!(refusal.holder.unwrap().account, scene.claims.account);
    }
}

#[test]
fn a_dead_token_under_a_retired_key_gets_its_precise_reason() {
    type Spoil = (Reason, fn(&mut Scene));
    let spoilt: [Spoil; 7] = [
        (Reason::Expired, |scene| scene.clock.advance(Duration::from_secs(5000))),
        (Reason::UnknownAccount, |scene| scene.snapshot().record = None),
        (Reason::Disabled, |scene| scene.state(|state| state.status = crate::account::Status::Disabled)),
        (Reason::Superseded, |scene| scene.regenerate(None)),
        (Reason::Revoked, |scene| scene.state(|state| state.token_id = None)),
        (Reason::NetworkNotAllowed, |scene| {
            scene.state(|state| state.allowed_networks = vec!["192.0.2.0/24".parse().unwrap()]);
        }),
        (Reason::StoreUnavailable, |scene| scene.source.state_unavailable = true),
    ];
    for (expected, spoil) in spoilt {
        let mut scene = Scene::new();
        scene.key_state(KeyState::Retired);
        spoil(&mut scene);
        assert_eq!(scene.reason(), Some(expected));
    }
}

#[test]
fn a_dead_token_under_a_revoked_key_hears_of_the_key() {
    let mut scene = Scene::new();
    scene.key_state(KeyState::Revoked);
    scene.regenerate(None);
    scene.clock.advance(Duration::from_secs(5000));
    assert_eq!(scene.reason(), Some(Reason::RevokedKey));
    assert_eq!(scene.source.lookups.load(Ordering::Relaxed), 0, "the account is not asked");
}

#[test]
fn a_key_that_was_revoked_or_retired_after_our_copy_was_read_is_refused() {
    for state in [KeyState::Revoked, KeyState::Retired] {
        let mut scene = Scene::new();
        scene.source.stored_keys = scene.key_set(2, state);
        assert_eq!(scene.reason(), None, "a change that the state doesn't know of yet");
        scene.snapshot().keys_version = 2;
        assert_eq!(scene.reason(), Some(Reason::RevokedKey), "{state:?}");
        assert_eq!(scene.source.key_reads.load(Ordering::Relaxed), 1);
    }
}

#[test]
fn a_key_that_is_gone_from_the_newer_set_is_refused() {
    let mut scene = Scene::new();
    scene.source.stored_keys = KeySet::new(2, []);
    scene.snapshot().keys_version = 2;
    assert_eq!(scene.reason(), Some(Reason::RevokedKey));
}

#[test]
fn a_newer_set_in_which_nothing_happened_to_the_key_changes_nothing() {
    let mut scene = Scene::new();
    scene.source.stored_keys = scene.key_set(2, KeyState::Retiring);
    scene.snapshot().keys_version = 2;
    assert_eq!(scene.reason(), None);
}

#[test]
fn k6_an_unknown_key_is_read_once_before_it_is_refused() {
    let mut scene = Scene::new();
    scene.source.keys = KeySet::default();
    assert_eq!(scene.reason(), None, "a key that is younger than our copy");
    assert_eq!(scene.source.key_reads.load(Ordering::Relaxed), 2, "for the id, and for the version in the state");

    let mut scene = Scene::new();
    scene.source.keys = KeySet::default();
    scene.source.stored_keys = KeySet::new(1, []);
    let refusal = scene.decide(&scene.token()).unwrap_err();
    assert_eq!(refusal.reason, Reason::UnknownKey);
    assert!(refusal.holder.is_none());
    assert_eq!(scene.source.key_reads.load(Ordering::Relaxed), 1);
}

#[test]
fn k6_a_known_key_is_never_read_again() {
    let scene = Scene::new();
    for _ in 0..3 {
        assert_eq!(scene.reason(), None);
    }
    assert_eq!(scene.source.key_reads.load(Ordering::Relaxed), 0);
}

/// Whatever has not even the form of a token makes nobody read the keys again.
#[test]
fn k6_garbage_under_an_unknown_key_reads_nothing() {
    let scene = Scene::new();
    let header = r#"{"alg":"ES256","typ":"at+jwt","kid":"made up"}"#;
    assert_eq!(scene.reason_for(&scene.sign(header, "{}")), Some(Reason::Malformed));
    assert_eq!(scene.reason_for(&scene.sign(header, "[1]")), Some(Reason::Malformed));
    assert_eq!(scene.source.key_reads.load(Ordering::Relaxed), 0);
}

/// The id of a key is computed, so that nobody can put his own key under another's id.
#[test]
fn a_set_finds_its_keys_by_their_thumbprints() {
    let scene = Scene::new();
    let set = scene.key_set(7, KeyState::Active);
    assert_eq!(set.version(), 7);
    assert_eq!(set.iter().count(), 1);
    let found = set.find(scene.key.public().key_id()).unwrap();
    assert_eq!(found.public.key_id(), scene.key.public().key_id());
    assert!(set.find("").is_none());
    assert_eq!(KeySet::default().version(), 0);
}
