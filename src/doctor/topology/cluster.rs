//! What the servers of a Redis Cluster say of it.

use std::time::Duration;

use super::{Found, GivesUp, number, text};
use crate::doctor::Entry;
use crate::store::{Asked, ClusterServers, Examiner, HostPort, ServerFacts};

pub(super) async fn look(examiner: &mut Examiner) -> (Vec<Entry>, Found) {
    let listed = examiner.cluster_servers().await.unwrap_or_default();
    let servers = examiner.servers(&listed.all).await;
    let mut entries = vec![slots(examiner, &servers), coverage(&servers), replicas(&listed, &servers)];
    let promotable = listed.has_state.as_ref().map(|owner| replicas_of(owner, &listed, &servers));
    entries.extend(migration(promotable, &servers));
    let after = said(&servers).filter_map(|(_, facts)| number(facts.settings.as_ref()?, "cluster-node-timeout")).min();
    let gives_up = after.map(|after| GivesUp { after: Duration::from_millis(after), setting: "cluster-node-timeout" });
    (entries, Found { servers, promotable, gives_up, stops_by_itself: true })
}

fn said(servers: &[Asked<ServerFacts>]) -> impl Iterator<Item = (&HostPort, &ServerFacts)> {
    servers.iter().filter_map(|one| Some((&one.at, one.said.as_ref().ok()?)))
}

/// So many replicas may take the place of this one. Whose they are is as the cluster says, which calls all of them by the names
/// that they announce: a replica itself knows its primary by its address.
fn replicas_of(primary: &HostPort, listed: &ClusterServers, servers: &[Asked<ServerFacts>]) -> usize {
    let follows = |at: &HostPort| listed.follows.get(at) == Some(primary);
    said(servers).filter(|(at, facts)| follows(at) && may_lead(facts)).count()
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
    match super::listed(&[down, few, unserved].concat()) {
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

fn replicas(listed: &ClusterServers, servers: &[Asked<ServerFacts>]) -> Entry {
    const CHECK: &str = "cluster.replicas";
    let alone: Vec<String> = said(servers)
        .filter(|(_, facts)| text(&facts.info, "role") == "master")
        .filter(|(at, _)| replicas_of(at, listed, servers) == 0)
        .map(|(at, _)| format!("{at} has no replica that may take its place"))
        .collect();
    match super::listed(&alone) {
        None => Entry::ok(CHECK, "every primary has a replica that may take its place"),
        Some(seen) => Entry::finding(
            CHECK,
            seen,
            "its slots are lost with it, and what was acknowledged in them",
            "CLUSTER REPLICATE on another server; where that is meant, cluster-replica-no-failover no",
        ),
    }
}

/// Whether a replica of the state would be given away. Nothing, where there is none to spare.
fn migration(promotable: Option<usize>, servers: &[Asked<ServerFacts>]) -> Option<Entry> {
    const CHECK: &str = "cluster.migration";
    let more = promotable.filter(|replicas| *replicas > 1)?;
    let gives_away = |facts: &ServerFacts| {
        let settings = facts.settings.as_ref()?;
        let barrier = number(settings, "cluster-migration-barrier")?;
        let stays = barrier >= more as u64 || text(settings, "cluster-allow-replica-migration") == "no";
        (!stays).then_some(barrier)
    };
    let open: Vec<String> = said(servers)
        .filter_map(|(at, facts)| Some(format!("{at}: cluster-migration-barrier is {}", gives_away(facts)?)))
        .collect();
    Some(match super::listed(&open) {
        None => Entry::ok(CHECK, format!("the {more} replicas of the state stay with it")),
        Some(seen) => Entry::notice(
            CHECK,
            seen,
            format!(
                "CONFIG SET cluster-migration-barrier {more}; CONFIG REWRITE, on each: one of the {more} replicas of the state goes to \
                 a primary that has lost its own, and then the loss of one server stops the service"
            ),
        ),
    })
}
