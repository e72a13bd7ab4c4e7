//! Whatever is killed at whatever moment of a stream of changes: nothing that was acknowledged is lost, nothing is half there.

pub mod keys;
mod known;
mod work;

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::client::Client;
use crate::effort;
use crate::machine::Machine;
use crate::server::Server;
use crate::until::{lives, signal, until};
use keys::Keys;
use work::{Outcome, Record, Worker};

/// Who is killed.
#[derive(Debug, Clone, Copy)]
enum Victim {
    Server,
    Redis,
    RedisThenServer,
    ServerThenRedis,
}

const VICTIMS: [Victim; 4] = [Victim::Server, Victim::Redis, Victim::RedisThenServer, Victim::ServerThenRedis];
const WORKERS: usize = 4;

/// Numbers that look random and are the same for the same seed.
#[derive(Clone)]
pub struct Dice(u64);

impl Dice {
    /// One of `0..sides`.
    pub fn below(&mut self, sides: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }

    pub fn one_of<'a, T>(&mut self, some: &'a [T]) -> &'a T {
        &some[usize::try_from(self.below(some.len() as u64)).unwrap()]
    }

    /// Another one that goes its own way.
    pub fn fork(&mut self) -> Self {
        Self(self.below(u64::MAX))
    }
}

/// A new one for each run, said in every failure, or the one in `COUNTERMARK_TEST_SEED`.
pub fn dice() -> Dice {
    let given = std::env::var("COUNTERMARK_TEST_SEED").ok().map(|text| text.parse().expect("a number"));
    // Seeded by the system, for each run anew.
    let seed = given.unwrap_or_else(|| std::hash::RandomState::new().build_hasher().finish());
    println!("COUNTERMARK_TEST_SEED={seed}");
    Dice(seed)
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_is_half_there_whatever_is_killed() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut dice = dice();
    let machine = Machine::new();
    let mut server = machine.serve().ready();
    let admin = server.admin();
    let mut workers: Vec<Worker> = (0..WORKERS).map(Worker::new).collect();
    let mut keys = Keys::default();
    let mut totals = BTreeMap::<Outcome, usize>::new();
    let mut slowest = Duration::ZERO;

    for round in 0..effort::rounds(8, 200) {
        // The first rounds are all kinds of ends; then chance decides.
        let victim = VICTIMS.get(round).copied().unwrap_or_else(|| *dice.one_of(&VICTIMS));
        let moment = Duration::from_millis(30 + dice.below(150));
        // Redis rewrites its log beside the stream: the end may come in the middle of that.
        let rewrites = dice.below(2) == 0;
        println!("round {round}: {victim:?} after {moment:?}{}", if rewrites { " and a rewriting" } else { "" });
        let client = Client::new(&server, &admin);
        let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let going: Vec<_> = workers
            .drain(..)
            .map(|worker| {
                let work =
                    worker.work(client.clone(), round, dice.fork(), Arc::clone(&stop), Arc::clone(&acknowledged));
                runtime.spawn(work)
            })
            .collect();
        let redis = server.redis_pid().unwrap();
        // A moment of the stream, not of its beginning: after a kill each of the first changes waits for the end of the lease
        // that the former process held.
        let some = || (acknowledged.load(Ordering::SeqCst) >= 3 * WORKERS).then_some(());
        until(Duration::from_secs(20), "changes", some);
        std::thread::sleep(moment);
        if rewrites {
            // In a log that has grown Redis may have begun by itself.
            match redis::cmd("BGREWRITEAOF").exec(&mut redis_of(&server)) {
                Err(error) if !error.to_string().contains("already in progress") => panic!("{error}"),
                Ok(()) | Err(_) => {}
            }
            std::thread::sleep(Duration::from_millis(dice.below(15)));
        }
        match victim {
            Victim::Server => server.signal(Signal::KILL),
            Victim::Redis => signal(redis, Signal::KILL),
            Victim::RedisThenServer => {
                signal(redis, Signal::KILL);
                server.signal(Signal::KILL);
            }
            Victim::ServerThenRedis => {
                server.signal(Signal::KILL);
                signal(redis, Signal::KILL);
            }
        }
        if matches!(victim, Victim::Redis) {
            // It comes back by itself, and the stream goes on.
            until(Duration::from_secs(10), "the end of it", || (!lives(redis)).then_some(()));
            let before = acknowledged.load(Ordering::SeqCst);
            let more = || (acknowledged.load(Ordering::SeqCst) > before + WORKERS).then_some(());
            until(Duration::from_secs(10), "changes again", more);
            stop.store(true, Ordering::SeqCst);
        }
        let mut records: Vec<Record> = Vec::new();
        for worker in going {
            let (worker, mut done) = runtime.block_on(worker).unwrap_or_else(|error| panic!("round {round}: {error}"));
            workers.push(worker);
            records.append(&mut done);
        }
        if !matches!(victim, Victim::Redis) {
            server.end();
            // One more is killed while it starts.
            if dice.below(3) == 0 {
                let mut early = machine.serve().begun();
                std::thread::sleep(Duration::from_millis(dice.below(250)));
                early.signal(Signal::KILL);
                early.end();
            }
            let began = Instant::now();
            server = machine.serve().ready();
            slowest = slowest.max(began.elapsed());
        } else {
            assert!(!records.iter().any(|record| record.broken), "round {round}: the server ended a connection");
        }

        let client = Client::new(&server, &admin);
        for worker in &mut workers {
            runtime.block_on(worker.check(&client, &mut records));
        }
        let mut redis = redis_of(&server);
        keys.check_acts(&mut redis, &records);
        if round % 10 == 0 {
            keys.check_everything(&mut redis);
        }
        for record in &records {
            *totals.entry(record.outcome).or_default() += 1;
        }
    }
    println!("{totals:?}; slowest start {slowest:?}");
    // Everything is written down when it stops as an operator stops it.
    server.stop();
    let server = machine.serve().ready();
    keys.check_everything(&mut redis_of(&server));
    // Whoever filled the logs and was killed holds his locks for ten seconds.
    until(Duration::from_secs(30), "complete logs", || keys.activity_is_complete(&mut redis_of(&server)).then_some(()));
    keys.check_numbers(&mut redis_of(&server), totals.get(&Outcome::Unknown).copied().unwrap_or(0));
    assert!(totals.get(&Outcome::Done).is_some_and(|done| *done > 100), "{totals:?}");
    server.verify(&admin).expect(200);
    server.stop();
}

pub fn redis_of(server: &Server) -> redis::Connection {
    let client = redis::Client::open(format!("unix://{}", server.socket().display())).unwrap();
    client.get_connection_with_timeout(Duration::from_secs(5)).unwrap()
}
