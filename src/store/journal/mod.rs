//! What an issuer has changed, written down where no store can lose it (R2).
//!
//! A directory of the data directory. Each change that the store has taken is in it, on disk, before anybody is told of it: what it has
//! ended, and where it was made. When the store becomes another server that lacks some of it, that is ended there again, see
//! `authority::raise`. Nothing in it is a secret: tokens stand in it by their names.

mod compaction;
mod entry;
mod lineage;
mod lock;
mod lost;
mod order;
mod room;
mod segment;
mod terms;
#[cfg(test)]
mod tests;
mod writer;

use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

pub use entry::{AccountAfter, Change, Entry, RoleAfter};
pub use lineage::{KEPT_TERMS, Lineage};
pub use lost::{Lost, LostAccount};
pub use room::Promise;
pub(super) use terms::MetTerm;

use super::StoreError;
use crate::clock::{Clock as _, SystemClock};
use crate::session::SessionId;
use room::Promises;
use writer::{Condition, Job, Writer};

/// Why the journal can't be used.
#[derive(Debug, Clone, thiserror::Error)]
pub enum JournalError {
    /// Missing rights, a full disk, or something else in its place.
    #[error("the journal {path} can't be used: {why}")]
    Unusable {
        /// What failed.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
    /// Something in it is not what was written.
    #[error("the journal is damaged at line {line} of {path}: {}", DAMAGED)]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        line: usize,
    },
    /// A file is gone, as from a copy that was made while the journal was compacted.
    #[error("the journal is damaged, {path} is not there: {}", DAMAGED)]
    Missing {
        /// The file.
        path: PathBuf,
    },
}

const DAMAGED: &str = "what it says of changes that a store may have lost can't be relied on. Restore the file from a backup of the data \
                       directory. Without one the whole journal is of no use, move it away and start again: then a store that was \
                       restored or promoted may have tokens and rights again that were ended, so look at what was revoked, disabled \
                       and narrowed lately";

impl From<JournalError> for StoreError {
    fn from(error: JournalError) -> Self {
        Self::Journal(error.to_string())
    }
}

fn unusable(path: &Path) -> impl FnOnce(io::Error) -> JournalError {
    let path = path.to_owned();
    move |error| JournalError::Unusable { path, why: error.to_string() }
}

/// The journal of one data directory. Several processes may write to it.
#[derive(Debug)]
pub struct Journal {
    directory: PathBuf,
    issuer: String,
    writer: Mutex<Sender<Job>>,
    promises: Promises,
    condition: Arc<Condition>,
    patience: Duration,
}

/// So long what is written may take. Then the disk hangs, or a process was stopped that was reading.
const PATIENCE: Duration = Duration::from_secs(10);

impl Journal {
    /// Opens the journal in this directory, or begins one. What is torn at its end is cut off: nobody was told of that.
    ///
    /// `keep_for`: of entries that are older only the last 100,000 stay.
    pub fn open(directory: &Path, keep_for: Duration) -> Result<Self, JournalError> {
        Self::begin(directory, keep_for, compaction::SIZES, PATIENCE)
    }

