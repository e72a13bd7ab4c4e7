//! When a node has a lease.

use std::time::Duration;

use super::{LEASE, Pair, WHOLE_LEASE, never, regenerating, waits};
use crate::app::{App, Setup, eventually};
use crate::redis_server::RedisServer;
use crate::wire::Sent;

fn has_lease(pair: &Pair) -> bool {
    pair.node.authority.node().freshness().has_lease()
}

#[tokio::test]
async fn f2_of_a_renewal_that_is_answered_after_two_leases_comes_no_lease() {
    let pair = Pair::start().await;
    let held = pair.wire.hold(Sent::Renewal);
    eventually("a renewal", || async { held.seen() > 0 }).await;
    // Those that come after this were noted later.
    let noted = held.seen();
    held.answered(noted).await;
    pair.advance(2 * LEASE);
    held.let_through(noted);
    never("a lease from the moment of the reply", || has_lease(&pair)).await;
    held.release();
    pair.node.has_lease().await;
}

#[tokio::test]
async fn f2_an_ordinary_late_reply_to_a_renewal_renews_the_lease_without_an_alarm() {
    let pair = Pair::start().await;
    pair.is_known().await;
    let held = pair.wire.hold(Sent::Renewal);
    pair.advance(LEASE * 3 / 5);
    let before = held.seen() + 1;
    eventually("a renewal that was noted now", || async { held.seen() > before }).await;
    let noted = held.seen();
    held.answered(noted).await;
    // What these replies say is older than what the node has applied when they come.
    pair.issuer.admin().regenerate("ci").await;
    held.let_through(noted);
    // The lease of before is over, the renewed one is not.
    pair.advance(LEASE * 3 / 5);
    pair.node.has_lease().await;
    assert_eq!(pair.count(|counters| &counters.rolled_back), 0);
    assert_eq!(pair.count(|counters| &counters.dropped), 0);
    assert_eq!(super::generation_in_memory(&pair.node, &pair.ci), Some(2));
    assert_eq!(pair.verdict().await, "superseded");
}

#[tokio::test]
async fn f1_stepped_wall_clocks_change_no_lease_and_no_receipt() {
    let redis = RedisServer::start();
    let issuer = App::with(Setup { redis, ..Setup::default() }).await;
    let ci = issuer.account("ci", &[]).await;
    let setup = Setup { clock: Some(crate::app::a_clock()), ..Setup::default() };
    let clock = setup.clock.clone();
    let node = App::with(Setup { clock, ..super::joining(&issuer, setup) }).await;
    node.has_lease().await;
    assert_eq!(node.bearer(ci.token()).verdict().await, "allowed");
    node.stands_still().await;
    // Four steps, and no time has passed.
    let asked = regenerating(&issuer, &ci).await;
    for hours in [30 * 24, -29 * 24] {
        node.clock.step_wall(chrono::TimeDelta::hours(hours));
        issuer.clock.step_wall(chrono::TimeDelta::hours(-hours / 2));
        assert!(node.authority.node().freshness().has_lease());
        assert_eq!(node.bearer(ci.token()).verdict().await, "allowed", "under the lease of before");
        waits(&asked).await;
    }
    node.clock.advance(LEASE);
    assert_eq!(node.bearer(ci.token()).verdict().await, "superseded");
    issuer.clock.advance(WHOLE_LEASE);
    assert_eq!(asked.await.unwrap().expect(201)["receipt"]["nodes_expired"], 1);
}

#[tokio::test]
async fn r4_no_lease_is_longer_than_the_dataset_allows() {
    // That is what an issuer waits for which can't know of a lease.
    for (lease, is_given) in [(Duration::from_secs(5), true), (Duration::from_millis(5_001), false)] {
        let app = App::with(Setup { max_staleness: lease, ..Setup::default() }).await;
        let freshness = app.authority.node().freshness();
        let sent = || freshness.counters().renewals.load(std::sync::atomic::Ordering::SeqCst);
        if is_given {
            app.has_lease().await;
            continue;
        }
        eventually("two renewals", || async { sent() >= 2 }).await;
        assert!(!freshness.has_lease());
        assert_eq!(app.redis.run::<u64>(&["HLEN", &app.key("leases")]).await, 0);
        // It looks everything up.
        assert_eq!(app.admin().verdict().await, "allowed");
    }
}

#[tokio::test]
async fn f3_where_the_store_may_not_write_memory_decides_to_the_end_of_the_lease_and_nobody_after_it() {
    let pair = Pair::start().await;
    pair.is_known().await;
    let unknown = pair.issuer.account("other", &[]).await;
    // Both would answer a GET for ever.
    for (begin, end) in [
        (["REPLICAOF", "192.0.2.1", "1"].as_slice(), ["REPLICAOF", "NO", "ONE"].as_slice()),
        (&["CONFIG", "SET", "min-replicas-to-write", "1"], &["CONFIG", "SET", "min-replicas-to-write", "0"]),
    ] {
        pair.redis.run::<()>(begin).await;
        assert_eq!(pair.verdict().await, "allowed", "{begin:?}");
        if begin[0] == "REPLICAOF" {
            assert_eq!(pair.node.bearer(unknown.token()).verdict().await, "store_unavailable");
        }
        pair.advance(LEASE - Duration::from_millis(1));
        assert_eq!(pair.verdict().await, "allowed", "{begin:?}");
        pair.advance(Duration::from_millis(1));
        for _ in 0..3 {
            assert_eq!(pair.verdict().await, "store_unavailable", "{begin:?}");
        }
        pair.redis.run::<()>(end).await;
        eventually("it is believed again", || async { pair.verdict().await == "allowed" }).await;
        pair.node.has_lease().await;
    }
}
