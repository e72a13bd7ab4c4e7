//! What must be true of each server, because it may be the primary.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Found, GivesUp, listed, number, text};
use crate::config::Config;
use crate::doctor::Entry;
use crate::store::{Facts, HostPort, ServerFacts};

const UNASKED: &str = "ask as an administrator of Redis, or whoever runs it for you";

pub(super) fn look(config: &Config, found: &Found) -> Vec<Entry> {
    vec![
        reachable(found),
        keep(found),
        version(found),
        required(config, found),
        fence(config, found),
        max_lag(config, found),
        failover(config, found),
    ]
}

impl Found {
    fn said(&self) -> impl Iterator<Item = (&HostPort, &ServerFacts)> {
        self.servers.iter().filter_map(|one| Some((&one.at, one.said.as_ref().ok()?)))
    }

    /// The settings of those that let us ask.
    fn settings(&self) -> impl Iterator<Item = (&HostPort, &Facts)> {
        self.said().filter_map(|(at, facts)| Some((at, facts.settings.as_ref()?)))
    }

    /// The highest `min-replicas-max-lag`, in seconds.
    fn lag(&self) -> Option<u64> {
        self.settings().filter_map(|(_, settings)| number(settings, "min-replicas-max-lag")).max()
    }
}

fn reachable(found: &Found) -> Entry {
    const CHECK: &str = "servers.reachable";
    let away: Vec<String> =
        found.servers.iter().filter_map(|one| Some(format!("{}: {}", one.at, one.said.as_ref().err()?))).collect();
    match listed(&away) {
        None if found.servers.is_empty() => Entry::unchecked(CHECK, "no server is known", "see the findings above"),
        None => {
            Entry::ok(CHECK, format!("{} servers answer at the addresses that they are known by", found.servers.len()))
        }
        Some(away) => Entry::finding(
            CHECK,
            away,
            "when it becomes the primary, nodes can't connect: they go where the sentinels or the cluster say",
            "start it; have it announce an address that nodes reach (replica-announce-ip, cluster-announce-ip); let the user in \
             on every server alike",
        ),
    }
}

/// Nothing is lost by a restart, and nothing thrown out.
fn keep(found: &Found) -> Entry {
    const CHECK: &str = "servers.keep";
    let mut bad = Vec::new();
    for (at, ServerFacts { info, settings }) in found.said() {
        if text(info, "aof_enabled") == "0" {
            bad.push(format!("{at}: appendonly is off"));
        }
        let policy = text(info, "maxmemory_policy");
        if !matches!(policy, "" | "noeviction") {
            bad.push(format!("{at}: maxmemory-policy is {policy}"));
        }
        if settings.as_ref().is_some_and(|settings| text(settings, "appendfsync") == "no") {
            bad.push(format!("{at}: appendfsync is no"));
        }
    }
    match listed(&bad) {
        None => Entry::ok(CHECK, "each keeps what it has"),
        Some(seen) => Entry::finding(
            CHECK,
            seen,
            "a primary that comes back with less than it had is followed by its replicas: revoked tokens come back",
            "CONFIG SET appendonly yes; CONFIG SET appendfsync always; CONFIG SET maxmemory-policy noeviction; CONFIG REWRITE",
        ),
    }
}

fn version(found: &Found) -> Entry {
    const CHECK: &str = "servers.version";
    let version = |info: &Facts| {
        let valkey = info.get("valkey_version").map(|version| format!("Valkey {version}"));
        valkey.unwrap_or_else(|| format!("Redis {}", text(info, "redis_version")))
    };
    let all: BTreeSet<String> = found.said().map(|(_, facts)| version(&facts.info)).collect();
    let seen = all.into_iter().collect::<Vec<_>>();
    match seen.as_slice() {
        [] => Entry::unchecked(CHECK, "no server says", "see servers.reachable"),
        [one] => Entry::ok(CHECK, one.clone()),
        several => Entry::notice(
            CHECK,
            format!("they run {}", several.join(" and ")),
            "bring all to one version: an older replica can't follow a newer primary",
        ),
    }
}

fn required(config: &Config, found: &Found) -> Entry {
    const CHECK: &str = "servers.replicas_required";
    let (required, promotable) = (config.store.replicas_required as usize, found.promotable);
    let seen = format!("{promotable} replicas may be promoted; store.replicas_required is {required}");
    if required > promotable {
        return Entry::finding(
            CHECK,
            seen,
            "no change is acknowledged: issuing and revoking are answered with 503",
            "bring the replicas back, or lower store.replicas_required to what there is",
        );
    }
    if required < promotable {
        return Entry::notice(
            CHECK,
            seen,
            "a failover to a replica that did not confirm loses what was acknowledged; with as many as may be promoted none does, \
             and when one of them is away nothing is acknowledged",
        );
    }
    Entry::ok(CHECK, seen)
}

