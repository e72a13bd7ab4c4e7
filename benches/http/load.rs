//! Loads, round by round.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use super::figures::{Figure, Load, median, number, ratio};
use super::processes::{CLIENT, pinned, processor_seconds, settle};
use super::reading::{Answered, of_h2load, of_wrk};

const CONNECTIONS: &str = "-c32";

/// What clients send.
#[derive(Debug, Clone)]
pub enum Requests {
    /// Tokens of a small set, again and again.
    Hot { tokens: PathBuf, path: String },
    /// Each request another account's, as far as the file goes.
    Cold { tokens: PathBuf, path: String, line: u64 },
    /// The same, as a POST with this token.
    Post { tokens: PathBuf, path: String, line: u64, bearer: String },
    /// HTTP/2, with one of these tokens in each round.
    Multiplexed { tokens: Vec<String>, path: String },
}

/// A server, and the load that it is put under.
pub struct Contestant {
    server: String,
    url: String,
    requests: Requests,
    /// The server first, whose time is counted, then all that it sets to work.
    pids: Vec<u32>,
    sent: u64,
    rounds: Vec<Round>,
}

struct Round {
    answered: Answered,
    /// Of the server, in seconds: while it was under load, and until it had nothing left to do.
    taken: f64,
    taken_in_the_end: f64,
    rest: Duration,
}

impl Contestant {
    pub fn new(server: &str, url: &str, requests: &Requests, pids: &[u32]) -> Self {
        Self {
            server: server.to_owned(),
            url: url.to_owned(),
            requests: requests.clone(),
            pids: pids.to_vec(),
            sent: 0,
            rounds: Vec::new(),
        }
    }

    /// One load of so many seconds, of which nothing is kept.
    pub fn warm(&mut self, seconds: u64) -> Duration {
        let round = self.drive(seconds);
        round.rest
    }

    /// One load of so many seconds, of which all is kept.
    pub fn measure(&mut self, seconds: u64) {
        let round = self.drive(seconds);
        self.rounds.push(round);
    }

    fn drive(&mut self, seconds: u64) -> Round {
        let before = processor_seconds(self.pids[0]);
        let answered = self.send(seconds);
        let taken = processor_seconds(self.pids[0]) - before;
        let rest = settle(&self.pids);
        let taken_in_the_end = processor_seconds(self.pids[0]) - before;
        assert_eq!(answered.failed, 0, "{}: not every answer is a success: {answered:?}", self.server);
        Round { answered, taken, taken_in_the_end, rest }
    }

    fn send(&mut self, seconds: u64) -> Answered {
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let place = |sent: u64, line: u64, tokens: &Path| {
            let lines = std::fs::metadata(tokens).unwrap().len() / line;
            (sent % lines * line).to_string()
        };
        let mut arguments: Vec<String> = Vec::new();
        match &self.requests {
            Requests::Hot { tokens, path } => arguments.extend(["hot".into(), text(tokens), path.clone()]),
            Requests::Cold { tokens, path, line } => {
                let offset = place(self.sent, *line, tokens);
                arguments.extend(["cold".into(), text(tokens), path.clone(), offset]);
            }
            Requests::Post { tokens, path, line, bearer } => {
                let offset = place(self.sent, *line, tokens);
                arguments.extend(["post".into(), text(tokens), path.clone(), offset, bearer.clone()]);
            }
            Requests::Multiplexed { tokens, path } => {
                let token = &tokens[self.rounds.len() % tokens.len()];
                return multiplexed(&format!("{}{path}", self.url), token, seconds);
            }
        }
        let mut command = pinned(CLIENT, "wrk");
        command.args(["-t1", CONNECTIONS, &format!("-d{seconds}"), "-s"]);
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/http/drive.lua"));
        let output = command.arg(&self.url).arg("--").args(arguments).stderr(Stdio::inherit()).output().unwrap();
        let output = String::from_utf8_lossy(&output.stdout);
        let answered = of_wrk(&output).unwrap_or_else(|| panic!("{}: wrk says {output}", self.server));
        // A few more went out than were answered; whoever was asked just now need not be asked again at once.
        self.sent += answered.requests as u64 + 64;
        answered
    }

