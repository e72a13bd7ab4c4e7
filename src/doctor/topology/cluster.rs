//! What the servers of a Redis Cluster say of it.

use std::time::Duration;

use super::{Found, GivesUp, address, listed, number, text};
use crate::doctor::Entry;
use crate::store::{Asked, Examiner, HostPort, ServerFacts};

pub(super) async fn look(examiner: &mut Examiner) -> (Vec<Entry>, Found) {
    let (all, owner) = examiner.cluster_servers().await.unwrap_or_default();
    let servers = examiner.servers(&all).await;
    let entries = vec![slots(examiner, &servers), coverage(&servers), replicas(&servers)];
    let after = said(&servers).filter_map(|(_, facts)| number(facts.settings.as_ref()?, "cluster-node-timeout")).min();
    let gives_up = after.map(|after| GivesUp { after: Duration::from_millis(after), setting: "cluster-node-timeout" });
    let promotable =
        said(&servers).filter(|(_, facts)| follows(facts) == owner && owner.is_some() && may_lead(facts)).count();
    (entries, Found { servers, promotable, gives_up, stops_by_itself: true })
}

fn said(servers: &[Asked<ServerFacts>]) -> impl Iterator<Item = (&HostPort, &ServerFacts)> {
    servers.iter().filter_map(|one| Some((&one.at, one.said.as_ref().ok()?)))
}

/// The primary that it is a replica of.
fn follows(facts: &ServerFacts) -> Option<HostPort> {
    address(&facts.info, "master_host", "master_port")
}

fn may_lead(facts: &ServerFacts) -> bool {
    facts.settings.as_ref().is_none_or(|settings| text(settings, "cluster-replica-no-failover") != "yes")
}

fn slots(examiner: &Examiner, servers: &[Asked<ServerFacts>]) -> Entry {
    const CHECK: &str = "cluster.slots";
    let unserved = examiner.unserved();
    let down: Vec<String> = said(servers)
        .filter(|(_, facts)| text(&facts.info, "cluster_state") != "ok")
        .map(|(at, facts)| format!("{at} says: cluster_state is {}", text(&facts.info, "cluster_state")))
        .collect();
    let few: Vec<String> = said(servers)
        .filter_map(|(_, facts)| number(&facts.info, "cluster_slots_ok"))
        .min()
        .filter(|slots| *slots < 16_384)
        .map(|slots| format!("{slots} of 16384 slots are served"))
        .into_iter()
        .collect();
    let unserved: Vec<String> = unserved.iter().map(|key| format!("nobody has the slot of {key}")).collect();
    match listed(&[down, few, unserved].concat()) {
        None => Entry::ok(CHECK, "every slot is served"),
        Some(seen) => Entry::finding(
            CHECK,
            seen,
            "without the slot of the state nothing is verified and nothing changed; without those of the audit events wait, and \
             logs of accounts are not filled",
            "bring the servers back that had the slots, or `redis-cli --cluster fix`; look with CLUSTER SHARDS",
        ),
    }
}

fn coverage(servers: &[Asked<ServerFacts>]) -> Entry {
    const CHECK: &str = "cluster.coverage";
    let settings: Vec<&str> = said(servers)
        .filter_map(|(_, facts)| Some(text(facts.settings.as_ref()?, "cluster-require-full-coverage")))
        .collect();
    if settings.is_empty() {
        return Entry::unchecked(
            CHECK,
            "the user may not ask for cluster-require-full-coverage (CONFIG GET)",
            "ask as an administrator of Redis, or whoever runs it for you: it should be no",
        );
    }
    if settings.contains(&"yes") {
        return Entry::notice(
            CHECK,
            "cluster-require-full-coverage is yes: when any slot is lost, all servers refuse everything",
            "CONFIG SET cluster-require-full-coverage no; CONFIG REWRITE, on each: then tokens are verified while a shard of the \
             audit is away",
        );
    }
    Entry::ok(CHECK, "what is served is served, whatever becomes of other slots")
}

fn replicas(servers: &[Asked<ServerFacts>]) -> Entry {
    const CHECK: &str = "cluster.replicas";
    let alone: Vec<String> = said(servers)
        .filter(|(_, facts)| text(&facts.info, "role") == "master")
        .filter(|(at, _)| !said(servers).any(|(_, facts)| follows(facts).as_ref() == Some(at) && may_lead(facts)))
        .map(|(at, _)| format!("{at} has no replica that may take its place"))
        .collect();
    match listed(&alone) {
        None => Entry::ok(CHECK, "every primary has a replica that may take its place"),
        Some(seen) => Entry::finding(
            CHECK,
            seen,
            "its slots are lost with it, and what was acknowledged in them",
            "CLUSTER REPLICATE on another server; where that is meant, cluster-replica-no-failover no",
        ),
    }
}
