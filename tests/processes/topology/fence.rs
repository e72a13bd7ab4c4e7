//! What nodes accept that are still with a primary that was cut off, demoted or replaced (F3).

use std::time::{Duration, Instant};

use super::failovers::SOON;
use super::member::Member;
use super::net::Side;
use super::sentinels::{MASTER, Sentinels};
use super::{cluster, sentinels};
use crate::machine::Machine;
use crate::server::Server;
use crate::until::{MAX_STALENESS, until};

/// `min-replicas-max-lag`
const LAG: u64 = 1;
/// Redis looks at its replicas once a second, and counts whole seconds.
const CLOSES_WITHIN: Duration = Duration::from_secs(LAG + 2);
/// For the question itself, on a machine that is busy.
const SLACK: Duration = Duration::from_millis(500);

/// One node that goes with the others, and two that stay where they are: one with a memory, one that looks everything up.
struct Nodes<'a> {
    machine: &'a Machine,
    url: String,
    goes: Server,
    stay: [Server; 2],
    id: String,
    token: String,
    admin: String,
}

impl<'a> Nodes<'a> {
    fn start(machine: &'a Machine, url: &str, stays_at: &str, required: u32) -> Self {
        let config = format!("[store]\nreplicas_required = {required}\nreplica_max_lag = \"{LAG}s\"\n");
        let start = |name: &str, url: &str| {
            let start = machine.serve_in(name).listen("http://127.0.0.1:0").option("--issuer", "https://issuer.test");
            start.option("--store", url).option("--node-name", name).config(&config)
        };
        let goes = start("goes", url).ready();
        let master = goes.data("keys/master.key");
        let stay = [("memory", "500ms"), ("looks-up", "0")].map(|(name, staleness)| {
            let start = start(name, stays_at).option("--master-key-file", &master);
            start.option("--max-staleness", staleness).ready()
        });
        let (id, token) = goes.create("ci", "auditor");
        let admin = goes.admin();
        for node in stay.iter().chain([&goes]) {
            node.verify(&token).expect(200);
        }
        Self { machine, url: url.to_owned(), goes, stay, id, token, admin }
    }

    /// This server and those that stay with it.
    fn side(&self, primary: &Member) -> Side {
        self.stay.iter().fold(primary.joins(Side::default()), |side, node| side.and(node.pid(), &[]))
    }

    /// Those that stay are declared gone: they may have ended something that the new primary lacks, and it would wait for them (R2).
    fn are_forgotten(&self) {
        let path = |name: &str| self.machine.path(name).display().to_string();
        let (data, config) = (path("goes"), path("goes.toml"));
        for name in ["memory", "looks-up"] {
            let forget = ["node", "forget", name, "--data-dir", &data, "--config", &config, "--store", &self.url];
            until(SOON, "a node that is declared gone", || (self.machine.run(&forget).code == 0).then_some(()));
        }
    }

    /// A new token, with a receipt: whoever changes anything waits first until nobody can rest on the former primary.
    fn regenerated(&self) -> String {
        until(SOON, "a receipt", || {
            let reply = self.goes.regenerate(&self.admin, &self.id);
            (reply.status == 201).then(|| reply.json()["token"].as_str().unwrap().to_owned())
        })
    }

    /// Waits until those that stay answer nothing any more; how long it took since then.
    fn are_silent(&self, since: Instant) -> [Duration; 2] {
        self.stay
            .each_ref()
            .map(|node| until(SOON, "503", || (node.verify(&self.token).status == 503).then(|| since.elapsed())))
    }

    fn never_accept(&self) {
        for _ in 0..20 {
            for node in &self.stay {
                node.verify(&self.token).expect(503);
            }
        }
    }

    /// All are together again: the new token is good everywhere, and the former one nowhere.
    fn agree(&self, new: &str) {
        for node in self.stay.iter().chain([&self.goes]) {
            until(SOON, "the new token is good", || (node.verify(new).status == 200).then_some(()));
            assert_eq!(node.verify(&self.token).expect(401).reason(), "superseded");
        }
    }
}

