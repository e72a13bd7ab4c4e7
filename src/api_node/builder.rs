use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use ipnet::IpNet;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::copy::KeyCopy;
use super::counts::Decisions;
use super::home::ApiHome;
use super::key_set::{self, PublishedKeys};
use super::running::Running;
use super::{Inner, StartError, Verifier, redis_url};
use crate::account::Audience;
use crate::clock::{Clock, SystemClock, random, uuid_v7};
use crate::name::NodeName;
use crate::node::{KeyCache, Node, Parts, Recorder};
use crate::store::{Address, NodeOptions, NodeStore, Place, Target};

/// The longest staleness that any dataset allows.
const MOST_STALENESS: Duration = Duration::from_secs(5);
const MIB: u64 = 1024 * 1024;

/// What a [`Verifier`] is made with. Everything but the issuer and the address of Redis has a default.
pub struct Builder {
    issuer: String,
    also_accept_issuers: Vec<String>,
    audience: Option<String>,
    redis: Option<Zeroizing<String>>,
    redis_user: Option<String>,
    redis_password: Option<Zeroizing<String>>,
    redis_ca_pem: Option<Vec<u8>>,
    redis_certificate: Option<(Vec<u8>, Zeroizing<Vec<u8>>)>,
    prefix: String,
    key_set: Option<KeySetPlace>,
    ca_pem: Option<Vec<u8>>,
    copy: Option<PathBuf>,
    node_name: Option<String>,
    max_staleness: Duration,
    command_timeout: Duration,
    account_bytes: u64,
    signature_bytes: u64,
    trusted_proxies: Vec<IpNet>,
    guessing: (u32, u32),
    audit_queue: usize,
    firehose: u64,
    records: bool,
}

enum KeySetPlace {
    Url(String),
    File(PathBuf),
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Builder({} …)", self.issuer)
    }
}

impl Builder {
    pub(super) fn new(issuer: String) -> Self {
        Self {
            issuer,
            also_accept_issuers: Vec::new(),
            audience: None,
            redis: None,
            redis_user: None,
            redis_password: None,
            redis_ca_pem: None,
            redis_certificate: None,
            prefix: "cm".to_owned(),
            key_set: None,
            ca_pem: None,
            copy: None,
            node_name: None,
            max_staleness: Duration::from_millis(500),
            command_timeout: Duration::from_secs(1),
            account_bytes: 64 * MIB,
            signature_bytes: 64 * MIB,
            trusted_proxies: Vec::new(),
            guessing: (60, 60),
            audit_queue: 65_536,
            firehose: 1_000_000,
            records: true,
        }
    }

