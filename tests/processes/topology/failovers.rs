//! The race over a topology: while servers are killed, stopped, cut off and replaced, tokens are shown and taken away.

use std::thread::sleep;
use std::time::{Duration, Instant};

use super::cluster::Cluster;
use super::sentinels::Sentinels;
use crate::effort::rounds;
use crate::machine::Machine;
use crate::race::checker::Bounds;
use crate::race::dice::Dice;
use crate::race::history::{History, Outcome, Time, Verdict};
use crate::race::run::watched;
use crate::race::scene::{MAX_STALENESS, NODES, Scene, Store};

/// Of the race's datasets: what an issuer waits for that meets another server (R4) is this, the lag, and two seconds.
const LEASE_CEILING: Duration = Duration::from_millis(600);
/// `min-replicas-max-lag`
pub const LAG: u64 = 2;
/// Within this all becomes whole again, whatever happened to it.
pub const SOON: Duration = Duration::from_secs(30);
/// The nodes, and the API after them.
pub const ALL: [usize; NODES + 1] = [0, 1, 2, 3];

pub const BOUNDS: Bounds = Bounds {
    max_staleness: MAX_STALENESS,
    // And a second of a machine that runs all of it at once.
    recovers: Duration::from_secs(3 + 1),
    settles: Duration::from_secs(LAG + 2 + 5),
    // Redis counts whole seconds, once a second.
    overlap: Duration::from_secs(LAG + 2),
    receipts_may_be_lost: false,
};

/// Three nodes that must have the word of so many replicas for each change.
fn settings(required: u32) -> String {
    format!("[store]\nreplicas_required = {required}\nreplica_max_lag = \"{LAG}s\"\n")
}

pub fn over_sentinels(machine: Machine, all: &Sentinels, required: u32) -> Scene {
    let primary = all.is_whole(SOON);
    all.servers[primary].told::<()>(&ceiling());
    let feeds = all.servers.iter().map(|server| server.port).collect();
    Scene::of(machine, Store::Several { url: all.url(), settings: settings(required), feeds })
}

pub fn over_cluster(machine: Machine, all: &Cluster) -> Scene {
    let primary = all.serves(all.state_slot()).unwrap();
    all.members[primary].told::<()>(&ceiling());
    let feeds = all.members.iter().map(|member| member.port).collect();
    Scene::of(machine, Store::Several { url: all.url(), settings: settings(1), feeds })
}

/// Leases of a new dataset are no longer than that: so nobody waits for longer ones.
fn ceiling() -> [&'static str; 4] {
    assert_eq!(LEASE_CEILING, Duration::from_millis(600));
    ["HSET", "{cm}:meta", "lease_ceiling_ms", "600"]
}

/// Something that happens to a topology. When it returns, the topology is whole again or becomes so by itself.
pub struct Strike<'a> {
    pub what: &'static str,
    pub strike: &'a dyn Fn(&Scene, &'static str, &mut Dice),
}

/// One strike after the other, each when all is well.
pub fn race(scene: &Scene, bounds: &Bounds, strikes: &[Strike<'_>]) {
    let mut struck: Vec<(&str, Time)> = Vec::new();
    let watched = watched(scene, bounds, |dice| {
        let mut dice = dice();
        for _ in 0..rounds(1, 5) {
            for Strike { what, strike } in strikes {
                more_receipts(scene);
                struck.push((what, scene.now()));
                strike(scene, what, &mut dice);
            }
        }
        more_receipts(scene);
        Vec::new()
    });
    for (number, (what, from)) in struck.iter().enumerate() {
        let until = struck.get(number + 1).map_or(Time::MAX, |(_, next)| *next);
        println!("{what}: {}", outage(&watched.history, *from, until));
    }
    watched.is_right(scene, bounds);
}

/// Waits until tokens are regenerated with receipts, as before.
#[track_caller]
pub fn more_receipts(scene: &Scene) {
    let (before, began) = (scene.regenerations(), Instant::now());
    while scene.regenerations() < before + 5 {
        assert!(began.elapsed() < SOON, "no receipts within {SOON:?}\n{}", scene.logs());
        sleep(Duration::from_millis(20));
    }
}

/// What callers and admins noticed.
fn outage(history: &History, from: Time, until: Time) -> String {
    let within = |time: Time| (from..until).contains(&time);
    let silent = |node: usize| {
        let silent = history.verifications.iter().filter(|one| {
            one.node == node && within(one.begin) && matches!(one.verdict, Verdict::Away | Verdict::Lost)
        });
        let (first, last) = (silent.clone().map(|one| one.begin).min(), silent.map(|one| one.begin).max());
        match first.zip(last) {
            Some((first, last)) => format!("{:.1?} to {:.1?}", first - from, last - from),
            None => "never".to_owned(),
        }
    };
    let receipted = history.acts.iter().filter(|act| matches!(act.outcome, Outcome::Receipt { .. }));
    let receipted = receipted.filter(|act| within(act.end)).map(|act| act.end - from);
    let mut receipted: Vec<Time> = receipted.chain([Time::ZERO]).collect();
    receipted.sort();
    let longest = receipted.windows(2).max_by_key(|pair| pair[1] - pair[0]);
    let gap = longest.map_or("?".to_owned(), |pair| format!("{:.1?} to {:.1?}", pair[0], pair[1]));
    format!("silent, node by node: {}; no receipts from {gap}", ALL.map(silent).join(", "))
}
