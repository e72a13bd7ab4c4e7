//! Histories made by hand: those that must be flagged, and those that must not.

use super::checker::{Bounds, Claim, violations};
use super::history::{Act, Change, Disturbance, History, Outcome, State, Time, Verdict, Verification};

const BOUNDS: Bounds = Bounds {
    max_staleness: ms(500),
    recovers: ms(3_000),
    settles: ms(8_000),
    overlap: ms(2_000),
    receipts_may_be_lost: false,
};

const fn ms(count: u64) -> Time {
    Time::from_millis(count)
}

/// One account, whose first token was made before everything, and three nodes.
struct Story {
    history: History,
    term: u64,
}

impl Story {
    fn new() -> Self {
        let mut story = Self { history: History::default(), term: 1 };
        story.becomes(1, true, true, (0, 0));
        story
    }

    /// Committed between these times.
    fn becomes(&mut self, generation: u64, has_token: bool, active: bool, (after, by): (u64, u64)) {
        let epoch = (self.term, self.history.states.len() as u64);
        let (after, by) = (ms(after), ms(by));
        let lost = false;
        self.history.states.push(State { account: 0, epoch, generation, has_token, active, after, by, lost });
    }

    /// What was last is lost, and what comes next is of the next term.
    fn is_lost(&mut self) {
        self.history.states.last_mut().unwrap().lost = true;
        self.term += 1;
    }

    fn act(&mut self, change: Change, (begin, end): (u64, u64), outcome: Outcome) {
        self.history.acts.push(Act { account: 0, change, node: 0, begin: ms(begin), end: ms(end), outcome });
    }

    /// Of the last state.
    fn receipt(&mut self, change: Change, between: (u64, u64)) {
        let State { epoch, generation, .. } = *self.history.states.last().unwrap();
        self.act(change, between, Outcome::Receipt { epoch, generation, acknowledged: 3, expired: 0 });
    }

    /// Through a node that is disturbed.
    fn unknown(&mut self, change: Change, between: (u64, u64)) {
        let (from, until) = (ms(between.0), ms(between.1));
        self.history.disturbances.push(Disturbance { node: 0, what: "paused", from, until });
        self.act(change, between, Outcome::Unknown("503 unconfirmed".into()));
    }

    /// From generation 1 to 2, committed at 1,010 to 1,012 and receipted at 1,100.
    fn regenerated() -> Self {
        let mut story = Self::new();
        story.becomes(2, true, true, (1_010, 1_012));
        story.receipt(Change::Regenerate, (1_000, 1_100));
        story
    }

    fn asked(mut self, generation: u64, (begin, end): (u64, u64), verdict: Verdict) -> Self {
        let (begin, end) = (ms(begin), ms(end));
        self.history.verifications.push(Verification { node: 1, account: 0, generation, begin, end, verdict });
        self
    }

    fn disturbed(mut self, node: usize, (from, until): (u64, u64)) -> Self {
        self.history.disturbances.push(Disturbance { node, what: "paused", from: ms(from), until: ms(until) });
        self
    }

    #[track_caller]
    fn breaks(&self, claims: &[Claim]) {
        self.breaks_under(&BOUNDS, claims);
    }

    #[track_caller]
    fn breaks_under(&self, bounds: &Bounds, claims: &[Claim]) {
        let found: Vec<Claim> = violations(&self.history, bounds).iter().map(|violation| violation.claim).collect();
        assert_eq!(found, claims);
    }

    #[track_caller]
    fn is_right(&self) {
        self.breaks(&[]);
    }
}

#[test]
fn r1_an_acceptance_that_began_after_the_receipt_is_flagged() {
    Story::regenerated().asked(1, (1_101, 1_102), Verdict::Accepted).breaks(&[Claim::R1]);
    // It began before: an answer that was under way is not recalled.
    Story::regenerated().asked(1, (1_099, 1_450), Verdict::Accepted).is_right();
    Story::regenerated().asked(2, (1_101, 1_102), Verdict::Accepted).is_right();
    Story::regenerated().asked(1, (1_101, 1_102), Verdict::Superseded).is_right();
    // However disturbed the node is.
    Story::regenerated().disturbed(1, (0, 9_000)).asked(1, (1_101, 1_102), Verdict::Accepted).breaks(&[Claim::R1]);
}

