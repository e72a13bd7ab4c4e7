//! Cases that are measured in turns: what the machine does in between hits all of them.

use std::cell::Cell;
use std::hint::black_box;
use std::time::{Duration, Instant};

use super::figures::{median, ratio};
use super::signers::Token;

/// How long a case is measured in a round.
const TURN: Duration = Duration::from_millis(60);

/// One thing that is done again and again.
pub struct Case<'a> {
    pub name: String,
    /// Does it so often; for how long.
    act: Box<dyn FnMut(usize) -> Duration + 'a>,
}

/// Tokens of requests that have just been read.
const READ: usize = 256;

impl<'a> Case<'a> {
    pub fn new<T>(name: impl Into<String>, mut act: impl FnMut() -> T + 'a) -> Self {
        let timed = move |times| {
            let began = Instant::now();
            for _ in 0..times {
                black_box(act());
            }
            began.elapsed()
        };
        Self { name: name.into(), act: Box::new(timed) }
    }

    /// With any of these tokens, as it is when its request was just read: in the processor's cache, however many there are.
    pub fn of_tokens<T>(name: impl Into<String>, tokens: &'a [Token], mut act: impl FnMut(&str) -> T + 'a) -> Self {
        let any = Any::of(tokens.len());
        let mut read = vec![String::new(); READ];
        let timed = move |times: usize| {
            let mut taken = Duration::ZERO;
            for done in (0..times).step_by(READ) {
                let now = READ.min(times - done);
                for text in read.iter_mut().take(now) {
                    text.clear();
                    text.push_str(&tokens[any.next()].text);
                }
                let began = Instant::now();
                for text in read.iter().take(now) {
                    black_box(act(text));
                }
                taken += began.elapsed();
            }
            taken
        };
        Self { name: name.into(), act: Box::new(timed) }
    }

    pub fn run(&mut self, times: usize) -> Duration {
        (self.act)(times)
    }

    /// Seconds for each of so many.
    fn seconds(&mut self, times: usize) -> f64 {
        self.run(times).as_secs_f64() / times as f64
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
