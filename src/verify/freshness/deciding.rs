//! The whole decision, with something happening in the middle of it.

use std::future::Future;
use std::pin::pin;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};

use super::*;
use crate::account::StateRecord;
use crate::clock::ManualClock;
use crate::verify::scene::Scene;
use crate::verify::{Decider, KeySet, KeyState, Reason, Source, Unavailable};

const LEASE: Duration = Duration::from_millis(500);

fn epoch(counter: u64) -> Epoch {
    Epoch { term: 1, counter }
}

type Planned = Box<dyn FnOnce(&Node) + Send>;

/// A node that holds the scene's account in memory, under a lease; and a store that says what is true now, or nothing.
struct Node {
    scene: Scene,
    freshness: Freshness,
    keys: Mutex<KeySet>,
    is_away: bool,
    /// What happens when the keys are read: at the beginning, and together with the state.
    at_keys: Mutex<Vec<Planned>>,
}

fn place(counter: u64) -> Place {
    Place { identity: Identity::new("dataset", "server"), epoch: epoch(counter) }
}

impl Node {
    fn new() -> Arc<Self> {
        let scene = Scene::new();
        let clock: Arc<ManualClock> = Arc::clone(&scene.clock);
        let node = Self {
            freshness: Freshness::new(clock, LEASE, 1 << 20),
            keys: Mutex::new(scene.key_set(1, KeyState::Active)),
            scene,
            is_away: true,
            at_keys: Mutex::default(),
        };
        node.freshness.begin(&place(10), None).unwrap();
        let asked = node.freshness.asking(node.scene.claims.account);
        node.freshness.answered(asked, node.truth()).unwrap();
        node.renews(10);
        Arc::new(node)
    }

    fn truth(&self) -> LookedUp {
        let snapshot = &self.scene.source.snapshots[&self.scene.claims.account];
        let record = StateRecord::clone(snapshot.record.as_ref().unwrap());
        let definition = |grants: &Arc<BTreeSet<Grant>>| Definition { version: epoch(1), grants: Some(grants.clone()) };
        LookedUp {
            place: place(10),
            keys_version: 1,
            record: Some(Versioned { version: epoch(5), record }),
            roles: snapshot.roles.iter().map(|(name, grants)| (name.clone(), definition(grants))).collect(),
        }
    }

    fn renews(&self, counter: u64) {
        let noted = self.freshness.noting().unwrap();
        self.freshness.renewed(&noted, &place(counter)).unwrap();
    }

    /// The account gets another token, and its role nothing to grant; then a lease of after that.
    fn is_revoked(&self) {
        let account = self.scene.claims.account;
        let mut record = self.truth().record.unwrap().record;
        if let StateRecord::Live(state) = &mut record {
            state.generation += 1;
            state.token_id = None;
        }
        let entry = |counter, change| Entry { epoch: epoch(counter), change };
        let memory = self.freshness.memory().unwrap();
        let clock = self.scene.clock.as_ref();
        memory.apply(entry(11, Change::Account(account, record)), clock).unwrap();
        memory.apply(entry(12, Change::Role("deployer".parse().unwrap(), None)), clock).unwrap();
        self.renews(12);
    }

    /// This happens when the keys are read together with the state; not at the beginning.
    fn at_keys(&self, what: impl FnOnce(&Node) + Send + 'static) {
        *self.at_keys.lock().unwrap() = vec![Box::new(|_| {}), Box::new(what)];
    }

    /// `None`: accepted.
    fn decides(&self) -> Option<Reason> {
        let decider: Decider<ManualClock> = Decider::new(self.scene.issuers.clone(), Arc::clone(&self.scene.clock));
        let token = self.scene.token();
        let decided = pin!(decider.verify(self, &token, &self.scene.demand));
        match decided.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(decided) => decided.err().map(|refusal| refusal.reason),
            Poll::Pending => panic!("it waits for nothing"),
        }
    }
}

impl Source for Node {
    fn keys(&self) -> Arc<KeySet> {
        let next = {
            let mut planned = self.at_keys.lock().unwrap();
            if planned.is_empty() { None } else { Some(planned.remove(0)) }
        };
        if let Some(next) = next {
            next(self);
        }
        Arc::new(self.keys.lock().unwrap().clone())
    }

