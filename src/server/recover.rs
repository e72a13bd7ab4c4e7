//! `countermark recover`: on a machine with the master key and access to the store.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{ServeError, load, node_name, open, running_store, setup, stop_private};
use crate::authority::{BootstrapError, Metrics, Startup};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, Overrides, SecretSource, StoreSource};
use crate::name::Username;
use crate::store::{DataDir, DataDirError, Store};

/// Gives an admin a new token and writes it to `out`, mode 0600.
pub async fn recover(
    overrides: &Overrides,
    account: &str,
    months: Option<u32>,
    out: Option<PathBuf>,
) -> Result<PathBuf, ServeError> {
    let config = load(overrides).map_err(ServeError::of)?;
    let username: Username = account.parse().map_err(ServeError::of)?;
    // Only the file that was made for it is written over.
    if let Some(taken) = out.as_ref().filter(|out| out.symlink_metadata().is_ok()) {
        return Err(ServeError(format!(
            "{} exists; nothing was changed. Name a new file with --out, or leave it out for admin.token in the data directory",
            taken.display()
        )));
    }
    let out = out.unwrap_or_else(|| config.data_dir.join("admin.token"));
    // Looked at before anything is changed: recovering never makes a key, and needs the one that there is.
    if let SecretSource::File(path) = &config.master_key
        && !path.exists()
    {
        return Err(ServeError(format!(
            "there is no master key at {}; run this where it is, or name it with --master-key-file",
            path.display()
        )));
    }
    let data_dir = match DataDir::open(&config.data_dir) {
        Ok(data_dir) => Some(data_dir),
        // A running server holds it; its store answers.
        Err(DataDirError::InUse { .. }) => None,
        Err(error) => return Err(ServeError::of(error)),
    };
    let (private, target) = match (&config.store.source, &data_dir) {
        (StoreSource::Private { .. }, Some(data_dir)) => setup::store(&config, data_dir).await?,
        _ => (None, running_store(&config)?),
    };
    let disconnect = CancellationToken::new();
    let result = async {
        if !target.reached().await.map_err(ServeError::of)? {
            return Err(ServeError("the store does not answer; nothing was changed".into()));
        }
        let store = Arc::new(open(&config, target, Arc::new(SystemClock), &disconnect));
        tokio::time::timeout(Duration::from_secs(5), store.connected())
            .await
            .map_err(|_| ServeError("the store does not answer; nothing was changed".into()))?;
        issue(&config, &store, &username, months, &out).await
    }
    .await;
    disconnect.cancel();
    stop_private(private).await;
    result.map(|()| out)
}

async fn issue(
    config: &Config,
    store: &Arc<Store>,
    username: &Username,
    months: Option<u32>,
    out: &Path,
) -> Result<(), ServeError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    if store.sealed_keyring().await.map_err(ServeError::of)?.is_none() {
        return Err(ServeError("the store is empty: there is nobody to recover; start `countermark serve`".into()));
    }
    let startup = Startup {
        store: Arc::clone(store),
        clock,
        master_key: config.master_key.clone(),
        issuer: config.issuer.clone(),
        default_issuer: String::new(),
        // Its events are numbered apart from the server's, which may be running.
        node: format!("recover-{}", node_name::of(config, &config.data_dir)?).chars().take(64).collect(),
        audit_queue: 1,
        guessing: (1, 1),
        settings: setup::settings(config),
        metrics: Arc::new(Metrics::new()),
    };
    let (authority, _writer) = startup.run().await.map_err(|error| match error {
        BootstrapError::Refused(why) => ServeError(why),
        BootstrapError::Store(error) => ServeError::of(error),
    })?;
    let fresh = beside(out);
    let mut unwritten = None;
    let issued = crate::authority::recover(&authority, username, months, |token| {
        crate::durable::write(&fresh, format!("{token}\n").as_bytes(), 0o600).inspect_err(|error| {
            unwritten = Some(ServeError(format!("{}: {error}; nothing was changed", fresh.display())));
        })
    })
    .await;
    match issued {
        Ok(_) => crate::durable::rename(&fresh, out).map_err(|error| {
            ServeError(format!(
                "the new token lies in {}; it could not be moved to {}: {error}",
                fresh.display(),
                out.display()
            ))
        }),
        Err(error) => Err(match (unwritten, error) {
            (Some(unwritten), _) => unwritten,
            (None, error @ crate::authority::Error::Uncertain { .. }) => {
                ServeError(format!("{error}. If it was made, the new token is the one in {}", fresh.display()))
            }
            (None, error) => {
                // Nobody's token, and it may not even have been written.
                let _ = std::fs::remove_file(&fresh);
                match error {
                    crate::authority::Error::Invalid(errors) => {
                        ServeError(errors.iter().map(|error| error.message.clone()).collect::<Vec<_>>().join("; "))
                    }
                    other => ServeError::of(other),
                }
            }
        }),
    }
}

/// `NAME.new`, whatever the name: another ending of it may be somebody else's file.
fn beside(out: &Path) -> PathBuf {
    let mut name = out.as_os_str().to_owned();
    name.push(".new");
    name.into()
}
