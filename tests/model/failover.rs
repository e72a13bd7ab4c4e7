//! Two servers: a replica is promoted, and the old primary runs on for a while (F2, F3, F6, R4, and of R2 what R1 needs).

use crate::check::{ACKNOWLEDGED, BY_LOOK_UP, F2, FROM_MEMORY, FROM_MEMORY_WHILE_DEAD, LEASE_END, R1, breaks, holds};
use crate::effort::long;
use crate::rules::{Committer, Protection, Scene};

const ALL: &[&str] = &[FROM_MEMORY, FROM_MEMORY_WHILE_DEAD, ACKNOWLEDGED, LEASE_END];

/// An issuer starts after the failover, and commits on the promoted server.
const FRESH: Scene = Scene { look_ups: 0, lease: 1, failover: Some(1), committer: Committer::Fresh, ..Scene::ONE_NODE };
/// The old primary is gone when the other server begins: a restart, or a restored copy. There is no replication.
const RESTARTED: Scene = Scene { failover: Some(0), ..FRESH };
const FRESH_WITH_LOOK_UPS: Scene = Scene { look_ups: 1, drift: 0, ..FRESH };
/// The issuer that commits runs since before.
const KNOWN: Scene = Scene { committer: Committer::Known, drift: 0, ..FRESH };
const KNOWN_WITH_LOOK_UPS: Scene = Scene { look_ups: 1, failover: Some(0), ..KNOWN };

#[test]
fn r4_a_fresh_issuers_receipts_hold_for_the_leases_of_another_server() {
    holds(FRESH, ALL);
    holds(Scene { issuer_restarts: true, ..RESTARTED }, ALL);
}

#[test]
fn f2_with_two_primaries_nothing_is_served_older_than_lease_and_lag() {
    holds(FRESH_WITH_LOOK_UPS, &[FROM_MEMORY_WHILE_DEAD, BY_LOOK_UP]);
    if long() {
        holds(Scene { drift: 1, failover: Some(0), ..FRESH_WITH_LOOK_UPS }, &[FROM_MEMORY_WHILE_DEAD, BY_LOOK_UP]);
        holds(Scene { lease: 2, ..FRESH_WITH_LOOK_UPS }, &[FROM_MEMORY_WHILE_DEAD, BY_LOOK_UP]);
    }
}

#[test]
fn r1_a_receipt_holds_over_a_failover_that_lost_the_change() {
    holds(KNOWN, ALL);
    // Without leases: what the new server says.
    holds(Scene { renewals: 0, ..KNOWN_WITH_LOOK_UPS }, &[BY_LOOK_UP]);
    if long() {
        holds(KNOWN_WITH_LOOK_UPS, &[FROM_MEMORY, BY_LOOK_UP]);
        holds(Scene { failover: Some(1), ..KNOWN_WITH_LOOK_UPS }, &[FROM_MEMORY, BY_LOOK_UP]);
        holds(Scene { drift: 1, ..KNOWN }, ALL);
    }
}

/// The node has a lease of the old primary, and is not in the table of the new one.
#[test]
fn r4_without_settling_a_fresh_issuer_does_not_know_of_a_lease() {
    breaks(FRESH.without(Protection::Settle), R1);
}

/// The issuer is killed while it waits, and its successor finds the server in the journal.
#[test]
fn r4_without_naming_a_server_only_when_the_wait_is_over_a_restart_cuts_it_short() {
    breaks(Scene { issuer_restarts: true, ..RESTARTED }.without(Protection::NamedOnceSettled), R1);
}

/// The wait is as long as a lease, and the issuer's clock goes faster than the node's.
#[test]
fn r4_without_a_margin_a_slow_clocks_lease_is_longer_than_the_wait() {
    breaks(FRESH.without(Protection::SettleMargin), R1);
    breaks(RESTARTED.without(Protection::SettleMargin), R1);
}

/// The primary that is cut off gives leases for ever.
#[test]
fn f3_without_the_fence_the_old_primary_renews_leases_for_ever() {
    breaks(RESTARTED.without(Protection::FencedRenewals), R1);
    breaks(KNOWN.without(Protection::FencedRenewals), F2);
}

/// A look-up by a plain GET: the primary that is cut off answers it for ever.
#[test]
fn f3_without_the_fence_the_old_primary_answers_look_ups_for_ever() {
    breaks(FRESH_WITH_LOOK_UPS.without(Protection::FencedLookUps), R1);
}

/// One connection still leads to the old primary: its answer has the old state, and memory, which follows the new one and has
/// its lease, takes it in.
#[test]
fn f6_without_dropping_at_another_identity_one_connection_brings_the_old_state_back() {
    breaks(FRESH_WITH_LOOK_UPS.without(Protection::IdentityDrops), R1);
}

/// The change is lost by the failover. The issuer has met the new server before it got the commit's reply, so that it has not
/// raised it by the change, and then takes the acknowledgements of the old one for a receipt.
#[test]
fn without_reading_the_identity_again_a_receipt_is_for_a_change_that_is_lost() {
    breaks(KNOWN_WITH_LOOK_UPS.without(Protection::IdentityReadAgain), R1);
}

/// The receipt was given, the change is lost by the failover, and nodes ask the new server before the issuer has raised it.
#[test]
fn r2_without_an_issuer_having_met_the_server_a_lost_change_is_not_yet_made_again() {
    breaks(KNOWN_WITH_LOOK_UPS.without(Protection::MetBeforeServing), R1);
}
