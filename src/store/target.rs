//! Where the store is, how to get in, and one connection to the server that counts.

use std::sync::Arc;
use std::time::Duration;

use redis::RedisConnectionInfo;
use redis::aio::MultiplexedConnection;
use rustls::ClientConfig;
use zeroize::Zeroizing;

use super::Refused;
#[cfg(feature = "server")]
use super::Space;
use super::cluster::Cluster;
use super::greeting::{ConnectError, Driver, Greeting, Timeouts};
use super::guides::Guides;
use super::kinds;
use super::sentinels::Sentinels;
use super::url::{HostPort, Servers};
use super::wire::{Intake, Route, client_config};

/// Where the store is and how to get in.
#[derive(Clone)]
pub struct Target {
    way: Way,
    settings: RedisConnectionInfo,
    intake: Intake,
    #[cfg(feature = "server")]
    pub(super) space: Option<Arc<Space>>,
    timeouts: Timeouts,
    /// Whether the sentinels answer.
    guides: Arc<Guides>,
}

/// How the server is found that counts.
#[derive(Clone)]
enum Way {
    /// It is always the one there.
    To(Route),
    /// By sentinels.
    Sentinels(Arc<Sentinels>),
    /// The primary of a cluster whose slot this key is in.
    OwnerOf(Arc<Cluster>, String),
    /// One server of a cluster, whatever slots it has.
    Server(Arc<Cluster>, HostPort),
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
    /// How to get in to the sentinels, where there are some.
    pub sentinel: SentinelAccess,
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A Unix socket.
    Socket(std::path::PathBuf),
    /// Servers of a network.
    Network {
        /// Which.
        servers: Servers,
        /// Whether TLS is spoken.
        tls: bool,
    },
}

/// How to get in to the sentinels: they have users of their own. TLS is with the certificates of the store.
#[derive(Default)]
pub struct SentinelAccess {
    /// ACL user.
    pub user: Option<String>,
    /// Its password.
    pub password: Option<Zeroizing<String>>,
    /// Whether TLS is spoken with them.
    pub tls: bool,
}

