//! What `countermark doctor` asks the store. It reads, and has scripts loaded; it changes no key.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use redis::aio::MultiplexedConnection;
use redis::streams::{StreamInfoGroupsReply, StreamRangeReply};
use redis::{FromRedisValue, RedisResult};

use super::error::describe;
use super::examine_servers::facts;
use super::filler::GROUP;
use super::greeting::{ConnectError, Driver};
use super::lenient::Lenient;
use super::link::fence;
use super::nodes;
use super::schema::{Owner, SHARDS, Schema};
use super::scripts::{NodeScripts, Scripts};
use super::target::Connected;
use super::{KnownIssuer, Node, Refused, StoreError, Target};
use crate::account::AccountId;

/// A connection of its own, which is not kept up.
pub struct Examiner {
    connection: MultiplexedConnection,
    pub(super) schema: Schema,
    pub(super) target: Target,
    /// In a cluster, to where the other keys lie that were asked for.
    others: BTreeMap<String, (MultiplexedConnection, Driver)>,
    /// The connection ends with it.
    _driver: Driver,
}

/// What a shard of the firehose still has for the activity logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backlog {
    /// The shard.
    pub shard: u16,
    /// When the oldest entry was written that nobody has finished, on the store's clock.
    pub waiting_since: Option<DateTime<Utc>>,
}

impl Examiner {
    /// Connects as the service does, with the same refusals.
    pub async fn connect(target: &Target, prefix: &str) -> Result<Self, Refused> {
        let schema = Schema::new(prefix);
        let target = target.of(&schema.meta());
        let Connected { connection, driver, .. } = connected(&target).await?;
        Ok(Self { connection, schema, target, others: BTreeMap::new(), _driver: driver })
    }

    /// The same at where a key lies.
    async fn ask_at<T: FromRedisValue>(&mut self, key: &str, words: &[&str]) -> Result<T, StoreError> {
        if self.target.cluster().is_none() {
            return Ok(self.ask(words).await?);
        }
        if !self.others.contains_key(key) {
            let away = |refused: Refused| StoreError::Unavailable(refused.0);
            let Connected { connection, driver, .. } = connected(&self.target.of(key)).await.map_err(away)?;
            self.others.insert(key.to_owned(), (connection, driver));
        }
        let (command, arguments) = words.split_first().unwrap_or((&"PING", &[]));
        match self.others.get_mut(key) {
            Some((connection, _)) => Ok(redis::cmd(command).arg(arguments).query_async(connection).await?),
            None => Err(StoreError::Unavailable("no connection".into())),
        }
    }

    async fn ask<T: FromRedisValue>(&mut self, words: &[&str]) -> RedisResult<T> {
        let (command, arguments) = words.split_first().unwrap_or((&"PING", &[]));
        redis::cmd(command).arg(arguments).query_async(&mut self.connection).await
    }

    /// `INFO`, by name.
    pub async fn info(&mut self) -> Result<BTreeMap<String, String>, StoreError> {
        Ok(facts(&self.ask::<String>(&["INFO"]).await?))
    }

    /// `CONFIG GET` of these settings; many users may not ask.
    pub async fn settings(&mut self, names: &[&str]) -> Result<BTreeMap<String, String>, StoreError> {
        Ok(self.ask(&[&["CONFIG", "GET"], names].concat()).await?)
    }

    /// Whether it may write, as the service asks: the refusal's code and words if not.
    pub async fn may_write(&mut self) -> Result<(), String> {
        fence(&mut self.connection, self.target.fence_key()).await.map_err(|error| describe(&error))
    }

    /// Issuers that are known, and the names of those that have not raised the store yet, where it serves nobody for that.
    pub async fn issuers(&mut self) -> Result<(usize, Vec<String>), StoreError> {
        let meta = self.schema.meta();
        let (term, identity, serving): (Option<u64>, Option<String>, Option<String>) =
            self.ask(&["HMGET", &meta, "term", "identity", "serving"]).await?;
        let issuers = self.schema.issuers();
        let all: Vec<(String, String)> = self.ask(&["HGETALL", &issuers]).await?;
        let known: Vec<KnownIssuer> = all.into_iter().map(|(id, text)| KnownIssuer::read(id, text)).collect();
        let is_waited_for =
            |issuer: &&KnownIssuer| identity != serving && term.is_some_and(|term| issuer.raised < term);
        Ok((known.len(), known.iter().filter(is_waited_for).map(|issuer| issuer.name.clone()).collect()))
    }

