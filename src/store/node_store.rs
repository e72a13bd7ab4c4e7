//! The store as every process that verifies sees it: look-ups, the feed, its lease, its events. Nothing here changes an account,
//! a role or a key, and an ACL user with [`Schema::verifier_rules`] may do all of it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, RedisResult, ScriptInvocation};
use tokio::sync::RwLock;
use tokio_util::sync::CancellationToken;

use super::lane::Lane;
use super::link::{Link, counted};
use super::lookups::Lookups;
use super::scripts::NodeScripts;
use super::target::Target;
use super::{Dataset, Schema, StoreError, feed};
use crate::epoch::Epoch;
use crate::verify::freshness::{Identity, Place};

/// What [`NodeStore::open`] has to know.
#[derive(Debug, Clone)]
pub struct NodeOptions {
    /// See [`super::schema`].
    pub prefix: String,
    /// Entries of the firehose, per stream.
    pub firehose: u64,
    /// How many replicas must have the renewal of a lease before it counts; 0: it counts at once (F1).
    pub renewals_wait: u64,
}

/// A dataset that was recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recognised {
    /// What is fixed in it.
    pub dataset: Dataset,
    /// The longest lease that it allows.
    pub lease_ceiling: Duration,
}

/// Its id, its issuer, its term and counter, and its ceiling of leases in milliseconds, as they lie there.
type Meta = (Option<String>, Option<String>, Option<u64>, Option<u64>, Option<u64>);

/// Why a dataset was not recognised.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NotRecognised {
    /// It belongs to another issuer.
    #[error("the store belongs to the issuer {found}, not to {wanted}: which of the two addresses is wrong?")]
    Issuer {
        /// The one that was expected.
        wanted: String,
        /// The one of the store.
        found: String,
    },
    /// The store is away, nobody has set it up yet, or it holds another dataset than it did.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// See the module.
pub struct NodeStore {
    pub(super) schema: Schema,
    pub(super) node_scripts: NodeScripts,
    firehose: u64,
    /// Look-ups and everything else that may share a connection.
    pub(super) shared: Lane,
    pub(super) lookups: Arc<Lookups>,
    /// Batches of events, which may be large.
    pub(super) audit: Lane,
    /// The feed that this node follows; it blocks.
    pub(super) feed: Lane,
    /// Leases and the table of nodes: what keeps look-ups few must not wait behind them.
    pub(super) leases: Lane,
    /// Renewals that wait for replicas, which keeps their connection from everything else meanwhile.
    pub(super) renewals: Option<Confirmed>,
    pub(super) dataset: RwLock<Option<Dataset>>,
    /// The id of the dataset that it must be.
    pub(super) expected: OnceLock<String>,
    /// The number of the connection on which the dataset was met; 0: on none.
    pub(super) met: AtomicU64,
    /// How long a command may take.
    pub(super) timeout: Duration,
    /// The disk that it writes to, where we can look at it.
    #[cfg(feature = "server")]
    pub(super) space: Option<Arc<super::Space>>,
}

/// A connection on which what was written is waited for.
pub(super) struct Confirmed {
    lane: Lane,
    /// So many replicas must have it.
    replicas: u64,
}

impl NodeStore {
    /// Begins to connect. Until it has, everything is refused as unavailable.
    pub fn open(target: &Target, options: &NodeOptions, stop: &CancellationToken) -> Self {
        let (schema, node_scripts) = (Schema::new(&options.prefix), NodeScripts::new());
        let lane = |name, busy| Lane::open(name, target, &schema.meta(), busy, stop);
        let shared = lane("shared", Duration::ZERO);
        Self {
            lookups: Lookups::new(shared.home(), node_scripts.lookup.clone(), schema.clone(), target.timeout()),
            node_scripts,
            firehose: options.firehose,
            shared,
            audit: lane("audit", Duration::ZERO),
            feed: lane("feed", feed::BELL),
            leases: lane("leases", Duration::ZERO),
            renewals: (options.renewals_wait > 0)
                .then(|| Confirmed { lane: lane("renewals", target.timeout()), replicas: options.renewals_wait }),
            schema,
            dataset: RwLock::new(None),
            expected: OnceLock::new(),
            met: AtomicU64::new(0),
            timeout: target.timeout(),
            #[cfg(feature = "server")]
            space: target.space.clone(),
        }
    }

