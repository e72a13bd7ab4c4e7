//! Configuration, translated into what the other floors take.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use zeroize::Zeroizing;

use super::{Running, ServeError, node_name};
use crate::authority::{Archive, ArchivePlace, SessionSettings, Settings, SigningSettings, Startup};
use crate::config::{
    Address, AuditMode, Config, Policy, SecretSource, SigningAlgorithm, Sink, StoreSource, StoreUrl, read_private,
};
use crate::http::NamedDemand;
use crate::listen::Listener;
use crate::node::Mode;
use crate::pkcs11::HardwareToken;
use crate::sinks::{Courier, Outlet};
use crate::store::{
    self, DataDir, Journal, Options, Place, PrivateRedis, Remembering, Retention, SentinelAccess, Servers, Target,
    Twins,
};
use crate::token::Algorithm;

/// A segment of the archive has about so many bytes at the most.
const SEGMENT_BYTES: u64 = 64 * 1024 * 1024;

pub(super) fn policies(config: &Config) -> BTreeMap<String, NamedDemand> {
    let demand = |policy: &Policy| NamedDemand {
        permission: policy.permission.clone(),
        team: policy.team.clone(),
        audience: policy.audience.clone(),
    };
    config.policies.iter().map(|(name, policy)| (name.clone(), demand(policy))).collect()
}

/// The private Redis, started, or the address of another.
pub(super) async fn store(config: &Config, data_dir: &DataDir) -> Result<(Option<PrivateRedis>, Target), ServeError> {
    match &config.store.source {
        StoreSource::Private { redis_server } => {
            let private = PrivateRedis::start(data_dir, redis_server.as_deref()).await.map_err(ServeError::of)?;
            let target = local_target(config, private.socket())?.on_disk(Arc::clone(private.space()));
            Ok((Some(private), target))
        }
        StoreSource::Url(url) => Ok((None, remote_target(config, url)?)),
    }
}

pub(super) fn local_target(config: &Config, socket: &std::path::Path) -> Result<Target, ServeError> {
    Target::new(store::Address {
        timeout: config.store.command_timeout,
        connect_timeout: config.store.connect_timeout,
        ..store::Address::to(Place::Socket(socket.to_owned()))
    })
    .map_err(ServeError::of)
}

pub(super) fn remote_target(config: &Config, url: &StoreUrl) -> Result<Target, ServeError> {
    let read = |path: &std::path::Path| {
        std::fs::read(path).map_err(|error| ServeError(format!("{} can't be read: {error}", path.display())))
    };
    let secret = |source: &Option<SecretSource>| {
        let secret = source.as_ref().map(|source| source.read().map_err(ServeError::of)).transpose()?;
        Ok::<_, ServeError>(secret.map(|secret| Zeroizing::new(secret.expose().to_owned())))
    };
    let client_certificate = match &url.client {
        Some(client) => {
            let key = Zeroizing::new(read_private(&client.key_file).map_err(ServeError::of)?);
            Some((read(&client.cert_file)?, key))
        }
        None => None,
    };
    Target::new(store::Address {
        place: Place::Network { servers: url.servers.clone(), tls: url.tls },
        database: url.database,
        user: url.user.clone(),
        password: secret(&url.password)?,
        sentinel: SentinelAccess {
            user: url.sentinel.user.clone(),
            password: secret(&url.sentinel.password)?,
            tls: url.sentinel.tls,
        },
        ca_pem: url.ca_file.as_deref().map(read).transpose()?,
        client_certificate,
        timeout: config.store.command_timeout,
        connect_timeout: config.store.connect_timeout,
    })
    .map_err(ServeError::of)
}

/// `node`: under what this process will stand in the table of nodes, if it will.
/// Whether another server may take over by itself.
fn has_failover(config: &Config) -> bool {
    matches!(&config.store.source, StoreSource::Url(url) if !matches!(url.servers, Servers::One(_)))
}

pub(super) fn store_options(config: &Config, node: Option<&str>) -> Result<Options, ServeError> {
    let journal = Journal::open(&journal(config), config.audit.retention).map_err(ServeError::of)?;
    let name = node_name::of(config, &config.data_dir)?;
    Ok(Options {
        prefix: config.store.prefix.clone(),
        replicas_required: u64::from(config.store.replicas_required),
        replica_timeout: config.store.replica_timeout,
        renewals_wait: config.store.renewals_wait,
        retention: Retention {
            firehose: config.audit.firehose_max_entries,
            activity: config.audit.activity_max_entries,
            age: config.audit.retention,
        },
        twins: match &config.store.source {
            StoreSource::Private { .. } => Twins::Impossible,
            StoreSource::Url(_) => Twins::Possible,
        },
        replicated: config.store.replicas_required > 0 || has_failover(config),
        replica_max_lag: config.store.replica_max_lag,
        remembering: Some(Remembering { journal: Arc::new(journal), name, node: node.map(str::to_owned) }),
        sinks: !config.audit.sinks.is_empty(),
    })
}

