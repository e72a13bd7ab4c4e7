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

use super::greeting::{ConnectError, Greeting};
use super::several::Several;
use super::url::HostPort;
use super::wire::Route;

/// Servers that are asked at once what the cluster looks like.
const ASKED: usize = 8;

/// How often they are asked at the most.
const REST: Duration = Duration::from_millis(100);

const SLOTS: u16 = 16_384;

/// See the module.
pub(super) struct Cluster {
    seeds: Vec<HostPort>,
    tls: Option<Arc<ClientConfig>>,
    greeting: Greeting,
    map: ArcSwap<Map>,
    /// What is known of it has turned out to be wrong.
    is_another: AtomicBool,
    asking: Mutex<Asking>,
}

struct Asking {
    several: Several<Map>,
    looks: usize,
    /// The last one.
    last: Option<Look>,
}

/// When it was begun and ended, and why nothing came of it.
struct Look {
    began: Instant,
    ended: Instant,
    trouble: Option<ConnectError>,
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
        let several = Several::new("server", greeting.timeouts.connect, |map: &Map| map.epoch);
        let asking = Mutex::new(Asking { several, looks: 0, last: None });
        Ok(Self { seeds, tls, greeting, map, is_another, asking })
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

    /// Asks who has which slot, if what is known has turned out to be wrong. Whoever comes before it is asked waits for the answer, and
    /// takes it also where there is none; whoever comes later goes by what is known.
    pub(super) async fn look_again(&self) -> Result<(), ConnectError> {
        if !self.is_another.load(Ordering::SeqCst) {
            return Ok(());
        }
        let came = Instant::now();
        let mut asking = self.asking.lock().await;
        if !self.is_another.load(Ordering::SeqCst) {
            return Ok(());
        }
        if let Some(last) = &asking.last {
            // Each would ask anew otherwise, one after the other, and the connection that comes back behind them all.
            if let Some(trouble) = last.trouble.as_ref().filter(|_| last.began >= came) {
                return Err(trouble.clone());
            }
            if let Some(rest) = REST.checked_sub(last.ended.elapsed()) {
                tokio::time::sleep(rest).await;
            }
        }
        // Whatever turns out from here on is newer than what is asked now. Whoever gives up meanwhile has learned nothing. What
        // comes of an earlier question may be wrong: then that turns out as well.
        self.is_another.store(false, Ordering::SeqCst);
        let mut unanswered = Unanswered { cluster: self, is_answered: false };
        let began = Instant::now();
        let found = self.ask(&mut asking).await;
        asking.last = Some(Look { began, ended: Instant::now(), trouble: found.as_ref().err().cloned() });
        self.map.store(Arc::new(found?));
        unanswered.is_answered = true;
        Ok(())
    }

    async fn ask(&self, asking: &mut Asking) -> Result<Map, ConnectError> {
        let whom = whom(&self.owners(), &self.seeds, asking.looks);
        asking.looks = asking.looks.wrapping_add(1);
        let questions = whom.into_iter().map(|at| {
            let (route, greeting, asked) = (self.route(&at), self.greeting.clone(), at.clone());
            (at, async move { ask(&greeting, &route?, &asked).await })
        });
        asking.several.ask(questions).await
    }
}

/// Who is asked in this look: others of many in each, and always a seed, since all that are known may be gone at once.
fn whom(owners: &[HostPort], seeds: &[HostPort], look: usize) -> Vec<HostPort> {
    let others: Vec<HostPort> = owners.iter().filter(|owner| !seeds.contains(owner)).cloned().collect();
    let of_others = others.len().min(ASKED - 1);
    let mut whom = in_turn(&others, of_others, look);
    whom.extend(in_turn(seeds, seeds.len().min(ASKED - of_others), look));
    whom
}

/// So many of them: the next ones in each look.
fn in_turn(all: &[HostPort], how_many: usize, look: usize) -> Vec<HostPort> {
    let first = look.wrapping_mul(how_many) % all.len().max(1);
    all.iter().cycle().skip(first).take(how_many).cloned().collect()
}

