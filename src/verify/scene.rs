//! One account with one good token, and everything about them open to be spoiled.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Waker};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::DateTime;
use serde_json::{Map, Value};

use crate::account::{AccountId, AccountState, Previous, StateRecord, Status};
use crate::clock::ManualClock;
use crate::epoch::Epoch;
use crate::name::RoleName;
use crate::permission::Grant;
use crate::token::{Algorithm, Claims, Jti, Parts, SigningKey, TokenId, encode};
use crate::verify::signatures::Signatures;
use crate::verify::*;

pub const NOW: i64 = 1_800_000_000;
pub const ISSUER: &str = "https://id.example.com";

/// A source made of values, which counts what it is asked.
#[derive(Debug, Default)]
pub struct Values {
    /// The key set in memory.
    pub keys: KeySet,
    /// The key set that the store holds.
    pub stored_keys: KeySet,
    pub keys_unavailable: bool,
    pub snapshots: HashMap<AccountId, Told>,
    pub state_unavailable: bool,
    pub key_reads: AtomicUsize,
    pub lookups: AtomicUsize,
}

/// What the store says of an account.
#[derive(Debug, Clone)]
pub struct Told {
    pub record: Option<Arc<StateRecord>>,
    pub roles: BTreeMap<RoleName, Arc<BTreeSet<Grant>>>,
    pub keys_version: u64,
}

impl Told {
    fn snapshot(&self) -> Snapshot {
        let record = self.record.as_deref().cloned().map(|record| (record.into(), Epoch::default()));
        let role = |(name, grants): (&RoleName, &Arc<BTreeSet<Grant>>)| {
            Arc::new(RoleAt::new(name.clone(), Epoch::default(), Arc::clone(grants)))
        };
        Snapshot::new(record, self.roles.iter().map(role), self.keys_version)
    }
}

impl Values {
    fn read_keys(&self) -> Result<Arc<KeySet>, Unavailable> {
        self.key_reads.fetch_add(1, Ordering::Relaxed);
        if self.keys_unavailable { Err(Unavailable) } else { Ok(Arc::new(self.stored_keys.clone())) }
    }
}

impl Source for Values {
    fn keys(&self) -> Arc<KeySet> {
        Arc::new(self.keys.clone())
    }

    async fn keys_for_unknown(&self, _: &str) -> Result<Arc<KeySet>, Unavailable> {
        self.read_keys()
    }

    async fn keys_at_least(&self, version: u64) -> Result<Arc<KeySet>, Unavailable> {
        if self.keys.version() >= version { Ok(Arc::new(self.keys.clone())) } else { self.read_keys() }
    }

    fn recall(&self, _: AccountId) -> Option<Basis> {
        None
    }

    async fn look_up(&self, account: AccountId) -> Result<Basis, Unavailable> {
        self.lookups.fetch_add(1, Ordering::Relaxed);
        if self.state_unavailable {
            return Err(Unavailable);
        }
        Ok(Basis { snapshot: self.snapshots.get(&account).map(Told::snapshot).unwrap_or_default(), until: None })
    }
}

pub struct Scene {
    pub clock: Arc<ManualClock>,
    pub issuers: Vec<String>,
    pub key: Arc<SigningKey>,
    pub source: Values,
    pub jti: Jti,
    pub claims: Claims,
    pub demand: Demand,
    /// Outlives the decisions: what was decided before must not show in what is decided now.
    pub signatures: Arc<Signatures>,
}

static ES256: LazyLock<Arc<SigningKey>> = LazyLock::new(|| Arc::new(SigningKey::generate(Algorithm::ES256).unwrap()));

impl Scene {
    pub fn new() -> Self {
        Self::signed_by(Arc::clone(&ES256))
    }

