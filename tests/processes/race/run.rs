//! One race: the load, the admins and the nemesis, and what the checker says of it.

use std::sync::Mutex;
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use super::admins::{ADMINS, administer};
use super::callers::{CALLERS, call, show};
use super::checker::{Bounds, violations};
use super::dice::{Dice, seed};
use super::history::{History, Verification};
use super::line::Line;
use super::nemesis::Fault;
use super::scene::{MAX_STALENESS, Scene};
use super::told::{hardness, violated};
use super::witness::watch;
use crate::effort;

const BOUNDS: Bounds = Bounds {
    max_staleness: MAX_STALENESS,
    recovers: Duration::from_secs(3),
    // And what an issuer waits for before it gives a receipt on a store that it has just met.
    settles: Duration::from_secs(9),
    overlap: Duration::ZERO,
    receipts_may_be_lost: false,
};

/// Every so many strikes at the latest, all becomes well again.
const STRIKES_IN_A_ROW: usize = 4;

/// How much a race does.
pub struct Form {
    /// How many strike at a time.
    hands: usize,
    /// For each kind of fault: at least this long,
    least: Duration,
    /// with so many receipted regenerations
    regenerations: usize,
    /// and so many strikes,
    strikes: usize,
    /// which don't take longer than this.
    most: Duration,
}

impl Form {
    pub fn one_at_a_time() -> Self {
        let seconds = Duration::from_secs;
        if effort::long() {
            Self { hands: 1, least: seconds(30), regenerations: 200, strikes: 15, most: seconds(300) }
        } else {
            Self { hands: 1, least: seconds(3), regenerations: 20, strikes: 3, most: seconds(60) }
        }
    }

    pub fn two_at_a_time() -> Self {
        let one = Self::one_at_a_time();
        Self { hands: 2, least: one.least * 4, ..one }
    }
}

/// Over, also for the others, when it is dropped.
struct Over<'a>(&'a Scene);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

pub fn race(faults: &[Fault], form: Form) {
    let scene = Scene::of_one_redis();
    let watched = watched(&scene, &BOUNDS, |dice| {
        let of_one = |fault: &Fault| plague(&scene, fault, &form, (0..form.hands).map(|_| dice()).collect());
        faults.iter().flat_map(of_one).collect()
    });
    watched.is_right(&scene, &BOUNDS);
}

/// All that happened, and how to have it again.
pub struct Watched {
    pub history: History,
    seed: u64,
}

impl Watched {
    pub fn is_right(&self, scene: &Scene, bounds: &Bounds) {
        let Self { history, seed } = self;
        hardness(history, scene.now(), bounds);
        let found = violations(history, bounds);
        if !found.is_empty() {
            panic!("COUNTERMARK_RACE_SEED={seed}\n{}", violated(history, &found, bounds));
        }
    }
}

/// What happens while tokens are shown and taken away; and what callers heard whom it had wait.
pub fn watched(
    scene: &Scene,
    bounds: &Bounds,
    happens: impl FnOnce(&mut dyn FnMut() -> Dice) -> Vec<Verification>,
) -> Watched {
    let seed = seed();
    println!("COUNTERMARK_RACE_SEED={seed}");
    let mut history = run(scene, bounds, seed, happens);
    history.disturbances = scene.disturbances();
    history.verifications.sort_by_key(|verification| verification.begin);
    Watched { history, seed }
}

fn run(
    scene: &Scene,
    bounds: &Bounds,
    seed: u64,
    happens: impl FnOnce(&mut dyn FnMut() -> Dice) -> Vec<Verification>,
) -> History {
    let mut streams = 0;
    let mut dice = || {
        streams += 1;
        Dice::new(seed, streams)
    };
    scope(|threads| {
        let over = Over(scene);
        let witness = threads.spawn(|| watch(scene));
        let doors = scene.doors().count();
        let callers: Vec<_> = (0..doors * CALLERS)
            .map(|number| {
                let dice = dice();
                threads.spawn(move || call(scene, number % doors, number / doors, dice))
            })
            .collect();
        let admins: Vec<_> = (0..ADMINS)
            .map(|number| {
                let dice = dice();
                threads.spawn(move || administer(scene, number, dice))
            })
            .collect();
        let mut history = History::default();
        history.verifications.extend(happens(&mut dice));
        // Nothing is in the way any more.
        sleep(bounds.recovers);
        scene.calls_for_the_end();
        history.acts.extend(admins.into_iter().flat_map(|admin| admin.join().unwrap()));
        history.verifications.extend(last_tokens(scene));
        drop(over);
        history.verifications.extend(callers.into_iter().flat_map(|caller| caller.join().unwrap()));
        history.states = witness.join().unwrap();
        history
    })
}

/// One kind of fault, again and again.
fn plague(scene: &Scene, fault: &Fault, form: &Form, dice: Vec<Dice>) -> Vec<Verification> {
    let (began, before) = (Instant::now(), scene.regenerations());
    let strikes = Mutex::new(0);
    let heard = scope(|threads| {
        let hands: Vec<_> = dice
            .into_iter()
            .map(|mut dice| {
                let strikes = &strikes;
                threads.spawn(move || {
                    let (mut heard, mut in_a_row) = (Vec::new(), 0);
                    while began.elapsed() < form.least
                        || scene.regenerations() - before < form.regenerations
                        || *strikes.lock().unwrap() < form.strikes
                    {
                        assert!(began.elapsed() < form.most, "{}: too few changes are made", fault.what);
                        heard.extend((fault.strike)(scene, &mut dice));
                        *strikes.lock().unwrap() += 1;
                        in_a_row += 1;
                        if in_a_row == STRIKES_IN_A_ROW || dice.one_in(8) {
                            in_a_row = 0;
                            sleep(fault.settles + dice.between(500, 2_000));
                        } else {
                            sleep(dice.between(50, 600));
                        }
                    }
                    heard
                })
            })
            .collect();
        hands.into_iter().flat_map(|hand| hand.join().unwrap()).collect()
    });
    let (strikes, made) = (strikes.into_inner().unwrap(), scene.regenerations() - before);
    println!("{}: {strikes} times, {made} regenerations within {:.1?}", fault.what, began.elapsed());
    heard
}

/// Each node is asked for the last tokens of every account, and for some that were before.
fn last_tokens(scene: &Scene) -> Vec<Verification> {
    let mut heard = Vec::new();
    for (node, door) in scene.doors().enumerate() {
        let mut line = Line::to(door.address, Duration::from_secs(5));
        for (number, account) in scene.accounts.iter().enumerate() {
            let tokens = account.tokens.lock().unwrap().clone();
            heard.extend(tokens.iter().rev().take(5).map(|token| show(scene, &mut line, node, number, token)));
        }
    }
    heard
}
