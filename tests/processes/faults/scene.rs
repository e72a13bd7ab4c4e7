//! A server whose store can be made to misbehave, and one token of each kind.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use super::proxy::Proxy;
use crate::call::Reply;
use crate::machine::Machine;
use crate::redis::Redis;
use crate::server::Server;
use crate::until::{soon, until};

/// How soon changes are acknowledged by a store that may be another one than before: the longest of leases, and what a busy
/// machine adds to it.
const SETTLES: Duration = Duration::from_secs(8);

pub struct Scene {
    pub server: Server,
    /// Whether it decides from memory.
    pub has_memory: bool,
    pub proxy: Proxy,
    pub redis: Redis,
    /// Holds its directory.
    _machine: Machine,
    pub admin: String,
    /// Of the account `ci`: its id, its token, and the one before that.
    pub id: String,
    pub good: String,
    pub dead: String,
    /// The ids of the requests that were decided: each has to be in the audit.
    pub decided: Mutex<BTreeSet<String>>,
    /// How many changes may or may not have been made.
    pub uncertain: AtomicUsize,
}

impl Scene {
    /// On a Redis of somebody else's, with these settings, behind a wire.
    pub fn on_redis(settings: &[(&str, &str)]) -> Self {
        Self::with(settings, "500ms")
    }

    /// And with this bound to how old a state may be.
    pub fn with(settings: &[(&str, &str)], max_staleness: &str) -> Self {
        let machine = Machine::new();
        let redis = Redis::start(&machine, settings);
        let proxy = Proxy::to(redis.port);
        // Plain HTTP on the loopback: it is not TLS that is tested here.
        let start = machine.serve().listen("http://127.0.0.1:0").option("--issuer", "https://issuer.test");
        let server = start.option("--store", proxy.url()).option("--max-staleness", max_staleness).ready();
        let admin = server.admin();
        let (id, dead) = server.create("ci", "auditor");
        let good = server.regenerate(&admin, &id).expect(201).json()["token"].as_str().unwrap().to_owned();
        // From here on Redis knows the script for it, and needn't be told at the worst moment.
        server.call("POST", "/oauth2/revoke").option("--data", &format!("token={dead}")).send().expect(200);
        Self {
            server,
            has_memory: max_staleness != "0",
            proxy,
            redis,
            _machine: machine,
            admin,
            id,
            good,
            dead,
            decided: Mutex::default(),
            uncertain: AtomicUsize::new(0),
        }
    }

    /// A command to the store, past the wire.
    pub fn command(&self, words: &[&str]) {
        redis::cmd(words[0]).arg(&words[1..]).exec(&mut self.redis.connection()).unwrap();
    }

    /// Waits until everything is as it should be; how long that took. A change may wait until leases that another server
    /// than this one may have given are over (R4).
    #[track_caller]
    pub fn recovers(&self, within: Duration, what: &str) -> Duration {
        let began = Instant::now();
        until(within, &format!("all well again after: {what}"), || {
            let well = self.server.is_ready()
                && self.server.verify(&self.good).status == 200
                && self.server.call("GET", "/api/v1/accounts").bearer(&self.admin).send().status == 200;
            well.then_some(())
        });
        let took = began.elapsed();
        until(SETTLES, &format!("changes again after: {what}"), || (self.describe("well").status == 200).then_some(()));
        assert_eq!(self.server.verify(&self.dead).expect(401).reason(), "superseded", "{what}");
        took
    }

    /// Every call that was decided meanwhile is there, and each number once.
    #[track_caller]
    pub fn nothing_is_missing_in_the_audit(&self) {
        let metric = |name: &str| {
            let text = self.server.operations("/metrics").send().expect(200).body;
            let line = text.lines().find(|line| line.starts_with(name) && line[name.len()..].starts_with(' '));
            line.and_then(|line| line.rsplit(' ').next()).unwrap().parse::<u64>().unwrap()
        };
        soon("no event waits", || metric("countermark_audit_waiting_events") == 0);
        assert_eq!(metric("countermark_audit_refused_calls_total"), 0);
        let (mut ids, mut numbers) = (self.decided.lock().unwrap().clone(), Vec::new());
        assert!(!ids.is_empty());
        let mut cursor = String::new();
        loop {
            let path = format!("/api/v1/audit?limit=500{cursor}");
            let page = self.server.call("GET", &path).bearer(&self.admin).send().expect(200).json();
            for event in page["items"].as_array().unwrap() {
                ids.remove(event["request_id"].as_str().unwrap_or_default());
                numbers.push(event["sequence"].as_u64().unwrap());
            }
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert!(ids.is_empty(), "not in the audit: {ids:?}");
        numbers.sort_unstable();
        assert!(numbers.windows(2).all(|pair| pair[0] != pair[1]), "a number twice: {numbers:?}");
        // A change of which nobody knows whether it was made may have used one up.
        let gaps = usize::try_from(numbers.last().unwrap() - numbers[0] + 1).unwrap() - numbers.len();
        let uncertain = self.uncertain.load(Ordering::SeqCst);
        assert!(gaps <= uncertain, "{gaps} are missing of {numbers:?}, {uncertain} changes were uncertain");
    }

    /// A small change.
    pub fn describe(&self, text: &str) -> Reply {
        let path = format!("/api/v1/accounts/{}", self.id);
        let reply = self.server.call("PATCH", &path).bearer(&self.admin).json(&json!({ "description": text })).send();
        self.note_change(&reply);
        reply
    }

    /// Whether it is known what became of a change.
    pub fn note_change(&self, reply: &Reply) {
        if reply.body.contains("may or may not") {
            self.uncertain.fetch_add(1, Ordering::SeqCst);
        }
    }
}
