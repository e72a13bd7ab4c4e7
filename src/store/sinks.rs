//! How far the sinks of the audit have come, and what was removed before they could get it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::checkpoints::{ACTS, comes_before};
use super::lane::Lane;
use super::schema::SHARDS;
use super::{Store, StoreError, TailPosition, Tailed};

/// How far a sink has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkCursor {
    /// Everything up to there was delivered.
    pub position: TailPosition,
    /// So many entries of each stream, counted from the first that there ever was, are delivered whole, or were removed before.
    entries: Vec<u64>,
}

/// Entries of one stream that were removed before they could be delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missed {
    /// The stream: `0` to `3`, or `acts`.
    pub stream: String,
    /// Blocks, or acts.
    pub entries: u64,
}

/// What there is of a stream.
#[derive(Debug, Clone)]
pub(super) struct Extent {
    /// Entries that were ever written.
    pub(super) added: u64,
    /// Of those, the ones that are gone.
    pub(super) removed: u64,
    pub(super) first: String,
    pub(super) last: String,
}

/// What comes next for a sink.
pub struct NextForSink {
    /// Each event, and how far the sink has come with it.
    pub events: Vec<(crate::audit::Event, SinkCursor)>,
    /// How far it has come with all of them.
    pub reached: SinkCursor,
    /// What it can't get any more: before these events.
    pub missed: Vec<Missed>,
    /// How far it has come with having been told so.
    pub after_missed: SinkCursor,
    /// Entries that come later.
    pub behind: u64,
}

impl Store {
    /// Takes the right to deliver a sink, keeps it, or gives it back (`hold` zero). `false`: it is another's.
    pub async fn hold_sink(&self, name: &str, who: &str, hold: Duration) -> Result<bool, StoreError> {
        if hold.is_zero() {
            self.has_some_room()?;
        } else {
            // It would be taken in a dataset that has taken the place of ours.
            self.still_met().await?;
        }
        let lock = self.schema.sink_lock(name);
        let hold = u64::try_from(hold.as_millis()).unwrap_or(0);
        Ok(self.run::<u64>(self.of_sinks()?, self.scripts.lock.key(lock).arg(who).arg(hold)).await? == 1)
    }

    /// How far a sink has come. `None`: it is new.
    pub async fn sink_cursor(&self, name: &str) -> Result<Option<SinkCursor>, StoreError> {
        let mut command = redis::cmd("HGET");
        command.arg(self.schema.sinks()).arg(name);
        let text: Option<String> = self.query(self.of_sinks()?, command).await?;
        let Some(text) = text else { return Ok(None) };
        SinkCursor::read(&text).map(Some).ok_or_else(|| StoreError::Corrupt("how far a sink has come".into()))
    }

    /// Where a new sink begins: at the first entry that is kept, or at what comes next.
    pub async fn first_of_sink(&self, from_beginning: bool) -> Result<SinkCursor, StoreError> {
        let extents = self.extents(self.of_sinks()?).await?;
        let (position, entries) = extents
            .into_iter()
            .map(
                |extent| if from_beginning { (BEFORE_ALL.into(), extent.removed) } else { (extent.last, extent.added) },
            )
            .unzip();
        Ok(SinkCursor { position: TailPosition::after(position), entries })
    }

    /// Notes how far a sink has come. `false`: another has taken it over, and knows better.
    pub async fn move_sink(&self, name: &str, who: &str, to: &SinkCursor) -> Result<bool, StoreError> {
        self.has_some_room()?;
        let text = serde_json::to_string(to).map_err(|_| StoreError::Corrupt("how far a sink has come".into()))?;
        let mut script = self.scripts.sink.prepare_invoke();
        script.key(self.schema.meta()).key(self.schema.sink_lock(name)).key(self.schema.sinks());
        script.arg(self.dataset_id().await?).arg(who).arg(name).arg(text);
        Ok(self.run::<u64>(self.of_sinks()?, &script).await? == 1)
    }

    /// What comes next for a sink. `None`: nothing has come.
    pub async fn next_for_sink(&self, at: &SinkCursor) -> Result<Option<NextForSink>, StoreError> {
        let tailed = self.tail_for_sinks(&at.position).await?;
        // After that: what is removed from now on was read.
        let next = at.next(tailed, &self.extents(self.of_sinks()?).await?);
        Ok(Some(next).filter(|next| next.reached != *at))
    }

    /// What there is of each stream.
    pub(super) async fn extents(&self, lane: &Lane) -> Result<Vec<Extent>, StoreError> {
        let mut extents = Vec::new();
        for key in (0..SHARDS).map(|shard| self.schema.shard_log(shard)).chain([self.schema.acts()]) {
            let reply: (u64, u64, String, String) =
                self.run(&*lane.at(&key).await?, &self.scripts.extent.key(&key)).await?;
            let (added, length, first, last) = reply;
            extents.push(Extent { added, removed: added.saturating_sub(length), first, last });
        }
        Ok(extents)
    }
}

/// No entry has this id.
const BEFORE_ALL: &str = "0-0";

impl SinkCursor {
    pub(super) fn read(text: &str) -> Option<Self> {
        serde_json::from_str::<Self>(text).ok().filter(Self::is_sound)
    }

    /// Of all streams together.
    pub(super) fn entries_read(&self) -> u64 {
        self.entries.iter().sum()
    }

    fn is_sound(&self) -> bool {
        self.entries.len() == usize::from(SHARDS) + 1 && self.position.is_sound()
    }

