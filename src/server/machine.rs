//! What is done on a machine with the master key and access to the store, beside the server or without it.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{ServeError, memory, node_name, open, running_store, setup, stop_private};
use crate::authority::{Authority, BootstrapError, Metrics, Startup};
use crate::clock::SystemClock;
use crate::config::{Config, SecretSource, StoreSource};
use crate::node::Mode;
use crate::store::{DataDir, DataDirError, PrivateRedis, Standing, Store, StoreError};

/// An issuer that serves nobody.
pub(super) struct OnTheMachine {
    pub(super) authority: Authority,
    place: StorePlace,
}

/// The store, not met yet.
pub(super) struct StorePlace {
    pub(super) store: Arc<Store>,
    private: Option<PrivateRedis>,
    disconnect: CancellationToken,
    /// Held where no server runs.
    data_dir: Option<DataDir>,
}

impl StorePlace {
    /// Connects to the store of a running server, or starts the private one.
    pub(super) async fn open(config: &Config) -> Result<Self, ServeError> {
        memory::keep_to_ourselves(config);
        // Looked at before anything is changed: nothing here makes a key, and everything needs the one that there is.
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
            (StoreSource::Private { .. }, Some(data_dir)) => setup::store(config, data_dir).await?,
            _ => (None, running_store(config)?),
        };
        let disconnect = CancellationToken::new();
        let store = async {
            let away = || ServeError("the store does not answer; nothing was changed".into());
            if !target.reached().await.map_err(ServeError::of)? {
                return Err(away());
            }
            let store = Arc::new(open(config, target, Arc::new(SystemClock), &disconnect, None)?);
            tokio::time::timeout(Duration::from_secs(5), store.connected()).await.map_err(|_| away())?;
            Ok(store)
        }
        .await;
        match store {
            Ok(store) => Ok(Self { store, private, disconnect, data_dir }),
            Err(error) => {
                disconnect.cancel();
                stop_private(private).await;
                Err(error)
            }
        }
    }

    pub(super) async fn close(self) {
        self.disconnect.cancel();
        stop_private(self.private).await;
    }
}

impl OnTheMachine {
    /// Connects to the store of a running server, or starts the private one. Nothing is set up: what is not there is an error.
    /// `what`: for the name under which its events are numbered, apart from the server's.
    /// `signs`: whether a token is to be signed.
    pub(super) async fn open(config: &Config, what: &str, signs: bool) -> Result<Self, ServeError> {
        Self::at(StorePlace::open(config).await?, config, what, signs).await
    }

    /// The same where the store is connected.
    pub(super) async fn at(place: StorePlace, config: &Config, what: &str, signs: bool) -> Result<Self, ServeError> {
        match begin(config, Arc::clone(&place.store), what, signs).await {
            Ok(authority) => Ok(Self { authority, place }),
            Err(error) => {
                place.close().await;
                Err(error)
            }
        }
    }

    /// Whether the store serves: before every issuer has raised it, what it holds may be older than what was changed.
    pub(super) fn serves(&self) -> Result<(), ServeError> {
        let waited_for = self.authority.store().waited_for();
        if waited_for.is_empty() {
            return Ok(());
        }
        Err(ServeError(format!("{}; nothing was changed", StoreError::Waits(waited_for.join(", ")))))
    }

    pub(super) async fn close(self) {
        // Where a server runs, what was changed here stands in its journal, and it stays.
        if self.place.data_dir.is_some()
            && let Err(error) = self.authority.store().withdraw().await
        {
            tracing::debug!(%error, "the store does not know that this issuer has ended");
        }
        self.place.close().await;
    }
}

async fn begin(config: &Config, store: Arc<Store>, what: &str, signs: bool) -> Result<Authority, ServeError> {
    let is_empty = store.sealed_keyring().await.map_err(ServeError::of)?.is_none();
    // One into which a backup is put back has its keys at last; whoever meets it says what it is.
    if is_empty && !matches!(store.what_is_there().await.map_err(ServeError::of)?, Standing::Restoring(_)) {
        return Err(ServeError("the store is empty: there is nothing to work on; start `countermark serve`".into()));
    }
    let startup = Startup {
        store,
        clock: Arc::new(SystemClock),
        master_key: config.master_key.clone(),
        keys_mark: Some(setup::keys_mark(config)),
        // Each login with a wrong PIN brings a token nearer to locking itself: only where something is to be signed.
        hardware: if signs { setup::hardware(config) } else { None },
        issuer: config.issuer.clone(),
        default_issuer: String::new(),
        node: format!("{what}-{}", node_name::of(config, &config.data_dir)?).chars().take(64).collect(),
        audit_queue: 1,
        audit_mode: Mode::Memory,
        guessing: (1, 1),
        settings: setup::settings(config),
        metrics: Arc::new(Metrics::new()),
    };
    let started = startup.run().await.map_err(|error| match error {
        BootstrapError::Refused(why) => ServeError(why),
        BootstrapError::Store(error) => ServeError::of(error),
    });
    started.map(|(authority, _writer)| authority)
}
