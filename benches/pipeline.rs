//! What an event costs on its way into the firehose, and from there into the activity of its account: one process and its Redis on this
//! machine. `cargo bench --bench pipeline -- [EVENTS]`; `scripts/bench` runs it; it prints a table, and writes a JSON file where
//! `COUNTERMARK_BENCH_OUT` names one.
//!
//! The baseline, in the same run and interleaved with it: the same lines, made and put aside by the same thread, without a queue, a
//! disk, a chain or a store.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_precision_loss,
    reason = "a program for developers"
)]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use countermark::account::AccountId;
use countermark::audit::Outcome;
use countermark::authority::{Authority, Metrics, SessionSettings, Settings, SigningSettings, Startup};
use countermark::clock::{Clock, SystemClock};
use countermark::config::{Secret, SecretSource};
use countermark::keyring::MasterKey;
use countermark::node::{Call, Ending, Follower, Mode, Writer};
use countermark::store::{Address, Filler, Options, Place, REPLICA_MAX_LAG, Retention, Store, Target, Twins};
use countermark::token::Algorithm;
use countermark::verify::{Demand, Presenter};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// As the program has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ACCOUNTS: usize = 200;
const ROUNDS: usize = 3;
/// Calls a second, and for how long, while it is measured how late they are in the activity.
const PACE: u32 = 10_000;
const PACED: Duration = Duration::from_secs(10);

fn main() {
    // `cargo test --all-targets` runs benches, too, with this flag missing.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let events = std::env::args().skip(1).find_map(|text| text.parse::<usize>().ok()).unwrap_or(1_000_000);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let report = runtime.block_on(measured(events));
    println!("{}", serde_json::to_string_pretty(&report).unwrap());
    if let Some(path) = std::env::var_os("COUNTERMARK_BENCH_OUT") {
        std::fs::write(path, report.to_string()).unwrap();
    }
}