#[test]
fn r1_holds_for_a_receipt_whose_state_was_followed_by_others() {
    let mut story = Story::regenerated();
    story.becomes(2, true, false, (1_200, 1_201));
    story.unknown(Change::Disable, (1_150, 1_300));
    // The first answer of another issuer is late: what was receipted in between stays receipted.
    story.becomes(2, true, true, (1_350, 1_351));
    story.receipt(Change::Enable, (1_310, 1_360));
    let mut late = story.history.acts[0].clone();
    late.end = ms(1_700);
    story.history.acts[0] = late;
    let mut story = story.asked(1, (1_361, 1_362), Verdict::Accepted);
    story.breaks(&[Claim::R1]);
    // Nor does the late one take anything back.
    story.history.verifications.clear();
    story.asked(2, (1_701, 1_702), Verdict::Disabled).breaks(&[Claim::Availability]);
}

#[test]
fn f2_an_acceptance_later_than_a_lease_after_the_commit_is_flagged_receipt_or_not() {
    let unknown = || {
        let mut story = Story::new();
        story.becomes(2, true, true, (1_010, 1_012));
        story.unknown(Change::Regenerate, (1_000, 1_100));
        story
    };
    unknown().asked(1, (1_400, 1_402), Verdict::Accepted).is_right();
    unknown().asked(1, (1_512, 1_600), Verdict::Accepted).is_right();
    unknown().asked(1, (1_513, 1_600), Verdict::Accepted).breaks(&[Claim::F2]);
    unknown().disturbed(1, (0, 9_000)).asked(1, (1_513, 1_600), Verdict::Accepted).breaks(&[Claim::F2]);
    unknown().asked(1, (1_513, 1_600), Verdict::Superseded).is_right();
}

#[test]
fn a_change_that_is_unknown_may_have_been_made_or_not() {
    let mut story = Story::new();
    story.unknown(Change::Regenerate, (1_000, 2_000));
    story.asked(1, (8_000, 8_001), Verdict::Accepted).is_right();
    // Made long after it was given up, by a command that was under way.
    let late = || {
        let mut story = Story::new();
        story.becomes(2, true, true, (5_000, 5_010));
        story.unknown(Change::Regenerate, (1_000, 2_000));
        story
    };
    late().asked(1, (4_000, 4_001), Verdict::Accepted).is_right();
    late().asked(1, (4_998, 5_002), Verdict::Superseded).is_right();
    late().asked(1, (4_000, 4_001), Verdict::Superseded).breaks(&[Claim::Availability]);
}

#[test]
fn a_good_token_that_is_refused_is_flagged_however_disturbed_the_node_is() {
    let early = Story::regenerated().disturbed(1, (0, 9_000)).asked(2, (1_101, 1_102), Verdict::Superseded);
    early.breaks(&[Claim::Availability]);
    for verdict in [Verdict::Disabled, Verdict::Revoked, Verdict::Other("unknown_account".into())] {
        Story::new().disturbed(1, (0, 9_000)).asked(1, (1_000, 1_001), verdict).breaks(&[Claim::Availability]);
    }
    // Refused before anybody had asked for it.
    Story::regenerated().asked(1, (990, 995), Verdict::Superseded).breaks(&[Claim::Availability]);
    // The commit and the answer may have been at the same time.
    Story::regenerated().asked(1, (1_000, 1_011), Verdict::Superseded).is_right();
}

#[test]
fn an_account_that_was_enabled_again_is_let_in_from_the_receipt_on() {
    let enabled = || {
        let mut story = Story::new();
        story.becomes(1, true, false, (1_010, 1_011));
        story.receipt(Change::Disable, (1_000, 1_020));
        story.becomes(1, true, true, (1_110, 1_111));
        story.receipt(Change::Enable, (1_100, 1_120));
        story
    };
    enabled().asked(1, (1_050, 1_060), Verdict::Disabled).is_right();
    enabled().asked(1, (1_050, 1_060), Verdict::Accepted).breaks(&[Claim::R1]);
    enabled().asked(1, (1_115, 1_118), Verdict::Disabled).is_right();
    enabled().asked(1, (1_121, 1_122), Verdict::Disabled).breaks(&[Claim::Availability]);
    enabled().asked(1, (1_121, 1_122), Verdict::Accepted).is_right();
}

