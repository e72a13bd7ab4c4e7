//! Many nodes at one server with the state, as a queue: every node renews its lease and reads each change, every issuer waits
//! for all of them. What each of those takes of the server is measured; when they come is simulated.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::costs::Costs;
use super::figures::{Figure, number};

/// Microseconds.
type Time = u64;

/// On its way to the server, or back.
const WAY: Time = 100;
/// Between two looks of an issuer at the table, at first and at the most.
const FIRST_LOOK: Time = 1_000;
const LAST_LOOK: Time = 20_000;
const SECOND: Time = 1_000_000;
/// What is simulated, and from when on it is counted.
const END: Time = 20 * SECOND;
const COUNTED: Time = 5 * SECOND;

/// What is put upon the server.
pub struct Scene {
    pub accounts: u64,
    pub nodes: u64,
    /// In a second.
    pub changes: u64,
    /// In a second, of all nodes: accounts that they don't have in memory.
    pub look_ups: u64,
    pub issuers: u64,
    /// Of a lease, in microseconds.
    pub lease: Time,
}

impl Scene {
    pub fn all() -> Vec<Self> {
        let large =
            Self { accounts: 10_000_000, nodes: 1_000, changes: 100, look_ups: 5_000, issuers: 3, lease: SECOND / 2 };
        vec![
            Self { nodes: 100, changes: 10, look_ups: 500, ..large },
            Self { nodes: 1_000, changes: 10, ..large },
            Self { nodes: 300, ..large },
            Self { lease: 2 * SECOND, ..large },
            large,
        ]
    }

    fn name(&self) -> String {
        format!(
            "{} accounts, {} nodes, {} changes and {} look-ups a second, leases of {} ms",
            number(self.accounts as f64),
            number(self.nodes as f64),
            self.changes,
            number(self.look_ups as f64),
            self.lease / 1_000
        )
    }
}

/// What came of it.
pub struct Outcome {
    /// The share of the server's processor that was taken.
    pub busy: f64,
    /// Of receipts.
    pub p50: Time,
    pub p99: Time,
    /// The longest that a question of any kind waited for its turn.
    pub longest_queue: Time,
    /// Leases that ended before the next renewal counted, of all renewals.
    pub lapsed: f64,
}

impl Outcome {
    pub fn figures(&self, scene: &Scene) -> Vec<Figure> {
        let of = scene.name();
        let ms = |time: Time| time as f64 / 1e3;
        vec![
            Figure::new("simulated: share of the processor of the server with the state", self.busy, "").of(of.clone()),
            Figure::new("simulated: receipt, p50", ms(self.p50), "ms").of(of.clone()),
            Figure::new("simulated: receipt, p99", ms(self.p99), "ms").of(of.clone()),
            Figure::new("simulated: the longest queue", ms(self.longest_queue), "ms").of(of.clone()),
            Figure::new("simulated: renewals that came too late", self.lapsed, "").of(of),
        ]
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// Arrives at the server.
    Renewal {
        node: usize,
    },
    Change {
        issuer: usize,
    },
    LookUp,
    Reading {
        node: usize,
    },
    Table {
        issuer: usize,
        pause: Time,
    },
    /// A node begins to wait for a change.
    Waits {
        node: usize,
    },
}

struct Node {
    applied: u64,
    reported: u64,
    waits: bool,
    /// Of a renewal: when it was sent, and which epoch it returned. It counts once that is applied.
    pending: Option<(Time, u64)>,
    fresh_until: Time,
}

struct World<'a> {
    scene: &'a Scene,
    costs: &'a Costs,
    queue: BinaryHeap<Reverse<(Time, u64, Event)>>,
    numbers: u64,
    /// Until when the server is busy.
    free_at: Time,
    taken: Time,
    longest_queue: Time,
    epoch: u64,
    nodes: Vec<Node>,
    /// Changes of each issuer that have no receipt yet: the epoch, when it was asked for.
    open: Vec<Vec<(u64, Time)>>,
    looks: Vec<bool>,
    receipts: Vec<Time>,
    renewals: u64,
    lapsed: u64,
}

pub fn simulate(scene: &Scene, costs: &Costs) -> Outcome {
    let node = || Node { applied: 0, reported: 0, waits: false, pending: None, fresh_until: scene.lease };
    let mut world = World {
        scene,
        costs,
        queue: BinaryHeap::new(),
        numbers: 0,
        free_at: 0,
        taken: 0,
        longest_queue: 0,
        epoch: 0,
        nodes: (0..scene.nodes).map(|_| node()).collect(),
        open: vec![Vec::new(); scene.issuers as usize],
        looks: vec![false; scene.issuers as usize],
        receipts: Vec::new(),
        renewals: 0,
        lapsed: 0,
    };
    for node in 0..world.nodes.len() {
        let share = scene.lease / 3 * node as u64 / scene.nodes;
        world.at(share, Event::Renewal { node });
        world.at(share, Event::Waits { node });
    }
    world.at(0, Event::Change { issuer: 0 });
    world.at(0, Event::LookUp);
    world.run()
}

