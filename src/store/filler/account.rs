//! Writing what concerns one account: its activity log and its roll-ups, in one script, so that what is in the one is in the other.
//!
//! Roll-ups are read, what is new is added here, and they are written back, if nobody else has written meanwhile: the script compares
//! the shards' last batches (`mark`) and the number of the account's last event with those that were read. So nothing is counted
//! twice, and Redis does no more for a roll-up than to put a text in its place.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

use super::gathered::Part;
use super::told::{Call, Told};
use super::{KILOBYTES, TOGETHER};
use crate::account::AccountId;
use crate::audit::rollup::{AHEAD, DeadTokens, HourOfCalls, hour_of, sane_time};
use crate::store::append::id_of_entry;
use crate::store::link::Link;
use crate::store::schema::SHARDS;
use crate::store::{Store, StoreError};
use crate::token::TokenId;

/// Each shard may be another process' work. That it is tried as often as this means that something else is wrong.
const TRIES: usize = 64;
/// Accounts of which is remembered what lies in the store, and hours of each: some hundred bytes an hour as a rule, some twenty
/// kilobytes at the most.
const REMEMBERED: usize = 512;
const HOURS_REMEMBERED: usize = 2;

/// What lies in the store of accounts that were written lately, as far as this process knows: it is not read again each time. Whether
/// it is still so is for the script to say.
#[derive(Default)]
pub(super) struct Lately(Mutex<HashMap<AccountId, Before>>);

impl Lately {
    /// Takes it out: whoever has it may change it.
    fn take(&self, account: AccountId) -> Option<Before> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&account)
    }

    fn put(&self, account: AccountId, mut known: Before) {
        while known.hours.len() > HOURS_REMEMBERED {
            known.hours.pop_first();
        }
        let mut lately = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lately.len() >= REMEMBERED {
            // Those that are busy are soon back.
            lately.clear();
        }
        lately.insert(account, known);
    }
}

/// Writes what concerns one account.
pub(super) async fn write_one(
    store: &Store,
    account: AccountId,
    parts: &[Part],
    lately: &Lately,
    room: &Semaphore,
) -> Result<(), StoreError> {
    let together = TOGETHER.min(store.options.retention.activity / 16).max(1);
    let mut rest = parts;
    while !rest.is_empty() {
        let mut count = 0;
        let some = rest.iter().take_while(|part| {
            count += part.count() as u64;
            count <= together
        });
        // At least one: it was small enough for the firehose.
        let (now, later) = rest.split_at(some.count().max(1));
        let bytes: usize = now.iter().map(Part::length).sum();
        let kilobytes = u32::try_from(bytes / 1024).unwrap_or(u32::MAX).clamp(1, KILOBYTES);
        // Never closed.
        let _room = room.acquire_many(kilobytes).await;
        Writing { store, account, lately }.write(now).await?;
        rest = later;
    }
    Ok(())
}

struct Writing<'a> {
    store: &'a Store,
    account: AccountId,
    lately: &'a Lately,
}

/// What lies in the store of an account, before something is added.
struct Before {
    /// The last batch of each shard.
    marks: Vec<Option<String>>,
    /// The number of the last event.
    events: Option<String>,
    /// Whether it is said from when on roll-ups are whole.
    has_since: bool,
    dead: DeadTokens,
    /// Those that were asked for.
    hours: BTreeMap<i64, HourOfCalls>,
}

/// What is added to it, but for what is rolled up.
#[derive(Default)]
struct Additions<'a> {
    parts: Vec<&'a Part>,
    /// The last batch of each shard.
    last: BTreeMap<u16, &'a str>,
    dead_changed: bool,
    /// Good tokens, and when they were last used, in milliseconds.
    used: BTreeMap<TokenId, i64>,
}

impl Before {
    fn mark(&self, shard: u16) -> Option<&str> {
        self.marks.get(usize::from(shard))?.as_deref()
    }
}

