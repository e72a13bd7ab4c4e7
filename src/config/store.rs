//! The settings of the store: a private Redis, or one that somebody runs.
use std::path::PathBuf;
use std::time::Duration;

use super::defaults;
use super::error::Origin;
use super::reader::{Placed, Reader};
use super::secret::{Secret, SecretSource};
use crate::store::{HostPort, RedisUrl, Servers};

/// Where all state lives, and how long to wait for it.
#[derive(Debug, Clone)]
pub struct Store {
    /// Which Redis.
    pub source: StoreSource,
    /// What every key starts with (`store.prefix`, default `cm`).
    pub prefix: String,
    /// How many replicas must have a write before it is acknowledged (`store.replicas_required`, default 0).
    pub replicas_required: u32,
    /// How long to wait for them (`store.replica_timeout`, default 2 s).
    pub replica_timeout: Duration,
    /// How long a primary that was cut off from its replicas may go on, as its `min-replicas-max-lag` says
    /// (`store.replica_max_lag`, default 10 s).
    pub replica_max_lag: Duration,
    /// Whether the renewal of a lease counts only once so many replicas have it (`store.renewals_wait`, default no).
    pub renewals_wait: bool,
    /// How long a command may take (`store.command_timeout`, default 1 s).
    pub command_timeout: Duration,
    /// How long a connection may take (`store.connect_timeout`, default 1 s).
    pub connect_timeout: Duration,
}

/// Which Redis.
#[derive(Debug, Clone)]
pub enum StoreSource {
    /// A child process on a Unix socket in the data directory.
    Private {
        /// The binary (`store.redis_server`); `None`: `redis-server` or `valkey-server` from the PATH.
        redis_server: Option<PathBuf>,
    },
    /// One that somebody runs (`store.url`, `--store`).
    Url(Box<StoreUrl>),
}

/// An external Redis.
#[derive(Debug, Clone)]
pub struct StoreUrl {
    /// Which servers.
    pub servers: Servers,
    /// Whether TLS is spoken (`rediss://`).
    pub tls: bool,
    /// The database number: the path of the URL, 0 when there is none.
    pub database: u32,
    /// The ACL user (`store.user`, or in the URL).
    pub user: Option<String>,
    /// Its password (`store.password`, `store.password_file`, or in the URL).
    pub password: Option<SecretSource>,
    /// How to get in to the sentinels, where there are some.
    pub sentinel: SentinelAccess,
    /// The CA that the server's certificate must come from (`store.ca_file`); `None`: the public ones.
    pub ca_file: Option<PathBuf>,
    /// Our own certificate (`store.client_cert_file`, `store.client_key_file`).
    pub client: Option<ClientCertificate>,
}

/// How to get in to the sentinels: they have users of their own.
#[derive(Debug, Clone, Default)]
pub struct SentinelAccess {
    /// The ACL user (`store.sentinel_user`).
    pub user: Option<String>,
    /// Its password (`store.sentinel_password`, `store.sentinel_password_file`).
    pub password: Option<SecretSource>,
    /// Whether TLS is spoken with them (`store.sentinel_tls`, by default as with the servers).
    pub tls: bool,
}

impl StoreUrl {
    /// The address as a URL without user and password: safe to log.
    pub fn shown(&self) -> String {
        let scheme = if self.tls { "rediss" } else { "redis" };
        let list = |all: &[HostPort]| all.iter().map(HostPort::to_string).collect::<Vec<_>>().join(",");
        match &self.servers {
            Servers::One(at) => format!("{scheme}://{at}/{}", self.database),
            Servers::Sentinels { sentinels, primary } => {
                format!("{scheme}+sentinel://{}/{primary}/{}", list(sentinels), self.database)
            }
            Servers::Cluster(seeds) => format!("{scheme}+cluster://{}", list(seeds)),
        }
    }
}

/// A certificate that this process shows to others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// PEM: the certificate and its chain.
    pub cert_file: PathBuf,
    /// PEM: its private key.
    pub key_file: PathBuf,
}

