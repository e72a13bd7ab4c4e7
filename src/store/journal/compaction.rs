//! Old segments lose what later entries say anew.
//!
//! On a thread of its own, in little memory however much there is: old segments are sorted piece by piece by what their entries are about,
//! and merged with what was compacted before. Entries keep the places where they were noted, so that it still can be told what came
//! before and what after a store was raised.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use super::entry::{self, About, Noted};
use super::segment::{self, Files, Lines, SegmentFile};
use super::{JournalError, lock, order, unusable};
use crate::clock::{Clock as _, SystemClock};

/// So many segments stay as they are, the latest: at least 100,000 changes.
pub(super) const LATEST: usize = 48;

/// How much is done at once, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    /// Compacted together, at the least.
    pub(super) at_least: u64,
    /// Sorted in memory.
    pub(super) piece: u64,
}

pub(super) const SIZES: Sizes = Sizes { at_least: 24 * 1024 * 1024, piece: 4 * 1024 * 1024 };

/// And this part of what was compacted before, which is written anew with them: so each byte that is noted is written a few times
/// in all, however long the journal is.
const PART: u64 = 2;

/// So many files are merged at a time.
const MERGED: usize = 16;

/// Each time the bell rings, until nobody can ring it.
pub(super) fn run(directory: &Path, keep_for: Duration, sizes: Sizes, bell: &Receiver<()>) {
    while bell.recv().is_ok() {
        if let Err(error) = compact(directory, keep_for, sizes) {
            tracing::warn!(%error, "the journal could not be made smaller");
        }
    }
}

/// Of what lies before the latest segments, only the last entry of each account, each role and each key stays, for as long as
/// entries are kept; and one file. Nothing is done while that is little.
pub(super) fn compact(directory: &Path, keep_for: Duration, sizes: Sizes) -> Result<(), JournalError> {
    let Some(_ours) = lock::compacting(directory)? else { return Ok(()) };
    remove_replaced(directory)?;
    let files = segment::all_in(directory)?;
    files.are_whole(directory)?;
    let old = files.segments.len().checked_sub(LATEST).and_then(|old| files.segments.get(..old)).unwrap_or_default();
    let Some(last) = old.last() else { return Ok(()) };
    let fresh = old.iter().try_fold(0, |all, file| Ok(all + file.length()?))?;
    let before = files.compacted.as_ref().map_or(Ok(0), SegmentFile::length)?;
    if fresh < sizes.at_least.max(before / PART) {
        return Ok(());
    }
    has_room_for(directory, 2 * fresh + before)?;
    let mut work = Work::begin(directory, sizes.piece)?;
    for file in old {
        work.sort(file)?;
    }
    let whole = work.merge(files.compacted.clone(), keep_for)?;
    let path = segment::compacted_path_of(directory, last.number);
    // What it has is read from it alone from here on, and goes away.
    crate::durable::rename(&whole.path, &path).map_err(unusable(&path))?;
    work.end()?;
    remove_replaced(directory)
}

/// When nobody reads it any more.
fn remove_replaced(directory: &Path) -> Result<(), JournalError> {
    let Files { replaced, .. } = segment::all_in(directory)?;
    if replaced.is_empty() {
        return Ok(());
    }
    let _ours = lock::removing(directory)?;
    replaced.iter().try_for_each(|path| std::fs::remove_file(path).map_err(unusable(path)))
}

/// What the store and the journal need themselves is not taken for this.
fn has_room_for(directory: &Path, bytes: u64) -> Result<(), JournalError> {
    match crate::durable::room(directory) {
        Some((free, ample)) if free < ample + bytes => {
            let why =
                format!("{bytes} bytes are needed for that, beside the {ample} that are kept free; {free} are free");
            Err(unusable(directory)(std::io::Error::other(why)))
        }
        _ => Ok(()),
    }
}

/// Sorted files on their way to be one, in a directory of their own. What was ended in between begins anew.
struct Work {
    directory: PathBuf,
    /// Each made of as many of the one before: so each byte is written once in each.
    levels: Vec<Vec<SegmentFile>>,
    made: u64,
    /// So many bytes are sorted in memory.
    at_once: u64,
    /// What becomes the next of them.
    piece: BTreeMap<About, Vec<Noted>>,
    bytes: u64,
}

impl Work {
    fn begin(journal: &Path, at_once: u64) -> Result<Self, JournalError> {
        let work = Self {
            directory: journal.join("compaction"),
            levels: Vec::new(),
            made: 0,
            at_once,
            piece: BTreeMap::new(),
            bytes: 0,
        };
        if work.directory.exists() {
            std::fs::remove_dir_all(&work.directory).map_err(unusable(&work.directory))?;
        }
        crate::durable::create_directory_for_owner(&work.directory, 0o700).map_err(unusable(&work.directory))?;
        Ok(work)
    }

