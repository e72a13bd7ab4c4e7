//! How far the streams of the audit are archived. The cursor of a stream lies with the heads of its chains, so that whoever writes
//! to the stream, or removes from it, can look at it in the same script.

use std::collections::BTreeMap;
use std::time::Duration;

use super::append::id_of_entry;
use super::checkpoints::ACTS;
use super::schema::SHARDS;
use super::{Store, StoreError};
use crate::audit::archive::Archived;

/// The field that it lies in; no name of a node has it.
const CURSOR: &str = "#archived";
/// Where nothing is archived. No entry has this id.
const NOTHING: &str = "0-0";

/// How far a stream is archived, and by whom. It lies in the store as `on LAST SEGMENT HASH NODE`, or `off …`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ArchiveCursor {
    /// Whether entries may only be removed once they are archived.
    pub is_on: bool,
    /// How far.
    pub archived: Archived,
    /// The node that has moved it last.
    pub node: String,
}

impl ArchiveCursor {
    fn to_text(&self) -> String {
        let or = |text: &str, other: &str| if text.is_empty() { other.to_owned() } else { text.to_owned() };
        let Archived { segment, last, seal } = &self.archived;
        let state = if self.is_on { "on" } else { "off" };
        format!("{state} {} {segment} {} {}", or(last, NOTHING), or(seal, "-"), self.node)
    }

    fn read(text: &str) -> Option<Self> {
        let words: Vec<&str> = text.split(' ').collect();
        let [state @ ("on" | "off"), last, segment, seal, node] = words[..] else { return None };
        id_of_entry(last)?;
        let unless = |text: &str, none: &str| if text == none { String::new() } else { text.to_owned() };
        let archived =
            Archived { segment: segment.parse().ok()?, last: unless(last, NOTHING), seal: unless(seal, "-") };
        Some(Self { is_on: state == "on", archived, node: node.to_owned() })
    }
}

/// A cursor as it lies there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredCursor {
    /// What it says. `None`: there is none, or it can't be read.
    pub cursor: Option<ArchiveCursor>,
    text: String,
}

impl StoredCursor {
    /// There is one, and it can't be read: then nothing is removed.
    pub fn is_unreadable(&self) -> bool {
        self.cursor.is_none() && !self.text.is_empty()
    }
}

/// What of a stream is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unarchived {
    /// Whether there are more than are to be kept.
    pub is_too_long: bool,
    /// The first entry; empty: there is none.
    pub first: String,
    /// The first one that is not archived; empty: there is none.
    pub next: String,
}

/// The last id that comes before one.
pub fn before_entry(id: &str) -> String {
    match id_of_entry(id) {
        Some((ms, number)) if number > 0 => format!("{ms}-{}", number - 1),
        Some((ms, _)) if ms > 0 => format!("{}-{}", ms - 1, u64::MAX),
        _ => String::new(),
    }
}

/// All streams of the audit, by their names.
pub fn audit_streams() -> impl Iterator<Item = String> {
    (0..SHARDS).map(|shard| shard.to_string()).chain([ACTS.to_owned()])
}

impl Store {
    /// The cursor of each stream.
    pub async fn archive_cursors(&self) -> Result<BTreeMap<String, StoredCursor>, StoreError> {
        let mut cursors = BTreeMap::new();
        for stream in audit_streams() {
            let mut command = redis::cmd("HGET");
            let key = self.cursor_key(&stream);
            command.arg(&key).arg(CURSOR);
            let text: Option<Vec<u8>> = self.query(&*self.shared.at(&key).await?, command).await?;
            let text = String::from_utf8_lossy(&text.unwrap_or_default()).into_owned();
            cursors.insert(stream, StoredCursor { cursor: ArchiveCursor::read(&text), text });
        }
        Ok(cursors)
    }

    /// Moves the cursor of a stream, if it is still where it was. `None`: it is not.
    pub async fn move_archive_cursor(
        &self,
        stream: &str,
        was: &StoredCursor,
        is: &ArchiveCursor,
    ) -> Result<Option<StoredCursor>, StoreError> {
        self.has_some_room()?;
        // It tells of entries of this dataset.
        self.still_met().await?;
        let moved = StoredCursor { cursor: Some(is.clone()), text: is.to_text() };
        let mut script = self.scripts.cursor.prepare_invoke();
        let key = self.cursor_key(stream);
        script.key(&key).arg(&was.text).arg(&moved.text);
        let is_moved = self.run::<u64>(&*self.shared.at(&key).await?, &script).await? == 1;
        Ok(is_moved.then_some(moved))
    }

    /// Takes the turn to archive, or keeps it, or gives it back, if it is to be kept for no time. `false`: it is another's.
    pub async fn turn_to_archive(&self, node: &str, hold: Duration) -> Result<bool, StoreError> {
        self.has_some_room()?;
        let mut script = self.scripts.lock.prepare_invoke();
        script.key(self.schema.archiving()).arg(node).arg(u64::try_from(hold.as_millis()).unwrap_or(0));
        Ok(self.run::<u64>(&self.shared, &script).await? == 1)
    }

    /// What is there of a stream that is archived up to this entry; empty: not at all.
    pub async fn unarchived(&self, stream: &str, archived: &str) -> Result<Unarchived, StoreError> {
        let key = self.stream_key(stream);
        let mut command = redis::cmd("XLEN");
        command.arg(&key);
        let length: u64 = self.query(&*self.shared.at(&key).await?, command).await?;
        let first = self.first_entry(&key, "-").await?;
        let next = match archived {
            "" => first.clone(),
            archived => self.first_entry(&key, &format!("({archived}")).await?,
        };
        Ok(Unarchived { is_too_long: length > self.options.retention.firehose, first, next })
    }

    /// The id of the first entry from there on; empty: there is none.
    pub(super) async fn first_entry(&self, key: &str, from: &str) -> Result<String, StoreError> {
        let mut script = self.scripts.ids.prepare_invoke();
        script.key(key).arg(from).arg(1);
        let ids: Vec<String> = self.run(&*self.shared.at(key).await?, &script).await?;
        Ok(ids.into_iter().next().unwrap_or_default())
    }

    pub(super) fn stream_key(&self, stream: &str) -> String {
        match stream.parse() {
            Ok(shard) => self.schema.shard_log(shard),
            Err(_) => self.schema.acts(),
        }
    }

    pub(super) fn cursor_key(&self, stream: &str) -> String {
        match stream.parse() {
            Ok(shard) => self.schema.shard_heads(shard),
            Err(_) => self.schema.act_heads(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_is_written() {
        let archived = Archived { segment: 7, last: "12-3".into(), seal: "ab".into() };
        let on = ArchiveCursor { is_on: true, archived, node: "n".into() };
        let off = ArchiveCursor { is_on: false, archived: Archived::default(), node: "n".into() };
        assert_eq!(on.to_text(), "on 12-3 7 ab n");
        for cursor in [on, off] {
            assert_eq!(ArchiveCursor::read(&cursor.to_text()), Some(cursor));
        }
        for bad in ["", "on", "on 1-0 x ab n", "on x 7 ab n", "of 1-0 7 ab n", "on 1-0 7 ab n n"] {
            assert_eq!(ArchiveCursor::read(bad), None, "{bad}");
        }
    }

    #[test]
    fn before_an_entry_comes_another_id() {
        let max = u64::MAX;
        for (id, before) in [("5-3", "5-2"), ("5-0", &format!("4-{max}")), ("0-0", ""), ("", "")] {
            assert_eq!(before_entry(id), before, "{id}");
        }
    }
}
