//! A Redis Cluster: which of its servers has which slot.

#[cfg(feature = "server")]
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use crc::{CRC_16_XMODEM, Crc};
use redis::{FromRedisValue, Value};
use rustls::ClientConfig;
use tokio::sync::Mutex;

use super::several;
use super::target::{ConnectError, Greeting};
use super::url::HostPort;
use super::wire::Route;

/// Servers that are asked at once what the cluster looks like.
const ASKED: usize = 8;

/// How often they are asked at the most.
const REST: Duration = Duration::from_millis(100);

/// How long one may take.
const PATIENCE: Duration = Duration::from_millis(500);

const SLOTS: u16 = 16_384;

/// See the module.
pub(super) struct Cluster {
    seeds: Vec<HostPort>,
    tls: Option<Arc<ClientConfig>>,
    greeting: Greeting,
    map: ArcSwap<Map>,
    /// What is known of it has turned out to be wrong.
    is_another: AtomicBool,
    asking: Mutex<Option<Instant>>,
}

/// Who has which slots.
#[derive(Debug, Default, PartialEq, Eq)]
struct Map {
    /// The cluster's epoch: it rises with each failover.
    epoch: u64,
    ranges: Vec<Range>,
}

/// Slots one after the other, and who has them.
#[derive(Debug, PartialEq, Eq)]
struct Range {
    first: u16,
    last: u16,
    owner: HostPort,
    replicas: Vec<HostPort>,
}

/// The slot of a key (Redis Cluster specification, "Key distribution model" and "Hash tags").
pub(super) fn slot_of(key: &str) -> u16 {
    const CRC: Crc<u16> = Crc::<u16>::new(&CRC_16_XMODEM);
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
    CRC.checksum(tag.filter(|tag| !tag.is_empty()).unwrap_or(key).as_bytes()) % SLOTS
}

impl Cluster {
    pub(super) fn new(
        seeds: Vec<HostPort>,
        tls: Option<Arc<ClientConfig>>,
        greeting: Greeting,
    ) -> Result<Self, String> {
        for seed in &seeds {
            Route::to(seed, tls.as_ref())?;
        }
        let (map, is_another) = (ArcSwap::default(), AtomicBool::new(true));
        Ok(Self { seeds, tls, greeting, map, is_another, asking: Mutex::new(None) })
    }

    pub(super) fn route(&self, at: &HostPort) -> Result<Route, ConnectError> {
        Route::to(at, self.tls.as_ref()).map_err(ConnectError::Refused)
    }

    /// Asks anew who has which slot, before anybody is told.
    pub(super) fn is_another(&self) {
        self.is_another.store(true, Ordering::SeqCst);
    }

    /// Who has the slot of a key.
    pub(super) async fn owner_of(&self, key: &str) -> Result<HostPort, ConnectError> {
        self.look_again().await?;
        self.known_owner_of(key).ok_or_else(|| ConnectError::Away("no server of the cluster has the slot".into()))
    }

    /// The same as far as it is known.
    pub(super) fn known_owner_of(&self, key: &str) -> Option<HostPort> {
        let slot = slot_of(key);
        let map = self.map.load();
        map.ranges.iter().find(|range| (range.first..=range.last).contains(&slot)).map(|range| range.owner.clone())
    }

    /// All servers that have slots.
    pub(super) fn owners(&self) -> Vec<HostPort> {
        let map = self.map.load();
        let mut owners: Vec<HostPort> = map.ranges.iter().map(|range| range.owner.clone()).collect();
        owners.sort();
        owners.dedup();
        owners
    }

    /// The replicas that are known, and whose they are.
    #[cfg(feature = "server")]
    pub(super) fn followers(&self) -> BTreeMap<HostPort, HostPort> {
        let map = self.map.load();
        let of =
            |range: &Range| range.replicas.iter().map(|one| (one.clone(), range.owner.clone())).collect::<Vec<_>>();
        map.ranges.iter().flat_map(of).collect()
    }

    /// Asks who has which slot, if what is known has turned out to be wrong; whoever comes meanwhile waits for the answer.
    pub(super) async fn look_again(&self) -> Result<(), ConnectError> {
        if !self.is_another.load(Ordering::SeqCst) {
            return Ok(());
        }
        let mut asked_at = self.asking.lock().await;
        if !self.is_another.load(Ordering::SeqCst) {
            return Ok(());
        }
        if let Some(rest) = asked_at.and_then(|at| REST.checked_sub(at.elapsed())) {
            tokio::time::sleep(rest).await;
        }
        // Whatever turns out from here on is newer than what is asked now. Whoever gives up meanwhile has learned nothing.
        self.is_another.store(false, Ordering::SeqCst);
        let mut unanswered = Unanswered { cluster: self, is_answered: false };
        let found = self.ask().await;
        *asked_at = Some(Instant::now());
        self.map.store(Arc::new(found?));
        unanswered.is_answered = true;
        Ok(())
    }

