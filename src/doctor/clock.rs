//! The clock of this machine. Leases measure durations and need none; `iat`, `exp` and the end of an overlap do.

use std::path::Path;

use chrono::TimeDelta;

use super::Entry;
use super::store::Seen;
use crate::clock::{Clock, SystemClock};

/// The leeway of a verification.
const LEEWAY: TimeDelta = TimeDelta::seconds(5);

pub(super) fn look(seen: &Seen) -> Vec<Entry> {
    vec![after_the_newest(seen), synchronised()]
}

fn after_the_newest(seen: &Seen) -> Entry {
    const CHECK: &str = "clock.sane";
    let Some(newest) = seen.newest else {
        return Entry::unchecked(CHECK, "the store knows of no event to compare with", "run doctor again when it does");
    };
    let now = SystemClock.now();
    if now + LEEWAY >= newest {
        return Entry::ok(CHECK, "it is later than the newest event in the store");
    }
    Entry::finding(
        CHECK,
        format!("this machine says {}, and an event in the store is of {}", now.to_rfc3339(), newest.to_rfc3339()),
        "new tokens are refused as not yet valid elsewhere, and expired ones are taken here",
        "set the clock, and have NTP keep it",
    )
}

fn synchronised() -> Entry {
    const CHECK: &str = "clock.synchronised";
    // The kernel's own word needs a system call that no safe library has.
    if Path::new("/run/systemd/timesync/synchronized").exists() {
        return Entry::ok(CHECK, "systemd-timesyncd keeps it");
    }
    Entry::unchecked(
        CHECK,
        "whether something keeps the clock can't be told here",
        "make sure that NTP does: `timedatectl`, `chronyc tracking`",
    )
}
