//! Counts the living tokens of each signing key anew, from the accounts, while everything goes on.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use serde_json::json;

use super::account_record::{LiveToken, StoredAccount};
use super::link::for_one_request;
use super::listing::Listing;
use super::{Store, StoreError};
use crate::account::AccountId;

/// Accounts, or tokens, that are looked at together.
const CHUNK: usize = 500;

/// What is wrong with the counts of one account's tokens.
#[derive(Default)]
struct Correction {
    add: Vec<LiveToken>,
    /// Key and member.
    remove: Vec<(String, String)>,
}

impl Store {
    /// Corrects the counts of these keys: tokens that live and are not counted, that are counted and don't live, or until another
    /// time. Yields how many were wrong. An account that changes meanwhile is counted by its change.
    pub async fn recount(&self, key_ids: &[String], now: DateTime<Utc>) -> Result<u64, StoreError> {
        let mut corrected = 0;
        let mut position: Option<String> = None;
        loop {
            let page =
                for_one_request(
                    self.list(Listing { after: position.as_deref(), ..Listing::default() }, CHUNK, |_| true),
                )
                .await?;
            corrected += for_one_request(self.count_missing(&page.accounts, now)).await?;
            match page.next {
                Some(next) => position = Some(next),
                None => break,
            }
        }
        for key_id in key_ids {
            let mut cursor = "0".to_owned();
            loop {
                let (next, members) = for_one_request(self.counted_for(key_id, &cursor)).await?;
                corrected += for_one_request(self.forget_dead(key_id, &members)).await?;
                if next == "0" {
                    break;
                }
                cursor = next;
            }
        }
        Ok(corrected)
    }

    async fn count_missing(&self, accounts: &[StoredAccount], now: DateTime<Utc>) -> Result<u64, StoreError> {
        let tokens: Vec<_> = accounts
            .iter()
            .flat_map(|account| account.live_tokens().into_iter().map(move |token| (account, token)))
            .filter(|(_, token)| token.until > now.timestamp())
            .collect();
        if tokens.is_empty() {
            return Ok(0);
        }
        let mut pipeline = redis::pipe();
        for (_, token) in &tokens {
            pipeline.cmd("ZSCORE").arg(self.schema.live(&token.key_id)).arg(&token.member);
        }
        let scores: Vec<Option<i64>> = self.pipeline(&self.shared, &pipeline).await?;
        let mut wrong = BTreeMap::<AccountId, (&StoredAccount, Correction)>::new();
        for ((account, token), score) in tokens.into_iter().zip(scores) {
            if score != Some(token.until) {
                wrong.entry(account.id).or_insert_with(|| (account, Correction::default())).1.add.push(token);
            }
        }
        let mut corrected = 0;
        for (id, (account, correction)) in wrong {
            corrected += self.correct(id, &account.version.to_string(), &correction).await?;
        }
        Ok(corrected)
    }

    /// Some of those that are counted, and where to go on: whatever stays in meanwhile is met.
    async fn counted_for(&self, key_id: &str, cursor: &str) -> Result<(String, Vec<String>), StoreError> {
        let mut command = redis::cmd("ZSCAN");
        command.arg(self.schema.live(key_id)).arg(cursor).arg("COUNT").arg(CHUNK);
        let (next, found): (String, Vec<(String, String)>) = self.query(&self.shared, command).await?;
        Ok((next, found.into_iter().map(|(member, _)| member).collect()))
    }

    async fn forget_dead(&self, key_id: &str, members: &[String]) -> Result<u64, StoreError> {
        let mut by_account = BTreeMap::<AccountId, Vec<&String>>::new();
        for member in members {
            // What names no account is nobody's.
            let id = member.split_once(':').and_then(|(id, _)| id.parse().ok()).unwrap_or_else(AccountId::nobody);
            by_account.entry(id).or_default().push(member);
        }
        let ids: Vec<AccountId> = by_account.keys().copied().collect();
        let accounts: HashMap<AccountId, StoredAccount> =
            self.readable_accounts(&ids).await?.into_iter().map(|account| (account.id, account)).collect();
        let mut corrected = 0;
        for (id, members) in by_account {
            let account = accounts.get(&id);
            let living = account.map(StoredAccount::live_tokens).unwrap_or_default();
            let lives = |member: &str| living.iter().any(|token| token.key_id == key_id && token.member == member);
            let dead = members.into_iter().filter(|member| !lives(member));
            let correction =
                Correction { remove: dead.map(|dead| (key_id.to_owned(), dead.clone())).collect(), add: Vec::new() };
            if correction.remove.is_empty() {
                continue;
            }
            let version = match account {
                Some(account) => account.version.to_string(),
                // It was deleted: its tombstone has a version too.
                None => match self.record(id).await {
                    Ok(record) => record.map(|record| record.version.to_string()).unwrap_or_default(),
                    // It may live: nobody knows.
                    Err(StoreError::Corrupt(_)) => continue,
                    Err(error) => return Err(error),
                },
            };
            corrected += self.correct(id, &version, &correction).await?;
        }
        Ok(corrected)
    }

    async fn correct(&self, id: AccountId, version: &str, correction: &Correction) -> Result<u64, StoreError> {
        let mut keys: Vec<&str> = correction.add.iter().map(|token| token.key_id.as_str()).collect();
        keys.extend(correction.remove.iter().map(|(key_id, _)| key_id.as_str()));
        keys.sort_unstable();
        keys.dedup();
        let place = |key_id: &str| keys.iter().position(|known| *known == key_id).map_or(0, |place| place + 1);
        let add: Vec<_> =
            correction.add.iter().map(|token| json!([place(&token.key_id), token.member, token.until])).collect();
        let remove: Vec<_> = correction.remove.iter().map(|(key_id, member)| json!([place(key_id), member])).collect();
        let mut script = self.scripts.recount.prepare_invoke();
        script.key(self.schema.meta()).key(self.schema.state(id));
        for key_id in &keys {
            script.key(self.schema.live(key_id));
        }
        script.arg(self.dataset_id().await?).arg(version).arg(json!({"add": add, "remove": remove}).to_string());
        self.has_room()?;
        self.run(&self.shared, &script).await
    }
}
