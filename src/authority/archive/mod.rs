//! Entries of the audit are written to files before they are removed from the store (see [`crate::audit::archive`]).

mod file;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Authority;
use crate::audit::archive::{Archived, Segment, SegmentName};
use crate::audit::block::hash;
use crate::audit::checkpoint::Checkpoint;
use crate::audit::proof::{Record, VERSION};
use crate::store::{
    ACTS, ArchiveCursor, StoreError, StoredCursor, audit_streams, before_entry, comes_before, stream_of,
};
use crate::token::{KeyError, SigningKey};
use crate::told::Told;
use crate::verify::Unavailable;
use file::SegmentFile;

/// For so long a turn is kept, again for each segment.
const TURN: Duration = Duration::from_secs(60);

/// Whether entries are archived before they are removed.
#[derive(Debug, Clone, Default)]
pub enum Archive {
    /// Not here. What another issuer is to archive is not removed before it is.
    #[default]
    Elsewhere,
    /// Here.
    Here(ArchivePlace),
    /// Not any more: from now on entries are removed without.
    Ended,
}

/// Where it is archived to, and when.
#[derive(Debug, Clone)]
pub struct ArchivePlace {
    /// The files are in here.
    pub directory: PathBuf,
    /// A segment of so many bytes is ended, about.
    pub segment_bytes: u64,
    /// Entries of that age are archived, if they have not to be before.
    pub after: Duration,
}

/// What a process knows of its archive.
#[derive(Default)]
pub struct Archiving {
    /// A segment that is on the disk, of which nobody knows whether it counts.
    uncertain: Option<Written>,
    told: Told,
}

/// A segment on the disk, and how the cursor was moved to it.
struct Written {
    stream: String,
    was: StoredCursor,
    is: ArchiveCursor,
    name: SegmentName,
    path: PathBuf,
    entries: u64,
    bytes: u64,
}

/// Why nothing is archived for now.
#[derive(Debug, thiserror::Error)]
pub enum NotArchived {
    /// The store is away, or has no room.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file can't be written.
    #[error("{}: {source}", directory.display())]
    File {
        /// In here.
        directory: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It could not be signed.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The latest keys are not here yet.
    #[error("the latest keys are not here yet")]
    Keys,
    /// How far it is archived is not what was signed: somebody has written to the store by hand, or it has lost something.
    #[error(
        "how far the stream {stream} is archived is not what was signed: segment {segment} was. Nothing is written over it"
    )]
    Rewound {
        /// The stream.
        stream: String,
        /// The last segment that was signed.
        segment: u64,
    },
    /// The last checkpoint can't be read, which the log has said.
    #[error("the last checkpoint of the audit is none")]
    Checkpoint,
}

impl Archiving {
    /// Says why nothing is archived, at most once a minute.
    pub(super) fn waits(&mut self, why: &NotArchived) {
        self.told.is("", |_| {
            tracing::error!(%why, "the audit can't be archived, and nothing of it is removed from the store until it can");
        });
    }
}

/// The last checkpoint, which proves what is archived now.
struct Proof {
    id: String,
    text: String,
    checkpoint: Checkpoint,
}

impl Authority {
    /// Archives what is due, if that is to be done here, and no other issuer does it now.
    pub async fn archive(&self, known: &mut Archiving) -> Result<(), NotArchived> {
        let done = match &self.settings.archive {
            Archive::Elsewhere => Ok(()),
            Archive::Ended => self.end_archive().await,
            Archive::Here(place) => self.archive_to(place, known).await,
        };
        if done.is_err() {
            self.metrics.archive_failures.inc();
        }
        done
    }

    /// From now on nothing is kept for an archive.
    async fn end_archive(&self) -> Result<(), NotArchived> {
        for (stream, was) in self.store.archive_cursors().await? {
            let Some(cursor) = was.cursor.as_ref().filter(|cursor| cursor.is_on) else { continue };
            let is = ArchiveCursor { is_on: false, node: self.recorder().node().to_owned(), ..cursor.clone() };
            if self.store.move_archive_cursor(&stream, &was, &is).await?.is_some() {
                tracing::warn!(stream, "the audit is not archived any more: entries are removed without");
            }
        }
        Ok(())
    }

