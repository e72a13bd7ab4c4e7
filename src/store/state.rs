//! The look-up behind every decision that is not made from memory.

use super::{NodeStore, StoreError};
use crate::account::AccountId;
use crate::verify::freshness::LookedUp;

impl NodeStore {
    /// All that one verification consults, by a script that replicas and cut-off primaries refuse (F3, F4).
    pub async fn look_up(&self, account: AccountId) -> Result<LookedUp, StoreError> {
        let answer = self.lookups.look_up(account).await?;
        let place = answer.place(async |head| Ok(self.place(head).await?.0)).await?;
        let (record, roles) = answer.read()?;
        Ok(LookedUp { place, keys_version: answer.keys_version(), record, roles })
    }
}
