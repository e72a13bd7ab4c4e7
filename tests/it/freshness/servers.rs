//! F6: connections that lead elsewhere without a sign.

use std::sync::Arc;

use super::{Pair, WHOLE_LEASE, generation_in_memory, joining, never, regenerating, waits};
use crate::app::{App, Setup, eventually};
use crate::redis_server::RedisServer;
use crate::wire::Sent;

/// A copy of the dataset that another issuer has met, and on which the account has another token.
async fn another_server(pair: &Pair) -> (Arc<RedisServer>, App) {
    let copy = pair.redis.copy().await;
    let other = App::with(Setup { redis: Arc::clone(&copy), ..joining(&pair.issuer, Setup::default()) }).await;
    // The leases of the first are none of this one's.
    copy.run::<()>(&["DEL", &other.key("leases")]).await;
    other.has_lease().await;
    other.admin().regenerate("ci").await;
    (copy, other)
}

#[tokio::test]
async fn f6_where_one_connection_leads_elsewhere_nothing_is_decided_from_memory() {
    for strayed in [Sent::Follow, Sent::Renewal] {
        let pair = Pair::start().await;
        let (copy, _other) = another_server(&pair).await;
        pair.is_known().await;
        pair.wire.rehome(strayed, &copy);
        eventually("it is dropped", || async { pair.count(|counters| &counters.dropped) > 0 }).await;
        never("a lease of two servers", || pair.node.authority.node().freshness().has_lease()).await;
        for _ in 0..20 {
            // By what its look-ups lead to alone, or not at all.
            let verdict = pair.verdict().await;
            assert!(["allowed", "store_unavailable"].contains(&verdict.as_str()), "{strayed:?}: {verdict}");
        }
        for other in [Sent::Follow, Sent::Renewal, Sent::LookUp].into_iter().filter(|other| *other != strayed) {
            pair.wire.rehome(other, &copy);
        }
        eventually("all lead to one server", || async { pair.verdict().await == "superseded" }).await;
        pair.node.has_lease().await;
        eventually("it knows the account", || async {
            pair.verdict().await == "superseded" && generation_in_memory(&pair.node, &pair.ci) == Some(2)
        })
        .await;
    }
}

#[tokio::test]
async fn f6_where_look_ups_lead_elsewhere_they_decide_nothing_and_are_not_remembered() {
    let pair = Pair::start().await;
    let (copy, _other) = another_server(&pair).await;
    pair.wire.rehome(Sent::LookUp, &copy);
    for _ in 0..20 {
        assert_eq!(pair.verdict().await, "store_unavailable");
        assert_eq!(generation_in_memory(&pair.node, &pair.ci), None);
    }
    assert!(pair.count(|counters| &counters.dropped) > 0);
    pair.wire.rehome(Sent::Follow, &copy);
    pair.wire.rehome(Sent::Renewal, &copy);
    eventually("all lead to one server", || async { pair.verdict().await == "superseded" }).await;
}

#[tokio::test]
async fn f6_a_feed_that_leads_to_a_server_that_nobody_has_met_gives_no_lease() {
    let pair = Pair::start().await;
    pair.is_known().await;
    let copy = pair.redis.copy().await;
    pair.wire.rehome(Sent::Follow, &copy);
    eventually("it leads elsewhere", || async { pair.wire.is_rehomed() }).await;
    let asked = regenerating(&pair.issuer, &pair.ci).await;
    waits(&asked).await;
    pair.advance(WHOLE_LEASE);
    assert_eq!(asked.await.unwrap().expect(201)["receipt"]["nodes_expired"], 1);
    assert_eq!(pair.verdict().await, "superseded", "looked up");
    never("a lease on what was not applied", || pair.node.authority.node().freshness().has_lease()).await;
    // Nothing was written there in passing.
    assert_eq!(copy.run::<u64>(&["HGET", &pair.issuer.key("meta"), "term"]).await, 1);
}

/// The primary that was cut off and the replica that was promoted have both begun a term of this number.
#[tokio::test]
async fn f6_a_server_that_went_another_way_in_the_term_that_was_followed_is_not_followed() {
    let pair = Pair::start().await;
    pair.is_known().await;
    let (copy, other) = another_server(&pair).await;
    copy.run::<()>(&["HSET", &other.key("meta"), "identity:1", "another"]).await;
    pair.wire.rehome(Sent::Follow, &copy);
    eventually("it is counted", || async { pair.count(|counters| &counters.rolled_back) > 0 }).await;
    never("a lease of it", || pair.node.authority.node().freshness().has_lease()).await;
}

#[tokio::test]
async fn r2_a_store_that_has_gone_back_is_not_believed_until_it_is_there_again() {
    let pair = Pair::start().await;
    pair.is_known().await;
    let meta = pair.issuer.key("meta");
    let counter: u64 = pair.redis.run(&["HGET", &meta, "counter"]).await;
    // The same server, and its last change is gone.
    pair.redis.run::<()>(&["HSET", &meta, "counter", &(counter - 1).to_string()]).await;
    eventually("it is counted", || async { pair.count(|counters| &counters.rolled_back) > 0 }).await;
    never("a lease of what has gone back", || pair.node.authority.node().freshness().has_lease()).await;
    for _ in 0..5 {
        assert_eq!(pair.verdict().await, "store_unavailable");
    }
    pair.redis.run::<()>(&["HSET", &meta, "counter", &counter.to_string()]).await;
    pair.node.has_lease().await;
    assert_eq!(pair.verdict().await, "allowed");
}
