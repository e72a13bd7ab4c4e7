//! What must be true of each server, because it may be the primary.

use std::collections::BTreeSet;

use super::{Found, UNASKED, listed, nobody_says, text};
use crate::config::Config;
use crate::doctor::Entry;
use crate::store::{Facts, ServerFacts};

pub(super) fn look(config: &Config, found: &Found) -> Vec<Entry> {
    vec![reachable(found), rights(found), keep(config, found), version(found)]
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

/// Each server has users of its own, which no replica takes over from its primary.
fn rights(found: &Found) -> Entry {
    const CHECK: &str = "servers.rights";
    if found.nobody_answers() {
        return nobody_says(CHECK);
    }
    let lacking: Vec<String> = found
        .said()
        .filter_map(|(at, facts)| {
            let missing = facts.missing.as_ref().filter(|missing| !missing.is_empty())?;
            Some(format!("{at}: {}", missing.join(", ")))
        })
        .collect();
    match listed(&lacking) {
        Some(seen) => Entry::finding(
            CHECK,
            format!("the user may not run, or not on Countermark's keys: {seen}"),
            "when it becomes the primary, changes and look-ups fail there, some or all of them",
            "give the user the same rights on every server: ACL SETUSER, and ACL SAVE or CONFIG REWRITE",
        ),
        None if found.said().any(|(_, facts)| facts.missing.is_none()) => Entry::unchecked(
            CHECK,
            "the user may not ask everywhere what it may do",
            "let it run ACL WHOAMI and ACL DRYRUN on every server while doctor runs, or compare ACL LIST",
        ),
        None => Entry::ok(CHECK, "on each server the user may do all that is needed"),
    }
}

/// Nothing is lost by a restart, and nothing thrown out.
fn keep(config: &Config, found: &Found) -> Entry {
    const CHECK: &str = "servers.keep";
    const CURE: &str = "CONFIG SET appendonly yes; CONFIG SET appendfsync always; CONFIG SET maxmemory-policy noeviction; CONFIG REWRITE";
    if found.nobody_answers() {
        return nobody_says(CHECK);
    }
    let (mut bad, mut late, mut unasked) = (Vec::new(), Vec::new(), Vec::new());
    for (at, ServerFacts { info, settings, .. }) in found.said() {
        if text(info, "aof_enabled") == "0" {
            bad.push(format!("{at}: appendonly is off"));
        }
        let policy = text(info, "maxmemory_policy");
        if !matches!(policy, "" | "noeviction") {
            bad.push(format!("{at}: maxmemory-policy is {policy}"));
        }
        match settings.as_ref().map(|settings| text(settings, "appendfsync")) {
            Some("no") => bad.push(format!("{at}: appendfsync is no")),
            Some("everysec") => late.push(format!("{at}: appendfsync is everysec")),
            Some(_) => {}
            None => unasked.push(at.to_string()),
        }
    }
    // What a replica has not written is lost only if the others lose it too.
    if config.store.replicas_required == 0 {
        bad.append(&mut late);
    }
    if let Some(seen) = listed(&bad) {
        return Entry::finding(
            CHECK,
            seen,
            "a primary that comes back with less than it had is followed by its replicas: revoked tokens come back",
            CURE,
        );
    }
    if let Some(seen) = listed(&unasked) {
        return Entry::unchecked(
            CHECK,
            format!("the user may not ask for appendfsync (CONFIG GET): {seen}"),
            format!("{UNASKED}: appendfsync should be always, on every server"),
        );
    }
    match listed(&late) {
        Some(seen) => Entry::notice(
            CHECK,
            format!("{seen}; when all lose power at once, the last second of what was acknowledged is gone"),
            CURE,
        ),
        None => Entry::ok(CHECK, "each keeps what it has"),
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
        [] => nobody_says(CHECK),
        [one] => Entry::ok(CHECK, one.clone()),
        several => Entry::notice(
            CHECK,
            format!("they run {}", several.join(" and ")),
            "bring all to one version: an older replica can't follow a newer primary",
        ),
    }
}
