//! The segments of an archive, as they are met: each goes on from the one before.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::VERSION;
use crate::audit::archive::{Archived, Segment, SegmentName};
use crate::audit::block::hash;
use crate::audit::checkpoint::{Checkpoint, NotACheckpoint};
use crate::store::comes_before;

/// What was met of an archive.
#[derive(Default)]
pub(super) struct Segments {
    open: Option<Open>,
    /// Of each stream that has any.
    streams: BTreeMap<String, Row>,
    /// Of each stream the last segment that checkpoints name.
    signed: BTreeMap<String, Archived>,
    /// The latest checkpoint.
    pub(super) last: Option<Checkpoint>,
    pub(super) dataset: Option<String>,
    has_ended: bool,
}

/// The segments of a stream so far.
#[derive(Default)]
struct Row {
    number: u64,
    last: String,
    /// The hash of the end of each.
    seals: BTreeMap<u64, String>,
}

/// The one that is being read.
struct Open {
    file: String,
    /// What it says of itself. `None`: nothing yet.
    begun: Option<Begun>,
    is_sealed: bool,
}

struct Begun {
    stream: String,
    number: u64,
    previous: String,
    after: String,
    entries: u64,
    has_checkpoint: bool,
}

/// What a segment says of itself at its beginning.
pub(super) struct Beginning {
    pub(super) version: u32,
    pub(super) dataset: String,
    pub(super) stream: String,
    pub(super) number: u64,
    pub(super) previous: String,
    pub(super) after: String,
}

impl Segments {
    /// The next file.
    pub(super) fn open(&mut self, file: &str) {
        self.open = Some(Open { file: file.to_owned(), begun: None, is_sealed: false });
    }

    /// The file that is being read.
    pub(super) fn file(&self) -> Option<&str> {
        self.open.as_ref().map(|open| open.file.as_str())
    }

    /// The stream that it is of, once it has begun.
    pub(super) fn stream(&self) -> Option<&str> {
        self.open.as_ref()?.begun.as_ref().map(|begun| begun.stream.as_str())
    }

    /// Whether nothing before it was archived, or is in the archive.
    pub(super) fn begins(&self) -> bool {
        self.open.as_ref().and_then(|open| open.begun.as_ref()).is_some_and(|begun| begun.after.is_empty())
    }

