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

/// The entries of one file that count.
#[derive(Default)]
struct Found {
    /// Of each account and role, in the order in which they were noted; and whether the store has them.
    changes: HashMap<About, Vec<(bool, Entry)>>,
    keys: bool,
    revoked: BTreeSet<String>,
    sessions: Vec<SessionId>,
    /// Where the store was raised: it knows what was noted before.
    raised: Option<Place>,
}

/// Reads back to where the store is known to have all that was changed before.
pub(super) fn find(directory: &Path, lineage: &Lineage, now: i64) -> Result<Lost, JournalError> {
    let mut changes: HashMap<About, Vec<(bool, Entry)>> = HashMap::new();
    let mut lost = Lost::default();
    segment::backwards(directory, |file| {
        let mut found = Found::default();
        segment::read(file, |noted| found.take(noted, lineage, now))?;
        for (about, mut noted) in found.changes {
            let later = changes.entry(about).or_default();
            noted.append(later);
            *later = noted;
        }
        lost.keys |= found.keys;
        lost.revoked.append(&mut found.revoked);
        lost.sessions.append(&mut found.sessions);
        Ok(if found.raised.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    for noted in changes.into_values() {
        lost.add(noted);
    }
    Ok(lost)
}

impl Found {
    fn take(&mut self, Noted { place, entry }: Noted, lineage: &Lineage, now: i64) {
        if self.raised.is_some_and(|raised| place < raised) {
            return;
        }
        let is_there = lineage.contains(&entry);
        match &entry.change {
            Change::Account(_) | Change::Role(_) => {
                if let Some(about) = entry.about() {
                    self.changes.entry(about).or_default().push((is_there, entry));
                }
            }
            Change::Keys { revoked } if !is_there => {
                self.keys = true;
                self.revoked.extend(revoked.clone());
            }
            Change::Raised if is_there && entry.dataset == lineage.dataset => {
                *self = Self { raised: Some(place), ..Self::default() };
            }
            Change::Sessions(ids) if entry.at >= now - SESSIONS => self.sessions.extend(ids.iter().copied()),
            Change::Keys { .. } | Change::Sessions(_) | Change::Raised => {}
        }
    }
}

impl Lost {
    /// The last of these changes of one thing, if it is lacking.
    fn add(&mut self, noted: Vec<(bool, Entry)>) {
        let mut changes = order::in_order(noted, |(_, entry)| entry);
        let lacking = changes.iter().rev().take_while(|(is_there, _)| !is_there).count();
        let upon = match changes.get(changes.len() - lacking).map(|(_, first)| &first.change) {
            Some(Change::Account(first)) => (first.before_server.clone(), first.before),
            _ => Default::default(),
        };
        match changes.pop().map(|(is_there, last)| (is_there, last.epoch, last.change)) {
            Some((false, epoch, Change::Account(after))) => {
                self.accounts.push(LostAccount { after: *after, epoch, upon });
            }
            Some((false, _, Change::Role(after))) => self.roles.push((after.name, after.grants)),
            _ => {}
        }
    }
}