fn fence(config: &Config, found: &Found) -> Entry {
    const CHECK: &str = "servers.fence";
    let wanted = u64::from(config.store.replicas_required).max(1);
    let unasked = found.said().any(|(_, facts)| facts.settings.is_none());
    let open: Vec<String> = found
        .settings()
        .filter_map(|(at, settings)| {
            let (least, lag) = (number(settings, "min-replicas-to-write")?, number(settings, "min-replicas-max-lag")?);
            (least < wanted || lag == 0)
                .then(|| format!("{at}: min-replicas-to-write is {least}, min-replicas-max-lag {lag}"))
        })
        .collect();
    match listed(&open) {
        Some(seen) if found.stops_by_itself => Entry::notice(
            CHECK,
            seen,
            "a primary that is cut off from the majority stops by itself after cluster-node-timeout; CLUSTER FAILOVER TAKEOVER \
             does not wait for that: set min-replicas-to-write, or store.replica_max_lag to cluster-node-timeout at least",
        ),
        Some(seen) => Entry::finding(
            CHECK,
            seen,
            "a primary that was cut off goes on answering from what it knew, while another one takes its place: a token that was \
             revoked there is good here",
            format!(
                "CONFIG SET min-replicas-to-write {wanted}; CONFIG SET min-replicas-max-lag 10; CONFIG REWRITE, on every server: \
                 each may be the primary"
            ),
        ),
        None if unasked => Entry::unchecked(
            CHECK,
            "the user may not ask for min-replicas-to-write (CONFIG GET)",
            format!("{UNASKED}: min-replicas-to-write should be {wanted} at least, on every server"),
        ),
        None => Entry::ok(CHECK, format!("each refuses changes without {wanted} replicas at least")),
    }
}

fn max_lag(config: &Config, found: &Found) -> Entry {
    const CHECK: &str = "servers.max_lag";
    let ours = config.store.replica_max_lag;
    let Some(lag) = found.lag() else {
        return Entry::unchecked(
            CHECK,
            "the user may not ask for min-replicas-max-lag (CONFIG GET)",
            format!("{UNASKED}: min-replicas-max-lag should be {} s at most (store.replica_max_lag)", ours.as_secs()),
        );
    };
    let seen = format!("min-replicas-max-lag is {lag} s, store.replica_max_lag {} s", ours.as_secs_f64());
    if Duration::from_secs(lag) > ours {
        return Entry::finding(
            CHECK,
            seen,
            "after a failover a receipt is given before the former primary has surely stopped: a token that was revoked may still \
             be accepted there",
            format!("set store.replica_max_lag to {lag}s, or min-replicas-max-lag lower on every server"),
        );
    }
    Entry::ok(CHECK, seen)
}

fn failover(config: &Config, found: &Found) -> Entry {
    const CHECK: &str = "servers.failover";
    let Some(GivesUp { after, setting }) = &found.gives_up else {
        return Entry::unchecked(
            CHECK,
            "how soon a silent primary is given up can't be asked for",
            format!("{UNASKED}: min-replicas-max-lag + 2 s + max_staleness should be less"),
        );
    };
    let Some(lag) = found.lag() else {
        return Entry::unchecked(
            CHECK,
            format!(
                "{setting} is {} ms, and the user may not ask for min-replicas-max-lag (CONFIG GET)",
                after.as_millis()
            ),
            format!("{UNASKED}: min-replicas-max-lag + 2 s + max_staleness should be less"),
        );
    };
    // It has to have stopped, two seconds of its own and the staleness of answers included, before another takes its place.
    let stops = Duration::from_secs(lag + 2) + config.max_staleness;
    let seen = format!(
        "a silent primary is given up after {} ms ({setting}); one that is cut off stops after {} ms (min-replicas-max-lag {lag} s, \
         2 s, and max_staleness)",
        after.as_millis(),
        stops.as_millis()
    );
    if stops >= *after {
        return Entry::finding(
            CHECK,
            seen,
            "for the time between the two, nodes that are still with the former primary don't notice what is changed at the new one",
            format!("raise {setting} above {} ms, or lower min-replicas-max-lag", stops.as_millis()),
        );
    }
    Entry::ok(CHECK, seen)
}