    fn begin(
        directory: &Path,
        keep_for: Duration,
        sizes: compaction::Sizes,
        patience: Duration,
    ) -> Result<Self, JournalError> {
        let failed = || unusable(directory);
        // Where an earlier version remembered the server: a wait more is all that is lost with it.
        if std::fs::symlink_metadata(directory).is_ok_and(|there| there.is_file()) {
            std::fs::remove_file(directory).map_err(failed())?;
        }
        match crate::durable::create_directory_for_owner(directory, 0o700) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed()(error)),
            _ => {}
        }
        let issuer = issuer_id(directory)?;
        lock::prepare(directory)?;
        let (bell, rung) = channel();
        let (sender, jobs) = channel();
        let mut writer = Writer::new(directory.to_owned(), bell);
        let condition = Arc::new(writer.open()?);
        spawn("journal", {
            let condition = Arc::clone(&condition);
            move || writer.run(&jobs, &condition)
        })
        .map_err(failed())?;
        spawn("compaction", {
            let directory = directory.to_owned();
            move || compaction::run(&directory, keep_for, sizes, &rung)
        })
        .map_err(failed())?;
        let (directory, writer, promises) = (directory.to_owned(), Mutex::new(sender), Promises::new());
        Ok(Self { directory, issuer, writer, promises, condition, patience })
    }

    /// The id of the issuer that has this data directory.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Where the server is named at which the wait of R4 is over.
    pub(super) fn server_file(&self) -> PathBuf {
        self.directory.join("server")
    }

    /// Whether nothing was ever written to it: there is no change that a store could have lost.
    pub(super) async fn is_blank(self: &Arc<Self>) -> Result<bool, JournalError> {
        self.aside(|directory| {
            let mut is_blank = true;
            segment::backwards(directory, |file| {
                is_blank = segment::Lines::of(file)?.next()?.is_none();
                Ok(if is_blank { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
            })?;
            Ok(is_blank)
        })
        .await
    }

    /// Writes an entry; it is on disk when this returns.
    pub async fn append(&self, entry: &Entry) -> Result<(), JournalError> {
        let promise = self.ready(&entry.change).await?;
        self.note(&promise, entry).await
    }

    /// Notes that a session was ended, wherever the store is.
    pub async fn session_ended(&self, ids: &[SessionId], now: i64) -> Result<(), JournalError> {
        for some in ids.chunks(1000) {
            self.append(&Entry::of_sessions(some, now)).await?;
        }
        Ok(())
    }

    /// Whether it will take the entry of a change: none is made that can't be noted. There is room for it then, whatever others
    /// write to the disk meanwhile, for as long as the promise is held.
    pub async fn ready(&self, change: &Change) -> Result<Promise, JournalError> {
        let promise = self.promises.room_for(change).await.map_err(unusable(&self.directory))?;
        if self.condition.hangs(self.patience) {
            return Err(self.unusable(self.hangs()));
        }
        if self.trouble().is_some() {
            self.write(String::new()).await?;
        }
        Ok(promise)
    }

    /// Writes the entry of a change for which there is room; it is on disk when this returns.
    pub async fn note(&self, promise: &Promise, entry: &Entry) -> Result<(), JournalError> {
        if !promise.has(entry) {
            self.write(entry.to_line()).await?;
            promise.is_noted(entry);
        }
        Ok(())
    }

    /// Why no entry is taken. `None`: they are.
    pub fn trouble(&self) -> Option<String> {
        let hangs = || self.condition.hangs(self.patience).then(|| self.unusable(self.hangs()).to_string());
        self.condition.trouble().or_else(hangs)
    }

    fn hangs(&self) -> String {
        let seconds = self.patience.as_secs();
        format!("nothing could be written for {seconds} seconds: the disk hangs, or another process holds its lock")
    }

    fn unusable(&self, why: String) -> JournalError {
        JournalError::Unusable { path: self.directory.clone(), why }
    }

    async fn write(&self, lines: String) -> Result<(), JournalError> {
        let (tell, told) = oneshot::channel();
        let sent = self.writer.lock().unwrap_or_else(PoisonError::into_inner).send(Job { lines, tell });
        let ended = || self.unusable("what writes it has ended".into());
        sent.map_err(|_| ended())?;
        // Whatever becomes of it: nobody is told that it is there.
        let told = tokio::time::timeout(self.patience, told).await.map_err(|_| self.unusable(self.hangs()))?;
        told.map_err(|_| ended())?
    }

    /// What a store of this history lacks.
    pub async fn lost(self: &Arc<Self>, lineage: Arc<Lineage>, now: i64) -> Result<Lost, JournalError> {
        self.aside(move |directory| lost::find(directory, &lineage, now)).await
    }

    /// Works on files where nobody is kept waiting by it.
    async fn aside<T: Send + 'static>(
        self: &Arc<Self>,
        what: impl FnOnce(&Path) -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, JournalError> {
        let journal = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || what(&journal.directory)).await;
        done.unwrap_or_else(|error| Err(unusable(&self.directory)(io::Error::other(error))))
    }

    /// Reads all of it: how many entries there are, or what is wrong.
    pub fn check(directory: &Path) -> Result<usize, JournalError> {
        let mut entries = 0;
        segment::backwards(directory, |file| {
            segment::read(file, |_| entries += 1)?;
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(entries)
    }
}

fn spawn(name: &str, what: impl FnOnce() + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new().name(name.to_owned()).spawn(what).map(|_| ())
}

/// Made once, and kept with the journal.
fn issuer_id(directory: &Path) -> Result<String, JournalError> {
    let path = directory.join("issuer");
    let _ours = lock::writing(directory)?;
    match std::fs::read_to_string(&path) {
        Ok(id) if uuid::Uuid::try_parse(id.trim_end()).is_ok() => Ok(id.trim_end().to_owned()),
        Ok(_) => Err(JournalError::Unusable {
            path,
            why: "it is damaged: it holds the id of this issuer. Remove it, and the next start makes another; the store then waits for \
                  the old one until `countermark node forget` names it"
                .into(),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let id = crate::clock::uuid_v7(SystemClock.now()).to_string();
            crate::durable::write_for_owner(&path, format!("{id}\n").as_bytes(), 0o644).map_err(unusable(&path))?;
            Ok(id)
        }
        Err(error) => Err(unusable(&path)(error)),
    }
}