    /// Whether there are any.
    pub(super) fn are_there(&self) -> bool {
        !self.streams.is_empty() || self.open.is_some()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// The last entry of a stream that is in the archive; empty: there is none.
    pub(super) fn reached(&self, stream: &str) -> &str {
        self.streams.get(stream).map_or("", |row| &row.last)
    }

    /// The beginning of the file. What is wrong with it, and what is to be known of it.
    pub(super) fn begin(&mut self, beginning: Beginning) -> (Vec<String>, Option<String>) {
        let Beginning { version, dataset, stream, number, previous, after } = beginning;
        let (mut wrong, mut note) = (Vec::new(), None);
        let Some(open) = &mut self.open else { return (wrong, note) };
        if version != VERSION {
            wrong.push(format!("it is of version {version}, and this program reads version {VERSION}"));
        }
        if open.begun.is_some() {
            wrong.push("it begins twice".to_owned());
            return (wrong, note);
        }
        let known = self.dataset.get_or_insert_with(|| dataset.clone());
        if *known != dataset {
            wrong.push(format!("it is of the dataset {dataset}, and others are of {known}"));
        }
        if SegmentName::read(&open.file).is_none_or(|name| (&name.stream, name.number) != (&stream, number)) {
            wrong.push(format!("it is segment {number} of the stream {stream}, and its name says otherwise"));
        }
        let row = self.streams.entry(stream.clone()).or_default();
        let before = row.seals.get(&(number.saturating_sub(1))).cloned().unwrap_or_default();
        if number > row.number + 1 {
            let (first, last) = (row.number + 1, number - 1);
            wrong.push(match first == last {
                true => format!("segment {first} of the stream {stream} is missing before it"),
                false => format!("segments {first} to {last} of the stream {stream} are missing before it"),
            });
        } else if number <= row.number {
            wrong.push(format!("it is segment {number} of the stream {stream}, after segment {}", row.number));
        } else if previous != before {
            wrong.push(format!(
                "it does not follow segment {} of the stream {stream}, which was another one",
                row.number
            ));
        }
        if after.is_empty() && number > 1 {
            note = Some(format!(
                "{}: entries of the stream {stream} before it, after the entry {}, were removed without being archived: \
                 archiving was ended for a while",
                open.file, row.last
            ));
        } else if after != row.last && number == row.number + 1 {
            wrong.push(format!("it begins after the entry {after}, and segment {} ends with {}", row.number, row.last));
        }
        row.number = row.number.max(number);
        open.begun = Some(Begun { stream, number, previous, after, entries: 0, has_checkpoint: false });
        (wrong, note)
    }

    /// A checkpoint that was in it.
    pub(super) fn take(&mut self, checkpoint: &Checkpoint) {
        if let Some(begun) = self.open.as_mut().and_then(|open| open.begun.as_mut()) {
            begun.has_checkpoint = true;
        }
        for (stream, archived) in &checkpoint.archived {
            let known = self.signed.entry(stream.clone()).or_default();
            if known.segment < archived.segment {
                known.clone_from(archived);
            }
        }
        if self.last.as_ref().is_none_or(|last| last.number < checkpoint.number) {
            self.last = Some(checkpoint.clone());
        }
    }

    /// An entry that was in it. What is wrong with it.
    pub(super) fn entry(&mut self, stream: &str, id: &str) -> Option<String> {
        let begun = self.open.as_mut()?.begun.as_mut();
        let Some(begun) = begun.filter(|begun| begun.stream == stream) else {
            return Some("it does not belong in this segment".to_owned());
        };
        begun.entries += 1;
        let row = self.streams.entry(stream.to_owned()).or_default();
        if comes_before(&row.last, id) {
            id.clone_into(&mut row.last);
        }
        (!begun.has_checkpoint).then(|| "no checkpoint proves it".to_owned())
    }

    /// The end of the file. What is wrong with it.
    pub(super) fn seal(&mut self, text: &str, opened: Result<Segment, NotACheckpoint>, lines: &str) -> Vec<String> {
        let mut wrong = Vec::new();
        let Some(open) = &mut self.open else { return wrong };
        open.is_sealed = true;
        let segment = match opened {
            Ok(segment) => segment,
            Err(why) => return vec![format!("the seal at its end is none: {why}")],
        };
        let Some(begun) = &open.begun else { return wrong };
        if segment.lines != lines {
            wrong.push("its lines are not those that were signed when it was archived".to_owned());
        }
        let row = self.streams.entry(begun.stream.clone()).or_default();
        let said = (segment.stream.as_str(), segment.number, segment.previous.as_str(), segment.after.as_str());
        if said != (begun.stream.as_str(), begun.number, begun.previous.as_str(), begun.after.as_str())
            || (segment.last.as_str(), segment.entries) != (row.last.as_str(), begun.entries)
            || self.dataset.as_ref() != Some(&segment.dataset)
        {
            wrong.push(format!(
                "its end was signed for segment {} of the stream {}, with {} entries up to {}",
                segment.number, segment.stream, segment.entries, segment.last
            ));
        }
        let hash = hash(text);
        if SegmentName::read(&open.file).is_some_and(|name| !name.is_of(&hash)) {
            wrong.push("its name is that of another one".to_owned());
        }
        row.seals.insert(begun.number, hash);
        wrong
    }

    /// Whether there is more after the end.
    pub(super) fn is_sealed(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.is_sealed)
    }

    /// The file is read. What is wrong with it, and of which stream it is.
    pub(super) fn close(&mut self) -> (Option<String>, Option<String>) {
        let Some(open) = self.open.take() else { return (None, None) };
        let stream = open.begun.as_ref().map(|begun| begun.stream.clone());
        let wrong = match (&open.begun, open.is_sealed) {
            (None, _) => Some(format!("{}: it is no segment of an archive", open.file)),
            (Some(_), false) => Some(format!("{}: it has no end: it is the beginning of a segment only", open.file)),
            (Some(_), true) => None,
        };
        (wrong, stream)
    }

    /// All are read: what is missing after them, as checkpoints say.
    pub(super) fn end(&mut self) -> Vec<String> {
        self.has_ended = true;
        let signed = std::mem::take(&mut self.signed);
        signed.iter().filter_map(|(stream, archived)| self.lacks(stream, archived, None)).collect()
    }

    /// What is wrong if a stream is archived so far, as was signed then.
    pub(super) fn lacks(&self, stream: &str, archived: &Archived, at: Option<DateTime<Utc>>) -> Option<String> {
        let Archived { segment, seal, .. } = archived;
        let at = at.map(|at| format!(" at {}", crate::clock::rfc3339::text(&at))).unwrap_or_default();
        let row = self.streams.get(stream);
        match row.map_or(0, |row| row.number) {
            _ if *segment == 0 => None,
            last if last < *segment => Some(format!(
                "the archive of the stream {stream} ends with segment {last}, and segment {segment} was signed{at}: what comes after is missing"
            )),
            _ => row
                .and_then(|row| row.seals.get(segment))
                .filter(|met| *met != seal)
                .map(|_| format!("segment {segment} of the stream {stream} is another one than was signed{at}")),
        }
    }
}
