//! Whether a history is one that may be.
//!
//! The store's feed says in which states each account was, one after the other, and when at the latest each of them began. What
//! a caller was told must be true of one of the states that the account was in between
//! - the last change that was receipted before he asked (R1), and the lease's length before he asked (F2), whichever is later,
//! - and the answer.
//!
//! So a refusal of a token that was current all the time, or one with a wrong reason, is found by the same rule.
//!
//! A failover may lose changes that were not receipted. Until then they were true, of the server that was replaced and of those who
//! still asked it; afterwards what was before them is true again.

use std::collections::BTreeMap;

use super::history::{Act, Change, Disturbance, Epoch, History, Outcome, State, Time, Verdict, Verification};

/// What is promised of times.
pub struct Bounds {
    /// The length of a lease.
    pub max_staleness: Time,
    /// How soon all is well again after a disturbance, for verifications;
    pub recovers: Time,
    /// and for changes: an issuer that meets another store lets all leases of before run out first (R4).
    pub settles: Time,
    /// How long a primary that was replaced may go on answering before it notices (F2).
    pub overlap: Time,
    /// Whether a replica may be promoted that did not confirm what was receipted: then that may be lost.
    pub receipts_may_be_lost: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Claim {
    /// Nobody is let in by what a receipted change had ended before he asked.
    R1,
    /// Nobody is let in by what had ended a lease's length before he asked.
    F2,
    /// No two tokens share a generation, and it only rises.
    S1,
    /// A receipt is given for a change that is in the store, and what was not made is not there.
    Truth,
    /// A good token is refused, or for a wrong reason; or there is no answer where nothing is in the way.
    Availability,
}

pub struct Violation {
    pub claim: Claim,
    pub account: usize,
    pub node: usize,
    pub at: (Time, Time),
    pub what: String,
}

pub fn violations(history: &History, bounds: &Bounds) -> Vec<Violation> {
    let rules = Rules { bounds, disturbed: Disturbed::of(&history.disturbances), terms: terms(&history.states) };
    let accounts = history.states.iter().map(|state| state.account + 1).max().unwrap_or(0);
    let mut lives: Vec<Life<'_>> = (0..accounts).map(|_| Life::default()).collect();
    for state in &history.states {
        lives[state.account].states.push(state);
    }
    for act in &history.acts {
        lives[act.account].acts.push(act);
    }
    let mut found = Vec::new();
    for life in &mut lives {
        life.put_in_order(bounds);
        life.check_generations(&mut found);
        life.check_truth(bounds, &mut found);
    }
    for verification in &history.verifications {
        lives[verification.account].check(verification, &rules, &mut found);
    }
    for act in &history.acts {
        check_answer(act, bounds, &rules.disturbed, &mut found);
    }
    found
}

struct Rules<'a> {
    bounds: &'a Bounds,
    disturbed: Disturbed<'a>,
    /// By when each term had begun, at the latest.
    terms: BTreeMap<u64, Time>,
}

fn terms(states: &[State]) -> BTreeMap<u64, Time> {
    let mut terms = BTreeMap::new();
    for State { epoch: (term, _), by, .. } in states.iter().filter(|state| !state.lost) {
        let began = terms.entry(*term).or_insert(*by);
        *began = (*began).min(*by);
    }
    terms
}

/// All of one account.
#[derive(Default)]
struct Life<'a> {
    states: Vec<&'a State>,
    acts: Vec<&'a Act>,
    /// By their ends: from then on at least this state holds, by its place among the states.
    receipts: Vec<(Time, usize)>,
    /// The same of those that no failover has lost, where it may: what was given is then lost for good, what was taken is not (R2).
    lasting: Vec<(Time, usize)>,
}

impl<'a> Life<'a> {
    fn put_in_order(&mut self, bounds: &Bounds) {
        self.states.sort_by_key(|state| state.epoch);
        self.acts.sort_by_key(|act| act.begin);
        let mut receipts: Vec<(Time, usize)> =
            self.acts.iter().filter_map(|act| Some((act.end, self.up_to(receipt(act)?.0)?))).collect();
        receipts.sort();
        let risen = |receipts: Vec<(Time, usize)>| {
            let mut highest = 0;
            let rising = receipts.into_iter().map(|(time, state)| {
                highest = highest.max(state);
                (time, highest)
            });
            rising.collect()
        };
        let mut lasting = receipts.clone();
        if bounds.receipts_may_be_lost {
            lasting.retain(|(_, state)| !self.states[*state].lost);
        }
        (self.receipts, self.lasting) = (risen(receipts), risen(lasting));
    }

    /// The last state of this epoch or an earlier one.
    fn up_to(&self, epoch: Epoch) -> Option<usize> {
        self.states.partition_point(|state| state.epoch <= epoch).checked_sub(1)
    }

