//! A server under attack: one who asks about a live token all the while, and what the server's process uses.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::task::JoinSet;

use super::wire::{Attacker, verifies_on};
use crate::effort::rounds;
use crate::machine::Machine;
use crate::server::{Server, Start};
use crate::until::until;

/// What a question may take under attack, on a machine that does other things too.
fn answered_within() -> Duration {
    Duration::from_secs(rounds(5, 15) as u64)
}

const AGAIN: Duration = Duration::from_millis(50);
/// Questions asked during an attack.
const QUESTIONS: usize = 20;
/// For each thousand attackers.
const BUILDS_UP: Duration = Duration::from_millis(500);
const MB: u64 = 1024 * 1024;

pub struct Scene {
    pub server: Server,
    token: String,
    /// How long whoever is thrown out stays away.
    pause: Duration,
    _machine: Machine,
}

/// What the process had before the attack.
struct Before {
    memory: u64,
    files: usize,
}

impl Scene {
    /// TLS first, plain HTTP on the loopback second.
    pub fn start(config: &str) -> Self {
        Self::start_with(config, |start| start)
    }

    pub fn start_with(config: &str, change: impl FnOnce(Start) -> Start) -> Self {
        // Every attacker is an open file of this process.
        let files = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files }).unwrap();
        let machine = Machine::new();
        let start = machine.serve().listen("127.0.0.1:0").listen("http://127.0.0.1:0").config(config);
        let server = change(start).ready();
        let (_, token) = server.create("ci", "auditor");
        server.verify(&token).expect(200);
        Self { server, token, pause: Duration::from_secs(1), _machine: machine }
    }

    /// Whoever is thrown out comes back at once.
    pub fn without_pause(self) -> Self {
        Self { pause: Duration::ZERO, ..self }
    }

    /// The live token with another signature.
    pub fn forged(&self) -> String {
        let (signed, signature) = self.token.rsplit_once('.').unwrap();
        let other = if signature.starts_with('A') { "B" } else { "A" };
        format!("{signed}.{other}{}", &signature[1..])
    }

    /// `attackers` do this, again and again (whoever is thrown out comes back), while somebody asks about a live
    /// token on one new connection after the other, and on one that he keeps. Afterwards nothing of it is left, and it took at most so much memory.
    /// How often somebody was thrown out.
    pub fn endures<F, A>(&self, attackers: usize, megabytes: u64, attack: A) -> usize
    where
        A: Fn(Arc<Attacker>) -> F + Send + Sync + 'static,
        F: Future<Output = std::io::Result<()>> + Send + 'static,
    {
        let before = self.before();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let ends = Arc::new(AtomicUsize::new(0));
        let slowest = runtime.block_on(self.asked_while_attacked(attackers, attack, &ends));
        runtime.shutdown_background();
        let took = status(self.server.pid(), "VmHWM").saturating_sub(before.memory) / MB;
        println!("{attackers} attackers: {took} MB, the slowest answer took {slowest:?}");
        assert!(took <= megabytes, "{took} MB more");
        self.is_as(&before);
        ends.load(Ordering::Relaxed)
    }

    async fn asked_while_attacked<F, A>(&self, attackers: usize, attack: A, ends: &Arc<AtomicUsize>) -> Duration
    where
        A: Fn(Arc<Attacker>) -> F + Send + Sync + 'static,
        F: Future<Output = std::io::Result<()>> + Send + 'static,
    {
        let attack = Arc::new(attack);
        let attacker = Arc::new(Attacker::of(&self.server));
        let honest = Attacker::of(&self.server);
        // One who keeps his connection, older than any of theirs.
        let mut regular = honest.http1().await.unwrap();
        assert_eq!(verifies_on(&mut regular, &self.token).await.unwrap(), 200);
        let begun = Arc::new(tokio::sync::Semaphore::new(0));
        let pause = self.pause;
        let mut flood = JoinSet::new();
        for number in 0..attackers {
            let (attack, who, ends) = (Arc::clone(&attack), attacker.begins(&begun), Arc::clone(ends));
            flood.spawn(async move {
                // What arrives all at once is a test of the machine: each handshake waits for all before it.
                tokio::time::sleep(BUILDS_UP.mul_f64(number as f64 / 1_000.0)).await;
                loop {
                    // An end is an end, however it came.
                    let _ = attack(Arc::clone(&who)).await;
                    ends.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(pause).await;
                }
            });
        }
        // Questions while it builds up, and then when all are there.
        let everybody = u32::try_from(attackers).unwrap();
        let mut slowest = Duration::ZERO;
        let (mut asked, mut asked_in_full) = (0, 0);
        let began = Instant::now();
        while asked_in_full < QUESTIONS {
            assert!(began.elapsed() < Duration::from_secs(540), "only {} of them have come", begun.available_permits());
            let took = self.asks(&honest).await;
            slowest = slowest.max(took);
            let kept = async {
                // As below: a machine that has no time for it can't know in time.
                loop {
                    match verifies_on(&mut regular, &self.token).await.unwrap() {
                        503 => println!("503 on a kept connection"),
                        status => break assert_eq!(status, 200),
                    }
                    tokio::time::sleep(AGAIN).await;
                }
            };
            tokio::time::timeout(answered_within(), kept).await.expect("a kept connection is not answered in time");
            asked += 1;
            if begun.available_permits() >= everybody as usize {
                asked_in_full += 1;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        println!("asked {asked} times");
        slowest
    }

    /// Asks as a client does: on a new connection, and again on another if that one broke, or if what is known of the token
    /// was too old when it came (both tests and attackers leave little of the machine), within the time.
    async fn asks(&self, honest: &Attacker) -> Duration {
        let began = Instant::now();
        let asking = async {
            loop {
                match honest.verifies(&self.token).await {
                    Ok(503) => println!("503 on a new connection"),
                    Ok(status) => break status,
                    Err(error) => println!("asked in vain: {error}"),
                }
                tokio::time::sleep(AGAIN).await;
            }
        };
        let status =
            tokio::time::timeout(answered_within(), asking).await.expect("a live token is not answered in time");
        assert_eq!(status, 200);
        began.elapsed()
    }

    fn before(&self) -> Before {
        let pid = self.server.pid();
        // proc(5): sets the peak to what is used now.
        std::fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
        Before { memory: status(pid, "VmRSS"), files: files(pid) }
    }

    fn is_as(&self, before: &Before) {
        // The store's own connections come and go.
        until(Duration::from_secs(30), "all files are closed", || {
            (files(self.server.pid()) <= before.files + 4).then_some(())
        });
        // Counted once a second.
        until(Duration::from_secs(30), "all connections are gone", || (self.gauge("connections") == 0).then_some(()));
        self.is_well();
    }

    /// That it is ready, and lets a live token in.
    pub fn is_well(&self) {
        assert!(self.server.is_ready());
        self.server.verify(&self.token).expect(200);
    }

    /// That some had to make room for others.
    pub fn was_full(&self) {
        let displaced = || (self.gauge("connections_displaced_total") > 0).then_some(());
        until(Duration::from_secs(5), "somebody was displaced", displaced);
    }

    /// A number of the metrics.
    fn gauge(&self, name: &str) -> u64 {
        let metrics = self.server.operations("/metrics").send().body;
        let line = metrics.lines().find_map(|line| line.strip_prefix(&format!("countermark_{name} ")));
        line.unwrap_or_else(|| panic!("no {name}")).parse().unwrap()
    }
}

pub fn files(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// A size out of `/proc/PID/status`, in bytes.
fn status(pid: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    let kilobytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kilobytes * 1024
}