    async fn archive_to(&self, place: &ArchivePlace, known: &mut Archiving) -> Result<(), NotArchived> {
        let node = self.recorder().node();
        self.settle(place, known).await?;
        // Looked at first: what is in the store is that, or goes on from there.
        let proof = self.proof().await?;
        let mut cursors = self.store.archive_cursors().await?;
        for (stream, signed) in proof.iter().flat_map(|proof| &proof.checkpoint.archived) {
            let stored = cursors.get(stream).and_then(|stored| stored.cursor.as_ref());
            if let Some(ArchiveCursor { archived, .. }) = stored
                && !archived.goes_on_from(signed)
            {
                return Err(NotArchived::Rewound { stream: stream.clone(), segment: signed.segment });
            }
        }
        for (stream, was) in &mut cursors {
            if !was.cursor.as_ref().is_some_and(|cursor| cursor.is_on) {
                self.begin_archive(stream, was).await?;
            }
        }
        let Some(proof) = proof else { return Ok(()) };
        let due = self.due_streams(place, &cursors, &proof.checkpoint).await?;
        if due.is_empty() || !self.store.turn_to_archive(node, TURN).await? {
            return Ok(());
        }
        let mut done = Ok(());
        for stream in due {
            let Some(cursor) = cursors.remove(&stream) else { continue };
            done = self.archive_stream(place, known, &stream, cursor, &proof).await;
            if done.is_err() {
                break;
            }
        }
        // If it is not given back, it ends by itself.
        let _ = self.store.turn_to_archive(node, Duration::ZERO).await;
        done
    }

    /// From now on nothing of a stream is removed before it is archived. Goes on after the segments that were signed already.
    async fn begin_archive(&self, stream: &str, stored: &mut StoredCursor) -> Result<(), NotArchived> {
        let signed = self.proof().await?.and_then(|proof| proof.checkpoint.archived.get(stream).cloned());
        if stored.is_unreadable() {
            tracing::error!(
                stream,
                "how far the audit is archived can't be read in the store; what was signed last counts"
            );
        }
        let was_off = stored.cursor.is_some();
        let archived = stored.cursor.take().map(|cursor| cursor.archived).or(signed).unwrap_or_default();
        let mut is = ArchiveCursor { is_on: true, archived, node: self.recorder().node().to_owned() };
        let Some(moved) = self.store.move_archive_cursor(stream, stored, &is).await? else { return Ok(()) };
        *stored = moved;
        tracing::info!(stream, "the audit is archived from now on");
        // Looked at after that: what is removed from now on is archived.
        let kept = self.proof().await?.and_then(|proof| proof.checkpoint.kept.get(stream).cloned());
        if was_off && kept.is_some_and(|kept| comes_before(&is.archived.last, &before_entry(&kept.first))) {
            is.archived.last.clear();
            if let Some(moved) = self.store.move_archive_cursor(stream, stored, &is).await? {
                *stored = moved;
            }
        }
        Ok(())
    }

    /// The last checkpoint. `None`: there is none yet.
    async fn proof(&self) -> Result<Option<Proof>, NotArchived> {
        let Some((id, text)) = self.store.last_checkpoint().await? else { return Ok(None) };
        let open = || Checkpoint::open(&text, &self.keys.now().audit.public);
        let checkpoint = match open() {
            Ok(checkpoint) => checkpoint,
            // It may be signed with a key that is not here yet.
            Err(_) => {
                let version = self.keys.document().await.map_err(|_| NotArchived::Keys)?.version;
                self.keys.at_least(version).await.map_err(|Unavailable| NotArchived::Keys)?;
                open().map_err(|_| NotArchived::Checkpoint)?
            }
        };
        Ok(Some(Proof { id, text, checkpoint }))
    }

