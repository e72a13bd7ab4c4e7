//! Nothing that is made of a token shows it.

use super::*;
use crate::token::Parts;

fn shows_nothing(scene: &Scene, what: &str, shown: &str) {
    let token = scene.token();
    let jti = scene.payload()["jti"].as_str().unwrap().to_owned();
    assert_eq!(jti.len(), 22);
    assert!(!shown.contains(&jti), "{what} shows the jti: {shown}");
    for segment in token.split('.') {
        assert!(!shown.contains(segment), "{what} shows the token: {shown}");
    }
}

#[test]
fn a_decision_shows_neither_the_token_nor_its_secret() {
    let mut scene = Scene::new();
    let verified = scene.decide(&scene.token()).unwrap();
    shows_nothing(&scene, "Verified", &format!("{verified:?}"));
    shows_nothing(&scene, "Holder", &format!("{:?}", verified.holder()));
    shows_nothing(&scene, "Claims", &format!("{:?}", scene.claims));
    shows_nothing(&scene, "Jti", &format!("{:?}", scene.jti));
    // Which token it was is to be told.
    assert!(format!("{verified:?}").contains(&scene.claims.token_id.to_string()));

    scene.demand.permission = Some("deployments:delete".parse().unwrap());
    let refusal = scene.decide(&scene.token()).unwrap_err();
    shows_nothing(&scene, "Refusal", &format!("{refusal:?}"));
    scene.regenerate(None);
    let refusal = scene.decide(&scene.token()).unwrap_err();
    shows_nothing(&scene, "Refusal", &format!("{refusal:?}"));
    let garbage = scene.decide(&format!("{}.x", scene.token())).unwrap_err();
    shows_nothing(&scene, "Refusal", &format!("{garbage:?}"));
}

#[test]
fn a_token_taken_apart_does_not_show() {
    let scene = Scene::new();
    let token = scene.token();
    let parts = Parts::of(&token).unwrap();
    let shown = format!("{parts:?}");
    shows_nothing(&scene, "Parts", &shown);
    // As bytes neither.
    assert!(!shown.contains(&format!("{:?}", parts.signed).trim_matches(['[', ']'])[..40]));
}
