//! Three nodes on one store, and the accounts whose tokens are shown to them.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde_json::json;

use super::api::Api;
use super::history::{Disturbance, Time};
use super::line::{Exchange, Line, request};
use crate::faults::proxy::Proxy;
use crate::machine::Machine;
use crate::redis::{Redis, free_port};
use crate::server::{Server, Start};
use crate::until::until;

pub const NODES: usize = 3;
const ACCOUNTS: usize = 40;
const ISSUER: &str = "https://issuer.test";
/// The length of a lease.
pub const MAX_STALENESS: Duration = Duration::from_millis(500);
/// So many that were changed last are shown more often.
const RECENT: usize = 10;

pub struct Scene {
    began: Instant,
    machine: Machine,
    store: Store,
    pub nodes: Vec<Node>,
    apis: Vec<Api>,
    pub accounts: Vec<Account>,
    /// The admin's token.
    pub admin: String,
    /// Those that were changed last.
    pub recent: Mutex<VecDeque<usize>>,
    disturbances: Mutex<Vec<Disturbance>>,
    regenerations: AtomicUsize,
    ends: AtomicBool,
    over: AtomicBool,
}

/// What the nodes share.
pub enum Store {
    /// One Redis, which each node reaches by a wire of its own.
    One { redis: Mutex<Redis>, port: u16 },
    /// Several, of which any may hold the feed.
    Several { url: String, settings: String, feeds: Vec<u16> },
}

/// Where tokens are shown.
pub struct Door {
    pub address: SocketAddr,
    /// What is to be shown here at once: account and generation.
    pub urgent: Mutex<VecDeque<(usize, u64)>>,
}

impl Door {
    pub fn at(address: SocketAddr) -> Self {
        Self { address, urgent: Mutex::default() }
    }
}

pub struct Node {
    pub door: Door,
    way: Way,
    /// Held by whoever tampers with the node, its wire, or both.
    pub server: Mutex<Server>,
}

pub struct Account {
    pub id: String,
    pub tokens: Mutex<Vec<Token>>,
}

#[derive(Clone)]
pub struct Token {
    pub generation: u64,
    /// The whole request that shows it.
    pub shown: Arc<[u8]>,
}

impl Node {
    /// Its wire to the one Redis.
    pub fn wire(&self) -> &Proxy {
        match &self.way {
            Way::Wire(wire) => wire,
            Way::Url { .. } => panic!("it has several ways"),
        }
    }
}

impl Token {
    pub fn new(generation: u64, token: &str) -> Self {
        Self { generation, shown: request("GET", "/verify", token, None).into() }
    }
}

/// How a node gets to the store.
enum Way {
    Wire(Proxy),
    Url { url: String, settings: String },
}

fn start(machine: &Machine, number: usize, address: SocketAddr, way: &Way) -> Start {
    let staleness = format!("{}ms", MAX_STALENESS.as_millis());
    let start = machine.serve_in(&format!("node-{number}"));
    let start = match way {
        Way::Wire(wire) => start.option("--store", wire.url()),
        Way::Url { url, settings } => start.option("--store", url).config(settings),
    };
    let start = start.option("--max-staleness", staleness).option("--issuer", ISSUER);
    let start = start.option("--node-name", format!("node-{number}"));
    // Not TLS is tested here.
    let start = start.listen(&format!("http://{address}")).env("COUNTERMARK_LOG_LEVEL", "warn");
    if number == 0 { start } else { start.option("--master-key-file", machine.path("node-0/keys/master.key")) }
}

/// An API on a store of several servers.
fn apis(machine: &Machine, store: &Store, line: &mut Line, admin: &str) -> Vec<Api> {
    let Store::Several { url, .. } = store else { return Vec::new() };
    let told = line.ask(&request("GET", "/.well-known/jwks.json", admin, None));
    let Exchange::Answer(told) = told else { panic!("{told:?}") };
    let key_set = machine.write("jwks.json", std::str::from_utf8(&told.body).unwrap());
    vec![Api::start(ISSUER, url, &key_set)]
}

/// An issuer that never met this store settles first.
fn begun(node: usize) -> Disturbance {
    Disturbance { node, what: "it has just begun", from: Time::ZERO, until: Time::ZERO }
}

impl Scene {
    pub fn of_one_redis() -> Self {
        let machine = Machine::new();
        let redis = Redis::start(&machine, &[]);
        let port = redis.port;
        Self::of(machine, Store::One { redis: Mutex::new(redis), port })
    }

    pub fn of(machine: Machine, store: Store) -> Self {
        let nodes: Vec<Node> = (0..NODES)
            .map(|number| {
                let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
                let way = match &store {
                    Store::One { port, .. } => Way::Wire(Proxy::to(*port)),
                    Store::Several { url, settings, .. } => Way::Url { url: url.clone(), settings: settings.clone() },
                };
                let server = Mutex::new(start(&machine, number, address, &way).ready());
                Node { door: Door::at(address), way, server }
            })
            .collect();
        let admin = nodes[0].server.lock().unwrap().admin();
        let mut line = Line::to(nodes[0].door.address, Duration::from_secs(10));
        let accounts = (0..ACCOUNTS)
            .map(|number| {
                let body = json!({"username": format!("ci-{number}"), "role": "auditor", "valid_for_months": 6});
                let made = line.ask(&request("POST", "/api/v1/accounts", &admin, Some(&body)));
                let Exchange::Answer(answer) = made else { panic!("{made:?}") };
                assert_eq!(answer.status, 201, "{}", answer.reason());
                let made = answer.json();
                let token = Token::new(1, made["token"].as_str().unwrap());
                Account { id: made["account"]["id"].as_str().unwrap().to_owned(), tokens: Mutex::new(vec![token]) }
            })
            .collect();
        let apis = apis(&machine, &store, &mut line, &admin);
        Self {
            began: Instant::now(),
            machine,
            store,
            nodes,
            apis,
            accounts,
            admin,
            recent: Mutex::default(),
            disturbances: Mutex::new((0..NODES).map(begun).collect()),
            regenerations: AtomicUsize::new(0),
            ends: AtomicBool::new(false),
            over: AtomicBool::new(false),
        }
    }

