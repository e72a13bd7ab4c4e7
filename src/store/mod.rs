//! The only code that speaks Redis. What must be right whatever happens at the same time is right inside Redis: the scripts
//! in `scripts/` check and write at once. [`schema`] names every key.

mod accounts;
mod audit;
mod data_dir;
mod error;
mod filler;
mod keyring;
mod link;
mod nodes;
mod private;
mod roles;
pub mod schema;
mod scripts;
mod state;

use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, RedisResult, ScriptInvocation};
use tokio::sync::{Mutex, RwLock};
use tokio_util::sync::CancellationToken;

pub use accounts::{AccountChange, Admin, Author, IssuedToken, LiveToken, Page, Profile, StoredAccount};
pub use audit::{AuditCursor, AuditFilter, Batch, Trail};
pub use data_dir::{DataDir, DataDirError};
pub use error::StoreError;
pub use filler::Filler;
pub use link::{Address, Place, Target};
use link::{ConnectError, Link};
pub use nodes::{Introduction, Node};
pub use private::{PrivateRedis, PrivateRedisError, private_socket};
pub use roles::{Named, NamedChange, NamedKind, role_definition, team_definition};
use schema::Schema;
use scripts::Scripts;

use crate::epoch::Epoch;

/// The store won't do until somebody changes something: a clear refusal to start.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

/// Lengths and ages of what the store keeps.
#[derive(Debug, Clone)]
pub struct Retention {
    /// Entries of the firehose, per stream.
    pub firehose: u64,
    /// Entries of an account's activity, per stream.
    pub activity: u64,
    /// How long activity is kept after the last entry, and a name after its account.
    pub age: Duration,
}

/// What the caller of [`Store::open`] decides.
#[derive(Debug, Clone)]
pub struct Options {
    /// See [`schema`].
    pub prefix: String,
    /// How many replicas must have a change before it counts.
    pub replicas_required: u64,
    /// How long they may take.
    pub replica_timeout: Duration,
    /// How long things are kept.
    pub retention: Retention,
}

/// What is fixed in the dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset {
    /// Its own id.
    pub id: String,
    /// The issuer URL.
    pub issuer: String,
    /// The epoch when it was met.
    pub epoch: Epoch,
}

/// What the confirmation of a change says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// The epoch of the change.
    pub epoch: Epoch,
    /// Replicas that have it.
    pub replicas: u64,
    /// How long they took.
    pub waited: Duration,
}

/// The store.
pub struct Store {
    schema: Schema,
    scripts: Scripts,
    options: Options,
    /// Look-ups and everything else that may share a connection.
    shared: Arc<Link>,
    /// Changes and their `WAIT`, which counts only what the same connection wrote before it, and blocks it meanwhile.
    changes: Arc<Link>,
    reserved: Mutex<()>,
    /// Batches of events, which may be large.
    audit: Arc<Link>,
    /// Blocking reads.
    blocking: Arc<Link>,
    dataset: RwLock<Option<Dataset>>,
}

impl Store {
    /// Tries once, to tell a wrong address, password or version from a store that is merely away.
    ///
    /// `Ok(false)`: away, it may come.
    pub async fn probe(target: &Target) -> Result<bool, Refused> {
        match target.connect().await {
            Ok(_) => Ok(true),
            Err(ConnectError::Away(why)) => {
                tracing::warn!(why, "the store does not answer");
                Ok(false)
            }
            Err(ConnectError::Refused(why)) => Err(Refused(why)),
        }
    }

    /// Begins to connect. Until it has, everything is refused as unavailable.
    pub fn open(target: Target, options: Options, stop: &CancellationToken) -> Self {
        let link = |name, busy| Link::supervise(name, target.clone(), busy, stop.clone());
        let wait = if options.replicas_required > 0 { options.replica_timeout } else { Duration::ZERO };
        Self {
            schema: Schema::new(&options.prefix),
            scripts: Scripts::new(),
            options,
            shared: link("shared", Duration::ZERO),
            changes: link("changes", wait),
            reserved: Mutex::new(()),
            audit: link("audit", Duration::ZERO),
            blocking: link("blocking", filler::BLOCK),
            dataset: RwLock::new(None),
        }
    }

    /// Waits until the connections for reading and changing stand.
    pub async fn connected(&self) {
        self.shared.connected().await;
        self.changes.connected().await;
    }

