//! One setting after the other: what it may be, and which go together.
use std::path::PathBuf;

use ipnet::IpNet;
use rustls::pki_types::ServerName;

use super::reader::{Placed, Reader};
use super::sources::{Raw, Sources};
use super::{
    Address, Audit, AuditMode, Cache, CertificateFiles, Config, Console, Guessing, Limits, Log, LogFormat, LogLevel,
    MasterKeySource, Origin, Overrides, SecretFileError, SecretSource, Signing, SigningAlgorithm, Tls, Tokens,
    defaults, issuer, pkcs11, policies, read_private, sinks, store,
};
use crate::name::NodeName;

pub(super) fn add_flags(sources: &mut Sources, overrides: &Overrides) {
    let path = |path: &Option<PathBuf>| path.as_ref().map(|path| Raw::Text(path.to_string_lossy().into_owned()));
    let text = |text: &Option<String>| text.clone().map(Raw::Text);
    let list =
        |texts: &[String]| (!texts.is_empty()).then(|| Raw::List(texts.iter().cloned().map(Raw::Text).collect()));
    let flags = [
        ("data_dir", "--data-dir", path(&overrides.data_dir)),
        ("listen", "--listen", list(&overrides.listen)),
        ("operations_listen", "--operations-listen", text(&overrides.operations_listen)),
        ("issuer", "--issuer", text(&overrides.issuer)),
        ("store.url", "--store", text(&overrides.store)),
        ("max_staleness", "--max-staleness", text(&overrides.max_staleness)),
        ("tls.cert_file", "--tls-cert", path(&overrides.tls_cert)),
        ("tls.key_file", "--tls-key", path(&overrides.tls_key)),
        ("tls.public_names", "--public-name", list(&overrides.public_names)),
        ("node_name", "--node-name", text(&overrides.node_name)),
        ("master_key_file", "--master-key-file", path(&overrides.master_key_file)),
    ];
    for (path, name, value) in flags {
        if let Some(value) = value {
            sources.flag(path, name, value);
        }
    }
}

pub(super) fn read(reader: &mut Reader) -> Config {
    let data_dir = reader.path("data_dir").map_or_else(|| PathBuf::from(defaults::DATA_DIR), |path| path.value);
    let trusted_proxies = reader
        .list("trusted_proxies", |text| {
            network(text).ok_or_else(|| "not a network: write 10.0.0.0/8 or fd00::/8".to_owned())
        })
        .map_or_else(Vec::new, |list| list.value);
    let listen = listen(reader, !trusted_proxies.is_empty());
    let operations_listen = operations_listen(reader);
    let issuer = reader.parsed("issuer", issuer::check);
    if issuer.is_none() && !listen.iter().any(|address| matches!(address, Address::Tls(_))) {
        reader.problem(
            "issuer",
            &Origin::Default,
            "must be set where no listener speaks TLS: https://NAME as clients call it",
        );
    }
    let also_accept_issuers = reader
        .list("also_accept_issuers", |text| issuer::check(text).map_err(|error| error.to_string()))
        .map_or_else(Vec::new, |list| list.value);
    let max_staleness = reader.duration("max_staleness", &defaults::MAX_STALENESS);
    let store = store::read(reader);
    if store.renewals_wait && max_staleness.is_zero() {
        let problem = "needs max_staleness above 0: without leases there is nothing to renew";
        reader.problem("store.renewals_wait", &Origin::Default, problem);
    }
    Config {
        listen,
        operations_listen,
        issuer: issuer.map(|issuer| issuer.value),
        also_accept_issuers,
        node_name: reader.parsed("node_name", policies::name_of::<NodeName>).map(|name| name.value.to_string()),
        max_staleness,
        master_key: master_key(reader, &data_dir),
        store,
        tls: tls(reader),
        trusted_proxies,
        cache: Cache {
            signature_bytes: reader.number("cache.signature_bytes", &defaults::SIGNATURE_BYTES),
            account_bytes: reader.number("cache.account_bytes", &defaults::ACCOUNT_BYTES),
        },
        limits: limits(reader),
        signing: Signing {
            algorithm: reader.choice("signing.algorithm", &SigningAlgorithm::ALL, SigningAlgorithm::Es256),
            publish_ahead: reader.duration("signing.publish_ahead", &defaults::PUBLISH_AHEAD),
            rotate_every: reader.duration("signing.rotate_every", &defaults::ROTATE_EVERY),
            pkcs11: pkcs11::read(reader, crate::pkcs11::BUILT_IN),
        },
        tokens: tokens(reader),
        console: Console {
            session_idle: reader.duration("console.session_idle", &defaults::SESSION_IDLE),
            session_length: reader.duration("console.session_length", &defaults::SESSION_LENGTH),
        },
        guessing: Guessing {
            per_minute: reader.number("guessing.per_minute", &defaults::GUESSES_PER_MINUTE),
            burst: reader.number("guessing.burst", &defaults::GUESSES_BURST),
        },
        audit: audit(reader),
        policies: policies::read(reader),
        log: Log {
            format: reader.choice(
                "log.format",
                &[("readable", LogFormat::Readable), ("json", LogFormat::Json)],
                LogFormat::Readable,
            ),
            level: reader.choice("log.level", &LogLevel::ALL, LogLevel::Info),
        },
        core_dumps: reader.choice("core_dumps", &[("off", false), ("danger_on", true)], false),
        data_dir,
    }
}

