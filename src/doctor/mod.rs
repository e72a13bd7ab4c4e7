//! `countermark doctor`: looks at the service's surroundings with the service's own configuration, with or without a running
//! server, and says what is wrong, why that matters, and what to do.
//!
//! It changes nothing and shows no secret. Every look has a limit of time: what does not answer is reported as not checked.
//! What a setting may be is decided where the service decides it; here is only what the service does not refuse.

mod certificate;
mod clock;
mod configuration;
mod data_dir;
mod entry;
mod master_key;
mod replication;
mod running;
mod store;
mod store_access;
mod store_settings;
mod topology;

pub use entry::{Entry, Status};

use std::sync::Arc;
use std::time::Duration;

use crate::config::{Config, ConfigError, Overrides};
use crate::server;

/// For one theme; a healthy one takes milliseconds.
const LIMIT: Duration = Duration::from_secs(15);

/// Looks at everything. An error: there is nothing to look at, because the configuration that was named can't be read, or the
/// data directory is another user's.
pub async fn examine(overrides: &Overrides) -> Result<Vec<Entry>, String> {
    let wanted = overrides.clone();
    let loaded = match tokio::time::timeout(LIMIT, tokio::task::spawn_blocking(move || server::load(&wanted))).await {
        Ok(Ok(loaded)) => loaded,
        Ok(Err(error)) => return Err(format!("the configuration could not be read: {error}")),
        Err(_) => return Err(format!("the configuration could not be read within {} s", LIMIT.as_secs())),
    };
    let config = match loaded {
        Ok(config) => Arc::new(config),
        Err(errors) if errors.problems().iter().any(|problem| matches!(problem, ConfigError::Unreadable { .. })) => {
            return Err(errors.to_string());
        }
        Err(errors) => return Ok(configuration::unusable(&errors)),
    };
    let looked_into = Arc::clone(&config);
    match tokio::time::timeout(LIMIT, tokio::task::spawn_blocking(move || data_dir::may_look(&looked_into))).await {
        Ok(Ok(may_look)) => may_look?,
        _ => return Err(format!("{} does not answer within {} s", config.data_dir.display(), LIMIT.as_secs())),
    }
    let mut entries = blocking("configuration", &config, configuration::look).await;
    let running = blocking_value(&config, running::find).await;
    entries.extend(blocking("data_directory", &config, data_dir::look).await);
    entries.extend(within("server", running::look(&config, &running)).await);
    let mut seen = store::Seen::default();
    // What was seen before it became too slow stays.
    if tokio::time::timeout(LIMIT, store::look(&config, &running, &mut entries, &mut seen)).await.is_err() {
        entries.push(too_slow("store"));
    }
    entries.extend(
        blocking("master_key", &config, {
            let seen = seen.clone();
            move |config| master_key::look(config, &seen)
        })
        .await,
    );
    entries.extend(clock::look(&seen));
    let issuer = seen.dataset.as_ref().map(|(_, issuer)| issuer.clone());
    entries.push(configuration::issuer(&config, issuer.as_deref()));
    entries.extend(blocking("certificate", &config, move |config| certificate::look(config, issuer.as_deref())).await);
    entries.extend(within("certificate.served", certificate::served(&config, &running)).await);
    Ok(entries)
}

fn too_slow(check: &'static str) -> Entry {
    Entry::unchecked(
        check,
        format!("no end within {} s", LIMIT.as_secs()),
        "look at what is slow: the disk, the network, the store; then run doctor again",
    )
}

async fn within(check: &'static str, look: impl Future<Output = Vec<Entry>>) -> Vec<Entry> {
    tokio::time::timeout(LIMIT, look).await.unwrap_or_else(|_| vec![too_slow(check)])
}

/// What reads files may hang on a file system of the network.
async fn blocking(
    check: &'static str,
    config: &Arc<Config>,
    look: impl FnOnce(&Config) -> Vec<Entry> + Send + 'static,
) -> Vec<Entry> {
    let config = Arc::clone(config);
    match tokio::time::timeout(LIMIT, tokio::task::spawn_blocking(move || look(&config))).await {
        Ok(Ok(entries)) => entries,
        Ok(Err(error)) => vec![Entry::unchecked(check, error.to_string(), "report this: it is a mistake of doctor's")],
        Err(_) => vec![too_slow(check)],
    }
}

async fn blocking_value(
    config: &Arc<Config>,
    look: impl FnOnce(&Config) -> running::Found + Send + 'static,
) -> running::Found {
    let config = Arc::clone(config);
    match tokio::time::timeout(LIMIT, tokio::task::spawn_blocking(move || look(&config))).await {
        Ok(Ok(found)) => found,
        _ => Err("serve.json could not be read in time".to_owned()),
    }
}
