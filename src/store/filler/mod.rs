//! Fills the activity logs of accounts from the firehose, by a consumer group, and rolls their calls up by the hour.
//!
//! A shard is read by one process at a time, in order, so that each account can remember the last batch of the shard that it
//! has (`mark`), and a batch that is delivered twice, after a crash between writing and acknowledging, is written once. A
//! process that is stopped and finds, when it goes on, that another has taken over, writes nothing twice for the same reason.

mod account;
mod counted;
mod gathered;
mod told;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use futures_util::{TryStreamExt as _, stream};
use redis::streams::{StreamAutoClaimReply, StreamInfoConsumersReply, StreamKey, StreamReadReply};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::lenient::Lenient;
use super::schema::SHARDS;
use super::{Store, StoreError};
use account::{Lately, write_one};
use gathered::Gathered;

pub(super) const GROUP: &str = "activity";
const LOCK: Duration = Duration::from_secs(10);
/// How long a read waits for something new.
pub(super) const BLOCK: Duration = Duration::from_millis(200);
const ENTRIES: usize = 8;
/// Between two reads: what comes meanwhile is read together.
const PAUSE: Duration = Duration::from_millis(50);
/// Accounts whose logs are written at once, and how many kilobytes: calls are answered in between.
const AT_ONCE: usize = 32;
const KILOBYTES: u32 = 512;
/// The most events of one account that are written at once: Redis answers nobody else meanwhile.
const TOGETHER: u64 = 512;

/// One process' part in it.
pub struct Filler {
    store: Arc<Store>,
    consumer: String,
    mine: BTreeSet<u16>,
    /// When the locks were last taken or kept, or tried to be.
    kept: Option<Instant>,
    /// Could not be taken over since; the others needn't wait for them.
    bad: BTreeSet<u16>,
    gathered: Gathered,
    lately: Lately,
}

impl Filler {
    /// A filler that calls itself `consumer`; the name must be this process' alone.
    pub fn new(store: Arc<Store>, consumer: String) -> Self {
        Self {
            store,
            consumer,
            mine: BTreeSet::new(),
            kept: None,
            bad: BTreeSet::new(),
            gathered: Gathered::default(),
            lately: Lately::default(),
        }
    }

