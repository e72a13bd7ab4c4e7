//! What writes the journal: a thread, which writes together and syncs once for all that wait meanwhile.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::segment::{self, SegmentFile};
use super::{JournalError, lock, room, unusable};

/// A segment that has so many bytes is followed by another one.
const SEGMENT: u64 = 1024 * 1024;

/// While no entry can be taken it is tried again so often.
const AGAIN: Duration = Duration::from_secs(1);

/// Lines to write. None: only to try whether that can be done.
pub(super) struct Job {
    pub(super) lines: String,
    pub(super) tell: oneshot::Sender<Result<(), JournalError>>,
}

/// How the writing goes.
#[derive(Debug, Default)]
pub(super) struct Condition {
    /// Why no entry is taken. `None`: they are.
    trouble: Mutex<Option<String>>,
    /// Since when it is at what it writes now.
    writes_since: Mutex<Option<Instant>>,
}

impl Condition {
    pub(super) fn trouble(&self) -> Option<String> {
        locked(&self.trouble).clone()
    }

    /// Whether what is written now takes longer than that.
    pub(super) fn hangs(&self, longest: Duration) -> bool {
        locked(&self.writes_since).is_some_and(|since| since.elapsed() >= longest)
    }
}

fn locked<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) struct Writer {
    directory: PathBuf,
    current: Option<Current>,
    /// Rung for each segment that is begun.
    compaction: Sender<()>,
}

/// The segment that is written to.
struct Current {
    number: u64,
    path: PathBuf,
    file: File,
    /// Of the last whole line.
    end: u64,
    /// Up to where its room is known to be reserved.
    reserved: u64,
}

impl Writer {
    pub(super) fn new(directory: PathBuf, compaction: Sender<()>) -> Self {
        Self { directory, current: None, compaction }
    }

    /// Looks at the last segment, and cuts off what is torn. There may be no room for what comes next.
    pub(super) fn open(&mut self) -> Result<Condition, JournalError> {
        let _ours = lock::writing(&self.directory)?;
        self.last()?;
        let _ = self.compaction.send(());
        let why = self.keep_room().err().map(|error| error.to_string());
        if let Some(why) = &why {
            is_stuck(why);
        }
        Ok(Condition { trouble: Mutex::new(why), ..Condition::default() })
    }

    /// Until nobody can ask any more.
    pub(super) fn run(&mut self, jobs: &Receiver<Job>, condition: &Condition) {
        let mut was_stuck = condition.trouble().is_some();
        while let Some(together) = gather(jobs, was_stuck) {
            let lines: String = together.iter().map(|job| job.lines.as_str()).collect();
            *locked(&condition.writes_since) = Some(Instant::now());
            let (written, ready) = self.turn(&lines);
            let why = ready.as_ref().err().map(ToString::to_string);
            match &why {
                Some(why) if !was_stuck => is_stuck(why),
                None if was_stuck => tracing::info!("the journal takes entries again"),
                _ => {}
            }
            was_stuck = why.is_some();
            // Before those are told whose room is free again then.
            *locked(&condition.trouble) = why;
            *locked(&condition.writes_since) = None;
            for job in together {
                // Whoever is no longer there has given up.
                let _ = job.tell.send(if job.lines.is_empty() { ready.clone() } else { written.clone() });
            }
        }
    }

    /// Writes lines. Returns whether they are there, and whether more can be taken.
    fn turn(&mut self, lines: &str) -> (Result<(), JournalError>, Result<(), JournalError>) {
        // Others may write too: a command on this machine.
        let written = lock::writing(&self.directory).and_then(|ours| self.write(lines).map(|()| ours));
        match written {
            Ok(_ours) => (Ok(()), self.keep_room()),
            Err(error) => (Err(error.clone()), Err(error)),
        }
    }

    fn write(&mut self, lines: &str) -> Result<(), JournalError> {
        let current = self.last()?;
        let (lines, place) = match current.end.checked_sub(1) {
            // The same again: whether anything can be written tells nothing else.
            Some(before) if lines.is_empty() => ("\n", before),
            _ => (lines, current.end),
        };
        let written = current.file.write_all_at(lines.as_bytes(), place).and_then(|()| current.file.sync_data());
        if let Err(error) = written {
            let failed = unusable(&current.path)(error);
            // Half a line would be damage as soon as a whole one follows.
            if current.cut().is_err() {
                self.current = None;
            }
            return Err(failed);
        }
        current.end = place + lines.len() as u64;
        Ok(())
    }