    /// Whether there is room for what adds something.
    #[cfg_attr(not(feature = "server"), allow(clippy::unused_self, clippy::unnecessary_wraps))]
    pub fn has_room(&self) -> Result<(), StoreError> {
        #[cfg(feature = "server")]
        if self.space.as_ref().is_some_and(|space| !space.is_ample()) {
            return Err(StoreError::Full(super::Full::Disk));
        }
        Ok(())
    }

    /// Whether there is room for what only takes something away, or can't be left out.
    #[cfg_attr(not(feature = "server"), allow(clippy::unused_self, clippy::unnecessary_wraps))]
    pub(super) fn has_some_room(&self) -> Result<(), StoreError> {
        #[cfg(feature = "server")]
        if self.space.as_ref().is_some_and(|space| !space.is_enough()) {
            return Err(StoreError::Full(super::Full::Disk));
        }
        Ok(())
    }

    /// Waits until the connection for look-ups stands.
    pub async fn node_connected(&self) {
        self.shared.connected().await;
    }

    /// The dataset of this id is the only one to be met. To be said before the first meeting.
    pub fn expect_dataset(&self, id: &str) {
        let _ = self.expected.set(id.to_owned());
    }

    /// Recognises the dataset of this issuer, and takes it for the one that is to be there from now on. Of one that was
    /// recognised before: whether it is still there. One of another issuer is not met: nothing is looked up in it.
    pub async fn recognise(&self, wanted: &str) -> Result<Recognised, NotRecognised> {
        let mut command = redis::cmd("HMGET");
        command.arg(self.schema.meta()).arg("dataset").arg("issuer").arg("term").arg("counter");
        command.arg("lease_ceiling_ms");
        let found: Meta = self.query(&self.shared, command).await?;
        let (Some(id), Some(issuer), Some(term), Some(counter), ceiling) = found else {
            self.lost_dataset();
            return Err(StoreError::Unavailable("no issuer has set it up yet".into()).into());
        };
        if issuer != wanted {
            self.lost_dataset();
            return Err(NotRecognised::Issuer { wanted: wanted.to_owned(), found: issuer });
        }
        let mut dataset = self.dataset.write().await;
        let expected = dataset.as_ref().map(|known| known.id.as_str()).or(self.expected.get().map(String::as_str));
        if expected.is_some_and(|expected| expected != id) {
            return Err(self.another_dataset().into());
        }
        let found = Dataset { id, issuer, epoch: Epoch { term, counter } };
        *dataset = Some(found.clone());
        self.met.store(1, Ordering::SeqCst);
        // As the renewal reads it.
        Ok(Recognised { dataset: found, lease_ceiling: Duration::from_millis(ceiling.unwrap_or(0)) })
    }

    /// Whether the dataset was met, and nothing was seen since that spoke against it.
    pub fn is_met(&self) -> bool {
        self.met.load(Ordering::SeqCst) != 0
    }

    /// Another dataset was seen: nothing is written until the one that was met is there again.
    pub(super) fn lost_dataset(&self) {
        if self.met.swap(0, Ordering::SeqCst) != 0 {
            tracing::error!(
                "the store holds another dataset than it did, or none: nothing is written until it is back"
            );
        }
    }

    fn another_dataset(&self) -> StoreError {
        self.lost_dataset();
        StoreError::Unavailable("the store holds another dataset than it did".into())
    }