// The defaults parse: a test reads them all.
fn listen(reader: &mut Reader, behind_proxies: bool) -> Vec<Address> {
    let given = reader.list("listen", |text| Address::parse(text).map_err(|error| error.to_string()));
    let Some(Placed { value: addresses, origin }) = given else {
        return Address::parse(defaults::LISTEN).into_iter().collect();
    };
    if addresses.is_empty() {
        reader.problem("listen", &origin, "must name at least one address");
    }
    for address in &addresses {
        if matches!(address, Address::Plain(_)) && !address.is_local() && !behind_proxies {
            let problem = format!(
                "{address} would take tokens in plain text from the network: use https://, a loopback address, a Unix \
                 socket, or set trusted_proxies to the networks of the proxies in front"
            );
            reader.problem("listen", &origin, problem);
        }
    }
    addresses
}

fn operations_listen(reader: &mut Reader) -> Address {
    let default = || Address::parse_plain(defaults::OPERATIONS_LISTEN).unwrap_or(Address::Unix(PathBuf::new()));
    match reader.parsed("operations_listen", Address::parse_plain) {
        Some(Placed { value: address, origin }) => {
            if matches!(address, Address::Tls(_)) || !address.is_local() {
                let problem = format!("{address} is not allowed: plain http:// on a loopback address, or unix:/path");
                reader.problem("operations_listen", &origin, problem);
            }
            address
        }
        None => default(),
    }
}