    async fn keys_for_unknown(&self, _: &str) -> Result<Arc<KeySet>, Unavailable> {
        Err(Unavailable)
    }

    async fn keys_at_least(&self, _: u64) -> Result<Arc<KeySet>, Unavailable> {
        Ok(self.keys())
    }

    fn recall(&self, account: AccountId) -> Option<crate::verify::Basis> {
        self.freshness.recall(account)
    }

    async fn look_up(&self, account: AccountId) -> Result<crate::verify::Basis, Unavailable> {
        if self.is_away {
            return Err(Unavailable);
        }
        let asked = self.freshness.asking(account);
        Ok(self.freshness.answered(asked, self.truth()).unwrap())
    }
}

#[test]
fn f2_memory_decides_for_as_long_as_its_lease_lasts() {
    let node = Node::new();
    assert_eq!(node.decides(), None);
    node.scene.clock.advance(LEASE - Duration::from_millis(1));
    assert_eq!(node.decides(), None);
    node.scene.clock.advance(Duration::from_millis(1));
    assert_eq!(node.decides(), Some(Reason::StoreUnavailable));
}

#[test]
fn f2_a_lease_that_ends_anywhere_within_a_decision_decides_nothing() {
    // Between the three reads of memory, and between reading the keys and the clock.
    for point in ["captured", "read"] {
        let node = Node::new();
        let clock = Arc::clone(&node.scene.clock);
        stop::once_at(point, move || clock.advance(LEASE));
        assert_eq!(node.decides(), Some(Reason::StoreUnavailable), "{point}");
    }
    let node = Node::new();
    node.at_keys(|node| node.scene.clock.advance(LEASE));
    assert_eq!(node.decides(), Some(Reason::StoreUnavailable));
}

#[test]
fn f2_a_lease_of_after_a_change_does_not_cover_what_was_read_before_it() {
    // The lease ends, the feed says that the token is dead, and a new lease begins.
    for point in ["captured", "read"] {
        let node = Node::new();
        let meanwhile = Arc::clone(&node);
        stop::once_at(point, move || {
            meanwhile.scene.clock.advance(LEASE);
            meanwhile.is_revoked();
        });
        assert_eq!(node.decides(), Some(Reason::StoreUnavailable), "{point}");
        assert_eq!(node.decides(), Some(Reason::Revoked), "{point}");
    }
    let node = Node::new();
    node.at_keys(|node| {
        node.scene.clock.advance(LEASE);
        node.is_revoked();
    });
    assert_eq!(node.decides(), Some(Reason::StoreUnavailable));
    assert_eq!(node.decides(), Some(Reason::Revoked));
}

#[test]
fn f2_a_look_up_whose_keys_come_too_late_decides_nothing() {
    let mut node = Arc::into_inner(Node::new()).unwrap();
    node.is_away = false;
    node.freshness.drop_memory(&node.freshness.memory().unwrap());
    assert_eq!(node.decides(), None);
    node.at_keys(|node| node.scene.clock.advance(LEASE));
    assert_eq!(node.decides(), Some(Reason::StoreUnavailable));
}

#[test]
fn f2_keys_are_read_after_the_lease_was_captured() {
    // The key is revoked in between: that the old lease still lasts says nothing of keys of before it.
    let node = Node::new();
    let meanwhile = Arc::clone(&node);
    stop::once_at("captured", move || {
        *meanwhile.keys.lock().unwrap() = meanwhile.scene.key_set(2, KeyState::Revoked);
    });
    assert_eq!(node.decides(), Some(Reason::RevokedKey));
}

#[test]
fn r1_what_counts_as_applied_is_in_memory() {
    let node = Node::new();
    let account = node.scene.claims.account;
    let meanwhile = Arc::clone(&node);
    let found = Arc::new(Mutex::new((None, true)));
    let seen = Arc::clone(&found);
    // At this point nobody can have been told yet that it is applied.
    stop::once_at("applied", move || {
        let version = meanwhile.freshness.memory().unwrap().version_of(account);
        *seen.lock().unwrap() = (version, meanwhile.freshness.recall(account).is_some());
    });
    node.is_revoked();
    assert_eq!(*found.lock().unwrap(), (Some(epoch(11)), false), "there, and not decided upon yet");
    assert_eq!(node.freshness.memory().unwrap().applied(), epoch(12));
}
