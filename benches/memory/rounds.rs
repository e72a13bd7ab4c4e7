//! Cases that are measured in turns: what the machine does in between hits all of them.

use std::cell::Cell;
use std::hint::black_box;
use std::time::{Duration, Instant};

use super::figures::{median, ratio};

/// How long a case is measured in a round.
const TURN: Duration = Duration::from_millis(60);

/// One thing that is done again and again.
pub struct Case<'a> {
    pub name: String,
    act: Box<dyn FnMut(usize) + 'a>,
}

impl<'a> Case<'a> {
    pub fn new<T>(name: impl Into<String>, mut act: impl FnMut() -> T + 'a) -> Self {
        Self::of_many(name, move |times| {
            for _ in 0..times {
                black_box(act());
            }
        })
    }

    /// The same for what begins anew with each turn.
    pub fn of_many(name: impl Into<String>, act: impl FnMut(usize) + 'a) -> Self {
        Self { name: name.into(), act: Box::new(act) }
    }

    pub fn run(&mut self, times: usize) {
        (self.act)(times);
    }

    /// Seconds for each of so many.
    fn seconds(&mut self, times: usize) -> f64 {
        let began = Instant::now();
        self.run(times);
        began.elapsed().as_secs_f64() / times as f64
    }
}

/// How long each case took, in microseconds, in each round.
pub struct Times(Vec<(String, Vec<f64>)>);

impl Times {
    pub fn of(mut cases: Vec<Case<'_>>, rounds: usize) -> Self {
        let times: Vec<usize> = cases
            .iter_mut()
            .map(|case| {
                case.run(100);
                (TURN.as_secs_f64() / case.seconds(1000)).max(1.0) as usize
            })
            .collect();
        let mut measured: Vec<(String, Vec<f64>)> = cases.iter().map(|case| (case.name.clone(), vec![])).collect();
        for _ in 0..rounds {
            for ((case, times), (_, values)) in cases.iter_mut().zip(&times).zip(&mut measured) {
                values.push(case.seconds(*times) * 1e6);
            }
        }
        Self(measured)
    }

    fn all(&self, name: &str) -> &[f64] {
        let found = self.0.iter().find(|(known, _)| known == name);
        &found.unwrap_or_else(|| panic!("no case {name}")).1
    }

    pub fn median(&self, name: &str) -> f64 {
        median(self.all(name).iter().copied())
    }

    /// Of one case to another.
    pub fn ratio(&self, name: &str, to: &str) -> f64 {
        ratio(self.all(name), self.all(to))
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }
}

/// Which one of so many comes next: any, each as often.
pub struct Any {
    state: Cell<u64>,
    most: u64,
}

impl Any {
    pub fn of(most: usize) -> Self {
        Self { state: Cell::new(0x9e37_79b9_7f4a_7c15), most: most as u64 }
    }

    pub fn next(&self) -> usize {
        // xorshift64 (Marsaglia 2003).
        let mut state = self.state.get();
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        self.state.set(state);
        ((u128::from(state) * u128::from(self.most)) >> 64) as usize
    }
}