    /// The streams of which something is to be archived now: what is old enough, or is kept in the store only for that.
    async fn due_streams(
        &self,
        place: &ArchivePlace,
        cursors: &BTreeMap<String, StoredCursor>,
        checkpoint: &Checkpoint,
    ) -> Result<Vec<String>, NotArchived> {
        let now = self.clock.now().timestamp_millis();
        let (mut due, mut lag) = (Vec::new(), 0);
        for stream in audit_streams() {
            let Some(cursor) = cursors.get(&stream).and_then(|stored| stored.cursor.as_ref()) else { continue };
            let there = self.store.unarchived(&stream, &cursor.archived.last).await?;
            let Some((ms, _)) = there.next.split_once('-') else { continue };
            let age = Duration::from_millis(u64::try_from(now - ms.parse().unwrap_or(now)).unwrap_or(0));
            lag = lag.max(age.as_secs());
            let is_proven = !comes_before(&horizon(checkpoint, &stream), &there.next);
            // What is archived has been removed, and it is still too long.
            let is_held = there.is_too_long && !comes_before(&there.first, &cursor.archived.last);
            if is_proven && (is_held || age >= place.after) {
                due.push(stream);
            }
        }
        self.metrics.archive_lag.set(i64::try_from(lag).unwrap_or(i64::MAX));
        Ok(due)
    }

    /// All of a stream that is proven.
    async fn archive_stream(
        &self,
        place: &ArchivePlace,
        known: &mut Archiving,
        stream: &str,
        mut stored: StoredCursor,
        proof: &Proof,
    ) -> Result<(), NotArchived> {
        loop {
            let written = self.write_segment(place, stream, &stored, proof).await;
            if matches!(written, Err(NotArchived::File { .. }))
                && self.store.archive_cursors().await?.get(stream) != Some(&stored)
            {
                // Another issuer was faster, and has removed what can't count any more.
                return Ok(());
            }
            let Some(written) = written? else { return Ok(()) };
            known.uncertain = Some(written);
            match self.settle(place, known).await? {
                Some(moved) if self.store.turn_to_archive(self.recorder().node(), TURN).await? => stored = moved,
                _ => return Ok(()),
            }
        }
    }

    /// Moves the cursor to a segment that is on the disk. `None`: there is none, or another issuer was faster.
    async fn settle(&self, place: &ArchivePlace, known: &mut Archiving) -> Result<Option<StoredCursor>, NotArchived> {
        let Some(written) = &known.uncertain else { return Ok(None) };
        let mut moved = self.store.move_archive_cursor(&written.stream, &written.was, &written.is).await?;
        let mut may_count = false;
        if moved.is_none() {
            // The answer to the first try may have been lost; and others may have gone on from there.
            let now = self.store.archive_cursors().await?.remove(&written.stream);
            let reached = now.as_ref().and_then(|now| now.cursor.as_ref()).map(|cursor| cursor.archived.segment);
            may_count = reached.is_none_or(|reached| reached > written.is.archived.segment);
            moved = now.filter(|now| now.cursor.as_ref() == Some(&written.is));
        }
        let Some(Written { name, path, entries, bytes, .. }) = known.uncertain.take() else { return Ok(None) };
        let directory = place.directory.clone();
        let counts = moved.is_some();
        let cleaned = on_disk(&place.directory, move || {
            if counts {
                file::put_others_aside(&directory, &name)
            } else if may_count {
                // Whoever checks the archive is told which of a number counts.
                Ok(())
            } else {
                std::fs::remove_file(&path)
            }
        });
        if let Err(error) = cleaned.await {
            tracing::warn!(%error, "a file of the archive that does not count could not be removed");
        }
        if counts {
            self.metrics.archived_entries.inc_by(entries);
            self.metrics.archived_bytes.inc_by(bytes);
        }
        Ok(moved)
    }

