//! What a store lacks of what was changed from here.

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::path::Path;

use super::entry::{About, Noted, Place};
use super::{AccountAfter, Change, Entry, JournalError, Lineage, order, segment};
use crate::epoch::Epoch;
use crate::name::RoleName;
use crate::permission::Grant;
use crate::session::SessionId;

/// Sessions end by themselves after so many seconds at the most: what was ended longer ago is over anyway.
const SESSIONS: i64 = 31 * 86_400;

/// What a store lacks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lost {
    /// Accounts, as they were after the last change that it lacks.
    pub accounts: Vec<LostAccount>,
    /// Roles, and what they granted after the last change that it lacks.
    pub roles: Vec<(RoleName, BTreeSet<Grant>)>,
    /// Whether it lacks a change of the signing keys.
    pub keys: bool,
    /// Those that were revoked, and whose revocation it lacks.
    pub revoked: BTreeSet<String>,
    /// Sessions that were ended since it is known to have all: whether it knows of these can't be told.
    pub sessions: Vec<SessionId>,
}

/// An account whose last change is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostAccount {
    /// As it was then.
    pub after: AccountAfter,
    epoch: Epoch,
    /// The version, and its server, upon which all that is lacking was done.
    pub(super) upon: (String, Epoch),
}

impl LostAccount {
    /// An account after its only lost change.
    pub(crate) fn of(after: AccountAfter, epoch: Epoch) -> Self {
        let upon = (after.before_server.clone(), after.before);
        Self { after, epoch, upon }
    }

    /// The epoch of the last change.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Whether a store of this history has the account in the version upon which the lost changes were made, so that nobody has
    /// changed it since whom they don't know of.
    pub fn follows(&self, version: Epoch, lineage: &Lineage) -> bool {
        let (server, upon) = &self.upon;
        version == *upon && lineage.has(server, *upon)
    }
}

impl Lost {
    /// Whether the store has all changes that an epoch is about.
    pub fn is_nothing(&self) -> bool {
        self.accounts.is_empty() && self.roles.is_empty() && !self.keys
    }
}

/// A change of something, and all that is kept of it: a journal may have millions, most of which the store has.
struct Step {
    /// Among [`Search::terms`].
    term: usize,
    epoch: Epoch,
    /// `None`: the store has it.
    lacking: Option<Box<Change>>,
}

/// Of each account, role and key, in the order in which they were noted.
type Steps = HashMap<About, Vec<Step>>;

/// Where the store was raised: it has what was noted before, but for what was made there beyond this epoch. Whoever raised it may have
/// noted that after others had changed something there meanwhile.
struct RaisedAt {
    place: Place,
    term: usize,
    epoch: Epoch,
}

impl RaisedAt {
    fn is_before(&self, step: &Step) -> bool {
        step.term == self.term && step.epoch > self.epoch
    }
}

/// What is found.
struct Search<'a> {
    lineage: &'a Lineage,
    now: i64,
    /// The number of each term, and its server.
    terms: Vec<(u64, String)>,
    raised: Option<RaisedAt>,
    sessions: Vec<SessionId>,
}

/// Reads back to where the store is known to have all that was changed before.
pub(super) fn find(directory: &Path, lineage: &Lineage, now: i64) -> Result<Lost, JournalError> {
    let mut search = Search { lineage, now, terms: Vec::new(), raised: None, sessions: Vec::new() };
    let mut all = Steps::new();
    segment::backwards(directory, |file| {
        // One file more than that: what was changed meanwhile may stand at its end.
        let is_last = search.raised.is_some();
        let mut steps = Steps::new();
        segment::read(file, |noted| search.take(noted, &mut steps))?;
        for (about, mut earlier) in steps {
            let later = all.entry(about).or_default();
            for step in std::mem::take(later) {
                add(&mut earlier, step);
            }
            *later = earlier;
        }
        Ok(if is_last { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    let mut lost = Lost { sessions: search.sessions, ..Lost::default() };
    for (about, steps) in all {
        lost.add(about, steps);
    }
    Ok(lost)
}

impl Search<'_> {
    /// `steps`: of the same file.
    fn take(&mut self, Noted { place, entry }: Noted, steps: &mut Steps) {
        let Some(about) = entry.about() else {
            if let Change::Sessions(ids) = entry.change
                && entry.at >= self.now - SESSIONS
            {
                self.sessions.extend(ids);
            }
            return;
        };
        if entry.dataset != self.lineage.dataset {
            return;
        }
        let is_there = self.lineage.contains(&entry);
        let step = Step { term: self.term_of(&entry), epoch: entry.epoch, lacking: None };
        let earlier_than = self.raised.as_ref().filter(|raised| place < raised.place);
        if entry.change == Change::Raised {
            if is_there && earlier_than.is_none() {
                let raised = RaisedAt { place, term: step.term, epoch: step.epoch };
                for noted in steps.values_mut() {
                    noted.retain(|step| raised.is_before(step));
                }
                steps.retain(|_, noted| !noted.is_empty());
                self.raised = Some(raised);
            }
        } else if earlier_than.is_none_or(|raised| raised.is_before(&step)) {
            let lacking = (!is_there).then(|| Box::new(entry.change));
            add(steps.entry(about).or_default(), Step { lacking, ..step });
        }
    }

    fn term_of(&mut self, entry: &Entry) -> usize {
        let (term, server) = (entry.epoch.term, &entry.server);
        let known = self.terms.iter().position(|(other, whose)| *other == term && whose == server);
        known.unwrap_or_else(|| {
            self.terms.push((term, server.clone()));
            self.terms.len() - 1
        })
    }
}

/// Of changes in a row, of one term and all there or all lacking, the first tells upon what they were made, and the last what became of
/// it.
fn add(steps: &mut Vec<Step>, step: Step) {
    let kind = |step: &Step| (step.term, step.lacking.is_some());
    if let [.., first, last] = steps.as_slice()
        && kind(first) == kind(&step)
        && kind(last) == kind(&step)
        && first.epoch <= last.epoch
        && last.epoch <= step.epoch
    {
        steps.pop();
    }
    steps.push(step);
}

impl Lost {
    /// The last of these changes of one thing, if it is lacking; of a key, each.
    fn add(&mut self, about: About, noted: Vec<Step>) {
        if let About::Key(revoked) = about {
            if noted.iter().any(|step| step.lacking.is_some()) {
                self.keys = true;
                self.revoked.extend(revoked);
            }
            return;
        }
        let mut steps = order::in_order(noted, |step| (step.term, step.epoch));
        let lacking = steps.iter().rev().take_while(|step| step.lacking.is_some()).count();
        let upon = match steps.get(steps.len() - lacking).and_then(|first| first.lacking.as_deref()) {
            Some(Change::Account(first)) => (first.before_server.clone(), first.before),
            _ => Default::default(),
        };
        let Some(Step { epoch, lacking: Some(change), .. }) = steps.pop() else { return };
        match *change {
            Change::Account(after) => self.accounts.push(LostAccount { after: *after, epoch, upon }),
            Change::Role(after) => self.roles.push((after.name, after.grants)),
            Change::Keys { .. } | Change::Sessions(_) | Change::Raised => {}
        }
    }
}