    /// Several are asked, since one that was cut off knows nothing of a failover: who knows the highest epoch is believed.
    async fn ask(&self) -> Result<Map, ConnectError> {
        let mut candidates = self.owners();
        candidates.retain(|owner| !self.seeds.contains(owner));
        candidates.extend(self.seeds.iter().cloned());
        // Not always the same ones of many.
        let offset = usize::try_from(self.map.load().epoch).unwrap_or(0) % candidates.len().max(1);
        candidates.rotate_left(offset);
        candidates.truncate(ASKED);
        let patience = self.greeting.timeouts.connect.min(PATIENCE);
        let asked = candidates.iter().map(|at| async move {
            let answer = tokio::time::timeout(patience, self.ask_one(at)).await;
            answer.unwrap_or_else(|_| Err(ConnectError::Away(format!("{at} does not answer"))))
        });
        let mut best: Option<Map> = None;
        let mut trouble = None;
        for answer in several::answers(asked).await {
            match answer {
                Ok(map) if best.as_ref().is_none_or(|best| map.epoch > best.epoch) => best = Some(map),
                Ok(_) => {}
                Err(error) => trouble = Some(error),
            }
        }
        best.ok_or_else(|| trouble.unwrap_or_else(|| ConnectError::Away("no server of the cluster answers".into())))
    }

    async fn ask_one(&self, at: &HostPort) -> Result<Map, ConnectError> {
        let (mut connection, _driver) = self.greeting.open(&self.route(at)?).await?;
        let mut questions = redis::pipe();
        questions.cmd("CLUSTER").arg("INFO");
        questions.cmd("CLUSTER").arg("SLOTS");
        let answers: redis::RedisResult<(String, Vec<Vec<Value>>)> = questions.query_async(&mut connection).await;
        let (info, slots) = answers.map_err(|error| {
            if error.to_string().contains("cluster support disabled") {
                return ConnectError::Refused(format!("{at} is no server of a Redis Cluster: write redis:// for it"));
            }
            ConnectError::of(&error)
        })?;
        let number = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        let epoch = number("cluster_current_epoch:").unwrap_or(0);
        let ranges: Vec<Range> = slots.iter().filter_map(|slots| range(slots, at)).collect();
        if ranges.is_empty() {
            return Err(ConnectError::Away(format!("{at} knows no slots: is the cluster set up?")));
        }
        Ok(Map { epoch, ranges })
    }
}

/// A question that may be given up, or fail: then it is to be asked again.
struct Unanswered<'a> {
    cluster: &'a Cluster,
    is_answered: bool,
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if !self.is_answered {
            self.cluster.is_another();
        }
    }
}

/// `[first, last, [host, port, …] of the primary, [host, port, …] of a replica …]`
fn range(slots: &[Value], asked: &HostPort) -> Option<Range> {
    let [first, last, owner, replicas @ ..] = slots else { return None };
    let server = |value: &Value| {
        let Value::Array(parts) = value else { return None };
        let [host, port, ..] = parts.as_slice() else { return None };
        // A server that does not know by which name it is reached leaves that open.
        let host = Option::<String>::from_redis_value_ref(host).ok()?.filter(|host| !matches!(host.as_str(), "" | "?"));
        let host = host.unwrap_or_else(|| asked.host.clone());
        Some(HostPort { host, port: u16::from_redis_value_ref(port).ok()? })
    };
    Some(Range {
        first: u16::from_redis_value_ref(first).ok()?,
        last: u16::from_redis_value_ref(last).ok()?,
        owner: server(owner)?,
        replicas: replicas.iter().filter_map(server).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_in_the_slot_that_redis_says() {
        // CLUSTER KEYSLOT of a server.
        for (key, slot) in [
            ("123456789", 12_739),
            ("{cm}:meta", 9_074),
            ("{cm:a0}:log", 7_030),
            ("{cm:a3}:heads", 11_029),
            ("{}:x", 5_106),
            ("x{y}{z}", 12_222),
            ("{x", 11_068),
        ] {
            assert_eq!(slot_of(key), slot, "{key}");
        }
    }

    #[test]
    fn a_server_without_a_name_is_the_one_that_was_asked() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let server = |host: Value| Value::Array(vec![host, Value::Int(7000), text("id")]);
        let asked = HostPort { host: "asked".into(), port: 1 };
        for (host, found) in [(text("a"), "a"), (text(""), "asked"), (text("?"), "asked"), (Value::Nil, "asked")] {
            let slots = [Value::Int(0), Value::Int(5), server(host), server(text("b"))];
            let range = range(&slots, &asked).unwrap();
            assert_eq!((range.first, range.last, range.owner.host.as_str()), (0, 5, found));
            assert_eq!(range.replicas.len(), 1);
        }
        assert!(range(&[Value::Int(0), Value::Int(5)], &asked).is_none());
    }
}