    fn end(self) -> Result<(), JournalError> {
        std::fs::remove_dir_all(&self.directory).map_err(unusable(&self.directory))
    }

    fn sort(&mut self, file: &SegmentFile) -> Result<(), JournalError> {
        let mut lines = Lines::of(file)?;
        let mut read = 0;
        while let Some(noted) = lines.next()? {
            self.bytes += lines.whole - read;
            read = lines.whole;
            if let Some(about) = noted.entry.about() {
                order::keep(self.piece.entry(about).or_default(), noted);
            }
            if self.bytes >= self.at_once {
                self.write_piece()?;
            }
        }
        Ok(())
    }

    fn write_piece(&mut self) -> Result<(), JournalError> {
        self.bytes = 0;
        let mut out = self.out()?;
        for noted in std::mem::take(&mut self.piece).into_values().flatten() {
            out.write(&noted)?;
        }
        let mut sorted = out.end()?;
        for level in 0.. {
            if self.levels.len() == level {
                self.levels.push(Vec::new());
            }
            let Some(there) = self.levels.get_mut(level) else { break };
            there.push(sorted);
            if there.len() < MERGED {
                break;
            }
            let many = std::mem::take(there);
            let mut out = self.out()?;
            merge(&many, |kept| kept.iter().try_for_each(|noted| out.write(noted)))?;
            sorted = out.end()?;
            for file in many {
                std::fs::remove_file(&file.path).map_err(unusable(&file.path))?;
            }
        }
        Ok(())
    }

    /// All of it in one file, on disk: the last entry of each thing, if it is not too old.
    fn merge(&mut self, before: Option<SegmentFile>, keep_for: Duration) -> Result<SegmentFile, JournalError> {
        self.write_piece()?;
        let oldest = SystemClock.now().timestamp().saturating_sub_unsigned(keep_for.as_secs());
        let sorted: Vec<_> = std::mem::take(&mut self.levels).into_iter().flatten().chain(before).collect();
        let mut out = self.out()?;
        merge(&sorted, |kept| {
            let last = order::last(kept).filter(|last| last.entry.at >= oldest);
            last.map_or(Ok(()), |last| out.write(&last))
        })?;
        out.end()
    }

    fn out(&mut self) -> Result<Out, JournalError> {
        self.made += 1;
        let file = SegmentFile::sorted(self.directory.join(self.made.to_string()), self.made);
        let made = crate::durable::create_new_for_owner(&file.path, 0o600).map_err(unusable(&file.path))?;
        Ok(Out { file, writer: BufWriter::new(made) })
    }
}

/// A sorted file that is written.
struct Out {
    file: SegmentFile,
    writer: BufWriter<File>,
}

impl Out {
    fn write(&mut self, noted: &Noted) -> Result<(), JournalError> {
        self.writer.write_all(entry::to_line(noted).as_bytes()).map_err(unusable(&self.file.path))
    }

    fn end(self) -> Result<SegmentFile, JournalError> {
        let Self { file, writer } = self;
        let written = writer.into_inner().map_err(std::io::IntoInnerError::into_error).and_then(|made| made.sync_all());
        written.map_err(unusable(&file.path)).map(|()| file)
    }
}

/// What each thing is about that sorted files have entries of, one after the other: those among which its last is.
fn merge(
    files: &[SegmentFile],
    mut each: impl FnMut(Vec<Noted>) -> Result<(), JournalError>,
) -> Result<(), JournalError> {
    let mut sources: Vec<Source<'_>> = files.iter().map(Source::of).collect::<Result<_, _>>()?;
    while let Some(about) = sources.iter().filter_map(Source::about).min().cloned() {
        let mut kept = Vec::new();
        for source in &mut sources {
            while let Some(noted) = source.take(&about)? {
                order::keep(&mut kept, noted);
            }
        }
        each(kept)?;
    }
    Ok(())
}

/// A sorted file that is read.
struct Source<'a> {
    lines: Lines<'a>,
    next: Option<(About, Noted)>,
}

impl<'a> Source<'a> {
    fn of(file: &'a SegmentFile) -> Result<Self, JournalError> {
        let mut source = Self { lines: Lines::of(file)?, next: None };
        source.step()?;
        Ok(source)
    }

    fn about(&self) -> Option<&About> {
        self.next.as_ref().map(|(about, _)| about)
    }

    /// The next one, if it is about that.
    fn take(&mut self, about: &About) -> Result<Option<Noted>, JournalError> {
        if self.about() != Some(about) {
            return Ok(None);
        }
        let taken = self.next.take().map(|(_, noted)| noted);
        self.step()?;
        Ok(taken)
    }

    fn step(&mut self) -> Result<(), JournalError> {
        self.next = self.lines.next()?.and_then(|noted| Some((noted.entry.about()?, noted)));
        Ok(())
    }
}
