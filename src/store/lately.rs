//! The last change of an account of which something is known: whoever asks time and again whether something is done adds one line to the
//! journal, and no more; nor does he keep others waiting.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::account::AccountId;
use crate::epoch::Epoch;
use crate::verify::freshness::Identity;

/// So many accounts are remembered. Beyond that all are forgotten: of each, that much is done once more than has to be.
const MOST: usize = 10_000;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Lately(Mutex<HashMap<AccountId, (Identity, Epoch)>>);

impl Lately {
    /// Whether it is known of this change.
    pub(crate) fn has(&self, account: AccountId, on: &Identity, epoch: Epoch) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&account).is_some_and(|(server, last)| server == on && *last == epoch)
    }

    /// Whether it is known of any change of this account.
    pub(crate) fn has_any(&self, account: AccountId) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&account)
    }

    /// It is known of this change, from now on.
    pub(crate) fn keep(&self, account: AccountId, on: &Identity, epoch: Epoch) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST && !known.contains_key(&account) {
            known.clear();
        }
        known.insert(account, (on.clone(), epoch));
    }
}
