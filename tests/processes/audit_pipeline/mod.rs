//! The way of an event to the store, with the store away, the process killed, the disk full (protocols, section 6, A2).

mod callers;
mod modes;
mod spill;

use std::time::Duration;

use crate::between::{Between, Break};
use crate::machine::Machine;
use crate::redis::Redis;
use crate::server::{Server, Start};
use crate::until::until;
use callers::OnRecord;

/// A server whose way to its store can be cut.
struct Scene {
    server: Server,
    redis: Redis,
    way: Between,
    token: String,
    machine: Machine,
}

impl Scene {
    fn start(audit: &str) -> Self {
        let machine = Machine::new();
        Self::start_by(machine, audit, |start| start)
    }

    fn start_by(machine: Machine, audit: &str, how: impl FnOnce(Start) -> Start) -> Self {
        let redis = Redis::start(&machine, &[]);
        let way = Between::to(redis.port);
        let server = how(Self::serve(&machine, &way, audit)).ready();
        let (_, token) = server.create("ci", "auditor");
        Self { server, redis, way, token, machine }
    }

    fn serve(machine: &Machine, way: &Between, audit: &str) -> Start {
        Self::serve_as("n1", machine, way, audit)
    }

    fn serve_as(name: &str, machine: &Machine, way: &Between, audit: &str) -> Start {
        let config = format!("node_name = {name:?}\n[audit]\n{audit}\n");
        let start = machine.serve().listen("https://127.0.0.1:0").listen("http://127.0.0.1:0");
        start.option("--store", &way.url).config(&config)
    }

    /// Only the audit's connection; those that are there for other things stay. Until the way is opened.
    fn cut_the_audit(&self) {
        let broken = self.way.broken();
        self.way.break_at("\"previous\":", Break::BeforeTheCommand, true);
        until(Duration::from_secs(10), "a block that does not arrive", || (self.way.broken() > broken).then_some(()));
    }

    fn on_record(&self) -> OnRecord {
        OnRecord::read(&mut self.redis.connection())
    }

    fn port(&self) -> u16 {
        self.server.port(1)
    }
}

/// A number among the metrics.
#[track_caller]
fn metric(server: &Server, name: &str) -> f64 {
    let text = server.operations("/metrics").send().expect(200).body;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name}: {text}")).parse().unwrap()
}
