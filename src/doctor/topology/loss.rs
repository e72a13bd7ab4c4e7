//! What is left when a server is lost.

use super::{Found, UNASKED, nobody_says};
use crate::config::Config;
use crate::doctor::Entry;

pub(super) fn look(config: &Config, found: &Found) -> Vec<Entry> {
    vec![required(config, found), loss(config, found)]
}

fn required(config: &Config, found: &Found) -> Entry {
    const CHECK: &str = "servers.replicas_required";
    let Some(promotable) = found.promotable else { return nobody_says(CHECK) };
    let required = config.store.replicas_required as usize;
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

/// Whether the service goes on without the server that has the state: the replica that takes its place is no replica any more.
fn loss(config: &Config, found: &Found) -> Entry {
    const CHECK: &str = "servers.loss";
    let Some(promotable) = found.promotable else { return nobody_says(CHECK) };
    let Some(left) = promotable.checked_sub(1) else {
        return Entry::finding(
            CHECK,
            "no replica may take the place of the primary",
            "after its loss everything is answered with 503 until it is back",
            "add replicas, or let one be promoted (replica-priority above 0, cluster-replica-no-failover no)",
        );
    };
    let Some(least) = found.highest("min-replicas-to-write") else {
        return Entry::unchecked(
            CHECK,
            "the user may not ask for min-replicas-to-write (CONFIG GET)",
            format!(
                "{UNASKED}: after the loss of the primary {left} replicas are left; with a higher one nothing is served then"
            ),
        );
    };
    let (left, required) = (left as u64, u64::from(config.store.replicas_required));
    let seen = format!(
        "after the loss of one server {left} replicas are left (min-replicas-to-write {least}, store.replicas_required {required})"
    );
    let what = if left < least || (config.store.renewals_wait && left < required) {
        "nothing is served until it is back"
    } else if left < required {
        "nothing is changed until it is back"
    } else {
        return Entry::ok(CHECK, format!("{seen}: the service goes on"));
    };
    Entry::notice(
        CHECK,
        format!("{seen}: {what}"),
        "where no receipt may ever be lost, this is the price; where the loss of one server must not stop the service, run one \
         replica more, or lower both settings by one (docs/topologies.md, \"Strict or available\")",
    )
}
