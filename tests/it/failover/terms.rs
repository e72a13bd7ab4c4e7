//! A server that dies soon after it has begun a term takes that term with it: the copy that is promoted knows nothing of it, and those who
//! have followed it there go on all the same.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use countermark::epoch::Epoch;
use countermark::verify::freshness::{Identity, Place};
use serde_json::json;

use super::{Issuers, acts, serves};
use crate::app::{Actor, App, Setup, eventually};
use crate::redis_server::RedisServer;
use crate::wire::Wire;

/// The first issuer and a node, and a copy of before the second one went.
struct Left {
    issuers: Issuers,
    one: App,
    ci: Actor,
    /// Of the node.
    wire: Wire,
    node: App,
    replica: Arc<RedisServer>,
}

impl Left {
    async fn by_the_second() -> Self {
        let (issuers, one) = Issuers::begin("one").await;
        let two = issuers.start("two", &one.redis).await;
        let ci = one.account("ci", &[]).await;
        let wire = Wire::to(&one.redis);
        let node = issuers.node(&wire, &one.redis).await;
        let replica = one.redis.copy().await;
        assert!(two.store.withdraw().await.unwrap());
        drop(two);
        Self { issuers, one, ci, wire, node, replica }
    }
}

/// Where a node is, by its memory.
fn place(node: &App) -> Option<Place> {
    let memory = node.authority.node().freshness().memory()?;
    Some(Place { identity: memory.identity().clone(), epoch: memory.applied() })
}

async fn is_in_term(node: &App, term: u64) {
    eventually("the node follows the term", || async {
        node.authority.node().freshness().has_lease() && place(node).is_some_and(|place| place.epoch.term == term)
    })
    .await;
}

fn alarms(node: &App) -> u64 {
    node.authority.node().freshness().counters().rolled_back.load(Ordering::SeqCst)
}

/// The server becomes another one, as where it crashes and is restarted at once, and the node follows what this issuer begins there.
async fn restarts(one: &App, node: &App) -> Identity {
    one.redis.changes_identity().await;
    eventually("it serves as another one", || serves(one)).await;
    is_in_term(node, 2).await;
    place(node).unwrap().identity
}

#[tokio::test]
async fn r2_nodes_go_on_where_the_beginning_of_a_term_is_lost_with_its_server() {
    let (issuers, one) = Issuers::begin("one").await;
    let ci = one.account("ci", &[]).await;
    let wire = Wire::to(&one.redis);
    let node = issuers.node(&wire, &one.redis).await;
    let replica = one.redis.copy().await;
    restarts(&one, &node).await;
    let lost = one.admin().regenerate("ci").await;
    drop(one);
    // Another dataset's terms are nothing to this one.
    let terms = issuers.journal("one").join("terms");
    let met = std::fs::read_to_string(&terms).unwrap();
    std::fs::write(&terms, met + "another 900 server\n").unwrap();
    let one = issuers.start("one", &replica).await;
    assert_eq!(one.epoch().await.0, 3, "beyond the one that is lost");
    wire.leads_to(&replica);
    is_in_term(&node, 3).await;
    assert_eq!(node.bearer(&lost).verdict().await, "allowed", "its issuer has put it in place again");
    assert_eq!(node.bearer(ci.token()).verdict().await, "superseded");
    assert_eq!(alarms(&node), 0);
    // And once more, with nothing in between.
    let replica = one.redis.copy().await;
    one.redis.changes_identity().await;
    eventually("it serves as another one", || serves(&one)).await;
    is_in_term(&node, 4).await;
    drop(one);
    issuers.start("one", &replica).await;
    wire.leads_to(&replica);
    is_in_term(&node, 5).await;
    assert_eq!(node.bearer(&lost).verdict().await, "allowed");
    assert_eq!(alarms(&node), 0);
}

/// Whoever comes first was not there, and begins a term of the number that is lost.
#[tokio::test]
async fn r2_an_issuer_that_was_in_the_lost_term_begins_one_beyond_the_same_number_of_the_promoted_server() {
    let Left { issuers, one, ci, wire, node, replica } = Left::by_the_second().await;
    restarts(&one, &node).await;
    drop(one);
    let two = issuers.start("two", &replica).await;
    assert_eq!(two.epoch().await.0, 2);
    assert!(!serves(&two).await);
    // It is killed: all that it knew it has raised on this server.
    drop(two);
    let one = issuers.start("one", &replica).await;
    assert_eq!(one.epoch().await.0, 3);
    assert!(serves(&one).await, "{:?}", one.store.waited_for());
    wire.leads_to(&replica);
    is_in_term(&node, 3).await;
    assert_eq!((node.bearer(ci.token()).verdict().await.as_str(), alarms(&node)), ("allowed", 0));
}

/// A promoted server that serves already, with an issuer that was not in the term that is lost.
async fn serving_without_one(issuers: &Issuers, replica: &Arc<RedisServer>) -> App {
    let two = issuers.start("two", replica).await;
    two.authority.forget_issuer("one").await.unwrap();
    assert!(serves(&two).await);
    two
}

