//! Raw settings to checked settings.
//!
//! Layers: the defaults, then `countermark.toml`, then `COUNTERMARK_…` variables, then flags; the later wins. The TOML
//! path `store.ca_file` is the variable `COUNTERMARK_STORE_CA_FILE`; lists are comma separated there. Relative paths
//! start at the working directory. Every default is in `defaults.rs`.
mod address;
mod check;
mod defaults;
mod duration;
mod error;
#[cfg(any(feature = "fuzzing", test))]
pub(crate) mod fuzzing;
mod issuer;
mod pkcs11;
mod policies;
mod reader;
mod secret;
mod sinks;
mod sources;
mod store;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;

pub use address::{Address, NotAnAddress};
pub use duration::{NotADuration, ShownDuration, parse_duration};
pub use error::{ConfigError, ConfigErrors, Origin};
pub use policies::Policy;
pub use secret::{Secret, SecretFileError, SecretSource, SecretSource as MasterKeySource, read_private};
pub use sinks::{Sink, SinkKind, SinkTls, SyslogSink, WebhookSink, webhook_key};
pub use store::{ClientCertificate, SentinelAccess, Store, StoreSource, StoreUrl};

use reader::Reader;
use sources::Sources;

/// The flags of `serve`, one each; `None` or empty where the flag was not given.
#[derive(Clone, Default)]
pub struct Overrides {
    /// `--config`: the file instead of `countermark.toml` in the working directory.
    pub config: Option<PathBuf>,
    /// `--data-dir`
    pub data_dir: Option<PathBuf>,
    /// `--listen`, repeatable
    pub listen: Vec<String>,
    /// `--operations-listen`
    pub operations_listen: Option<String>,
    /// `--issuer`
    pub issuer: Option<String>,
    /// `--store`
    pub store: Option<String>,
    /// `--max-staleness`
    pub max_staleness: Option<String>,
    /// `--tls-cert`
    pub tls_cert: Option<PathBuf>,
    /// `--tls-key`
    pub tls_key: Option<PathBuf>,
    /// `--public-name`, repeatable
    pub public_names: Vec<String>,
    /// `--node-name`
    pub node_name: Option<String>,
    /// `--master-key-file`
    pub master_key_file: Option<PathBuf>,
}

impl std::fmt::Debug for Overrides {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Not `store`: the URL may hold a password.
        f.debug_struct("Overrides")
            .field("config", &self.config)
            .field("data_dir", &self.data_dir)
            .field("listen", &self.listen)
            .finish_non_exhaustive()
    }
}

/// The checked settings of a server.
#[derive(Debug, Clone)]
pub struct Config {
    /// All files of this process live here (`data_dir`, default `./data`).
    pub data_dir: PathBuf,
    /// Where the API is served (`listen`, default `127.0.0.1:8443` with TLS); never empty.
    pub listen: Vec<Address>,
    /// Where metrics are served (`operations_listen`, default `http://127.0.0.1:9443`): plain, on this machine only.
    pub operations_listen: Address,
    /// The `iss` of tokens (`issuer`); `None` means `https://localhost:<port of the first TLS listener>`.
    pub issuer: Option<String>,
    /// Former issuers, whose tokens stay good (`also_accept_issuers`).
    pub also_accept_issuers: Vec<String>,
    /// This node's name in receipts and audit entries (`node_name`); `None`: made up by the server.
    pub node_name: Option<String>,
    /// How old the state behind a decision may be (`max_staleness`, 0 to 5 s, default 500 ms; 0 = look it up every time).
    pub max_staleness: Duration,
    /// What seals the signing keys (`master_key` or `master_key_file`, default `<data_dir>/keys/master.key`, which may
    /// not exist yet).
    pub master_key: MasterKeySource,
    /// `[store]`
    pub store: Store,
    /// `[tls]`
    pub tls: Tls,
    /// Proxies whose `X-Forwarded-…` is believed (`trusted_proxies`, none by default).
    pub trusted_proxies: Vec<IpNet>,
    /// `[cache]`
    pub cache: Cache,
    /// `[limits]`
    pub limits: Limits,
    /// `[signing]`
    pub signing: Signing,
    /// `[tokens]`
    pub tokens: Tokens,
    /// `[guessing]`
    pub guessing: Guessing,
    /// `[console]`
    pub console: Console,
    /// `[audit]`
    pub audit: Audit,
    /// `[policies.NAME]`
    pub policies: BTreeMap<String, Policy>,
    /// `[log]`
    pub log: Log,
    /// Whether a crash may leave a core file, in which all secrets are (`core_dumps`, `off` by default, or `danger_on`).
    pub core_dumps: bool,
}

