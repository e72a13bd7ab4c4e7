//! Where the private Redis keeps its socket, its data and its log.
use std::fs;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest;

use super::{PrivateRedisError, Space};
use crate::store::data_dir::{DataDir, create_private};

// The kernel takes 107 bytes; Redis binds to a temporary name beside it in some versions.
const LONGEST_SOCKET: usize = 100;
const LARGEST_LOG: u64 = 16 * 1024 * 1024;
const LAST_LINES: usize = 12;

#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) directory: PathBuf,
    pub(super) socket: PathBuf,
    pub(super) log: PathBuf,
    pub(super) space: Arc<Space>,
}

impl Place {
    pub(super) fn prepare(data_dir: &DataDir) -> Result<Self, PrivateRedisError> {
        let directory = data_dir.path().join("redis");
        private_directory(&directory)?;
        let socket = socket_of(&directory);
        if let Some(short) = socket.parent().filter(|parent| *parent != directory) {
            private_directory(short)?;
        }
        let log = directory.join("redis.log");
        // Only between runs: a log that is being written can't be moved away under its writer.
        if fs::metadata(&log).is_ok_and(|metadata| metadata.len() > LARGEST_LOG) {
            let old = directory.join("redis.log.1");
            fs::rename(&log, old).map_err(|source| PrivateRedisError::Directory { path: log.clone(), source })?;
        }
        let space = Arc::new(Space::of(&directory));
        Ok(Self { directory, socket, log, space })
    }

    /// Removes what a Redis that was killed while it rewrote its data has left: as large as the data, and nobody's.
    pub(super) fn remove_leftovers(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with("temp-") && (name.ends_with(".aof") || name.ends_with(".rdb")) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    pub(super) fn log_length(&self) -> u64 {
        fs::metadata(&self.log).map_or(0, |metadata| metadata.len())
    }

    /// The last lines of the log that were written since it had this length.
    pub(super) fn log_since(&self, length: u64) -> String {
        let read = || -> io::Result<Vec<u8>> {
            let mut file = fs::File::open(&self.log)?;
            let end = file.seek(SeekFrom::End(0))?;
            file.seek(SeekFrom::Start(length.max(end.saturating_sub(16 * 1024))))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let text = read().map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        let last = lines.get(lines.len().saturating_sub(LAST_LINES)..).unwrap_or_default();
        if last.is_empty() { "(nothing)".to_owned() } else { last.join("\n") }
    }
}

/// Where the socket is, beside the data or, where that path would be too long for one, in a short directory.
pub(super) fn socket_of(directory: &Path) -> PathBuf {
    let beside = directory.join("redis.sock");
    if beside.as_os_str().len() <= LONGEST_SOCKET { beside } else { short_directory(directory).join("redis.sock") }
}

/// One per data directory and user, always the same: a later start has to find what an earlier one left running.
pub(super) fn short_directory(directory: &Path) -> PathBuf {
    let hash = digest::digest(&digest::SHA256, directory.as_os_str().as_encoded_bytes());
    let hash: String = hash.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    PathBuf::from(format!("/tmp/countermark-{}-{hash}", rustix::process::geteuid().as_raw()))
}

/// A directory that is ours and that nobody else can enter: whoever can reach the socket owns the store.
fn private_directory(path: &Path) -> Result<(), PrivateRedisError> {
    let failed = |source| PrivateRedisError::Directory { path: path.to_owned(), source };
    create_private(path).map_err(failed)?;
    // Not through a link: in /tmp anybody can lay one.
    let metadata = fs::symlink_metadata(path).map_err(failed)?;
    let ours = metadata.is_dir() && metadata.uid() == rustix::process::geteuid().as_raw();
    if !ours || metadata.mode() & 0o077 != 0 {
        return Err(PrivateRedisError::NotPrivate { path: path.to_owned() });
    }
    Ok(())
}
