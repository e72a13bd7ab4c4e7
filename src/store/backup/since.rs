//! What changed after a moment of the past: by the feed of a store that lives on, and by the journal here.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use redis::streams::StreamId;

use super::super::definition::grants_of;
use super::super::journal::{Lineage, Lost};
use super::super::{Store, StoreError};
use super::restore::Standing;
use crate::account::{AccountId, StateRecord, Versioned};
use crate::epoch::Epoch;
use crate::name::RoleName;
use crate::permission::Grant;

/// The last word of the feed on what changed since a moment of the past.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChangedSince {
    /// Accounts that are not there any more, as they were after their last change, and its epoch.
    pub accounts: HashMap<AccountId, Versioned>,
    /// What roles granted after their last change; nothing, where they were deleted.
    pub roles: BTreeMap<RoleName, BTreeSet<Grant>>,
}

impl ChangedSince {
    fn take(&mut self, epoch: Epoch, entry: &StreamId) -> Result<(), StoreError> {
        let field = |name| entry.get::<String>(name).unwrap_or_default();
        let unreadable = || StoreError::Corrupt("the feed".into());
        match field("t").as_str() {
            "account" => {
                let record: StateRecord = serde_json::from_str(&field("b")).map_err(|_| unreadable())?;
                let id = field("k").parse().map_err(|_| unreadable())?;
                self.accounts.insert(id, Versioned { version: epoch, record });
            }
            "role" => {
                let (name, body) = (field("k").parse().map_err(|_| unreadable())?, field("b"));
                let grants = if body.is_empty() { Some(BTreeSet::new()) } else { grants_of(&body) };
                self.roles.insert(name, grants.ok_or_else(unreadable)?);
            }
            _ => {}
        }
        Ok(())
    }
}

impl Store {
    /// What changed since an epoch of the store's history. `None`: the feed does not reach back so far.
    pub async fn changed_since(&self, then: Epoch) -> Result<Option<ChangedSince>, StoreError> {
        let Standing::Dataset { epoch: now, ended, .. } = self.what_is_there().await? else { return Ok(None) };
        let mut all = ChangedSince::default();
        let mut reached = then;
        loop {
            let end = if reached.term == now.term { Some(now.counter) } else { ended.get(&reached.term).copied() };
            let Some(counter) = end else { return Ok(None) };
            let until = Epoch { counter, ..reached };
            while reached < until {
                let Some(entries) = self.feed_after(reached, until).await? else { return Ok(None) };
                let mut some = ChangedSince::default();
                for entry in &entries {
                    reached.counter += 1;
                    some.take(reached, entry)?;
                }
                all.roles.append(&mut some.roles);
                // Of those that are there nothing has to be known, however many they are.
                let ids: Vec<AccountId> = some.accounts.keys().copied().collect();
                for texts in self.account_texts(&ids).await? {
                    some.accounts.remove(&texts.id);
                }
                all.accounts.extend(some.accounts);
            }
            if reached.term == now.term {
                return Ok(Some(all));
            }
            let next = ended.keys().find(|term| **term > reached.term).copied();
            reached = Epoch { term: next.map_or(now.term, |term| term.min(now.term)), counter: 0 };
        }
    }

    /// What this issuer has changed since an epoch of the past, whatever a store had of it later. `meta`: of all terms until then, the
    /// server that they belong to, and the counter at which they ended, as [`Moment::meta`](super::Moment::meta) has it.
    pub async fn noted_since(
        &self,
        dataset: &str,
        then: Epoch,
        meta: &BTreeMap<String, String>,
    ) -> Result<Lost, StoreError> {
        let Some(it) = self.remembering() else { return Ok(Lost::default()) };
        let (mut server, mut past) = ("", String::new());
        for (name, value) in meta {
            let Some(term) = name.strip_prefix("identity:") else { continue };
            if term == then.term.to_string() {
                server = value;
            } else if let Some(ended) = meta.get(&format!("ended:{term}")) {
                past.push_str(&format!("{term} {ended} {value}\n"));
            }
        }
        let lineage = Arc::new(Lineage::read(dataset, server, then, &past));
        Ok(it.journal.lost(lineage, self.clock.now().timestamp()).await?)
    }
}
