//! Takes a backup while everything goes on: all accounts are read, then those that changed meanwhile, until all are as they were at one
//! epoch.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use super::BackupError;
use super::file::{Header, Writer};
use super::record::{End, Ends, Record, Rest, StoredRecord};
use crate::account::{AccountId, StateRecord, Versioned};
use crate::audit::block::hash;
use crate::audit::proof::numbered;
use crate::epoch::Epoch;
use crate::keyring::MasterKey;
use crate::store::{ACTS, AccountTexts, Moment, Profile, Store, StoreError, Texts, comes_before, schema::SHARDS};

/// How often what changed meanwhile is read, before it is too much.
const ROUNDS: usize = 200;
/// Accounts that are read at once.
const CHUNK: usize = 500;

/// What a backup has.
#[derive(Debug, Clone)]
pub struct Taken {
    /// The moment that it is of.
    pub epoch: Epoch,
    /// Accounts in it, without those that are deleted.
    pub accounts: u64,
    /// Roles.
    pub roles: usize,
    /// Teams.
    pub teams: usize,
    /// Entries of the audit.
    pub audit_entries: u64,
    /// Accounts that can't be read, and are not in it.
    pub unreadable: BTreeSet<AccountId>,
}

/// What came of trying.
pub enum Attempt<W> {
    /// It is written to its end.
    Done(W, Taken),
    /// The store became another server, or changes were gone before they were read: it has to be begun anew.
    Again(&'static str),
}

/// Whether it may go on.
type OrAgain<T> = Result<Result<T, &'static str>, BackupError>;

struct Taking<'a, W: Write> {
    store: &'a Store,
    writer: Writer<W>,
    unreadable: BTreeSet<AccountId>,
    /// The last entry of each stream of the audit that was written.
    reached: BTreeMap<String, String>,
    unlinked: BTreeMap<String, String>,
}

/// Reads everything and writes it sealed. The store has to be met.
pub async fn take<W: Write>(
    store: &Store,
    header: &Header,
    master: &MasterKey,
    to: W,
    with_audit: bool,
) -> Result<Attempt<W>, BackupError> {
    let writer = Writer::new(to, header, master)?;
    let mut taking =
        Taking { store, writer, unreadable: BTreeSet::new(), reached: BTreeMap::new(), unlinked: BTreeMap::new() };
    let begun = match store.moment().await {
        Ok(begun) => begun,
        Err(StoreError::Unmet) => {
            store.meet_again().await?;
            return Ok(Attempt::Again("the store became another server"));
        }
        Err(error) => return Err(error.into()),
    };
    taking.accounts(begun.epoch).await?;
    let ends = if with_audit { Some(taking.audit().await?) } else { None };
    let moment = match taking.until_now(&begun).await? {
        Ok(moment) => moment,
        Err(why) => return Ok(Attempt::Again(why)),
    };
    if let Some(ends) = ends {
        taking.acts_until(&moment, ends).await?;
    }
    taking.rest(moment)
}

