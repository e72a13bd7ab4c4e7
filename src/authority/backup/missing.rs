//! Which accounts of a backup a store that lives on does not have.

use std::collections::BTreeMap;

use super::BackupError;
use super::survey::{BackedUp, Counting, Records, Survey};
use crate::account::{AccountId, Versioned};
use crate::epoch::Epoch;
use crate::store::{AccountTexts, Store};

/// Accounts that are looked for at once.
const CHUNK: usize = 500;

/// See the module.
pub(super) struct Missing<'a> {
    records: Records<'a>,
    is_over: bool,
}

/// Some of them.
pub(super) struct SomeMissing {
    pub(super) missing: Vec<BackedUp>,
    /// Those that are there, and as what.
    pub(super) kept: Vec<(BackedUp, AccountTexts)>,
}

impl<'a> Missing<'a> {
    pub(super) fn of(survey: &'a Survey) -> Result<Self, BackupError> {
        Ok(Self { records: survey.records()?, is_over: false })
    }

    /// The next ones, which may be none. `None`: there are no more.
    pub(super) async fn next(&mut self, store: &Store) -> Result<Option<SomeMissing>, BackupError> {
        if self.is_over {
            return Ok(None);
        }
        let mut some = Vec::with_capacity(CHUNK);
        while some.len() < CHUNK {
            match self.records.next()? {
                Some(Counting::Account(account)) => some.push(*account),
                Some(_) => {}
                None => {
                    self.is_over = true;
                    break;
                }
            }
        }
        let ids: Vec<AccountId> = some.iter().map(|account| account.id).collect();
        let mut there: BTreeMap<AccountId, AccountTexts> =
            store.account_texts(&ids).await?.into_iter().map(|texts| (texts.id, texts)).collect();
        let (mut missing, mut kept) = (Vec::new(), Vec::new());
        for account in some {
            match there.remove(&account.id) {
                None => missing.push(account),
                Some(texts) if is_older(&texts.state, account.versioned.version) => {
                    return Err(BackupError::Refused(format!(
                        "the account {} is older in the store than in the backup, though the store is not: a part of it was put back to an \
                         earlier state. Empty it, and restore into the empty store",
                        account.username()
                    )));
                }
                Some(texts) => kept.push((account, texts)),
            }
        }
        Ok(Some(SomeMissing { missing, kept }))
    }
}

/// What can't be read stays as it is.
fn is_older(text: &str, version: Epoch) -> bool {
    Versioned::parse(text).is_ok_and(|there| there.version < version)
}