    /// Until when a state may be rested on: a lease after the next one had begun, and longer where a server has to notice first that
    /// it was replaced. `None`: it is the last one.
    fn rested_on_until(&self, place: usize, rules: &Rules<'_>) -> Option<Time> {
        let Rules { bounds: Bounds { max_staleness, overlap, .. }, terms, .. } = rules;
        let state = self.states[place];
        let followed_by = self.states.iter().skip(place + 1).find(|next| state.lost || !next.lost);
        let followed = followed_by.map(|next| {
            let replaced = if next.epoch.0 > state.epoch.0 { *overlap } else { Time::ZERO };
            next.by + *max_staleness + replaced
        });
        let lost = terms.range(state.epoch.0 + 1..).next().filter(|_| state.lost);
        let lost = lost.map(|(_, began)| *began + *max_staleness + *overlap);
        [followed, lost].into_iter().flatten().min()
    }

    fn check(&self, verification: &Verification, rules: &Rules<'_>, found: &mut Vec<Violation>) {
        let Rules { bounds, disturbed, .. } = rules;
        let Verification { node, account, generation, begin, end, verdict } = verification;
        let mut violated = |claim, what: String| {
            found.push(Violation { claim, account: *account, node: *node, at: (*begin, *end), what });
        };
        if matches!(verdict, Verdict::Away | Verdict::Lost) {
            if !disturbed.excuses_silence(verification, bounds) {
                violated(Claim::Availability, format!("no answer where nothing was in the way: {verification}"));
            }
            return;
        }
        // States in which the account may have been at the answer.
        let possible = self.states.partition_point(|state| state.after <= *end);
        let receipts = if *verdict == Verdict::Accepted { &self.receipts } else { &self.lasting };
        let receipted = receipts.partition_point(|(time, _)| time <= begin);
        let receipted = receipted.checked_sub(1).map_or(0, |last| receipts[last].1);
        let is_fresh = |place: usize| self.rested_on_until(place, rules).is_none_or(|until| *begin <= until);
        let explains = |place: &usize| self.states[*place].verdict(*generation) == *verdict;
        let explained = || (0..possible).rev().filter(explains);
        match explained().next() {
            Some(_) if explained().any(|place| place >= receipted && is_fresh(place)) => {}
            Some(last) if *verdict == Verdict::Accepted && last < receipted => {
                violated(Claim::R1, format!("accepted after the receipt of what ended it: {verification}"));
            }
            Some(_) if *verdict == Verdict::Accepted => {
                violated(Claim::F2, format!("accepted later than a lease after its end: {verification}"));
            }
            Some(_) => violated(Claim::Availability, format!("refused for what was no longer so: {verification}")),
            None => violated(Claim::Availability, format!("this was never so: {verification}")),
        }
    }

    /// What no failover has lost.
    fn kept(&self) -> Vec<&'a State> {
        self.states.iter().filter(|state| !state.lost).copied().collect()
    }

    fn check_generations(&self, found: &mut Vec<Violation>) {
        for pair in self.kept().windows(2) {
            if pair[1].generation < pair[0].generation {
                found.push(pair[1].violation(Claim::S1, format!("{}, and before: {}", pair[1], pair[0])));
            }
        }
        let mut issued: Vec<(u64, &Act)> = self
            .acts
            .iter()
            .filter(|act| act.change == Change::Regenerate)
            .filter_map(|act| Some((receipt(act)?, *act)))
            .filter(|((epoch, _), _)| !self.states.iter().any(|state| state.lost && state.epoch == *epoch))
            .map(|((_, generation), act)| (generation, act))
            .collect();
        issued.sort_by_key(|(generation, act)| (*generation, act.begin));
        for pair in issued.windows(2).filter(|pair| pair[0].0 == pair[1].0) {
            found.push(pair[1].1.violation(Claim::S1, format!("one generation twice: {}, {}", pair[0].1, pair[1].1)));
        }
    }

    /// Each change in the feed is one that was asked for, by an act that may have made it; and each receipt's is there.
    fn check_truth(&self, bounds: &Bounds, found: &mut Vec<Violation>) {
        let mut unknown: Vec<&Act> =
            self.acts.iter().filter(|act| matches!(act.outcome, Outcome::Unknown(_))).copied().collect();
        for pair in self.kept().windows(2) {
            let (before, state) = (pair[0], pair[1]);
            if self.raises(before, state)
                || self.acts.iter().any(|act| receipt(act).is_some_and(|(epoch, _)| epoch == state.epoch))
            {
                continue;
            }
            let by = unknown.iter().position(|act| act.begin <= state.by && leads(act.change, before, state));
            match by {
                Some(place) => drop(unknown.remove(place)),
                None => {
                    found.push(state.violation(Claim::Truth, format!("nobody was told that it may be so: {state}")))
                }
            }
        }
        for act in &self.acts {
            let Some((epoch, generation)) = receipt(act) else { continue };
            let is_so = |state: &&State| match act.change {
                Change::Regenerate => state.generation == generation && state.has_token && state.active,
                Change::Revoke => !state.has_token,
                Change::Disable => !state.active,
                Change::Enable => state.active,
            };
            let there = self.up_to(epoch).map(|place| self.states[place]);
            let stays = |state: &State| !state.lost || bounds.receipts_may_be_lost;
            if !there
                .is_some_and(|state| state.epoch == epoch && state.by >= act.begin && is_so(&state) && stays(state))
            {
                found.push(act.violation(Claim::Truth, format!("a receipt for what is not in the store: {act}")));
            }
        }
    }
}