    /// Works until it is stopped, then hands its shards over.
    pub async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            if let Err(error) = self.turn().await {
                tracing::debug!(%error, "activity logs wait for the store");
                if matches!(error, StoreError::Full(_)) {
                    // Left to end by themselves, the locks would be written about once more, whether there is room or not.
                    self.hand_over().await;
                }
                // What was read and not written is read again by whoever takes the shard over.
                (self.mine, self.kept, self.gathered) = (BTreeSet::new(), None, Gathered::default());
                self.lately = Lately::default();
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(BLOCK) => {}
                }
            }
        }
        if let Err(error) = self.write().await {
            tracing::debug!(%error, "activity logs are left to another node");
        }
        self.hand_over().await;
    }

    async fn hand_over(&mut self) {
        for shard in std::mem::take(&mut self.mine) {
            let _ = self.lock(shard, Duration::ZERO).await;
        }
    }

    /// Waits for new batches for a moment, and writes them.
    async fn turn(&mut self) -> Result<(), StoreError> {
        self.store.has_room()?;
        // Locks are kept long before they end, and not in each turn: each time is a write to disk.
        let keep = self.kept.is_none_or(|kept| kept.elapsed() >= LOCK / 3);
        // Written under keys that a lost dataset has lost as well: they must not be made in a new one.
        if keep || self.mine.len() + self.bad.len() < usize::from(SHARDS) {
            self.store.still_met().await?;
        }
        if keep {
            (self.bad, self.kept) = (BTreeSet::new(), Some(Instant::now()));
        }
        for shard in (0..SHARDS)
            .filter(|shard| keep || !(self.mine.contains(shard) || self.bad.contains(shard)))
            .collect::<Vec<_>>()
        {
            if !self.lock(shard, LOCK).await? {
                self.mine.remove(&shard);
            } else if !self.mine.contains(&shard) {
                // Whatever fails in what follows must not take other shards' events with it.
                self.write().await?;
                match self.take_over(shard).await {
                    Ok(()) => self.mine.insert(shard),
                    Err(error) => {
                        self.gathered = Gathered::default();
                        tracing::warn!(shard, %error, "a shard of the firehose can't be read; trying again");
                        self.bad.insert(shard)
                    }
                };
            }
        }
        if self.mine.is_empty() {
            tokio::time::sleep(BLOCK).await;
            return Ok(());
        }
        let shards: Vec<u16> = self.mine.iter().copied().collect();
        let streams = if self.store.blocking.is_one_server() {
            self.read(&shards).await?
        } else {
            // Keys of different slots stand in no one command.
            let each = shards.iter().map(|shard| self.read(std::slice::from_ref(shard)));
            try_join_all(each).await?.into_iter().flatten().collect()
        };
        let is_all_there_was = !streams.is_empty() && streams.iter().all(|stream| stream.ids.len() < ENTRIES);
        for stream in streams {
            let Some(shard) = shards.iter().find(|shard| self.store.schema.shard_log(**shard) == stream.key) else {
                continue;
            };
            for entry in stream.ids {
                self.gathered.take(*shard, entry).await;
            }
        }
        if self.gathered.is_due() {
            self.write().await?;
        }
        if is_all_there_was {
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    /// What is new in shards that lie together, after a moment at the latest.
    async fn read(&self, shards: &[u16]) -> Result<Vec<StreamKey>, StoreError> {
        let logs: Vec<String> = shards.iter().map(|shard| self.store.schema.shard_log(*shard)).collect();
        let Some(first) = logs.first() else { return Ok(Vec::new()) };
        let mut command = redis::cmd("XREADGROUP");
        command.arg("GROUP").arg(GROUP).arg(&self.consumer).arg("COUNT").arg(ENTRIES);
        command.arg("BLOCK").arg(u64::try_from(BLOCK.as_millis()).unwrap_or(0)).arg("STREAMS");
        command.arg(&logs).arg(vec![">"; logs.len()]);
        let link = self.store.blocking.blocking_at(first).await;
        let reply: Option<Lenient<StreamReadReply>> = self.store.query(&link, command).await?;
        Ok(reply.map(|Lenient(reply)| reply.keys).unwrap_or_default())
    }

    async fn lock(&self, shard: u16, hold: Duration) -> Result<bool, StoreError> {
        self.store.has_some_room()?;
        let key = self.store.schema.shard_lock(shard);
        let link = self.store.shared.at(&key).await?;
        let mut script = self.store.scripts.lock.key(key);
        script.arg(&self.consumer).arg(u64::try_from(hold.as_millis()).unwrap_or(0));
        let held: u64 = self.store.run(&link, &script).await?;
        Ok(held == 1)
    }

    /// What the one before has read and not finished comes first.
    async fn take_over(&mut self, shard: u16) -> Result<(), StoreError> {
        let log = self.store.schema.shard_log(shard);
        let mut command = redis::cmd("XGROUP");
        command.arg("CREATE").arg(&log).arg(GROUP).arg("0").arg("MKSTREAM");
        let link = self.store.shared.at(&log).await?;
        let mut held = link.now()?;
        let created: redis::RedisResult<()> = command.query_async(&mut held.connection).await;
        if let Err(error) = created
            && error.code() != Some("BUSYGROUP")
        {
            link.failed(&error, held.number);
            return Err(error.into());
        }
        let mut from = "0-0".to_owned();
        loop {
            let mut command = redis::cmd("XAUTOCLAIM");
            command.arg(&log).arg(GROUP).arg(&self.consumer).arg(0).arg(&from).arg("COUNT").arg(ENTRIES);
            let Lenient(reply): Lenient<StreamAutoClaimReply> =
                self.store.query(&*self.store.blocking.at(&log).await?, command).await?;
            for entry in reply.claimed {
                self.gathered.take(shard, entry).await;
            }
            self.write().await?;
            if reply.next_stream_id == "0-0" {
                break;
            }
            from = reply.next_stream_id;
        }
        self.forget_the_dead(&log).await
    }

    /// Each process is another consumer; those that have nothing left to finish, for long, are of no use any more.
    async fn forget_the_dead(&self, log: &str) -> Result<(), StoreError> {
        let mut command = redis::cmd("XINFO");
        command.arg("CONSUMERS").arg(log).arg(GROUP);
        let link = self.store.shared.at(log).await?;
        let reply: StreamInfoConsumersReply = self.store.query(&link, command).await?;
        let dead = |idle| Duration::from_millis(u64::try_from(idle).unwrap_or(u64::MAX)) >= LOCK;
        for consumer in
            reply.consumers.iter().filter(|other| other.name != self.consumer && other.pending == 0 && dead(other.idle))
        {
            let mut command = redis::cmd("XGROUP");
            command.arg("DELCONSUMER").arg(log).arg(GROUP).arg(&consumer.name);
            self.store.query::<u64>(&link, command).await?;
        }
        Ok(())
    }

    /// Writes what was gathered, and then acknowledges it.
    async fn write(&mut self) -> Result<(), StoreError> {
        let Gathered { concerned, calls, read, .. } = std::mem::take(&mut self.gathered);
        if read.is_empty() {
            return Ok(());
        }
        let store = &self.store;
        // They have waited: they must not be written into another dataset.
        store.still_met().await?;
        let room = Semaphore::new(KILOBYTES as usize);
        let lately = &self.lately;
        stream::iter(concerned.iter().map(Ok))
            .try_for_each_concurrent(AT_ONCE, |(account, parts)| write_one(store, *account, parts, lately, &room))
            .await?;
        calls.write(store).await?;
        for (shard, entries) in read {
            for some in entries.chunks(TOGETHER as usize) {
                let mut command = redis::cmd("XACK");
                let log = store.schema.shard_log(shard);
                command.arg(&log).arg(GROUP).arg(some);
                store.query::<u64>(&*store.blocking.at(&log).await?, command).await?;
            }
        }
        Ok(())
    }
}
