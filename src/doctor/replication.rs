//! Primary and replicas: what a failover may lose, and what a server that was cut off goes on answering.

use std::collections::BTreeMap;

use super::Entry;
use crate::config::{Config, StoreSource};
use crate::store::{Examiner, Servers};

type Info = BTreeMap<String, String>;

/// Seconds without a word, and more, are not a replica that keeps up.
const LAG: u64 = 2;
/// Of Sentinel, in seconds, unless somebody says otherwise: a primary has to have stopped by itself before.
const FAILOVER: u64 = 30;

/// A replica, as its primary sees it.
struct Replica {
    name: String,
    online: bool,
    lag: u64,
}

pub(super) async fn look(config: &Config, info: &Info, examiner: &mut Examiner) -> Vec<Entry> {
    let replicas = replicas(info);
    let is_one = match &config.store.source {
        StoreSource::Private { .. } => true,
        StoreSource::Url(url) => matches!(url.servers, Servers::One(_)),
    };
    let mut entries = vec![primary(info, examiner).await, enough(config, &replicas), lag(&replicas)];
    // Of several servers each is looked at, see `topology`.
    if is_one && (config.store.replicas_required > 0 || !replicas.is_empty()) {
        let settings = examiner.settings(&["min-replicas-to-write", "min-replicas-max-lag"]).await;
        entries.push(fence(config, &replicas, settings.ok().as_ref()));
    }
    entries
}

fn replicas(info: &Info) -> Vec<Replica> {
    let is_one = |name: &str| name.strip_prefix("slave").is_some_and(|rest| rest.parse::<u32>().is_ok());
    info.iter()
        .filter(|(name, _)| is_one(name))
        .map(|(_, facts)| {
            let fact = |wanted: &str| {
                facts
                    .split(',')
                    .find_map(|pair| pair.split_once('=').filter(|(name, _)| *name == wanted))
                    .map(|(_, value)| value)
            };
            Replica {
                name: format!("{}:{}", fact("ip").unwrap_or("?"), fact("port").unwrap_or("?")),
                online: fact("state") == Some("online"),
                lag: fact("lag").and_then(|lag| lag.parse().ok()).unwrap_or(u64::MAX),
            }
        })
        .collect()
}

async fn primary(info: &Info, examiner: &mut Examiner) -> Entry {
    const CHECK: &str = "store.primary";
    let role = info.get("role").map(String::as_str).unwrap_or_default();
    let fence = examiner.may_write().await;
    match (role, fence) {
        ("master", Ok(())) => Entry::ok(CHECK, "it is the primary and takes changes"),
        ("slave", _) => Entry::finding(
            CHECK,
            "it is a replica",
            "it takes no change, and what it answers may be old: the service waits for a primary at this address",
            "name the primary in store.url, or promote this one if that is meant",
        ),
        (_, Ok(())) => Entry::ok(CHECK, "it takes changes"),
        (_, Err(why)) => Entry::finding(
            CHECK,
            format!("it refuses changes: {why}"),
            "every look-up and every change is answered with 503",
            "NOREPLICAS: bring the replicas back; READONLY: name the primary; NOPERM: let the user run EVAL",
        ),
    }
}

fn enough(config: &Config, replicas: &[Replica]) -> Entry {
    const CHECK: &str = "store.replicas";
    let required = u64::from(config.store.replicas_required);
    let online = replicas.iter().filter(|replica| replica.online).count() as u64;
    let seen = format!("{online} replicas are online; store.replicas_required is {required}");
    if online < required {
        return Entry::finding(
            CHECK,
            seen,
            "no change is acknowledged: issuing and revoking are answered with 503",
            "bring the replicas back, or lower store.replicas_required to what there is",
        );
    }
    if required == 0 && online > 0 {
        return Entry::notice(
            CHECK,
            seen,
            "where a replica may be promoted, set store.replicas_required to the number of those: otherwise a failover may \
             bring a token back whose revocation was acknowledged",
        );
    }
    Entry::ok(CHECK, seen)
}

fn lag(replicas: &[Replica]) -> Entry {
    const CHECK: &str = "store.lag";
    let late: Vec<String> = replicas
        .iter()
        .filter(|replica| !replica.online || replica.lag > LAG)
        .map(|replica| {
            if replica.online {
                format!("{} was last heard of {} s ago", replica.name, replica.lag)
            } else {
                format!("{} is not online", replica.name)
            }
        })
        .collect();
    if late.is_empty() {
        return Entry::ok(CHECK, format!("{} replicas keep up", replicas.len()));
    }
    Entry::finding(
        CHECK,
        late.join("; "),
        "a change waits for it, or is lost if it is promoted",
        "look at the replica, its disk and the network between the two (INFO replication)",
    )
}

/// For `min-replicas-max-lag`, which is in whole seconds, and fences nobody where it is 0.
pub(super) fn max_lag(config: &Config) -> u64 {
    config.store.replica_max_lag.as_secs().max(1)
}

fn fence(config: &Config, replicas: &[Replica], settings: Option<&BTreeMap<String, String>>) -> Entry {
    const CHECK: &str = "store.fence";
    let Some(settings) = settings else {
        return Entry::unchecked(
            CHECK,
            "the user may not ask for min-replicas-to-write (CONFIG GET)",
            "ask as an administrator of Redis: CONFIG GET min-replicas-*",
        );
    };
    let setting = |name: &str| settings.get(name).and_then(|value| value.parse::<u64>().ok()).unwrap_or_default();
    let (least, lag) = (setting("min-replicas-to-write"), setting("min-replicas-max-lag"));
    let wanted = u64::from(config.store.replicas_required).max(1);
    let seen = format!("min-replicas-to-write is {least}, min-replicas-max-lag {lag}");
    let why = "a primary that was cut off goes on answering from what it knew, while another one takes its place: a token that \
               was revoked there is good here";
    if least < wanted || lag == 0 {
        let number = wanted.max(replicas.len() as u64);
        return Entry::finding(
            CHECK,
            seen,
            why,
            format!(
                "CONFIG SET min-replicas-to-write {number}; CONFIG SET min-replicas-max-lag {}; CONFIG REWRITE (the number of \
                 replicas that may be promoted)",
                max_lag(config)
            ),
        );
    }
    // It has to have stopped, two seconds of its own and the staleness of answers included, before a failover.
    let stops = lag + 2 + config.max_staleness.as_secs() + u64::from(config.max_staleness.subsec_nanos() > 0);
    if stops >= FAILOVER {
        return Entry::finding(
            CHECK,
            seen,
            why,
            format!(
                "make min-replicas-max-lag + 2 s + max_staleness less than the time-out of a failover (Sentinel's is {FAILOVER} s)"
            ),
        );
    }
    Entry::ok(CHECK, seen)
}
