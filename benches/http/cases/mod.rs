//! What is measured.

mod cluster;
mod cold;
mod console;
mod export;
mod flat;
mod issue;
mod start;
mod verify;

use std::cell::OnceCell;
use std::path::Path;

use clap::ValueEnum;

use super::dataset::Dataset;
use super::figures::Part;
use super::node::{Certificate, Node};

/// Accounts of the large store, and how many of them show a token.
const MANY: usize = 1_000_000;
const COLD_TOKENS: usize = 300_000;
/// The same of the small one.
const FEW: usize = 1_000;
const FEW_TOKENS: usize = 500;
/// Tokens of a hot set.
const HOT: usize = 200;

/// Streams as long as they get in an hour of such a load need no disk of their own.
const SHORT_STREAMS: &str = "[audit]\nfirehose_max_entries = 2000\n";
/// A node that records no calls.
const NO_CALLS: &str = "[audit]\ncalls = \"danger_off\"\n";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Case {
    /// A hot set of tokens, beside all peers.
    Verify,
    /// Each call another account.
    Cold,
    /// New tokens.
    Issue,
    /// 1,000 accounts beside 1,000,000.
    Flat,
    /// A node's first second, and its memory.
    Start,
    /// Pages, with much to show. Only where it is named: what they show is made first, which takes a quarter of an hour.
    Console,
    /// A million accounts on a Redis Cluster, and what ten million with a thousand nodes would cost. Only where it is named.
    Cluster,
}

impl Case {
    pub fn all() -> Vec<Self> {
        Self::value_variants().iter().copied().filter(|case| !matches!(case, Self::Console | Self::Cluster)).collect()
    }
}

pub struct Bench {
    rounds: usize,
    seconds: u64,
    directory: tempfile::TempDir,
    certificate: Certificate,
    large: OnceCell<Dataset>,
    small: OnceCell<Dataset>,
}

impl Bench {
    pub fn new(rounds: usize, seconds: u64) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let certificate = Certificate::make(directory.path());
        Self { rounds, seconds, directory, certificate, large: OnceCell::new(), small: OnceCell::new() }
    }

    pub fn run(&self, case: Case) -> Part {
        eprintln!("measuring: {case:?}");
        match case {
            Case::Verify => verify::run(self),
            Case::Cold => cold::run(self),
            Case::Issue => issue::run(self),
            Case::Flat => flat::run(self),
            Case::Start => start::run(self),
            Case::Console => console::run(self),
            Case::Cluster => cluster::run(self),
        }
    }

    fn directory(&self) -> &Path {
        self.directory.path()
    }

    fn large(&self) -> &Dataset {
        self.large.get_or_init(|| Dataset::make(self.directory(), &self.certificate, MANY, COLD_TOKENS))
    }

    fn small(&self) -> &Dataset {
        self.small.get_or_init(|| Dataset::make(self.directory(), &self.certificate, FEW, FEW_TOKENS))
    }

    /// One of so many accounts, with tokens for so many.
    fn filled(&self, accounts: usize, tokens: usize) -> Dataset {
        Dataset::make(&self.directory().join("filled"), &self.certificate, accounts, tokens)
    }

    /// A store of its own: nodes of one dataset do each other's work.
    fn of(&self, accounts: usize) -> Dataset {
        Dataset::make(&self.directory().join("own"), &self.certificate, accounts, accounts)
    }

    fn node(&self, dataset: &Dataset, name: &str, settings: &str) -> Node {
        dataset.node(name, &self.certificate, settings)
    }

    /// Whether nodes can be told to record no calls.
    fn can_be_without_audit(&self) -> bool {
        Node::knows(self.directory(), NO_CALLS)
    }
}
