//! R2: a server that was promoted, or restored, lacks the last changes; issuers with their journals make up for it.

mod gate;
mod half_done;
mod histories;
mod raises;
mod repeats;
mod terms;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use countermark::clock::ManualClock;
use countermark::node::Home as _;
use serde_json::Value;

use crate::app::{App, Setup, a_clock};
use crate::redis_server::RedisServer;
use crate::wire::{Sent, Wire};

/// A dataset with several issuers, each with a data directory of its own. They look everything up, so that what they say is what the
/// server says that they have met.
pub struct Issuers {
    directory: tempfile::TempDir,
    prefix: String,
    master_key: String,
    admin: String,
    clock: Arc<ManualClock>,
}

impl Issuers {
    /// The first of them, on a new server.
    pub async fn begin(name: &'static str) -> (Self, App) {
        let directory = tempfile::tempdir().unwrap();
        let setup = Setup {
            redis: RedisServer::start(),
            clock: Some(a_clock()),
            max_staleness: Duration::ZERO,
            journal: Some(directory.path().join(name)),
            keys_mark: Some(directory.path().join(format!("{name}-keys"))),
            node: name,
            ..Setup::default()
        };
        let app = App::with(setup).await;
        let issuers = Self {
            directory,
            prefix: app.prefix.clone(),
            master_key: app.master_key.clone(),
            admin: app.admin().token().to_owned(),
            clock: Arc::clone(&app.clock),
        };
        (issuers, app)
    }

    /// Where one of them keeps its journal.
    pub fn journal(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// One of them starts on this server.
    pub async fn start(&self, name: &'static str, redis: &Arc<RedisServer>) -> App {
        App::with(self.setup(name, redis)).await
    }

    /// One of them starts on the server to which this leads, and is killed as soon as it has met the store, before it does anything else.
    pub async fn is_killed_when_it_has_met(&self, name: &'static str, redis: &Arc<RedisServer>) {
        let wire = Wire::to(redis);
        let held = wire.hold(Sent::Meeting);
        let starts = App::with(Setup { store: Some(wire.socket()), ..self.setup(name, redis) });
        tokio::select! {
            _ = starts => panic!("it was not told whom it has met"),
            () = held.answered(1) => {}
        }
    }

    /// A node that remembers, on the server to which this leads. It has no journal, and nobody waits for it.
    pub async fn node(&self, wire: &Wire, redis: &Arc<RedisServer>) -> App {
        let setup = Setup {
            store: Some(wire.socket()),
            max_staleness: Duration::from_millis(500),
            journal: None,
            keys_mark: None,
            ..self.setup("node", redis)
        };
        App::with(setup).await
    }

    /// One of them goes for good, and the server that the other one stays at becomes another one: with the one that goes to a promoted
    /// server it begins the same term.
    pub async fn part(&self, goes: App, stays: &App) {
        assert!(goes.store.withdraw().await.unwrap());
        let server = Arc::clone(&goes.redis);
        drop(goes);
        server.changes_identity().await;
        crate::app::eventually("it serves as another one", || serves(stays)).await;
    }

    fn setup(&self, name: &'static str, redis: &Arc<RedisServer>) -> Setup {
        Setup {
            redis: Arc::clone(redis),
            prefix: self.prefix.clone(),
            master_key: self.master_key.clone(),
            admin: Some(self.admin.clone()),
            clock: Some(Arc::clone(&self.clock)),
            max_staleness: Duration::ZERO,
            journal: Some(self.journal(name)),
            keys_mark: Some(self.directory.path().join(format!("{name}-keys"))),
            node: name,
            ..Setup::default()
        }
    }
}

/// Asks the store whether it serves, also where it has become another server since, and meets it as a node does that found out that it
/// did not.
pub async fn serves(app: &App) -> bool {
    let node = app.authority.node();
    node.can_decide().await.is_ok() && node.home().met().await.is_ok()
}

/// The events of acts of this kind, the newest first.
pub async fn acts(app: &App, kind: &str) -> Vec<Value> {
    let words = ["XREVRANGE", &app.key("acts"), "+", "-", "COUNT", "100"];
    let acts: redis::streams::StreamRangeReply = app.redis.run(&words).await;
    let lines = acts.ids.iter().map(|entry| entry.get::<String>("e").unwrap());
    let events = lines.map(|line| serde_json::from_str::<Value>(&line).unwrap());
    events.filter(|event| event["kind"] == kind).collect()
}
