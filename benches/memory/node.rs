//! What a node decides by, without the store behind it: its memory of accounts under a lease, its keys, the one function.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use countermark::account::{AccountId, AccountState, StateRecord, Status, Versioned};
use countermark::clock::{Clock, SystemClock};
use countermark::epoch::Epoch;
use countermark::node::{KeyCache, KeyOrigin, Loaded, NotRead};
use countermark::verify::freshness::{Definition, Freshness, Identity, LookedUp, Place};
use countermark::verify::{
    Basis, Decider, Demand, KeySet, KeyState, KnownKey, Presenter, Refusal, Source, Unavailable, Verified,
};

use super::signers::{ISSUER, ROLE, Signers, Token};

/// No store renews the lease.
const LEASE: Duration = Duration::from_secs(3600);
const ACCOUNT_BYTES: u64 = 4 << 30;
const BEGAN: Epoch = Epoch { term: 1, counter: 1 };

pub struct Node {
    clock: Arc<dyn Clock>,
    keys: KeyCache<Same>,
    freshness: Freshness,
    demand: Demand,
}

impl Node {
    /// It knows these keys, and no account.
    pub fn new(signers: &Signers) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let known =
            signers.all().map(|signer| KnownKey { public: signer.key.public().clone(), state: KeyState::Active });
        let keys = KeyCache::new(Same, Set(Arc::new(KeySet::new(1, known))), Arc::clone(&clock));
        let freshness = Freshness::new(Arc::clone(&clock), LEASE, ACCOUNT_BYTES);
        freshness.begin(&place(), None).unwrap();
        let noted = freshness.noting().unwrap();
        freshness.renewed(&noted, &place()).unwrap();
        let demand = Demand {
            audience: Some(ISSUER.parse().unwrap()),
            permission: Some("deployments:create".parse().unwrap()),
            team: None,
            presenter: Presenter::Holder { address: Some("10.1.2.3".parse().unwrap()), proof: None },
        };
        Self { clock, keys, freshness, demand }
    }

    /// Takes the account of a token in, as the answer to a look-up.
    pub fn learn(&self, token: &Token, number: usize) {
        let state = AccountState {
            username: format!("ci-deploy-{number:07}").parse().unwrap(),
            generation: 3,
            token_id: Some(token.id),
            status: Status::Active,
            role: ROLE.parse().unwrap(),
            teams: BTreeMap::new(),
            audiences: vec![],
            allowed_networks: vec![],
            binding: None,
            previous: None,
            sign_ins: 0,
        };
        let grants = ["deployments:create", "deployments:read", "releases:*"].map(|grant| grant.parse().unwrap());
        let definition = Definition { version: BEGAN, grants: Some(Arc::new(BTreeSet::from(grants))) };
        let answer = LookedUp {
            place: place(),
            keys_version: 1,
            record: Some(Versioned { version: BEGAN, record: StateRecord::Live(state) }),
            roles: BTreeMap::from([(ROLE.parse().unwrap(), definition)]),
        };
        let asked = self.freshness.asking(token.account);
        self.freshness.answered(asked, answer).unwrap();
    }

    pub fn accounts(&self) -> usize {
        self.freshness.memory().unwrap().accounts()
    }

    /// Bytes that its memory of accounts says it takes.
    pub fn account_bytes(&self) -> u64 {
        self.freshness.memory().unwrap().bytes()
    }

    /// The one function, with so many bytes for signatures.
    pub fn decider(&self, signature_bytes: u64) -> Decider {
        Decider::new(vec![ISSUER.to_owned()], Arc::clone(&self.clock)).with_signature_cache(signature_bytes)
    }

    pub fn decide(&self, decider: &Decider, token: &str) -> Result<Verified, Refusal> {
        at_once(decider.verify(self, token, &self.demand))
    }
}

fn place() -> Place {
    Place { identity: Identity::new("dataset", "server"), epoch: BEGAN }
}

/// Nothing here ever waits.
fn at_once<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("what is in memory is not waited for"),
    }
}

impl Source for Node {
    fn keys(&self) -> Arc<KeySet> {
        self.keys.set()
    }

    async fn keys_for_unknown(&self, _key_id: &str) -> Result<Arc<KeySet>, Unavailable> {
        self.keys.for_unknown().await
    }

    async fn keys_at_least(&self, version: u64) -> Result<Arc<KeySet>, Unavailable> {
        self.keys.at_least(version).await
    }

    fn recall(&self, account: AccountId) -> Option<Basis> {
        self.freshness.recall(account)
    }

    async fn look_up(&self, _account: AccountId) -> Result<Basis, Unavailable> {
        panic!("there is no store")
    }
}

struct Set(Arc<KeySet>);

impl Loaded for Set {
    fn set(&self) -> &Arc<KeySet> {
        &self.0
    }
}

/// Read again, the keys are what they were.
struct Same;

impl KeyOrigin for Same {
    type Loaded = Set;

    async fn read(&self, now: &Set, _: Duration) -> Result<Set, NotRead> {
        Ok(Set(Arc::clone(&now.0)))
    }
}
