use std::collections::BTreeMap;

use super::*;
use crate::account::{AccountState, Status};
use crate::clock::ManualClock;
use crate::token::TokenId;

const LEASE: Duration = Duration::from_millis(500);

fn epoch(counter: u64) -> Epoch {
    Epoch { term: 1, counter }
}

fn place(counter: u64) -> Place {
    Place { identity: Identity::new("dataset", "server"), epoch: epoch(counter) }
}

/// One node and what a store would say.
struct Node {
    clock: Arc<ManualClock>,
    freshness: Arc<Freshness>,
    account: AccountId,
}

impl Node {
    /// It follows the store from epoch 10.
    fn new() -> Self {
        let node = Self::unbegun();
        node.freshness.begin(&place(10), None).unwrap();
        node
    }

    fn unbegun() -> Self {
        let clock = Arc::new(ManualClock::at(chrono::DateTime::from_timestamp(1_800_000_000, 0).unwrap()));
        let freshness = Arc::new(Freshness::new(clock.clone(), LEASE, 1 << 20));
        let account = AccountId::new(clock.now());
        Self { clock, freshness, account }
    }

    fn memory(&self) -> Arc<Memory> {
        self.freshness.memory().unwrap()
    }

    fn record(&self, generation: u64) -> StateRecord {
        StateRecord::Live(AccountState {
            username: "ci".parse().unwrap(),
            generation,
            token_id: Some(TokenId::of_jti(&generation.to_string())),
            status: Status::Active,
            role: "deployer".parse().unwrap(),
            teams: BTreeMap::new(),
            audiences: vec![],
            allowed_networks: vec![],
            binding: None,
            previous: None,
            sign_ins: 0,
        })
    }

    /// What a look-up says when the account has this generation since this epoch.
    fn answer(&self, now: u64, generation: u64, since: u64) -> LookedUp {
        let grants = Some(Arc::new(BTreeSet::from(["deployments:create".parse().unwrap()])));
        LookedUp {
            place: place(now),
            keys_version: 1,
            record: Some(Versioned { version: epoch(since), record: self.record(generation) }),
            roles: BTreeMap::from([("deployer".parse().unwrap(), Definition { version: epoch(1), grants })]),
        }
    }

    fn fill(&self, now: u64, generation: u64, since: u64) {
        let asked = self.freshness.asking(self.account);
        self.freshness.answered(asked, self.answer(now, generation, since)).unwrap();
    }

    /// The feed says that the account has this generation.
    fn applies(&self, counter: u64, generation: u64) -> Result<(), Gap> {
        let change = Change::Account(self.account, self.record(generation));
        self.memory().apply(Entry { epoch: epoch(counter), change }, self.clock.as_ref())
    }

    fn renews(&self, counter: u64) {
        let noted = self.freshness.noting().unwrap();
        self.freshness.renewed(&noted, &place(counter)).unwrap();
    }

    /// The generation that a decision would rest on: as the verifier reads it, the clock last.
    fn decides(&self) -> Option<u64> {
        let basis = self.freshness.recall(self.account)?;
        let is_fresh = basis.until.is_none_or(|until| self.clock.monotonic() < until);
        is_fresh.then(|| basis.snapshot.state().map_or(0, |state| state.generation))
    }

    fn advance(&self, milliseconds: u64) {
        self.clock.advance(Duration::from_millis(milliseconds));
    }
}

#[test]
fn memory_is_used_under_a_lease_only() {
    let node = Node::new();
    node.fill(10, 3, 5);
    assert_eq!(node.decides(), None);
    node.renews(10);
    assert_eq!(node.decides(), Some(3));
    node.advance(499);
    assert_eq!(node.decides(), Some(3));
    node.advance(1);
    assert_eq!(node.decides(), None);
}

#[test]
fn f1_where_renewals_wait_for_replicas_a_look_up_counts_under_a_lease_alone() {
    let mut node = Node::unbegun();
    node.freshness = Arc::new(Freshness::new(node.clock.clone(), LEASE, 1 << 20).only_under_leases(true));
    let looks_up = |node: &Node| {
        let asked = node.freshness.asking(node.account);
        node.freshness.answered(asked, node.answer(10, 3, 5))
    };
    assert_eq!(looks_up(&node).err(), Some(Unusable::NoLease), "nothing is followed yet");
    node.freshness.begin(&place(10), None).unwrap();
    assert_eq!(looks_up(&node).err(), Some(Unusable::NoLease), "nothing is renewed yet");
    node.renews(10);
    node.advance(400);
    let basis = looks_up(&node).unwrap();
    assert_eq!(basis.until, Some(node.clock.monotonic() + Duration::from_millis(100)), "no longer than the lease");
    node.advance(100);
    let late = looks_up(&node).unwrap().until.unwrap();
    assert!(late <= node.clock.monotonic(), "the lease is over, and with it what was looked up");
}