impl Writing<'_> {
    async fn write(&self, parts: &[Part]) -> Result<(), StoreError> {
        let calls: Vec<Vec<(i64, Call<'_>)>> = parts.iter().map(|part| self.calls(part)).collect();
        let hours: BTreeSet<i64> = calls.iter().flatten().map(|(time, _)| hour_of(*time)).collect();
        let mut lately = self.lately.take(self.account);
        for _ in 0..TRIES {
            let lately = lately.take().filter(|known| hours.iter().all(|hour| known.hours.contains_key(hour)));
            let mut known = match lately {
                Some(known) => known,
                None => self.before(&hours).await?,
            };
            // A shard is read in order by one process at a time, so that its last batch stands for all before it.
            let is_new = |part: &Part| id_of_entry(part.batch()) > known.mark(part.shard()).and_then(id_of_entry);
            let new: Vec<(&Part, &Vec<(i64, Call<'_>)>)> =
                parts.iter().zip(&calls).filter(|(part, _)| is_new(part)).collect();
            if new.is_empty() {
                return Ok(());
            }
            known.hours.retain(|hour, _| hours.contains(hour));
            let mut more = Additions::default();
            for (part, calls) in new {
                for (time, call) in calls {
                    let seen = call.seen_at(*time);
                    known.hours.entry(hour_of(*time)).or_default().take(&seen);
                    more.dead_changed |= known.dead.take(&seen);
                    if let Some(token) = call.good_token() {
                        let used = more.used.entry(token).or_insert(*time);
                        *used = (*used).max(*time);
                    }
                }
                more.last.insert(part.shard(), part.batch());
                more.parts.push(part);
            }
            if let Some(events) = self.put(&more, &known).await? {
                (known.events, known.has_since) = (Some(events), true);
                for (shard, batch) in more.last {
                    if let Some(mark) = known.marks.get_mut(usize::from(shard)) {
                        *mark = Some(batch.to_owned());
                    }
                }
                self.lately.put(self.account, known);
                return Ok(());
            }
        }
        Err(StoreError::Conflict)
    }

    /// The calls of a part that roll-ups take in, and when they were.
    fn calls<'b>(&self, part: &'b Part) -> Vec<(i64, Call<'b>)> {
        let written = id_of_entry(part.batch()).and_then(|(ms, _)| i64::try_from(ms).ok()).unwrap_or_default();
        part.lines()
            .filter_map(|line| Told::of(line).filter(|told| told.is_about(self.account))?.call())
            .filter_map(|call| Some((sane_time(call.time, written)?, call)))
            .collect()
    }

    /// To where everything of the account's use lies.
    async fn link(&self) -> Result<Arc<Link>, StoreError> {
        self.store.blocking.at(&self.store.schema.usage(self.account)).await
    }

    async fn before(&self, hours: &BTreeSet<i64>) -> Result<Before, StoreError> {
        let schema = &self.store.schema;
        let mut pipeline = redis::pipe();
        pipeline.cmd("HMGET").arg(schema.usage(self.account)).arg("events").arg("since").arg("dead");
        for shard in 0..SHARDS {
            pipeline.arg(format!("mark:{shard}"));
        }
        if !hours.is_empty() {
            pipeline.cmd("HMGET").arg(schema.hours(self.account));
            for hour in hours {
                pipeline.arg(hour);
            }
        }
        let replies: Vec<Vec<Option<String>>> = self.store.pipeline(&*self.link().await?, &pipeline).await?;
        let mut replies = replies.into_iter().map(Vec::into_iter);
        let mut fields = replies.next().unwrap_or_default();
        let mut field = || fields.next().flatten();
        let (events, since, dead) = (field(), field(), field());
        let mut rolled = replies.next().unwrap_or_default();
        let of_hour = |hour: &i64| {
            let text = rolled.next().flatten();
            (*hour, text.and_then(|text| self.readable(&text)).unwrap_or_default())
        };
        Ok(Before {
            events,
            has_since: since.is_some(),
            dead: dead.and_then(|text| self.readable(&text)).unwrap_or_default(),
            marks: fields.collect(),
            hours: hours.iter().map(of_hour).collect(),
        })
    }

    /// What somebody else has put there must not stop everything.
    fn readable<T: serde::de::DeserializeOwned>(&self, text: &str) -> Option<T> {
        let read = serde_json::from_str(text);
        if read.is_err() {
            tracing::error!(account = %self.account, "an unreadable roll-up of calls is begun anew");
        }
        read.ok()
    }

    /// The number of its last event, if it was written; else another was faster.
    async fn put(&self, more: &Additions<'_>, known: &Before) -> Result<Option<String>, StoreError> {
        let (store, retention) = (self.store, &self.store.options.retention);
        let mut lines = String::with_capacity(more.parts.iter().map(|part| part.length()).sum());
        for line in more.parts.iter().flat_map(|part| part.lines()) {
            lines.push_str(line);
            lines.push('\n');
        }
        let now = more.last.values().filter_map(|batch| id_of_entry(batch)).map(|(ms, _)| ms).max().unwrap_or_default();
        let since = match known.events {
            _ if known.has_since => String::new(),
            // There was no call before this one.
            None => "0".to_owned(),
            // Those before this one came when there were no roll-ups.
            Some(_) => now.to_string(),
        };
        let dead = match more.dead_changed {
            false => String::new(),
            true if known.dead.is_empty() => "none".to_owned(),
            true => text_of(&known.dead),
        };
        let mut script = store.scripts.activity.prepare_invoke();
        script
            .key(store.schema.activity(self.account))
            .key(store.schema.usage(self.account))
            .key(store.schema.hours(self.account))
            .arg(retention.activity)
            .arg(retention.age.as_secs())
            .arg(retention.hours())
            .arg(AHEAD)
            .arg(now / 1000)
            .arg(known.events.as_deref().unwrap_or_default())
            .arg(more.parts.iter().map(|part| part.count()).sum::<usize>())
            .arg(lines)
            .arg(since)
            .arg(dead)
            .arg(more.last.len())
            .arg(more.used.len());
        for (shard, batch) in &more.last {
            script.arg(format!("mark:{shard}")).arg(known.mark(*shard).unwrap_or_default()).arg(*batch);
        }
        for (token, time) in &more.used {
            script.arg(format!("used:{token}")).arg(time);
        }
        for (hour, calls) in &known.hours {
            script.arg(hour).arg(text_of(calls));
        }
        let events: String = store.run(&*self.link().await?, &script).await?;
        Ok(Some(events).filter(|events| !events.is_empty()))
    }
}

/// All that is rolled up has a JSON form.
fn text_of<T: serde::Serialize>(rolled: &T) -> String {
    serde_json::to_string(rolled).unwrap_or_default()
}
