//! How much one account may have at once of what all accounts share: so nobody takes all of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::account::AccountId;

/// What each account has of something.
pub struct Shares {
    most: usize,
    taken: Mutex<HashMap<AccountId, usize>>,
}

/// One of them, until it is dropped.
pub struct Share {
    of: Arc<Shares>,
    account: AccountId,
}

impl Shares {
    /// So many for each at the most.
    pub fn of(most: usize) -> Arc<Self> {
        Arc::new(Self { most, taken: Mutex::default() })
    }

    /// One more for this account. `None`: it has what it may have.
    pub fn take(self: &Arc<Self>, account: AccountId) -> Option<Share> {
        let mut taken = self.taken();
        let count = taken.entry(account).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Share { of: Arc::clone(self), account })
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<AccountId, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.of.taken();
        if let Some(count) = taken.get_mut(&self.account) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.account);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_has_so_many_at_the_most_and_gives_them_back() {
        let shares = Shares::of(2);
        let [one, other] = [AccountId::new(chrono::DateTime::UNIX_EPOCH), AccountId::nobody()];
        let first = shares.take(one).unwrap();
        let _second = shares.take(one).unwrap();
        assert!(shares.take(one).is_none());
        let third = shares.take(other).unwrap();
        drop(first);
        assert!(shares.take(one).is_some());
        drop(third);
        assert_eq!(shares.taken().len(), 1);
    }
}
