//! What a node does with the feed of changes.

use countermark::verify::KeyState;
use serde_json::json;

use super::{LEASE, Pair, WHOLE_LEASE, generation_in_memory, never, regenerating, waits};
use crate::app::eventually;
use crate::wire::Sent;

#[tokio::test]
async fn r1_a_gap_in_the_feed_drops_everything() {
    for trim in [["XTRIM", "MAXLEN", "1"].as_slice(), &["XTRIM", "MAXLEN", "0"], &["DEL"]] {
        let pair = Pair::start().await;
        pair.is_known().await;
        // It waits, and does not hear that something is new.
        let bell = pair.wire.hold(Sent::Bell);
        bell.sent(1).await;
        let receipt = regenerating(&pair.issuer, &pair.ci).await;
        let body = json!({ "username": "other", "role": "ci-role", "valid_for_months": 6 });
        pair.issuer.admin().post("/accounts", body, 201).await;
        let key = pair.issuer.key("feed");
        let words: Vec<&str> = [&trim[..1], &[key.as_str()], &trim[1..]].concat();
        pair.redis.run::<()>(&words).await;
        assert_eq!(generation_in_memory(&pair.node, &pair.ci), Some(1));
        bell.release();
        assert_eq!(receipt.await.unwrap().expect(201)["receipt"]["nodes_acknowledged"], 2, "{trim:?}");
        assert_eq!(pair.count(|counters| &counters.dropped), 1, "{trim:?}");
        assert_eq!(generation_in_memory(&pair.node, &pair.ci), None, "{trim:?}");
        pair.node.has_lease().await;
        assert_eq!(pair.verdict().await, "superseded", "{trim:?}");
        // And it goes on from there.
        pair.issuer.admin().regenerate("ci").await;
        assert_eq!(generation_in_memory(&pair.node, &pair.ci), Some(3), "{trim:?}");
        assert_eq!(pair.count(|counters| &counters.dropped), 1, "{trim:?}");
    }
}

#[tokio::test]
async fn r1_a_node_reports_what_it_has_applied_and_nothing_else() {
    let pair = Pair::start().await;
    pair.is_known().await;
    let (bell, follow) = (pair.wire.hold(Sent::Bell), pair.wire.hold(Sent::Follow));
    let asked = regenerating(&pair.issuer, &pair.ci).await;
    // It knows of the change, by its renewals, but not yet what it says.
    let renewals = || pair.count(|counters| &counters.renewals);
    let before = renewals() + 3;
    eventually("renewals", || async { renewals() > before }).await;
    waits(&asked).await;
    assert_eq!(pair.verdict().await, "allowed", "under the lease of before");
    pair.advance(LEASE);
    // F2: no lease begins before its epoch is applied.
    never("a lease on what was not applied", || pair.node.authority.node().freshness().has_lease()).await;
    assert_eq!(pair.verdict().await, "superseded", "looked up");
    waits(&asked).await;
    pair.advance(WHOLE_LEASE - LEASE);
    let receipt = asked.await.unwrap().expect(201)["receipt"].clone();
    assert_eq!((&receipt["nodes_acknowledged"], &receipt["nodes_expired"]), (&json!(1), &json!(1)));
    drop((bell, follow));
    pair.node.has_lease().await;
    assert_eq!(generation_in_memory(&pair.node, &pair.ci), Some(2));
}

#[tokio::test]
async fn a_role_that_is_changed_reaches_every_account_from_memory() {
    let pair = Pair::start().await;
    let body = json!({ "username": "second", "role": "ci-role", "valid_for_months": 12 });
    let second = pair.issuer.create(body).await;
    let doors = async |expected: u16| {
        for actor in [&pair.ci, &second] {
            let actor = pair.node.bearer(actor.token());
            actor.door("GET", "/verify?permission=deployments:create", expected).await;
        }
    };
    doors(200).await;
    let looked_up = pair.count(|counters| &counters.looked_up);
    for (permissions, expected) in [(json!([]), 403), (json!(["deployments:*"]), 200), (json!(["a:b"]), 403)] {
        let changed = pair.issuer.admin().put("/roles/ci-role", json!({ "permissions": permissions }), 200).await;
        assert_eq!(changed["receipt"]["nodes_acknowledged"], 2);
        doors(expected).await;
    }
    assert_eq!(pair.count(|counters| &counters.looked_up), looked_up, "no record was touched");
}

#[tokio::test]
async fn f2_the_key_set_belongs_to_the_epoch_and_without_it_there_is_no_lease() {
    let pair = Pair::start().await;
    pair.is_known().await;
    pair.wire.refuse(Sent::Keys);
    let keys = pair.issuer.authority.keys();
    let mut read = keys.document().await.unwrap();
    read.document.keys[0].state = KeyState::Revoked;
    crate::keys::replace(&pair.issuer.authority, &read).await;
    pair.advance(LEASE);
    never("a lease without the keys", || pair.node.authority.node().freshness().has_lease()).await;
    for _ in 0..10 {
        assert_eq!(pair.verdict().await, "store_unavailable", "refused rather than accepted");
    }
    pair.wire.allow(Sent::Keys);
    pair.node.has_lease().await;
    eventually("it is refused for its key", || async { pair.verdict().await == "revoked_key" }).await;
}
