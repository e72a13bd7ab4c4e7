//! A server that was promoted, or restored, serves nobody before every issuer that it knows has raised it.

use std::sync::Arc;
use std::time::Duration;

use countermark::authority::Upkeep;
use countermark::epoch::Epoch;
use countermark::verify::freshness::Identity;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{Issuers, acts, serves};
use crate::app::{App, eventually};

#[tokio::test]
async fn r2_a_promoted_server_serves_nobody_before_every_issuer_has_raised_it() {
    let (issuers, one) = Issuers::begin("one").await;
    let two = issuers.start("two", &one.redis).await;
    let ci = one.account("ci", &[]).await;
    let promoted = one.redis.copy().await;
    two.admin().delete("/accounts/ci/token", 200).await;
    drop((one, two));
    let one = issuers.start("one", &promoted).await;
    // It knows nothing of the revocation.
    assert_eq!(one.bearer(ci.token()).verdict().await, "store_unavailable");
    assert!(!serves(&one).await);
    assert_eq!(one.store.waited_for(), ["two"]);
    let checks = one.edge.readiness().await;
    let said = checks.into_iter().find(|(name, _)| *name == "store").unwrap().1.unwrap_err();
    assert!(said.contains("these issuers") && said.contains("two") && said.contains("node forget"), "{said}");
    // Nor is anything changed there.
    let refused = one.admin().send("POST", "/accounts/ci/token", Some(json!({ "valid_for_months": 12 }))).await;
    assert_eq!(refused.expect(503).reason(), "store_unavailable");
    let two = issuers.start("two", &promoted).await;
    assert_eq!(two.bearer(ci.token()).verdict().await, "revoked");
    eventually("the other one is served too", || async { one.bearer(ci.token()).verdict().await == "revoked" }).await;
    assert!(serves(&one).await && one.store.waited_for().is_empty());
}

#[tokio::test]
async fn r2_an_issuer_that_was_declared_gone_is_not_waited_for_and_that_is_audited() {
    let (issuers, one) = Issuers::begin("one").await;
    let two = issuers.start("two", &one.redis).await;
    let ci = one.account("ci", &[]).await;
    let promoted = one.redis.copy().await;
    drop((one, two));
    let one = issuers.start("one", &promoted).await;
    assert!(one.authority.forget_issuer("three").await.is_err());
    assert!(!serves(&one).await);
    let gone = one.authority.forget_issuer("two").await.unwrap();
    assert!(serves(&one).await);
    assert_eq!(one.bearer(ci.token()).verdict().await, "allowed");
    let events = acts(&one, "node.forget").await;
    assert_eq!((events.len(), &events[0]["details"]["issuer"]), (1, &json!(gone.id)));
    // Started again, it is known again, and raises.
    issuers.start("two", &promoted).await;
    let names: Vec<String> = one.store.issuers().await.unwrap().into_iter().map(|issuer| issuer.name).collect();
    assert_eq!(names, ["one", "two"]);
}

#[tokio::test]
async fn r2_an_issuer_that_has_ended_is_not_waited_for() {
    let (issuers, one) = Issuers::begin("one").await;
    let two = issuers.start("two", &one.redis).await;
    let ci = two.account("ci", &[]).await;
    assert!(two.store.withdraw().await.unwrap());
    drop(two);
    let promoted = one.redis.copy().await;
    drop(one);
    let one = issuers.start("one", &promoted).await;
    assert_eq!(one.bearer(ci.token()).verdict().await, "allowed");
}

/// Its copy may lack what it has changed: it stays until it has raised that.
#[tokio::test]
async fn r2_an_issuer_that_has_not_raised_the_store_does_not_withdraw_by_itself_or_others() {
    let (issuers, one) = Issuers::begin("one").await;
    let two = issuers.start("two", &one.redis).await;
    one.account("ci", &[]).await;
    let promoted = one.redis.copy().await;
    drop((one, two));
    let one = issuers.start("one", &promoted).await;
    let known = one.store.issuers().await.unwrap();
    let two = known.iter().find(|issuer| issuer.name == "two").unwrap();
    assert!(!one.store.withdraw_gone(two).await.unwrap());
    assert!(!serves(&one).await);
}

