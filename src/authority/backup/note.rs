//! Backups and restores in the audit.

use serde_json::{Map, Value};

use super::file::Header;
use super::take::Taken;
use crate::audit::{Event, Outcome, kinds};
use crate::authority::acts::{Acting, Change};
use crate::authority::{Authority, Error};
use crate::store::{Note, StoreError};

impl Authority {
    /// Notes that a backup is made: before it gets its name.
    pub async fn note_backup(&self, header: &Header, taken: &Taken, with_audit: bool) -> Result<(), Error> {
        let event = Event::new(self.clock.now(), kinds::BACKUP, Outcome::Done)
            .detail("backup", header.id())
            .detail("epoch", taken.epoch.to_string())
            .detail("accounts", taken.accounts)
            .detail("with_audit", with_audit);
        let note = Note { event: &event, restored: None };
        self.carry_out(&mut Acting::new(Change::Noted(&note)), false).await?;
        Ok(())
    }

    /// Tells of a restore into an empty store, if none has told it yet: before anybody is served from it, unless other issuers have
    /// to raise it first.
    pub(in crate::authority) async fn tell_of_restore(&self) -> Result<(), StoreError> {
        let Some(restored) = self.store.restored().await? else { return Ok(()) };
        let details: Map<String, Value> =
            serde_json::from_str(&restored).map_err(|_| StoreError::Corrupt("what was restored".into()))?;
        let event = Event::new(self.clock.now(), kinds::RESTORE, Outcome::Done);
        let event = details.into_iter().fold(event, |event, (name, value)| event.detail(&name, value));
        let note = Note { event: &event, restored: Some(&restored) };
        match self.carry_out(&mut Acting::new(Change::Noted(&note)), false).await {
            // Another issuer was faster.
            Ok(_) | Err(StoreError::Conflict) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
