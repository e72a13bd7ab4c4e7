use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use ipnet::IpNet;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::counts::Decisions;
use super::home::ApiHome;
use super::key_set::Published;
use super::running::Running;
use super::{Inner, StartError, Verifier};
use crate::clock::{Clock, SystemClock, uuid_v7};
use crate::node::{KeyCache, Mode, Node, Parts, Recorder};
use crate::store::{NodeOptions, NodeStore};

pub(super) const MIB: u64 = 1024 * 1024;

/// What a [`Verifier`] is made with. Everything but the issuer and the address of Redis has a default.
pub struct Builder {
    pub(super) issuer: String,
    pub(super) also_accept_issuers: Vec<String>,
    pub(super) audience: Option<String>,
    pub(super) redis: Option<Zeroizing<String>>,
    pub(super) redis_user: Option<String>,
    pub(super) redis_password: Option<Zeroizing<String>>,
    pub(super) redis_sentinel_user: Option<String>,
    pub(super) redis_sentinel_password: Option<Zeroizing<String>>,
    pub(super) redis_ca_pem: Option<Vec<u8>>,
    pub(super) redis_certificate: Option<(Vec<u8>, Zeroizing<Vec<u8>>)>,
    pub(super) prefix: String,
    pub(super) key_set: Option<KeySetPlace>,
    pub(super) ca_pem: Option<Vec<u8>>,
    pub(super) copy: Option<PathBuf>,
    pub(super) node_name: Option<String>,
    pub(super) max_staleness: Duration,
    pub(super) command_timeout: Duration,
    pub(super) account_bytes: u64,
    pub(super) signature_bytes: u64,
    pub(super) trusted_proxies: Vec<IpNet>,
    pub(super) guessing: (u32, u32),
    pub(super) audit_queue: usize,
    pub(super) audit_mode: Mode,
    pub(super) firehose: u64,
    pub(super) renewals_wait: u64,
    pub(super) records: bool,
}

pub(super) enum KeySetPlace {
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
            redis_sentinel_user: None,
            redis_sentinel_password: None,
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
            audit_mode: Mode::Memory,
            firehose: 1_000_000,
            renewals_wait: 0,
            records: true,
        }
    }

    /// The API that tokens have to be for: one of their audiences. The default is the issuer's URL, as everywhere.
    #[must_use]
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = Some(audience.into());
        self
    }

    /// Where Redis is: `redis://USER:PASSWORD@HOST:PORT/DATABASE`, `redis+sentinel://HOST:PORT,HOST:PORT/NAME/DATABASE`,
    /// `redis+cluster://HOST:PORT,HOST:PORT`, each with `rediss` for TLS; or `unix:/PATH`.
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

    /// The ACL user of the sentinels, which have users of their own.
    #[must_use]
    pub fn redis_sentinel_user(mut self, user: impl Into<String>) -> Self {
        self.redis_sentinel_user = Some(user.into());
        self
    }

    /// The password of the sentinels.
    #[must_use]
    pub fn redis_sentinel_password(mut self, password: impl Into<String>) -> Self {
        self.redis_sentinel_password = Some(Zeroizing::new(password.into()));
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

    /// What becomes of calls whose events Redis does not take at once: they wait in memory, unless something else is said here.
    #[must_use]
    pub fn audit_mode(mut self, mode: Mode) -> Self {
        self.audit_mode = mode;
        self
    }

    /// How many events may wait in memory: 65,536 by default, of about half a kilobyte each.
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

    /// A lease is renewed only once so many replicas of Redis have the renewal: a primary that was cut off from them can then not
    /// give one, whatever its clock says. `store.renewals_wait` of the issuer; 0, the default: it counts at once.
    #[must_use]
    pub fn renewals_wait(mut self, replicas: u64) -> Self {
        self.renewals_wait = replicas;
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
        let options =
            NodeOptions { prefix: self.prefix.clone(), firehose: self.firehose, renewals_wait: self.renewals_wait };
        let store = Arc::new(NodeStore::open(&target, &options, &disconnect));
        let process = uuid_v7(clock.now()).to_string();
        let (capacity, mode) = (self.audit_queue, self.audit_mode);
        // Much may wait on disk, and has to be read.
        let opened = tokio::task::spawn_blocking(move || Recorder::new(name, capacity, &mode)).await;
        let (recorder, writer) = opened
            .unwrap_or_else(|error| Err(std::io::Error::other(error)))
            .map_err(|error| StartError::setting("audit_mode", error.to_string()))?;
        let mut issuers = vec![self.issuer.clone()];
        issuers.extend(self.also_accept_issuers);
        let node = Arc::new(Node::new(Parts {
            home: ApiHome::new(store, self.issuer, KeyCache::new(keys, Published::nothing(), Arc::clone(&clock))),
            clock,
            issuers,
            max_staleness: self.max_staleness,
            renewals_wait: self.renewals_wait > 0,
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
            max_staleness: self.max_staleness,
            retire: retire.clone(),
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
}
