//! What writes the journal: a thread, which writes together and syncs once for all that wait meanwhile.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::sync::mpsc::Receiver;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::segment::{self, SegmentFile};
use super::{JournalError, compaction, lock, unusable};

/// A segment that has so many bytes is followed by another one.
const SEGMENT: u64 = 1024 * 1024;
/// What a segment may have beyond that: what is written together.
const BEYOND: u64 = 128 * 1024;

/// Lines to write. None: only to try whether that can be done.
pub(super) struct Job {
    pub(super) lines: String,
    pub(super) tell: oneshot::Sender<Result<(), JournalError>>,
}

pub(super) struct Writer {
    directory: PathBuf,
    keep_for: Duration,
    /// The segment that is written to.
    current: Option<(u64, File)>,
    /// How many segments the last compaction has left.
    compacted: usize,
}

impl Writer {
    pub(super) fn new(directory: PathBuf, keep_for: Duration) -> Self {
        Self { directory, keep_for, current: None, compacted: 0 }
    }

    /// Looks at the last segment, and cuts off what is torn.
    pub(super) fn open(&mut self) -> Result<(), JournalError> {
        let _ours = lock(&self.directory)?;
        self.last().map(|_| ())
    }

    /// Until nobody can ask any more.
    pub(super) fn run(&mut self, jobs: &Receiver<Job>, trouble: &Mutex<Option<String>>) {
        while let Ok(first) = jobs.recv() {
            let mut together = vec![first];
            let mut lines = String::new();
            let mut length = 0;
            while length < 64 * 1024
                && let Ok(job) = jobs.try_recv()
            {
                length += job.lines.len();
                together.push(job);
            }
            for job in &together {
                lines.push_str(&job.lines);
            }
            let written = self.write(&lines);
            let why = written.as_ref().err().map(ToString::to_string);
            if let Some(why) = &why {
                tracing::error!(
                    why,
                    "a change could not be noted in the journal: no change is made until that is mended"
                );
            }
            *trouble.lock().unwrap_or_else(PoisonError::into_inner) = why;
            for job in together {
                // Whoever is no longer there has given up.
                let _ = job.tell.send(written.clone());
            }
            if let Err(error) = self.compact() {
                tracing::warn!(%error, "the journal could not be made smaller");
            }
        }
    }

    fn write(&mut self, lines: &str) -> Result<(), JournalError> {
        // Others may have written since: a command on this machine.
        let _ours = lock(&self.directory)?;
        let number = self.last()?;
        let Some((_, file)) = &self.current else {
            return Err(unusable(&self.directory)(io::ErrorKind::NotFound.into()));
        };
        let path = segment::path_of(&self.directory, number);
        let place = file.metadata().map_err(unusable(&path))?.len();
        let written = file.write_all_at(lines.as_bytes(), place).and_then(|()| file.sync_data());
        if let Err(error) = written {
            // Half a line would be damage as soon as a whole one follows.
            if file.set_len(place).is_err() {
                self.current = None;
            }
            return Err(unusable(&path)(error));
        }
        if place + lines.len() as u64 > SEGMENT {
            // A full disk has room in the one that there is, for a while.
            match self.create(number + 1) {
                Ok(()) => {}
                Err(error) => tracing::warn!(%error, "the journal goes on in a file that is long enough"),
            }
        }
        Ok(())
    }

    /// The number of the last segment, which is `current` then.
    fn last(&mut self) -> Result<u64, JournalError> {
        let all = segment::all_in(&self.directory)?;
        let Some(last) = all.last() else {
            self.create(1)?;
            return Ok(1);
        };
        if self.current.as_ref().is_none_or(|(number, _)| *number != last.number) {
            self.current = Some((last.number, Self::reopen(last)?));
        }
        Ok(last.number)
    }

    fn reopen(last: &SegmentFile) -> Result<File, JournalError> {
        let failed = || unusable(&last.path);
        let whole = segment::read(last, |_| ())?;
        let file = File::options().write(true).open(&last.path).map_err(failed())?;
        let length = file.metadata().map_err(failed())?.len();
        if length > whole {
            tracing::warn!(
                file = %last.path.display(),
                bytes = length - whole,
                "the last entry of the journal is not whole and is cut off: nobody was told of that change"
            );
            file.set_len(whole).and_then(|()| file.sync_all()).map_err(failed())?;
        }
        Ok(file)
    }

    fn create(&mut self, number: u64) -> Result<(), JournalError> {
        let path = segment::path_of(&self.directory, number);
        let failed = || unusable(&path);
        let file = File::options().write(true).create_new(true).mode(0o600).open(&path).map_err(failed())?;
        // Room that nobody else can take. Where the file system has no such thing, there is none.
        let _ = rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::KEEP_SIZE, 0, SEGMENT + BEYOND);
        file.sync_all().map_err(failed())?;
        File::open(&self.directory).and_then(|directory| directory.sync_all()).map_err(unusable(&self.directory))?;
        self.current = Some((number, file));
        Ok(())
    }

    fn compact(&mut self) -> Result<(), JournalError> {
        let all = segment::all_in(&self.directory)?;
        if all.len() >= compaction::LATEST + 2 * self.compacted.max(compaction::LATEST / 2) {
            let _ours = lock(&self.directory)?;
            compaction::compact(&self.directory, self.keep_for)?;
            let left = segment::all_in(&self.directory)?.len();
            self.compacted = left.saturating_sub(compaction::LATEST);
        }
        Ok(())
    }
}