    /// Requests so far, and a few more.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    fn of_each(&self, value: impl Fn(&Round) -> f64) -> Vec<f64> {
        self.rounds.iter().map(value).collect()
    }

    pub fn rates(&self) -> Vec<f64> {
        self.of_each(|round| round.answered.requests / round.answered.seconds)
    }

    pub fn p99s(&self) -> Vec<f64> {
        self.of_each(|round| round.answered.p99_us.unwrap_or(f64::NAN))
    }

    /// Microseconds of the server's own for a request.
    pub fn costs(&self) -> Vec<f64> {
        self.of_each(|round| round.taken * 1e6 / round.answered.requests)
    }

    pub fn costs_in_the_end(&self) -> Vec<f64> {
        self.of_each(|round| round.taken_in_the_end * 1e6 / round.answered.requests)
    }

    pub fn requests(&self) -> f64 {
        self.of_each(|round| round.answered.requests).iter().sum()
    }

    /// Seconds until it had nothing left to do after a round.
    pub fn rests(&self) -> Vec<f64> {
        self.of_each(|round| round.rest.as_secs_f64())
    }

    pub fn load(&self, what: &str) -> Load {
        let quantile = |value: fn(&Answered) -> Option<f64>| {
            let found = median(self.of_each(|round| value(&round.answered).unwrap_or(f64::NAN)));
            Some(found).filter(|value| value.is_finite())
        };
        Load {
            what: what.to_owned(),
            server: self.server.clone(),
            per_second: median(self.rates()),
            p50_us: quantile(|answered| answered.p50_us),
            p99_us: quantile(|answered| answered.p99_us),
            cpu_us: median(self.costs()),
            cpu_in_the_end_us: median(self.costs_in_the_end()),
            busy: median(self.of_each(|round| round.taken / round.answered.seconds)),
            rounds: self.rounds.len(),
        }
    }
}

/// h2load can't take turns with tokens: the header is the same for all requests.
fn multiplexed(url: &str, token: &str, seconds: u64) -> Answered {
    let mut command = pinned(CLIENT, "h2load");
    command.args(["-t1", "-c8", "-m16", "-D", &seconds.to_string(), "-H", &format!("Authorization: Bearer {token}")]);
    let output = command.arg(url).stderr(Stdio::inherit()).output().unwrap();
    let output = String::from_utf8_lossy(&output.stdout);
    of_h2load(&output, seconds as f64).unwrap_or_else(|| panic!("h2load says {output}"))
}

/// Every contestant once, again and again.
pub fn contest(contestants: &mut [&mut Contestant], rounds: usize, seconds: u64) {
    for contestant in contestants.iter_mut() {
        contestant.warm(seconds);
    }
    for _ in 0..rounds {
        for contestant in contestants.iter_mut() {
            contestant.measure(seconds);
        }
    }
}

/// One's rate as a share of the other's.
pub fn rates(what: &str, ours: &Contestant, theirs: &Contestant) -> Figure {
    compare(what, "requests/s", &ours.rates(), &theirs.rates())
}

/// One's 99th percentile, in the other's.
pub fn p99s(what: &str, ours: &Contestant, theirs: &Contestant) -> Figure {
    compare(what, "µs", &ours.p99s(), &theirs.p99s())
}

/// One's processor time for a request, in the other's, all that it does later included.
pub fn costs(what: &str, ours: &Contestant, theirs: &Contestant) -> Figure {
    compare(what, "µs", &ours.costs_in_the_end(), &theirs.costs_in_the_end())
}

pub fn compare(what: &str, unit: &str, ours: &[f64], theirs: &[f64]) -> Figure {
    let middle = |values: &[f64]| number(median(values.iter().copied()));
    Figure::new(what, ratio(ours, theirs), "").of(format!("{} to {} {unit}", middle(ours), middle(theirs)))
}
