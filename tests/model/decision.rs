//! One node and one store: what a verification rests on (section 2).

use crate::check::{ACKNOWLEDGED, BY_LOOK_UP, F2, FROM_MEMORY, FROM_MEMORY_WHILE_DEAD, LEASE_END, R1, breaks, holds};
use crate::effort::long;
use crate::rules::{Protection, Scene};

const ALL: &[&str] = &[FROM_MEMORY, FROM_MEMORY_WHILE_DEAD, BY_LOOK_UP, ACKNOWLEDGED, LEASE_END];

/// The account is in memory, and stays there.
const KNOWN: Scene = Scene { look_ups: 0, ..Scene::ONE_NODE };
/// It may be looked up, and may have to make room for others.
const LOOKED_UP: Scene = Scene { eviction: true, ..Scene::ONE_NODE };
/// The same where time makes no difference, so that coarse ticks do.
const QUICK: Scene = Scene { lease: 1, ..LOOKED_UP };
/// There are other accounts, the feed is trimmed, and the node starts anew.
const FOLLOWED: Scene =
    Scene { lease: 1, drift: 0, other_changes: 1, trimming: true, restarts: true, ..Scene::ONE_NODE };

#[test]
fn f2_nothing_is_served_older_than_its_lease_and_r1_no_acceptance_begins_after_a_receipt() {
    holds(LOOKED_UP, ALL);
    if long() {
        holds(Scene { renewals: 2, ..LOOKED_UP }, ALL);
        holds(Scene { look_ups: 2, ..LOOKED_UP }, ALL);
        holds(Scene { slow_requests: true, ..LOOKED_UP }, ALL);
    }
}

#[test]
fn f2_and_r1_hold_over_gaps_in_the_feed_and_restarts() {
    holds(FOLLOWED, ALL);
    if long() {
        holds(Scene { eviction: true, other_changes: 2, ..FOLLOWED }, ALL);
    }
}

#[test]
fn f2_and_r1_hold_with_several_renewals_in_flight() {
    holds(Scene { renewals: 2, slow_requests: true, ..KNOWN }, &[FROM_MEMORY, ACKNOWLEDGED, LEASE_END]);
}

/// `if fresh { get }`: the node pauses in between, and answers from a state of any age.
#[test]
fn without_reading_the_clock_last_a_pause_makes_any_age_pass() {
    breaks(KNOWN.without(Protection::ClockReadLast), F2);
}

/// Get, then look at the lease: the lease that is found belongs to a later state than the one that was read.
#[test]
fn without_capturing_the_lease_first_a_later_lease_vouches_for_an_older_state() {
    breaks(KNOWN.without(Protection::CapturedLease), F2);
}

/// The renewal ran before the commit; its reply is held until the receipt was given, and a lease begins then.
#[test]
fn without_noting_the_clock_before_sending_a_late_reply_is_a_new_lease() {
    breaks(KNOWN.without(Protection::NotedBeforeSending), R1);
}

/// A renewal after the commit gives a lease to a node that has not read the change yet.
#[test]
fn without_waiting_for_the_renewals_epoch_a_node_behind_the_feed_has_a_lease() {
    breaks(KNOWN.without(Protection::LeaseOnceApplied), R1);
}

/// The node has applied and reported the change, and then a look-up that was answered before it puts the old state back.
#[test]
fn without_merging_by_version_a_late_answer_brings_the_old_state_back() {
    breaks(QUICK.without(Protection::MergeByVersion), R1);
}

/// The same with an account that was not in the map when the change was applied.
#[test]
fn without_the_window_a_late_fill_brings_the_old_state_back() {
    breaks(QUICK.without(Protection::Window), R1);
}

/// The account was in the map when the change was applied, and had to make room for others before the answer came.
#[test]
fn without_remembering_changes_of_what_is_in_the_map_an_eviction_brings_the_old_state_back() {
    breaks(QUICK.without(Protection::WindowOfMapped), R1);
}

/// The answer comes when the window has forgotten the change.
#[test]
fn without_refusing_late_fills_an_answer_outlives_the_window() {
    breaks(QUICK.without(Protection::NoLateFill), R1);
}

/// The change was trimmed from the feed before it was read; the node goes on after it, and reports that it has applied it.
#[test]
fn without_dropping_at_a_gap_a_trimmed_change_is_never_applied() {
    breaks(FOLLOWED.without(Protection::GapDrops), R1);
}

/// An answer from before the gap is filled into the memory that begins after it, and has the old state.
#[test]
fn without_dropping_answers_in_flight_one_from_before_a_gap_is_filled_in_after_it() {
    breaks(Scene { cold: false, restarts: false, ..FOLLOWED }.without(Protection::DropInFlight), R1);
}

/// Asked after the drop, answered before the change; the new memory begins after the change, which its window has not seen.
#[test]
fn without_dropping_answers_in_flight_when_memory_begins_one_from_before_it_is_filled_in() {
    breaks(QUICK.without(Protection::BeginningDropsInFlight), R1);
}

/// The receipt is given upon the report, and the node still decides by the old state.
#[test]
fn without_applying_before_reporting_a_receipt_comes_too_early() {
    breaks(KNOWN.without(Protection::ApplyBeforeReport), R1);
}

/// The node pauses between a look-up's answer and the decision.
#[test]
fn without_the_bound_on_look_ups_a_pause_makes_any_age_pass() {
    breaks(Scene::ONE_NODE.without(Protection::LookUpBound), F2);
}

/// A look-up was sent before the commit. The node has no lease, so that the receipt waits for nobody, and a verification that
/// begins after it joins that look-up.
#[test]
fn without_joining_later_look_ups_only_the_answer_is_from_before_the_receipt() {
    breaks(Scene::ONE_NODE.without(Protection::JoinOnlyLater), R1);
}

/// The same under a lease: what vouches for the joined answer is the window into which it is merged, and nothing else.
#[test]
fn without_reading_a_joined_answer_from_memory_it_is_from_before_the_receipt() {
    breaks(QUICK.without(Protection::JoinedThroughMemory), R1);
}
