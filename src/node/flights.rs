//! Look-ups that are under way.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

use crate::account::AccountId;

/// Look-ups under way, one an account.
#[derive(Default)]
pub(super) struct Flights(Mutex<HashMap<AccountId, watch::Receiver<()>>>);

/// A look-up under way; it ends when this goes.
pub(super) struct Flight<'a> {
    flights: &'a Flights,
    account: AccountId,
    _ends: watch::Sender<()>,
}

impl Flights {
    /// Begins a look-up, or waits for the end of the one that is under way. `None`: another one has ended.
    ///
    /// For those who then read memory under a lease: what was under way may have been sent before they came.
    pub(super) async fn begin(&self, account: AccountId) -> Option<Flight<'_>> {
        let mut under_way = {
            let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            match flights.get(&account) {
                Some(under_way) => under_way.clone(),
                None => {
                    let (ends, under_way) = watch::channel(());
                    flights.insert(account, under_way);
                    return Some(Flight { flights: self, account, _ends: ends });
                }
            }
        };
        // Nothing is ever sent: it changes by its end.
        let _ = under_way.changed().await;
        None
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.flights.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.account);
    }
}
