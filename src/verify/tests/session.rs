//! Whoever is signed in is decided about as the token is that he signed in with, or as his account alone.

use std::sync::Arc;

use chrono::TimeDelta;

use super::*;
use crate::account::Status;
use crate::session::Secret;

fn session(scene: &Scene, by: SignedInBy) -> Arc<Session> {
    let ends_at = scene.clock.now() + TimeDelta::hours(1);
    Arc::new(Session { id: Secret::random().unwrap().id(), account: scene.claims.account, by, ends_at })
}

/// A session begun with the scene's token while it was good.
fn by_token(scene: &Scene) -> Arc<Session> {
    let verified = scene.decide(&scene.token()).unwrap();
    session(scene, SignedInBy::Token(ShownToken::of(&verified).unwrap()))
}

fn reason(scene: &Scene, session: &Arc<Session>) -> Option<Reason> {
    scene.decide_session(session).err().map(|refusal| {
        assert_eq!(refusal.holder.unwrap().session, Some(session.id), "it is told whose session it is");
        refusal.reason
    })
}

type Change = (&'static str, fn(&mut Scene));

/// What can become of an account, a key, the time.
const CHANGES: &[Change] = &[
    ("nothing", |_| ()),
    ("a new token", |scene| scene.regenerate(None)),
    ("a new token that overlaps", |scene| scene.regenerate(Some(scene::NOW + 60))),
    ("no token", |scene| scene.state(|state| state.token_id = None)),
    ("disabled", |scene| scene.state(|state| state.status = Status::Disabled)),
    ("other audiences", |scene| scene.state(|state| state.audiences = vec!["search".parse().unwrap()])),
    ("other networks", |scene| scene.state(|state| state.allowed_networks = vec!["192.0.2.0/24".parse().unwrap()])),
    ("another role", |scene| scene.state(|state| state.role = "nothing".parse().unwrap())),
    ("deleted", |scene| drop(scene.source.snapshots.remove(&scene.claims.account))),
    ("the key revoked", |scene| scene.key_state(KeyState::Revoked)),
    ("the key retired", |scene| scene.key_state(KeyState::Retired)),
    ("the store away", |scene| scene.source.state_unavailable = true),
    ("expired", |scene| scene.clock.advance(std::time::Duration::from_secs(1_005))),
    ("another audience asked for", |scene| scene.demand.audience = Some("other".parse().unwrap())),
    ("another issuer", |scene| scene.issuers = vec!["https://other.example".into()]),
];

#[test]
fn a_session_of_a_token_is_decided_as_the_token_is() {
    for (what, change) in CHANGES {
        let mut scene = Scene::new();
        let session = by_token(&scene);
        change(&mut scene);
        assert_eq!(reason(&scene, &session), scene.reason(), "{what}");
    }
}

#[test]
fn a_session_of_a_password_knows_no_token_and_is_decided_as_the_account_is() {
    for (what, change) in CHANGES {
        let mut scene = Scene::new();
        let session = session(&scene, SignedInBy::Password(0));
        change(&mut scene);
        let of_tokens_alone = [
            "a new token",
            "a new token that overlaps",
            "no token",
            "the key revoked",
            "the key retired",
            "expired",
            "another issuer",
        ];
        let expected = if of_tokens_alone.contains(what) { None } else { scene.reason() };
        assert_eq!(reason(&scene, &session), expected, "{what}");
    }
}

#[test]
fn another_password_ends_the_sessions_of_the_one_before_and_none_of_tokens() {
    let mut scene = Scene::new();
    let (password, token) = (session(&scene, SignedInBy::Password(0)), by_token(&scene));
    scene.state(|state| state.sign_ins = 1);
    assert_eq!(reason(&scene, &password), Some(Reason::SessionEnded));
    assert_eq!(reason(&scene, &token), None);
    assert_eq!(reason(&scene, &session(&scene, SignedInBy::Password(1))), None);
    // Nor does one count that only a store that has lost changes can know of.
    assert_eq!(reason(&scene, &session(&scene, SignedInBy::Password(2))), Some(Reason::SessionEnded));
}

#[test]
fn a_session_ends_by_the_clock_to_the_second() {
    let scene = Scene::new();
    for session in [by_token(&scene), session(&scene, SignedInBy::Password(0))] {
        let scene = Scene { clock: Arc::new(crate::clock::ManualClock::at(session.ends_at)), ..Scene::new() };
        assert_eq!(reason(&scene, &session), Some(Reason::SessionEnded));
    }
}

#[test]
fn whoever_is_signed_in_is_who_he_is() {
    let scene = Scene::new();
    let session = by_token(&scene);
    let actor = Actor::Session(scene.decide_session(&session).unwrap());
    let verified = scene.decide(&scene.token()).unwrap();
    let by_token = Actor::Token(verified.clone());
    assert_eq!(
        (actor.account(), actor.username(), actor.role()),
        (verified.account(), verified.username(), verified.role())
    );
    assert_eq!((actor.powers(), actor.as_of()), (by_token.powers(), by_token.as_of()));
    assert_eq!(actor.key_id(), by_token.key_id());
    assert!(actor.token().is_none() && by_token.session().is_none());
    let holder = actor.holder();
    assert_eq!((holder.session, holder.token.unwrap().id), (Some(session.id), verified.token_id()));
}

#[test]
fn nobody_signs_in_with_a_token_that_is_bound() {
    let mut scene = Scene::new();
    let binding = crate::account::Binding::Key("thumbprint".into());
    scene.claims.confirmation = Some(Confirmation::Key { jkt: "thumbprint".into() });
    scene.state(|state| state.binding = Some(binding.clone()));
    let Presenter::Holder { proof, .. } = &mut scene.demand.presenter else { panic!() };
    *proof = Some(Proof(binding));
    assert!(ShownToken::of(&scene.decide(&scene.token()).unwrap()).is_none());
}
