//! The store as the service has it: everything that changes something, and everything that is read for administration.

use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use redis::{FromRedisValue, RedisResult, ScriptInvocation};
use tokio::sync::{Mutex, MutexGuard, Semaphore};
use tokio_util::sync::CancellationToken;

use super::journal::{Change, Entry, Promise};
use super::lane::Lane;
use super::lately::Lately;
use super::link::{Link, Numbered, counted};
use super::meeting::Raising;
use super::node_store::{confirmed, noting};
use super::place::{Met, Remembering, Twins};
use super::scripts::Scripts;
use super::target::Target;
use super::{Full, NodeLease, NodeOptions, NodeStore, Schema, StoreError, error, filler, link, nodes};
use crate::audit::rollup::HOURS;
use crate::clock::Clock;
use crate::epoch::Epoch;
use crate::told::Told;
use crate::verify::freshness::Identity;

/// How many may read events at once.
const READERS: usize = 4;

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

impl Retention {
    /// How many hours of an account's calls are kept as roll-ups, the present one among them.
    pub(super) fn hours(&self) -> i64 {
        i64::try_from(self.age.as_secs() / 3600).unwrap_or(i64::MAX).clamp(1, HOURS)
    }
}

/// What the caller of [`Store::open`] decides.
#[derive(Debug, Clone)]
pub struct Options {
    /// See [`super::schema`].
    pub prefix: String,
    /// How many replicas must have a change before it counts.
    pub replicas_required: u64,
    /// How long they may take.
    pub replica_timeout: Duration,
    /// Whether the renewal of a lease counts only once so many replicas have it.
    pub renewals_wait: bool,
    /// How long things are kept.
    pub retention: Retention,
    /// Whether another server may hold the same dataset.
    pub twins: Twins,
    /// Whether it has replicas, one of which may be promoted.
    pub replicated: bool,
    /// For how long a primary goes on that its replicas don't hear: `min-replicas-max-lag` of Redis.
    pub replica_max_lag: Duration,
    /// What this issuer has changed, and the store may lose. `None`: it remembers nothing, and nobody waits for it.
    pub remembering: Option<Remembering>,
    /// Whether the audit is sent on to sinks from here: they have a connection of their own.
    pub sinks: bool,
}

/// What the confirmation of a change says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The epoch of the change.
    pub epoch: Epoch,
    /// Where it was made.
    pub identity: Identity,
    /// The nodes that had a lease then.
    pub leases: Vec<NodeLease>,
    /// Replicas that have it.
    pub replicas: u64,
    /// How long they took.
    pub waited: Duration,
}

/// The store. What it shares with an API node is its [`NodeStore`].
pub struct Store {
    node: Arc<NodeStore>,
    pub(super) scripts: Scripts,
    pub(super) options: Options,
    /// Changes and their `WAIT`, which counts only what the same connection wrote before it, and blocks it meanwhile.
    pub(super) changes: Lane,
    reserved: Mutex<()>,
    /// Lists and logs, whose replies may be.
    pub(super) reads: Lane,
    pub(super) readers: Semaphore,
    /// For the sinks of the audit, which are in nobody's way. `None`: there are none.
    sinks: Option<Lane>,
    pub(super) sink_reader: Semaphore,
    /// Blocking reads.
    pub(super) blocking: Lane,
    pub(super) clock: Arc<dyn Clock>,
    /// The server that was met.
    pub(super) here: std::sync::Mutex<Option<Met>>,
    pub(super) meeting: Mutex<()>,
    pub(super) raising: Raising,
    /// That it stands in the journal.
    lately: Lately,
    /// That it can't be read when tokens were used.
    pub(super) uses_away: std::sync::Mutex<Told>,
}

/// An issuer verifies like any other node.
impl Deref for Store {
    type Target = Arc<NodeStore>;

    fn deref(&self) -> &Arc<NodeStore> {
        &self.node
    }
}

impl Store {
    /// Begins to connect. Until it has, everything is refused as unavailable.
    pub fn open(target: Target, options: Options, clock: Arc<dyn Clock>, stop: &CancellationToken) -> Self {
        let home = Schema::new(&options.prefix).meta();
        let lane = |name, busy| Lane::open(name, &target, &home, busy, stop);
        let wait = if options.replicas_required > 0 { options.replica_timeout } else { Duration::ZERO };
        let has_sinks = options.sinks;
        let of_a_node = NodeOptions {
            prefix: options.prefix.clone(),
            firehose: options.retention.firehose,
            renewals_wait: if options.renewals_wait { options.replicas_required } else { 0 },
        };
        Self {
            node: Arc::new(NodeStore::open(&target, &of_a_node, stop)),
            scripts: Scripts::new(),
            options,
            changes: lane("changes", wait),
            reserved: Mutex::new(()),
            reads: lane("reads", Duration::ZERO),
            readers: Semaphore::new(READERS),
            sinks: has_sinks.then(|| lane("sinks", Duration::ZERO)),
            sink_reader: Semaphore::new(1),
            blocking: lane("blocking", filler::BLOCK),
            clock,
            here: std::sync::Mutex::new(None),
            meeting: Mutex::new(()),
            raising: Raising::default(),
            lately: Lately::default(),
            uses_away: std::sync::Mutex::default(),
        }
    }