async fn ask(greeting: &Greeting, route: &Route, at: &HostPort) -> Result<Map, ConnectError> {
    let (mut connection, _driver) = greeting.open(route).await?;
    let mut questions = redis::pipe();
    questions.cmd("CLUSTER").arg("INFO");
    questions.cmd("CLUSTER").arg("SLOTS");
    let answers: redis::RedisResult<(String, Vec<Vec<Value>>)> = questions.query_async(&mut connection).await;
    let (info, slots) = answers.map_err(|error| {
        if error.to_string().contains("cluster support disabled") {
            return ConnectError::Refused("it is no server of a Redis Cluster: write redis:// for it".into());
        }
        ConnectError::of(&error)
    })?;
    let number = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    let epoch = number("cluster_current_epoch:").unwrap_or(0);
    let ranges: Vec<Range> = slots.iter().filter_map(|slots| range(slots, at)).collect();
    if ranges.is_empty() {
        return Err(ConnectError::Away("it knows no slots: is the cluster set up?".into()));
    }
    Ok(Map { epoch, ranges })
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

    fn server(name: &str, number: u16) -> HostPort {
        HostPort { host: name.into(), port: number }
    }

    #[test]
    fn each_look_asks_a_seed_and_others_of_many_until_all_have_been_asked() {
        let all = |name: &str, count: u16| (1..=count).map(|number| server(name, number)).collect::<Vec<_>>();
        for (owners, seeds, looks) in [(20, 3, 3), (8, 1, 2), (3, 3, 1), (0, 30, 4), (2, 13, 3), (100, 64, 64)] {
            let (owners, seeds) = (all("owner", owners), all("seed", seeds));
            let mut never: std::collections::HashSet<HostPort> = owners.iter().chain(&seeds).cloned().collect();
            for look in 5..5 + looks {
                let asked = whom(&owners, &seeds, look);
                assert!(asked.len() <= ASKED && asked.iter().any(|at| seeds.contains(at)), "{asked:?}");
                assert_eq!(asked.iter().collect::<std::collections::HashSet<_>>().len(), asked.len(), "{asked:?}");
                never.retain(|at| !asked.contains(at));
            }
            assert!(never.is_empty(), "{never:?}");
        }
        // A seed that is an owner too is asked once.
        assert_eq!(whom(&all("a", 2), &all("a", 1), 0), [server("a", 2), server("a", 1)]);
    }

    /// A cluster of one server, which is whoever listens there.
    fn cluster(listener: &tokio::net::TcpListener) -> Cluster {
        let second = Duration::from_secs(1);
        let timeouts = super::super::greeting::Timeouts { command: second, connect: second };
        let greeting =
            Greeting { settings: redis::RedisConnectionInfo::default(), timeouts, intake: Default::default() };
        Cluster::new(vec![server("127.0.0.1", listener.local_addr().unwrap().port())], None, greeting).unwrap()
    }

    #[tokio::test]
    async fn a_question_that_was_given_up_is_asked_again() {
        // It is connected to, by the system, and never answers.
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let cluster = cluster(&silent);
        let given_up = tokio::select! {
            biased;
            looked = cluster.look_again() => Err(looked.is_ok()),
            accepted = silent.accept() => Ok(accepted.unwrap()),
        };
        let _connection = given_up.expect("asked");
        let again = cluster.look_again().await;
        assert!(matches!(&again, Err(ConnectError::Away(why)) if why.contains("no answer yet")), "{again:?}");
    }

    #[tokio::test]
    async fn all_who_wait_for_a_look_take_what_came_of_it_also_where_that_is_nothing() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let cluster = cluster(&silent);
        let asking = cluster.asking.lock().await;
        let all_wait = futures_util::future::join_all((0..20).map(|_| cluster.look_again()));
        let begins = async {
            tokio::task::yield_now().await;
            drop(asking);
        };
        let (looked, ()) = tokio::join!(all_wait, begins);
        assert!(looked.iter().all(Result::is_err), "{looked:?}");
        assert_eq!(cluster.asking.lock().await.looks, 1);
        cluster.look_again().await.unwrap_err();
        assert_eq!(cluster.asking.lock().await.looks, 2, "whoever comes later asks anew");
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
