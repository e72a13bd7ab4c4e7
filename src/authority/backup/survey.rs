//! A backup that was read once to its end: nothing in it is damaged, and every account of it can be put back.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use super::BackupError;
use super::file::{FileError, Header, Reader, header};
use super::record::{End, Ends, Record, Rest, StoredRecord};
use crate::account::{AccountId, StateRecord, Versioned};
use crate::epoch::Epoch;
use crate::keyring::MasterKey;
use crate::name::Username;
use crate::store::Profile;

/// See the module.
pub struct Survey {
    /// What anybody can read of it.
    pub header: Header,
    path: PathBuf,
    master: MasterKey,
    /// The newest version of each account that stands in it more than once.
    later: HashMap<AccountId, Epoch>,
    pub(super) end: End,
    pub(super) rest: Rest,
    /// Of the audit, if it is in it.
    pub(super) ends: Option<Ends>,
}

/// A record that counts.
pub(super) enum Counting {
    Account(Box<BackedUp>),
    Block { shard: u16, entry: String, header: String, lines: String },
    Act { entry: String, epoch: String, line: String },
    Checkpoint { entry: String, text: String },
}

/// An account of a backup, as it lies there, and read.
pub(super) struct BackedUp {
    pub(super) id: AccountId,
    pub(super) state: String,
    pub(super) versioned: Versioned,
    /// `None`: it was deleted.
    pub(super) profile: Option<(String, Profile)>,
}

impl BackedUp {
    fn read(record: StoredRecord) -> Result<Self, FileError> {
        let StoredRecord { id, state, profile } = record;
        let unreadable = || FileError::Damaged(format!("the account {id} can't be read"));
        let versioned = Versioned::parse(&state).map_err(|_| unreadable())?;
        let profile = match (profile, &versioned.record) {
            (Some(text), StateRecord::Live(_)) => {
                let profile = serde_json::from_str(&text).map_err(|_| unreadable())?;
                Some((text, profile))
            }
            (None, StateRecord::Deleted(_)) => None,
            _ => return Err(unreadable()),
        };
        Ok(Self { id, state, versioned, profile })
    }

    pub(super) fn username(&self) -> &Username {
        match &self.versioned.record {
            StateRecord::Live(state) => &state.username,
            StateRecord::Deleted(tombstone) => &tombstone.username,
        }
    }
}

impl Survey {
    /// Reads all of it. `masters`: one of them opens it.
    pub fn of(path: &Path, masters: &[MasterKey]) -> Result<Self, BackupError> {
        let (mut from, header) = opened(path)?;
        let Some(master) = masters.iter().find(|master| master.id() == header.master_key).or(masters.first()) else {
            return Err(BackupError::Refused("no master key was given".into()));
        };
        let mut reader = Reader::new(&mut from, &header, master)?;
        let (mut later, mut rest, mut ends) = (HashMap::<AccountId, Epoch>::new(), None, None);
        let mut end = End::default();
        while let Some(record) = reader.next()? {
            end.count(&record);
            match record {
                Record::Account(record) => _ = BackedUp::read(record)?,
                Record::Later(record) => {
                    let account = BackedUp::read(record)?;
                    let newest = later.entry(account.id).or_default();
                    *newest = account.versioned.version.max(*newest);
                }
                Record::Rest(one) if rest.is_none() => rest = Some(*one),
                Record::Ends(one) if ends.is_none() => ends = Some(*one),
                Record::Rest(_) | Record::Ends(_) => return Err(twice().into()),
                Record::Block { .. } | Record::Act { .. } | Record::Checkpoint { .. } | Record::End(_) => {}
            }
        }
        let rest = rest.ok_or_else(|| FileError::Damaged("it has no roles and no keys".into()))?;
        drop(reader);
        Ok(Self { header, path: path.to_owned(), master: master.clone(), later, end, rest, ends })
    }

    /// The signing keys of it: their version, and the document, sealed.
    pub fn keyring(&self) -> Result<(u64, &str), BackupError> {
        let version = self.rest.keyring.get("version").and_then(|version| version.parse().ok());
        let document = self.rest.keyring.get("document").map(String::as_str);
        version.zip(document).ok_or_else(|| FileError::Damaged("it has no signing keys".into()).into())
    }

    /// The master key that opens it.
    pub fn master(&self) -> &MasterKey {
        &self.master
    }

    /// The moment that it is of.
    pub fn epoch(&self) -> Epoch {
        self.rest.epoch
    }

    /// Reads it once more, what counts of it: each account once, as it was at last.
    pub(super) fn records(&self) -> Result<Records<'_>, BackupError> {
        let (from, header) = opened(&self.path)?;
        if header != self.header {
            return Err(FileError::Damaged("it has become another file meanwhile".into()).into());
        }
        Ok(Records { survey: self, reader: Reader::new(from, &header, &self.master)? })
    }
}

/// The records that count.
pub(super) struct Records<'a> {
    survey: &'a Survey,
    reader: Reader<BufReader<File>>,
}

impl Records<'_> {
    pub(super) fn next(&mut self) -> Result<Option<Counting>, BackupError> {
        while let Some(record) = self.reader.next()? {
            let counting = match record {
                Record::Account(record) | Record::Later(record) => {
                    let account = BackedUp::read(record)?;
                    let newest = self.survey.later.get(&account.id);
                    if newest.is_some_and(|newest| *newest != account.versioned.version) {
                        continue;
                    }
                    Counting::Account(Box::new(account))
                }
                Record::Block { shard, entry, header, lines } => Counting::Block { shard, entry, header, lines },
                Record::Act { entry, epoch, line } => Counting::Act { entry, epoch, line },
                Record::Checkpoint { entry, text } => Counting::Checkpoint { entry, text },
                Record::Rest(_) | Record::Ends(_) | Record::End(_) => continue,
            };
            return Ok(Some(counting));
        }
        Ok(None)
    }
}

fn opened(path: &Path) -> Result<(BufReader<File>, Header), BackupError> {
    let file = File::open(path).map_err(|error| named(path, &error))?;
    let mut from = BufReader::new(file);
    let header = header(&mut from)?;
    Ok((from, header))
}

fn named(path: &Path, error: &io::Error) -> BackupError {
    BackupError::Refused(format!("{} can't be read: {error}", path.display()))
}

fn twice() -> FileError {
    FileError::Damaged("it has something twice that is there once".into())
}