    /// Waits until the connections for reading and changing stand.
    pub async fn connected(&self) {
        self.shared.connected().await;
        self.changes.connected().await;
        self.reads.connected().await;
    }

    /// Whether the renewal of a lease waits for replicas.
    pub fn renewals_wait(&self) -> bool {
        self.options.renewals_wait
    }

    /// The connection of the sinks.
    pub(super) fn of_sinks(&self) -> Result<&Lane, StoreError> {
        self.sinks.as_ref().ok_or_else(|| StoreError::Unavailable("it was opened without sinks".into()))
    }

    /// Whether there is room, and the dataset that was met is still there.
    pub(super) async fn still_met(&self) -> Result<(), StoreError> {
        self.has_room()?;
        self.met().await?;
        self.still_ours().await
    }

    /// How long a command on the connection for changes may take.
    pub(super) fn longest_wait(&self) -> Duration {
        let replicas = self.options.replicas_required > 0;
        self.timeout + if replicas { self.options.replica_timeout } else { Duration::ZERO }
    }

    /// A script that changes something: [`StoreError::Uncertain`] where that may have happened although the call failed.
    pub(super) async fn run_change<T: FromRedisValue>(
        &self,
        link: &Link,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, StoreError> {
        let mut held = link.now()?;
        let reply = counted(script.invoke_async(&mut held.connection)).await;
        reply.map_err(|error| {
            link.failed(&error, held.number);
            error::of_change(error)
        })
    }

    pub(super) async fn pipeline<T: FromRedisValue>(
        &self,
        link: &Link,
        pipeline: &redis::Pipeline,
    ) -> Result<T, StoreError> {
        let mut held = link.now()?;
        noting(link, held.number, counted(pipeline.query_async(&mut held.connection)).await)
    }

    /// The reply to each of these commands, of one key each: those whose keys lie at one server are sent there together.
    pub(super) async fn each<T: FromRedisValue>(
        &self,
        lane: &Lane,
        commands: Vec<(String, redis::Cmd)>,
    ) -> Result<Vec<T>, StoreError> {
        let mut together: Vec<(Arc<Link>, redis::Pipeline, Vec<usize>)> = Vec::new();
        for (place, (key, command)) in commands.into_iter().enumerate() {
            let link = lane.at(&key).await?;
            match together.iter_mut().find(|(other, ..)| Arc::ptr_eq(other, &link)) {
                Some((_, pipeline, places)) => {
                    pipeline.add_command(command);
                    places.push(place);
                }
                None => {
                    let mut pipeline = redis::pipe();
                    pipeline.add_command(command);
                    together.push((link, pipeline, vec![place]));
                }
            }
        }
        let asked = together.iter().map(|(link, pipeline, _)| self.pipeline::<Vec<T>>(link, pipeline));
        let replies = try_join_all(asked).await?;
        let mut placed: Vec<(usize, T)> = together
            .iter()
            .zip(replies)
            .flat_map(|((.., places), replies)| places.iter().copied().zip(replies))
            .collect();
        placed.sort_by_key(|(place, _)| *place);
        Ok(placed.into_iter().map(|(_, reply)| reply).collect())
    }

    /// Runs a script that changes something and waits for the replicas, on one connection that is ours meanwhile.
    ///
    /// Where the connection breaks after the script was sent, the same is sent once more: the script does nothing twice, and
    /// says of what it finds done that it is done. So the answer is the truth, as long as the store is back in time.
    ///
    /// `note`: what is written down of it before anybody is told.
    pub(super) async fn change(
        &self,
        script: ScriptInvocation<'_>,
        note: Option<&Change>,
        again: bool,
    ) -> Result<Result<Committed, Vec<String>>, StoreError> {
        match self.has_room() {
            // The first try may have been made while there was room.
            Err(error) if again => return Err(error.of_what_was_sent_before()),
            room => room?,
        }
        self.restrict(script, note, again).await
    }

    /// The same for what only takes something away: that is still possible where there is hardly any room.
    pub(super) async fn restrict(
        &self,
        script: ScriptInvocation<'_>,
        note: Option<&Change>,
        again: bool,
    ) -> Result<Result<Committed, Vec<String>>, StoreError> {
        let carried_out = self.carry_out(script, note, again).await;
        if again { carried_out.map_err(StoreError::of_what_was_sent_before) } else { carried_out }
    }

    async fn carry_out(
        &self,
        mut script: ScriptInvocation<'_>,
        note: Option<&Change>,
        again: bool,
    ) -> Result<Result<Committed, Vec<String>>, StoreError> {
        self.has_some_room()?;
        let _ours = if self.options.replicas_required > 0 { Some(self.reserve().await?) } else { None };
        let note = &self.promised(note).await?;
        if again {
            script.arg("again");
        }
        let first = async {
            match self.try_change(self.met().await?, &script, note).await? {
                Tried::Unmet => self.try_change(self.met().await?, &script, note).await,
                tried => Ok(tried),
            }
        };
        let (number, why) = match first.await {
            Ok(Tried::Answered(answer)) => return Ok(answer),
            Ok(Tried::Lost { number, why }) => (number, why),
            Ok(Tried::Unmet) if !again => return Err(StoreError::Unmet),
            Ok(Tried::Unmet) => (0, StoreError::Unmet.to_string()),
            // A store that has just begun anew may be away on one connection and not on another.
            Err(StoreError::Unavailable(why)) if again => (0, why),
            Err(error) => return Err(error),
        };
        tracing::warn!(why, "a change was sent and its answer was lost; asking again");
        if !again {
            script.arg("again");
        }
        let asking = async {
            loop {
                self.changes.connected_after(number).await;
                let tried = match self.met().await {
                    Ok(held) => self.try_change(held, &script, note).await,
                    Err(error) => Err(error),
                };
                match tried {
                    Ok(Tried::Answered(answer)) => return Ok(answer),
                    Err(error @ (StoreError::Unconfirmed { .. } | StoreError::NotNoted(_))) => return Err(error),
                    // That it is away again says nothing of what was sent before.
                    Ok(Tried::Lost { .. } | Tried::Unmet) | Err(_) => {
                        tokio::time::sleep(Duration::from_millis(20)).await
                    }
                }
            }
        };
        // As if for another request: this one's time is kept here.
        let asking = Box::pin(link::for_one_request(asking));
        tokio::time::timeout(self.patience(), asking).await.unwrap_or(Err(StoreError::Uncertain(why)))
    }

    /// For how long a lost answer is asked for again: half as long as a command may take, where the store has left the request
    /// so much of its time.
    fn patience(&self) -> Duration {
        (self.timeout * 3 / 2).saturating_sub(link::taken()).min(self.timeout / 2)
    }

    async fn try_change(
        &self,
        mut held: Numbered,
        script: &ScriptInvocation<'_>,
        note: &Option<Promise>,
    ) -> Result<Tried, StoreError> {
        let number = held.number;
        let reply: RedisResult<Vec<String>> = counted(script.invoke_async(&mut held.connection)).await;
        let reply = match reply {
            Ok(reply) => reply,
            Err(error) => {
                self.changes.failed(&error, number);
                let lost = link::is_broken(&error);
                return match error::of_change(error) {
                    StoreError::Uncertain(why) if lost => Ok(Tried::Lost { number, why }),
                    other => Err(other),
                };
            }
        };
        let (epoch, server, leases) = match reply.as_slice() {
            [ok, epoch, server, leases @ ..] if ok == "ok" => (epoch, server, leases),
            [unmet] if unmet == "unmet" => {
                self.unmet();
                return Ok(Tried::Unmet);
            }
            _ => return Ok(Tried::Answered(Err(reply))),
        };
        let epoch = epoch.parse().map_err(|_| StoreError::Corrupt("an epoch".into()))?;
        let identity = Identity::new(&self.dataset_id().await?, server);
        let leases = nodes::leases(leases);
        if !self.noted(&identity, epoch, note).await? {
            // The connection has not broken: there is no other one to wait for.
            let number = number.saturating_sub(1);
            return Ok(Tried::Lost {
                number,
                why: "the store became another server, or began a term, meanwhile".into(),
            });
        }
        let (replicas, waited) = match self.wait(held).await? {
            Some(confirmed) => confirmed,
            None => return Ok(Tried::Lost { number, why: "the connection broke during WAIT".into() }),
        };
        Ok(Tried::Answered(Ok(Committed { epoch, identity, leases, replicas, waited })))
    }

    /// R2: a change is on disk here before anybody is told of it. `false`: the server that has made it is no longer the one that was
    /// met, and what the present one lacks has been looked at without it; or another issuer has begun a term there since, and this one
    /// has to learn of it first.
    async fn noted(&self, identity: &Identity, epoch: Epoch, note: &Option<Promise>) -> Result<bool, StoreError> {
        let (Some(it), Some(promise)) = (self.remembering(), note) else { return Ok(true) };
        let Some(here) = self.here().filter(|met| met.identity == *identity) else { return Ok(false) };
        if here.lineage.is_before(epoch.term) {
            self.unmet();
            return Ok(false);
        }
        // What is found done may be older than what is remembered, and counts as known to every store then.
        if here.lineage.server_of(epoch.term).is_none() {
            return Ok(true);
        }
        let change = promise.change();
        let account = if let Change::Account(after) = change { Some(after.id) } else { None };
        if account.is_some_and(|id| self.lately.has(id, identity, epoch)) {
            return Ok(true);
        }
        let entry = Entry::of(&here.lineage, epoch, self.clock.now().timestamp(), change.clone());
        it.journal.note(promise, &entry).await.map_err(|error| StoreError::NotNoted(error.to_string()))?;
        if let Some(id) = account {
            self.lately.keep(id, identity, epoch);
        }
        Ok(true)
    }

    /// What raises the server on which it was found out what is lacking: before it serves nodes, and there alone.
    pub(super) async fn raise(
        &self,
        script: ScriptInvocation<'_>,
        note: &Change,
    ) -> Result<Result<Committed, Vec<String>>, StoreError> {
        self.has_some_room()?;
        let note = &match self.promised(Some(note)).await {
            // What is made up for is in the journal already, and is found lacking once more where this is lost too.
            Err(StoreError::Journal(_)) => None,
            promised => promised?,
        };
        match self.try_change(self.begun().await?, &script, note).await? {
            Tried::Answered(answer) => Ok(answer),
            Tried::Lost { why, .. } => Err(StoreError::Uncertain(why)),
            Tried::Unmet => Err(StoreError::Unmet),
        }
    }

    /// R2: no change is made that could not be noted.
    async fn promised(&self, note: Option<&Change>) -> Result<Option<Promise>, StoreError> {
        let (Some(it), Some(change)) = (self.remembering(), note) else { return Ok(None) };
        let promised = tokio::time::timeout(self.longest_wait(), it.journal.ready(change)).await;
        promised
            .map_err(|_| StoreError::Unavailable("other changes still wait to be noted".into()))?
            .map(Some)
            .map_err(Into::into)
    }

    async fn reserve(&self) -> Result<MutexGuard<'_, ()>, StoreError> {
        tokio::time::timeout(self.longest_wait(), self.reserved.lock())
            .await
            .map_err(|_| StoreError::Unavailable("other changes still wait for replicas".into()))
    }

