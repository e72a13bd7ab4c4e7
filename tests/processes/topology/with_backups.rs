//! Backups of a cluster, where the audit does not lie with the accounts.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use super::cluster::{Cluster, Set};
use super::failovers::LAG;
use crate::backup::audit::is_whole;
use crate::backup::scene::{Scene, acts, patch};
use crate::machine::{Ended, Machine};
use crate::server::Server;
use crate::until::soon;

/// Nobody is replaced meanwhile.
const PATIENT: Set = Set { node_timeout: Duration::from_secs(5), least: 1, lag: LAG };
/// Its calls are in a shard that lies at another server than the accounts.
const NODE: &str = "there";
/// The shard of it.
const SHARD: &str = "{cm:a1}:log";

struct Place {
    machine: Machine,
    cluster: Cluster,
}

impl Place {
    fn of(machine: Machine) -> Self {
        let cluster = Cluster::start(&machine, PATIENT);
        assert_ne!(cluster.serves(cluster.state_slot()), cluster.serves(cluster.slot(SHARD)), "one server has both");
        let config = format!("[store]\nreplicas_required = 1\nreplica_max_lag = \"{LAG}s\"\n");
        machine.write("cluster.toml", &config);
        Self { machine, cluster }
    }

    #[track_caller]
    fn run(&self, arguments: &[&str]) -> Ended {
        let (url, config) = (self.cluster.url(), self.machine.path("cluster.toml"));
        let place = ["--data-dir", "data", "--store", &url, "--config", config.to_str().unwrap()];
        self.machine.run(&[arguments, &place].concat())
    }

    #[track_caller]
    fn serve(&self, node: &str) -> Server {
        let start = self.machine.serve().option("--store", self.cluster.url());
        start.option("--config", self.machine.path("cluster.toml")).option("--node-name", node).ready()
    }

    /// Whoever has the calls of the node.
    fn shard(&self) -> usize {
        self.cluster.serves(self.cluster.slot(SHARD)).unwrap()
    }

    /// Everything in the store is lost.
    fn lose(&self) {
        for member in self.cluster.members.iter().filter(|member| member.is_primary()) {
            member.told::<()>(&["FLUSHALL"]);
        }
    }

    /// The keys of all primaries.
    fn keys(&self, pattern: &str) -> Vec<String> {
        let primaries = self.cluster.members.iter().filter(|member| member.is_primary());
        primaries.flat_map(|member| member.told::<Vec<String>>(&["KEYS", pattern])).collect()
    }
}

/// Accounts and calls, some of which a backup is to bring back: a token that is good, and one of an account that is disabled.
fn fill(server: &Server) -> [String; 2] {
    let (_, good) = server.create("ci", "auditor");
    let (id, disabled) = server.create("old", "auditor");
    for _ in 0..50 {
        // Seven servers on a machine that has much to do may hear of each other late.
        soon("a call that is let in", || server.verify(&good).status == 200);
    }
    patch(server, &format!("/accounts/{id}"), &json!({"status": "disabled"}));
    [good, disabled]
}

#[track_caller]
fn are_as_they_were(server: &Server, [good, disabled]: &[String; 2]) {
    soon("a token that is good", || server.verify(good).status == 200);
    assert_eq!(server.verify(disabled).expect(401).reason(), "disabled");
}

#[test]
fn a_cluster_is_backed_up_and_restored_with_its_audit_and_without_and_an_interrupted_restore_goes_on() {
    let place = Place::of(Machine::new());
    let server = place.serve(NODE);
    let tokens = fill(&server);
    is_whole(&place.machine);
    let said = place.run(&["backup", "--out", "a.backup", "--with-audit", "--output", "json"]).expect(0).json();
    assert!(said["audit_entries"].as_u64().unwrap() > 5, "{said}");
    server.stop();
    place.run(&["backup", "--out", "bare.backup"]).expect(0);
    place.lose();

    // Only some of it is written: whoever has the calls has no room for them.
    let shard = place.shard();
    let room = |bytes: &str| place.cluster.members[shard].told::<()>(&["CONFIG", "SET", "maxmemory", bytes]);
    room("1");
    let interrupted = place.run(&["restore", "a.backup", "--yes"]).expect(2);
    assert!(interrupted.err.contains("run the same command again"), "{interrupted:?}");
    let written = place.keys("*");
    let is_half = written.iter().any(|key| key.starts_with("{cm}:")) && !written.iter().any(|key| key == SHARD);
    assert!(is_half, "{written:?}, {interrupted:?}");
    room("0");
    place.run(&["restore", "a.backup", "--yes"]).expect(0);
    assert_eq!(place.keys("{cm:a1*:log"), [SHARD]);
    let server = place.serve(NODE);
    are_as_they_were(&server, &tokens);
    let before = is_whole(&place.machine);
    assert!(before["acts"].as_u64().unwrap() >= 3, "{before}");
    assert_eq!(acts(&server, "dataset.restore").len(), 1);
    soon("the account's own log", || {
        let activity = server.call("GET", "/api/v1/accounts/ci/activity?limit=500").bearer(&server.admin());
        let activity = activity.send().expect(200).json();
        let calls = activity["items"].as_array().unwrap().iter().filter(|event| event["kind"] == "call").count();
        calls >= 50
    });
    server.create("after", "auditor");
    assert!(is_whole(&place.machine)["acts"].as_u64() > before["acts"].as_u64());
    server.stop();

    place.lose();
    place.run(&["restore", "bare.backup", "--yes"]).expect(0);
    let server = place.serve(NODE);
    are_as_they_were(&server, &tokens);
    is_whole(&place.machine);
    server.stop();
}

#[test]
fn a_backup_of_one_server_is_restored_into_a_cluster() {
    let scene = Scene::new();
    let server = scene.serve().option("--node-name", NODE).ready();
    let tokens = fill(&server);
    is_whole(&scene.machine);
    scene.run(&["backup", "--out", "a.backup", "--with-audit"]).expect(0);
    server.stop();
    let Scene { machine, redis } = scene;
    drop(redis);
    let place = Place::of(machine);
    // Of a server that was not emptied with the others.
    place.cluster.members[place.shard()].told::<()>(&["XADD", SHARD, "*", "b", "of before"]);
    let refused = place.run(&["restore", "a.backup", "--yes"]).expect(2);
    assert!(refused.err.contains(SHARD) && refused.err.contains("Nothing was changed"), "{refused:?}");
    assert_eq!(place.keys("{cm}*"), Vec::<String>::new());
    place.lose();
    // One that can't be asked whether it is empty.
    let silent = place.cluster.serves(place.cluster.slot("{cm:a2}:log")).unwrap();
    assert_ne!(Some(silent), place.cluster.serves(place.cluster.state_slot()), "one server has both");
    let silent = &place.cluster.members[silent];
    silent.signal(Signal::STOP);
    let refused = place.run(&["restore", "a.backup", "--yes"]).expect(2);
    silent.signal(Signal::CONT);
    assert!(refused.err.contains("Nothing was changed") && !refused.err.contains("not whole"), "{refused:?}");
    assert_eq!(place.keys("{cm}*"), Vec::<String>::new());
    place.run(&["restore", "a.backup", "--yes"]).expect(0);
    let server = place.serve(NODE);
    are_as_they_were(&server, &tokens);
    let told = is_whole(&place.machine);
    assert!(told["acts"].as_u64().unwrap() >= 3, "{told}");
    server.stop();
}
