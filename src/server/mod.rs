//! The composition root: configuration → store → authority → router → listeners, and back down again.

mod backup;
mod descriptors;
mod first_admin;
mod forget;
mod logging;
mod machine;
mod master_key;
mod memory;
mod node_name;
mod recover;
mod serve_file;
mod settings;
mod setup;
mod unfinished;
mod welcome;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use backup::{BackedUp, Restored, ToRestore, backup, restore};
pub(crate) use descriptors::OTHER_FILES;
pub use forget::forget_issuer;
pub use master_key::{MasterKeyStep, rotate_master};
pub use recover::recover;
pub use serve_file::ServeFile;
pub use settings::{load, running_store};

use crate::authority::{Authority, BootstrapError, Metrics, Upkeep};
use crate::clock::{Clock, SystemClock, uuid_v7};
use crate::config::{Config, Overrides};
use crate::http::Edge;
use crate::listen::{Connections, Listener, TlsContext};
use crate::node::{Follower, Writer};
use crate::pkcs11::HardwareToken;
use crate::sinks::Outlet;
use crate::store::{DataDir, Filler, PrivateRedis, Store, Target};
use crate::told::Told;

/// How long what is left of the audit may take at the end.
const FLUSH: Duration = Duration::from_secs(8);

/// How often it is told that the store can't be begun with, and how soon that it can't for another reason.
const TELL_AGAIN: Duration = Duration::from_secs(30);
const TELL_NEWS: Duration = Duration::from_secs(5);

/// On the operations listener; not out of those that clients share.
const OPERATIONS_CONNECTIONS: usize = 100;

/// Why the server does not start, or ends; for people, with what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ServeError(String);

impl ServeError {
    fn of(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
    }
}

