//! `exp` and `iat` with a leeway, the end of an overlap without.

use std::time::Duration;

use super::scene::NOW;
use super::*;

#[test]
fn a_token_expires_five_seconds_after_its_time_and_not_a_millisecond_later() {
    let mut scene = Scene::new();
    scene.claims.expires_at = NOW + 60;
    scene.clock.advance(Duration::from_millis(59_999));
    assert_eq!(scene.reason(), None);
    scene.clock.advance(Duration::from_millis(5_000));
    assert_eq!(scene.reason(), None, "4.999 s late");
    scene.clock.advance(Duration::from_millis(1));
    assert_eq!(scene.reason(), Some(Reason::Expired), "5 s late");
    scene.clock.advance(Duration::from_secs(1_000_000));
    assert_eq!(scene.reason(), Some(Reason::Expired));
}

#[test]
fn a_token_may_come_from_a_clock_that_is_five_seconds_ahead() {
    let mut scene = Scene::new();
    scene.claims.issued_at = NOW + 5;
    assert_eq!(scene.reason(), None);
    scene.claims.issued_at = NOW + 6;
    assert_eq!(scene.reason(), Some(Reason::NotYetValid));
    scene.clock.advance(Duration::from_millis(999));
    assert_eq!(scene.reason(), Some(Reason::NotYetValid));
    scene.clock.advance(Duration::from_millis(1));
    assert_eq!(scene.reason(), None);
}

#[test]
fn an_overlap_ends_to_the_millisecond() {
    let mut scene = Scene::new();
    scene.regenerate(Some(NOW + 60));
    assert_eq!(scene.reason(), None);
    scene.clock.advance(Duration::from_millis(59_999));
    let verified = scene.decide(&scene.token()).unwrap();
    assert!(!verified.is_current());
    scene.clock.advance(Duration::from_millis(1));
    assert_eq!(scene.reason(), Some(Reason::Superseded), "no leeway here");
    scene.clock.advance(Duration::from_secs(1));
    assert_eq!(scene.reason(), Some(Reason::Superseded));
}

#[test]
fn an_overlap_does_not_outlive_the_token() {
    let mut scene = Scene::new();
    scene.claims.expires_at = NOW + 10;
    scene.regenerate(Some(NOW + 1000));
    scene.clock.advance(Duration::from_secs(14));
    assert_eq!(scene.reason(), None);
    scene.clock.advance(Duration::from_secs(1));
    assert_eq!(scene.reason(), Some(Reason::Expired));
}

#[test]
fn an_overlap_with_an_absurd_end_does_not_overflow() {
    let mut scene = Scene::new();
    scene.regenerate(Some(i64::MAX));
    assert_eq!(scene.reason(), None);
    scene.regenerate(Some(i64::MIN));
    assert_eq!(scene.reason(), Some(Reason::Superseded));
}
