//! The copy of the key set, for a start while the issuer is away. It says whose keys it holds: versions are counted anew in every
//! dataset.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::own_file;
use crate::strict_json;

/// More than any key set of ours with what is said of it.
const MOST_BYTES: usize = 512 * 1024;

/// See the module.
pub(super) struct KeyCopy {
    path: PathBuf,
    issuer: String,
    /// The dataset that was recognised. Before, nothing is kept and nothing is used.
    dataset: OnceLock<String>,
    /// The version that lies there, as far as this process has written it; 0: none.
    version: AtomicU64,
}

/// The file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    issuer: String,
    dataset: String,
    key_set: Value,
}

impl KeyCopy {
    pub(super) fn new(path: PathBuf, issuer: String) -> Self {
        Self { path, issuer, dataset: OnceLock::new(), version: AtomicU64::new(0) }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Keys are kept of this dataset from now on.
    pub(super) fn is_of(&self, dataset: &str) {
        let _ = self.dataset.set(dataset.to_owned());
    }

    /// Keeps the text of a key set of this version.
    pub(super) fn keep(&self, text: &[u8], version: u64) {
        let Some(dataset) = self.dataset.get() else { return };
        if self.version.load(Ordering::Relaxed) == version {
            return;
        }
        let written = serde_json::from_slice(text)
            .and_then(|key_set| {
                let content = Content { issuer: self.issuer.clone(), dataset: dataset.clone(), key_set };
                serde_json::to_vec(&content)
            })
            .map_err(std::io::Error::from)
            .and_then(|content| crate::durable::write(&self.path, &content, 0o644));
        match written {
            Ok(()) => self.version.store(version, Ordering::Relaxed),
            Err(error) => tracing::warn!(%error, path = %self.path.display(), "no copy of the key set was kept"),
        }
    }

    /// What an earlier process has kept. Whoever could write there could make tokens: only a file that nobody else may write
    /// to is believed.
    pub(super) fn kept(&self) -> Result<Option<Vec<u8>>, String> {
        let text = match own_file::read(&self.path, MOST_BYTES) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            text => text.map_err(|error| error.to_string())?,
        };
        let content = strict_json::parse(&text).ok().and_then(|value| serde_json::from_value(value).ok());
        let content: Content = content.ok_or("it is no copy that this version has kept")?;
        if content.issuer != self.issuer {
            return Err("it is of another issuer".to_owned());
        }
        if self.dataset.get() != Some(&content.dataset) {
            return Err("it is of another dataset than the store's".to_owned());
        }
        serde_json::to_vec(&content.key_set).map(Some).map_err(|error| error.to_string())
    }
}
