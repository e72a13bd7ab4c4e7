//! K5, R2: what this data directory has seen of the signing keys, through restarts: whoever can only write to Redis must not pass an
//! older document off on an issuer, nor one that a master key of before opens.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::digest;

/// A document that was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sighting {
    pub(super) version: u64,
    /// The beginning of its SHA-256, in hex.
    digest: String,
    /// The names of the master keys that open it, the newest last.
    masters: Vec<String>,
}

impl Sighting {
    pub(super) fn of<'a>(version: u64, sealed: &str, masters: impl Iterator<Item = &'a str>) -> Self {
        let digest = digest::digest(&digest::SHA256, sealed.as_bytes());
        let digest = digest.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        Self { version, digest, masters: masters.map(str::to_owned).collect() }
    }

    /// Of no dataset's document.
    fn parse(text: &str) -> Option<(&str, Self)> {
        let mut words = text.trim_end().split(' ');
        let (dataset, version, digest) = (words.next()?, words.next()?.parse().ok()?, words.next()?.to_owned());
        Some((dataset, Self { version, digest, masters: words.map(str::to_owned).collect() }))
    }
}

/// Why a document does not follow upon what was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unlikely {
    /// An older one.
    Older,
    /// Another one of the same version.
    Other,
    /// It says that it is sealed under an older master key too, than the one that alone opened the last.
    OlderMasterKey,
}

/// The newest that was seen.
pub(super) struct HighWater {
    /// `None`: it is remembered for as long as this process lives.
    path: Option<PathBuf>,
    dataset: String,
    /// It, and whether it is on disk.
    seen: Mutex<(Sighting, bool)>,
}

impl HighWater {
    /// What an earlier process has seen of this dataset. A file that says nothing of it is as good as none.
    pub(super) fn of(path: Option<PathBuf>, dataset: &str) -> io::Result<Self> {
        let seen = match &path {
            Some(path) => read(path, dataset)?,
            None => Sighting::default(),
        };
        Ok(Self { path, dataset: dataset.to_owned(), seen: Mutex::new((seen, true)) })
    }

    /// The highest version so far, and where that is written.
    pub(super) fn seen(&self) -> (u64, Option<&Path>) {
        (self.seen.lock().unwrap_or_else(PoisonError::into_inner).0.version, self.path.as_deref())
    }

    /// Whether this may come after what was seen.
    pub(super) fn check(&self, found: &Sighting) -> Result<(), Unlikely> {
        let seen = &self.seen.lock().unwrap_or_else(PoisonError::into_inner).0;
        if found.version < seen.version {
            return Err(Unlikely::Older);
        }
        if found.version == seen.version && found.digest != seen.digest {
            return Err(Unlikely::Other);
        }
        if let [only] = seen.masters.as_slice()
            && found.masters.iter().skip(1).any(|master| master == only)
        {
            return Err(Unlikely::OlderMasterKey);
        }
        Ok(())
    }

    /// This was seen, and nothing older counts from now on. What could not be written down is tried again the next time.
    pub(super) fn note(&self, found: Sighting) -> io::Result<()> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if found.version < seen.0.version || (found.version == seen.0.version && seen.1) {
            return Ok(());
        }
        *seen = (found, false);
        let Some(path) = &self.path else { return Ok(()) };
        let Sighting { version, digest, masters } = &seen.0;
        // Beside a running server, `recover` and the like write here too.
        if read(path, &self.dataset).is_ok_and(|written| written.version > *version) {
            return Ok(());
        }
        let text = format!("{} {version} {digest} {}\n", self.dataset, masters.join(" "));
        crate::durable::write_for_owner(path, text.as_bytes(), 0o600)?;
        seen.1 = true;
        Ok(())
    }
}

fn read(path: &Path, dataset: &str) -> io::Result<Sighting> {
    let text = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Sighting::default()),
        text => text?,
    };
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, "it is damaged");
    let (of, seen) = Sighting::parse(&text).ok_or_else(damaged)?;
    Ok(if of == dataset { seen } else { Sighting::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(version: u64, sealed: &str, masters: &[&str]) -> Sighting {
        Sighting::of(version, sealed, masters.iter().copied())
    }

    #[test]
    fn what_was_seen_only_rises_and_outlives_the_process() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys-seen");
        let of = |dataset: &str| HighWater::of(Some(path.clone()), dataset).unwrap();
        assert_eq!(of("a").seen().0, 0);
        let mark = of("a");
        mark.note(found(7, "seven", &["x"])).unwrap();
        mark.note(found(3, "three", &["x"])).unwrap();
        assert_eq!((mark.seen().0, of("a").seen().0, of("b").seen().0), (7, 7, 0));
        for mark in [mark, of("a")] {
            assert_eq!(mark.check(&found(6, "six", &["x"])), Err(Unlikely::Older));
            assert_eq!(mark.check(&found(7, "another", &["x"])), Err(Unlikely::Other));
            assert_eq!(mark.check(&found(7, "seven", &["x"])), Ok(()));
            assert_eq!(mark.check(&found(8, "eight", &["x", "y"])), Ok(()), "a change of the master key has begun");
            assert_eq!(mark.check(&found(8, "eight", &["y"])), Ok(()), "and ended");
            assert_eq!(mark.check(&found(8, "eight", &["w", "x"])), Err(Unlikely::OlderMasterKey));
        }
        std::fs::write(&path, "?").unwrap();
        assert!(HighWater::of(Some(path.clone()), "a").is_err(), "nobody knows what was seen");
    }

    #[test]
    fn what_could_not_be_written_down_counts_all_the_same_and_is_tried_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("none/keys-seen");
        let mark = HighWater::of(Some(path.clone()), "a").unwrap();
        assert!(mark.note(found(2, "two", &["x"])).is_err());
        assert_eq!(mark.check(&found(1, "one", &["x"])), Err(Unlikely::Older));
        std::fs::create_dir(path.parent().unwrap()).unwrap();
        mark.note(found(2, "two", &["x"])).unwrap();
        assert_eq!(HighWater::of(Some(path), "a").unwrap().seen().0, 2);
    }

    #[test]
    fn a_newer_one_that_somebody_else_has_written_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys-seen");
        let of = || HighWater::of(Some(path.clone()), "a").unwrap();
        let (server, beside) = (of(), of());
        server.note(found(9, "nine", &["x"])).unwrap();
        beside.note(found(8, "eight", &["x"])).unwrap();
        assert_eq!(of().seen().0, 9);
    }
}
