//! Connections that come back by themselves. While one is away, whoever asks for it is refused at once: a request that
//! waits for the store is worth less than a clear 503.

use std::cell::Cell;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisConnectionInfo};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

#[cfg(feature = "server")]
use super::Space;
use super::error::describe;
use super::wire::{Bounded, Intake, Route, Share};
use super::{Refused, StoreError};

tokio::task_local! {
    static TAKEN: Cell<Taken>;
}

/// How long the store has taken for one request, which may ask several things at once.
#[derive(Clone, Copy, Default)]
struct Taken {
    before: Duration,
    under_way: u32,
    /// When the first of those was asked.
    since: Option<Instant>,
}

/// Works for one request. Of a store that has already taken as long as a command may take, nothing more is asked for it: slow
/// answers, each of them just in time, would add up. So two time-outs bound the whole.
pub async fn for_one_request<F: Future>(work: F) -> F::Output {
    TAKEN.scope(Cell::default(), work).await
}

/// How long the store has taken so far for this request.
pub(super) fn taken() -> Duration {
    let taken = TAKEN.try_with(Cell::get).unwrap_or_default();
    taken.before + taken.since.map(|since| since.elapsed()).unwrap_or_default()
}

/// Counts how long an answer takes.
pub(super) async fn counted<F: Future>(question: F) -> F::Output {
    let _asked = Asked::now();
    question.await
}

/// A question under way, until it is answered or given up.
struct Asked;

impl Asked {
    fn now() -> Self {
        change_taken(|taken| {
            taken.since.get_or_insert_with(Instant::now);
            taken.under_way += 1;
        });
        Self
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        change_taken(|taken| {
            taken.under_way = taken.under_way.saturating_sub(1);
            if taken.under_way == 0 {
                taken.before += taken.since.take().map(|since| since.elapsed()).unwrap_or_default();
            }
        });
    }
}

fn change_taken(change: impl FnOnce(&mut Taken)) {
    // Work that is nobody's request is not counted.
    let _ = TAKEN.try_with(|cell| {
        let mut taken = cell.get();
        change(&mut taken);
        cell.set(taken);
    });
}

/// Where the store is and how to get in.
#[derive(Clone)]
pub struct Target {
    route: Route,
    settings: RedisConnectionInfo,
    intake: Intake,
    #[cfg(feature = "server")]
    pub(super) space: Option<Arc<Space>>,
    timeout: Duration,
    connect_timeout: Duration,
}

/// What a [`Target`] is made of.
pub struct Address {
    /// Where.
    pub place: Place,
    /// The number of the database.
    pub database: u32,
    /// ACL user.
    pub user: Option<String>,
    /// Its password.
    pub password: Option<Zeroizing<String>>,
    /// CA certificates, PEM; none: the web's.
    pub ca_pem: Option<Vec<u8>>,
    /// Client certificate and key, PEM.
    pub client_certificate: Option<(Vec<u8>, Zeroizing<Vec<u8>>)>,
    /// How long a command may take.
    pub timeout: Duration,
    /// How long a connection may take.
    pub connect_timeout: Duration,
}

/// Where.
pub enum Place {
    /// A Unix socket.
    Socket(std::path::PathBuf),
    /// A host and a port, in plain text.
    Tcp(String, u16),
    /// A host and a port, over TLS.
    Tls(String, u16),
}

impl Address {
    /// With what most have: no user, the web's certificates, a second for each command.
    pub fn to(place: Place) -> Self {
        Self {
            place,
            database: 0,
            user: None,
            password: None,
            ca_pem: None,
            client_certificate: None,
            timeout: Duration::from_secs(1),
            connect_timeout: Duration::from_secs(1),
        }
    }
}

impl Target {
    /// Tries once, to tell a wrong address, password or version from a store that is merely away.
    ///
    /// `Ok(false)`: away, it may come.
    pub async fn reached(&self) -> Result<bool, Refused> {
        match self.connect().await {
            Ok(_) => Ok(true),
            Err(ConnectError::Away(why)) => {
                tracing::warn!(why, "the store does not answer");
                Ok(false)
            }
            Err(ConnectError::Refused(why)) => Err(Refused(why)),
        }
    }

