//! What a store lacks of what was changed from here.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use super::segment;
use super::{AccountAfter, Change, Entry, JournalError, Lineage};
use crate::account::AccountId;
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
    accounts: HashMap<AccountId, Vec<(bool, Entry)>>,
    roles: HashMap<RoleName, (bool, Entry)>,
    keys: bool,
    revoked: BTreeSet<String>,
    sessions: Vec<SessionId>,
    /// The store was raised here, and knows.
    is_raised: bool,
}

/// Reads back to where the store is known to have all that was changed before.
pub(super) fn find(directory: &Path, lineage: &Lineage, now: i64) -> Result<Lost, JournalError> {
    let mut accounts: HashMap<AccountId, Vec<(bool, Entry)>> = HashMap::new();
    let mut roles: HashMap<RoleName, (bool, Entry)> = HashMap::new();
    let mut lost = Lost::default();
    for file in segment::all_in(directory)?.iter().rev() {
        let mut found = Found::default();
        segment::read(file, |entry| found.take(entry, lineage, now))?;
        for (id, mut entries) in found.accounts {
            let later = accounts.entry(id).or_default();
            entries.append(later);
            *later = entries;
        }
        for (name, entry) in found.roles {
            roles.entry(name).or_insert(entry);
        }
        lost.keys |= found.keys;
        lost.revoked.append(&mut found.revoked);
        lost.sessions.append(&mut found.sessions);
        if found.is_raised {
            break;
        }
    }
    lost.accounts = accounts.into_values().filter_map(lacking).collect();
    lost.roles = roles
        .into_values()
        .filter_map(|(is_there, entry)| match entry.change {
            Change::Role(after) if !is_there => Some((after.name, after.grants)),
            _ => None,
        })
        .collect();
    Ok(lost)
}

impl Found {
    fn take(&mut self, entry: Entry, lineage: &Lineage, now: i64) {
        let is_there = lineage.contains(&entry);
        match &entry.change {
            Change::Account(after) => self.accounts.entry(after.id).or_default().push((is_there, entry)),
            Change::Role(after) => {
                let name = after.name.clone();
                let known = self.roles.remove(&name);
                let later = match known {
                    Some(known) if comes_before(&entry, &known.1) => known,
                    _ => (is_there, entry),
                };
                self.roles.insert(name, later);
            }
            Change::Keys { revoked } if !is_there => {
                self.keys = true;
                self.revoked.extend(revoked.clone());
            }
            Change::Raised if is_there && entry.dataset == lineage.dataset => {
                *self = Self { is_raised: true, ..Self::default() };
            }
            Change::Sessions(ids) if entry.at >= now - SESSIONS => self.sessions.extend(ids.iter().copied()),
            Change::Keys { .. } | Change::Sessions(_) | Change::Raised => {}
        }
    }
}

/// Two changes of one server in the order in which it made them: they may have been noted in another one.
fn comes_before(entry: &Entry, other: &Entry) -> bool {
    entry.server == other.server && entry.epoch.term == other.epoch.term && entry.epoch.counter < other.epoch.counter
}

/// The last change of an account, if it is lacking.
fn lacking(mut entries: Vec<(bool, Entry)>) -> Option<LostAccount> {
    // Stable, so that what different servers made stays in the order in which it was noted.
    for place in 1..entries.len() {
        let mut at = place;
        while let (Some((_, before)), Some((_, after))) =
            (at.checked_sub(1).and_then(|b| entries.get(b)), entries.get(at))
            && comes_before(after, before)
        {
            entries.swap(at - 1, at);
            at -= 1;
        }
    }
    let lacking = entries.iter().rev().take_while(|(is_there, _)| !is_there).count();
    let first = entries.len() - lacking;
    let upon = match &entries.get(first)?.1.change {
        Change::Account(after) => (after.before_server.clone(), after.before),
        _ => return None,
    };
    let last = entries.pop()?.1;
    match last.change {
        Change::Account(after) => Some(LostAccount { after: *after, epoch: last.epoch, upon }),
        _ => None,
    }
}
