//! The settings of the store: a private Redis, or one that somebody runs.
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::defaults;
use super::error::Origin;
use super::reader::{Placed, Reader};
use super::secret::{Secret, SecretSource};

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
    Url(StoreUrl),
}

/// An external Redis.
#[derive(Debug, Clone)]
pub struct StoreUrl {
    /// The host: a name or an address, IPv6 without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Whether TLS is spoken (`rediss://`).
    pub tls: bool,
    /// The database number: the path of the URL, 0 when there is none.
    pub database: u32,
    /// The ACL user (`store.user`, or in the URL).
    pub user: Option<String>,
    /// Its password (`store.password`, `store.password_file`, or in the URL).
    pub password: Option<SecretSource>,
    /// The CA that the server's certificate must come from (`store.ca_file`); `None`: the public ones.
    pub ca_file: Option<PathBuf>,
    /// Our own certificate (`store.client_cert_file`, `store.client_key_file`).
    pub client: Option<ClientCertificate>,
}

impl StoreUrl {
    /// The address as a URL without user and password: safe to log.
    pub fn shown(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        format!("redis{}://{host}:{}/{}", if self.tls { "s" } else { "" }, self.port, self.database)
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
    let replicas_required = reader.number("store.replicas_required", &defaults::REPLICAS_REQUIRED);
    let replica_timeout = reader.duration("store.replica_timeout", &defaults::REPLICA_TIMEOUT);
    let command_timeout = reader.duration("store.command_timeout", &defaults::COMMAND_TIMEOUT);
    let connect_timeout = reader.duration("store.connect_timeout", &defaults::CONNECT_TIMEOUT);
    let access = Access {
        user: reader.text("store.user"),
        password: reader.secret("store.password"),
        ca_file: reader.path("store.ca_file"),
        client_cert_file: reader.path("store.client_cert_file"),
        client_key_file: reader.path("store.client_key_file"),
    };
    let source = match url {
        Some(url) => {
            if let Some(binary) = &redis_server {
                let problem = format!("is of no use beside store.url ({}): keep one", url.origin);
                reader.problem("store.redis_server", &binary.origin, problem);
            }
            external(reader, url, access).map(StoreSource::Url)
        }
        None => {
            access.refuse_all(reader, "is of no use without store.url: the private store has no users and no network");
            None
        }
    };
    Store {
        source: source.unwrap_or(StoreSource::Private { redis_server: redis_server.map(|path| path.value) }),
        prefix: prefix.map_or_else(|| defaults::STORE_PREFIX.to_owned(), |prefix| prefix.value),
        replicas_required,
        replica_timeout,
        command_timeout,
        connect_timeout,
    }
}

struct Access {
    user: Option<Placed<String>>,
    password: Option<Placed<SecretSource>>,
    ca_file: Option<Placed<PathBuf>>,
    client_cert_file: Option<Placed<PathBuf>>,
    client_key_file: Option<Placed<PathBuf>>,
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

const FORM: &str = "must be redis://HOST:PORT/DATABASE or rediss://…, with user and password as store.user and \
                    store.password_file (or in the URL)";

// The URL may hold a password: no problem below shows it.
fn external(reader: &mut Reader, url: Placed<String>, access: Access) -> Option<StoreUrl> {
    let Placed { value, origin } = url;
    let value = Secret::new(value);
    let parsed = Url::parse(value.expose()).ok().filter(|url| matches!(url.scheme(), "redis" | "rediss"));
    let Some(url) = parsed else {
        reader.problem("store.url", &origin, FORM);
        return None;
    };
    if url.query().is_some() || url.fragment().is_some() {
        reader.problem("store.url", &origin, format!("must have neither ? nor #; it {FORM}"));
    }
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
    if host.is_empty() {
        reader.problem("store.url", &origin, format!("has no host; it {FORM}"));
    }
    let database = match url.path().trim_start_matches('/') {
        "" => Some(0),
        text => text.parse().ok(),
    };
    if database.is_none() {
        reader.problem("store.url", &origin, "has a path that is not a database number, such as /0");
    }
    let tls = url.scheme() == "rediss";
    if !tls {
        access.refuse_tls(reader, "is of no use without TLS: write rediss:// in store.url");
    }
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
    let port = url.port().unwrap_or(6379);
    Some(StoreUrl { host, port, tls, database: database?, user, password, ca_file, client })
}

fn user(reader: &mut Reader, url: &Url, origin: &Origin, user: Option<Placed<String>>) -> Option<String> {
    let in_url = decoded(url.username());
    match user {
        Some(user) if in_url.is_some() => {
            reader.problem(
                "store.user",
                &user.origin,
                format!("is given twice: also in store.url ({origin}); keep one"),
            );
            None
        }
        Some(user) => Some(user.value),
        None => in_url,
    }
}

fn password(
    reader: &mut Reader,
    url: &Url,
    origin: &Origin,
    password: Option<Placed<SecretSource>>,
) -> Option<SecretSource> {
    let in_url = url.password().and_then(decoded);
    match password {
        Some(password) if in_url.is_some() => {
            let problem = format!("is given twice: also in store.url ({origin}); keep one");
            reader.problem("store.password", &password.origin, problem);
            None
        }
        Some(password) => {
            if let Err(error) = password.value.read() {
                reader.problem("store.password_file", &password.origin, error.to_string());
            }
            Some(password.value)
        }
        None => in_url.map(|text| SecretSource::Value(Secret::new(text))),
    }
}

/// Undoes the percent encoding of a part of a URL; nothing for an empty one.
fn decoded(part: &str) -> Option<String> {
    // A plus is a plus here, and only here: form_urlencoded would make it a space.
    let encoded = part.replace('+', "%2B");
    let text: String = form_urlencoded::parse(encoded.replace('&', "%26").replace('=', "%3D").as_bytes())
        .map(|(name, _)| name.into_owned())
        .collect();
    (!text.is_empty()).then_some(text)
}