fn master_key(reader: &mut Reader, data_dir: &std::path::Path) -> MasterKeySource {
    let Some(Placed { value: source, origin }) = reader.secret("master_key") else {
        return SecretSource::File(data_dir.join(defaults::MASTER_KEY));
    };
    if let SecretSource::File(path) = &source {
        match read_private(path) {
            Ok(bytes) => drop(zeroize::Zeroizing::new(bytes)),
            // Not there yet is for the keyring to judge: it makes the first one.
            Err(SecretFileError::Unreadable { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => reader.problem("master_key_file", &origin, error.to_string()),
        }
    }
    source
}

fn tls(reader: &mut Reader) -> Tls {
    let files = match (reader.path("tls.cert_file"), reader.path("tls.key_file")) {
        (Some(cert), Some(key)) => {
            check_file(reader, "tls.cert_file", &cert);
            check_private_file(reader, "tls.key_file", &key);
            Some(CertificateFiles { cert_file: cert.value, key_file: key.value })
        }
        (Some(cert), None) => {
            reader.problem("tls.cert_file", &cert.origin, "needs tls.key_file (--tls-key) beside it");
            None
        }
        (None, Some(key)) => {
            reader.problem("tls.key_file", &key.origin, "needs tls.cert_file (--tls-cert) beside it");
            None
        }
        (None, None) => None,
    };
    let public_names = reader.list("tls.public_names", |text| match ServerName::try_from(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("not a name for a certificate: a DNS name or an IP address".to_owned()),
    });
    Tls { files, public_names: public_names.map_or_else(Vec::new, |names| names.value) }
}

fn limits(reader: &mut Reader) -> Limits {
    Limits {
        head_bytes: reader.number("limits.head_bytes", &defaults::HEAD_BYTES),
        head_fields: reader.number("limits.head_fields", &defaults::HEAD_FIELDS),
        head_timeout: reader.duration("limits.head_timeout", &defaults::HEAD_TIMEOUT),
        body_bytes: reader.number("limits.body_bytes", &defaults::BODY_BYTES),
        body_timeout: reader.duration("limits.body_timeout", &defaults::BODY_TIMEOUT),
        connections: reader.number("limits.connections", &defaults::CONNECTIONS),
        requests: reader.number("limits.requests", &defaults::REQUESTS),
        requests_per_connection: reader.number("limits.requests_per_connection", &defaults::REQUESTS_PER_CONNECTION),
        idle_timeout: reader.duration("limits.idle_timeout", &defaults::IDLE_TIMEOUT),
        drain_timeout: reader.duration("limits.drain_timeout", &defaults::DRAIN_TIMEOUT),
        handshake_timeout: reader.duration("limits.handshake_timeout", &defaults::HANDSHAKE_TIMEOUT),
    }
}

fn audit(reader: &mut Reader) -> Audit {
    let archive_dir = reader.path("audit.archive_dir");
    let archive = reader.choice("audit.archive", &[("kept", true), ("danger_ended", false)], true);
    if let Some(Placed { value: directory, origin }) = &archive_dir {
        if !archive {
            reader.problem(
                "audit.archive_dir",
                origin,
                "must not be set together with audit.archive = \"danger_ended\"",
            );
        }
        if std::fs::metadata(directory).is_ok_and(|there| !there.is_dir()) {
            let problem = format!("{} is no directory", directory.display());
            reader.problem("audit.archive_dir", origin, problem);
        }
    }
    Audit {
        retention: reader.duration("audit.retention", &defaults::RETENTION),
        activity_max_entries: reader.number("audit.activity_max_entries", &defaults::ACTIVITY_MAX_ENTRIES),
        firehose_max_entries: reader.number("audit.firehose_max_entries", &defaults::FIREHOSE_MAX_ENTRIES),
        mode: reader.choice("audit.mode", &AuditMode::ALL, AuditMode::Spill),
        spill_max_bytes: reader.number("audit.spill_max_bytes", &defaults::SPILL_MAX_BYTES),
        queue_events: reader.number("audit.queue_events", &defaults::QUEUE_EVENTS),
        archive_dir: archive_dir.map(|path| path.value),
        archive_every: reader.duration("audit.archive_every", &defaults::ARCHIVE_EVERY),
        archive,
        calls: reader.choice("audit.calls", &[("recorded", true), ("danger_off", false)], true),
        sinks: sinks::read(reader),
    }
}

fn tokens(reader: &mut Reader) -> Tokens {
    let months = reader.list("tokens.valid_for_months", |text| {
        let (least, most) = (defaults::MONTHS.start(), defaults::MONTHS.end());
        text.parse::<u32>()
            .ok()
            .filter(|months| defaults::MONTHS.contains(months))
            .ok_or_else(|| format!("not allowed: calendar months, from {least} to {most}"))
    });
    let Some(Placed { value: mut months, origin }) = months else {
        return Tokens { valid_for_months: defaults::VALID_FOR_MONTHS.to_vec() };
    };
    if months.is_empty() {
        reader.problem("tokens.valid_for_months", &origin, "must offer at least one lifetime, such as [6, 12, 24]");
    }
    months.sort_unstable();
    months.dedup();
    Tokens { valid_for_months: months }
}

/// A network, or an address alone.
fn network(text: &str) -> Option<IpNet> {
    text.parse::<IpNet>()
        .map(|network| network.trunc())
        .or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from))
        .ok()
}

/// A file that must be there.
pub(super) fn check_file(reader: &mut Reader, setting: &str, file: &Placed<PathBuf>) {
    if let Err(error) = std::fs::File::open(&file.value) {
        reader.problem(setting, &file.origin, format!("{} can't be read: {error}", file.value.display()));
    }
}

/// A file that must be there, and that only its owner may read.
pub(super) fn check_private_file(reader: &mut Reader, setting: &str, file: &Placed<PathBuf>) {
    match read_private(&file.value) {
        Ok(bytes) => drop(zeroize::Zeroizing::new(bytes)),
        Err(error) => reader.problem(setting, &file.origin, error.to_string()),
    }
}