    pub fn signed_by(key: Arc<SigningKey>) -> Self {
        let start = DateTime::from_timestamp(NOW, 0).unwrap();
        let jti = Jti::random().unwrap();
        let claims = Claims {
            issuer: ISSUER.to_owned(),
            account: AccountId::new(start),
            audiences: vec!["billing".parse().unwrap(), "search".parse().unwrap()],
            issued_at: NOW - 1000,
            expires_at: NOW + 1000,
            token_id: jti.token_id(),
            role: "deployer".parse().unwrap(),
            teams: BTreeMap::new(),
            generation: 3,
            confirmation: None,
        };
        let state = AccountState {
            username: "ci-deploy".parse().unwrap(),
            generation: 3,
            token_id: Some(jti.token_id()),
            status: Status::Active,
            role: "deployer".parse().unwrap(),
            teams: BTreeMap::from([("payments".parse().unwrap(), "releaser".parse().unwrap())]),
            audiences: claims.audiences.clone(),
            allowed_networks: vec![],
            binding: None,
            previous: None,
            sign_ins: 0,
        };
        let roles = [("deployer", "deployments:create"), ("releaser", "releases:*")];
        let told = Told {
            record: Some(Arc::new(StateRecord::Live(state))),
            roles: roles.map(|(role, grant)| (role.parse().unwrap(), Arc::new([grant.parse().unwrap()].into()))).into(),
            keys_version: 1,
        };
        let mut scene = Self {
            clock: Arc::new(ManualClock::at(start)),
            issuers: vec![ISSUER.to_owned()],
            key,
            source: Values { snapshots: HashMap::from([(claims.account, told)]), ..Values::default() },
            jti,
            claims,
            demand: Demand {
                audience: Some("billing".parse().unwrap()),
                permission: Some("deployments:create".parse().unwrap()),
                team: None,
                presenter: Presenter::Holder { address: Some("10.1.2.3".parse().unwrap()), proof: None },
            },
            signatures: Arc::new(Signatures::within(1 << 20)),
        };
        scene.key_state(KeyState::Active);
        scene
    }

    /// A key set whose only key is the scene's.
    pub fn key_set(&self, version: u64, state: KeyState) -> KeySet {
        KeySet::new(version, [KnownKey { public: self.key.public().clone(), state }])
    }

    /// The state of the key, in memory and in the store.
    pub fn key_state(&mut self, state: KeyState) {
        self.source.keys = self.key_set(1, state);
        self.source.stored_keys = self.key_set(1, state);
    }

    pub fn snapshot(&mut self) -> &mut Told {
        self.source.snapshots.get_mut(&self.claims.account).unwrap()
    }

    /// Changes the account's state, if it still has one.
    pub fn state(&mut self, change: impl FnOnce(&mut AccountState)) {
        if let Some(StateRecord::Live(state)) = self.snapshot().record.as_mut().map(Arc::make_mut) {
            change(state);
        }
    }

    /// Gives the account a newer token; the scene's own overlaps until then, in Unix seconds.
    pub fn regenerate(&mut self, overlap_until: Option<i64>) {
        let (generation, token_id) = (self.claims.generation, self.claims.token_id);
        self.state(|state| {
            state.previous = overlap_until.map(|ends_at| Previous { generation, token_id, ends_at });
            state.generation = generation + 1;
            state.token_id = Some(TokenId::of_jti("the next one"));
        });
    }

    pub fn presented_from(&mut self, from: Option<&str>) {
        self.demand.presenter = Presenter::Holder { address: from.map(|text| text.parse().unwrap()), proof: None };
    }

    pub fn token(&self) -> String {
        encode(&self.claims, &self.jti, self.key.as_ref()).unwrap()
    }

    /// The members of the good token's header.
    pub fn header(&self) -> Map<String, Value> {
        segment(&self.token(), 0)
    }

    /// The members of the good token's payload.
    pub fn payload(&self) -> Map<String, Value> {
        segment(&self.token(), 1)
    }

    /// A token of these two texts, genuinely signed.
    pub fn sign(&self, header: &str, payload: &str) -> String {
        self.sign_segments(&URL_SAFE_NO_PAD.encode(header), &URL_SAFE_NO_PAD.encode(payload))
    }