#[test]
fn a_revoked_token_stays_so_and_its_reason_changes_with_a_successor() {
    let revoked = || {
        let mut story = Story::new();
        story.becomes(1, false, true, (1_010, 1_011));
        story.receipt(Change::Revoke, (1_000, 1_020));
        story
    };
    revoked().asked(1, (1_021, 1_022), Verdict::Revoked).is_right();
    revoked().asked(1, (1_021, 1_022), Verdict::Superseded).breaks(&[Claim::Availability]);
    revoked().asked(1, (1_021, 1_022), Verdict::Accepted).breaks(&[Claim::R1]);
    let mut followed = revoked();
    followed.becomes(2, true, true, (2_010, 2_011));
    followed.receipt(Change::Regenerate, (2_000, 2_020));
    followed.asked(1, (2_021, 2_022), Verdict::Revoked).breaks(&[Claim::Availability]);
}

#[test]
fn no_answer_is_flagged_where_nothing_was_in_the_way() {
    for verdict in [Verdict::Away, Verdict::Lost] {
        let asked = || Story::new().asked(1, (5_000, 5_010), verdict.clone());
        asked().breaks(&[Claim::Availability]);
        asked().disturbed(1, (4_000, 4_500)).is_right();
        asked().disturbed(1, (5_009, 5_500)).is_right();
        // Too long ago, too late, and elsewhere.
        asked().disturbed(1, (1_000, 1_999)).breaks(&[Claim::Availability]);
        asked().disturbed(1, (5_011, 6_000)).breaks(&[Claim::Availability]);
        asked().disturbed(2, (4_000, 6_000)).breaks(&[Claim::Availability]);
    }
}

#[test]
fn a_change_without_a_receipt_is_flagged_where_nothing_was_in_the_way() {
    let mut story = Story::new();
    story.act(Change::Regenerate, (9_000, 9_100), Outcome::Nothing("503 store_unavailable".into()));
    story.breaks(&[Claim::Availability]);
    story.disturbed(0, (500, 999)).breaks(&[Claim::Availability]);
    // Longer ago than verifying may take to be well again.
    let mut story = Story::new().disturbed(0, (500, 1_000));
    story.act(Change::Regenerate, (9_000, 9_100), Outcome::Nothing("503 store_unavailable".into()));
    story.is_right();
    let mut story = Story::new();
    story.act(Change::Regenerate, (9_000, 9_100), Outcome::Nothing("409 conflict".into()));
    story.is_right();
    // The admin's own token is good all the time.
    let mut story = Story::new().disturbed(0, (0, 9_500));
    story.act(Change::Regenerate, (9_000, 9_100), Outcome::Nothing("401 superseded".into()));
    story.breaks(&[Claim::Availability]);
}

#[test]
fn a_change_that_was_said_not_to_be_made_and_one_that_nobody_asked_for_are_flagged() {
    let mut story = Story::new().disturbed(0, (900, 1_500));
    story.becomes(2, true, true, (1_010, 1_012));
    story.act(Change::Regenerate, (1_000, 1_100), Outcome::Nothing("503 store_unavailable".into()));
    story.breaks(&[Claim::Truth]);
    // An unknown one makes one change, and only of its kind.
    let mut story = Story::new();
    story.becomes(1, false, true, (1_010, 1_012));
    story.unknown(Change::Disable, (1_000, 1_100));
    story.breaks(&[Claim::Truth]);
    let mut story = Story::new();
    story.becomes(2, true, true, (1_010, 1_012));
    story.becomes(3, true, true, (1_020, 1_022));
    story.unknown(Change::Regenerate, (1_000, 1_100));
    story.breaks(&[Claim::Truth]);
}

