//! K5, R2: which version of the keys this data directory has seen, through restarts: whoever can only write to Redis must not pass
//! an older document off on an issuer that starts.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The highest version that was seen.
pub(super) struct HighWater {
    /// `None`: it is remembered for as long as this process lives.
    path: Option<PathBuf>,
    dataset: String,
    seen: Mutex<u64>,
}

impl HighWater {
    /// What an earlier process has seen of this dataset. A file that says nothing of it is as good as none.
    pub(super) fn of(path: Option<PathBuf>, dataset: &str) -> io::Result<Self> {
        let seen = match &path {
            Some(path) => read(path, dataset)?,
            None => 0,
        };
        Ok(Self { path, dataset: dataset.to_owned(), seen: Mutex::new(seen) })
    }

    /// The highest version so far, and where that is written.
    pub(super) fn seen(&self) -> (u64, Option<&Path>) {
        (*self.seen.lock().unwrap_or_else(PoisonError::into_inner), self.path.as_deref())
    }

    /// This version was seen: on disk before it is worked with.
    pub(super) fn note(&self, version: u64) -> io::Result<()> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if version <= *seen {
            return Ok(());
        }
        if let Some(path) = &self.path {
            crate::durable::write(path, format!("{} {version}\n", self.dataset).as_bytes(), 0o600)?;
        }
        *seen = version;
        Ok(())
    }
}

fn read(path: &Path, dataset: &str) -> io::Result<u64> {
    let text = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        text => text?,
    };
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, "it is damaged");
    let (of, version) = text.trim_end().split_once(' ').ok_or_else(damaged)?;
    let version = version.parse().map_err(|_| damaged())?;
    Ok(if of == dataset { version } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_only_rises_and_outlives_the_process() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys-seen");
        let of = |dataset: &str| HighWater::of(Some(path.clone()), dataset).unwrap();
        assert_eq!(of("a").seen().0, 0);
        let mark = of("a");
        mark.note(7).unwrap();
        mark.note(3).unwrap();
        assert_eq!((mark.seen().0, of("a").seen().0, of("b").seen().0), (7, 7, 0));
        std::fs::write(&path, "?").unwrap();
        assert!(HighWater::of(Some(path.clone()), "a").is_err(), "nobody knows what was seen");
    }

    #[test]
    fn what_can_not_be_written_down_was_not_seen() {
        let directory = tempfile::tempdir().unwrap();
        let mark = HighWater::of(Some(directory.path().join("none/keys-seen")), "a").unwrap();
        assert!(mark.note(1).is_err());
        assert_eq!(mark.seen().0, 0);
    }
}
