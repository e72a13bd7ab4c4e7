//! What a receipt waits for (section 3).

use crate::check::{ACKNOWLEDGED, FROM_MEMORY, FROM_MEMORY_WHILE_DEAD, LEASE_END, R1, breaks, holds};
use crate::effort::long;
use crate::rules::{Goodbye, Protection, Scene};

const ALL: &[&str] = &[FROM_MEMORY, FROM_MEMORY_WHILE_DEAD, ACKNOWLEDGED, LEASE_END];

const KNOWN: Scene = Scene { look_ups: 0, ..Scene::ONE_NODE };
const TWO_NODES: Scene = Scene { nodes: 2, lease: 1, drift: 0, ..KNOWN };
const LEAVING: Scene = Scene { goodbye: Goodbye::Ever, ..KNOWN };
/// Nodes say goodbye only while a receipt waits for them.
const LEAVING_AFTER: Scene = Scene { goodbye: Goodbye::AfterTheCommit, ..KNOWN };
const REMOVED: Scene = Scene { removers: 1, counted: 2, lease: 1, ..KNOWN };
const REMOVED_BY_TWO: Scene = Scene { removers: 2, ..REMOVED };

#[test]
fn r1_no_acceptance_begins_after_a_receipt_on_any_of_two_nodes() {
    holds(TWO_NODES, ALL);
}

#[test]
fn r1_holds_while_nodes_say_goodbye() {
    holds(LEAVING, ALL);
    if long() {
        holds(Scene { goodbye: Goodbye::Ever, ..TWO_NODES }, ALL);
        holds(Scene { look_ups: 1, ..LEAVING }, ALL);
    }
}

#[test]
fn r1_holds_while_issuers_remove_nodes() {
    holds(REMOVED_BY_TWO, ALL);
    if long() {
        holds(Scene { counted: 4, ..REMOVED_BY_TWO }, ALL);
    }
}

/// The receipt is given at once, and the node still has a lease.
#[test]
fn without_waiting_a_node_with_a_lease_accepts_after_the_receipt() {
    breaks(KNOWN.without(Protection::ReceiptWaits), R1);
}

/// One node has acknowledged, and the other has not.
#[test]
fn without_waiting_for_each_node_the_slowest_accepts_after_the_receipt() {
    breaks(TWO_NODES.without(Protection::EachNode), R1);
}

/// The commit was long under way; a lease was given just before it ran.
#[test]
fn without_counting_from_the_commits_reply_a_lease_is_longer_than_the_wait() {
    breaks(KNOWN.without(Protection::WaitFromReply), R1);
}

/// The issuer's clock goes faster than the node's.
#[test]
fn without_a_margin_a_slow_clocks_lease_is_longer_than_the_wait() {
    breaks(KNOWN.without(Protection::WaitMargin), R1);
}

/// The node said goodbye, and is not in the table when the change is committed: nobody waits for its lease.
#[test]
fn without_dropping_the_lease_before_the_goodbye_nobody_waits_for_it() {
    breaks(LEAVING.without(Protection::GoodbyeDropsLease), R1);
}

/// It dropped its lease, said goodbye, and took the reply of a renewal that was in flight for a new lease.
#[test]
fn without_a_final_goodbye_a_renewal_in_flight_gives_the_lease_back() {
    breaks(LEAVING.without(Protection::GoodbyeIsFinal), R1);
}

/// A node that vanishes from the table need not be without a lease: this is the second line behind the order of its goodbye.
/// Where nodes leave only while a receipt waits for them, one of the two is enough, and none is not.
#[test]
fn without_waiting_for_the_vanished_a_goodbye_before_its_time_ends_the_wait() {
    holds(LEAVING_AFTER.without(Protection::VanishedIsNotAcknowledged), ALL);
    holds(LEAVING_AFTER.without(Protection::GoodbyeDropsLease), ALL);
    breaks(LEAVING_AFTER.without(Protection::GoodbyeDropsLease).and_without(Protection::VanishedIsNotAcknowledged), R1);
}

/// The node was paused for long, the script that removes it is on its way, and the node renews before it runs.
#[test]
fn without_comparing_the_count_a_node_that_came_back_is_removed() {
    breaks(REMOVED.without(Protection::RemovalByCount), R1);
}

/// Two issuers have seen the count at one for long. The first removes the node; it comes back and renews, and would stand at
/// one again: the second removes it, and its lease is in no table.
#[test]
fn without_counts_that_never_return_a_second_removal_hits_a_node_that_came_back() {
    breaks(REMOVED_BY_TWO.without(Protection::CountNeverReturns), R1);
}