/// The directory of the journal of changes.
pub(super) fn journal(config: &Config) -> PathBuf {
    config.data_dir.join("journal")
}

pub(super) fn settings(config: &Config) -> Settings {
    Settings {
        valid_for_months: config.tokens.valid_for_months.clone(),
        max_staleness: config.max_staleness,
        also_accept_issuers: config.also_accept_issuers.clone(),
        name_retention: config.audit.retention,
        signature_cache_bytes: config.cache.signature_bytes,
        account_cache_bytes: config.cache.account_bytes,
        records_calls: config.audit.calls,
        signing: SigningSettings {
            algorithm: algorithm(config),
            publish_ahead: time_delta(config.signing.publish_ahead),
            rotate_every: Some(config.signing.rotate_every).filter(|every| !every.is_zero()).map(time_delta),
        },
        archive: archive(config),
        sessions: SessionSettings { idle: config.console.session_idle, longest: config.console.session_length },
    }
}

fn archive(config: &Config) -> Archive {
    match (&config.audit.archive_dir, config.audit.archive) {
        (Some(directory), _) => Archive::Here(ArchivePlace {
            directory: directory.clone(),
            segment_bytes: SEGMENT_BYTES,
            after: config.audit.archive_every,
        }),
        (None, true) => Archive::Elsewhere,
        (None, false) => Archive::Ended,
    }
}

/// Where it is written down which version of the signing keys was seen.
pub(super) fn keys_mark(config: &Config) -> PathBuf {
    config.data_dir.join("keys-seen")
}

/// The hardware token that keys may lie in. One for the process: its module is the process's too.
pub(super) fn hardware(config: &Config) -> Option<Arc<HardwareToken>> {
    config.signing.pkcs11.as_ref().and_then(HardwareToken::connect)
}

/// What takes the events of each sink of the audit, in their order.
pub(super) fn outlets(config: &Config) -> Result<Vec<Arc<Outlet>>, ServeError> {
    let outlet = |(name, sink): (&String, &Sink)| {
        let outlet = Outlet::new(&sink.kind);
        outlet.map(Arc::new).map_err(|error| ServeError(format!("the sink {name} of the audit is not usable: {error}")))
    };
    config.audit.sinks.iter().map(outlet).collect()
}

/// Who delivers them.
pub(super) fn couriers(running: &Running) -> Vec<Courier> {
    let sinks = running.config.audit.sinks.iter().zip(&running.outlets);
    let courier = |((name, sink), outlet): ((&String, &Sink), &Arc<Outlet>)| {
        let (store, clock) = (Arc::clone(&running.store), Arc::clone(&running.clock));
        Courier::new(store, clock, &running.edge.metrics.sinks, &running.node_id, name, sink, Arc::clone(outlet))
    };
    sinks.map(courier).collect()
}

fn time_delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}

fn algorithm(config: &Config) -> Algorithm {
    match config.signing.algorithm {
        SigningAlgorithm::Es256 => Algorithm::ES256,
        SigningAlgorithm::EdDsa => Algorithm::EdDSA,
        SigningAlgorithm::Rs256 => Algorithm::RS256,
        SigningAlgorithm::Ps256 => Algorithm::PS256,
    }
}

pub(super) fn startup(running: &Running) -> Startup {
    let config = &running.config;
    Startup {
        store: Arc::clone(&running.store),
        clock: Arc::clone(&running.clock),
        master_key: config.master_key.clone(),
        keys_mark: Some(keys_mark(config)),
        hardware: running.hardware.clone(),
        issuer: config.issuer.clone(),
        default_issuer: running.default_issuer.clone(),
        node: running.node_name.clone(),
        audit_queue: config.audit.queue_events,
        audit_mode: match config.audit.mode {
            AuditMode::Strict => Mode::Strict,
            AuditMode::Spill => {
                Mode::Spill { directory: config.data_dir.join("audit"), max_bytes: config.audit.spill_max_bytes }
            }
            AuditMode::BestEffort => Mode::BestEffort,
        },
        guessing: (config.guessing.per_minute, config.guessing.burst),
        settings: settings(config),
        metrics: Arc::clone(&running.edge.metrics),
    }
}

/// `https://localhost:<port>` of the first TLS listener, whose real port may only be known now.
pub(super) fn default_issuer(config: &Config, listeners: &[Listener]) -> String {
    config.issuer.clone().unwrap_or_else(|| {
        let port = listeners.iter().find_map(|listener| match listener.address() {
            Address::Tls(address) => Some(address.port()),
            _ => None,
        });
        format!("https://localhost:{}", port.unwrap_or(443))
    })
}