    fn next(&self, tailed: Tailed, extents: &[Extent]) -> NextForSink {
        let mut after_missed = self.clone();
        let mut missed = Vec::new();
        for (number, extent) in extents.iter().enumerate() {
            let nothing = Vec::new();
            let read = tailed.entries.get(number).unwrap_or(&nothing);
            let Some(counted) = after_missed.entries.get_mut(number) else { continue };
            if let Some(position) = after_missed.position.entry_mut(number)
                && comes_before(&extent.last, &position.0)
            {
                // The stream has gone back, by a failover or by hand: whatever comes now is new.
                tracing::error!(stream = number, "a stream of the audit has lost entries that a sink had got");
                (*position, *counted) = ((extent.last.clone(), None), extent.added);
                continue;
            }
            // Of what is gone by now, this was read just before.
            let in_time = read.iter().filter(|id| extent.first == BEFORE_ALL || comes_before(id, &extent.first));
            let gone = extent.removed.saturating_sub(*counted + in_time.count() as u64);
            if gone > 0 {
                *counted += gone;
                let stream = if number == usize::from(SHARDS) { ACTS.to_owned() } else { number.to_string() };
                missed.push(Missed { stream, entries: gone });
            }
        }
        let with = |position: TailPosition| after_missed.with(position, &tailed.entries);
        let has_gone_back = after_missed.position != self.position;
        let reached = if has_gone_back { after_missed.clone() } else { with(tailed.reached) };
        let events = tailed.events.into_iter().map(|(event, position)| (event, with(position)));
        // It is read again from there.
        let events = if has_gone_back { Vec::new() } else { events.collect() };
        let added: u64 = extents.iter().map(|extent| extent.added).sum();
        let behind = added.saturating_sub(reached.entries_read());
        NextForSink { events, reached, missed, after_missed, behind }
    }

    /// The same after these entries were read up to a position.
    fn with(&self, position: TailPosition, read: &[Vec<String>]) -> Self {
        let mut entries = self.entries.clone();
        for ((counted, ids), (id, told)) in entries.iter_mut().zip(read).zip(position.entries()) {
            let whole = |read: &&String| comes_before(read, id) || (*read == id && told.is_none());
            *counted += ids.iter().filter(whole).count() as u64;
        }
        Self { position, entries }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(added: u64, removed: u64, first: &str, last: &str) -> Extent {
        Extent { added, removed, first: first.into(), last: last.into() }
    }

    fn at(id: &str, entries: u64) -> SinkCursor {
        let mut ids = vec![BEFORE_ALL.to_owned(); 5];
        ids[0] = id.into();
        SinkCursor { position: TailPosition::after(ids), entries: vec![entries, 0, 0, 0, 0] }
    }

    /// What is missed, and how many entries are counted, after these were read.
    fn missed(from: &SinkCursor, read: &[&str], of: Extent) -> (u64, u64) {
        let mut extents = vec![extent(0, 0, BEFORE_ALL, BEFORE_ALL); 5];
        extents[0] = of;
        let mut entries = vec![Vec::new(); 5];
        entries[0] = read.iter().map(|id| (*id).to_owned()).collect();
        let mut reached = vec![BEFORE_ALL.to_owned(); 5];
        let last = from.position.entries().next().unwrap().0.clone();
        reached[0] = read.last().map_or(last, |id| (*id).to_owned());
        let tailed = Tailed { events: Vec::new(), reached: TailPosition::after(reached), entries };
        let next = from.next(tailed, &extents);
        (next.missed.iter().map(|missed| missed.entries).sum(), next.reached.entries[0])
    }

    #[test]
    fn only_what_was_removed_unread_is_missed() {
        // Ten were written, five of them delivered.
        assert_eq!(missed(&at("5-0", 5), &[], extent(10, 5, "6-0", "10-0")), (0, 5));
        assert_eq!(missed(&at("5-0", 5), &["6-0", "7-0"], extent(10, 0, "1-0", "10-0")), (0, 7));
        assert_eq!(missed(&at("5-0", 5), &["9-0", "10-0"], extent(10, 8, "9-0", "10-0")), (3, 10));
        // Removed between the reading and the look at what is there.
        assert_eq!(missed(&at("5-0", 5), &["6-0", "7-0"], extent(10, 8, "9-0", "10-0")), (1, 8));
        assert_eq!(missed(&at("5-0", 5), &["6-0", "7-0"], extent(7, 7, BEFORE_ALL, "7-0")), (0, 7));
        // All of it is gone.
        assert_eq!(missed(&at("5-0", 5), &[], extent(10, 10, BEFORE_ALL, "10-0")), (5, 10));
        assert_eq!(missed(&at("5-0", 5), &[], extent(5, 5, BEFORE_ALL, "5-0")), (0, 5));
    }

    #[test]
    fn a_stream_that_has_gone_back_is_read_on_from_its_end() {
        assert_eq!(missed(&at("5-0", 5), &[], extent(3, 1, "2-0", "3-0")), (0, 3));
        assert_eq!(missed(&at("5-0", 5), &[], extent(0, 0, BEFORE_ALL, BEFORE_ALL)), (0, 0));
    }

    #[test]
    fn an_entry_counts_when_it_is_told_to_its_end() {
        let read = [vec!["6-0".to_owned(), "7-0".to_owned()], Vec::new(), Vec::new(), Vec::new(), Vec::new()];
        let mut position = at("7-0", 0).position;
        *position.entry_mut(0).unwrap() = ("7-0".into(), Some(3));
        assert_eq!(at("5-0", 5).with(position.clone(), &read).entries[0], 6);
        *position.entry_mut(0).unwrap() = ("7-0".into(), None);
        assert_eq!(at("5-0", 5).with(position, &read).entries[0], 7);
    }
}
