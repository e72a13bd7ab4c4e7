//! Accounts as they are read.

use std::collections::HashMap;
use std::sync::PoisonError;

use chrono::{DateTime, Utc};

use super::account_record::StoredAccount;
use super::lane::Lane;
use super::usage::dead_tokens;
use super::{Store, StoreError};
use crate::account::{AccountId, StateRecord, Versioned};
use crate::name::Username;

/// When the tokens of an account were used last, which in a cluster may lie on a server that is away.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// For lists, by which is told whose tokens nobody uses.
    Wanted,
    /// For whatever is about one account, and for decisions, none of which depends on it: nobody is revoked or raised later because of it.
    IfThere,
}

impl Store {
    /// The account of this id; without its use, where that can't be read.
    pub async fn account(&self, id: AccountId) -> Result<Option<StoredAccount>, StoreError> {
        Ok(self.accounts(&[id]).await?.pop().flatten())
    }

    /// The id that a username belongs, or belonged, to.
    pub async fn id_of(&self, username: &Username) -> Result<Option<AccountId>, StoreError> {
        let mut command = redis::cmd("HGET");
        command.arg(self.schema.names()).arg(username.as_str());
        let id: Option<String> = self.query(&self.shared, command).await?;
        id.map(|id| id.parse().map_err(|_| StoreError::Corrupt("an account id".into()))).transpose()
    }

    /// The record of this id, also of an account that was deleted.
    pub async fn record(&self, id: AccountId) -> Result<Option<Versioned>, StoreError> {
        let mut command = redis::cmd("GET");
        command.arg(self.schema.state(id));
        let text: Option<String> = self.query(&self.shared, command).await?;
        text.map(|text| Versioned::parse(&text).map_err(|error| StoreError::Corrupt(error.0))).transpose()
    }

    /// The accounts of these ids, in their order; those that aren't there, or no longer, are `None`. Without their use, where that can't be
    /// read.
    pub async fn accounts(&self, ids: &[AccountId]) -> Result<Vec<Option<StoredAccount>>, StoreError> {
        self.accounts_by(&self.shared, ids, Use::IfThere).await?.into_iter().collect()
    }

    /// Those of these accounts that are there and can be read: for those who have to go on without the others, or without their use.
    pub async fn readable_accounts(&self, ids: &[AccountId]) -> Result<Vec<StoredAccount>, StoreError> {
        self.readable_by(&self.shared, ids, Use::IfThere).await
    }

    /// The same over this lane.
    pub(super) async fn readable_by(
        &self,
        lane: &Lane,
        ids: &[AccountId],
        with: Use,
    ) -> Result<Vec<StoredAccount>, StoreError> {
        let mut readable = Vec::with_capacity(ids.len());
        for account in self.accounts_by(lane, ids, with).await? {
            match account {
                Ok(account) => readable.extend(account),
                Err(error) => tracing::error!(%error, "an unreadable account is passed over"),
            }
        }
        Ok(readable)
    }

    /// The accounts of these ids over this lane, each with what is wrong with it alone.
    async fn accounts_by(
        &self,
        lane: &Lane,
        ids: &[AccountId],
        with: Use,
    ) -> Result<Vec<Result<Option<StoredAccount>, StoreError>>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        // State and profile change together, so they are read together.
        let mut records = redis::cmd("MGET");
        for id in ids {
            records.arg(self.schema.state(*id)).arg(self.schema.profile(*id));
        }
        let uses = ids.iter().map(|id| {
            let (key, mut command) = (self.schema.usage(*id), redis::cmd("HGETALL"));
            command.arg(&key);
            (key, command)
        });
        // At once: a store that waits for its disk answers both in one of its turns.
        let patience = if with == Use::Wanted { self.timeout } else { self.timeout / 4 };
        let uses = tokio::time::timeout(patience, self.each::<HashMap<String, String>>(lane, uses.collect()));
        let (texts, uses) = tokio::join!(self.query::<Vec<Option<String>>>(lane, records), uses);
        let texts = texts?;
        let uses = match uses.unwrap_or_else(|_| Err(StoreError::Unavailable("timed out".into()))) {
            Err(error) if with == Use::IfThere => {
                self.uses_are_away(&error);
                vec![HashMap::new(); ids.len()]
            }
            uses => uses?,
        };
        let accounts = ids
            .iter()
            .zip(texts.chunks_exact(2))
            .zip(uses)
            .map(|((id, texts), used)| match texts {
                [Some(state), Some(profile)] => stored(*id, state, profile, &used).map(Some),
                [Some(state), None] => is_deleted(*id, state).map(|()| None),
                _ => Ok(None),
            })
            .collect();
        Ok(accounts)
    }

    fn uses_are_away(&self, error: &StoreError) {
        let mut told = self.uses_away.lock().unwrap_or_else(PoisonError::into_inner);
        told.is("", |_| tracing::warn!(%error, "when tokens were used last can't be read for some accounts"));
    }

    /// Whether there is an active admin whose token has not expired.
    pub async fn has_admin(&self) -> Result<bool, StoreError> {
        let mut command = redis::cmd("ZCARD");
        command.arg(self.schema.admins());
        Ok(self.query::<u64>(&self.shared, command).await? > 0)
    }

    /// Accounts whose overlap has ended by now, a hundred at the most.
    pub async fn ended_overlaps(&self, now: DateTime<Utc>) -> Result<Vec<AccountId>, StoreError> {
        let mut command = redis::cmd("ZRANGEBYSCORE");
        command.arg(self.schema.overlaps()).arg("-inf").arg(now.timestamp()).arg("LIMIT").arg(0).arg(100);
        let ids: Vec<String> = self.query(&self.shared, command).await?;
        Ok(ids.into_iter().filter_map(|id| id.parse().ok()).collect())
    }
}

/// Of whoever was deleted only the record stays. Where it stays of anybody else, verifications still let him in.
fn is_deleted(id: AccountId, state: &str) -> Result<(), StoreError> {
    match Versioned::parse(state).map(|versioned| versioned.record) {
        Ok(StateRecord::Deleted(_)) => Ok(()),
        Ok(StateRecord::Live(_)) => Err(StoreError::Corrupt(format!("the profile of account {id}"))),
        Err(_) => Err(StoreError::Corrupt(format!("the state of account {id}"))),
    }
}

fn stored(
    id: AccountId,
    state: &str,
    profile: &str,
    used: &HashMap<String, String>,
) -> Result<StoredAccount, StoreError> {
    let corrupt = |what: &str| StoreError::Corrupt(format!("{what} of account {id}"));
    let versioned = Versioned::parse(state).map_err(|_| corrupt("the state"))?;
    let StateRecord::Live(state) = versioned.record else { return Err(corrupt("the state")) };
    let profile = serde_json::from_str(profile).map_err(|_| corrupt("the profile"))?;
    let dead = dead_tokens(id, used.get("dead").map(String::as_str));
    let used = used
        .iter()
        .filter_map(|(field, time)| {
            let id = field.strip_prefix("used:")?.parse().ok()?;
            Some((id, DateTime::from_timestamp_millis(time.parse().ok()?)?))
        })
        .collect();
    Ok(StoredAccount { id, version: versioned.version, state, profile, used, dead })
}