    /// Checks the address without connecting.
    pub fn new(address: Address) -> Result<Self, Refused> {
        let mut settings = RedisConnectionInfo::default()
            .set_db(i64::from(address.database))
            .set_lib_name("countermark", env!("CARGO_PKG_VERSION"));
        if let Some(user) = address.user {
            settings = settings.set_username(user);
        }
        if let Some(password) = &address.password {
            settings = settings.set_password(password.as_str());
        }
        let client = address.client_certificate.as_ref().map(|(chain, key)| (chain.as_slice(), key.as_slice()));
        let route = Route::to(address.place, address.ca_pem.as_deref(), client)
            .map_err(|why| Refused(format!("the store's address is not usable: {why}")))?;
        Ok(Self {
            route,
            settings,
            intake: Intake::default(),
            #[cfg(feature = "server")]
            space: None,
            timeout: address.timeout,
            connect_timeout: address.connect_timeout,
        })
    }

    /// A store that writes to a disk which we can look at.
    #[cfg(feature = "server")]
    pub fn on_disk(self, space: Arc<Space>) -> Self {
        Self { space: Some(space), ..self }
    }

    /// How long a command may take.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// One connection, checked to lead to a Redis that will do, and what drives it.
    pub(super) async fn connect(&self) -> Result<(MultiplexedConnection, Driver), ConnectError> {
        let share = self.intake.share();
        let (mut connection, driver) = self.handshake(&share).await.map_err(|error| ConnectError::of(&error))?;
        let task = tokio::spawn(driver);
        let driver = Driver { guard: Guard(task.abort_handle()), task, share };
        let info: String = redis::cmd("INFO")
            .arg("server")
            .query_async(&mut connection)
            .await
            .map_err(|error| ConnectError::of(&error))?;
        let version = info
            .lines()
            .find_map(|line| line.strip_prefix("valkey_version:").or_else(|| line.strip_prefix("redis_version:")))
            .map(str::trim)
            .ok_or_else(|| ConnectError::Refused("what answers at the store's address is not Redis".into()))?;
        let major = version.split('.').next().and_then(|number| number.parse::<u32>().ok()).unwrap_or(0);
        if major < 7 {
            return Err(ConnectError::Refused(format!("the store is Redis {version}; Countermark needs 7.0 or newer")));
        }
        Ok((connection, driver))
    }

    async fn handshake(
        &self,
        share: &Arc<Share>,
    ) -> redis::RedisResult<(MultiplexedConnection, Pin<Box<dyn Future<Output = ()> + Send>>)> {
        let late = |_| std::io::Error::from(std::io::ErrorKind::TimedOut);
        let wire = tokio::time::timeout(self.connect_timeout, self.route.open()).await.map_err(late)??;
        let wire = Bounded { wire, share: Arc::clone(share) };
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(self.timeout));
        let greeting = MultiplexedConnection::new_with_config(&self.settings, wire, config);
        let (connection, driver) = tokio::time::timeout(self.timeout, greeting).await.map_err(late)??;
        Ok((connection, Box::pin(driver)))
    }
}

/// What carries the bytes of one connection. It ends when the connection does, or when this value goes: by itself it would
/// first send what nobody waits for any more, to a server that may never read it.
pub(super) struct Driver {
    task: JoinHandle<()>,
    share: Arc<Share>,
    guard: Guard,
}

struct Guard(AbortHandle);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The client's own Debug would show the password.
        f.write_str("Target(…)")
    }
}

/// Why there is no connection.
#[derive(Debug, Clone)]
pub(super) enum ConnectError {
    /// It may come: try again.
    Away(String),
    /// It won't do until somebody changes something.
    Refused(String),
}

