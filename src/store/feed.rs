//! The feed of changes, as a node follows it.

use std::time::Duration;

use super::link::counted;
use super::node_store::noting;
use super::{NodeStore, StoreError, definition};
use crate::account::StateRecord;
use crate::epoch::Epoch;
use crate::verify::freshness::{Change, Entry, Identity, Place};

/// How long a node waits for something new before it looks again.
pub(super) const BELL: Duration = Duration::from_millis(500);

/// Entries at a time.
const ENTRIES: usize = 256;

/// What comes after the applied epoch, and where that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Followed {
    /// Where.
    pub place: Place,
    /// The version of the key set at that moment.
    pub keys_version: u64,
    /// The counter at which the term of the applied epoch has ended, 0 where all of it is missing here and was made up for; `None`: it has
    /// not, or nothing is known of it here.
    pub term_ended: Option<u64>,
    /// The entries, in their order. None where another server answered than the one that is followed.
    pub entries: Vec<Entry>,
    /// An entry that can't be read follows upon these.
    pub broken: bool,
}

impl NodeStore {
    /// Reports what a node has applied and returns what comes after it, by one script: report and entries belong to the same
    /// server. On the connection of the feed. `applied_on`: the server whose epoch that is.
    pub async fn follow(
        &self,
        node: &str,
        identity: Option<&Identity>,
        applied: Epoch,
        applied_on: Option<&Identity>,
    ) -> Result<Followed, StoreError> {
        let mut script = self.node_scripts.follow.prepare_invoke();
        script
            .key(self.schema.meta())
            .key(self.schema.feed())
            .key(self.schema.leases())
            .key(self.schema.keyring())
            .arg(self.dataset_id().await?)
            .arg(identity.map_or("", Identity::server))
            .arg(applied.to_string())
            .arg(node)
            .arg(ENTRIES)
            .arg(applied_on.map_or("", Identity::server));
        let reply: Vec<String> = self.run(&self.feed, &script).await?;
        let (place, rest) = self.place(&reply).await?;
        let [keys_version, term_ended, fields @ ..] = rest else {
            return Err(StoreError::Corrupt("the reply of the feed".into()));
        };
        let keys_version = keys_version.parse().map_err(|_| StoreError::Corrupt("the keyring's version".into()))?;
        let mut entries = Vec::new();
        let mut broken = false;
        for fields in fields.chunks(4) {
            match entry(fields) {
                Some(entry) => entries.push(entry),
                None => {
                    broken = true;
                    break;
                }
            }
        }
        Ok(Followed { place, keys_version, term_ended: term_ended.parse().ok(), entries, broken })
    }

    /// Waits until something was written to the feed after this epoch, or for a moment.
    pub async fn wait_for_change(&self, applied: Epoch) -> Result<(), StoreError> {
        let mut held = self.feed.now()?;
        held.connection.set_response_timeout(self.timeout + BELL);
        let mut command = redis::cmd("XREAD");
        command.arg("COUNT").arg(1).arg("BLOCK").arg(u64::try_from(BELL.as_millis()).unwrap_or(0));
        command.arg("STREAMS").arg(self.schema.feed()).arg(applied.to_string());
        // What it says does not count: it may come from another server than the one before.
        let rung = counted(command.query_async::<redis::Value>(&mut held.connection)).await;
        noting(&self.feed, held.number, rung).map(|_| ())
    }

    /// Waits until there is a connection for the feed.
    pub async fn feed_connected(&self) {
        self.feed.connected().await;
    }
}

fn entry(fields: &[String]) -> Option<Entry> {
    let [epoch, kind, key, body] = fields else { return None };
    let epoch: Epoch = epoch.parse().ok()?;
    let change = match kind.as_str() {
        "account" => Change::Account(key.parse().ok()?, serde_json::from_str::<StateRecord>(body).ok()?),
        "role" if body.is_empty() => Change::Role(key.parse().ok()?, None),
        "role" => Change::Role(key.parse().ok()?, Some(definition::grants_of(body)?)),
        "keys" => Change::Keys(body.parse().ok()?),
        "team" => Change::Nothing,
        // Of a newer version: what it says may matter.
        _ => return None,
    };
    Some(Entry { epoch, change })
}
