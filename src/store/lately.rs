//! What was noted last of an account: whoever asks time and again whether something is done adds one line to the journal, and no more.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::account::AccountId;
use crate::epoch::Epoch;
use crate::verify::freshness::Identity;

/// So many accounts are remembered. Beyond that all are forgotten: of each, one line more is noted than has to be.
const MOST: usize = 10_000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Lately(Mutex<HashMap<AccountId, (Identity, Epoch)>>);

impl Lately {
    /// Whether this change of it is in the journal.
    pub(super) fn has(&self, account: AccountId, on: &Identity, epoch: Epoch) -> bool {
        let noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        noted.get(&account).is_some_and(|(server, last)| server == on && *last == epoch)
    }

    /// It is, from now on.
    pub(super) fn keep(&self, account: AccountId, on: &Identity, epoch: Epoch) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.len() >= MOST && !noted.contains_key(&account) {
            noted.clear();
        }
        noted.insert(account, (on.clone(), epoch));
    }
}
