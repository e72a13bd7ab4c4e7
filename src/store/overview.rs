//! What an overview shows and nobody could read at once: a count of all accounts, taken now and then, and the last receipts.

use std::time::Duration;

use redis::streams::StreamRangeReply;

use super::lenient::Lenient;
use super::{Store, StoreError};

/// Receipts that are kept.
const RECEIPTS: usize = 20;

impl Store {
    /// Takes the turn to count the accounts, or keeps it, or gives it back, if it is to be kept for no time. `false`: it is another's.
    pub async fn turn_to_count(&self, node: &str, hold: Duration) -> Result<bool, StoreError> {
        self.has_some_room()?;
        let mut script = self.scripts.lock.prepare_invoke();
        script.key(self.schema.counting()).arg(node).arg(u64::try_from(hold.as_millis()).unwrap_or(0));
        Ok(self.run::<u64>(&self.shared, &script).await? == 1)
    }

    /// The last count of all accounts, as it was written. `None`: there is none.
    pub async fn census(&self) -> Result<Option<String>, StoreError> {
        let mut command = redis::cmd("GET");
        command.arg(self.schema.census());
        self.query(&self.reads, command).await
    }

    /// Writes a count of all accounts in place of the one before.
    pub async fn put_census(&self, text: &str) -> Result<(), StoreError> {
        // It took its time: it is not of a dataset that has taken the place of ours.
        self.still_met().await?;
        let mut command = redis::cmd("SET");
        command.arg(self.schema.census()).arg(text);
        self.query(&self.shared, command).await
    }

    /// Notes a receipt that was given.
    pub async fn note_receipt(&self, text: &str) -> Result<(), StoreError> {
        self.has_room()?;
        let mut command = redis::cmd("XADD");
        command.arg(self.schema.receipts()).arg("MAXLEN").arg(RECEIPTS).arg("*").arg("r").arg(text);
        self.query::<String>(&self.audit, command).await.map(|_| ())
    }

    /// The last receipts that were noted, the last one first.
    pub async fn last_receipts(&self) -> Result<Vec<String>, StoreError> {
        let mut command = redis::cmd("XREVRANGE");
        command.arg(self.schema.receipts()).arg("+").arg("-").arg("COUNT").arg(RECEIPTS);
        let Lenient(reply): Lenient<StreamRangeReply> = self.query(&self.reads, command).await?;
        Ok(reply.ids.iter().filter_map(|entry| entry.get("r")).collect())
    }
}
