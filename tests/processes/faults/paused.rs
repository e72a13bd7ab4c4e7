//! Nodes that are paused, killed, or left behind with a primary that is none any more.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use super::proxy::{Proxy, Wire};
use crate::machine::Machine;
use crate::redis::{Redis, state_key};
use crate::server::Server;
use crate::until::{soon, stand_still, until};

const LEASE: Duration = Duration::from_millis(500);

/// Connections, and verifications that are sent on each at once.
const CONNECTIONS: usize = 20;
const EACH: usize = 50;

/// An issuer and a node on one Redis, the node's way to which is a wire.
struct Scene {
    redis: Redis,
    wire: Proxy,
    issuer: Server,
    node: Server,
    id: String,
    token: String,
    machine: Machine,
}

/// A server on this store, with the keys of the first.
fn joins(machine: &Machine, data: &str, store: &str, max_staleness: &str) -> Server {
    let start = machine.serve_in(data).listen("http://127.0.0.1:0").option("--store", store);
    start
        .option("--master-key-file", machine.path("master.key"))
        .option("--max-staleness", max_staleness)
        .option("--issuer", "https://issuer.test")
        .ready()
}

impl Scene {
    fn new() -> Self {
        let machine = Machine::new();
        machine.write("master.key", &"A".repeat(43));
        let redis = Redis::start(&machine, &[]);
        let issuer = joins(&machine, "issuer", &redis.url(), "500ms");
        let wire = Proxy::to(redis.port);
        let node = joins(&machine, "node", &wire.url(), "500ms");
        let (id, token) = issuer.create("ci", "auditor");
        Self { redis, wire, issuer, node, id, token, machine }
    }

    fn regenerate(&self) -> Value {
        self.issuer.regenerate(&self.issuer.admin(), &self.id).expect(201).json()
    }

    /// What the paused node answers to what was sent to it meanwhile: so many of each status.
    fn finds(&self, meanwhile: impl FnOnce()) -> Vec<(u16, usize)> {
        let request =
            format!("GET /verify HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\r\n", self.token);
        let connect = || {
            let stream = TcpStream::connect(("127.0.0.1", self.node.port(0))).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            stream
        };
        let mut connections: Vec<TcpStream> = (0..CONNECTIONS).map(|_| connect()).collect();
        for connection in &mut connections {
            connection.write_all(request.as_bytes()).unwrap();
            assert_eq!(statuses(connection, 1), [200], "it has the account in memory, and a lease");
        }
        stand_still(self.node.pid());
        let paused = Instant::now();
        for connection in &mut connections {
            connection.write_all(request.repeat(EACH).as_bytes()).unwrap();
        }
        meanwhile();
        std::thread::sleep((2 * LEASE).saturating_sub(paused.elapsed()));
        self.node.signal(Signal::CONT);
        let mut found: Vec<u16> = connections.iter_mut().flat_map(|connection| statuses(connection, EACH)).collect();
        found.sort_unstable();
        found.chunk_by(|a, b| a == b).map(|same| (same[0], same.len())).collect()
    }
}

/// The status of so many answers that come one after another.
fn statuses(connection: &mut TcpStream, count: usize) -> Vec<u16> {
    let (mut text, mut buffer) = (String::new(), [0; 64 * 1024]);
    loop {
        let heads: Vec<&str> = text.split("HTTP/1.1 ").skip(1).collect();
        // The last one is whole when its body is.
        let length = |head: &str| {
            let (fields, body) = head.split_once("\r\n\r\n")?;
            let wanted = fields.lines().find_map(|line| line.strip_prefix("content-length: "))?.parse().ok()?;
            Some(body.len() >= wanted)
        };
        if heads.len() == count && heads.last().and_then(|last| length(last)) == Some(true) {
            return heads.iter().map(|head| head[..3].parse().unwrap()).collect();
        }
        let read = connection.read(&mut buffer).unwrap();
        assert!(read > 0, "it ended after {} of {count}", heads.len());
        text.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
    }
}

#[test]
fn f2_a_node_that_was_paused_for_two_leases_answers_nothing_from_memory() {
    let scene = Scene::new();
    let found = scene.finds(|| scene.wire.becomes(Wire::Refusing));
    assert_eq!(found, [(503, CONNECTIONS * EACH)]);
    scene.wire.becomes(Wire::Sound);
    soon("all is well again", || scene.node.is_ready() && scene.node.verify(&scene.token).status == 200);
}