#[test]
fn a_receipt_for_what_is_not_in_the_store_is_flagged() {
    let mut story = Story::new();
    story.act(
        Change::Regenerate,
        (1_000, 1_100),
        Outcome::Receipt { epoch: (1, 7), generation: 2, acknowledged: 3, expired: 0 },
    );
    story.breaks(&[Claim::Truth]);
    let mut story = Story::new();
    story.becomes(1, true, true, (1_010, 1_012));
    story.receipt(Change::Disable, (1_000, 1_100));
    story.breaks(&[Claim::Truth]);
    // It was so before anybody asked for it.
    let mut story = Story::new();
    story.becomes(1, true, false, (1_010, 1_012));
    story.receipt(Change::Disable, (1_000, 1_100));
    story.is_right();
    story.receipt(Change::Disable, (3_000, 3_100));
    story.breaks(&[Claim::Truth]);
}

#[test]
fn s1_a_generation_that_falls_or_is_given_twice_is_flagged() {
    let mut story = Story::regenerated();
    story.becomes(1, true, true, (2_010, 2_012));
    story.unknown(Change::Enable, (2_000, 2_100));
    story.breaks(&[Claim::S1, Claim::Truth]);
    let mut story = Story::regenerated();
    story.becomes(2, true, true, (2_010, 2_012));
    story.receipt(Change::Regenerate, (2_000, 2_100));
    story.breaks(&[Claim::S1]);
}

/// Regenerated without a receipt at 1,010; a failover lost it, and another account is the first to be changed in the new term at 2,010.
fn lost() -> Story {
    let mut story = Story::new();
    story.becomes(2, true, true, (1_010, 1_012));
    story.unknown(Change::Regenerate, (1_000, 1_500));
    story.is_lost();
    story
}

#[test]
fn what_a_failover_lost_was_true_until_the_replaced_server_had_noticed() {
    let lost = || {
        let mut story = lost();
        story.history.states.push(State {
            account: 1,
            epoch: (2, 1),
            by: ms(2_010),
            lost: false,
            ..story.history.states[0]
        });
        let later = State { account: 2, epoch: (2, 2), by: ms(9_000), ..story.history.states[2] };
        story.history.states.push(later);
        story
    };
    lost().asked(2, (1_600, 1_601), Verdict::Accepted).is_right();
    lost().asked(2, (4_510, 4_511), Verdict::Accepted).is_right();
    lost().asked(2, (4_511, 4_512), Verdict::Accepted).breaks(&[Claim::F2]);
    // What was before is true again, at whoever asks the new server.
    lost().asked(1, (1_600, 1_601), Verdict::Accepted).is_right();
    lost().asked(1, (9_600, 9_601), Verdict::Accepted).is_right();
    lost().asked(1, (1_600, 1_601), Verdict::Superseded).is_right();
    lost().asked(1, (9_600, 9_601), Verdict::Superseded).breaks(&[Claim::Availability]);
    // Something that followed it is lost too: until then it was as lasting as anything.
    let mut twice = Story::new();
    for (generation, at) in [(2, 1_010), (3, 1_110)] {
        twice.becomes(generation, true, true, (at, at + 2));
        twice.unknown(Change::Regenerate, (at - 10, at + 90));
        twice.history.states.last_mut().unwrap().lost = true;
    }
    let mut twice = twice.asked(2, (1_612, 1_613), Verdict::Accepted);
    twice.is_right();
    twice.history.verifications.clear();
    twice.asked(2, (1_613, 1_614), Verdict::Accepted).breaks(&[Claim::F2]);
}

#[test]
fn a_change_that_follows_in_another_term_may_be_noticed_later_and_no_later_than_its_receipt() {
    let followed = |receipted_at| {
        let mut story = Story::new();
        story.term = 2;
        story.becomes(2, true, true, (1_010, 1_012));
        story.receipt(Change::Regenerate, (1_000, receipted_at));
        story
    };
    followed(9_000).asked(1, (3_512, 3_513), Verdict::Accepted).is_right();
    followed(9_000).asked(1, (3_513, 3_514), Verdict::Accepted).breaks(&[Claim::F2]);
    followed(2_000).asked(1, (2_001, 2_002), Verdict::Accepted).breaks(&[Claim::R1]);
}

#[test]
fn r1_what_was_lost_is_accepted_by_nobody_after_a_receipt_of_the_new_term() {
    let mut story = lost();
    story.becomes(1, false, true, (2_010, 2_012));
    story.receipt(Change::Revoke, (2_000, 2_100));
    story.asked(2, (2_101, 2_102), Verdict::Accepted).breaks(&[Claim::R1]);
}