    /// The server has become another one since it was met: it is met again before anything else.
    pub(super) fn unmet(&self) {
        self.met.store(0, Ordering::SeqCst);
    }

    /// The id of the dataset that was met.
    pub async fn dataset_id(&self) -> Result<String, StoreError> {
        self.dataset
            .read()
            .await
            .as_ref()
            .map(|dataset| dataset.id.clone())
            .ok_or_else(|| StoreError::Unavailable("the store has not been met yet".into()))
    }

    /// Asks the store whether the dataset that was met is still there: for those whose scripts can't look at it.
    pub(super) async fn still_ours(&self) -> Result<(), StoreError> {
        let mut command = redis::cmd("HGET");
        command.arg(self.schema.meta()).arg("dataset");
        let found: Option<String> = self.query(&self.shared, command).await?;
        if found == Some(self.dataset_id().await?) {
            return Ok(());
        }
        Err(self.another_dataset())
    }

    /// Reads the head of a script's reply, `dataset, identity, epoch`, and returns it with what follows.
    pub(super) async fn place<'a>(&self, reply: &'a [String]) -> Result<(Place, &'a [String]), StoreError> {
        let [dataset, server, epoch, rest @ ..] = reply else {
            return Err(StoreError::Corrupt("the head of a reply".into()));
        };
        // Another dataset at the same address knows nothing of our accounts: that is no "unknown account".
        if *dataset != self.dataset_id().await? {
            return Err(self.another_dataset());
        }
        if epoch.is_empty() {
            self.unmet();
            return Err(StoreError::Unmet);
        }
        let epoch: Epoch = epoch.parse().map_err(|_| StoreError::Corrupt("the epoch".into()))?;
        Ok((Place { identity: Identity::new(dataset, server), epoch }, rest))
    }

    pub(super) async fn query<T: FromRedisValue>(&self, link: &Link, command: redis::Cmd) -> Result<T, StoreError> {
        let mut held = link.now()?;
        noting(link, held.number, counted(command.query_async(&mut held.connection)).await)
    }

    pub(super) async fn run<T: FromRedisValue>(
        &self,
        link: &Link,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, StoreError> {
        let mut held = link.now()?;
        noting(link, held.number, counted(script.invoke_async(&mut held.connection)).await)
    }

    /// The same, and then waits until as many replicas have what was written as must have it.
    pub(super) async fn run_confirmed<T: FromRedisValue>(
        &self,
        on: &Confirmed,
        script: &ScriptInvocation<'_>,
        patience: Duration,
    ) -> Result<T, StoreError> {
        let patience = patience.min(self.timeout);
        let mut held = on.lane.now()?;
        held.connection.set_response_timeout(self.timeout + patience);
        // Both on this connection: on another one WAIT would wait for nothing.
        let answer = noting(&on.lane, held.number, counted(script.invoke_async(&mut held.connection)).await)?;
        let confirmed = confirmed(&mut held.connection, on.replicas, patience).await;
        let confirmed = noting(&on.lane, held.number, confirmed)?;
        if confirmed < on.replicas {
            return Err(StoreError::Unconfirmed { confirmed, required: on.replicas });
        }
        Ok(answer)
    }

    pub(super) fn firehose(&self) -> u64 {
        self.firehose
    }
}

/// How many replicas have, after this time at the latest, what was written on this connection.
pub(super) async fn confirmed(
    connection: &mut MultiplexedConnection,
    required: u64,
    patience: Duration,
) -> RedisResult<u64> {
    // 0 would be for ever.
    let timeout = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX).max(1);
    redis::cmd("WAIT").arg(required).arg(timeout).query_async(connection).await
}

pub(super) fn noting<T>(link: &Link, number: u64, result: RedisResult<T>) -> Result<T, StoreError> {
    match result {
        Ok(answer) => {
            link.answered(number);
            Ok(answer)
        }
        Err(error) => {
            link.failed(&error, number);
            Err(error.into())
        }
    }
}
