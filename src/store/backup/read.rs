//! Accounts as they lie in the store, and everything else of one moment.

use std::collections::{BTreeMap, BTreeSet};

use redis::streams::{StreamId, StreamRangeReply};

use super::super::lenient::Lenient;
use super::super::listing::Listing;
use super::super::{Store, StoreError};
use crate::account::{AccountId, StateRecord, Versioned};
use crate::epoch::Epoch;
use crate::verify::freshness::{Identity, Place};

/// Accounts, or entries of the feed, that are read at once.
const CHUNK: usize = 500;

/// The fields of a hash.
type Fields = BTreeMap<String, String>;
/// What backup.lua replies.
type Reply = (String, String, String, Fields, Fields, Fields, Fields, Fields, Fields, String, u64);

/// Everything that is neither accounts nor calls.
#[derive(Debug, Clone)]
pub struct Moment {
    /// Where it was read.
    pub identity: Identity,
    /// When.
    pub epoch: Epoch,
    /// What the dataset is.
    pub meta: Fields,
    /// Roles, each with its epoch.
    pub roles: Fields,
    /// Teams, each with its epoch.
    pub teams: Fields,
    /// The sealed signing keys.
    pub keyring: Fields,
    /// The issuers that the dataset knows.
    pub issuers: Fields,
    /// The last act of each node.
    pub act_heads: Fields,
    /// The id of the last act of all; empty: there is none.
    pub last_act: String,
    /// How many accounts there are that are not deleted.
    pub accounts: u64,
}

/// An account as it lies in the store.
#[derive(Debug, Clone)]
pub struct AccountTexts {
    /// Its id.
    pub id: AccountId,
    /// `EPOCH {state record}`
    pub state: String,
    /// JSON; of a deleted one there is none.
    pub profile: Option<String>,
}

impl Store {
    /// Everything that is neither accounts nor calls, of this moment.
    pub async fn moment(&self) -> Result<Moment, StoreError> {
        let schema = &self.schema;
        let mut script = self.scripts.backup.prepare_invoke();
        script
            .key(schema.meta())
            .key(schema.roles())
            .key(schema.teams())
            .key(schema.keyring())
            .key(schema.issuers())
            .key(schema.acts())
            .key(schema.act_heads())
            .key(schema.list());
        let reply: Reply = self.run(&self.reads, &script).await?;
        let (dataset, server, epoch, meta, roles, teams, keyring, issuers, act_heads, last_act, accounts) = reply;
        let head = [dataset, server, epoch];
        let (Place { identity, epoch }, _) = self.place(&head).await?;
        Ok(Moment { identity, epoch, meta, roles, teams, keyring, issuers, act_heads, last_act, accounts })
    }

    /// The next accounts that are not deleted, in the order of their names, and after which name to go on.
    pub async fn account_texts_after(
        &self,
        after: Option<&str>,
    ) -> Result<(Vec<AccountTexts>, Option<String>), StoreError> {
        let (ids, next) = self.some_ids(Listing { after, ..Listing::default() }, CHUNK).await?;
        Ok((self.account_texts(&ids).await?, next))
    }

    /// Some of the deleted accounts whose names are still taken, and where to go on; `0` is the beginning and the end. Whoever is
    /// there all the time is met, perhaps more than once.
    pub async fn deleted_texts_at(&self, cursor: &str) -> Result<(Vec<AccountTexts>, String), StoreError> {
        let mut command = redis::cmd("HSCAN");
        command.arg(self.schema.names()).arg(cursor).arg("COUNT").arg(CHUNK);
        let (next, found): (String, Vec<(String, String)>) = self.query(&self.reads, command).await?;
        let ids: Vec<AccountId> = found.into_iter().filter_map(|(_, id)| id.parse().ok()).collect();
        let mut deleted = Vec::new();
        // A small hash is told all at once.
        for ids in ids.chunks(CHUNK) {
            let mut command = redis::cmd("MGET");
            for id in ids {
                command.arg(self.schema.state(*id));
            }
            let states: Vec<Option<String>> = self.query(&self.reads, command).await?;
            let found = ids.iter().zip(states).filter_map(|(id, state)| {
                let state = state.filter(|text| is_deleted(text))?;
                Some(AccountTexts { id: *id, state, profile: None })
            });
            deleted.extend(found);
        }
        Ok((deleted, next))
    }

    /// The records of these accounts. Those that are not there are left out.
    pub async fn account_texts(&self, ids: &[AccountId]) -> Result<Vec<AccountTexts>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        // State and profile change together, so they are read together.
        let mut command = redis::cmd("MGET");
        for id in ids {
            command.arg(self.schema.state(*id)).arg(self.schema.profile(*id));
        }
        let texts: Vec<Option<String>> = self.query(&self.reads, command).await?;
        let found = ids.iter().zip(texts.chunks_exact(2)).filter_map(|(id, texts)| match texts {
            [Some(state), profile] => Some(AccountTexts { id: *id, state: state.clone(), profile: profile.clone() }),
            _ => None,
        });
        Ok(found.collect())
    }

    /// The accounts that changed after one epoch, up to another of the same term. `None`: some of the changes are not in the feed
    /// any more.
    pub async fn changed_between(&self, after: Epoch, until: Epoch) -> Result<Option<BTreeSet<AccountId>>, StoreError> {
        let mut changed = BTreeSet::new();
        let mut reached = after;
        while reached < until {
            let Some(entries) = self.feed_after(reached, until).await? else { return Ok(None) };
            for entry in entries {
                reached.counter += 1;
                let field = |name| entry.get::<String>(name).unwrap_or_default();
                if field("t") == "account" {
                    let id = field("k").parse().map_err(|_| StoreError::Corrupt("the feed".into()))?;
                    changed.insert(id);
                }
            }
        }
        Ok(Some(changed))
    }

    /// The next entries of the feed after an epoch, up to another of the same term, one for each epoch. `None`: some of them are not
    /// there any more.
    pub(super) async fn feed_after(&self, after: Epoch, until: Epoch) -> Result<Option<Vec<StreamId>>, StoreError> {
        let mut command = redis::cmd("XRANGE");
        command.arg(self.schema.feed()).arg(format!("({after}")).arg(until.to_string()).arg("COUNT").arg(CHUNK);
        let Lenient(reply): Lenient<StreamRangeReply> = self.query(&self.reads, command).await?;
        let follows = |(entry, counter): (&StreamId, u64)| entry.id.parse() == Ok(Epoch { counter, ..after });
        let is_whole = !reply.ids.is_empty() && reply.ids.iter().zip(after.counter + 1..).all(follows);
        Ok(is_whole.then_some(reply.ids))
    }
}

fn is_deleted(text: &str) -> bool {
    Versioned::parse(text).is_ok_and(|versioned| matches!(versioned.record, StateRecord::Deleted(_)))
}