    /// Waits until the replicas have all that this connection has written.
    pub(super) async fn replicated(&self, held: Numbered) -> Result<(), StoreError> {
        let confirmed = self.wait(held).await?;
        confirmed.map(|_| ()).ok_or_else(|| StoreError::Uncertain("the connection broke during WAIT".into()))
    }

    /// `None`: the connection broke meanwhile.
    async fn wait(&self, held: Numbered) -> Result<Option<(u64, Duration)>, StoreError> {
        let Numbered { mut connection, number, .. } = held;
        let required = self.options.replicas_required;
        if required == 0 {
            return Ok(Some((0, Duration::ZERO)));
        }
        let began = Instant::now();
        connection.set_response_timeout(self.options.replica_timeout + Duration::from_secs(1));
        let confirmed = match confirmed(&mut connection, required, self.options.replica_timeout).await {
            Ok(confirmed) => confirmed,
            Err(error) => {
                self.changes.failed(&error, number);
                if link::is_broken(&error) {
                    return Ok(None);
                }
                0
            }
        };
        if confirmed < required {
            return Err(StoreError::Unconfirmed { confirmed, required });
        }
        Ok(Some((confirmed, began.elapsed())))
    }
}

/// What came of sending a change.
enum Tried {
    /// It was made, or refused by the script.
    Answered(Result<Committed, Vec<String>>),
    /// The connection of this number broke before the answer came.
    Lost { number: u64, why: String },
    /// The server has become another one since it was met. Nothing was changed.
    Unmet,
}

/// A script's refusal as an error.
pub(super) fn refused(reply: &[String]) -> StoreError {
    let second = || reply.get(1).cloned().unwrap_or_default();
    match reply.first().map(String::as_str) {
        Some("claim") => StoreError::Unclaimed,
        Some("full") => StoreError::Full(Full::Archive),
        Some("conflict") => StoreError::Conflict,
        Some("not_found") => StoreError::NotFound,
        Some("username_taken") => StoreError::UsernameTaken,
        Some("last_admin") => StoreError::LastAdmin,
        Some("in_use") => StoreError::InUse(second().parse().unwrap_or(1)),
        Some("unknown_role") => StoreError::UnknownRole(second()),
        Some("unknown_team") => StoreError::UnknownTeam(second()),
        Some("keys") => StoreError::KeysChanged,
        Some("author") => StoreError::AuthorChanged,
        Some("link_gone") => StoreError::LinkGone,
        Some("dataset") => StoreError::Unavailable("the store holds another dataset than it did".into()),
        _ => StoreError::Corrupt("a script's reply".into()),
    }
}