#[test]
fn f2_a_lease_runs_from_before_the_renewal_was_sent() {
    let node = Node::new();
    node.fill(10, 3, 5);
    let noted = node.freshness.noting().unwrap();
    // The reply is held for two leases: no lease may come of it.
    node.advance(1000);
    node.freshness.renewed(&noted, &place(10)).unwrap();
    assert_eq!(node.decides(), None);
    // A part of it is left where the reply was held for a part.
    let noted = node.freshness.noting().unwrap();
    node.advance(400);
    node.freshness.renewed(&noted, &place(10)).unwrap();
    assert_eq!(node.decides(), Some(3));
    node.advance(100);
    assert_eq!(node.decides(), None);
}

#[test]
fn f2_a_lease_begins_once_its_epoch_is_applied() {
    let node = Node::new();
    node.fill(10, 3, 5);
    let noted = node.freshness.noting().unwrap();
    node.freshness.renewed(&noted, &place(11)).unwrap();
    assert_eq!(node.decides(), None);
    node.applies(11, 4).unwrap();
    assert_eq!(node.decides(), Some(4));
}

#[test]
fn f2_the_lease_is_captured_before_the_state_is_read_and_the_clock_is_read_last() {
    // The lease ends between reading it and reading the state, or between the state and the clock.
    for point in ["captured", "read"] {
        let node = Node::new();
        node.fill(10, 3, 5);
        node.renews(10);
        let clock = node.clock.clone();
        stop::once_at(point, move || clock.advance(LEASE));
        assert_eq!(node.decides(), None, "{point}");
    }
    // It ends, a change is applied and a new lease is given after the state was read: the old state is not covered by it.
    for (point, decided) in [("captured", None), ("read", None)] {
        let node = Arc::new(Node::new());
        node.fill(10, 3, 5);
        node.renews(10);
        let meanwhile = Arc::clone(&node);
        stop::once_at(point, move || {
            meanwhile.clock.advance(LEASE);
            meanwhile.applies(11, 4).unwrap();
            meanwhile.renews(11);
        });
        assert_eq!(node.decides(), decided, "{point}");
        assert_eq!(node.decides(), Some(4));
    }
}

#[test]
fn a_late_fill_does_not_bring_the_old_state_back() {
    // Answered before the change, come after it: merged with the window, although memory did not know the account.
    let node = Node::new();
    let asked = node.freshness.asking(node.account);
    let old = node.answer(10, 3, 5);
    node.applies(11, 4).unwrap();
    node.freshness.answered(asked, old).unwrap();
    node.renews(11);
    assert_eq!(node.decides(), Some(4));

    // Come after the window: the change is forgotten, and the answer is not put into memory.
    let node = Node::new();
    let asked = node.freshness.asking(node.account);
    let old = node.answer(10, 3, 5);
    node.applies(11, 4).unwrap();
    node.advance(5001);
    node.renews(11);
    node.freshness.answered(asked, old).unwrap();
    assert_eq!(node.decides(), None);
}

#[test]
fn a_late_fill_of_a_role_does_not_bring_the_old_definition_back() {
    let node = Node::new();
    let asked = node.freshness.asking(node.account);
    let old = node.answer(10, 3, 5);
    let change = Change::Role("deployer".parse().unwrap(), Some(BTreeSet::new()));
    node.memory().apply(Entry { epoch: epoch(11), change }, node.clock.as_ref()).unwrap();
    node.freshness.answered(asked, old).unwrap();
    node.renews(11);
    let basis = node.freshness.recall(node.account).unwrap();
    assert!(basis.snapshot.powers().default.is_empty());
    assert_eq!(basis.snapshot.as_of().roles["deployer"], epoch(11));
}

#[test]
fn memory_and_feed_merge_by_version() {
    let node = Node::new();
    node.fill(10, 3, 5);
    node.applies(11, 4).unwrap();
    node.renews(11);
    assert_eq!(node.decides(), Some(4));
    // An answer behind what is known is of no use, but no harm either.
    let asked = Asked { version: None, applied: None, ..node.freshness.asking(node.account) };
    node.freshness.answered(asked, node.answer(10, 3, 5)).unwrap();
    assert_eq!(node.decides(), Some(4));
}