impl ConnectError {
    fn of(error: &redis::RedisError) -> Self {
        use redis::ErrorKind;
        let text = error.to_string();
        if error.kind() == ErrorKind::AuthenticationFailed || text.contains("NOAUTH") || text.contains("WRONGPASS") {
            return Self::Refused("the store refuses the user or the password".into());
        }
        if text.contains("NOPERM") {
            return Self::Refused("the store's ACL does not let this user do what Countermark needs".into());
        }
        match error.kind() {
            ErrorKind::Io => {
                let text = text.to_ascii_lowercase();
                if text.contains("certificate") || text.contains("corrupt message") || text.contains("alert") {
                    Self::Refused(format!("no TLS connection to the store: {}", describe(error)))
                } else {
                    Self::Away(describe(error))
                }
            }
            ErrorKind::Server(redis::ServerErrorKind::BusyLoading) => {
                Self::Away("the store is loading its data".into())
            }
            ErrorKind::Parse | ErrorKind::RESP3NotSupported => {
                Self::Refused("what answers at the store's address is not Redis".into())
            }
            ErrorKind::InvalidClientConfig => {
                Self::Refused(format!("the store's address is not usable: {}", describe(error)))
            }
            _ => Self::Away(describe(error)),
        }
    }
}

/// A connection, and its number among those of its link.
#[derive(Clone)]
pub(super) struct Numbered {
    pub(super) connection: MultiplexedConnection,
    pub(super) number: u64,
    share: Arc<Share>,
    _driven: Arc<Guard>,
}

/// A connection under supervision.
pub(super) struct Link {
    name: &'static str,
    /// How long a command may take.
    timeout: Duration,
    current: ArcSwapOption<Numbered>,
    /// The number of the last connection that an error ended.
    lost: watch::Sender<u64>,
    /// The number of the last connection that was made.
    came: watch::Sender<u64>,
}

impl Link {
    /// Begins to connect, and to connect again whenever the connection is lost. `busy` is how long a command of ours may keep
    /// the connection from answering anything else.
    pub(super) fn supervise(name: &'static str, target: Target, busy: Duration, stop: CancellationToken) -> Arc<Self> {
        let link = Arc::new(Self {
            name,
            timeout: target.timeout,
            current: ArcSwapOption::empty(),
            lost: watch::Sender::new(0),
            came: watch::Sender::new(0),
        });
        tokio::spawn({
            let link = Arc::clone(&link);
            async move {
                tokio::select! {
                    () = stop.cancelled() => link.current.store(None),
                    () = link.keep(target, busy) => {}
                }
            }
        });
        link
    }

    async fn keep(&self, target: Target, busy: Duration) {
        let mut pause = Duration::from_millis(20);
        let mut told = false;
        let mut number = 0;
        loop {
            match connect_to_primary(&target).await {
                Ok((connection, Driver { task, share, guard })) => {
                    number += 1;
                    let held = Numbered { connection, number, share, _driven: Arc::new(guard) };
                    self.current.store(Some(Arc::new(held.clone())));
                    self.came.send_replace(number);
                    tracing::info!(link = self.name, "connected to the store");
                    (pause, told) = (Duration::from_millis(20), false);
                    tokio::select! {
                        () = self.watch(held, target.timeout + busy) => {}
                        _ = task => {}
                    }
                    self.current.store(None);
                    tracing::warn!(link = self.name, "lost the connection to the store");
                }
                Err(error) => {
                    if !told {
                        let (ConnectError::Away(why) | ConnectError::Refused(why)) = &error;
                        tracing::warn!(link = self.name, why, "no connection to the store; trying again");
                        told = true;
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_millis(500));
                }
            }
        }
    }

    /// Returns when the connection is lost, or leads to a server that may no longer write.
    async fn watch(&self, mut held: Numbered, patience: Duration) {
        held.connection.set_response_timeout(patience);
        let mut lost = self.lost.subscribe();
        loop {
            let look = async {
                tokio::time::sleep(Duration::from_millis(500)).await;
                fence(&mut held.connection).await
            };
            tokio::select! {
                _ = lost.wait_for(|lost| *lost >= held.number) => return,
                looked = look => match looked {
                    Err(error) if is_broken(&error) || may_not_write(&error) => return,
                    Ok(()) => held.share.answered(),
                    Err(_) => {}
                },
            }
        }
    }