#[tokio::test]
async fn r2_an_issuer_under_which_another_one_begins_a_term_knows_whose_its_changes_are() {
    let (issuers, one) = Issuers::begin("one").await;
    let two = issuers.start("two", &one.redis).await;
    one.account("ci", &[]).await;
    let replica = one.redis.copy().await;
    issuers.part(two, &one).await;
    drop(one);
    let two = serving_without_one(&issuers, &replica).await;
    two.admin().regenerate("ci").await;
    assert_eq!(two.epoch().await.0, 2);
    let one = issuers.start("one", &replica).await;
    assert_eq!(one.epoch().await.0, 3);
    two.admin().regenerate("ci").await;
    let promoted = replica.copy().await;
    let lost = two.admin().regenerate("ci").await;
    drop((one, two));
    let two = issuers.start("two", &promoted).await;
    issuers.start("one", &promoted).await;
    eventually("it serves", || serves(&two)).await;
    assert_eq!(two.bearer(&lost).verdict().await, "allowed", "it is put in place over what it had replaced");
}

/// The second one has been elsewhere, and begins a term beyond under the first.
#[tokio::test]
async fn r2_what_is_changed_in_a_term_that_another_issuer_has_begun_meanwhile_is_not_taken_for_lost() {
    let (issuers, one) = Issuers::begin("one").await;
    let ci = one.account("ci", &[]).await;
    let met = std::fs::read_to_string(issuers.journal("one").join("terms")).unwrap();
    let dataset = met.split(' ').next().unwrap();
    // With a blank journal it would vouch for no term.
    drop(issuers.start("two", &one.redis).await);
    std::fs::write(issuers.journal("two").join("terms"), format!("{dataset} 7 elsewhere\n")).unwrap();
    let two = issuers.start("two", &one.redis).await;
    assert_eq!(two.epoch().await.0, 8);
    let path = format!("/accounts/{}", ci.id);
    one.admin().patch(&path, json!({ "status": "disabled" }), 200).await;
    two.admin().patch(&path, json!({ "status": "active" }), 200).await;
    let promoted = one.redis.copy().await;
    drop((one, two));
    let two = issuers.start("two", &promoted).await;
    let one = issuers.start("one", &promoted).await;
    eventually("it serves", || serves(&two)).await;
    assert_eq!(one.bearer(ci.token()).verdict().await, "allowed");
    assert_eq!(acts(&one, "store.raise").await, Vec::<serde_json::Value>::new());
}

#[tokio::test]
async fn r2_a_server_without_the_term_that_was_followed_is_followed_once_an_issuer_that_was_there_has_raised_it() {
    let Left { issuers, one, ci, wire, node, replica } = Left::by_the_second().await;
    let lost = restarts(&one, &node).await;
    one.admin().delete("/accounts/ci/token", 200).await;
    drop(one);
    let two = serving_without_one(&issuers, &replica).await;
    replica.changes_identity().await;
    eventually("it serves as another one", || serves(&two)).await;
    assert_eq!(two.epoch().await.0, 3, "beyond, by chance");
    wire.leads_to(&replica);
    eventually("it is an alarm", || async { alarms(&node) > 0 }).await;
    assert_eq!(node.bearer(ci.token()).verdict().await, "store_unavailable", "its revocation is not there");
    let checks = node.edge.readiness().await;
    let said = checks.into_iter().find(|(name, _)| *name == "store").unwrap().1.unwrap_err();
    assert!(said.contains("has gone back behind what was applied here"), "{said}");
    let told = async |server: &Identity| {
        let asked = Epoch { term: 2, counter: 0 };
        two.authority.node().store().follow("a node", None, asked, Some(server)).await.unwrap().term_ended
    };
    // That it is there is not enough.
    issuers.is_killed_when_it_has_met("one", &replica).await;
    assert_eq!(told(&lost).await, None);
    let one = issuers.start("one", &replica).await;
    assert_eq!(told(&lost).await, Some(0));
    assert_eq!(told(&Identity::new("a dataset", "another server")).await, None);
    is_in_term(&node, 3).await;
    assert_eq!(node.bearer(ci.token()).verdict().await, "revoked");
    drop(one);
}

#[tokio::test]
async fn r2_a_new_issuer_that_is_killed_before_it_has_raised_the_store_is_not_waited_for() {
    let (issuers, one) = Issuers::begin("one").await;
    let ci = one.account("ci", &[]).await;
    issuers.is_killed_when_it_has_met("two", &one.redis).await;
    let known = one.store.issuers().await.unwrap();
    let two = known.iter().find(|issuer| issuer.name == "two").unwrap();
    assert!(one.store.withdraw_gone(two).await.unwrap());
    one.redis.changes_identity().await;
    eventually("it serves as another one", || serves(&one)).await;
    assert_eq!(one.bearer(ci.token()).verdict().await, "allowed");
}

