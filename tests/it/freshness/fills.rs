//! Answers to look-ups that come too late to be put into memory.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinHandle;

use super::{Pair, generation_in_memory, joining, regenerating};
use crate::app::{App, Setup, eventually};
use crate::wire::{Held, Sent};

/// A verification at the node, whose look-up was answered before anything else happens, and is held.
async fn a_held_look_up(pair: &Pair) -> (Held, JoinHandle<String>) {
    let held = pair.wire.hold(Sent::LookUp);
    let actor = pair.node.bearer(pair.ci.token());
    let asked = tokio::spawn(async move { actor.verdict().await });
    held.answered(1).await;
    (held, asked)
}

#[tokio::test]
async fn r1_a_look_up_that_was_answered_before_a_change_does_not_bring_the_old_state_back() {
    let pair = Pair::start().await;
    let (held, asked) = a_held_look_up(&pair).await;
    pair.issuer.admin().regenerate("ci").await;
    held.release();
    // It began before the receipt, and may be answered either way; those that begin now may not.
    asked.await.unwrap();
    assert_eq!(generation_in_memory(&pair.node, &pair.ci), Some(2));
    assert_eq!(pair.verdict().await, "superseded");
}

#[tokio::test]
async fn r1_a_look_up_that_was_answered_before_the_window_is_not_put_into_memory() {
    let pair = Pair::start().await;
    let (held, asked) = a_held_look_up(&pair).await;
    pair.issuer.admin().regenerate("ci").await;
    // The change is forgotten by now. What is remembered moves on with the next one.
    pair.advance(Duration::from_millis(5_001));
    pair.issuer.account("other", &[]).await;
    pair.node.has_lease().await;
    held.release();
    assert_eq!(asked.await.unwrap(), "store_unavailable", "what was asked so long ago decides nothing");
    assert_eq!(generation_in_memory(&pair.node, &pair.ci), None);
    assert_eq!(pair.count(|counters| &counters.late), 1);
    pair.node.has_lease().await;
    assert_eq!(pair.verdict().await, "superseded");
}

#[tokio::test]
async fn r1_a_look_up_that_was_answered_before_the_feed_was_trimmed_is_of_no_use() {
    let pair = Pair::start().await;
    let (held, asked) = a_held_look_up(&pair).await;
    let bell = pair.wire.hold(Sent::Bell);
    bell.sent(1).await;
    let receipt = regenerating(&pair.issuer, &pair.ci).await;
    pair.issuer
        .admin()
        .post("/accounts", json!({ "username": "x", "role": "ci-role", "valid_for_months": 6 }), 201)
        .await;
    pair.redis.run::<()>(&["XTRIM", &pair.issuer.key("feed"), "MAXLEN", "1"]).await;
    bell.release();
    // What it knew was dropped, and so it can't be behind any more.
    assert_eq!(receipt.await.unwrap().expect(201)["receipt"]["nodes_expired"], 0);
    assert_eq!(pair.count(|counters| &counters.dropped), 1);
    held.release();
    assert_eq!(asked.await.unwrap(), "superseded", "it is asked for once more");
    assert_eq!(generation_in_memory(&pair.node, &pair.ci), Some(2));
}

#[tokio::test]
async fn f6_a_look_up_that_another_server_answered_before_is_of_no_use() {
    let pair = Pair::start().await;
    let (held, asked) = a_held_look_up(&pair).await;
    let copy = pair.redis.copy().await;
    let other = App::with(Setup { redis: Arc::clone(&copy), ..joining(&pair.issuer, Setup::default()) }).await;
    let receipt = regenerating(&other, &pair.ci).await;
    for what in [Sent::Follow, Sent::Renewal, Sent::LookUp] {
        pair.wire.rehome(what, &copy);
    }
    let follows = || async {
        let memory = pair.node.authority.node().freshness().memory();
        memory.map(|memory| memory.identity().clone())
    };
    let before = follows().await;
    eventually("it follows the other server", || async { follows().await.is_some_and(|now| Some(now) != before) })
        .await;
    held.release();
    assert_eq!(asked.await.unwrap(), "superseded", "the new server is asked");
    assert_eq!(generation_in_memory(&pair.node, &pair.ci).unwrap_or(2), 2);
    receipt.abort();
}

#[tokio::test]
async fn whoever_waited_for_the_look_up_of_another_asks_himself_where_the_lease_is_over_meanwhile() {
    let pair = Pair::start().await;
    let (held, first) = a_held_look_up(&pair).await;
    let renewals = pair.wire.hold(Sent::Renewal);
    renewals.sent(1).await;
    let actor = pair.node.bearer(pair.ci.token());
    let second = tokio::spawn(async move { actor.verdict().await });
    // It has come as far as it can.
    super::never("it has its own answer", || second.is_finished() || held.seen() > 1).await;
    pair.advance(super::LEASE);
    held.release();
    assert_eq!(first.await.unwrap(), "store_unavailable", "asked too long ago");
    assert_eq!(second.await.unwrap(), "allowed");
    renewals.release();
}