impl Life<'_> {
    /// Whether this is what an issuer does in a new term with what it had changed and the failover has lost (R2): it restricts, or
    /// puts a token in place that took the place of an older one. Each issuer does it once, one after the other.
    fn raises(&self, before: &State, state: &State) -> bool {
        let is_earlier = |one: &&&State| !one.lost && one.epoch.0 < state.epoch.0;
        let Some(base) = self.states.iter().rfind(is_earlier) else { return false };
        // A server that was cut off may have begun the same term.
        let lost =
            || self.states.iter().filter(|one| one.lost && one.epoch > base.epoch && one.epoch.0 <= state.epoch.0);
        let restricts = !state.has_token || !state.active;
        let stays_shut = before.active || !state.active;
        let rises = state.generation > before.generation;
        let is_again = || lost().any(|one| one.generation == state.generation);
        lost().next().is_some() && stays_shut && (restricts || rises && is_again())
    }
}

fn receipt(act: &Act) -> Option<(Epoch, u64)> {
    match act.outcome {
        Outcome::Receipt { epoch, generation, .. } => Some((epoch, generation)),
        _ => None,
    }
}

/// Whether a change leads from one state to the other.
fn leads(change: Change, before: &State, after: &State) -> bool {
    let same_generation = after.generation == before.generation;
    let same_status = after.active == before.active;
    match change {
        Change::Regenerate => after.generation == before.generation + 1 && after.has_token && same_status,
        Change::Revoke => !after.has_token && same_generation && same_status,
        Change::Disable => !after.active && same_generation && after.has_token == before.has_token,
        Change::Enable => after.active && same_generation && after.has_token == before.has_token,
    }
}

/// Where nothing is in the way, a change is made and receipted.
fn check_answer(act: &Act, bounds: &Bounds, disturbed: &Disturbed<'_>, found: &mut Vec<Violation>) {
    let (Outcome::Nothing(why) | Outcome::Unknown(why)) = &act.outcome else { return };
    let before = act.begin.saturating_sub(bounds.settles);
    let may_fail = match why.as_str() {
        // What was done before may be unknown, and so be done meanwhile.
        "409 account_disabled" | "409 conflict" => true,
        "not sent" | "no answer" | "503 store_unavailable" | "503 unconfirmed" => {
            disturbed.between(act.node, before, act.end).next().is_some()
        }
        _ => false,
    };
    if !may_fail {
        found.push(act.violation(Claim::Availability, format!("no receipt, and nothing was in the way: {act}")));
    }
}

impl State {
    fn violation(&self, claim: Claim, what: String) -> Violation {
        Violation { claim, account: self.account, node: 0, at: (self.after, self.by), what }
    }
}

impl Act {
    fn violation(&self, claim: Claim, what: String) -> Violation {
        Violation { claim, account: self.account, node: self.node, at: (self.begin, self.end), what }
    }
}

/// The times in which something was in the way.
pub struct Disturbed<'a>(&'a [Disturbance]);

impl<'a> Disturbed<'a> {
    pub fn of(disturbances: &'a [Disturbance]) -> Self {
        Self(disturbances)
    }

    /// Whether something was in the way of an answer, or had been a moment ago.
    pub fn excuses_silence(&self, Verification { node, begin, end, .. }: &Verification, bounds: &Bounds) -> bool {
        self.between(*node, begin.saturating_sub(bounds.recovers), *end).next().is_some()
    }

    /// Those of a node that lie at least in part between these times.
    pub fn between(&self, node: usize, from: Time, until: Time) -> impl Iterator<Item = &'a Disturbance> {
        let here = move |one: &&Disturbance| one.node == node && one.from <= until && one.until >= from;
        self.0.iter().filter(here)
    }
}
