//! Settings that are allowed, and better otherwise.

use std::path::Path;

use rustix::fs::Access;

use super::Entry;
use crate::config::{Config, ConfigErrors, LogLevel, ShownDuration, SinkKind};

/// Beyond this, what an admin changes is noticed late.
const STALE: std::time::Duration = std::time::Duration::from_secs(2);
/// Larger networks than these are hardly one's own proxies.
const FEWEST_BITS: [u8; 2] = [8, 32];

/// The settings don't do at all: one finding for each problem.
pub(super) fn unusable(errors: &ConfigErrors) -> Vec<Entry> {
    let mut entries: Vec<Entry> = errors
        .problems()
        .iter()
        .map(|problem| {
            Entry::finding(
                "configuration.settings",
                problem.to_string(),
                "`countermark serve` refuses to start with it",
                "change the setting as it says; `countermark serve --check` looks at the configuration alone",
            )
        })
        .collect();
    entries.push(Entry::unchecked(
        "configuration",
        "everything else waits for a usable configuration",
        "run doctor again when the settings are right",
    ));
    entries
}

pub(super) fn look(config: &Config) -> Vec<Entry> {
    let mut entries = vec![settings(), trusted_proxies(config), log_level(config), staleness(config)];
    entries.extend(config.audit.sinks.iter().filter_map(|(name, sink)| match &sink.kind {
        SinkKind::File(path) => Some(sink_file(name, path)),
        SinkKind::Syslog(_) | SinkKind::Webhook(_) => None,
    }));
    entries
}

fn sink_file(name: &str, path: &Path) -> Entry {
    const CHECK: &str = "configuration.sinks";
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (what, rights) = if path.exists() {
        (path, Access::READ_OK | Access::WRITE_OK)
    } else {
        (directory, Access::WRITE_OK | Access::EXEC_OK)
    };
    match rustix::fs::access(what, rights) {
        Ok(()) => Entry::ok(CHECK, format!("the sink {name} can write {}", path.display())),
        Err(error) => Entry::finding(
            CHECK,
            format!("the sink {name} can't write {}: {}: {error}", path.display(), what.display()),
            "its events wait in the store, and are missed when they are removed there",
            "give the user of the service the right to write there, and run doctor as that user",
        ),
    }
}

fn settings() -> Entry {
    Entry::ok("configuration.settings", "all settings are known and allowed")
}

fn trusted_proxies(config: &Config) -> Entry {
    const CHECK: &str = "configuration.proxies";
    let [four, six] = FEWEST_BITS;
    let wide = config.trusted_proxies.iter().find(|network| match network {
        ipnet::IpNet::V4(network) => network.prefix_len() < four,
        ipnet::IpNet::V6(network) => network.prefix_len() < six,
    });
    match wide {
        Some(network) => Entry::finding(
            CHECK,
            format!("trusted_proxies holds {network}"),
            "whoever calls from there is believed what it says of its client's address and of TLS: allowed_networks and the \
             limit for guessing mean nothing, and tokens may travel in plain text",
            "list the addresses of the proxies themselves",
        ),
        None => Entry::ok(CHECK, format!("{} networks are trusted as proxies", config.trusted_proxies.len())),
    }
}

fn log_level(config: &Config) -> Entry {
    const CHECK: &str = "configuration.log";
    let level = config.log.level.name();
    match config.log.level {
        LogLevel::Debug | LogLevel::Trace => Entry::finding(
            CHECK,
            format!("log.level is {level}"),
            "it slows every call and fills the disk; it is meant for finding a mistake, not for every day",
            "set log.level to \"info\"",
        ),
        _ => Entry::ok(CHECK, format!("log.level is {level}")),
    }
}

fn staleness(config: &Config) -> Entry {
    const CHECK: &str = "configuration.staleness";
    let shown = format!("max_staleness is {}", ShownDuration(config.max_staleness));
    if config.max_staleness > STALE {
        Entry::notice(
            CHECK,
            shown,
            "a receipt waits that long for a node that was killed or cut off; 500ms is the default",
        )
    } else {
        Entry::ok(CHECK, shown)
    }
}

/// `of_dataset`: the one that the first start fixed, where that is known.
pub(super) fn issuer(config: &Config, of_dataset: Option<&str>) -> Entry {
    const CHECK: &str = "configuration.issuer";
    let outside = config.listen.iter().find(|address| !address.is_local());
    let issuer = config.issuer.as_deref().or(of_dataset);
    let is_local = issuer.is_none_or(|issuer| {
        let host = url::Url::parse(issuer).ok().and_then(|url| url.host_str().map(str::to_owned));
        host.is_none_or(|host| host == "localhost" || host == "[::1]" || host.starts_with("127."))
    });
    let shown = issuer.unwrap_or("https://localhost:PORT, by default");
    match outside {
        Some(address) if is_local => Entry::finding(
            CHECK,
            format!("{address} is open to other machines, and the issuer is {shown}"),
            "other machines can't find the keys and the metadata by that name",
            "set issuer to the https URL that clients call; where tokens are out already, put the old one into \
             also_accept_issuers",
        ),
        _ => Entry::ok(CHECK, format!("the issuer is {shown}")),
    }
}