/// Serves until SIGTERM or SIGINT.
pub async fn serve(overrides: &Overrides, check: bool) -> ExitCode {
    let config = match load(overrides) {
        Ok(config) => config,
        Err(errors) => {
            eprintln!("error: {errors}");
            return ExitCode::from(2);
        }
    };
    if check {
        println!("The configuration is valid.");
        return ExitCode::SUCCESS;
    }
    logging::start(&config.log);
    memory::keep_to_ourselves(&config);
    match run(config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "countermark stops");
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

struct Running {
    config: Config,
    data_dir: DataDir,
    clock: Arc<dyn Clock>,
    hardware: Option<Arc<HardwareToken>>,
    /// Of each sink of the audit, what takes the events.
    outlets: Vec<Arc<Outlet>>,
    store: Arc<Store>,
    edge: Arc<Edge>,
    /// Ends the connections to the store; last of all.
    disconnect: CancellationToken,
    /// Ends what works by itself.
    retire: CancellationToken,
    node_id: String,
    node_name: String,
    default_issuer: String,
    addresses: Vec<String>,
    operations: String,
    ca_file: Option<std::path::PathBuf>,
}

async fn run(config: Config) -> Result<(), ServeError> {
    let mut signals = Signals::listen()?;
    let data_dir = DataDir::open(&config.data_dir).map_err(ServeError::of)?;
    remove_leftovers(data_dir.path());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let node_name = node_name::of(&config, data_dir.path())?;

    // Everything that may refuse is asked before anything is served.
    let connections = Connections::new(
        descriptors::room_for(config.limits.connections)?,
        config.limits.requests,
        config.trusted_proxies.clone(),
    );
    let tls = TlsContext::new(&config.tls, data_dir.path()).map_err(ServeError::of)?;
    let policies = setup::policies(&config);
    let outlets = setup::outlets(&config)?;
    let mut listeners = Vec::new();
    for address in &config.listen {
        listeners.push(Listener::bind(address).await.map_err(ServeError::of)?);
    }
    let operations_listener = Listener::bind(&config.operations_listen).await.map_err(ServeError::of)?;

    // A private Redis may have much to read before it answers; dropped meanwhile, it is told to end.
    let (private, target) = tokio::select! {
        store = setup::store(&config, &data_dir) => store?,
        () = signals.received() => {
            tracing::info!("stopped before the store was there");
            return Ok(());
        }
    };
    let probed = tokio::select! {
        probed = target.reached() => probed.map(|_| true),
        () = signals.received() => Ok(false),
    };
    if !matches!(probed, Ok(true)) {
        stop_private(private).await;
        return probed.map(|_| ()).map_err(ServeError::of);
    }
    let (disconnect, retire) = (CancellationToken::new(), CancellationToken::new());
    let node_id = uuid_v7(clock.now()).to_string();
    let store = match open(&config, target, Arc::clone(&clock), &disconnect, Some(&node_id)) {
        Ok(store) => Arc::new(store),
        Err(error) => {
            stop_private(private).await;
            return Err(error);
        }
    };
    let metrics = Arc::new(Metrics::new());
    let running = Arc::new(Running {
        edge: Edge::new(
            Arc::clone(&metrics),
            Arc::clone(&clock),
            config.trusted_proxies.clone(),
            policies,
            config.tokens.valid_for_months.clone(),
            config.limits.body_bytes,
            config.limits.body_timeout,
        ),
        store,
        addresses: listeners.iter().map(|listener| listener.address().to_string()).collect(),
        operations: operations_listener.address().to_string(),
        ca_file: tls.ca_file(),
        default_issuer: setup::default_issuer(&config, &listeners),
        node_id,
        node_name,
        disconnect,
        retire,
        data_dir,
        hardware: setup::hardware(&config),
        outlets,
        clock,
        config,
    });

    let (close, close_operations) = (CancellationToken::new(), CancellationToken::new());
    let mut serving = JoinSet::new();
    let router = crate::http::service(Arc::clone(&running.edge));
    for listener in listeners {
        let limits = running.config.limits.clone();
        serving.spawn(crate::listen::serve(
            listener,
            router.clone(),
            limits,
            Some(Arc::clone(&tls)),
            Arc::clone(&connections),
            close.clone(),
        ));
    }
    let operations = tokio::spawn(crate::listen::serve(
        operations_listener,
        crate::http::operations_router(Arc::clone(&running.edge)),
        running.config.limits.clone(),
        None,
        Connections::new(OPERATIONS_CONNECTIONS, OPERATIONS_CONNECTIONS, Vec::new()),
        close_operations.clone(),
    ));
    let certificates = tokio::spawn(Arc::clone(&tls).keep_current(running.retire.clone()));
    let gauge = tokio::spawn(count_connections(connections, metrics, running.retire.clone()));

    let mut work = tokio::spawn(Arc::clone(&running).work());
    let ended = tokio::select! {
        () = signals.received() => Ok(()),
        result = &mut work => match result {
            Ok(Err(error)) => Err(error),
            Ok(Ok(())) => Ok(()),
            Err(error) => Err(ServeError::of(error)),
        },
        Some(result) = serving.join_next() => Err(ServeError(format!("a listener ended: {result:?}"))),
    };

    // Not ready, drain, close, flush, stop Redis. A second signal ends at once.
    tracing::info!("stopping");
    running.edge.drain();
    let stop = async {
        close.cancel();
        while serving.join_next().await.is_some() {}
        running.retire.cancel();
        if !work.is_finished()
            && let Ok(Err(error)) = work.await
        {
            tracing::error!(%error, "while stopping");
        }
        close_operations.cancel();
        let _ = operations.await;
        let _ = certificates.await;
        let _ = gauge.await;
        running.disconnect.cancel();
        stop_private(private).await;
    };
    tokio::select! {
        () = stop => tracing::info!("stopped"),
        () = signals.received() => tracing::warn!("ended at once by a second signal"),
    }
    ended
}

/// What a process that ended in the middle of writing has left. The data directory is ours alone.
fn remove_leftovers(data_dir: &std::path::Path) {
    let all: [(&str, &[&str]); 4] = [
        (".", &["node-name", "dataset", "keys-seen", "serve.json", "admin.token.new", "setup.url.new"]),
        ("tls", &["ca.key", "ca.pem", "server.key", "server.pem"]),
        ("keys", &["master.key"]),
        ("journal", &["issuer", "server"]),
    ];
    for (directory, names) in all {
        let directory = data_dir.join(directory);
        if let Err(error) = crate::durable::remove_leftovers(&directory, names) {
            tracing::warn!(%error, directory = %directory.display(), "what an earlier process left half written could not be removed");
        }
    }
}

async fn stop_private(private: Option<PrivateRedis>) {
    if let Some(private) = private {
        private.stop().await;
    }
}

/// `node`: under what this process will stand in the table of nodes, if it will.
fn open(
    config: &Config,
    target: Target,
    clock: Arc<dyn Clock>,
    stop: &CancellationToken,
    node: Option<&str>,
) -> Result<Store, ServeError> {
    Ok(Store::open(target, setup::store_options(config, node)?, clock, stop))
}

impl Running {
    /// Meets the store as soon as it is there, then does a node's regular work until it retires.
    async fn work(self: Arc<Self>) -> Result<(), ServeError> {
        self.write_serve_json(&self.default_issuer)?;
        let Some((authority, writer)) = self.begin().await? else { return Ok(()) };
        let authority = Arc::new(authority);
        let Some(first_admin) = self.first_admin(&authority).await? else { return Ok(()) };
        self.edge.open(Arc::clone(&authority));
        self.write_serve_json(authority.issuer())?;
        let setup = self.setup_link(&authority).await;
        let ca_file = self.ca_file.as_deref();
        welcome::print(&self.addresses, &self.operations, ca_file, self.data_dir.path(), first_admin, setup.as_deref());
        match self.store.waited_for() {
            none if none.is_empty() => tracing::info!(node = self.node_name, issuer = authority.issuer(), "ready"),
            // What for has been said, and is said again once it has come.
            names => tracing::warn!(node = self.node_name, issuers = names.join(", "), "started, and not ready"),
        }

        let flushed = CancellationToken::new();
        let mut writing = tokio::spawn(writer.run(Arc::clone(authority.node()), flushed.clone(), FLUSH));
        let filling = tokio::spawn(Filler::new(Arc::clone(&self.store), self.node_id.clone()).run(self.retire.clone()));
        let mut delivering: JoinSet<()> =
            setup::couriers(&self).into_iter().map(|courier| courier.run(self.retire.clone())).collect();
        let mut upkeep = tokio::spawn(Upkeep::new(Arc::clone(&authority)).run(self.retire.clone()));
        let follower = Follower::new(Arc::clone(authority.node()), self.node_id.clone(), self.addresses.join(", "));
        let mut follower = tokio::spawn(follower.run(self.retire.clone()));
        // None ends by itself; without them a node would go on more slowly, and nobody would know why.
        let (what, ended) = tokio::select! {
            ended = &mut follower => ("what follows the feed", ended),
            ended = &mut upkeep => ("the upkeep", ended),
            ended = &mut writing => ("what writes the audit", ended.map(|_| ())),
        };
        if !self.retire.is_cancelled() {
            return Err(ServeError(format!("{what} has ended: {ended:?}")));
        }
        let _ = filling.await;
        flushed.cancel();
        // A store or a receiver that hangs keeps all of them waiting, and not one after the other.
        let delivered = async { while delivering.join_next().await.is_some() {} };
        let _ = tokio::join!(writing, delivered, async {
            if !follower.is_finished() {
                let _ = follower.await;
            }
        });
        // The last of all: from here on nothing is changed.
        match self.store.withdraw().await {
            Ok(true) => {}
            Ok(false) => tracing::warn!("the store still waits for what this issuer alone may know: start it again"),
            Err(error) => tracing::debug!(%error, "the store does not know that this issuer has ended"),
        }
        Ok(())
    }

    /// `None`: it retired before the store came.
    async fn begin(&self) -> Result<Option<(Authority, Writer)>, ServeError> {
        // A store that has lost its data must not be taken for a new one: its tokens and the admin's are out there.
        let path = self.data_dir.path().join("dataset");
        let failed = |error: std::io::Error| ServeError(format!("{}: {error}", path.display()));
        let belongs_to = match std::fs::read_to_string(&path) {
            Ok(id) if uuid::Uuid::try_parse(id.trim_end()).is_ok() => Some(id.trim_end().to_owned()),
            Ok(_) => {
                return Err(ServeError(format!(
                    "{} is damaged: it holds the id of the dataset that this data directory belongs to. If the store is the \
                     one that it had before, remove it, and the next start writes it anew",
                    path.display()
                )));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed(error)),
        };
        if let Some(id) = &belongs_to {
            self.store.expect_dataset(id);
        }
        let mut told = Told::every(TELL_AGAIN, TELL_NEWS);
        loop {
            tokio::select! {
                () = self.retire.cancelled() => return Ok(None),
                () = self.store.connected() => {}
            }
            match setup::startup(self).run().await {
                Ok(begun) => {
                    if belongs_to.is_none() {
                        let id = self.store.dataset_id().await.map_err(ServeError::of)?;
                        crate::durable::write(&path, format!("{id}\n").as_bytes(), 0o644).map_err(failed)?;
                    }
                    return Ok(Some(begun));
                }
                Err(BootstrapError::Refused(why)) => return Err(ServeError(why)),
                Err(BootstrapError::Store(error)) => {
                    told.is(&error.to_string(), |more| {
                        tracing::warn!(%error, more, "the store could not be met; trying again");
                    });
                    tokio::select! {
                        () = self.retire.cancelled() => return Ok(None),
                        () = tokio::time::sleep(Duration::from_millis(200)) => {}
                    }
                }
            }
        }
    }

    fn write_serve_json(&self, issuer: &str) -> Result<(), ServeError> {
        let file = ServeFile {
            pid: std::process::id(),
            addresses: self.addresses.clone(),
            operations: self.operations.clone(),
            issuer: issuer.to_owned(),
            ca_file: self.ca_file.clone(),
        };
        let directory = self.data_dir.path();
        file.write(directory).map_err(|error| ServeError(format!("{}/serve.json: {error}", directory.display())))
    }
}

async fn count_connections(connections: Arc<Connections>, metrics: Arc<Metrics>, stop: CancellationToken) {
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    let (mut told, mut told_of) = (Told::default(), 0);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {
                metrics.connections.set(i64::try_from(connections.open()).unwrap_or(i64::MAX));
                // They only rise.
                let (refused, displaced) = (connections.refused(), connections.displaced());
                metrics.connections_refused.inc_by(refused.saturating_sub(metrics.connections_refused.get()));
                metrics.connections_displaced.inc_by(displaced.saturating_sub(metrics.connections_displaced.get()));
                if displaced > told_of {
                    told.is("", |_| {
                        tracing::warn!(
                            open = connections.open(),
                            displaced,
                            "all places of limits.connections are taken: connections that have shown no live token make room"
                        );
                        told_of = displaced;
                    });
                }
            }
        }
    }
}

struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn listen() -> Result<Self, ServeError> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate()).map_err(ServeError::of)?,
            interrupt: signal(SignalKind::interrupt()).map_err(ServeError::of)?,
        })
    }

    async fn received(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