#[test]
fn f3_nodes_with_a_primary_that_is_cut_off_accept_nothing_before_another_takes_its_place() {
    let machine = Machine::new();
    // Longer than the fence takes to close, as doctor demands.
    let down_after = CLOSES_WITHIN + MAX_STALENESS + Duration::from_secs(2);
    let all = Sentinels::start(&machine, sentinels::Set { down_after, least: 1, lag: LAG });
    let nodes = Nodes::start(&machine, &all.url(), &all.url(), 1);
    let primary = all.is_whole(SOON);
    let began = Instant::now();
    all.net.cut(nodes.side(&all.servers[primary]));
    let closed = nodes.are_silent(began);
    assert_eq!(all.named(), Some(primary), "another one is the primary already");
    println!("nothing is accepted after {closed:.1?}");
    assert!(closed.iter().all(|after| *after <= CLOSES_WITHIN + MAX_STALENESS + SLACK), "{closed:?}");
    all.replaced(primary, SOON);
    println!("another primary after {:.1?}", began.elapsed());
    nodes.are_forgotten();
    let new = nodes.regenerated();
    println!("a receipt after {:.1?}", began.elapsed());
    nodes.never_accept();
    all.net.heal();
    nodes.agree(&new);
}

#[test]
fn f3_exception_without_min_replicas_nodes_with_a_primary_that_is_cut_off_go_on_as_before() {
    let machine = Machine::new();
    let set = sentinels::Set { down_after: Duration::from_secs(1), least: 0, lag: LAG };
    let all = Sentinels::start(&machine, set);
    let nodes = Nodes::start(&machine, &all.url(), &all.url(), 1);
    let primary = all.is_whole(SOON);
    all.net.cut(nodes.side(&all.servers[primary]));
    all.replaced(primary, SOON);
    nodes.are_forgotten();
    let new = nodes.regenerated();
    // What the documentation warns of, and doctor finds.
    for node in &nodes.stay {
        node.verify(&nodes.token).expect(200);
    }
    all.net.heal();
    nodes.agree(&new);
}

#[test]
fn f3_where_renewals_wait_a_node_with_a_primary_that_is_cut_off_stops_with_its_lease_also_without_min_replicas() {
    let machine = Machine::new();
    let set = sentinels::Set { down_after: Duration::from_secs(1), least: 0, lag: LAG };
    let all = Sentinels::start(&machine, set);
    let config = "[store]\nreplicas_required = 1\nrenewals_wait = true\n";
    let start = machine.serve().listen("http://127.0.0.1:0").option("--issuer", "https://issuer.test");
    let node = start.option("--store", all.url()).config(config).ready();
    let (_, token) = node.create("ci", "auditor");
    node.verify(&token).expect(200);
    let primary = all.is_whole(SOON);
    let began = Instant::now();
    all.net.cut(all.servers[primary].joins(Side::default()).and(node.pid(), &[]));
    until(SOON, "503", || (node.verify(&token).status == 503).then_some(()));
    let closed = began.elapsed();
    println!("nothing is accepted after {closed:.1?}");
    assert!(closed <= MAX_STALENESS + SLACK, "{closed:?}");
    // For longer than another primary takes, which it can't hear of.
    all.replaced(primary, SOON);
    for _ in 0..20 {
        node.verify(&token).expect(503);
    }
    all.net.heal();
    until(SOON, "it is good again", || (node.verify(&token).status == 200).then_some(()));
}

#[test]
fn f3_a_primary_of_a_cluster_that_is_cut_off_stops_by_itself_also_without_min_replicas() {
    let machine = Machine::new();
    let node_timeout = Duration::from_secs(1);
    let all = cluster::Cluster::start(&machine, cluster::Set { node_timeout, least: 0, lag: LAG });
    let nodes = Nodes::start(&machine, &all.url(), &all.url(), 1);
    let (slot, began) = (all.state_slot(), Instant::now());
    let primary = all.serves(slot).unwrap();
    all.net.cut(nodes.side(&all.members[primary]));
    let closed = nodes.are_silent(began);
    println!("nothing is accepted after {closed:.1?}");
    assert!(closed.iter().all(|after| *after <= node_timeout * 2 + MAX_STALENESS + SLACK), "{closed:?}");
    all.replaced(slot, primary, SOON);
    println!("another primary after {:.1?}", began.elapsed());
    nodes.are_forgotten();
    let new = nodes.regenerated();
    nodes.never_accept();
    all.net.heal();
    nodes.agree(&new);
}

#[test]
fn f3_nodes_that_know_one_server_only_accept_nothing_once_it_is_demoted() {
    let machine = Machine::new();
    let set = sentinels::Set { down_after: Duration::from_secs(1), least: 1, lag: LAG };
    let all = Sentinels::start(&machine, set);
    let primary = all.is_whole(SOON);
    let nodes = Nodes::start(&machine, &all.url(), &format!("redis://127.0.0.1:{}", all.servers[primary].port), 1);
    all.sentinels[0].told::<()>(&["SENTINEL", "FAILOVER", MASTER]);
    all.replaced(primary, SOON);
    nodes.are_forgotten();
    nodes.regenerated();
    nodes.never_accept();
}
