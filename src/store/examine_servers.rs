//! What `countermark doctor` asks each server and each sentinel of a store that is made of several.

use std::collections::BTreeMap;

use futures_util::future::join_all;

use super::error::describe;
use super::examine::{Examiner, missing};
use super::greeting::ConnectError;
use super::schema::SHARDS;
use super::url::HostPort;

/// What somebody says, by name.
pub type Facts = BTreeMap<String, String>;

/// Somebody who was asked.
#[derive(Debug, Clone)]
pub struct Asked<T> {
    /// Where.
    pub at: HostPort,
    /// What he said, or why there is no answer.
    pub said: Result<T, String>,
}

/// What a server says of itself.
#[derive(Debug, Clone)]
pub struct ServerFacts {
    /// `INFO`; in a cluster with the lines of `CLUSTER INFO`.
    pub info: Facts,
    /// `CONFIG GET` of some settings. `None`: the user may not ask.
    pub settings: Option<Facts>,
    /// The commands that the service needs and its user may not run there. `None`: the user may not ask.
    pub missing: Option<Vec<String>>,
}

/// What a sentinel knows of the primary that it watches.
#[derive(Debug, Clone)]
pub struct SentinelFacts {
    /// `SENTINEL MASTER`
    pub primary: Facts,
    /// `SENTINEL REPLICAS`
    pub replicas: Vec<Facts>,
    /// `SENTINEL SENTINELS`: the others.
    pub others: Vec<Facts>,
}

/// The servers of a cluster, by the names that it calls them.
#[derive(Debug, Default)]
pub struct ClusterServers {
    /// All that are known.
    pub all: Vec<HostPort>,
    /// Who has the slot of what must change together.
    pub has_state: Option<HostPort>,
    /// Whose replica each is that is one.
    pub follows: BTreeMap<HostPort, HostPort>,
}

const SETTINGS: [&str; 13] = [
    "min-replicas-to-write",
    "min-replicas-max-lag",
    "appendfsync",
    "repl-diskless-sync",
    "repl-diskless-sync-delay",
    "repl-backlog-size",
    "repl-timeout",
    "repl-ping-replica-period",
    "cluster-node-timeout",
    "cluster-require-full-coverage",
    "cluster-replica-no-failover",
    "cluster-allow-replica-migration",
    "cluster-migration-barrier",
];

impl Examiner {
    /// What each sentinel says; nothing where there are none.
    pub async fn sentinels(&self) -> Vec<Asked<SentinelFacts>> {
        match self.target.sentinels() {
            Some(sentinels) => sentinels.examine().await,
            None => Vec::new(),
        }
    }

    /// What each of these servers says.
    pub async fn servers(&self, all: &[HostPort]) -> Vec<Asked<ServerFacts>> {
        join_all(all.iter().map(|at| async { Asked { at: at.clone(), said: self.server(at).await } })).await
    }

    async fn server(&self, at: &HostPort) -> Result<ServerFacts, String> {
        let (mut connection, _driver) = self.target.connect_to(at).await.map_err(said)?;
        let command = redis::cmd("INFO");
        let text: String = command.query_async(&mut connection).await.map_err(|error| describe(&error))?;
        let mut info = facts(&text);
        if self.target.cluster().is_some() {
            let text = redis::cmd("CLUSTER").arg("INFO").query_async::<String>(&mut connection).await;
            info.append(&mut facts(&text.map_err(|error| describe(&error))?));
        }
        let settings = redis::cmd("CONFIG").arg("GET").arg(&SETTINGS).query_async(&mut connection).await.ok();
        let commands = self.schema.service_commands(self.target.cluster().is_some());
        let missing = async {
            let user: String = redis::cmd("ACL").arg("WHOAMI").query_async(&mut connection).await?;
            missing(&mut connection, &user, &commands).await
        };
        Ok(ServerFacts { info, settings, missing: missing.await.ok() })
    }

    /// The servers of the cluster. `None`: it is no cluster.
    pub async fn cluster_servers(&self) -> Option<ClusterServers> {
        let cluster = self.target.cluster()?;
        // What is not known is missing in the answer.
        let _ = cluster.look_again().await;
        let follows = cluster.followers();
        let mut all: Vec<HostPort> = follows.keys().cloned().chain(cluster.owners()).collect();
        all.sort();
        all.dedup();
        Some(ClusterServers { all, has_state: cluster.known_owner_of(&self.schema.meta()), follows })
    }

    /// Keys of ours whose slots no server of the cluster has.
    pub fn unserved(&self) -> Vec<String> {
        let Some(cluster) = self.target.cluster() else { return Vec::new() };
        let shards = (0..SHARDS).map(|shard| self.schema.shard_log(shard));
        let mut keys = [self.schema.meta()].into_iter().chain(shards).collect::<Vec<_>>();
        keys.retain(|key| cluster.known_owner_of(key).is_none());
        keys
    }
}

pub(super) fn said(error: ConnectError) -> String {
    let (ConnectError::Away(why) | ConnectError::Refused(why)) = error;
    why
}

pub(super) fn facts(text: &str) -> Facts {
    let pairs = text.lines().filter_map(|line| line.trim_end().split_once(':'));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}