/// The copy is from before it came: its journal has what nobody else makes up for.
#[tokio::test]
async fn r2_an_issuer_that_has_changed_something_and_is_killed_before_it_has_raised_the_store_is_waited_for() {
    let (issuers, one) = Issuers::begin("one").await;
    let ci = one.account("ci", &[]).await;
    let promoted = one.redis.copy().await;
    let two = issuers.start("two", &one.redis).await;
    two.admin().delete("/accounts/ci/token", 200).await;
    drop((one, two));
    issuers.is_killed_when_it_has_met("two", &promoted).await;
    let one = issuers.start("one", &promoted).await;
    let known = one.store.issuers().await.unwrap();
    let two = known.iter().find(|issuer| issuer.name == "two").unwrap();
    assert!(!one.store.withdraw_gone(two).await.unwrap());
    assert!(!serves(&one).await);
    assert_eq!(one.store.waited_for(), ["two"]);
    issuers.start("two", &promoted).await;
    assert_eq!(one.bearer(ci.token()).verdict().await, "revoked");
}

/// It was never stopped, and serves whoever has not followed another one.
#[tokio::test]
async fn r2_a_server_to_which_an_issuer_comes_back_serves_nobody_before_it_has_what_was_changed_elsewhere() {
    let (issuers, one) = Issuers::begin("one").await;
    let ci = one.account("ci", &[]).await;
    let (left, promoted) = (Arc::clone(&one.redis), one.redis.copy().await);
    drop(one);
    let one = issuers.start("one", &promoted).await;
    one.admin().delete("/accounts/ci/token", 200).await;
    drop(one);
    issuers.is_killed_when_it_has_met("one", &left).await;
    let node = App::with(Setup { journal: None, keys_mark: None, ..issuers.setup("node", &left) }).await;
    assert_eq!(node.bearer(ci.token()).verdict().await, "store_unavailable");
    assert_eq!(node.store.waited_for(), ["one"]);
    let one = issuers.start("one", &left).await;
    assert_eq!(one.bearer(ci.token()).verdict().await, "revoked");
    eventually("it is served again", || async { node.bearer(ci.token()).verdict().await == "revoked" }).await;
}

/// It was there, and does not know any more what it has done.
#[tokio::test]
async fn r2_an_issuer_without_its_journal_vouches_for_no_term_in_which_it_was() {
    let (issuers, one) = Issuers::begin("one").await;
    let ci = one.account("ci", &[]).await;
    let wire = Wire::to(&one.redis);
    let node = issuers.node(&wire, &one.redis).await;
    let replica = one.redis.copy().await;
    restarts(&one, &node).await;
    one.admin().delete("/accounts/ci/token", 200).await;
    drop(one);
    // As the text of a damaged journal says.
    for entry in std::fs::read_dir(issuers.journal("one")).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap().starts_with("changes-") {
            std::fs::remove_file(path).unwrap();
        }
    }
    // Nor later, when something is noted again.
    drop(issuers.start("one", &replica).await);
    let one = issuers.start("one", &replica).await;
    wire.leads_to(&replica);
    eventually("it is an alarm", || async { alarms(&node) > 0 }).await;
    assert_eq!(node.bearer(ci.token()).verdict().await, "store_unavailable");
    drop(one);
}

/// Its term would be nobody's whom a copy could ask.
#[tokio::test]
async fn r2_nobody_is_served_in_a_term_before_the_issuer_that_begins_it_has_written_it_down() {
    let (issuers, _one) = Issuers::begin("one").await;
    let empty = RedisServer::start();
    issuers.is_killed_when_it_has_met("two", &empty).await;
    let meta = format!("{{{}}}:meta", issuers.prefix);
    assert_eq!(empty.run::<(u64, Option<String>)>(&["HMGET", &meta, "term", "serving"]).await, (1, None));
}

#[tokio::test]
async fn the_latest_thousand_terms_that_have_ended_are_remembered_and_what_is_lacking_of_earlier_ones_is_forgotten() {
    let (issuers, one) = Issuers::begin("one").await;
    let meta = one.key("meta");
    // It has met none of these.
    std::fs::remove_file(issuers.journal("one").join("terms")).unwrap();
    for term in 1..1_203 {
        let (identity, ended) = (format!("identity:{term}"), format!("ended:{term}"));
        one.redis.run::<()>(&["HSET", &meta, &identity, "a server", &ended, "1"]).await;
    }
    one.redis.run::<()>(&["HSET", &meta, "term", "1203", "lacks:203 P", "1", "lacks:204 P", "1"]).await;
    one.redis.changes_identity().await;
    eventually("it serves as another one", || serves(&one)).await;
    assert_eq!(one.epoch().await.0, 1_204);
    let fields: Vec<String> = one.redis.run(&["HKEYS", &meta]).await;
    let of = |what: &'static str| -> Vec<&str> { fields.iter().filter_map(|field| field.strip_prefix(what)).collect() };
    for what in ["identity:", "ended:"] {
        let terms: Vec<u64> = of(what).iter().map(|term| term.parse().unwrap()).collect();
        assert_eq!((terms.len(), terms.iter().min().copied()), (1_000, Some(204)), "{what}");
    }
    assert_eq!(of("lacks:"), ["204 P"]);
}