    /// One node is declared gone for good, from where another one is: no store waits for it to raise it (R2).
    pub fn forgets(&self, gone: usize, by: usize) {
        let Way::Url { url, .. } = &self.nodes[by].way else { panic!("it is for several servers") };
        let path = |name: String| self.machine.path(&name).display().to_string();
        let (data, config) = (path(format!("node-{by}")), path(format!("node-{by}.toml")));
        let (name, key) = (format!("node-{gone}"), path("node-0/keys/master.key".to_owned()));
        let place = ["--data-dir", &data, "--config", &config, "--store", url, "--master-key-file", &key];
        until(Duration::from_secs(20), "a node that is declared gone", || {
            (self.machine.run(&[&["node", "forget", &name], place.as_slice()].concat()).code == 0).then_some(())
        });
    }

    /// The last lines of what each node wrote.
    pub fn logs(&self) -> String {
        let log = |node: &Node| {
            let log = node.server.lock().unwrap().log();
            // Of each verification it says the same.
            let lines: Vec<&str> = log.lines().filter(|line| !line.contains("no look-up")).collect();
            lines[lines.len().saturating_sub(30)..].join("\n")
        };
        self.nodes.iter().map(log).collect::<Vec<_>>().join("\n\n")
    }

    /// The process of a node.
    pub fn pid(&self, node: usize) -> u32 {
        self.nodes[node].server.lock().unwrap().pid()
    }

    pub fn now(&self) -> Time {
        self.began.elapsed()
    }

    /// All that verify, the nodes first.
    pub fn doors(&self) -> impl Iterator<Item = &Door> {
        self.nodes.iter().map(|node| &node.door).chain(self.apis.iter().map(|api| &api.door))
    }

    pub fn door(&self, number: usize) -> &Door {
        self.doors().nth(number).unwrap()
    }

    /// A node that is not started yet, on what an earlier one left.
    pub fn start(&self, number: usize) -> Start {
        let node = &self.nodes[number];
        start(&self.machine, number, node.door.address, &node.way)
    }

    /// The one Redis.
    pub fn redis(&self) -> MutexGuard<'_, Redis> {
        match &self.store {
            Store::One { redis, .. } => redis.lock().unwrap(),
            Store::Several { .. } => panic!("the nodes share several"),
        }
    }

    /// Where the feed may be.
    pub fn feeds(&self) -> Vec<u16> {
        match &self.store {
            Store::One { port, .. } => vec![*port],
            Store::Several { feeds, .. } => feeds.clone(),
        }
    }

    /// Something is in the way of these nodes, until the value is dropped.
    pub fn disturbs(&self, nodes: &[usize], what: &'static str) -> Disturbs<'_> {
        Disturbs { scene: self, nodes: nodes.to_vec(), what, from: self.now() }
    }

    pub fn disturbed(&self, disturbance: Disturbance) {
        self.disturbances.lock().unwrap().push(disturbance);
    }

    pub fn disturbances(&self) -> Vec<Disturbance> {
        self.disturbances.lock().unwrap().clone()
    }

    /// A token that was handed out.
    pub fn token(&self, account: usize, generation: u64) -> Option<Token> {
        self.accounts[account].tokens.lock().unwrap().iter().find(|token| token.generation == generation).cloned()
    }

    /// An account was changed: its newest tokens are to be shown at every node at once.
    pub fn changed(&self, account: usize) {
        let generations: Vec<u64> = {
            let tokens = self.accounts[account].tokens.lock().unwrap();
            // The older one twice.
            tokens.iter().rev().take(2).flat_map(|token| [token.generation; 2]).skip(1).collect()
        };
        for door in self.doors() {
            let mut urgent = door.urgent.lock().unwrap();
            urgent.extend(generations.iter().rev().map(|generation| (account, *generation)));
            let late = urgent.len().saturating_sub(64);
            urgent.drain(..late);
        }
        self.asked_for(account);
    }

    /// An account is being changed.
    pub fn asked_for(&self, account: usize) {
        let mut recent = self.recent.lock().unwrap();
        recent.push_back(account);
        if recent.len() > RECENT {
            recent.pop_front();
        }
    }

    pub fn regenerated(&self) {
        self.regenerations.fetch_add(1, Ordering::SeqCst);
    }

    /// Those that were receipted.
    pub fn regenerations(&self) -> usize {
        self.regenerations.load(Ordering::SeqCst)
    }

    /// Nobody is to change anything any more.
    pub fn calls_for_the_end(&self) {
        self.ends.store(true, Ordering::SeqCst);
    }

    pub fn comes_to_its_end(&self) -> bool {
        self.ends.load(Ordering::SeqCst)
    }

    pub fn end(&self) {
        self.calls_for_the_end();
        self.over.store(true, Ordering::SeqCst);
    }

    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }
}

pub struct Disturbs<'a> {
    scene: &'a Scene,
    nodes: Vec<usize>,
    what: &'static str,
    from: Time,
}

impl Drop for Disturbs<'_> {
    fn drop(&mut self) {
        let until = self.scene.now();
        for node in &self.nodes {
            self.scene.disturbed(Disturbance { node: *node, what: self.what, from: self.from, until });
        }
    }
}