#[test]
fn a_look_up_that_is_ahead_of_the_feed_waits_for_it() {
    let node = Node::new();
    node.fill(10, 3, 5);
    node.renews(10);
    // The account lost the role at 11, and the role was widened at 12: it must never meet with that.
    let mut ahead = node.answer(12, 4, 11);
    let wide = Some(Arc::new(BTreeSet::from(["*:*".parse().unwrap()])));
    ahead.roles.insert("deployer".parse().unwrap(), Definition { version: epoch(12), grants: wide });
    let asked =
        Asked { account: AccountId::new(node.clock.now()), version: None, ..node.freshness.asking(node.account) };
    node.freshness.answered(asked, ahead).unwrap();
    assert_eq!(node.decides(), Some(3));
    let basis = node.freshness.recall(node.account).unwrap();
    assert_eq!(basis.snapshot.as_of().roles["deployer"], epoch(1));
}

#[test]
fn what_is_recalled_is_of_one_moment() {
    let node = Arc::new(Node::new());
    node.fill(10, 3, 5);
    node.renews(10);
    for point in ["a role was read", "applied"] {
        let node = Arc::new(Node::new());
        node.fill(10, 3, 5);
        node.renews(10);
        let meanwhile = Arc::clone(&node);
        match point {
            // A change is applied between two readings.
            "applied" => {
                let reader = Arc::clone(&node);
                let read = Arc::new(Mutex::new(None));
                let kept = Arc::clone(&read);
                stop::once_at(point, move || *kept.lock().unwrap() = Some(reader.decides()));
                meanwhile.applies(11, 4).unwrap();
                assert_eq!(*read.lock().unwrap(), Some(None), "in the middle of a change nothing is recalled");
            }
            _ => {
                stop::once_at(point, move || meanwhile.applies(11, 4).unwrap());
                assert_eq!(node.decides(), None);
            }
        }
        node.renews(11);
        assert_eq!(node.decides(), Some(4));
    }
}

#[test]
fn a_gap_in_the_feed_is_seen() {
    let node = Node::new();
    let gap = Gap { applied: epoch(10), found: epoch(12) };
    assert_eq!(node.applies(12, 4), Err(gap));
    assert_eq!(node.memory().applied(), epoch(10), "nothing of it is applied");
}

#[test]
fn what_is_dropped_takes_answers_under_way_with_it() {
    let node = Node::new();
    node.fill(10, 3, 5);
    node.renews(10);
    let (asked, noted) = (node.freshness.asking(node.account), node.freshness.noting().unwrap());
    let old = node.memory();
    node.freshness.drop_memory(&old);
    assert_eq!(node.decides(), None);
    node.freshness.begin(&place(20), None).unwrap();
    assert_eq!(node.freshness.answered(asked, node.answer(10, 3, 5)), Err(Unusable::Dropped));
    for counter in [10, 20] {
        let _ = node.freshness.renewed(&noted, &place(counter));
        assert_eq!(node.decides(), None, "an older renewal gives the new memory no lease");
        assert_eq!(old.lease(), None, "nor the old one");
    }
    node.fill(20, 4, 15);
    assert_eq!(node.decides(), None);
    node.renews(20);
    assert_eq!(node.decides(), Some(4));
}

#[test]
fn f6_an_answer_of_another_server_drops_everything() {
    let elsewhere = Place { identity: Identity::new("dataset", "another"), epoch: epoch(10) };
    type Meets = fn(&Node, &Place) -> Result<(), Unusable>;
    let cases: [Meets; 2] = [
        |node, elsewhere| {
            let noted = node.freshness.noting().unwrap();
            node.freshness.renewed(&noted, elsewhere)
        },
        |node, elsewhere| {
            let asked = node.freshness.asking(node.account);
            let answer = LookedUp { place: elsewhere.clone(), ..node.answer(10, 3, 5) };
            node.freshness.answered(asked, answer).map(|_| ())
        },
    ];
    for meets in cases {
        let node = Node::new();
        node.fill(10, 3, 5);
        node.renews(10);
        assert_eq!(meets(&node, &elsewhere), Err(Unusable::OtherServer));
        assert!(node.freshness.memory().is_none());
        assert_eq!(node.decides(), None);
        // And until it is followed, it is not believed either.
        let asked = node.freshness.asking(node.account);
        let answer = LookedUp { place: elsewhere.clone(), ..node.answer(10, 3, 5) };
        assert_eq!(node.freshness.answered(asked, answer), Err(Unusable::OtherServer));
    }
}