    /// The connection, if there is one now.
    pub(super) fn now(&self) -> Result<Numbered, StoreError> {
        if taken() >= self.timeout {
            return Err(StoreError::Unavailable("it answers too slowly for all that the request needs".into()));
        }
        let current = self.current.load_full();
        current.map(|current| Numbered::clone(&current)).ok_or_else(|| StoreError::Unavailable("no connection".into()))
    }

    /// Waits until there is a connection.
    pub(super) async fn connected(&self) {
        let mut came = self.came.subscribe();
        while self.current.load().is_none() {
            if came.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Waits until there is a connection with a higher number than this one.
    #[cfg(feature = "server")]
    pub(super) async fn connected_after(&self, number: u64) {
        let mut came = self.came.subscribe();
        if came.wait_for(|came| *came > number).await.is_err() {
            std::future::pending::<()>().await;
        }
        self.connected().await;
    }

    /// Told that an answer came on the connection with this number.
    pub(super) fn answered(&self, number: u64) {
        if let Some(current) = self.current.load().as_ref().filter(|current| current.number == number) {
            current.share.answered();
        }
    }

    /// Told of an error of the connection with this number: one that speaks of the connection, or of a server that is no
    /// longer the primary, ends it, unless it has been replaced already.
    pub(super) fn failed(&self, error: &redis::RedisError, number: u64) {
        // NOREPLICAS is left to the watch: a command is refused by it, and the server may still be the right one.
        let not_the_primary = may_not_write(error) && error.code() != Some("NOREPLICAS");
        if !is_broken(error) && !not_the_primary {
            return;
        }
        let current = self.current.load();
        if current.as_ref().is_some_and(|current| current.number == number) {
            self.current.compare_and_swap(&current, None);
        }
        self.lost.send_if_modified(|lost| {
            let later = *lost < number;
            *lost = number.max(*lost);
            later
        });
    }
}

/// A connection to a server that may write: behind one address there may be a replica now and the primary a moment later.
async fn connect_to_primary(target: &Target) -> Result<(MultiplexedConnection, Driver), ConnectError> {
    let (mut connection, driver) = target.connect().await?;
    match fence(&mut connection).await {
        Err(error) if is_broken(&error) || may_not_write(&error) => Err(ConnectError::Away(describe(&error))),
        _ => Ok((connection, driver)),
    }
}

/// A script that may write, as far as Redis knows: replicas and cut-off primaries, which would answer a PING, refuse it.
pub(super) async fn fence(connection: &mut MultiplexedConnection) -> redis::RedisResult<()> {
    redis::cmd("EVAL").arg("#!lua flags=allow-oom\nreturn 1").arg(0).query_async(connection).await
}

pub(super) fn is_broken(error: &redis::RedisError) -> bool {
    // A reply that is late is as bad as none: the connection may be a black hole.
    error.kind() == redis::ErrorKind::Io || error.is_unrecoverable_error()
}

fn may_not_write(error: &redis::RedisError) -> bool {
    matches!(error.code(), Some("READONLY" | "MASTERDOWN" | "LOADING" | "NOREPLICAS"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn questions_that_are_asked_at_once_take_as_long_as_the_longest() {
        let [short, long] = [20, 50].map(Duration::from_millis);
        let asked = |how_long| counted(tokio::time::sleep(how_long));
        let began = Instant::now();
        for_one_request(async {
            tokio::join!(asked(long), asked(short), asked(long));
            assert!((long..=began.elapsed()).contains(&taken()), "{:?}", taken());
            asked(short).await;
            assert!((long + short..=began.elapsed()).contains(&taken()), "one after the other: {:?}", taken());
            assert!(tokio::time::timeout(short, asked(long)).await.is_err());
            assert!((long + short * 2..=began.elapsed()).contains(&taken()), "given up: {:?}", taken());
        })
        .await;
        assert_eq!(taken(), Duration::ZERO, "of nobody's request");
    }
}
