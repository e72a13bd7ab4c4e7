//! What an issuer has changed, written down where no store can lose it (R2).
//!
//! A directory of the data directory. Each change that the store has taken is in it, on disk, before anybody is told of it: what it has
//! ended, and where it was made. When the store becomes another server that lacks some of it, that is ended there again, see
//! `authority::raise`. Nothing in it is a secret: tokens stand in it by their names.

mod compaction;
mod entry;
mod lineage;
mod lost;
mod segment;
#[cfg(test)]
mod tests;
mod writer;

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

pub use entry::{AccountAfter, Change, Entry, RoleAfter};
pub use lineage::{KEPT_TERMS, Lineage};
pub use lost::{Lost, LostAccount};

use super::StoreError;
use crate::clock::{Clock as _, SystemClock};
use crate::session::SessionId;
use writer::{Job, Writer};

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
    #[error(
        "the journal is damaged at line {line} of {path}: what it says of changes that a store may have lost can't be relied on. Restore \
         the file from a backup of the data directory. Without one, move it away and start again: then a store that was restored or \
         promoted may have tokens and rights again that were ended, so look at what was revoked, disabled and narrowed lately"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        line: usize,
    },
}

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
    /// Why the last try to write failed. `None`: it did not.
    trouble: Arc<Mutex<Option<String>>>,
}

impl Journal {
    /// Opens the journal in this directory, or begins one. What is torn at its end is cut off: nobody was told of that.
    ///
    /// `keep_for`: of entries that are older only the last 100,000 stay.
    pub fn open(directory: &Path, keep_for: Duration) -> Result<Self, JournalError> {
        let failed = || unusable(directory);
        // Where an earlier version remembered the server: a wait more is all that is lost with it.
        if std::fs::symlink_metadata(directory).is_ok_and(|there| there.is_file()) {
            std::fs::remove_file(directory).map_err(failed())?;
        }
        match DirBuilder::new().recursive(true).mode(0o700).create(directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed()(error)),
            _ => {}
        }
        let issuer = issuer_id(directory)?;
        let (sender, jobs) = channel();
        let mut writer = Writer::new(directory.to_owned(), keep_for);
        writer.open()?;
        let trouble = Arc::default();
        std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn({
                let trouble = Arc::clone(&trouble);
                move || writer.run(&jobs, &trouble)
            })
            .map_err(failed())?;
        Ok(Self { directory: directory.to_owned(), issuer, writer: Mutex::new(sender), trouble })
    }

    /// The id of the issuer that has this data directory.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Where the server is named at which the wait of R4 is over.
    pub(super) fn server_file(&self) -> PathBuf {
        self.directory.join("server")
    }

    /// Writes an entry; it is on disk when this returns.
    pub async fn append(&self, entry: &Entry) -> Result<(), JournalError> {
        self.write(entry.to_line()).await
    }

    /// Notes that a session was ended, wherever the store is.
    pub async fn session_ended(&self, ids: &[SessionId], now: i64) -> Result<(), JournalError> {
        self.append(&Entry::of_sessions(ids, now)).await
    }

    /// Whether it takes entries. Where the last one failed, it is tried again: a change is not made that can't be noted.
    pub async fn ready(&self) -> Result<(), JournalError> {
        if self.trouble().is_none() { Ok(()) } else { self.write(String::new()).await }
    }

    /// Why the last try to write failed. `None`: it did not.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn write(&self, lines: String) -> Result<(), JournalError> {
        let (tell, told) = oneshot::channel();
        let sent = self.writer.lock().unwrap_or_else(PoisonError::into_inner).send(Job { lines, tell });
        let ended = || JournalError::Unusable { path: self.directory.clone(), why: "what writes it has ended".into() };
        sent.map_err(|_| ended())?;
        told.await.map_err(|_| ended())?
    }

    /// What a store of this history lacks.
    pub async fn lost(self: &Arc<Self>, lineage: Arc<Lineage>, now: i64) -> Result<Lost, JournalError> {
        let journal = Arc::clone(self);
        let read = tokio::task::spawn_blocking(move || lost::find(&journal.directory, &lineage, now)).await;
        read.unwrap_or_else(|error| Err(unusable(&self.directory)(io::Error::other(error))))
    }

    /// Reads all of it: how many entries there are, or what is wrong.
    pub fn check(directory: &Path) -> Result<usize, JournalError> {
        let mut entries = 0;
        for file in segment::all_in(directory)? {
            segment::read(&file, |_| entries += 1)?;
        }
        Ok(entries)
    }
}

/// Made once, and kept with the journal.
fn issuer_id(directory: &Path) -> Result<String, JournalError> {
    let path = directory.join("issuer");
    let _ours = lock(directory)?;
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
            crate::durable::write(&path, format!("{id}\n").as_bytes(), 0o644).map_err(unusable(&path))?;
            Ok(id)
        }
        Err(error) => Err(unusable(&path)(error)),
    }
}

/// Nobody else writes for as long as this is held.
fn lock(directory: &Path) -> Result<File, JournalError> {
    let path = directory.join("lock");
    let file = File::options().write(true).create(true).truncate(false).open(&path).map_err(unusable(&path))?;
    file.lock().map_err(unusable(&path))?;
    Ok(file)
}
