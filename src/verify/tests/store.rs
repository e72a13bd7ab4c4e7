//! What can't be known is refused, and the holder is still named.

use super::scene::NOW;
use super::*;
use crate::account::{StateRecord, Tombstone};

#[test]
fn a_state_that_cannot_be_known_refuses() {
    let mut scene = Scene::new();
    scene.source.state_unavailable = true;
    let refusal = scene.decide(&scene.token()).unwrap_err();
    assert_eq!(refusal.reason, Reason::StoreUnavailable);
    let holder = refusal.holder.unwrap();
    assert_eq!((holder.account, holder.token.as_ref().unwrap().id), (scene.claims.account, scene.claims.token_id));
    assert!(holder.username().is_none() && refusal.verified.is_none());
}

#[test]
fn keys_that_cannot_be_known_refuse() {
    let mut scene = Scene::new();
    scene.source.keys_unavailable = true;
    assert_eq!(scene.reason(), None, "they are in memory, and the state asks for no newer ones");
    scene.snapshot().keys_version = 2;
    let refusal = scene.decide(&scene.token()).unwrap_err();
    assert_eq!(refusal.reason, Reason::StoreUnavailable);
    assert_eq!(refusal.holder.unwrap().account, scene.claims.account);

    scene.source.keys = KeySet::default();
    let refusal = scene.decide(&scene.token()).unwrap_err();
    assert_eq!(refusal.reason, Reason::StoreUnavailable, "not unknown_key: that is not known");
    assert!(refusal.holder.is_none());
}

#[test]
fn s2_an_account_without_a_record_is_unknown() {
    let mut scene = Scene::new();
    scene.snapshot().record = None;
    assert_eq!(scene.reason(), Some(Reason::UnknownAccount));
    scene.source.snapshots.clear();
    let refusal = scene.decide(&scene.token()).unwrap_err();
    assert_eq!(refusal.reason, Reason::UnknownAccount);
    assert!(refusal.holder.unwrap().username().is_none());
}

#[test]
fn a_deleted_account_is_unknown() {
    let mut scene = Scene::new();
    let tombstone = Tombstone { username: "ci-deploy".parse().unwrap(), generation: 3, deleted_at: NOW + 1 };
    scene.snapshot().record = Some(StateRecord::Deleted(tombstone).into());
    assert_eq!(scene.reason(), Some(Reason::UnknownAccount));
}

#[test]
fn a_disabled_account_is_refused_until_it_is_enabled() {
    let mut scene = Scene::new();
    scene.state(|state| state.status = crate::account::Status::Disabled);
    assert_eq!(scene.reason(), Some(Reason::Disabled));
    scene.state(|state| state.status = crate::account::Status::Active);
    assert_eq!(scene.reason(), None);
}