#[tokio::test]
async fn r2_an_issuer_that_was_taken_for_gone_is_known_again_with_its_next_change() {
    let (issuers, one) = Issuers::begin("one").await;
    let two = issuers.start("two", &one.redis).await;
    let ci = one.account("ci", &[]).await;
    let stop = CancellationToken::new();
    tokio::spawn(Upkeep::new(Arc::clone(&one.authority)).run(stop.clone()));
    let known = async || {
        let issuers = one.store.issuers().await.unwrap();
        issuers.into_iter().map(|issuer| issuer.name).collect::<Vec<_>>()
    };
    // Neither stands in the table of nodes under this name: both look as if they had been killed.
    eventually("it is looked at", || async { one.redis.run::<u64>(&["EXISTS", &one.key("issuers")]).await == 1 }).await;
    eventually("those that are gone are withdrawn", || async {
        one.clock.advance(Duration::from_secs(61));
        tokio::time::sleep(Duration::from_millis(100)).await;
        known().await.is_empty()
    })
    .await;
    stop.cancel();
    two.admin().delete("/accounts/ci/token", 200).await;
    assert_eq!(known().await, ["two"]);
    let _ = ci;
}

#[tokio::test]
async fn f6_what_was_made_in_the_same_term_of_the_old_primary_is_not_taken_for_known() {
    let (issuers, one) = Issuers::begin("one").await;
    let two = issuers.start("two", &one.redis).await;
    let ci = one.account("ci", &[]).await;
    let promoted = one.redis.copy().await;
    // Both begin the next term; the one that was cut off makes a change in it, the other makes several.
    issuers.part(one, &two).await;
    two.admin().regenerate("ci").await;
    two.admin().regenerate("ci").await;
    let (term, counter) = two.epoch().await;
    drop(two);
    let one = issuers.start("one", &promoted).await;
    one.authority.forget_issuer("two").await.unwrap();
    assert!(serves(&one).await);
    one.account("other", &[]).await;
    one.account("another", &[]).await;
    assert!(one.epoch().await.0 == term && one.epoch().await.1 >= counter);
    assert_eq!(one.bearer(ci.token()).verdict().await, "allowed");
    let two = issuers.start("two", &promoted).await;
    assert_eq!(two.bearer(ci.token()).verdict().await, "superseded");
    assert_eq!(two.look("ci").await["generation"], 3);
}

#[tokio::test]
async fn f6_the_end_of_a_term_is_told_to_whoever_followed_the_server_that_it_belonged_to_and_to_nobody_else() {
    let (issuers, one) = Issuers::begin("one").await;
    let two = issuers.start("two", &one.redis).await;
    let promoted = one.redis.copy().await;
    issuers.part(one, &two).await;
    // As a node does: whoever is told that it is not met meets it, and asks again.
    let followed = async |app: &App, applied: Epoch, on: Option<&Identity>| {
        let ask = || app.authority.node().store().follow("a node", None, applied, on);
        eventually("it is met", || async { ask().await.is_ok() || serves(app).await && ask().await.is_ok() }).await;
        ask().await.unwrap()
    };
    let place = async |app: &App| followed(app, Epoch::default(), None).await.place;
    let cut_off = place(&two).await;
    drop(two);
    let one = issuers.start("one", &promoted).await;
    one.authority.forget_issuer("two").await.unwrap();
    assert!(serves(&one).await);
    let first = place(&one).await;
    // Both have begun this term, each another history.
    assert_eq!(first.epoch.term, cut_off.epoch.term);
    assert_ne!(first.identity, cut_off.identity);
    promoted.changes_identity().await;
    let ended = async |on: Option<&Identity>| followed(&one, first.epoch, on).await.term_ended;
    assert_eq!(ended(Some(&first.identity)).await, Some(first.epoch.counter));
    assert_eq!(ended(Some(&cut_off.identity)).await, None);
    assert_eq!(ended(None).await, None);
}

/// The issuer that was cut off gave a token; on the promoted server another one has ended all that the account had.
#[tokio::test]
async fn r2_a_token_is_not_put_in_place_over_what_another_issuer_has_ended_since() {
    let (issuers, one) = Issuers::begin("one").await;
    let two = issuers.start("two", &one.redis).await;
    one.account("ci", &[]).await;
    let promoted = one.redis.copy().await;
    issuers.part(one, &two).await;
    let cut_off = two.admin().regenerate("ci").await;
    drop(two);
    let one = issuers.start("one", &promoted).await;
    one.authority.forget_issuer("two").await.unwrap();
    assert!(serves(&one).await);
    one.admin().delete("/accounts/ci/token", 200).await;
    let two = issuers.start("two", &promoted).await;
    assert_eq!(two.bearer(&cut_off).verdict().await, "revoked");
    assert_eq!(two.look("ci").await["generation"], 2, "S1");
}
