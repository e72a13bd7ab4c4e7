//! The terms that this issuer has met, each with the server whose it was: on disk before it lets anybody be served there.
//!
//! A server that dies early can take its term with it: the copy that is promoted knows nothing of it, and those who have followed it
//! follow nobody whose term is not beyond it. What is written here is all that is left then: the next term is begun beyond, and once the
//! issuer has raised the copy, it vouches there for the terms that the copy lacks.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Journal, JournalError, lock, unusable};

/// So many terms are written down, the latest: whoever has followed an earlier one, and nothing since, is not served without a restart.
const WRITTEN: usize = 100;

/// The most bytes of the file: whoever wrote a longer one was not us.
const BYTES: u64 = 64 * 1024;

/// No store comes so far: the next term would be begun beyond it, by scripts that count it no longer.
const FURTHEST: u64 = 1 << 48;

/// A term that was met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) struct MetTerm {
    pub(in crate::store) dataset: String,
    pub(in crate::store) term: u64,
    /// Whose it was.
    pub(in crate::store) server: String,
}

impl MetTerm {
    /// Without its line end.
    fn to_line(&self) -> String {
        format!("{} {} {}", self.dataset, self.term, self.server)
    }

    /// `None`: that is not what was written.
    fn parse(line: &str) -> Option<Self> {
        let mut parts = line.split(' ');
        let (dataset, term, server) = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?);
        let is_whole = parts.next().is_none() && !dataset.is_empty() && !server.is_empty();
        (is_whole && term <= FURTHEST).then(|| Self { dataset: dataset.to_owned(), term, server: server.to_owned() })
    }
}

impl Journal {
    /// The terms that were met, the last one first: `DATASET TERM SERVER`, a line each, as [`start.lua`] takes them.
    ///
    /// [`start.lua`]: ../scripts/start.lua
    pub(in crate::store) async fn terms(self: &Arc<Self>) -> Result<String, JournalError> {
        self.aside(|directory| Ok(lines_of(&read(&file_in(directory))?))).await
    }

    /// Knows of none any more: what was done in them is not known either, so that nobody could vouch for them.
    pub(in crate::store) async fn forget_terms(self: &Arc<Self>) -> Result<(), JournalError> {
        self.aside(|directory| {
            let path = &file_in(directory);
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(unusable(path)(error)),
                _ => Ok(()),
            }
        })
        .await
    }

    /// Writes down a term that was met; it is on disk when this returns.
    pub(in crate::store) async fn name_term(self: &Arc<Self>, met: MetTerm) -> Result<(), JournalError> {
        self.aside(move |directory| {
            // A command on this machine may write to it as well.
            let _ours = lock::writing(directory)?;
            let path = &file_in(directory);
            let mut all = read(path)?;
            if all.first() != Some(&met) {
                all.retain(|known| *known != met);
                all.insert(0, met);
                all.truncate(WRITTEN);
                crate::durable::write_for_owner(path, lines_of(&all).as_bytes(), 0o600).map_err(unusable(path))?;
            }
            Ok(())
        })
        .await
    }
}

fn file_in(directory: &Path) -> PathBuf {
    directory.join("terms")
}

fn lines_of(all: &[MetTerm]) -> String {
    all.iter().map(|met| met.to_line() + "\n").collect()
}

/// A line that can't be read names no term: that costs nobody more than a restart.
fn read(path: &Path) -> Result<Vec<MetTerm>, JournalError> {
    let mut text = Vec::new();
    match File::open(path) {
        Ok(file) => _ = file.take(BYTES).read_to_end(&mut text).map_err(unusable(path))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(unusable(path)(error)),
    }
    let lines = text.split(|byte| *byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok());
    Ok(lines.filter_map(MetTerm::parse).take(WRITTEN).collect())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn met(term: u64, server: &str) -> MetTerm {
        MetTerm { dataset: "d".to_owned(), term, server: server.to_owned() }
    }

    #[tokio::test]
    async fn the_latest_terms_are_kept_each_once_and_the_last_one_first() {
        let directory = tempfile::tempdir().unwrap();
        let journal = Arc::new(Journal::open(directory.path(), Duration::MAX).unwrap());
        assert_eq!(journal.terms().await.unwrap(), "");
        for met in [met(1, "P"), met(2, "Q"), met(2, "R"), met(2, "R"), met(1, "P")] {
            journal.name_term(met).await.unwrap();
        }
        assert_eq!(journal.terms().await.unwrap(), "d 1 P\nd 2 R\nd 2 Q\n");
        for term in 3..200 {
            journal.name_term(met(term, "P")).await.unwrap();
        }
        let terms = journal.terms().await.unwrap();
        assert_eq!((terms.lines().next(), terms.lines().count()), (Some("d 199 P"), WRITTEN));
    }

    #[tokio::test]
    async fn what_can_t_be_read_names_no_term() {
        let directory = tempfile::tempdir().unwrap();
        let journal = Arc::new(Journal::open(directory.path(), Duration::MAX).unwrap());
        let lines = b"d 3 R\nd three R\nd 4\nd 5 R and more\n\nd 9 \xff\nd 18446744073709551615 R\nd 2 Q\n";
        std::fs::write(directory.path().join("terms"), lines).unwrap();
        assert_eq!(journal.terms().await.unwrap(), "d 3 R\nd 2 Q\n");
    }
}