/// The server's certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// A certificate that somebody provides (`tls.cert_file`, `tls.key_file`); `None`: the local CA makes one.
    pub files: Option<CertificateFiles>,
    /// Further names for the local CA's certificate (`tls.public_names`): DNS names or addresses.
    pub public_names: Vec<String>,
}

/// A certificate and its key, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate and its chain.
    pub cert_file: PathBuf,
    /// The private key, readable by its owner only.
    pub key_file: PathBuf,
}

/// What is remembered for verifications, in memory (`[cache]`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    /// Of tokens whose signature is known to be genuine, in bytes (64 MiB; 0: none, every signature is checked anew).
    pub signature_bytes: u64,
    /// Of accounts' states, in bytes (64 MiB).
    pub account_bytes: u64,
}

/// What one connection, and all together, may use (`[limits]`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Request line and headers, in bytes (32 KiB).
    pub head_bytes: usize,
    /// Headers, in number (100).
    pub head_fields: usize,
    /// How long they may take (10 s).
    pub head_timeout: Duration,
    /// A body, in bytes (64 KiB).
    pub body_bytes: usize,
    /// How long it may take (30 s).
    pub body_timeout: Duration,
    /// Connections of the whole process (10,000); fewer where the limit of open files has no room for them.
    pub connections: usize,
    /// Concurrent requests of the whole process beyond the first of each connection (2,000): above that, strangers with many
    /// have to go.
    pub requests: usize,
    /// Concurrent requests on one HTTP/2 connection (100).
    pub requests_per_connection: u32,
    /// How long a connection may go without a byte either way (60 s).
    pub idle_timeout: Duration,
    /// How long requests may go on after the signal to stop (20 s).
    pub drain_timeout: Duration,
    /// How long a TLS handshake may take (10 s).
    pub handshake_timeout: Duration,
}

/// New signing keys (`[signing]`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signing {
    /// `signing.algorithm`, default ES256.
    pub algorithm: SigningAlgorithm,
    /// How long a key is published before it signs (`signing.publish_ahead`, 0 to 30 days, default 24 h).
    pub publish_ahead: Duration,
    /// How long a key signs before the next one does (`signing.rotate_every`, up to 10 years, default 90 days; 0 = until
    /// somebody activates another).
    pub rotate_every: Duration,
    /// `[signing.pkcs11]`: the hardware token that keys may lie in.
    pub pkcs11: Option<Pkcs11>,
}

/// A hardware token (`[signing.pkcs11]`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pkcs11 {
    /// The library of its maker (`signing.pkcs11.module`). Looked for when the server runs: without it tokens are still checked.
    pub module: PathBuf,
    /// Which of the module's tokens (`signing.pkcs11.token_label`).
    pub token_label: String,
    /// What opens it (`signing.pkcs11.pin` or `pin_file`).
    pub pin: SecretSource,
}

/// The algorithm of new signing keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SigningAlgorithm {
    /// ECDSA over P-256: every gateway verifies it.
    Es256,
    /// Ed25519.
    EdDsa,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PSS with SHA-256.
    Ps256,
}

impl SigningAlgorithm {
    const ALL: [(&'static str, Self); 4] =
        [("ES256", Self::Es256), ("EdDSA", Self::EdDsa), ("RS256", Self::Rs256), ("PS256", Self::Ps256)];

    /// The name in a JWS header.
    pub fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
        }
    }
}