    /// Its clock.
    pub async fn time(&mut self) -> Result<DateTime<Utc>, StoreError> {
        let (seconds, micros): (i64, u32) = self.ask(&["TIME"]).await?;
        DateTime::from_timestamp(seconds, micros.saturating_mul(1_000))
            .ok_or_else(|| StoreError::Corrupt("the time".into()))
    }

    /// How long a round trip takes.
    pub async fn ping(&mut self) -> Result<Duration, StoreError> {
        let began = Instant::now();
        self.ask::<String>(&["PING"]).await?;
        Ok(began.elapsed())
    }

    /// The ACL user of this connection.
    pub async fn user(&mut self) -> Result<String, StoreError> {
        Ok(self.ask(&["ACL", "WHOAMI"]).await?)
    }

    /// The commands that the service needs and the user may not run. An error where the user may not ask.
    pub async fn missing_rights(&mut self, user: &str) -> Result<Vec<String>, StoreError> {
        let commands = self.schema.service_commands(self.target.cluster().is_some());
        Ok(missing(&mut self.connection, user, &commands).await?)
    }

    /// Whether the user may run a command; nothing is run.
    pub async fn dry_run(&mut self, user: &str, command: &[&str]) -> Result<bool, StoreError> {
        Ok(may_run(&mut self.connection, user, command).await?)
    }

    /// Loads every script and runs the one that looks up, for nobody.
    pub async fn scripts(&mut self) -> Result<(), StoreError> {
        let (scripts, of_a_node) = (Scripts::new(), NodeScripts::new());
        for script in scripts.all().into_iter().chain(of_a_node.all()) {
            script.load_async(&mut self.connection).await?;
        }
        let nobody = self.schema.state(AccountId::nobody());
        let mut lookup = of_a_node.lookup.prepare_invoke();
        lookup.key(self.schema.meta()).key(self.schema.roles()).key(self.schema.keyring()).key(nobody);
        lookup.invoke_async::<redis::Value>(&mut self.connection).await?;
        Ok(())
    }

    /// The id of the dataset and its issuer; `None`: nobody has set it up.
    pub async fn dataset(&mut self) -> Result<Option<(String, String)>, StoreError> {
        let meta = self.schema.meta();
        let (id, issuer): (Option<String>, Option<String>) = self.ask(&["HMGET", &meta, "dataset", "issuer"]).await?;
        Ok(id.map(|id| (id, issuer.unwrap_or_default())))
    }

    /// Which backup is being put back into it, or was begun to be.
    pub async fn restoring(&mut self) -> Result<Option<String>, StoreError> {
        let meta = self.schema.meta();
        Ok(self.ask(&["HGET", &meta, "restoring"]).await?)
    }

    /// The sealed keys with their version, as they lie there.
    pub async fn sealed_keyring(&mut self) -> Result<Option<(u64, String)>, StoreError> {
        let keyring = self.schema.keyring();
        let (version, document): (Option<u64>, Option<String>) =
            self.ask(&["HMGET", &keyring, "version", "document"]).await?;
        Ok(version.zip(document))
    }

    /// The nodes that are there.
    pub async fn nodes(&mut self) -> Result<Vec<Node>, StoreError> {
        let (nodes, leases) = (self.schema.nodes(), self.schema.leases());
        let introductions = self.ask(&["HGETALL", &nodes]).await?;
        let leases = self.ask(&["HGETALL", &leases]).await?;
        Ok(nodes::read(introductions, leases, self.ask(&["TIME"]).await?))
    }

    /// When the newest event was written, on the store's clock.
    pub async fn newest_event(&mut self) -> Result<Option<DateTime<Utc>>, StoreError> {
        let streams = (0..SHARDS).map(|shard| self.schema.shard_log(shard)).chain([self.schema.acts()]);
        let mut newest = None;
        for stream in streams.collect::<Vec<_>>() {
            let Lenient(reply): Lenient<StreamRangeReply> =
                self.ask_at(&stream, &["XREVRANGE", &stream, "+", "-", "COUNT", "1"]).await?;
            newest = newest.max(reply.ids.first().and_then(|entry| time_of(&entry.id)));
        }
        Ok(newest)
    }