#[test]
fn r2_a_store_that_has_gone_back_is_not_believed() {
    // Behind the applied epoch; behind the version of the record.
    for answer in [(9, 3, 5), (11, 2, 4)] {
        let node = Node::new();
        node.fill(10, 3, 5);
        let asked = node.freshness.asking(node.account);
        let answer = node.answer(answer.0, answer.1, answer.2);
        assert_eq!(node.freshness.answered(asked, answer), Err(Unusable::RolledBack));
        assert_eq!(node.decides(), None);
        assert_eq!(node.freshness.counters().rolled_back.load(Ordering::SeqCst), 1);
    }
    let node = Node::new();
    let noted = node.freshness.noting().unwrap();
    assert_eq!(node.freshness.renewed(&noted, &place(9)), Err(Unusable::RolledBack));
    // Nor is it followed again from there.
    assert_eq!(node.freshness.begin(&place(9), None).map(|_| ()), Err(Unusable::RolledBack));
    assert!(node.freshness.begin(&place(10), None).is_ok());
}

#[test]
fn r2_another_server_that_does_not_know_the_term_that_was_applied_is_not_followed() {
    let elsewhere = |term| Place { identity: Identity::new("dataset", "another"), epoch: Epoch { term, counter: 0 } };
    for (what, term, term_ended, follows) in [
        ("it was restarted with all that it had", 2, Some(11), true),
        ("it has gone further before it was restarted", 2, Some(12), true),
        ("it has lost its tail, and its issuers have made up for that", 2, Some(10), true),
        ("it has gone another way in that term", 2, None, false),
        ("an older copy, met first", 2, None, false),
        ("an older copy, in a term that it has in common", 1, None, false),
        ("two terms later", 3, Some(11), true),
        ("it lacks all of that term, and an issuer that was there has made up for it", 3, Some(0), true),
        ("the same, in a term that is not beyond", 1, Some(0), false),
    ] {
        let node = Node::new();
        node.applies(11, 4).unwrap();
        assert_eq!(node.freshness.begin(&elsewhere(term), term_ended).is_ok(), follows, "{what}");
        assert_eq!(node.freshness.counters().rolled_back.load(Ordering::SeqCst), u64::from(!follows), "{what}");
        // Nor is it believed when it is asked.
        let asked = node.freshness.asking(node.account);
        let answer = LookedUp { place: elsewhere(term), ..node.answer(10, 3, 5) };
        let told = node.freshness.answered(asked, answer).map(|_| ());
        assert_eq!(told, if follows { Ok(()) } else { Err(Unusable::NotFollowed) }, "{what}");
    }
}

#[test]
fn an_ordinary_late_reply_is_no_alarm() {
    let node = Node::new();
    let (noted, asked) = (node.freshness.noting().unwrap(), node.freshness.asking(node.account));
    node.applies(11, 4).unwrap();
    node.freshness.renewed(&noted, &place(10)).unwrap();
    node.freshness.answered(asked, node.answer(10, 3, 5)).unwrap();
    assert_eq!(node.freshness.counters().rolled_back.load(Ordering::SeqCst), 0);
    assert_eq!(node.decides(), Some(4), "the lease is renewed");
}

#[test]
fn a_look_up_is_good_for_as_long_as_the_bound_from_before_it_was_asked() {
    let node = Node::unbegun();
    let asked = node.freshness.asking(node.account);
    let began = node.clock.monotonic();
    node.advance(300);
    let basis = node.freshness.answered(asked, node.answer(10, 3, 5)).unwrap();
    assert_eq!(basis.until, Some(began + LEASE));
}

#[test]
fn a_node_that_goes_has_no_lease_and_gets_none() {
    let node = Node::new();
    node.fill(10, 3, 5);
    node.renews(10);
    let noted = node.freshness.noting().unwrap();
    node.freshness.close();
    assert_eq!(node.decides(), None);
    let _ = node.freshness.renewed(&noted, &place(10));
    assert!(node.freshness.begin(&place(10), None).is_ok());
    assert!(node.freshness.memory().is_none());
    assert_eq!(node.decides(), None);
}

#[test]
fn s2_no_record_no_entry() {
    let node = Node::new();
    let asked = node.freshness.asking(node.account);
    let nothing = LookedUp { record: None, roles: BTreeMap::new(), ..node.answer(10, 3, 5) };
    let basis = node.freshness.answered(asked, nothing).unwrap();
    assert_eq!(basis.snapshot.record(), None);
    node.renews(10);
    assert_eq!(node.freshness.recall(node.account).map(|_| ()), None);
}

#[test]
fn memory_is_bounded() {
    let node = Node::new();
    for _ in 0..20_000 {
        let account = AccountId::new(node.clock.now());
        let asked = node.freshness.asking(account);
        node.freshness.answered(asked, node.answer(10, 3, 5)).unwrap();
    }
    let memory = node.memory();
    assert!(memory.bytes() <= 1 << 20, "{}", memory.bytes());
    assert!((500..20_000).contains(&memory.accounts()), "{}", memory.accounts());
}
