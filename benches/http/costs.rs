//! What one thing that a node or an issuer asks of the server with the state costs it: its processor time, by the kernel's count.

use std::sync::Arc;
use std::time::Duration;

use countermark::account::AccountId;
use countermark::epoch::Epoch;
use countermark::store::schema::Schema;
use countermark::store::{Address, Introduction, NodeOptions, NodeStore, Place, RedisUrl, Renewal, Target};
use countermark::verify::freshness::Identity;
use futures_util::StreamExt as _;
use tokio_util::sync::CancellationToken;

use super::dataset::Dataset;
use super::figures::Figure;
use super::node::ISSUER;
use super::processes::processor_seconds;

/// Nodes in the table.
pub const NODES: usize = 1_000;
/// Of each thing.
const TIMES: usize = 40_000;
const AT_ONCE: usize = 32;

/// Microseconds of the server's processor.
#[derive(Debug, Clone)]
pub struct Costs {
    /// A renewal of a lease.
    pub renewal: f64,
    /// A reading of the feed that finds nothing, and one that finds an entry.
    pub idle_reading: f64,
    pub reading: f64,
    /// To be woken by a change.
    pub wake: f64,
    pub look_up: f64,
    /// The table of [`NODES`] nodes.
    pub table: f64,
    /// All that a regeneration asks, with the table of one node.
    pub change: f64,
}

impl Costs {
    pub fn figures(&self) -> Vec<Figure> {
        [
            ("a renewal of a lease", self.renewal),
            ("a reading of the feed that finds nothing", self.idle_reading),
            ("a reading of the feed that finds a change", self.reading),
            ("waking whoever waits for a change", self.wake),
            ("a look-up", self.look_up),
            ("the table of 1,000 nodes", self.table),
            ("a regeneration over HTTP", self.change),
        ]
        .into_iter()
        .map(|(what, cost)| Figure::new(format!("cluster: processor of the server with the state, {what}"), cost, "µs"))
        .collect()
    }
}

/// What the server with the state has taken so far, in seconds.
pub fn of(dataset: &Dataset) -> f64 {
    processor_seconds(dataset.redis.process.pid())
}

pub fn measure(dataset: &Dataset, change: f64) -> Costs {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let stop = CancellationToken::new();
        let asker = Asker::connect(dataset, &stop).await;
        let costs = asker.measure(dataset, change).await;
        stop.cancel();
        costs
    })
}

struct Asker {
    store: Arc<NodeStore>,
    identity: Identity,
    epoch: Epoch,
    accounts: Vec<AccountId>,
}

impl Asker {
    async fn connect(dataset: &Dataset, stop: &CancellationToken) -> Self {
        let url = RedisUrl::parse(&dataset.redis.url()).unwrap();
        let place = Place::Network { servers: url.servers, tls: false };
        let target = Target::new(Address { timeout: Duration::from_secs(10), ..Address::to(place) }).unwrap();
        let options = NodeOptions { prefix: "cm".into(), firehose: 2_000, renewals_wait: 0 };
        let store = Arc::new(NodeStore::open(&target, &options, stop));
        store.node_connected().await;
        store.feed_connected().await;
        store.recognise(ISSUER).await.unwrap();
        let found = store.follow("none", None, Epoch::default(), None).await.unwrap();
        let accounts = std::fs::read_to_string(&dataset.others).unwrap();
        let accounts = accounts.lines().map(|id| id.parse().unwrap()).collect();
        Self { store, identity: found.place.identity, epoch: found.place.epoch, accounts }
    }

    async fn measure(&self, dataset: &Dataset, change: f64) -> Costs {
        let introduction =
            Introduction { name: "node".into(), version: "0".into(), address: "https://192.0.2.1:8443".into() };
        let renew = async |number: usize| {
            let renewal = Renewal {
                node: &format!("simulated-{}", number % NODES),
                identity: Some(&self.identity),
                length: Duration::from_millis(500),
                applied: self.epoch,
                tokens_per_second: 1_000,
                introduction: &introduction,
                count: number as u64 + 1,
            };
            self.store.renew(&renewal).await.unwrap();
        };
        let before = Epoch { counter: self.epoch.counter - 1, ..self.epoch };
        let follow = async |number: usize, applied: Epoch, entries: usize| {
            let node = format!("simulated-{}", number % NODES);
            let found = self.store.follow(&node, Some(&self.identity), applied, None).await.unwrap();
            assert_eq!(found.entries.len(), entries);
        };
        let renewal = cost(dataset, renew).await;
        let idle_reading = cost(dataset, async |number| follow(number, self.epoch, 0).await).await;
        let reading = cost(dataset, async |number| follow(number, before, 1).await).await;
        let wake = cost(dataset, async |_| self.store.wait_for_change(before).await.unwrap()).await;
        let look_up = cost(dataset, async |number| {
            self.store.look_up(self.accounts[number % self.accounts.len()]).await.unwrap();
        })
        .await;
        let table = self.table(dataset).await;
        Costs { renewal, idle_reading, reading, wake, look_up, table, change }
    }

    /// As Redis has to read and send it.
    async fn table(&self, dataset: &Dataset) -> f64 {
        const READINGS: usize = 2_000;
        let leases = Schema::new("cm").meta().replace("meta", "leases");
        let mut connection = dataset.redis.connection();
        let before = of(dataset);
        for _ in 0..READINGS {
            let table: Vec<String> = redis::cmd("HGETALL").arg(&leases).query(&mut connection).unwrap();
            assert!(table.len() >= 2 * NODES, "{} of {NODES}", table.len() / 2);
        }
        (of(dataset) - before) * 1e6 / READINGS as f64
    }
}

async fn cost(dataset: &Dataset, what: impl AsyncFn(usize)) -> f64 {
    let before = of(dataset);
    futures_util::stream::iter(0..TIMES).for_each_concurrent(AT_ONCE, |number| what(number)).await;
    (of(dataset) - before) * 1e6 / TIMES as f64
}
