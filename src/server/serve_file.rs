//! `serve.json`: what a running server says of itself, for those who come to its data directory.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ServeFile {
    /// The process that wrote it.
    pub pid: u32,
    /// Where the API is served, ports as they were bound.
    pub addresses: Vec<String>,
    /// Where metrics and health are.
    pub operations: String,
    /// The issuer of tokens.
    pub issuer: String,
    /// The local CA; `None` where a certificate was given.
    pub ca_file: Option<PathBuf>,
}

impl ServeFile {
    fn path(data_dir: &Path) -> PathBuf {
        data_dir.join("serve.json")
    }

    pub(super) fn write(&self, data_dir: &Path) -> io::Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        crate::durable::write(&Self::path(data_dir), format!("{text}\n").as_bytes(), 0o644)
    }

    /// The file of whichever server was started there last; `None`: none was.
    pub fn read(data_dir: &Path) -> io::Result<Option<Self>> {
        match std::fs::read(Self::path(data_dir)) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}
