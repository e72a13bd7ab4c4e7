//! Secrets: shown to nobody, wiped when dropped, read only from files that others can't read.
use std::fmt;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use zeroize::{Zeroize, ZeroizeOnDrop};

// Far above any key or password; what is larger is the wrong file.
const LARGEST_FILE: u64 = 64 * 1024;

/// A secret text. `Debug` shows nothing of it, and its memory is wiped when it is dropped.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Secret(String);

impl Secret {
    /// Takes the text over.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The secret itself. Never log it, never put it into an error.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// In this file.
    File(PathBuf),
    /// Here.
    Value(Secret),
}

impl SecretSource {
    /// The secret: a file is read anew each time (a changed password needs no restart), less the line ends at its end.
    pub fn read(&self) -> Result<Secret, SecretFileError> {
        match self {
            Self::Value(secret) => Ok(secret.clone()),
            Self::File(path) => {
                let mut bytes = read_private(path)?;
                while bytes.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
                    bytes.pop();
                }
                match String::from_utf8(bytes) {
                    Ok(text) if text.is_empty() => Err(SecretFileError::Empty { path: path.clone() }),
                    Ok(text) => Ok(Secret::new(text)),
                    Err(error) => {
                        error.into_bytes().zeroize();
                        Err(SecretFileError::NotText { path: path.clone() })
                    }
                }
            }
        }
    }
}

/// Why a file that holds a secret can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretFileError {
    /// It is missing, or this process may not read it.
    #[error("{path} can't be read: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A directory, a device or a pipe.
    #[error("{path} is not a file")]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// Its mode lets the group or everybody read it.
    #[error("{path} can be read by others (mode {mode:04o}): run chmod 600 {path}")]
    ReadableByOthers {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Nothing in it.
    #[error("{path} is empty")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Not UTF-8 where text is expected.
    #[error("{path} is not text")]
    NotText {
        /// The file.
        path: PathBuf,
    },
    /// Far larger than any secret.
    #[error("{path} is larger than any secret is: is it the right file?")]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
}

/// Reads a file that holds a secret; refuses one that its group or everybody can read or write.
pub fn read_private(path: &Path) -> Result<Vec<u8>, SecretFileError> {
    let unreadable = |source| SecretFileError::Unreadable { path: path.to_owned(), source };
    // Looked at before it is opened: opening a pipe would wait for a writer for ever.
    check_metadata(path, &std::fs::metadata(path).map_err(unreadable)?)?;
    let file = std::fs::File::open(path).map_err(unreadable)?;
    // And again on the open file, which can't be exchanged any more.
    check_metadata(path, &file.metadata().map_err(unreadable)?)?;
    // Room from the start: a vector that grows leaves copies behind, which nobody wipes.
    let mut bytes = Vec::with_capacity(usize::try_from(LARGEST_FILE + 1).unwrap_or_default());
    file.take(LARGEST_FILE + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > LARGEST_FILE {
        bytes.zeroize();
        return Err(SecretFileError::TooLarge { path: path.to_owned() });
    }
    Ok(bytes)
}

fn check_metadata(path: &Path, metadata: &std::fs::Metadata) -> Result<(), SecretFileError> {
    if !metadata.is_file() {
        return Err(SecretFileError::NotAFile { path: path.to_owned() });
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(SecretFileError::ReadableByOthers { path: path.to_owned(), mode });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn file(directory: &Path, text: &str, mode: u32) -> PathBuf {
        let path = directory.join("secret");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn a_secret_is_not_shown_by_debug() {
        let source = SecretSource::Value(Secret::new("hunter2".into()));
        assert!(!format!("{source:?}").contains("hunter2"));
    }

    #[test]
    fn a_secret_file_is_read_without_its_last_line_end() {
        let directory = tempfile::tempdir().unwrap();
        let source = SecretSource::File(file(directory.path(), " pass word\r\n", 0o600));
        assert_eq!(source.read().unwrap().expose(), " pass word");
    }

    #[test]
    fn a_secret_file_that_others_can_read_is_refused_and_the_cure_is_named() {
        let directory = tempfile::tempdir().unwrap();
        for mode in [0o640, 0o604, 0o660, 0o644] {
            let path = file(directory.path(), "x", mode);
            let text = SecretSource::File(path.clone()).read().unwrap_err().to_string();
            assert!(text.contains(&format!("chmod 600 {}", path.display())), "{text}");
        }
    }

    #[test]
    fn a_missing_an_empty_and_an_endless_file_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("none");
        assert!(matches!(SecretSource::File(missing).read(), Err(SecretFileError::Unreadable { .. })));
        assert!(matches!(
            SecretSource::File(file(directory.path(), "\n", 0o600)).read(),
            Err(SecretFileError::Empty { .. })
        ));
        assert!(matches!(SecretSource::File("/dev/zero".into()).read(), Err(SecretFileError::NotAFile { .. })));
        let large = file(directory.path(), &"x".repeat(70_000), 0o600);
        assert!(matches!(SecretSource::File(large).read(), Err(SecretFileError::TooLarge { .. })));
    }
}