#[test]
fn r2_a_receipted_change_that_a_failover_lost_is_flagged_unless_that_is_the_exception() {
    let receipted = || {
        let mut story = Story::regenerated();
        story.is_lost();
        story.asked(1, (3_000, 3_001), Verdict::Accepted)
    };
    receipted().breaks(&[Claim::Truth, Claim::R1]);
    // What was taken is taken again before anybody is served; what was given is lost.
    let exception = Bounds { receipts_may_be_lost: true, ..BOUNDS };
    receipted().breaks_under(&exception, &[Claim::R1]);
    let mut story = Story::new();
    story.becomes(1, true, false, (1_010, 1_011));
    story.receipt(Change::Disable, (1_000, 1_020));
    story.becomes(1, true, true, (1_110, 1_111));
    story.receipt(Change::Enable, (1_100, 1_120));
    story.is_lost();
    story.asked(1, (1_121, 1_122), Verdict::Disabled).breaks_under(&exception, &[]);
    // Whose generation is given again, as nobody knows of it.
    let mut story = Story::regenerated();
    story.is_lost();
    story.becomes(2, true, true, (2_010, 2_012));
    story.receipt(Change::Regenerate, (2_000, 2_100));
    story.breaks_under(&exception, &[]);
}

#[test]
fn r2_an_issuer_may_restrict_what_was_lost_and_nothing_else() {
    let raised = |generation, has_token, active| {
        let mut story = lost();
        story.history.acts.clear();
        story.becomes(generation, has_token, active, (2_010, 2_012));
        story
    };
    raised(2, false, true).is_right();
    raised(1, true, false).is_right();
    raised(2, true, true).is_right();
    raised(3, true, true).breaks(&[Claim::Truth]);
    // Nothing of this account was lost.
    let mut story = Story::new();
    story.term = 2;
    story.becomes(1, false, true, (2_010, 2_012));
    story.breaks(&[Claim::Truth]);
    // Two issuers had changed it, and each raises what it knows.
    let two = |restricts: bool| {
        let mut story = lost();
        story.history.acts.clear();
        story.term = 1;
        story.becomes(3, true, true, (1_110, 1_112));
        story.is_lost();
        story.becomes(2, true, true, (2_010, 2_012));
        story.becomes(3, !restricts, true, (2_020, 2_022));
        story
    };
    two(false).is_right();
    two(true).is_right();
    // What one of them has ended is not given back by the other.
    let mut story = two(true);
    story.becomes(3, true, true, (2_030, 2_032));
    story.breaks(&[Claim::Truth]);
    // The server that was cut off had begun the same term, and counted further.
    let mut story = raised(2, false, true);
    story.history.states[1].epoch = (2, 9);
    story.is_right();
    // It will be, later.
    let mut story = Story::new();
    story.term = 2;
    story.becomes(1, false, true, (2_010, 2_012));
    story.term = 3;
    story.becomes(1, true, false, (3_010, 3_012));
    story.is_lost();
    story.breaks(&[Claim::Truth]);
    // It was, and was made up for in the term before.
    let mut story = raised(2, true, true);
    story.term = 3;
    story.becomes(2, false, true, (3_010, 3_012));
    story.breaks(&[Claim::Truth]);
    // No other server took its place.
    let mut story = lost();
    (story.history.acts, story.term) = (Vec::new(), 1);
    story.becomes(2, true, true, (2_010, 2_012));
    story.breaks(&[Claim::Truth]);
    // What was taken is given back.
    let mut story = Story::new();
    story.becomes(1, false, true, (1_010, 1_012));
    story.is_lost();
    story.becomes(1, true, true, (2_010, 2_012));
    story.breaks(&[Claim::Truth]);
    // A disabled account is enabled, with a token or without.
    for has_token in [true, false] {
        let mut story = Story::new();
        story.becomes(1, true, false, (1_010, 1_012));
        story.receipt(Change::Disable, (1_000, 1_100));
        story.becomes(2, has_token, false, (1_210, 1_212));
        story.is_lost();
        story.becomes(2, has_token, true, (2_010, 2_012));
        story.breaks(&[Claim::Truth]);
    }
}