    /// The API that tokens have to be for: one of their audiences. The default is the issuer's URL, as everywhere.
    #[must_use]
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = Some(audience.into());
        self
    }

    /// Where Redis is: `redis://USER:PASSWORD@HOST:PORT/DATABASE`, `rediss://…` for TLS, or `unix:/PATH`.
    #[must_use]
    pub fn redis(mut self, url: impl Into<String>) -> Self {
        self.redis = Some(Zeroizing::new(url.into()));
        self
    }

    /// The ACL user of Redis, where it does not stand in its URL.
    #[must_use]
    pub fn redis_user(mut self, user: impl Into<String>) -> Self {
        self.redis_user = Some(user.into());
        self
    }

    /// The password of Redis, where it does not stand in its URL.
    #[must_use]
    pub fn redis_password(mut self, password: impl Into<String>) -> Self {
        self.redis_password = Some(Zeroizing::new(password.into()));
        self
    }

    /// The CA certificates of Redis, PEM. The default: the web's.
    #[must_use]
    pub fn redis_ca_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.redis_ca_pem = Some(pem.into());
        self
    }

    /// A client certificate for Redis, and its key, PEM.
    #[must_use]
    pub fn redis_certificate_pem(mut self, chain: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.redis_certificate = Some((chain.into(), Zeroizing::new(key.into())));
        self
    }

    /// What the keys in Redis start with: `store.prefix` of the issuer, `cm` by default.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Where the key set is published. The default is the issuer's `/.well-known/jwks.json`. HTTPS only.
    #[must_use]
    pub fn key_set_url(mut self, url: impl Into<String>) -> Self {
        self.key_set = Some(KeySetPlace::Url(url.into()));
        self
    }

    /// A file with the key set: the whole answer of `/.well-known/jwks.json`, to be replaced whenever the issuer's keys change.
    /// From a change on, and until the file has it, calls are refused.
    #[must_use]
    pub fn key_set_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.key_set = Some(KeySetPlace::File(path.into()));
        self
    }

    /// The CA certificates behind the key set's URL, PEM. The default: the web's.
    #[must_use]
    pub fn ca_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.ca_pem = Some(pem.into());
        self
    }

    /// Keeps a copy of the key set in this file, so that a node can start while the issuer is away. It says of which issuer and
    /// dataset it is, and is used only as long as the store speaks of its very version. Nobody else may write to it.
    #[must_use]
    pub fn keep_keys_in(mut self, path: impl Into<PathBuf>) -> Self {
        self.copy = Some(path.into());
        self
    }

    /// Former issuers, whose tokens are good too.
    #[must_use]
    pub fn also_accept_issuers(mut self, issuers: impl IntoIterator<Item = String>) -> Self {
        self.also_accept_issuers = issuers.into_iter().collect();
        self
    }

    /// The node's name, under which its events are numbered: no two processes at once may have the same, nor one that an issuer
    /// has. The default is the host's name with six hexadecimal digits that are new at each start.
    #[must_use]
    pub fn node_name(mut self, name: impl Into<String>) -> Self {
        self.node_name = Some(name.into());
        self
    }

    /// How old the state behind a decision may be: up to 5 s, 500 ms by default. 0: every call is looked up in Redis.
    #[must_use]
    pub fn max_staleness(mut self, bound: Duration) -> Self {
        self.max_staleness = bound;
        self
    }

    /// How long Redis may take for an answer: 1 s by default.
    #[must_use]
    pub fn command_timeout(mut self, timeout: Duration) -> Self {
        self.command_timeout = timeout;
        self
    }

    /// The most bytes that states of accounts may take in memory: 64 MiB by default.
    #[must_use]
    pub fn account_bytes(mut self, bytes: u64) -> Self {
        self.account_bytes = bytes;
        self
    }

    /// The most bytes that tokens whose signature is known may take in memory: 64 MiB by default; 0: none is remembered.
    #[must_use]
    pub fn signature_bytes(mut self, bytes: u64) -> Self {
        self.signature_bytes = bytes;
        self
    }

    /// Networks of proxies whose `X-Forwarded-For` is believed; none by default.
    #[must_use]
    pub fn trusted_proxies(mut self, networks: impl IntoIterator<Item = IpNet>) -> Self {
        self.trusted_proxies = networks.into_iter().collect();
        self
    }

    /// How many invalid signatures an address may send in a minute, and at once: 60 and 60 by default. Tokens that are genuine and
    /// dead never count.
    #[must_use]
    pub fn guessing(mut self, per_minute: u32, burst: u32) -> Self {
        self.guessing = (per_minute, burst);
        self
    }

    /// How many events may wait for Redis: 65,536 by default, of about half a kilobyte each.
    #[must_use]
    pub fn audit_queue(mut self, events: usize) -> Self {
        self.audit_queue = events;
        self
    }

    /// How many entries the firehose keeps: `audit.firehose_max_entries` of the issuer, a million by default.
    #[must_use]
    pub fn firehose_max_entries(mut self, entries: u64) -> Self {
        self.firehose = entries;
        self
    }

    /// Records nothing: no call of this API leads back to its account.
    #[must_use]
    pub fn danger_without_audit(mut self) -> Self {
        self.records = false;
        self
    }

    /// Checks the settings and begins. Where Redis or the issuer are away it begins all the same, and refuses every call until
    /// they are there.
    ///
    /// # Errors
    /// What somebody has to change first: a setting, the user or password of Redis, an address of another issuer's store.
    pub async fn start(self) -> Result<Verifier, StartError> {
        self.start_with(Arc::new(SystemClock)).await
    }

    /// The same by another clock, for tests that move it.
    ///
    /// # Errors
    /// As of [`start`](Self::start).
    pub async fn start_with(self, clock: Arc<dyn Clock>) -> Result<Verifier, StartError> {
        let audience = self.checked()?;
        let name = self.name()?;
        let target = self.target()?;
        let keys = self.keys()?;

        match target.reached().await {
            Ok(_) => {}
            Err(refused) => return Err(StartError::Redis(refused.0)),
        }
        let (disconnect, retire) = (CancellationToken::new(), CancellationToken::new());
        let options = NodeOptions { prefix: self.prefix.clone(), firehose: self.firehose };
        let store = Arc::new(NodeStore::open(&target, &options, &disconnect));
        let process = uuid_v7(clock.now()).to_string();
        let (recorder, writer) = Recorder::new(name, process.clone(), 0, self.audit_queue);
        let mut issuers = vec![self.issuer.clone()];
        issuers.extend(self.also_accept_issuers);
        let node = Arc::new(Node::new(Parts {
            home: ApiHome::new(
                store,
                self.issuer,
                KeyCache::new(keys, key_set::Published::nothing(), Arc::clone(&clock)),
            ),
            clock,
            issuers,
            max_staleness: self.max_staleness,
            account_bytes: self.account_bytes,
            signature_bytes: self.signature_bytes,
            guessing: self.guessing,
            recorder,
        }));
        let (begun, has_begun) = watch::channel(Ok(false));
        let (ended, has_ended) = watch::channel(false);
        let running = Running {
            node: Arc::clone(&node),
            node_id: process,
            retire: retire.clone(),
            max_staleness: self.max_staleness,
            _disconnects: disconnect.drop_guard(),
        };
        // What can be told at once is told at once.
        running.begun_at_once().await?;
        tokio::spawn(running.run(writer, begun, ended));
        Ok(Verifier(Arc::new(Inner {
            node,
            audience,
            trusted_proxies: self.trusted_proxies,
            decisions: Decisions::default(),
            records: AtomicBool::new(self.records),
            _retires: retire.clone().drop_guard(),
            retire,
            begun: has_begun,
            ended: has_ended,
        })))
    }

    fn checked(&self) -> Result<Audience, StartError> {
        let audience = self.audience.as_ref().unwrap_or(&self.issuer);
        let audience = audience.parse().map_err(|error: crate::name::Invalid| {
            let setting = if self.audience.is_some() { "audience" } else { "issuer" };
            StartError::setting(setting, error.to_string())
        })?;
        if self.max_staleness > MOST_STALENESS {
            return Err(StartError::setting("max_staleness", "at most 5 s"));
        }
        if self.prefix.is_empty() || !self.prefix.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        {
            return Err(StartError::setting("prefix", "letters, digits, - and _: the issuer's store.prefix"));
        }
        if self.account_bytes < MIB {
            return Err(StartError::setting("account_bytes", "at least 1 MiB"));
        }
        if self.command_timeout.is_zero() || self.audit_queue == 0 || self.firehose == 0 {
            return Err(StartError::setting("command_timeout, audit_queue, firehose_max_entries", "more than zero"));
        }
        Ok(audience)
    }

    fn name(&self) -> Result<String, StartError> {
        if let Some(name) = &self.node_name {
            let name: Result<NodeName, _> = name.parse();
            return name
                .map(|name| name.to_string())
                .map_err(|error| StartError::setting("node_name", error.to_string()));
        }
        let [a, b, c] = random::<3>().map_err(|error| StartError::setting("node_name", error.to_string()))?;
        Ok(format!("{}-{a:02x}{b:02x}{c:02x}", NodeName::of_the_host()))
    }

    fn target(&self) -> Result<Target, StartError> {
        let Some(url) = &self.redis else {
            return Err(StartError::setting("redis", "say where Redis is: it knows which tokens are good"));
        };
        let mut address = Address::to(Place::Socket(PathBuf::new()));
        redis_url::parse(url, &mut address)?;
        if self.redis_password.is_some() {
            if address.password.is_some() {
                return Err(StartError::setting("redis_password", "it is given twice: also in the address; keep one"));
            }
            address.password.clone_from(&self.redis_password);
        }
        if self.redis_user.is_some() {
            if address.user.is_some() {
                return Err(StartError::setting("redis_user", "it is given twice: also in the address; keep one"));
            }
            address.user.clone_from(&self.redis_user);
        }
        let is_tls = matches!(address.place, Place::Tls(..));
        if !is_tls && (self.redis_ca_pem.is_some() || self.redis_certificate.is_some()) {
            return Err(StartError::setting("redis", "certificates are of no use without TLS: write rediss://"));
        }
        address.ca_pem.clone_from(&self.redis_ca_pem);
        address.client_certificate.clone_from(&self.redis_certificate);
        address.timeout = self.command_timeout;
        address.connect_timeout = self.command_timeout;
        Target::new(address).map_err(|refused| StartError::setting("redis", refused.0))
    }

    fn keys(&self) -> Result<PublishedKeys, StartError> {
        let place = match &self.key_set {
            Some(KeySetPlace::File(path)) => key_set::Place::File(path.clone()),
            Some(KeySetPlace::Url(url)) => self.over_https(url, "key_set_url")?,
            None => {
                let issuer = self.issuer.trim_end_matches('/');
                self.over_https(&format!("{issuer}/.well-known/jwks.json"), "issuer")?
            }
        };
        if self.copy.as_deref().is_some_and(Path::is_dir) {
            return Err(StartError::setting("keep_keys_in", "it is a directory; name a file"));
        }
        let copy = self.copy.as_ref().map(|path| KeyCopy::new(path.clone(), self.issuer.clone()));
        Ok(PublishedKeys { place, copy, reads: AtomicU64::new(0), failures: AtomicU64::new(0) })
    }

    fn over_https(&self, url: &str, setting: &'static str) -> Result<key_set::Place, StartError> {
        let url = reqwest::Url::parse(url).ok().filter(|url| url.scheme() == "https" && url.has_host());
        let url =
            url.ok_or_else(|| StartError::setting(setting, "the key set comes from an https:// URL, or from a file"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(StartError::setting(setting, "the key set is public: a URL without user and password"));
        }
        let wrong = |why: String| StartError::setting("ca_pem", why);
        let tls = crate::store::tls_config(self.ca_pem.as_deref(), None).map_err(wrong)?;
        let client = reqwest::Client::builder()
            .user_agent(concat!("countermark-node/", env!("CARGO_PKG_VERSION")))
            .tls_backend_preconfigured(tls)
            .https_only(true)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(2))
            .pool_idle_timeout(Duration::from_secs(30))
            .build()
            .map_err(|error| StartError::setting(setting, error.to_string()))?;
        Ok(key_set::Place::Url(url, client))
    }
}
