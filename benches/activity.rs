//! How fast events go from the firehose into activity logs: `cargo bench --bench activity -- [EVENTS]`. `scripts/bench` runs it; it
//! prints a table, and writes a JSON file where `COUNTERMARK_BENCH_OUT` names one.
//!
//! Puts that many events (200,000) into the firehose of a `redis-server` of its own, as nodes write them, and has one filler work them
//! off: of few accounts, of many, and of one account whose every call has a path, an address and an agent of its own.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a program for developers"
)]

use std::collections::HashMap;
use std::fmt::Write as _;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use countermark::account::AccountId;
use countermark::clock::{Clock as _, SystemClock, rfc3339};
use countermark::store::{Address, Filler, Options, Place, REPLICA_MAX_LAG, Retention, Store, Target, Twins};
use serde_json::json;
use tokio_util::sync::CancellationToken;

const BLOCK: u64 = 256;
const SHARDS: u64 = 4;
const PREFIX: &str = "bench";

struct Redis(Child, tempfile::TempDir);

impl Redis {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let child = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket", "redis.sock", "--dir"])
            .arg(directory.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let redis = Self(child, directory);
        while redis.client().get_connection().is_err() {
            std::thread::sleep(Duration::from_millis(5));
        }
        redis
    }

    fn client(&self) -> redis::Client {
        redis::Client::open(format!("redis+unix://{}", self.1.path().join("redis.sock").display())).unwrap()
    }

    /// User and system time.
    fn cpu(&self) -> f64 {
        let info: String = redis::cmd("INFO").arg("cpu").query(&mut self.client().get_connection().unwrap()).unwrap();
        let of = |name: &str| -> f64 {
            info.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().parse().unwrap()
        };
        of("used_cpu_user:") + of("used_cpu_sys:")
    }

