//! What a receipt costs, how soon nodes see a revocation, and what a verification asks of the store: three nodes on one Redis,
//! real processes. `scripts/bench` runs it; it prints a table, and writes a JSON file where `COUNTERMARK_BENCH_OUT` names one.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a program for developers"
)]

#[path = "http/api.rs"]
mod api;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use api::Connection;

const NODES: usize = 3;
const RECEIPTS: usize = 300;
const REVOCATIONS: usize = 250;
const ACCOUNTS: usize = 200;
const VERIFICATIONS: usize = 40_000;

fn main() {
    // `cargo test --all-targets` runs benches, too, with this flag missing.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let redis = Redis::start(directory.path());
    let nodes: Vec<Node> = (0..NODES).map(|number| Node::start(directory.path(), number, &redis.url())).collect();
    let admin = std::fs::read_to_string(directory.path().join("node-0/admin.token")).unwrap().trim().to_owned();
    let mut api = Connection::to(&nodes[0].address);
    let role = json!({"permissions": ["jobs:run"]});
    api.call("PUT", "/api/v1/roles/runner", &admin, Some(&role)).expect(201);
    let mut tokens: Vec<String> = (0..ACCOUNTS).map(|number| create(&mut api, &admin, &format!("a{number}"))).collect();

    let receipts = receipts(&mut api, &admin);
    let seen = seen(&nodes, &mut api, &redis, &admin);
    // Their older tokens are dead by now.
    for (number, token) in tokens.iter_mut().take(2).enumerate() {
        *token = regenerate(&mut api, &admin, &format!("a{number}")).1;
    }
    let commands = commands(&nodes, &redis, &tokens);

    let report = json!({ "receipt_ms": receipts, "revocation_seen_ms": seen, "commands_per_verification": commands });
    println!("{}", serde_json::to_string_pretty(&report).unwrap());
    if let Some(path) = std::env::var_os("COUNTERMARK_BENCH_OUT") {
        std::fs::write(path, report.to_string()).unwrap();
    }
}

/// How long a regeneration takes until its receipt is there, and what of it is waiting for nodes.
fn receipts(api: &mut Connection, admin: &str) -> Value {
    let (mut whole, mut waited) = (Vec::new(), Vec::new());
    for _ in 0..RECEIPTS {
        let began = Instant::now();
        let (receipt, _) = regenerate(api, admin, "a0");
        whole.push(began.elapsed());
        assert_eq!(
            (&receipt["nodes_acknowledged"], &receipt["nodes_expired"]),
            (&json!(NODES), &json!(0)),
            "{receipt}"
        );
        waited.push(Duration::from_millis(receipt["waited_ms"].as_u64().unwrap()));
    }
    json!({ "whole_call": quantiles(whole), "waited_for_nodes": quantiles(waited) })
}

/// From the commit, as another client of the store sees it in the feed, to the first refusal by a node that is asked without
/// pause.
fn seen(nodes: &[Node], api: &mut Connection, redis: &Redis, admin: &str) -> Value {
    let mut times = Vec::new();
    let (mut token, mut after) = (regenerate(api, admin, "a1").1, redis.last());
    for round in 0..REVOCATIONS {
        let node = &nodes[round % NODES];
        let (refused, is_refused) = mpsc::channel();
        let ready = AtomicBool::new(false);
        let mut asking = Connection::to(&node.address);
        let committed = std::thread::scope(|scope| {
            let old = token.clone();
            let ready = &ready;
            scope.spawn(move || {
                loop {
                    let status = asking.call("GET", "/verify", &old, None).status;
                    ready.store(true, Ordering::SeqCst);
                    if status != 200 {
                        assert_eq!(status, 401);
                        return refused.send(Instant::now()).unwrap();
                    }
                }
            });
            let waiting = scope.spawn({
                let after = after.clone();
                move || redis.next_change(&after)
            });
            while !ready.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_micros(100));
            }
            token = regenerate(api, admin, "a1").1;
            let (committed, id) = waiting.join().unwrap();
            after = id;
            committed
        });
        times.push(is_refused.recv().unwrap().saturating_duration_since(committed));
    }
    quantiles(times)
}

/// Commands that reach the store for one verification of a token of a hot set.
fn commands(nodes: &[Node], redis: &Redis, tokens: &[String]) -> Value {
    let verify = |node: &Node, count: usize| {
        let mut connection = Connection::to(&node.address);
        for number in 0..count {
            assert_eq!(connection.call("GET", "/verify", &tokens[number % tokens.len()], None).status, 200);
        }
    };
    // Once to fill their memories.
    nodes.iter().for_each(|node| verify(node, tokens.len()));
    let counts = || -> (u64, u64) {
        let of = |node: &Node, name: &str| node.metric(name);
        let asked = nodes.iter().map(|node| {
            of(node, "countermark_state_lookups_total")
                + of(node, "countermark_lease_renewals_total")
                + of(node, "countermark_feed_reads_total")
        });
        (asked.sum(), redis.commands())
    };
    let (before, all_before) = counts();
    std::thread::scope(|scope| {
        for node in nodes {
            scope.spawn(move || verify(node, VERIFICATIONS / NODES));
        }
    });
    let (after, all_after) = counts();
    let per = |count: u64| count as f64 / (VERIFICATIONS / NODES * NODES) as f64;
    json!({ "to_decide": per(after - before), "with_audit_and_activity_logs": per(all_after - all_before) })
}