    /// Meets the store: creates or recognises the dataset, begins a new term where the server is another one. A store that was
    /// met before is only recognised: one that has been emptied meanwhile must not be taken for a new one.
    ///
    /// `Err(Ok(issuer))`: the dataset belongs to this other issuer.
    pub async fn meet(
        &self,
        new_id: &str,
        issuer: Option<&str>,
        former_issuers: &[String],
    ) -> Result<Dataset, Result<String, StoreError>> {
        let roles: serde_json::Map<String, serde_json::Value> = crate::permission::built_in_roles()
            .into_iter()
            .map(|role| (role.name.to_string(), roles::role_definition(&role).into()))
            .collect();
        let known = self.dataset.read().await.as_ref().map(|dataset| dataset.id.clone());
        let new_id = if known.is_some() { "" } else { new_id };
        let reply: Vec<String> = self
            .run(
                &self.shared,
                self.scripts
                    .start
                    .key(self.schema.meta())
                    .key(self.schema.roles())
                    .arg(new_id)
                    .arg(issuer.unwrap_or_default())
                    .arg(serde_json::Value::from(former_issuers.to_vec()).to_string())
                    .arg(serde_json::Value::Object(roles).to_string()),
            )
            .await
            .map_err(Err)?;
        match reply.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["ok", id, issuer, term, counter] => {
                let epoch =
                    format!("{term}-{counter}").parse().map_err(|_| Err(StoreError::Corrupt("the epoch".into())))?;
                let dataset = Dataset { id: (*id).to_owned(), issuer: (*issuer).to_owned(), epoch };
                if known.is_some_and(|known| known != dataset.id) {
                    return Err(Err(StoreError::Unavailable("the store holds another dataset than it did".into())));
                }
                *self.dataset.write().await = Some(dataset.clone());
                Ok(dataset)
            }
            ["issuer", other] => Err(Ok((*other).to_owned())),
            ["empty"] => Err(Err(StoreError::Unavailable("the store has lost its dataset".into()))),
            _ => Err(Err(StoreError::Corrupt("the dataset".into()))),
        }
    }

    /// Counts the connections that were made; changes whenever there is a new one.
    pub fn connections(&self) -> tokio::sync::watch::Receiver<u64> {
        self.shared.connections()
    }

    async fn dataset_id(&self) -> Result<String, StoreError> {
        self.dataset
            .read()
            .await
            .as_ref()
            .map(|dataset| dataset.id.clone())
            .ok_or_else(|| StoreError::Unavailable("the store has not been met yet".into()))
    }

    async fn query<T: FromRedisValue>(&self, link: &Link, command: redis::Cmd) -> Result<T, StoreError> {
        let mut connection = link.now()?;
        noting(link, command.query_async(&mut connection).await)
    }

    async fn pipeline<T: FromRedisValue>(&self, link: &Link, pipeline: &redis::Pipeline) -> Result<T, StoreError> {
        let mut connection = link.now()?;
        noting(link, pipeline.query_async(&mut connection).await)
    }

    async fn run<T: FromRedisValue>(&self, link: &Link, script: &ScriptInvocation<'_>) -> Result<T, StoreError> {
        let mut connection = link.now()?;
        noting(link, script.invoke_async(&mut connection).await)
    }

    /// Runs a script that changes something and waits for the replicas, on one connection that is ours meanwhile.
    async fn change(&self, script: &ScriptInvocation<'_>) -> Result<Result<Committed, Vec<String>>, StoreError> {
        let _ours = if self.options.replicas_required > 0 { Some(self.reserved.lock().await) } else { None };
        let mut connection: MultiplexedConnection = self.changes.now()?;
        let reply: Vec<String> = script.invoke_async(&mut connection).await.map_err(|error| {
            self.changes.failed(&error);
            error::of_change(error)
        })?;
        let epoch = match reply.as_slice() {
            [ok, epoch] if ok == "ok" => epoch.parse().map_err(|_| StoreError::Corrupt("an epoch".into()))?,
            _ => return Ok(Err(reply)),
        };
        let (replicas, waited) = self.wait(connection).await?;
        Ok(Ok(Committed { epoch, replicas, waited }))
    }

    async fn wait(&self, mut connection: MultiplexedConnection) -> Result<(u64, Duration), StoreError> {
        let required = self.options.replicas_required;
        if required == 0 {
            return Ok((0, Duration::ZERO));
        }
        let began = Instant::now();
        connection.set_response_timeout(self.options.replica_timeout + Duration::from_secs(1));
        let timeout = u64::try_from(self.options.replica_timeout.as_millis()).unwrap_or(u64::MAX);
        let reply: RedisResult<u64> = redis::cmd("WAIT").arg(required).arg(timeout).query_async(&mut connection).await;
        let confirmed = reply.inspect_err(|error| self.changes.failed(error)).unwrap_or(0);
        if confirmed < required {
            return Err(StoreError::Unconfirmed { confirmed, required });
        }
        Ok((confirmed, began.elapsed()))
    }
}

fn noting<T>(link: &Link, result: RedisResult<T>) -> Result<T, StoreError> {
    result.map_err(|error| {
        link.failed(&error);
        StoreError::from(error)
    })
}

/// A script's refusal as an error.
fn refused(reply: &[String]) -> StoreError {
    let second = || reply.get(1).cloned().unwrap_or_default();
    match reply.first().map(String::as_str) {
        Some("conflict") => StoreError::Conflict,
        Some("not_found") => StoreError::NotFound,
        Some("username_taken") => StoreError::UsernameTaken,
        Some("last_admin") => StoreError::LastAdmin,
        Some("in_use") => StoreError::InUse(second().parse().unwrap_or(1)),
        Some("unknown_role") => StoreError::UnknownRole(second()),
        Some("unknown_team") => StoreError::UnknownTeam(second()),
        Some("keys") => StoreError::KeysChanged,
        Some("author") => StoreError::AuthorChanged,
        Some("dataset") => StoreError::Unavailable("the store holds another dataset than it did".into()),
        _ => StoreError::Corrupt("a script's reply".into()),
    }
}