    /// The next segment, whole and on the disk. `None`: there is nothing for it.
    async fn write_segment(
        &self,
        place: &ArchivePlace,
        stream: &str,
        stored: &StoredCursor,
        proof: &Proof,
    ) -> Result<Option<Written>, NotArchived> {
        let Some(cursor) = &stored.cursor else { return Ok(None) };
        let Archived { segment, last: after, seal: previous } = cursor.archived.clone();
        let (number, horizon) = (segment + 1, horizon(&proof.checkpoint, stream));
        let mut reached = match proof.checkpoint.kept.get(stream) {
            Some(kept) if after.is_empty() => before_entry(&kept.first),
            _ => after.clone(),
        };
        let mut lines = self.entries(stream, &mut reached, &horizon).await?;
        if lines.count == 0 {
            return Ok(None);
        }
        let (directory, of) = (&place.directory, stream.to_owned());
        let within = directory.clone();
        let mut file = on_disk(directory, move || SegmentFile::create(&within, &of, number)).await?;
        let dataset = self.dataset.id.clone();
        let begin = Record::Segment {
            version: VERSION,
            dataset: dataset.clone(),
            stream: stream.to_owned(),
            number,
            previous: previous.clone(),
            after: after.clone(),
        };
        let proven = Record::Checkpoint { id: proof.id.clone(), text: proof.text.clone() };
        let head = format!("{}\n{}\n", begin.to_line(), proven.to_line());
        file = write(directory, file, head).await?;
        let mut entries = 0;
        while lines.count > 0 {
            entries += lines.count;
            file = write(directory, file, lines.text).await?;
            if file.bytes >= place.segment_bytes {
                break;
            }
            lines = self.entries(stream, &mut reached, &horizon).await?;
        }
        let node = self.recorder().node().to_owned();
        let (time, last) = (self.clock.now(), reached);
        let (stream, lines) = (stream.to_owned(), file.lines());
        let segment = Segment { dataset, stream, number, time, node, previous, after, last, entries, lines };
        let text = segment.sign(self.signer()?.as_ref())?;
        let Segment { stream, last, node, .. } = segment;
        file = write(directory, file, format!("{}\n", Record::Seal { text: text.clone() }.to_line())).await?;
        let name = SegmentName::of(&stream, number, &text);
        let (kept, bytes) = (name.clone(), file.bytes);
        let path = on_disk(directory, move || file.keep(&kept)).await?;
        let archived = Archived { segment: number, last, seal: hash(&text) };
        let is = ArchiveCursor { is_on: true, archived, node };
        Ok(Some(Written { stream, was: stored.clone(), is, name, path, entries, bytes }))
    }

    fn signer(&self) -> Result<std::sync::Arc<SigningKey>, NotArchived> {
        let loaded = self.keys.now();
        loaded.audit.signer.as_ref().map(|(signer, _)| signer.clone()).ok_or(NotArchived::Keys)
    }

    /// Some of the next entries, up to one.
    async fn entries(&self, stream: &str, reached: &mut String, horizon: &str) -> Result<Lines, NotArchived> {
        let mut lines = Lines::default();
        let Ok(shard) = stream.parse() else {
            for act in self.store.acts_between(reached, "").await? {
                if !comes_before(horizon, &act.id) {
                    lines.push(&Record::Act { id: act.id.clone(), epoch: act.epoch, omitted: None }, &act.line);
                    *reached = act.id;
                }
            }
            return Ok(lines);
        };
        for block in self.store.blocks_after(shard, reached, true).await? {
            if !comes_before(horizon, &block.id) {
                let (stream, id, header) = (stream.to_owned(), block.id.clone(), block.header);
                let record = Record::Block { stream, id, header, withheld: false, omitted: Vec::new() };
                lines.push(&record, &block.lines.unwrap_or_default());
                *reached = block.id;
            }
        }
        Ok(lines)
    }
}

/// Entries as they are archived.
#[derive(Default)]
struct Lines {
    text: String,
    count: u64,
}

impl Lines {
    fn push(&mut self, record: &Record, events: &str) {
        self.text.push_str(&record.to_line());
        self.text.push('\n');
        self.text.push_str(events);
        if !self.text.ends_with('\n') {
            self.text.push('\n');
        }
        self.count += 1;
    }
}

/// The last entry of a stream that a checkpoint proves.
fn horizon(checkpoint: &Checkpoint, stream: &str) -> String {
    if stream == ACTS {
        return checkpoint.acts.last.clone();
    }
    let ends = checkpoint.nodes.iter().filter(|(node, _)| stream_of(node) == stream).map(|(_, head)| &head.entry);
    ends.fold(String::new(), |last, entry| if comes_before(&last, entry) { entry.clone() } else { last })
}

async fn write(directory: &Path, mut file: SegmentFile, text: String) -> Result<SegmentFile, NotArchived> {
    on_disk(directory, move || file.write(&text).map(|()| file)).await
}

/// The disk may be slow, and requests are answered meanwhile.
async fn on_disk<T: Send + 'static>(
    directory: &Path,
    what: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, NotArchived> {
    let done = tokio::task::spawn_blocking(what).await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
    done.map_err(|source| NotArchived::File { directory: directory.to_owned(), source })
}