impl<W: Write> Taking<'_, W> {
    /// All accounts that have not changed since this epoch.
    async fn accounts(&mut self, begun: Epoch) -> Result<(), BackupError> {
        let mut after: Option<String> = None;
        loop {
            let (texts, next) = self.store.account_texts_after(after.as_deref()).await?;
            // Those that were deleted since are newer, and told by the feed.
            for texts in texts {
                self.account(texts, begun, Record::Account)?;
            }
            match next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        let mut cursor = "0".to_owned();
        loop {
            let (texts, next) = self.store.deleted_texts_at(&cursor).await?;
            for texts in texts {
                self.account(texts, begun, Record::Account)?;
            }
            if next == "0" {
                return Ok(());
            }
            cursor = next;
        }
    }

    /// Writes an account, unless it is newer than that: `false`.
    fn account(
        &mut self,
        texts: AccountTexts,
        until: Epoch,
        record: fn(StoredRecord) -> Record,
    ) -> Result<bool, BackupError> {
        let AccountTexts { id, state, profile } = texts;
        match version_of(&state, profile.as_deref()) {
            None => _ = self.unreadable.insert(id),
            Some(version) if version > until => return Ok(false),
            Some(_) => self.writer.write(&record(StoredRecord { id, state, profile }))?,
        }
        Ok(true)
    }

    /// What changed meanwhile, until everything is of one moment: that.
    async fn until_now(&mut self, begun: &Moment) -> OrAgain<Moment> {
        let mut reached = begun.epoch;
        for _ in 0..ROUNDS {
            let moment = match self.store.moment().await {
                Ok(moment) if moment.identity == begun.identity => moment,
                Ok(_) | Err(StoreError::Unmet) => {
                    self.store.meet_again().await?;
                    return Ok(Err("the store became another server"));
                }
                Err(error) => return Err(error.into()),
            };
            let Some(changed) = self.store.changed_between(reached, moment.epoch).await? else {
                return Ok(Err("more changed meanwhile than the store keeps the changes of"));
            };
            let changed: Vec<AccountId> = changed.into_iter().collect();
            let mut is_ahead = false;
            for ids in changed.chunks(CHUNK) {
                for texts in self.store.account_texts(ids).await? {
                    // One that changed again is among those of the next round.
                    is_ahead |= !self.account(texts, moment.epoch, Record::Later)?;
                }
            }
            reached = moment.epoch;
            if !is_ahead {
                return Ok(Ok(moment));
            }
        }
        Ok(Err("the same accounts change faster than they are read"))
    }

    /// The audit, but for the acts of the last moment. First what there is, then the checkpoints, then the rest of the blocks: so none
    /// is missing that a checkpoint names, and no block links an act that is not in it.
    async fn audit(&mut self) -> Result<Ends, BackupError> {
        for shard in 0..SHARDS {
            self.blocks(shard, None).await?;
        }
        self.acts(None).await?;
        let mut after = String::new();
        loop {
            let some = self.store.checkpoints_after(&after).await?;
            let Some((last, _)) = some.last() else { break };
            after.clone_from(last);
            for (entry, text) in some {
                self.writer.write(&Record::Checkpoint { entry, text })?;
            }
        }
        let sinks = self.store.texts(Texts::Sinks).await?;
        // From now on each act is taken for one that is not linked yet. What is linked all the same is found so by its node.
        self.unlinked = self.store.texts(Texts::Unlinked).await?;
        let mut shards = BTreeMap::new();
        for shard in 0..SHARDS {
            let ends = self.store.shard_ends(shard).await?;
            self.blocks(shard, Some(&ends.last)).await?;
            shards.insert(shard, ends.heads);
        }
        Ok(Ends { shards, sinks, ..Ends::default() })
    }

    /// Blocks of a shard, up to an entry; `None`: all there are.
    async fn blocks(&mut self, shard: u16, last: Option<&str>) -> Result<(), BackupError> {
        let reached = self.reached.entry(shard.to_string()).or_default();
        loop {
            let some = self.store.blocks_after(shard, reached, true).await?;
            if some.is_empty() {
                return Ok(());
            }
            for block in some {
                if last.is_some_and(|last| comes_before(last, &block.id)) {
                    return Ok(());
                }
                reached.clone_from(&block.id);
                let lines = block.lines.unwrap_or_default();
                self.writer.write(&Record::Block { shard, entry: block.id, header: block.header, lines })?;
            }
        }
    }

    /// The same of acts. Those up to an entry may not be linked yet.
    async fn acts(&mut self, last: Option<&str>) -> Result<(), BackupError> {
        let reached = self.reached.entry(ACTS.to_owned()).or_default();
        loop {
            let some = self.store.acts_between(reached, "").await?;
            if some.is_empty() {
                return Ok(());
            }
            for act in some {
                if let Some(last) = last {
                    if comes_before(last, &act.id) {
                        return Ok(());
                    }
                    if let Some((node, number)) = numbered(&act.line) {
                        self.unlinked.insert(format!("{node} {number}"), format!("{} {}", act.id, hash(&act.line)));
                    }
                }
                reached.clone_from(&act.id);
                self.writer.write(&Record::Act { entry: act.id, epoch: act.epoch, line: act.line })?;
            }
        }
    }

    async fn acts_until(&mut self, moment: &Moment, mut ends: Ends) -> Result<(), BackupError> {
        self.acts(Some(&moment.last_act)).await?;
        ends.acts.clone_from(&moment.act_heads);
        ends.unlinked = std::mem::take(&mut self.unlinked);
        Ok(self.writer.write(&Record::Ends(Box::new(ends)))?)
    }

    fn rest(mut self, moment: Moment) -> Result<Attempt<W>, BackupError> {
        let Moment { epoch, meta, roles, teams, keyring, issuers, accounts, .. } = moment;
        let (named_roles, named_teams) = (roles.len(), teams.len());
        let is_kept =
            |name: &String| name.starts_with("ended:") || name.starts_with("identity:") || name == "lease_ceiling_ms";
        // For whoever puts it back, the present term is over, too.
        let identity = meta.get("identity").cloned().unwrap_or_default();
        let mut meta: BTreeMap<String, String> = meta.into_iter().filter(|(name, _)| is_kept(name)).collect();
        meta.insert(format!("ended:{}", epoch.term), epoch.counter.to_string());
        meta.insert(format!("identity:{}", epoch.term), identity);
        self.writer.write(&Record::Rest(Box::new(Rest { epoch, meta, roles, teams, keyring, issuers })))?;
        let (to, End { blocks, acts, checkpoints, .. }) = self.writer.finish()?;
        let taken = Taken {
            epoch,
            accounts: accounts.saturating_sub(self.unreadable.len() as u64),
            roles: named_roles,
            teams: named_teams,
            audit_entries: blocks + acts + checkpoints,
            unreadable: self.unreadable,
        };
        Ok(Attempt::Done(to, taken))
    }
}

/// The epoch of an account that can be put back.
fn version_of(state: &str, profile: Option<&str>) -> Option<Epoch> {
    let versioned = Versioned::parse(state).ok()?;
    let is_whole = match (&versioned.record, profile) {
        (StateRecord::Live(_), Some(profile)) => serde_json::from_str::<Profile>(profile).is_ok(),
        (StateRecord::Deleted(_), None) => true,
        _ => false,
    };
    is_whole.then_some(versioned.version)
}
