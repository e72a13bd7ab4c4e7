//! How the store keeps what it acknowledged.

use std::collections::BTreeMap;

use super::Entry;
use crate::config::Config;
use crate::store::Examiner;

/// In percent, of what it may use.
const FULL: u64 = 80;

type Info = BTreeMap<String, String>;

pub(super) async fn look(config: &Config, info: &Info, examiner: &mut Examiner) -> Vec<Entry> {
    let settings = examiner.settings(&["appendfsync", "save"]).await;
    let setting = |name: &str| settings.as_ref().ok().and_then(|settings| settings.get(name)).map(String::as_str);
    vec![
        version(info),
        append_only(info, setting("save")),
        sync(config, info, setting("appendfsync")),
        writes(info),
        eviction(info),
        memory(info),
        clients(info),
    ]
}

fn text<'a>(info: &'a Info, name: &str) -> &'a str {
    info.get(name).map(String::as_str).unwrap_or_default()
}

fn number(info: &Info, name: &str) -> u64 {
    text(info, name).parse().unwrap_or_default()
}

fn version(info: &Info) -> Entry {
    let (name, version) = match info.get("valkey_version") {
        Some(version) => ("Valkey", version.as_str()),
        None => ("Redis", text(info, "redis_version")),
    };
    // An older one was refused when it was connected to.
    Entry::ok("store.version", format!("{name} {version}"))
}

fn append_only(info: &Info, save: Option<&str>) -> Entry {
    const CHECK: &str = "store.persistence";
    if text(info, "aof_enabled") == "1" {
        return Entry::ok(CHECK, "appendonly is on");
    }
    let seen = match save {
        Some("") => "appendonly is off, and no snapshots are taken: a restart loses everything",
        _ => "appendonly is off",
    };
    Entry::finding(
        CHECK,
        seen,
        "a restart loses what was acknowledged since the last snapshot: revoked tokens come back, new ones are unknown",
        "CONFIG SET appendonly yes; CONFIG SET appendfsync always; CONFIG REWRITE",
    )
}

fn sync(config: &Config, info: &Info, appendfsync: Option<&str>) -> Entry {
    const CHECK: &str = "store.sync";
    if text(info, "aof_enabled") != "1" {
        return Entry::unchecked(
            CHECK,
            "there is nothing to sync while appendonly is off",
            "switch appendonly on first",
        );
    }
    let cure = "CONFIG SET appendfsync always; CONFIG REWRITE";
    match appendfsync {
        Some("always") => Entry::ok(CHECK, "appendfsync is always"),
        Some("everysec") if config.store.replicas_required > 0 => {
            Entry::notice(CHECK, "appendfsync is everysec; replicas have what is acknowledged", cure)
        }
        Some(other) => Entry::finding(
            CHECK,
            format!("appendfsync is {other}"),
            "a power cut loses changes that were acknowledged: a token that was revoked in that moment is good again",
            cure,
        ),
        None => Entry::unchecked(
            CHECK,
            "the user may not ask for appendfsync (CONFIG GET)",
            "ask as an administrator of Redis: CONFIG GET appendfsync; it should be always",
        ),
    }
}

fn writes(info: &Info) -> Entry {
    const CHECK: &str = "store.writes";
    let failed: Vec<&str> = ["aof_last_write_status", "aof_last_bgrewrite_status", "rdb_last_bgsave_status"]
        .into_iter()
        .filter(|name| !matches!(text(info, name), "ok" | ""))
        .collect();
    if text(info, "loading") == "1" {
        return Entry::finding(
            CHECK,
            "the store is still loading its data",
            "until then everything is answered with 503",
            "wait",
        );
    }
    if failed.is_empty() {
        return Entry::ok(CHECK, "it could write to its disk");
    }
    Entry::finding(
        CHECK,
        format!("{} is not ok", failed.join(", ")),
        "it refuses changes, or will after a restart: its disk is full, read-only or broken",
        "look into its log; make room on its disk; then BGSAVE and BGREWRITEAOF",
    )
}

fn eviction(info: &Info) -> Entry {
    const CHECK: &str = "store.eviction";
    let policy = text(info, "maxmemory_policy");
    let evicted = number(info, "evicted_keys");
    let why = "a key that is thrown out is an account that is unknown, or a signing key that is lost";
    if policy != "noeviction" {
        return Entry::finding(
            CHECK,
            format!("maxmemory-policy is {policy}"),
            why,
            "CONFIG SET maxmemory-policy noeviction; CONFIG REWRITE; don't share this Redis with a cache",
        );
    }
    if evicted > 0 {
        return Entry::finding(
            CHECK,
            format!("{evicted} keys have been evicted"),
            why,
            "find out what is missing (`countermark account list`), restore a backup if need be, then CONFIG RESETSTAT",
        );
    }
    Entry::ok(CHECK, "nothing is ever evicted")
}

fn memory(info: &Info) -> Entry {
    const CHECK: &str = "store.memory";
    let (used, own) = (number(info, "used_memory"), number(info, "maxmemory"));
    let most = if own > 0 { own } else { number(info, "total_system_memory") };
    let seen = format!("{} of {} MiB are used", used / 1_048_576, most / 1_048_576);
    if most == 0 || used.saturating_mul(100) < most.saturating_mul(FULL) {
        return Entry::ok(CHECK, seen);
    }
    Entry::finding(
        CHECK,
        seen,
        "when it is full every change is refused: no token can be issued, and none revoked",
        if own > 0 {
            "raise maxmemory, or keep less: audit.firehose_max_entries, audit.activity_max_entries, audit.retention"
        } else {
            "give the machine more memory, or keep less: audit.firehose_max_entries, audit.activity_max_entries"
        },
    )
}

fn clients(info: &Info) -> Entry {
    const CHECK: &str = "store.connections";
    let (open, most) = (number(info, "connected_clients"), number(info, "maxclients"));
    let rejected = number(info, "rejected_connections");
    let seen = format!("{open} of {most} connections are open; {rejected} have been rejected");
    if most > 0 && open.saturating_mul(100) >= most.saturating_mul(FULL) {
        return Entry::finding(
            CHECK,
            seen,
            "a server that can't connect answers 503",
            "raise maxclients, or find out who holds them: CLIENT LIST",
        );
    }
    if rejected > 0 {
        return Entry::notice(CHECK, seen, "raise maxclients if that goes on; CONFIG RESETSTAT begins to count anew");
    }
    Entry::ok(CHECK, seen)
}
