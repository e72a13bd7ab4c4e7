//! Calls as they are counted: those with tokens that one key signed, and all of a shard.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;

use super::gathered::Batch;
use crate::audit::Outcome;
use crate::audit::rollup::hour_of;
use crate::store::append::id_of_entry;
use crate::store::{Store, StoreError, calls};

/// Batches whose calls are counted at once.
const TOGETHER: usize = 64;
/// For how many hours calls with tokens of a key are counted: a day, and the hours at its ends.
const HOURS_OF_KEY: i64 = 26;
/// Fields that one key's counts have at the least before any are removed, and those of a shard: some more than are kept.
const FIELDS_OF_KEY: usize = 128;
const FIELDS_OF_SHARD: usize = 768;

/// What calls are counted together.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Of {
    /// Those with tokens that this key signed, by the hour in which they came into the store.
    Key(String),
    /// All, by the minute and the hour in which they were.
    Shard,
}

/// Calls from one shard that are counted together.
struct Counted {
    shard: u16,
    of: Of,
    /// By the batch that they came in, in order.
    batches: Vec<(Arc<Batch>, Counts)>,
}

/// How many calls ended so in which minute since 1970. There are few of these.
type Counts = Vec<((Outcome, i64), u64)>;

/// Everything that is to be counted.
#[derive(Default)]
pub(super) struct Counting {
    all: Vec<Counted>,
    /// The last time that was read, up to its minute, and that minute.
    last: (String, i64),
}

impl Counting {
    /// One more call. `time`: as the event has it.
    pub(super) fn take(&mut self, batch: &Arc<Batch>, key_id: Option<&str>, outcome: Outcome, time: &str) {
        let written = batch.written_ms().div_euclid(calls::MINUTE_MS);
        if let Some(key_id) = key_id {
            // What is not let through is refused: why is not asked of a key.
            let outcome = if outcome == Outcome::Allowed { outcome } else { Outcome::Refused };
            self.count(
                batch,
                |of| matches!(of, Of::Key(id) if id == key_id),
                || Of::Key(key_id.to_owned()),
                outcome,
                written,
            );
        }
        let minute = calls::sane_minute(self.minute_of(time).unwrap_or(written), written);
        self.count(batch, |of| *of == Of::Shard, || Of::Shard, outcome, minute);
    }

    /// Most calls are of the minute of the one before.
    fn minute_of(&mut self, time: &str) -> Option<i64> {
        const UP_TO_MINUTE: usize = "2027-01-31T08:00".len();
        let prefix = time.get(..UP_TO_MINUTE).filter(|_| time.ends_with('Z'))?;
        if self.last.0 != prefix {
            let minute = chrono::DateTime::parse_from_rfc3339(time).ok()?.timestamp().div_euclid(60);
            self.last = (prefix.to_owned(), minute);
        }
        Some(self.last.1)
    }

    fn count(
        &mut self,
        batch: &Arc<Batch>,
        is: impl Fn(&Of) -> bool,
        of: impl FnOnce() -> Of,
        outcome: Outcome,
        minute: i64,
    ) {
        let shard = batch.shard();
        let at = self.all.iter().position(|counted| counted.shard == shard && is(&counted.of)).unwrap_or_else(|| {
            self.all.push(Counted { shard, of: of(), batches: Vec::new() });
            self.all.len() - 1
        });
        let Some(Counted { batches, .. }) = self.all.get_mut(at) else { return };
        if batches.last().is_none_or(|(last, _)| !Arc::ptr_eq(last, batch)) {
            batches.push((Arc::clone(batch), Vec::new()));
        }
        let Some((_, counts)) = batches.last_mut() else { return };
        match counts.iter_mut().find(|(what, _)| *what == (outcome, minute)) {
            Some((_, count)) => *count += 1,
            None => counts.push(((outcome, minute), 1)),
        }
    }

    /// Adds them to what lies in the store.
    pub(super) async fn write(&self, store: &Store) -> Result<(), StoreError> {
        for counted in &self.all {
            for some in counted.batches.chunks(TOGETHER) {
                counted.write(store, some).await?;
            }
        }
        Ok(())
    }
}

impl Counted {
    async fn write(&self, store: &Store, batches: &[(Arc<Batch>, Counts)]) -> Result<(), StoreError> {
        let Some((last, _)) = batches.last() else { return Ok(()) };
        let (hour, minute) = (hour_of(last.written_ms()), last.written_ms().div_euclid(calls::MINUTE_MS));
        let mut script = store.scripts.calls.prepare_invoke();
        let key = match &self.of {
            Of::Key(key_id) => store.schema.key_calls(key_id),
            Of::Shard => store.schema.shard_calls(self.shard),
        };
        script.key(&key).arg(self.shard);
        match &self.of {
            Of::Key(_) => {
                let oldest = hour - HOURS_OF_KEY;
                script.arg(store.options.retention.age.as_secs()).arg(FIELDS_OF_KEY);
                script.arg(json!({ "allowed": oldest, "refused": oldest }).to_string());
            }
            Of::Shard => {
                script
                    .arg(calls::KEPT.as_secs())
                    .arg(FIELDS_OF_SHARD)
                    .arg(calls::oldest_kept(hour, minute).to_string());
            }
        }
        for (batch, counts) in batches {
            let fields = match &self.of {
                Of::Key(_) => by_hour(counts),
                Of::Shard => by_minute_and_hour(counts, hour_of(batch.written_ms())),
            };
            script.arg(batch.id()).arg(fields.len());
            for (field, count) in fields {
                script.arg(field).arg(count);
            }
        }
        store.run::<u64>(&*store.blocking.at(&key).await?, &script).await.map(|_| ())
    }
}

fn by_hour(counts: &Counts) -> BTreeMap<String, u64> {
    let mut fields = BTreeMap::new();
    for ((outcome, minute), count) in counts {
        *fields.entry(calls::hour_field(*outcome, minute.div_euclid(60))).or_default() += count;
    }
    fields
}

/// Without those that are too old to be told of.
fn by_minute_and_hour(counts: &Counts, written: i64) -> BTreeMap<String, u64> {
    let young = |((_, minute), _): &&((Outcome, i64), u64)| minute.div_euclid(60) > written - calls::HOURS_KEPT;
    let young: Counts = counts.iter().filter(young).copied().collect();
    let mut fields = by_hour(&young);
    let lately = young.into_iter().filter(|((_, minute), _)| *minute > written * 60 - calls::MINUTES_KEPT);
    fields.extend(lately.map(|((outcome, minute), count)| (calls::minute_field(outcome, minute), count)));
    fields
}

impl Batch {
    /// When it came into the store, in milliseconds.
    fn written_ms(&self) -> i64 {
        id_of_entry(self.id()).and_then(|(ms, _)| i64::try_from(ms).ok()).unwrap_or_default()
    }
}
