//! What a failover needs: a former primary that has stopped in time, and a new one that begins at once.

use std::time::Duration;

use super::{Found, GivesUp, UNASKED, listed, nobody_says, number};
use crate::config::Config;
use crate::doctor::{Entry, replication};

pub(super) fn look(config: &Config, found: &Found) -> Vec<Entry> {
    vec![fence(config, found), max_lag(config, found), failover(config, found)]
}

fn fence(config: &Config, found: &Found) -> Entry {
    const CHECK: &str = "servers.fence";
    if found.nobody_answers() {
        return nobody_says(CHECK);
    }
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
                "CONFIG SET min-replicas-to-write {wanted}; CONFIG SET min-replicas-max-lag {}; CONFIG REWRITE, on every server: \
                 each may be the primary",
                replication::max_lag(config)
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
    let Some(lag) = found.highest("min-replicas-max-lag") else {
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
    let Some(lag) = found.highest("min-replicas-max-lag") else {
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
