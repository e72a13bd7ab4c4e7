//! Nodes that vanish from the table.

use std::time::Duration;

use countermark::authority::Upkeep;
use countermark::epoch::Epoch;
use countermark::store::{Introduction, Renewal, Renewed};
use tokio_util::sync::CancellationToken;

use super::{LEASE, Pair, joining};
use crate::app::{App, Setup, eventually};
use crate::wire::{Sent, Wire};

fn upkeep(app: &App) -> tokio_util::sync::DropGuard {
    let stop = CancellationToken::new();
    tokio::spawn(Upkeep::new(std::sync::Arc::clone(&app.authority)).run(stop.clone()));
    stop.drop_guard()
}

/// How often the node has renewed, as the table says.
async fn renewals(app: &App, node: &str) -> Option<u64> {
    let text: Option<String> = app.redis.run(&["HGET", &app.key("leases"), node]).await;
    text.map(|text| text.split(' ').next().unwrap().parse().unwrap())
}

#[tokio::test]
async fn r1_a_node_that_was_killed_is_taken_out_of_the_table_after_four_leases() {
    let pair = Pair::start().await;
    pair.node.stands_still().await;
    let (issuer, node) = (&pair.issuer, &pair.node.node_id);
    let held = pair.wire.hold(Sent::Table);
    // It looks through the wire, so that we see when it looks.
    let watching =
        App::with(Setup { store: Some(pair.wire.socket()), node: "node-3", ..joining(issuer, Setup::default()) });
    let watching = watching.await;
    let _upkeep = upkeep(&watching);
    held.let_through(u64::MAX);
    let looked = async |times: u64| {
        let before = held.seen();
        eventually("it looks at the table", || async { held.seen() >= before + times }).await;
    };
    looked(2).await;
    pair.advance(LEASE * 4);
    looked(2).await;
    assert!(renewals(issuer, node).await.is_some(), "four leases are not over");
    pair.advance(Duration::from_millis(1));
    eventually("it is out of the table", || async { renewals(issuer, node).await.is_none() }).await;
    assert!(renewals(issuer, &issuer.node_id).await.is_some());
    assert!(renewals(issuer, &watching.node_id).await.is_some());
    issuer.admin().regenerate("ci").await;
}

#[tokio::test]
async fn r1_a_node_that_renews_at_the_last_moment_stays_in_the_table() {
    let pair = Pair::start().await;
    let issuer = &pair.issuer;
    let wire = Wire::to(&pair.redis);
    let watching = App::with(Setup { store: Some(wire.socket()), node: "node-3", ..joining(issuer, Setup::default()) });
    let watching = watching.await;
    // A node that renews when we want it to.
    let introduction = Introduction { name: "x".into(), version: "0".into(), address: "https://127.0.0.1".into() };
    let renew = async |count: u64| {
        let memory = issuer.authority.node().freshness().memory().unwrap();
        let renewal = Renewal {
            node: "x",
            identity: Some(memory.identity()),
            length: LEASE,
            applied: Epoch::default(),
            tokens_per_second: 0,
            introduction: &introduction,
            count,
        };
        assert!(matches!(issuer.store.renew(&renewal).await, Ok(Renewed::Recorded(_))));
    };
    renew(1).await;
    super::nobody_leaves(issuer).await;
    let before = super::lease_of(issuer, "x").await;
    let _upkeep = upkeep(&watching);
    let held = wire.hold(Sent::Table);
    held.answered(1).await;
    held.let_through(1);
    held.answered(2).await;
    // What it is going to read is that the node stands still; and that is so no more.
    pair.advance(LEASE * 4 + Duration::from_millis(1));
    renew(2).await;
    let leaving = wire.hold(Sent::Leaving);
    held.let_through(2);
    leaving.answered(1).await;
    assert_eq!(renewals(issuer, "x").await, Some(2));
    assert!(!issuer.store.remove_standing(&before).await.unwrap());
    let standing = super::lease_of(issuer, "x").await;
    assert!(issuer.store.remove_standing(&standing).await.unwrap());
    assert_eq!(renewals(issuer, "x").await, None);
    // Back again, it goes on counting: a second removal of what stood there does not hit it.
    renew(3).await;
    assert!(!issuer.store.remove_standing(&standing).await.unwrap());
    assert_eq!(renewals(issuer, "x").await, Some(3));
}