pub(super) fn read(reader: &mut Reader) -> Store {
    let url = reader.text("store.url");
    let redis_server = reader.path("store.redis_server");
    let prefix = reader.parsed("store.prefix", |text| {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-');
        if text.len() <= 32 && text.bytes().all(allowed) {
            Ok(text.to_owned())
        } else {
            Err("not allowed: 1 to 32 of a-z 0-9 _ -")
        }
    });
    let replicas_required = reader.placed_number("store.replicas_required", &defaults::REPLICAS_REQUIRED);
    let replica_timeout = reader.duration("store.replica_timeout", &defaults::REPLICA_TIMEOUT);
    let replica_max_lag = reader.duration("store.replica_max_lag", &defaults::REPLICA_MAX_LAG);
    let renewals_wait = renewals_wait(reader, replicas_required.value);
    let command_timeout = reader.duration("store.command_timeout", &defaults::COMMAND_TIMEOUT);
    let connect_timeout = reader.duration("store.connect_timeout", &defaults::CONNECT_TIMEOUT);
    let access = Access {
        user: reader.text("store.user"),
        password: reader.secret("store.password"),
        ca_file: reader.path("store.ca_file"),
        client_cert_file: reader.path("store.client_cert_file"),
        client_key_file: reader.path("store.client_key_file"),
        sentinel_user: reader.text("store.sentinel_user"),
        sentinel_password: reader.secret("store.sentinel_password"),
        sentinel_tls: reader.flag("store.sentinel_tls"),
    };
    let source = match url {
        Some(url) => {
            if let Some(binary) = &redis_server {
                let problem = format!("is of no use beside store.url ({}): keep one", url.origin);
                reader.problem("store.redis_server", &binary.origin, problem);
            }
            external(reader, url, access).map(|url| StoreSource::Url(Box::new(url)))
        }
        None => {
            access.refuse_all(reader, "is of no use without store.url: the private store has no users and no network");
            if replicas_required.value > 0 {
                let problem = "is of no use without store.url: the private store has no replicas, and no change would be confirmed";
                reader.problem("store.replicas_required", &replicas_required.origin, problem);
            }
            None
        }
    };
    Store {
        source: source.unwrap_or(StoreSource::Private { redis_server: redis_server.map(|path| path.value) }),
        prefix: prefix.map_or_else(|| defaults::STORE_PREFIX.to_owned(), |prefix| prefix.value),
        replicas_required: replicas_required.value,
        replica_timeout,
        replica_max_lag,
        renewals_wait,
        command_timeout,
        connect_timeout,
    }
}

fn renewals_wait(reader: &mut Reader, replicas_required: u32) -> bool {
    let Some(wait) = reader.flag("store.renewals_wait") else { return false };
    if wait.value && replicas_required == 0 {
        let problem = "needs store.replicas_required: a renewal counts once so many replicas have it";
        reader.problem("store.renewals_wait", &wait.origin, problem);
    }
    wait.value
}

struct Access {
    user: Option<Placed<String>>,
    password: Option<Placed<SecretSource>>,
    ca_file: Option<Placed<PathBuf>>,
    client_cert_file: Option<Placed<PathBuf>>,
    client_key_file: Option<Placed<PathBuf>>,
    sentinel_user: Option<Placed<String>>,
    sentinel_password: Option<Placed<SecretSource>>,
    sentinel_tls: Option<Placed<bool>>,
}

impl Access {
    fn refuse_all(&self, reader: &mut Reader, problem: &str) {
        if let Some(user) = &self.user {
            reader.problem("store.user", &user.origin, problem);
        }
        if let Some(password) = &self.password {
            reader.problem("store.password", &password.origin, problem);
        }
        self.refuse_tls(reader, problem);
        self.refuse_sentinels(reader, problem);
    }

    fn refuse_sentinels(&self, reader: &mut Reader, problem: &str) {
        let given = [
            ("store.sentinel_user", self.sentinel_user.as_ref().map(|user| &user.origin)),
            ("store.sentinel_password", self.sentinel_password.as_ref().map(|password| &password.origin)),
            ("store.sentinel_tls", self.sentinel_tls.as_ref().map(|tls| &tls.origin)),
        ];
        for (name, origin) in given {
            if let Some(origin) = origin {
                reader.problem(name, origin, problem);
            }
        }
    }