    /// Reserves room for what comes next, in another segment when this one is long enough.
    fn keep_room(&mut self) -> Result<(), JournalError> {
        let current = self.last()?;
        if current.end > SEGMENT {
            let number = current.number + 1;
            match self.begin(number) {
                Ok(_) => return Ok(()),
                // A full disk may have room in the one that there is, for a while.
                Err(error) => tracing::debug!(%error, "the journal goes on in a file that is long enough"),
            }
        }
        self.last()?.keep_room()
    }

    /// The last segment, as it is.
    fn last(&mut self) -> Result<&mut Current, JournalError> {
        let ours = self.current.take();
        let current = match ours {
            Some(current) if self.is_still_last(&current)? => current,
            _ => {
                let files = segment::all_in(&self.directory)?;
                match files.segments.last() {
                    Some(last) => Current::reopen(last)?,
                    None => return self.begin(files.next()),
                }
            }
        };
        Ok(self.current.insert(current))
    }

    /// Whether nobody else has written, or begun another one.
    fn is_still_last(&self, current: &Current) -> Result<bool, JournalError> {
        let is_there =
            |number| segment::path_of(&self.directory, number).try_exists().map_err(unusable(&self.directory));
        let mut next = [0];
        let read = current.file.read_at(&mut next, current.end).map_err(unusable(&current.path))?;
        Ok((read == 0 || next == [0]) && is_there(current.number)? && !is_there(current.number + 1)?)
    }

    /// Begins a segment. It has its name when it has its room: where there is none, nothing is changed.
    fn begin(&mut self, number: u64) -> Result<&mut Current, JournalError> {
        let (next, path) = (self.directory.join("next"), segment::path_of(&self.directory, number));
        let reserved = SEGMENT + room::KEPT;
        // Of whoever was killed.
        let _ = std::fs::remove_file(&next);
        let made = crate::durable::create_new_for_owner(&next, 0o600).and_then(|file| {
            room::reserve(&file, reserved)?;
            file.sync_all().map(|()| file)
        });
        let file = match made {
            Ok(file) => file,
            Err(error) => {
                // It is begun anew anyway.
                let _ = std::fs::remove_file(&next);
                return Err(unusable(&next)(error));
            }
        };
        if let Some(mut before) = self.current.take() {
            // Nothing is written there any more.
            before.cut().map_err(unusable(&before.path))?;
        }
        if let Err(error) = crate::durable::rename_new(&next, &path) {
            // So that the one before has its room again.
            let _ = std::fs::remove_file(&next);
            return Err(unusable(&path)(error));
        }
        let _ = self.compaction.send(());
        Ok(self.current.insert(Current { number, path, file, end: 0, reserved }))
    }
}

impl Current {
    fn reopen(last: &SegmentFile) -> Result<Self, JournalError> {
        let failed = || unusable(&last.path);
        let end = segment::read(last, |_| ())?;
        let file = File::options().read(true).write(true).open(&last.path).map_err(failed())?;
        let mut current = Self { number: last.number, path: last.path.clone(), file, end, reserved: 0 };
        if !room::is_empty_from(&current.file, end).map_err(failed())? {
            let length = current.file.metadata().map_err(failed())?.len();
            tracing::warn!(
                file = %last.path.display(),
                bytes = length - end,
                "the last entry of the journal is not whole and is cut off: nobody was told of that change"
            );
            current.cut().map_err(failed())?;
        }
        Ok(current)
    }

    /// Ends the file after its last whole line; what was reserved behind that is free.
    fn cut(&mut self) -> io::Result<()> {
        self.reserved = 0;
        self.file.set_len(self.end)?;
        self.file.sync_all()
    }

    fn keep_room(&mut self) -> Result<(), JournalError> {
        let until = self.end + room::KEPT;
        if until > self.reserved {
            room::reserve(&self.file, until).map_err(unusable(&self.path))?;
            self.reserved = until;
        }
        Ok(())
    }
}

fn is_stuck(why: &str) {
    tracing::error!(why, "the journal takes no entries: no change is made until that is mended");
}

/// What is to be written together: as much as is there. While it is stuck, nothing at times: `None` when nobody can ask any more.
fn gather(jobs: &Receiver<Job>, is_stuck: bool) -> Option<Vec<Job>> {
    let first = if is_stuck { jobs.recv_timeout(AGAIN) } else { jobs.recv().map_err(RecvTimeoutError::from) };
    let mut together = match first {
        Ok(job) => vec![job],
        Err(RecvTimeoutError::Timeout) => return Some(Vec::new()),
        Err(RecvTimeoutError::Disconnected) => return None,
    };
    let mut length = 0;
    while length < 64 * 1024
        && let Ok(job) = jobs.try_recv()
    {
        length += job.lines.len();
        together.push(job);
    }
    Some(together)
}
