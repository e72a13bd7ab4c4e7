//! The store: that it answers, that this user may do what is needed there, and what lies in it.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::running::Found;
use super::{Entry, replication, store_access, store_settings, topology};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, StoreSource};
use crate::store::Examiner;

/// What others have to know of the store.
#[derive(Clone, Default)]
pub(super) struct Seen {
    /// It answered.
    pub(super) reached: bool,
    /// The dataset's id and issuer.
    pub(super) dataset: Option<(String, String)>,
    /// The sealed keys and their version.
    pub(super) sealed: Option<(u64, String)>,
    /// When the newest event was written.
    pub(super) newest: Option<DateTime<Utc>>,
}

const ROUND_TRIPS: usize = 11;
/// A round trip may take this part of the limit for a command.
const SHARE: u32 = 10;
const CLOCKS_APART: TimeDelta = TimeDelta::seconds(1);
const LATE: TimeDelta = TimeDelta::seconds(60);
const KEYS_LOOKED_AT: usize = 20_000;

pub(super) async fn look(config: &Arc<Config>, running: &Found, entries: &mut Vec<Entry>, seen: &mut Seen) {
    const CHECK: &str = "store.reachable";
    let private = matches!(config.store.source, StoreSource::Private { .. });
    if private && let Err(why) = running {
        entries.push(Entry::unchecked(
            CHECK,
            format!("the private Redis runs with the server, and {why}"),
            "start `countermark serve`, then run doctor again",
        ));
        return;
    }
    // It reads the password and the certificates.
    let settings = Arc::clone(config);
    let connected = match tokio::task::spawn_blocking(move || crate::server::running_store(&settings)).await {
        Ok(Ok(target)) => Examiner::connect(&target, &config.store.prefix).await.map_err(|error| error.to_string()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    let mut examiner = match connected {
        Ok(examiner) => examiner,
        Err(why) => {
            entries.push(Entry::finding(
                CHECK,
                format!("{}: {why}", shown(config)),
                "without the store nothing can be verified or changed: every answer is 503",
                "start it, or correct store.url and what belongs to it (user, password, ca_file)",
            ));
            return;
        }
    };
    entries.push(Entry::ok(CHECK, format!("{} answers", shown(config))));
    seen.reached = true;
    match examiner.info().await {
        Ok(info) => {
            entries.extend(store_settings::look(config, &info, &mut examiner).await);
            entries.extend(replication::look(config, &info, &mut examiner).await);
            entries.extend(topology::look(config, &mut examiner).await);
        }
        Err(error) => entries.push(Entry::finding(
            "store.info",
            error.to_string(),
            "the service asks for it whenever it connects",
            "let the user run INFO",
        )),
    }
    // First what others build upon.
    entries.push(dataset(config, &mut examiner, seen).await);
    seen.newest = examiner.newest_event().await.unwrap_or_default();
    entries.push(issuers(&mut examiner).await);
    entries.extend(store_access::look(config, &mut examiner).await);
    entries.push(scripts(&mut examiner).await);
    entries.push(latency(config, &mut examiner).await);
    entries.push(clock(&mut examiner).await);
    entries.push(backlog(&mut examiner, running).await);
    entries.push(versions(&mut examiner).await);
    // Last what takes longest.
    entries.push(ownerless(&mut examiner).await);
}

fn shown(config: &Config) -> String {
    match &config.store.source {
        StoreSource::Private { .. } => "the private Redis".to_owned(),
        StoreSource::Url(url) => url.shown(),
    }
}

/// R2: whom it waits for before it serves.
async fn issuers(examiner: &mut Examiner) -> Entry {
    const CHECK: &str = "store.issuers";
    match examiner.issuers().await {
        Ok((known, waited_for)) if waited_for.is_empty() => {
            Entry::ok(CHECK, format!("{known} issuers are known, and none is waited for"))
        }
        Ok((_, waited_for)) => Entry::finding(
            CHECK,
            format!("the store was restored, promoted or restarted, and waits for {}", waited_for.join(", ")),
            "it serves nobody before they have made up for changes that it may lack: every answer is 503",
            "start them again, with their data directories; of one that is gone for good: countermark node forget NAME",
        ),
        Err(error) => Entry::unchecked(CHECK, error.to_string(), "let the user run HMGET and HGETALL"),
    }
}

async fn scripts(examiner: &mut Examiner) -> Entry {
    const CHECK: &str = "store.scripts";
    match examiner.scripts().await {
        Ok(()) => Entry::ok(CHECK, "scripts are loaded, and one that looks up was run"),
        Err(error) => Entry::finding(
            CHECK,
            error.to_string(),
            "every look-up and every change is a script",
            "let the user run SCRIPT LOAD and EVALSHA; see the findings about the primary and the memory too",
        ),
    }
}

async fn latency(config: &Config, examiner: &mut Examiner) -> Entry {
    const CHECK: &str = "store.latency";
    let mut times = Vec::new();
    for _ in 0..ROUND_TRIPS {
        match examiner.ping().await {
            Ok(time) => times.push(time),
            Err(error) => {
                return Entry::finding(
                    CHECK,
                    format!("after {} of {ROUND_TRIPS} round trips: {error}", times.len()),
                    "what takes longer than store.command_timeout is answered with 503",
                    "look at the network, and at the store's load (SLOWLOG GET, LATENCY DOCTOR)",
                );
            }
        }
    }
    times.sort();
    let median = times.get(ROUND_TRIPS / 2).copied().unwrap_or_default();
    let seen = format!("a round trip takes {:.1} ms, the median of {ROUND_TRIPS}", median.as_secs_f64() * 1000.0);
    let most: Duration = config.store.command_timeout / SHARE;
    if median <= most {
        return Entry::ok(CHECK, seen);
    }
    Entry::finding(
        CHECK,
        format!("{seen}; store.command_timeout is {} ms", config.store.command_timeout.as_millis()),
        "every look-up takes that long, and an ordinary peak is answered with 503",
        "bring the store nearer, find what keeps it busy (SLOWLOG GET), or raise store.command_timeout",
    )
}

async fn clock(examiner: &mut Examiner) -> Entry {
    const CHECK: &str = "store.clock";
    let before = SystemClock.now();
    let there = match examiner.time().await {
        Ok(there) => there,
        Err(error) => return Entry::unchecked(CHECK, error.to_string(), "let the user run TIME"),
    };
    let after = SystemClock.now();
    // It was read somewhere between the two.
    let apart = (before - there).max(there - after).max(TimeDelta::zero());
    if apart <= CLOCKS_APART {
        return Entry::ok(CHECK, "its clock and this machine's agree");
    }
    Entry::finding(
        CHECK,
        format!("its clock and this machine's are {} ms apart", apart.num_milliseconds()),
        "times in the audit contradict each other; tokens of another issuer's clock may be refused as not yet valid",
        "have NTP keep both clocks",
    )
}

async fn dataset(config: &Config, examiner: &mut Examiner, seen: &mut Seen) -> Entry {
    const CHECK: &str = "store.dataset";
    let asked = async {
        let restoring = examiner.restoring().await?;
        Ok::<_, crate::store::StoreError>((restoring, examiner.dataset().await?, examiner.sealed_keyring().await?))
    };
    let restoring = match asked.await {
        Ok((restoring, dataset, sealed)) => {
            (seen.dataset, seen.sealed) = (dataset, sealed);
            restoring
        }
        Err(error) => {
            // Not known to be empty.
            seen.reached = false;
            return Entry::unchecked(CHECK, error.to_string(), "let the user read Countermark's keys");
        }
    };
    if let Some(backup) = restoring {
        return Entry::finding(
            CHECK,
            format!("the backup {backup} is being restored into the store, or was begun to be"),
            "half of it is no dataset, and no server starts",
            "let `countermark restore` end, or run it again with the same file; it goes on where it was",
        );
    }
    let path = config.data_dir.join("dataset");
    let expected = tokio::task::spawn_blocking(move || std::fs::read_to_string(path)).await;
    let expected = expected.ok().and_then(Result::ok).map(|text| text.trim_end().to_owned());
    let data_dir = config.data_dir.display();
    let refused =
        "the service refuses to start: it would take accounts and revocations for something that they are not";
    match (&seen.dataset, expected) {
        (None, None) => Entry::ok(CHECK, "the store is empty: the first start sets it up"),
        (None, Some(expected)) => Entry::finding(
            CHECK,
            format!("the store is empty, and {data_dir} belongs to dataset {expected}"),
            refused,
            "restore the store, check store.url and store.prefix, or start with a fresh --data-dir",
        ),
        (Some((found, _)), Some(expected)) if *found != expected => Entry::finding(
            CHECK,
            format!("the store holds dataset {found}, and {data_dir} belongs to {expected}"),
            refused,
            "give the store that it belongs to (store.url, store.prefix), or start with a fresh --data-dir",
        ),
        (Some((found, issuer)), _) => match &config.issuer {
            Some(configured) if configured != issuer && !config.also_accept_issuers.contains(issuer) => Entry::finding(
                CHECK,
                format!("the issuer is {configured}, and the dataset's is {issuer}"),
                "every token that is out says so, and the service refuses to start",
                format!("leave issuer out to stay; to move, add also_accept_issuers = [\"{issuer}\"]"),
            ),
            _ => Entry::ok(CHECK, format!("dataset {found} of {issuer}")),
        },
    }
}

async fn backlog(examiner: &mut Examiner, running: &Found) -> Entry {
    const CHECK: &str = "store.activity_logs";
    let asked = async { Ok::<_, crate::store::StoreError>((examiner.backlogs().await?, examiner.time().await?)) };
    let (backlogs, now) = match asked.await {
        Ok(asked) => asked,
        Err(error) => return Entry::unchecked(CHECK, error.to_string(), "let the user run XINFO GROUPS and XRANGE"),
    };
    let oldest = backlogs.iter().filter_map(|backlog| Some((backlog.waiting_since?, backlog.shard))).min();
    let seen = match oldest {
        Some((since, shard)) if now - since > LATE => {
            format!("shard {shard} waits since {} for whoever fills activity logs", since.to_rfc3339())
        }
        _ => return Entry::ok(CHECK, "they are filled as events come in"),
    };
    if running.is_err() {
        return Entry::notice(CHECK, seen, "a running server catches up");
    }
    Entry::finding(
        CHECK,
        seen,
        "who uses which token is shown late, and lost where the log of everything is trimmed before",
        "look into the servers' logs; is there one that is ready?",
    )
}

async fn ownerless(examiner: &mut Examiner) -> Entry {
    const CHECK: &str = "store.keys";
    const SHOWN: usize = 5;
    let found = match examiner.ownerless(KEYS_LOOKED_AT).await {
        Ok(found) => found,
        Err(error) => return Entry::unchecked(CHECK, error.to_string(), "let the user run SCAN and EXISTS"),
    };
    if found.is_empty() {
        return Entry::ok(CHECK, "no key without an owner");
    }
    let some: Vec<&str> = found.iter().take(SHOWN).map(String::as_str).collect();
    Entry::finding(
        CHECK,
        format!("{} keys bear Countermark's prefix and belong to nothing, such as {}", found.len(), some.join(", ")),
        "somebody else writes there, or a restore was not whole",
        "find out who made them (another program with the same prefix?), then give each its own store.prefix",
    )
}

async fn versions(examiner: &mut Examiner) -> Entry {
    const CHECK: &str = "server.version";
    let ours = env!("CARGO_PKG_VERSION");
    let nodes = match examiner.nodes().await {
        Ok(nodes) => nodes,
        Err(error) => return Entry::unchecked(CHECK, error.to_string(), "let the user read the table of nodes"),
    };
    let others: Vec<String> = nodes
        .iter()
        .filter(|node| node.version != ours)
        .map(|node| format!("{} runs {}", node.name, node.version))
        .collect();
    if others.is_empty() {
        return Entry::ok(CHECK, format!("{} nodes, all of version {ours}", nodes.len()));
    }
    Entry::finding(
        CHECK,
        format!("this is version {ours}, and {}", others.join(", ")),
        "nodes of different versions are meant to run side by side for the time of an update, no longer",
        "bring all to one version, and restart those that were updated",
    )
}