    /// A token of these two segments, genuinely signed however badly they are encoded.
    pub fn sign_segments(&self, header: &str, payload: &str) -> String {
        let signed = format!("{header}.{payload}");
        let signature = self.key.sign(signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// The good token with one member of its header written so, or without it; genuinely signed.
    pub fn with_header(&self, name: &str, raw: Option<&str>) -> String {
        self.sign(&text(&self.header(), name, raw), &text(&self.payload(), "", None))
    }

    /// The good token with one claim written so, or without it; genuinely signed.
    pub fn with_claim(&self, name: &str, raw: Option<&str>) -> String {
        self.sign(&text(&self.header(), "", None), &text(&self.payload(), name, raw))
    }

    /// Decides without a signature cache, and with one that is empty, that saw the decisions before this one, that saw this one,
    /// and that saw the token when all was well with it: it makes no difference.
    pub fn decide(&self, token: &str) -> Result<Verified, Refusal> {
        let reads = || [&self.source.key_reads, &self.source.lookups].map(|count| count.load(Ordering::Relaxed));
        let before = reads();
        let decided = self.decide_with(&Arc::default(), token);
        let once = reads();
        let empty = Arc::new(Signatures::within(1 << 20));
        for signatures in [&empty, &self.signatures, &self.signatures, &self.having_seen(token)] {
            [&self.source.key_reads, &self.source.lookups]
                .iter()
                .zip(before)
                .for_each(|(count, at)| count.store(at, Ordering::Relaxed));
            let again = self.decide_with(signatures, token);
            assert_eq!(format!("{again:?}"), format!("{decided:?}"), "with {signatures:?}");
            assert_eq!(reads(), once, "asked of the source, with {signatures:?}");
        }
        decided
    }

    /// A cache that met the token when its key was good.
    fn having_seen(&self, token: &str) -> Arc<Signatures> {
        let signatures = Arc::new(Signatures::within(1 << 20));
        if let Ok(parts) = Parts::of(token)
            && let Ok(payload) = parts.payload()
            && let (Ok(claimed), Ok(header), Ok(signature)) = (payload.claims(), parts.header(), parts.signature())
            && (&*header.key_id, header.algorithm) == (self.key.public().key_id(), self.key.public().algorithm())
        {
            let key = KnownKey { public: self.key.public().clone(), state: KeyState::Active };
            signatures.check(signatures.digest(token), &claimed, &key, parts.signed, &signature);
        }
        signatures
    }

    /// Decides once, with these known signatures.
    pub fn decide_with(&self, signatures: &Arc<Signatures>, token: &str) -> Result<Verified, Refusal> {
        let decider: Decider<ManualClock> = Decider {
            issuers: self.issuers.clone(),
            clock: Arc::clone(&self.clock),
            signatures: Arc::clone(signatures),
        };
        at_once(decider.verify(&self.source, token, &self.demand))
    }

    /// Decides about a session.
    #[cfg(feature = "server")]
    pub fn decide_session(&self, session: &Arc<super::Session>) -> Result<super::SignedIn, Refusal> {
        let decider: Decider<ManualClock> =
            Decider { issuers: self.issuers.clone(), clock: Arc::clone(&self.clock), signatures: Arc::default() };
        at_once(decider.verify_session(&self.source, session, &self.demand))
    }

    /// `None`: accepted.
    pub fn reason_for(&self, token: &str) -> Option<Reason> {
        self.decide(token).err().map(|refusal| refusal.reason)
    }

    /// What becomes of the scene's own token.
    pub fn reason(&self) -> Option<Reason> {
        self.reason_for(&self.token())
    }
}

/// The members in an order of their own, one of them replaced, added or left out.
pub fn text(members: &Map<String, Value>, name: &str, raw: Option<&str>) -> String {
    let kept = members.iter().filter(|(other, _)| *other != name).map(|(name, value)| format!("{name:?}:{value}"));
    let written: Vec<_> = kept.chain(raw.map(|raw| format!("{name:?}:{raw}"))).collect();
    format!("{{{}}}", written.join(","))
}

fn segment(token: &str, nth: usize) -> Map<String, Value> {
    let bytes = URL_SAFE_NO_PAD.decode(token.split('.').nth(nth).unwrap()).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

/// Nothing here ever waits.
fn at_once<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("a source made of values waits for nothing"),
    }
}