/// New tokens (`[tokens]`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    /// The lifetimes on offer, in calendar months: 1 to 120 each, sorted, each once, never empty (6, 12, 24).
    pub valid_for_months: Vec<u32>,
}

/// People who sign in (`[console]`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Console {
    /// How long a session goes on without a call (`console.session_idle`, a minute to a day, default 30 min).
    pub session_idle: Duration,
    /// How long a session goes on at the longest (`console.session_length`, a minute to 30 days, default 12 h).
    pub session_length: Duration,
}

/// Invalid signatures that one address may send (`[guessing]`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guessing {
    /// In the long run (60).
    pub per_minute: u32,
    /// At once (60).
    pub burst: u32,
}

/// What is kept of the audit (`[audit]`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// How long entries are kept (400 d).
    pub retention: Duration,
    /// Events in one account's activity log (10,000), at times an eighth and a group more.
    pub activity_max_entries: u64,
    /// Entries in each stream of the log of everything (1,000,000).
    pub firehose_max_entries: u64,
    /// What becomes of calls whose events the store does not take at once (`spill`).
    pub mode: AuditMode,
    /// The most bytes of events that may wait on disk, in `<data_dir>/audit` (1 GiB).
    pub spill_max_bytes: u64,
    /// Events that may wait in memory (65,536).
    pub queue_events: usize,
    /// Entries are archived to files in here before they are removed (`None`: not here).
    pub archive_dir: Option<PathBuf>,
    /// Entries of that age are archived, if they are not before (1 h).
    pub archive_every: Duration,
    /// Whether what was archived once goes on to be (`audit.archive`: `kept`, the default, or `danger_ended`).
    pub archive: bool,
    /// Whether calls are recorded (yes). Administrative acts are in any case.
    pub calls: bool,
    /// Where events are sent on to (`[audit.sinks.NAME]`).
    pub sinks: BTreeMap<String, Sink>,
}

/// What becomes of calls whose events the store does not take at once (`audit.mode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditMode {
    /// No answer before its event is in the store.
    Strict,
    /// Events wait on disk.
    Spill,
    /// Calls are answered without one.
    BestEffort,
}

impl AuditMode {
    const ALL: [(&'static str, Self); 3] =
        [("spill", Self::Spill), ("strict", Self::Strict), ("best-effort", Self::BestEffort)];
}

/// Our own log (`[log]`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// `log.format`, default readable.
    pub format: LogFormat,
    /// `log.level`: `error`, `warn`, `info` (the default), `debug` or `trace`.
    pub level: LogLevel,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Readable,
    /// One JSON object a line.
    Json,
}

/// What is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl LogLevel {
    const ALL: [(&'static str, Self); 5] = [
        ("error", Self::Error),
        ("warn", Self::Warn),
        ("info", Self::Info),
        ("debug", Self::Debug),
        ("trace", Self::Trace),
    ];

    /// The word, as filters of the log take it.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, level)| *level == self).map_or("info", |(name, _)| name)
    }
}

impl Config {
    /// Merges the layers and checks all settings; reports everything that is wrong, not the first thing only.
    ///
    /// `environment` is what `std::env::vars_os` gives, as text (`std::env::vars` panics at a variable that is not).
    pub fn load(
        overrides: &Overrides,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigErrors> {
        Self::load_in(Path::new(""), overrides, environment)
    }

    fn load_in(
        directory: &Path,
        overrides: &Overrides,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigErrors> {
        let mut sources = Sources::default();
        let file = match &overrides.config {
            Some(path) => Some(path.clone()),
            None => Some(directory.join(defaults::FILE)).filter(|path| path.exists()),
        };
        let problem = file.and_then(|path| sources.file(&path).err());
        sources.environment(environment);
        check::add_flags(&mut sources, overrides);
        Self::read(sources, problem.into_iter().collect())
    }

    fn read(sources: Sources, problems: Vec<ConfigError>) -> Result<Self, ConfigErrors> {
        let mut reader = Reader::new(sources, problems);
        let config = check::read(&mut reader);
        let problems = reader.finish();
        if problems.is_empty() { Ok(config) } else { Err(ConfigErrors(problems)) }
    }
}