    fn refuse_tls(&self, reader: &mut Reader, problem: &str) {
        let files = [
            ("store.ca_file", &self.ca_file),
            ("store.client_cert_file", &self.client_cert_file),
            ("store.client_key_file", &self.client_key_file),
        ];
        for (name, file) in files {
            if let Some(file) = file {
                reader.problem(name, &file.origin, problem);
            }
        }
    }
}

const FORM: &str = "it is redis://HOST:PORT/DATABASE, redis+sentinel://HOST:PORT,HOST:PORT/NAME/DATABASE or \
                    redis+cluster://HOST:PORT,HOST:PORT, with rediss:// for TLS; user and password are store.user and \
                    store.password_file (or stand in the URL)";

// The URL may hold a password: no problem below shows it.
fn external(reader: &mut Reader, url: Placed<String>, mut access: Access) -> Option<StoreUrl> {
    let Placed { value, origin } = url;
    let value = Secret::new(value);
    let url = match RedisUrl::parse(value.expose()) {
        Ok(url) => url,
        Err(problem) => {
            reader.problem("store.url", &origin, format!("{problem}; {FORM}"));
            return None;
        }
    };
    let has_sentinels = matches!(url.servers, Servers::Sentinels { .. });
    let speaks_tls = url.tls || access.sentinel_tls.as_ref().is_some_and(|tls| tls.value);
    if !speaks_tls {
        access.refuse_tls(reader, "is of no use without TLS: write rediss:// in store.url");
    }
    if !has_sentinels {
        access.refuse_sentinels(reader, "is of no use without sentinels: store.url names none (redis+sentinel://)");
    }
    let sentinel = SentinelAccess {
        user: access.sentinel_user.take().map(|user| user.value),
        password: access
            .sentinel_password
            .take()
            .map(|password| readable(reader, "store.sentinel_password_file", password)),
        tls: access.sentinel_tls.take().map_or(url.tls, |tls| tls.value),
    };
    let user = user(reader, &url, &origin, access.user);
    let password = password(reader, &url, &origin, access.password);
    let client = match (access.client_cert_file, access.client_key_file) {
        (Some(cert), Some(key)) => {
            super::check::check_private_file(reader, "store.client_key_file", &key);
            super::check::check_file(reader, "store.client_cert_file", &cert);
            Some(ClientCertificate { cert_file: cert.value, key_file: key.value })
        }
        (Some(cert), None) => {
            reader.problem("store.client_cert_file", &cert.origin, "needs store.client_key_file beside it");
            None
        }
        (None, Some(key)) => {
            reader.problem("store.client_key_file", &key.origin, "needs store.client_cert_file beside it");
            None
        }
        (None, None) => None,
    };
    if let Some(file) = &access.ca_file {
        super::check::check_file(reader, "store.ca_file", file);
    }
    let ca_file = access.ca_file.map(|file| file.value);
    let RedisUrl { servers, tls, database, .. } = url;
    Some(StoreUrl { servers, tls, database, user, password, sentinel, ca_file, client })
}

fn readable(reader: &mut Reader, setting: &str, password: Placed<SecretSource>) -> SecretSource {
    if let Err(error) = password.value.read() {
        reader.problem(setting, &password.origin, error.to_string());
    }
    password.value
}

fn user(reader: &mut Reader, url: &RedisUrl, origin: &Origin, user: Option<Placed<String>>) -> Option<String> {
    let in_url = url.user.as_ref().map(|user| user.as_str().to_owned());
    match user {
        Some(user) if in_url.is_some() => {
            let problem = format!("is given twice: also in store.url ({origin}); keep one");
            reader.problem("store.user", &user.origin, problem);
            None
        }
        Some(user) => Some(user.value),
        None => in_url,
    }
}

fn password(
    reader: &mut Reader,
    url: &RedisUrl,
    origin: &Origin,
    password: Option<Placed<SecretSource>>,
) -> Option<SecretSource> {
    let in_url = url.password.as_ref().map(|password| Secret::new(password.as_str().to_owned()));
    match password {
        Some(password) if in_url.is_some() => {
            let problem = format!("is given twice: also in store.url ({origin}); keep one");
            reader.problem("store.password", &password.origin, problem);
            None
        }
        Some(password) => Some(readable(reader, "store.password_file", password)),
        None => in_url.map(SecretSource::Value),
    }
}