impl World<'_> {
    fn at(&mut self, time: Time, event: Event) {
        self.numbers += 1;
        self.queue.push(Reverse((time, self.numbers, event)));
    }

    /// Takes the server for so many microseconds; when it is done.
    fn served(&mut self, now: Time, cost: f64) -> Time {
        let cost = cost.round() as Time;
        let begins = self.free_at.max(now);
        if now >= COUNTED {
            self.longest_queue = self.longest_queue.max(begins - now);
            self.taken += cost;
        }
        self.free_at = begins + cost;
        self.free_at
    }

    fn run(mut self) -> Outcome {
        while let Some(Reverse((now, _, event))) = self.queue.pop() {
            if now >= END {
                break;
            }
            match event {
                Event::Renewal { node } => self.renews(now, node),
                Event::Change { issuer } => self.changes(now, issuer),
                Event::LookUp => {
                    self.served(now, self.costs.look_up);
                    self.at(now + self.spread(now, self.scene.look_ups), Event::LookUp);
                }
                Event::Waits { node } => self.waits(now, node),
                Event::Reading { node } => self.reads(now, node),
                Event::Table { issuer, pause } => self.looks_at_table(now, issuer, pause),
            }
        }
        self.receipts.sort_unstable();
        let quantile = |share: f64| {
            let place = (self.receipts.len() as f64 * share) as usize;
            self.receipts.get(place.min(self.receipts.len().saturating_sub(1))).copied().unwrap_or(Time::MAX)
        };
        Outcome {
            busy: self.taken as f64 / (END - COUNTED) as f64,
            p50: quantile(0.5),
            p99: quantile(0.99),
            longest_queue: self.longest_queue,
            lapsed: self.lapsed as f64 / self.renewals.max(1) as f64,
        }
    }

    /// The time until the next of so many a second: not all at the same distance, and the same in each run.
    fn spread(&self, now: Time, a_second: u64) -> Time {
        let every = SECOND / a_second.max(1);
        let dice = (now ^ self.numbers).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        (every / 2 + dice % every.max(1)).max(1)
    }

    fn renews(&mut self, now: Time, node: usize) {
        let done = self.served(now, self.costs.renewal);
        let sent = now.saturating_sub(WAY);
        let (epoch, lease) = (self.epoch, self.scene.lease);
        let one = &mut self.nodes[node];
        if now >= COUNTED {
            self.renewals += 1;
            self.lapsed += u64::from(one.fresh_until < now);
        }
        one.pending = Some((sent, epoch));
        if one.applied >= epoch {
            one.fresh_until = one.fresh_until.max(sent + lease);
        }
        let next = (now + lease / 3).max(done);
        self.at(next, Event::Renewal { node });
    }

    fn changes(&mut self, now: Time, issuer: usize) {
        let done = self.served(now, self.costs.change + self.costs.table);
        self.epoch += 1;
        // Whoever waits is woken in the same turn.
        for node in 0..self.nodes.len() {
            if std::mem::take(&mut self.nodes[node].waits) {
                let woken = self.served(now, self.costs.wake);
                self.at(woken + 2 * WAY, Event::Reading { node });
            }
        }
        self.open[issuer].push((self.epoch, now));
        if !std::mem::replace(&mut self.looks[issuer], true) {
            self.at(done + 2 * WAY, Event::Table { issuer, pause: FIRST_LOOK });
        }
        let next = (issuer + 1) % self.open.len();
        self.at(now + self.spread(now, self.scene.changes), Event::Change { issuer: next });
    }

    fn waits(&mut self, now: Time, node: usize) {
        if self.nodes[node].applied < self.epoch {
            let answered = self.served(now, self.costs.wake);
            self.at(answered + 2 * WAY, Event::Reading { node });
        } else {
            self.served(now, self.costs.wake / 2.0);
            self.nodes[node].waits = true;
        }
    }

    /// It reports what it has applied, and gets what comes after it. Once there is nothing, it waits.
    fn reads(&mut self, now: Time, node: usize) {
        let found = self.nodes[node].applied < self.epoch;
        let done = self.served(now, if found { self.costs.reading } else { self.costs.idle_reading });
        let (epoch, lease) = (self.epoch, self.scene.lease);
        let one = &mut self.nodes[node];
        one.reported = one.applied;
        if found {
            one.applied = epoch;
            if let Some((sent, returned)) = one.pending.take()
                && returned <= epoch
            {
                one.fresh_until = one.fresh_until.max(sent + lease);
            }
            self.at(done + 2 * WAY, Event::Reading { node });
            return;
        }
        self.at(done + 2 * WAY, Event::Waits { node });
    }

    fn looks_at_table(&mut self, now: Time, issuer: usize, pause: Time) {
        let done = self.served(now, self.costs.table);
        let reported = self.nodes.iter().map(|node| node.reported).min().unwrap_or(u64::MAX);
        let (held, open): (Vec<_>, Vec<_>) = self.open[issuer].drain(..).partition(|(epoch, _)| *epoch <= reported);
        self.open[issuer] = open;
        let told = held.into_iter().filter(|(_, asked)| *asked >= COUNTED);
        self.receipts.extend(told.map(|(_, asked)| done + WAY - asked));
        if self.open[issuer].is_empty() {
            self.looks[issuer] = false;
        } else {
            self.at(done + 2 * WAY + pause, Event::Table { issuer, pause: (pause * 3 / 2).min(LAST_LOOK) });
        }
    }
}