fn create(api: &mut Connection, admin: &str, name: &str) -> String {
    let account = json!({"username": name, "role": "runner", "valid_for_months": 6});
    let created = api.call("POST", "/api/v1/accounts", admin, Some(&account)).expect(201);
    created["token"].as_str().unwrap().to_owned()
}

fn regenerate(api: &mut Connection, admin: &str, name: &str) -> (Value, String) {
    let body = json!({"valid_for_months": 6});
    let path = format!("/api/v1/accounts/{name}/token");
    let issued = api.call("POST", &path, admin, Some(&body)).expect(201);
    (issued["receipt"].clone(), issued["token"].as_str().unwrap().to_owned())
}

fn quantiles(mut times: Vec<Duration>) -> Value {
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1000.0;
    json!({ "median": at(0.5), "p99": at(0.99), "most": at(1.0), "count": times.len() })
}

/// Ends when it is dropped.
struct Node {
    process: Child,
    address: String,
    operations: String,
}

impl Node {
    fn start(directory: &Path, number: usize, store: &str) -> Self {
        let data = directory.join(format!("node-{number}"));
        let path = directory.join(format!("node-{number}.log"));
        let read = |path: &Path| std::fs::read_to_string(path).unwrap();
        let log = std::fs::File::create(&path).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_countermark"));
        // Settings of ours are none of its.
        command.env_clear();
        command.args([
            "serve",
            "--listen",
            "http://127.0.0.1:0",
            "--operations-listen",
            "127.0.0.1:0",
            "--issuer",
            "https://localhost",
        ]);
        command.args(["--store", store, "--node-name", &format!("node-{number}")]).arg("--data-dir").arg(&data);
        command.arg("--master-key-file").arg(directory.join("master.key"));
        let process = command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let mut node = Self { process, address: String::new(), operations: String::new() };
        let began = Instant::now();
        loop {
            assert!(began.elapsed() < Duration::from_secs(20), "node {number} does not start: {}", read(&path));
            std::thread::sleep(Duration::from_millis(20));
            let Ok(text) = std::fs::read_to_string(data.join("serve.json")) else { continue };
            let Ok(document) = serde_json::from_str::<Value>(&text) else { continue };
            node.address = document["addresses"][0].as_str().unwrap().to_owned();
            node.operations = document["operations"].as_str().unwrap().to_owned();
            if Connection::to(&node.operations).call("GET", "/readyz", "-", None).status == 200 {
                return node;
            }
        }
    }

    fn metric(&self, name: &str) -> u64 {
        let address = self.operations.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("no {name}"));
        line.trim().parse().unwrap()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A Redis that is durable as the private one is. Ends when it is dropped.
struct Redis {
    process: Child,
    port: u16,
}

impl Redis {
    fn start(directory: &Path) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--appendonly", "yes"]);
        command.args(["--appendfsync", "always", "--dir"]).arg(directory).stdout(Stdio::null());
        let redis = Self { process: command.spawn().unwrap(), port };
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(began.elapsed() < Duration::from_secs(10), "redis-server does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        redis
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    fn connection(&self) -> redis::Connection {
        redis::Client::open(self.url()).unwrap().get_connection().unwrap()
    }

    /// The id of the last change.
    fn last(&self) -> String {
        let reply: Vec<(String, Vec<String>)> =
            redis::cmd("XREVRANGE").arg(&["{cm}:feed", "+", "-", "COUNT", "1"]).query(&mut self.connection()).unwrap();
        reply[0].0.clone()
    }

    /// When the next change came, and its id.
    fn next_change(&self, after: &str) -> (Instant, String) {
        let mut connection = self.connection();
        let reply: redis::streams::StreamReadReply =
            redis::cmd("XREAD").arg(&["BLOCK", "10000", "STREAMS", "{cm}:feed", after]).query(&mut connection).unwrap();
        (Instant::now(), reply.keys[0].ids[0].id.clone())
    }

    /// Commands that clients have sent so far, other than the watch over the connections and scripts' own.
    fn commands(&self) -> u64 {
        let info: String = redis::cmd("INFO").arg("stats").query(&mut self.connection()).unwrap();
        let line = info.lines().find_map(|line| line.strip_prefix("total_commands_processed:")).unwrap();
        line.trim().parse().unwrap()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