    /// What the activity logs still wait for, of each shard that has anything.
    pub async fn backlogs(&mut self) -> Result<Vec<Backlog>, StoreError> {
        let mut backlogs = Vec::new();
        for shard in 0..SHARDS {
            let log = self.schema.shard_log(shard);
            // Nobody has written to it yet.
            if self.ask_at::<u64>(&log, &["EXISTS", &log]).await? == 0 {
                continue;
            }
            let groups: StreamInfoGroupsReply = self.ask_at(&log, &["XINFO", "GROUPS", &log]).await?;
            let group = groups.groups.iter().find(|group| group.name == GROUP);
            let delivered = group.map_or("0-0", |group| group.last_delivered_id.as_str());
            let after = format!("({delivered}");
            let Lenient(next): Lenient<StreamRangeReply> =
                self.ask_at(&log, &["XRANGE", &log, &after, "+", "COUNT", "1"]).await?;
            let mut waiting_since = next.ids.first().and_then(|entry| time_of(&entry.id));
            // Taken up and not finished counts as well.
            if group.is_some_and(|group| group.pending > 0) {
                let (_, first, _, _): (u64, Option<String>, redis::Value, redis::Value) =
                    self.ask_at(&log, &["XPENDING", &log, GROUP]).await?;
                let first = first.and_then(|id| time_of(&id));
                waiting_since = [first, waiting_since].into_iter().flatten().min();
            }
            backlogs.push(Backlog { shard, waiting_since });
        }
        Ok(backlogs)
    }

    /// Keys under the prefix that no version of Countermark makes, and profiles without an account: some of them, looking at
    /// about `most` keys of the database; in a cluster, of the server that has the state.
    pub async fn ownerless(&mut self, most: usize) -> Result<Vec<String>, StoreError> {
        let mut found = Vec::new();
        let (mut cursor, mut seen) = ("0".to_owned(), 0);
        while seen < most {
            let (next, keys): (String, Vec<String>) = self.ask(&["SCAN", &cursor, "COUNT", "500"]).await?;
            // Few or none may be ours in a database that is shared: what counts is the work.
            seen += 500;
            let mut owned = Vec::new();
            let mut owners = redis::pipe();
            for key in keys {
                match self.schema.owner_of(&key) {
                    Owner::Nobody => found.push(key),
                    Owner::Key(owner) => {
                        owners.cmd("EXISTS").arg(owner);
                        owned.push(key);
                    }
                    Owner::Countermark | Owner::Other => {}
                }
            }
            if !owned.is_empty() {
                let exist: Vec<u64> = owners.query_async(&mut self.connection).await?;
                found.extend(owned.into_iter().zip(exist).filter(|(_, exists)| *exists == 0).map(|(key, _)| key));
            }
            if next == "0" {
                break;
            }
            cursor = next;
        }
        found.sort();
        Ok(found)
    }
}

/// Those of these commands that a user may not run at a server.
pub(super) async fn missing(
    at: &mut MultiplexedConnection,
    user: &str,
    commands: &[Vec<String>],
) -> RedisResult<Vec<String>> {
    let mut missing = Vec::new();
    for command in commands {
        if !may_run(at, user, command).await? {
            missing.extend(command.first().cloned());
        }
    }
    missing.dedup();
    Ok(missing)
}

async fn may_run<T: redis::ToRedisArgs>(
    at: &mut MultiplexedConnection,
    user: &str,
    command: &[T],
) -> RedisResult<bool> {
    // An answer in words, and no error: that is for those who may not ask.
    let reply: String = redis::cmd("ACL").arg("DRYRUN").arg(user).arg(command).query_async(at).await?;
    Ok(reply == "OK")
}

async fn connected(target: &Target) -> Result<Connected, Refused> {
    target.connect().await.map_err(|error| match error {
        ConnectError::Away(why) => Refused(format!("it does not answer: {why}")),
        ConnectError::Refused(why) => Refused(why),
    })
}

fn time_of(id: &str) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_millis(id.split('-').next()?.parse().ok()?)
}