async fn measured(events: usize) -> Value {
    let directory = tempfile::tempdir().unwrap();
    let redis = Redis::start(directory.path());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let stop = CancellationToken::new();
    let store = Arc::new(open(&redis, Arc::clone(&clock), &stop));
    store.connected().await;
    let (authority, writer) = begin(Arc::clone(&store), Arc::clone(&clock), directory.path()).await;
    let authority = Arc::new(authority);
    let token = Mutex::new(String::new());
    let kept = authority.create_first_admin(|made, _| {
        made.clone_into(&mut token.lock().unwrap());
        Ok(())
    });
    assert!(kept.await.unwrap());
    let token = token.into_inner().unwrap();
    let written = CancellationToken::new();
    tokio::spawn(writer.run(Arc::clone(authority.node()), written.clone(), Duration::from_secs(5)));
    tokio::spawn(Follower::new(Arc::clone(authority.node()), "n".into(), String::new()).run(stop.clone()));
    while !authority.node().holds_lease() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let calls = Arc::new(calls(&authority, &token, clock.as_ref()).await);

    let (mut rates, mut costs, mut redis_costs, mut baseline) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let each = events / ROUNDS;
        baseline.push(made_only(&calls, each, Arc::clone(&clock)));
        let before = counted(&authority);
        let (began, own, other) = (Instant::now(), own_cpu(), redis.cpu());
        let (from, all) = (Arc::clone(&authority), Arc::clone(&calls));
        tokio::task::spawn_blocking(move || {
            for number in 0..each {
                // A refusal costs as much as an event: whoever is refused leaves the others the processor. The queue lasts for longer.
                while from.record(&all[number % ACCOUNTS], Ending::Allowed).is_err() {
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
        })
        .await
        .unwrap();
        while counted(&authority) - before < each as u64 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        rates.push(each as f64 / began.elapsed().as_secs_f64());
        costs.push((own_cpu() - own).as_secs_f64() * 1e6 / each as f64);
        redis_costs.push((redis.cpu() - other).as_secs_f64() * 1e6 / each as f64);
    }

    // All of it into the activities, from nothing.
    let (began, own, other) = (Instant::now(), own_cpu(), redis.cpu());
    let filling = CancellationToken::new();
    let filler = tokio::spawn(Filler::new(Arc::clone(&store), "f".into()).run(filling.clone()));
    while redis.behind() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let filled = json!({
        "events_a_second": (events as f64 / began.elapsed().as_secs_f64()).round(),
        "own_cpu_us_an_event": rounded((own_cpu() - own).as_secs_f64() * 1e6 / events as f64),
        "redis_cpu_us_an_event": rounded((redis.cpu() - other).as_secs_f64() * 1e6 / events as f64),
    });

    let late = late(&authority, &calls, &redis).await;
    filling.cancel();
    let _ = filler.await;
    written.cancel();
    stop.cancel();
    let (cost, floor) = (median(costs), median(baseline));
    json!({
        "events": events,
        "firehose": {
            "events_a_second": median(rates).round(),
            "own_cpu_us_an_event": rounded(cost),
            "of_that_making_the_line_us": rounded(floor),
            "without_making_the_line_us": rounded(cost - floor),
            "redis_cpu_us_an_event": rounded(median(redis_costs)),
        },
        "activity": filled,
        "activity_lag_at_10000_a_second_ms": late,
    })
}

/// Calls with a good token, as if of many accounts.
async fn calls(authority: &Authority, token: &str, clock: &dyn Clock) -> Vec<Call> {
    let mut calls = Vec::new();
    for number in 0..ACCOUNTS {
        let address = format!("10.0.{}.{}", number / 250, number % 250 + 1).parse().ok();
        let agent = Some("bench/1.0 (a client of an API; like others)");
        let path = format!("/orders/{number}/items");
        let call = Call::begin(uuid::Uuid::now_v7().to_string(), "GET", &path, address, agent, clock);
        let demand = Demand { audience: None, permission: None, team: None, presenter: Presenter::ThirdParty };
        authority.verify(&call, token, &demand).await.unwrap();
        if let Some(holder) = call.record().holder.as_mut() {
            holder.account = AccountId::new(Utc::now());
        }
        calls.push(call);
    }
    calls
}

/// Microseconds of processor time an event, where its line is made and nothing else.
fn made_only(calls: &[Call], count: usize, clock: Arc<dyn Clock>) -> f64 {
    let own = own_cpu();
    let mut bytes = 0;
    for number in 0..count {
        let event = calls[number % ACCOUNTS].event("call", Outcome::Allowed, clock.as_ref());
        bytes += event.to_line().len();
    }
    assert!(bytes > count);
    (own_cpu() - own).as_secs_f64() * 1e6 / count as f64
}

/// How late calls are in the activity of their account, at a steady pace: median and worst.
async fn late(authority: &Arc<Authority>, calls: &Arc<Vec<Call>>, redis: &Redis) -> Value {
    let (from, all) = (Arc::clone(authority), Arc::clone(calls));
    let pacing = tokio::task::spawn_blocking(move || {
        let began = Instant::now();
        for number in 0..PACE * u32::try_from(PACED.as_secs()).unwrap() {
            drop(from.record(&all[number as usize % ACCOUNTS], Ending::Allowed).unwrap());
            let due = Duration::from_secs(1) / PACE * number;
            if let Some(early) = due.checked_sub(began.elapsed()).filter(|early| *early > Duration::from_millis(1)) {
                std::thread::sleep(early);
            }
        }
    });
    let (mut lags, began) = (Vec::new(), Instant::now());
    let watched = calls[0].record().holder.as_ref().unwrap().account;
    while !pacing.is_finished() {
        tokio::time::sleep(Duration::from_millis(50)).await;
        // Each account has a call each 20 ms: how old the newest that is told is how late it is.
        if began.elapsed() > Duration::from_secs(2)
            && let Some(newest) = redis.newest(watched)
        {
            lags.push((Utc::now() - newest).as_seconds_f64() * 1e3);
        }
    }
    pacing.await.unwrap();
    lags.sort_unstable_by(f64::total_cmp);
    json!({ "median": lags[lags.len() / 2].round(), "worst": lags[lags.len() - 1].round() })
}

fn counted(authority: &Authority) -> u64 {
    authority.node().recorder().counters().written.load(std::sync::atomic::Ordering::Relaxed)
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_unstable_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

fn rounded(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

/// User and system time of this process.
fn own_cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let mut words = stat.rsplit(") ").next().unwrap().split(' ').skip(11);
    let ticks: u64 = (0..2).map(|_| words.next().unwrap().parse::<u64>().unwrap()).sum();
    // USER_HZ, the same everywhere.
    Duration::from_millis(ticks * 10)
}

fn open(redis: &Redis, clock: Arc<dyn Clock>, stop: &CancellationToken) -> Store {
    let target = Target::new(Address {
        timeout: Duration::from_secs(10),
        connect_timeout: Duration::from_secs(5),
        ..Address::to(Place::Socket(redis.socket.clone()))
    })
    .unwrap();
    let age = Duration::from_secs(400 * 86_400);
    let options = Options {
        prefix: "cm".into(),
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
    Store::open(target, options, clock, stop)
}

async fn begin(store: Arc<Store>, clock: Arc<dyn Clock>, directory: &Path) -> (Authority, Writer) {
    let key = directory.join("master.key");
    MasterKey::generate().unwrap().write_new(&key).unwrap();
    let key = Secret::new(std::fs::read_to_string(key).unwrap().trim_end().to_owned());
    let startup = Startup {
        store,
        clock,
        master_key: SecretSource::Value(key),
        keys_mark: None,
        hardware: None,
        issuer: None,
        default_issuer: "https://countermark.test".into(),
        node: "bench".into(),
        audit_queue: 65_536,
        audit_mode: Mode::Spill { directory: directory.join("audit"), max_bytes: 1 << 30 },
        guessing: (60, 60),
        settings: Settings {
            valid_for_months: vec![12],
            max_staleness: Duration::from_millis(500),
            account_cache_bytes: 64 << 20,
            also_accept_issuers: Vec::new(),
            name_retention: Duration::from_secs(86_400),
            signature_cache_bytes: 1 << 20,
            records_calls: true,
            archive: Default::default(),
            sessions: SessionSettings { idle: Duration::from_secs(1_800), longest: Duration::from_secs(43_200) },
            signing: SigningSettings {
                algorithm: Algorithm::ES256,
                publish_ahead: TimeDelta::hours(24),
                rotate_every: None,
            },
        },
        metrics: Arc::new(Metrics::new()),
    };
    startup.run().await.unwrap()
}

/// As the private one is run.
struct Redis {
    child: Child,
    socket: std::path::PathBuf,
}

impl Redis {
    fn start(directory: &Path) -> Self {
        let socket = directory.join("redis.sock");
        let child = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--rdbcompression", "no"])
            .args(["--appendonly", "yes", "--appendfsync", "always", "--unixsocket"])
            .arg(&socket)
            .arg("--dir")
            .arg(directory)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is needed");
        let redis = Self { child, socket };
        while redis.client().get_connection().is_err() {
            std::thread::sleep(Duration::from_millis(5));
        }
        redis
    }

    fn client(&self) -> redis::Client {
        redis::Client::open(format!("redis+unix://{}", self.socket.display())).unwrap()
    }

    fn cpu(&self) -> Duration {
        let text: String = redis::cmd("INFO").arg("cpu").query(&mut self.client().get_connection().unwrap()).unwrap();
        let of = |name: &str| -> f64 {
            text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap().trim().parse().unwrap()
        };
        Duration::from_secs_f64(of("used_cpu_sys") + of("used_cpu_user"))
    }

    /// Whether activities lack something.
    fn behind(&self) -> bool {
        let mut connection = self.client().get_connection().unwrap();
        (0..4).any(|shard| {
            let reply: redis::RedisResult<redis::streams::StreamInfoGroupsReply> =
                redis::cmd("XINFO").arg("GROUPS").arg(format!("{{cm:a{shard}}}:log")).query(&mut connection);
            // A shard to which nobody has written has nothing.
            reply.is_ok_and(|reply| {
                reply.groups.iter().any(|group| group.pending > 0 || group.lag.is_none_or(|lag| lag > 0))
                    || reply.groups.is_empty()
            })
        })
    }

    /// When the newest call in an account's activity was made.
    fn newest(&self, account: AccountId) -> Option<chrono::DateTime<Utc>> {
        let reply: redis::streams::StreamRangeReply = redis::cmd("XREVRANGE")
            .arg(format!("{{cm:{account}}}:activity"))
            .arg("+")
            .arg("-")
            .arg("COUNT")
            .arg(1)
            .query(&mut self.client().get_connection().unwrap())
            .unwrap();
        let lines: String = reply.ids.first()?.get("e")?;
        let event: Value = serde_json::from_str(lines.lines().last()?).unwrap();
        event["time"].as_str().unwrap().parse().ok()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
