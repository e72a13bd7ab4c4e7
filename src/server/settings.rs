//! The settings of a service, for all who work with them: `serve`, `recover`, `doctor`.

use std::path::{Path, PathBuf};

use super::{ServeError, setup};
use crate::config::{Config, ConfigErrors, Overrides, StoreSource};
use crate::store::Target;

/// The settings of this process' service: of the file, its environment and these flags.
pub fn load(overrides: &Overrides) -> Result<Config, ConfigErrors> {
    let environment = std::env::vars_os()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()));
    Config::load(overrides, environment)
}

/// The store of a server that runs with these settings, on this machine or elsewhere.
pub fn running_store(config: &Config) -> Result<Target, ServeError> {
    match &config.store.source {
        StoreSource::Private { .. } => setup::local_target(config, &running_socket(&config.data_dir)),
        StoreSource::Url(url) => setup::remote_target(config, url),
    }
}

/// The socket of the private Redis of a running server.
fn running_socket(data_dir: &Path) -> PathBuf {
    crate::store::private_socket(&std::fs::canonicalize(data_dir).unwrap_or_else(|_| data_dir.to_owned()))
}
