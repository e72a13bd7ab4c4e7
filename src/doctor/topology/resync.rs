//! How soon replicas follow: a primary that is fenced answers once they do.

use super::{Found, UNASKED, listed, nobody_says, number, text};
use crate::doctor::Entry;
use crate::store::Facts;

/// So much is written while a replica is away for a minute or two, and a failover under way.
const BACKLOG: u64 = 16 * 1024 * 1024;
/// In seconds: for so long a replica whose connection hangs may be missing.
const HANGS: u64 = 10;

pub(super) fn look(found: &Found) -> Entry {
    const CHECK: &str = "servers.resync";
    if found.nobody_answers() {
        return nobody_says(CHECK);
    }
    if found.settings().next().is_none() {
        return Entry::unchecked(
            CHECK,
            "the user may not ask for repl-diskless-sync-delay (CONFIG GET)",
            format!(
                "{UNASKED}: repl-diskless-sync-delay should be 0, repl-backlog-size 64mb, repl-timeout {HANGS}, \
                 repl-ping-replica-period 1"
            ),
        );
    }
    let is_fenced = found.highest("min-replicas-to-write") > Some(0);
    let slow: Vec<String> = found
        .settings()
        .flat_map(|(at, settings)| wrong(settings, is_fenced).into_iter().map(move |wrong| format!("{at}: {wrong}")))
        .collect();
    match listed(&slow) {
        None => Entry::ok(CHECK, "a replica that comes back is followed up at once"),
        Some(seen) => Entry::notice(
            CHECK,
            seen,
            format!(
                "CONFIG SET repl-diskless-sync-delay 0; CONFIG SET repl-backlog-size 64mb; CONFIG SET repl-timeout {HANGS}; CONFIG \
                 SET repl-ping-replica-period 1; CONFIG REWRITE: a primary refuses everything (NOREPLICAS) until its replicas \
                 follow it, and one that has to copy everything, or whose connection hangs, lets it wait for so long"
            ),
        ),
    }
}

/// What keeps replicas away for longer than need be.
fn wrong(settings: &Facts, is_fenced: bool) -> Vec<String> {
    let mut wrong = Vec::new();
    let delay = number(settings, "repl-diskless-sync-delay").unwrap_or_default();
    if is_fenced && delay > 0 && text(settings, "repl-diskless-sync") != "no" {
        wrong.push(format!("repl-diskless-sync-delay is {delay} s"));
    }
    if let Some(bytes) = number(settings, "repl-backlog-size").filter(|bytes| *bytes < BACKLOG) {
        wrong.push(format!("repl-backlog-size is {} KiB", bytes / 1024));
    }
    let Some(hangs) = number(settings, "repl-timeout") else { return wrong };
    if is_fenced && hangs > HANGS {
        wrong.push(format!("repl-timeout is {hangs} s"));
    }
    // Then a replica that is idle is taken for one that hangs.
    if let Some(period) = number(settings, "repl-ping-replica-period").filter(|period| *period >= hangs) {
        wrong.push(format!("repl-ping-replica-period is {period} s, and repl-timeout {hangs} s"));
    }
    wrong
}
