//! The traps that the model of the protocol found, each laid for the real thing (protocols, sections 2 and 3).

mod feed;
mod fills;
mod leases;
mod receipts;
mod servers;
mod settling;
mod table;
mod together;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use countermark::account::AccountId;
use countermark::store::NodeLease;
use serde_json::json;
use tokio::task::JoinHandle;

use crate::app::{Actor, Answer, App, Setup, a_clock, eventually};
use crate::redis_server::RedisServer;
use crate::wire::Wire;

pub const LEASE: Duration = Duration::from_millis(500);
/// For so long a receipt waits for a node that says nothing: two percent more, and ten milliseconds.
pub const WHOLE_LEASE: Duration = Duration::from_millis(520);

/// How long something is watched that must not happen.
const WATCHED: Duration = Duration::from_millis(300);

/// An issuer and a node on one dataset, which share a clock. The way of the node to the store is in our hands.
pub struct Pair {
    pub redis: Arc<RedisServer>,
    pub issuer: App,
    pub node: App,
    pub wire: Wire,
    /// An account, with the token that it got first.
    pub ci: Actor,
}

impl Pair {
    pub async fn start() -> Self {
        let redis = RedisServer::start();
        let issuer = App::with(Setup { redis: Arc::clone(&redis), clock: Some(a_clock()), ..Setup::default() }).await;
        let ci = issuer.account("ci", &["deployments:create"]).await;
        let wire = Wire::to(&redis);
        let node = App::with(joining(&issuer, Setup { store: Some(wire.socket()), ..Setup::default() })).await;
        issuer.has_lease().await;
        node.has_lease().await;
        Self { redis, issuer, node, wire, ci }
    }

    /// What the node says of the token that the account got first.
    pub async fn verdict(&self) -> String {
        self.node.bearer(self.ci.token()).verdict().await
    }

    /// The node has the account in its memory.
    pub async fn is_known(&self) {
        assert_eq!(self.verdict().await, "allowed");
        assert!(generation_in_memory(&self.node, &self.ci).is_some());
    }

    pub fn advance(&self, by: Duration) {
        self.issuer.clock.advance(by);
    }

    /// The node's count of something.
    pub fn count(
        &self,
        which: impl Fn(&countermark::verify::freshness::Counters) -> &std::sync::atomic::AtomicU64,
    ) -> u64 {
        which(self.node.authority.node().freshness().counters()).load(Ordering::SeqCst)
    }
}

/// Another process on the dataset of this one, by the same clock.
pub fn joining(first: &App, setup: Setup) -> Setup {
    Setup {
        redis: Arc::clone(&first.redis),
        prefix: first.prefix.clone(),
        master_key: first.master_key.clone(),
        admin: Some(first.admin().token().to_owned()),
        clock: Some(Arc::clone(&first.clock)),
        node: "node-2",
        ..setup
    }
}

/// The lease of a node, as it stands in the table.
pub async fn lease_of(app: &App, node: &str) -> NodeLease {
    app.store.table().await.unwrap().leases.into_iter().find(|lease| lease.id == node).unwrap()
}

/// Lets Redis know the script by which nodes leave.
pub async fn nobody_leaves(app: &App) {
    let mut lease = lease_of(app, &app.node_id).await;
    lease.id = "nobody".into();
    assert!(app.store.remove_standing(&lease).await.unwrap());
}

/// The generation that a decision from memory would rest on.
pub fn generation_in_memory(node: &App, account: &Actor) -> Option<u64> {
    let id: AccountId = account.id.parse().unwrap();
    let basis = node.authority.node().freshness().recall(id)?;
    basis.snapshot.state().map(|state| state.generation)
}

/// A regeneration, whose receipt may take its time; it is committed when this returns.
pub async fn regenerating(app: &App, account: &Actor) -> JoinHandle<Answer> {
    let (admin, path) = (app.admin(), format!("/accounts/{}/token", account.id));
    let before = app.state(&account.id).await.0;
    let asked = tokio::spawn(async move { admin.send("POST", &path, Some(json!({ "valid_for_months": 12 }))).await });
    eventually("it is committed", || async { app.state(&account.id).await.0 != before }).await;
    asked
}

/// It does not come to be.
pub async fn never(what: &str, condition: impl Fn() -> bool) {
    let began = std::time::Instant::now();
    while began.elapsed() < WATCHED {
        assert!(!condition(), "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Not answered yet, after time enough for it.
pub async fn waits(asked: &JoinHandle<Answer>) {
    never("the receipt came too early", || asked.is_finished()).await;
}
