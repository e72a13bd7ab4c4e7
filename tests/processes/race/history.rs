//! What happened: who asked what, when, and what came of it. Times are of this machine's one monotonic clock, since the run
//! began; no token stands here.

use std::fmt;
use std::time::Duration;

pub type Time = Duration;
/// Term and counter.
pub type Epoch = (u64, u64);

/// What an admin asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Regenerate,
    Revoke,
    Disable,
    Enable,
}

/// What he was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It holds everywhere; the generation is that of a new token.
    Receipt { epoch: Epoch, generation: u64, acknowledged: u64, expired: u64 },
    /// It was not made and never will be: why.
    Nothing(String),
    /// It may have been made, and may be made yet, by a command that is still under way: why.
    Unknown(String),
}

#[derive(Debug, Clone)]
pub struct Act {
    pub account: usize,
    pub change: Change,
    /// The node that was asked.
    pub node: usize,
    pub begin: Time,
    pub end: Time,
    pub outcome: Outcome,
}

/// What a caller with a token was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Accepted,
    Superseded,
    Revoked,
    Disabled,
    /// 503.
    Away,
    /// No answer.
    Lost,
    /// What nobody should ever be told here.
    Other(String),
}

#[derive(Debug, Clone)]
pub struct Verification {
    pub node: usize,
    pub account: usize,
    /// Of the token.
    pub generation: u64,
    /// Before it was sent.
    pub begin: Time,
    /// After it was answered.
    pub end: Time,
    pub verdict: Verdict,
}

/// What an account became by a change, as the store's feed has it.
#[derive(Debug, Clone)]
pub struct State {
    pub account: usize,
    pub epoch: Epoch,
    pub generation: u64,
    pub has_token: bool,
    pub active: bool,
    /// It was committed after this time,
    pub after: Time,
    /// and by this one.
    pub by: Time,
    /// A failover lost it: it was committed by a server that was replaced, and is in no feed any more.
    pub lost: bool,
}

impl State {
    /// What the holder of a token of this generation is told.
    pub fn verdict(&self, generation: u64) -> Verdict {
        match (self.active, self.has_token, generation == self.generation) {
            (false, ..) => Verdict::Disabled,
            (true, true, true) => Verdict::Accepted,
            (true, true, false) => Verdict::Superseded,
            (true, false, _) => Verdict::Revoked,
        }
    }
}

/// A time in which a node, its store, or the way between them, was tampered with.
#[derive(Debug, Clone)]
pub struct Disturbance {
    pub node: usize,
    pub what: &'static str,
    pub from: Time,
    pub until: Time,
}

#[derive(Debug, Default)]
pub struct History {
    pub acts: Vec<Act>,
    pub verifications: Vec<Verification>,
    pub states: Vec<State>,
    pub disturbances: Vec<Disturbance>,
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { account, change, node, begin, end, outcome } = self;
        write!(f, "{begin:.3?} to {end:.3?}: account {account}, {change:?} through node {node}: {outcome:?}")
    }
}

impl fmt::Display for Verification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, account, generation, begin, end, verdict } = self;
        write!(f, "{begin:.3?} to {end:.3?}: account {account}, generation {generation} at node {node}: {verdict:?}")
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { account, epoch: (term, counter), generation, has_token, active, after, by, lost } = self;
        let lost = if *lost { ", and that was lost" } else { "" };
        write!(
            f,
            "{after:.3?} to {by:.3?}: account {account} became epoch {term}-{counter}: generation {generation}, \
             token {has_token}, active {active}{lost}"
        )
    }
}

impl fmt::Display for Disturbance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, what, from, until } = self;
        write!(f, "{from:.3?} to {until:.3?}: node {node}: {what}")
    }
}