#[test]
fn r1_a_node_that_was_paused_during_a_regeneration_accepts_nothing_old_afterwards() {
    let scene = Scene::new();
    let found = scene.finds(|| {
        let receipt = scene.regenerate()["receipt"].clone();
        assert_eq!(receipt["nodes_expired"], 1, "its whole lease was waited for");
        assert_eq!(receipt["nodes_acknowledged"], 1);
        assert!(receipt["waited_ms"].as_u64().unwrap() >= 520, "{receipt}");
    });
    let answered: usize = found.iter().map(|(_, count)| count).sum();
    assert_eq!(answered, CONNECTIONS * EACH);
    assert!(found.iter().all(|(status, _)| [401, 503].contains(status)), "{found:?}");
    soon("it knows why", || scene.node.verify(&scene.token).status == 401);
}

#[test]
fn r1_a_node_that_was_killed_is_waited_for_until_it_is_taken_out_of_the_table() {
    let mut scene = Scene::new();
    scene.node.verify(&scene.token).expect(200);
    scene.node.signal(Signal::KILL);
    scene.node.end();
    let killed = Instant::now();
    assert_eq!(scene.regenerate()["receipt"]["nodes_expired"], 1);
    let nodes = || {
        let list = scene.issuer.call("GET", "/api/v1/nodes").bearer(&scene.issuer.admin()).send().expect(200).json();
        list["items"].as_array().unwrap().len()
    };
    assert_eq!(nodes(), 2);
    until(Duration::from_secs(20), "it is taken out of the table", || (nodes() == 1).then_some(()));
    assert!(killed.elapsed() >= 4 * LEASE - Duration::from_millis(200), "{:?}", killed.elapsed());
    let receipt = scene.regenerate()["receipt"].clone();
    assert_eq!((receipt["nodes_acknowledged"].as_u64(), receipt["nodes_expired"].as_u64()), (Some(1), Some(0)));
    assert!(scene.redis.size() > 0 && scene.machine.path("master.key").exists());
}

#[test]
fn r4_a_fresh_issuer_on_a_promoted_replica_waits_for_leases_that_the_old_primary_gave() {
    let machine = Machine::new();
    machine.write("master.key", &"A".repeat(43));
    let primary = Redis::start(&machine, &[("--repl-diskless-sync-delay", "0")]);
    let promoted = Redis::start(&machine, &[("--replicaof", &format!("127.0.0.1 {}", primary.port))]);
    let old = joins(&machine, "old", &primary.url(), "500ms");
    let (id, token) = old.create("ci", "auditor");
    let admin = old.admin();
    let state = |redis: &Redis| -> Option<String> {
        redis::cmd("GET").arg(state_key(&id)).query(&mut redis.connection()).unwrap()
    };
    soon("the replica has everything", || state(&promoted).is_some());
    redis::cmd("REPLICAOF").arg("NO").arg("ONE").exec(&mut promoted.connection()).unwrap();
    // Its lease stands in the table of the old primary alone.
    let wire = Proxy::to(primary.port);
    let node = joins(&machine, "node", &wire.url(), "5s");
    node.verify(&token).expect(200);
    soon("a lease", || node.is_ready());
    old.stop();
    wire.becomes(Wire::BlackHole);
    let cut_off = Instant::now();
    // It has said goodbye to the old primary alone, and is gone.
    let known: Vec<String> = redis::cmd("HVALS").arg("{cm}:issuers").query(&mut promoted.connection()).unwrap();
    let name = known[0].splitn(3, ' ').last().unwrap();
    let (key, store) = (machine.path("master.key"), promoted.url());
    let place = ["--data-dir", "fresh", "--store", &store, "--master-key-file", key.to_str().unwrap()];
    machine.run(&[&["node", "forget", name][..], &place].concat()).expect(0);
    let fresh = joins(&machine, "fresh", &promoted.url(), "500ms");
    let (accepted, receipted) = std::thread::scope(|scope| {
        let receipt = scope.spawn(|| {
            fresh.regenerate(&admin, &id).expect(201);
            Instant::now()
        });
        let mut last = None;
        while !receipt.is_finished() {
            let began = Instant::now();
            if node.verify(&token).status == 200 {
                last = Some(began);
            }
        }
        (last, receipt.join().unwrap())
    });
    assert!(receipted - cut_off >= Duration::from_secs(5), "{:?}", receipted - cut_off);
    assert!(accepted.is_none_or(|accepted| accepted < receipted));
    assert_ne!(node.verify(&token).status, 200);
}