impl Address {
    /// With what most have: no user, the web's certificates, a second for each command.
    pub fn to(place: Place) -> Self {
        Self {
            place,
            database: 0,
            user: None,
            password: None,
            sentinel: SentinelAccess::default(),
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
        let not_usable = |why: String| Refused(format!("the store's address is not usable: {why}"));
        let settings = settings(address.user, address.password.as_ref(), address.database);
        let timeouts = Timeouts { command: address.timeout, connect: address.connect_timeout };
        let client = address.client_certificate.as_ref().map(|(chain, key)| (chain.as_slice(), key.as_slice()));
        let tls = |wanted: bool| -> Result<Option<Arc<ClientConfig>>, Refused> {
            let config = || client_config(address.ca_pem.as_deref(), client).map(Arc::new).map_err(not_usable);
            wanted.then(config).transpose()
        };
        let intake = Intake::default();
        let way = match address.place {
            Place::Socket(path) => Way::To(Route::Socket(path)),
            Place::Network { servers: Servers::One(at), tls: wanted } => {
                Way::To(Route::to(&at, tls(wanted)?.as_ref()).map_err(not_usable)?)
            }
            Place::Network { servers: Servers::Sentinels { sentinels, primary }, tls: wanted } => {
                let access = self::settings(address.sentinel.user, address.sentinel.password.as_ref(), 0);
                let theirs = Greeting { settings: access, timeouts, intake: intake.clone() };
                let secured = tls(address.sentinel.tls)?;
                let found = Sentinels::new(&sentinels, secured.as_ref(), &primary, &theirs, tls(wanted)?);
                Way::Sentinels(Arc::new(found.map_err(not_usable)?))
            }
            Place::Network { servers: Servers::Cluster(seeds), tls: wanted } => {
                let greeting = Greeting { settings: settings.clone(), timeouts, intake: intake.clone() };
                Way::OwnerOf(Arc::new(Cluster::new(seeds, tls(wanted)?, greeting).map_err(not_usable)?), String::new())
            }
        };
        Ok(Self {
            way,
            settings,
            intake,
            #[cfg(feature = "server")]
            space: None,
            timeouts,
            guides: Arc::default(),
        })
    }

    /// A store that writes to a disk which we can look at.
    #[cfg(feature = "server")]
    pub fn on_disk(self, space: Arc<Space>) -> Self {
        Self { space: Some(space), ..self }
    }

    /// How long a command may take.
    pub(super) fn timeout(&self) -> Duration {
        self.timeouts.command
    }

    /// The same store, of which the server counts that has this key.
    #[must_use]
    pub(super) fn of(&self, key: &str) -> Self {
        let way = match &self.way {
            Way::OwnerOf(cluster, _) | Way::Server(cluster, _) => Way::OwnerOf(Arc::clone(cluster), key.to_owned()),
            way => way.clone(),
        };
        Self { way, ..self.clone() }
    }

    /// The same store, of which this server counts.
    #[must_use]
    pub(super) fn server(&self, at: &HostPort) -> Self {
        let way = match &self.way {
            Way::OwnerOf(cluster, _) | Way::Server(cluster, _) => Way::Server(Arc::clone(cluster), at.clone()),
            way => way.clone(),
        };
        Self { way, ..self.clone() }
    }

    /// The cluster that it is.
    pub(super) fn cluster(&self) -> Option<&Arc<Cluster>> {
        match &self.way {
            Way::OwnerOf(cluster, _) | Way::Server(cluster, _) => Some(cluster),
            Way::To(_) | Way::Sentinels(_) => None,
        }
    }

    /// One connection, checked to lead to a Redis that will do, and what drives it.
    pub(super) async fn connect(&self) -> Result<Connected, ConnectError> {
        let (route, at) = self.find().await?;
        let (connection, driver) = self.reach(&route).await.map_err(|error| error.at(&route))?;
        Ok(Connected { connection, driver, route, at })
    }

    async fn reach(&self, route: &Route) -> Result<(MultiplexedConnection, Driver), ConnectError> {
        let (mut connection, driver) = self.greeting().open(route).await?;
        let info: redis::RedisResult<String> = redis::cmd("INFO").arg("server").query_async(&mut connection).await;
        let is_one = matches!(self.way, Way::To(_));
        let info = match info {
            Ok(info) => info,
            Err(error) => {
                let other = if is_one { kinds::no_single_server_by_greeting(&mut connection).await } else { None };
                return Err(other.unwrap_or_else(|| ConnectError::of(&error)));
            }
        };
        if is_one && let Some(other) = kinds::no_single_server(&info) {
            return Err(other);
        }
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

    /// A connection to one server of it, whatever its part is.
    #[cfg(feature = "server")]
    pub(super) async fn connect_to(&self, at: &HostPort) -> Result<(MultiplexedConnection, Driver), ConnectError> {
        let route = match &self.way {
            Way::To(route) => route.clone(),
            Way::Sentinels(sentinels) => sentinels.route(at)?,
            Way::OwnerOf(cluster, _) | Way::Server(cluster, _) => cluster.route(at)?,
        };
        self.greeting().open(&route).await
    }

    /// The sentinels that say which server counts.
    #[cfg(feature = "server")]
    pub(super) fn sentinels(&self) -> Option<&Arc<Sentinels>> {
        match &self.way {
            Way::Sentinels(sentinels) => Some(sentinels),
            Way::To(_) | Way::OwnerOf(..) | Way::Server(..) => None,
        }
    }

    fn greeting(&self) -> Greeting {
        Greeting { settings: self.settings.clone(), timeouts: self.timeouts, intake: self.intake.clone() }
    }

    async fn find(&self) -> Result<(Route, Option<Primary>), ConnectError> {
        match &self.way {
            Way::To(route) => Ok((route.clone(), None)),
            Way::Sentinels(sentinels) => {
                let primary = self.told_by(sentinels, Duration::ZERO).await?;
                Ok((sentinels.route(&primary.at)?, Some(primary)))
            }
            Way::OwnerOf(cluster, key) => {
                let at = cluster.owner_of(key).await?;
                Ok((cluster.route(&at)?, None))
            }
            Way::Server(cluster, at) => Ok((cluster.route(at)?, None)),
        }
    }

    async fn told_by(&self, sentinels: &Sentinels, at_most: Duration) -> Result<Primary, ConnectError> {
        let known = sentinels.primary(at_most).await;
        self.guides.note(known.as_ref().err());
        known
    }

    /// That nobody says any more which server counts, if that lasts.
    #[cfg(feature = "server")]
    pub(super) fn unguided(&self) -> Option<String> {
        self.guides.trouble()
    }

    /// Whether another server has taken the place of this one, which may still answer.
    pub(super) async fn has_moved_from(&self, there: Option<&Primary>) -> bool {
        let (Way::Sentinels(sentinels), Some(there)) = (&self.way, there) else { return false };
        let known = self.told_by(sentinels, Sentinels::LATELY).await;
        known.is_ok_and(|known| known.at != there.at && known.epoch > there.epoch)
    }

    /// Whoever was asked is not, or no longer, the one that counts.
    pub(super) fn moved(&self) {
        if let Some(cluster) = self.cluster() {
            cluster.is_another();
        }
    }

    /// A key that only the server takes a script for that counts. `None`: every server that may write is the one.
    pub(super) fn fence_key(&self) -> Option<&str> {
        match &self.way {
            Way::OwnerOf(_, key) => Some(key.as_str()).filter(|key| !key.is_empty()),
            Way::To(_) | Way::Sentinels(_) | Way::Server(..) => None,
        }
    }
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The client's own Debug would show the password.
        f.write_str("Target(…)")
    }
}

fn settings(user: Option<String>, password: Option<&Zeroizing<String>>, database: u32) -> RedisConnectionInfo {
    let mut settings = RedisConnectionInfo::default()
        .set_db(i64::from(database))
        .set_lib_name("countermark", env!("CARGO_PKG_VERSION"));
    if let Some(user) = user {
        settings = settings.set_username(user);
    }
    if let Some(password) = password {
        settings = settings.set_password(password.as_str());
    }
    settings
}

/// A primary, as sentinels know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Primary {
    /// Where it is.
    pub(super) at: HostPort,
    /// The configuration epoch in which it became the primary: the higher one is the later.
    pub(super) epoch: u64,
}

/// A connection that was made.
pub(super) struct Connected {
    pub(super) connection: MultiplexedConnection,
    pub(super) driver: Driver,
    /// Where it leads.
    pub(super) route: Route,
    /// Which primary it leads to, where sentinels know it.
    pub(super) at: Option<Primary>,
}