    fn memory(&self) -> u64 {
        let info: String =
            redis::cmd("INFO").arg("memory").query(&mut self.client().get_connection().unwrap()).unwrap();
        info.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap().trim().parse().unwrap()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn main() {
    // `cargo test --all-targets` runs benches, too, with this flag missing.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let events = std::env::args().skip(1).find_map(|text| text.parse::<u64>().ok()).unwrap_or(200_000);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let cases = [("few_accounts", 100, false), ("many_accounts", 10_000, false), ("flood", 1, true)];
    let report: serde_json::Map<_, _> = cases
        .into_iter()
        .map(|(name, accounts, distinct)| (name.to_owned(), runtime.block_on(measured(events, accounts, distinct))))
        .collect();
    println!("{}", serde_json::to_string_pretty(&report).unwrap());
    if let Some(path) = std::env::var_os("COUNTERMARK_BENCH_OUT") {
        std::fs::write(path, serde_json::to_string(&report).unwrap()).unwrap();
    }
}

async fn measured(events: u64, accounts: u64, distinct: bool) -> serde_json::Value {
    let redis = Redis::start();
    fill(&redis, events, accounts, distinct);
    let stop = CancellationToken::new();
    let target = Target::new(Address {
        timeout: Duration::from_secs(60),
        connect_timeout: Duration::from_secs(5),
        ..Address::to(Place::Socket(redis.1.path().join("redis.sock")))
    });
    let age = Duration::from_secs(400 * 86_400);
    let options = Options {
        prefix: PREFIX.to_owned(),
        replicas_required: 0,
        renewals_wait: false,
        replica_timeout: Duration::from_secs(1),
        retention: Retention { firehose: 1_000_000, activity: 10_000, age },
        twins: Twins::Impossible,
        replicated: false,
        replica_max_lag: REPLICA_MAX_LAG,
        remembering: None,
        sinks: false,
    };
    let store = Arc::new(Store::open(target.unwrap(), options, Arc::new(SystemClock), &stop));
    store.connected().await;
    assert!(store.meet("bench", None, "https://bench.test", &[]).await.is_ok());
    let (redis_before, mine_before, began) = (redis.cpu(), own_cpu(), Instant::now());
    let filling = tokio::spawn(Filler::new(store, "bench".to_owned()).run(stop.clone()));
    let mut connection = redis.client().get_multiplexed_async_connection().await.unwrap();
    for shard in 0..SHARDS {
        loop {
            let groups: Result<Vec<HashMap<String, redis::Value>>, _> =
                redis::cmd("XINFO").arg("GROUPS").arg(log(shard)).query_async(&mut connection).await;
            let is_done = |group: &HashMap<String, redis::Value>| {
                group["lag"] == redis::Value::Int(0) && group["pending"] == redis::Value::Int(0)
            };
            if groups.is_ok_and(|groups| groups.first().is_some_and(is_done)) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    let took = began.elapsed().as_secs_f64();
    let (redis_took, own_took) = (redis.cpu() - redis_before, own_cpu() - mine_before);
    let memory = redis.memory();
    stop.cancel();
    filling.await.unwrap();
    let each = |seconds: f64| (seconds * 1e8 / events as f64).round() / 100.0;
    json!({
        "events": events,
        "accounts": accounts,
        "events_a_second": (events as f64 / took).round(),
        "redis_us_an_event": each(redis_took),
        "own_us_an_event": each(own_took),
        "redis_megabytes": memory / 1_000_000,
    })
}

fn log(shard: u64) -> String {
    format!("{{{PREFIX}:a{shard}}}:log")
}

/// User and system time of this process.
fn own_cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    // In hundredths of a second, as the kernel tells everybody.
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

fn fill(redis: &Redis, events: u64, accounts: u64, distinct: bool) {
    let mut connection = redis.client().get_connection().unwrap();
    let now = SystemClock.now();
    let ids: Vec<String> = (0..accounts).map(|_| AccountId::new(now).to_string()).collect();
    // Repeatable, and not in turns.
    let mut dice = 88_172_645_463_325_252_u64;
    let mut throw = || {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        dice
    };
    for block in 0..events.div_ceil(BLOCK) {
        let mut lines = String::new();
        for sequence in block * BLOCK + 1..=events.min((block + 1) * BLOCK) {
            let account = &ids[(throw() % accounts) as usize];
            let (path, agent, address) = match distinct {
                true => (sequence, sequence, sequence),
                false => (throw() % 5, throw() % 2, throw() % 3),
            };
            let [a, b] = [address / 256 % 256, address % 256];
            // One in sixteen with a token that is dead.
            let (token, outcome) = match throw() % 16 {
                0 => ("00112233445566778899aabbccddeeff", "\"refused\",\"reason\":\"superseded\""),
                _ => ("4b10a8802fc72dff4341c0a201db23a0", "\"allowed\""),
            };
            writeln!(
                lines,
                "{{\"node\":\"api-1\",\"sequence\":{sequence},\"id\":\"01a20a8e-dd16-712f-8361-{sequence:012x}\",\
                 \"time\":\"{time}\",\"kind\":\"call\",\"account_id\":\"{account}\",\
                 \"username\":\"ci-deploy\",\"token_id\":\"{token}\",\"generation\":3,\
                 \"key_id\":\"r3G48kkKDH41FYymW1_sHvTLrNFaxHRlGE0FbIJziOw\",\"outcome\":{outcome},\"method\":\"GET\",\
                 \"path\":\"/v1/deployments/{path}\",\"client_address\":\"192.0.{a}.{b}\",\
                 \"user_agent\":\"curl/7.88.{agent}\",\
                 \"request_id\":\"01a20a8e-dd24-7283-bb49-{sequence:012x}\",\"duration_us\":41}}",
                time = rfc3339::text(&now),
            )
            .unwrap();
        }
        let mut command = redis::cmd("XADD");
        command.arg(log(block % SHARDS)).arg("*").arg("b").arg("{}").arg("e").arg(lines);
        command.query::<String>(&mut connection).unwrap();
    }
}
