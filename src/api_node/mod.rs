//! The verifier as an API takes it in.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use countermark::Verifier;
//!
//! let verifier = Verifier::builder("https://tokens.example.com")
//!     .audience("orders")
//!     .redis("rediss://orders-api:PASSWORD@redis.example.com:6380")
//!     .start()
//!     .await?;
//! // … and when all calls are answered:
//! verifier.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! With the feature `tower`, `Verifier::layer` is all that a service needs around it; see the module `layer`.
//!
//! # What it connects to
//!
//! - Redis, four connections: look-ups, the feed of changes, its lease, the audit. It needs an ACL user with the rules that
//!   `countermark acl verifier` prints: it reads states, roles and the feed, keeps its own line in the table of nodes, and appends
//!   events. It can't change an account, a role or a key. Who has it can make receipts come too early, and events that never were:
//!   it is for nodes that you run.
//! - The issuer's key set, over HTTPS: at the start, every five minutes, when a token names a key that is not in it (once a second
//!   at the most), and when the store says that the keys have changed, until the new set is there (a few times in the first second,
//!   then once a second at the most, and not for a second after a reading that failed). A call waits a second for it at the most.
//!   Nothing else of the issuer is needed; it may be away.
//!
//! # What it stores
//!
//! Nothing, unless [`Builder::audit_mode`] names a directory for events that wait, which has to be there again after a restart, or
//! [`Builder::keep_keys_in`] a file for the key set, so that a node can start while the issuer is away. Whoever
//! can write to that file, or to the one of [`Builder::key_set_file`], could make tokens: it has to belong to the process' user or to
//! root, and nobody else may be able to write to it or to put another in its place.
//!
//! # When something is away
//!
//! - **Redis**: what is in memory is good for as long as the lease (500 ms by default), then every call is refused with 503
//!   `store_unavailable` and `Retry-After`, until it is back. Events wait in memory ([`Builder::audit_queue`]); when that is full,
//!   calls are refused. With [`AuditMode::Spill`] they wait on disk, and survive the process; [`AuditMode::Strict`] answers nothing
//!   before its event is written, [`AuditMode::BestEffort`] everything.
//! - **The issuer**: nothing happens, as long as its keys don't change. When they change (the store says so), a node that can't
//!   read the new set refuses with 503: the change may be a revocation.
//! - **Both at the start**: [`Builder::start`] returns, and every call is refused with 503 until they are there, the store is the
//!   issuer's, and the user of Redis has a verifier's rights; [`Verifier::ready`] waits for that.
//!
//! A copy of the key set stands in for the issuer only while the store speaks of the very version that it holds. A store that was
//! restored from a backup counts its versions anew: after that, remove the copies or let the nodes reach the issuer once.
//!
//! # Sizing
//!
//! A node keeps the accounts and tokens that it meets in memory, within [`Builder::account_bytes`] and
//! [`Builder::signature_bytes`]; `docs/performance.md` says what each takes. Evicted ones cost a look-up, or a signature check.
//!
//! What Redis has of each node, beside look-ups: three renewals of the lease in its length (six a second by default); two commands
//! each half a second for the feed, and two more at each change of the dataset; an append of the audit at most each 10 ms, as long as
//! no more than 1,024 events come in that time. An idle node is ten commands a second.
//!
//! As many calls can be under way at once as [`Builder::audit_queue`] has room for events: each keeps its own from before it is begun.
//!
//! # When it ends
//!
//! Let the server answer what it has, then [`Verifier::stop`]. Who only drops the verifier loses the events that wait in memory,
//! where the process ends before they are written.

mod builder;
mod checked;
mod copy;
mod counts;
mod error;
mod home;
mod key_set;
mod own_file;
mod redis_url;
mod running;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ipnet::IpNet;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use crate::node::{Mode as AuditMode, Recorded};
pub use builder::Builder;
pub use counts::Counts;
pub use error::{NotReady, StartError};
#[cfg(feature = "server")]
pub(crate) use key_set::no_answer;

use crate::account::Audience;
use crate::clock::{Clock, uuid_v7};
use crate::name::TeamName;
use crate::node::{Call, Ending, Full, Node, Permit, Refused};
use crate::permission::Permission;
use crate::verify::{Demand, Presenter, Proof, Reason, Refusal, Verified};
use counts::Decisions;
use home::ApiHome;

/// Decides about tokens of one issuer for one API. Cheap to clone; all clones are the same node, which says goodbye when the last
/// of them goes, or by [`stop`](Self::stop).
///
/// Who only drops it does not wait for that: where the process ends then, events that wait are lost. End with
/// [`stop`](Self::stop).
#[derive(Clone)]
pub struct Verifier(Arc<Inner>);

struct Inner {
    node: Arc<Node<ApiHome>>,
    audience: Audience,
    trusted_proxies: Vec<IpNet>,
    decisions: Decisions,
    records: AtomicBool,
    /// Ends what works by itself.
    retire: CancellationToken,
    /// What stands in the way of the node's beginning, or that it has begun.
    begun: watch::Receiver<Result<bool, String>>,
    /// `true` when all of it has ended.
    ended: watch::Receiver<bool>,
    _retires: DropGuard,
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Verifier({} …)", self.0.audience)
    }
}

impl Verifier {
    /// A verifier of tokens of this issuer: its URL, as it stands in their `iss`.
    pub fn builder(issuer: impl Into<String>) -> Builder {
        Builder::new(issuer.into())
    }

    /// Decides whether a call with this token may do what is demanded, and notes in the call what was decided. The call's end
    /// is to be told to [`record`](Self::record).
    ///
    /// `permission`: what it is for; `None` where that is asked of [`allow`](Self::allow) later. `proof`: a possession that was
    /// proven in this call, for tokens that are bound to one.
    ///
    /// # Errors
    /// A refusal with its [`Reason`]; `retry_after` where to wait helps.
    pub async fn verify(
        &self,
        call: &Call,
        token: &str,
        permission: Option<(&Permission, Option<&TeamName>)>,
        proof: Option<Proof>,
    ) -> Result<Verified, Refused> {
        if !self.0.node.home().has_begun() {
            return Err(self.not_begun(call));
        }
        let demand = Demand {
            audience: Some(self.0.audience.clone()),
            permission: permission.map(|(permission, _)| permission.clone()),
            team: permission.and_then(|(_, team)| team.cloned()),
            presenter: Presenter::Holder { address: call.client_address(), proof },
        };
        let result = self.0.node.verify(call, token, &demand).await;
        self.0.decisions.count(result.as_ref().err().map(|refused| refused.refusal.reason));
        result
    }

    /// What can't be recorded is not decided.
    fn not_begun(&self, call: &Call) -> Refused {
        let reason = Reason::StoreUnavailable;
        call.record().refusal = Some(reason);
        self.0.decisions.count(Some(reason));
        Refused { refusal: Refusal::unproven(reason), retry_after: Some(Duration::from_secs(1)) }
    }

    /// Whether somebody who was let in may do this, too; notes in the call that it was asked, and a refusal. Where several are asked
    /// for, one after the other, the event tells of the last.
    ///
    /// # Errors
    /// [`Reason::InsufficientPermission`].
    pub fn allow(
        &self,
        call: &Call,
        verified: &Verified,
        permission: &Permission,
        team: Option<&TeamName>,
    ) -> Result<(), Refusal> {
        let mut record = call.record();
        record.permission = Some(permission.clone());
        record.team = team.cloned();
        if verified.allows(permission, team) {
            if record.refusal == Some(Reason::InsufficientPermission) {
                // Of another permission, without which it could be done.
                record.refusal = None;
            }
            return Ok(());
        }
        record.refusal = Some(Reason::InsufficientPermission);
        drop(record);
        self.0.decisions.count(Some(Reason::InsufficientPermission));
        Err(Refusal::insufficient(verified.clone()))
    }

    /// A call that begins now, for the audit. Paths and agents are cut to size and cleaned of tokens.
    pub fn call(
        &self,
        request_id: String,
        method: &str,
        path: &str,
        client_address: Option<IpAddr>,
        user_agent: Option<&str>,
    ) -> Call {
        Call::begin(request_id, method, path, client_address, user_agent, self.clock())
    }

    /// Keeps room for the event of a call. No audit, no answer: what may change something is not to be begun without. It is given
    /// back where the permit is dropped.
    ///
    /// As many calls can be under way at once as there is room for events ([`Builder::audit_queue`]).
    ///
    /// # Errors
    /// The store has been away for so long that the queue is full; or it was not recognised yet; or this verifier was stopped. The
    /// call is to be answered 503, as of [`Reason::StoreUnavailable`], under which it is counted.
    pub fn reserve(&self) -> Result<Permit, Full> {
        let permit = self.try_to_reserve();
        if permit.is_err() {
            self.count_refusal(Reason::StoreUnavailable);
        }
        permit
    }

    fn try_to_reserve(&self) -> Result<Permit, Full> {
        if !self.0.node.home().has_begun() {
            return Err(Full);
        }
        if self.0.records.load(Ordering::Relaxed) {
            self.0.node.recorder().reserve()
        } else {
            Ok(Permit::to_record_nothing())
        }
    }

    /// Records how a call ended, in the room that was kept for it; `status` is what the API answered, where it did.
    ///
    /// # Errors
    /// More than ten seconds after [`stop`](Self::stop) nobody writes it any more.
    pub fn record(
        &self,
        permit: Permit,
        call: &Call,
        ending: Ending<'_>,
        status: Option<u16>,
    ) -> Result<Recorded, Full> {
        call.record().status = status;
        self.0.node.record_reserved(call, ending, permit)
    }

    /// Counts a refusal that [`verify`](Self::verify) has not seen: there was no token to show it.
    pub fn count_refusal(&self, reason: Reason) {
        self.0.decisions.count(Some(reason));
    }

    /// Whether no answer is to be given before its event is written.
    #[cfg(feature = "tower")]
    pub(crate) fn is_strict(&self) -> bool {
        self.0.node.recorder().is_strict()
    }

    /// Whether both are the same node.
    #[cfg(feature = "tower")]
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// A new request id: a UUIDv7.
    pub fn request_id(&self) -> String {
        uuid_v7(self.clock().now()).to_string()
    }

    /// The API that the tokens have to be for.
    pub fn audience(&self) -> &Audience {
        &self.0.audience
    }

    /// The networks of proxies whose `X-Forwarded-For` is believed.
    pub fn trusted_proxies(&self) -> &[IpNet] {
        &self.0.trusted_proxies
    }

    /// Whether calls can be decided now: the store was recognised, keys are there, and there is a lease (or none is needed).
    pub fn is_ready(&self) -> bool {
        matches!(*self.0.begun.borrow(), Ok(true)) && self.0.node.home().has_keys() && self.0.node.holds_lease()
    }

    /// Waits until calls can be decided.
    ///
    /// # Errors
    /// After so long they still can't; what stands in the way.
    pub async fn ready(&self, within: Duration) -> Result<(), NotReady> {
        let ready = async {
            while !self.is_ready() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(within, ready).await.map_err(|_| self.what_is_missing())
    }

    fn what_is_missing(&self) -> NotReady {
        let begun = self.0.begun.borrow().clone();
        NotReady(match begun {
            Err(why) => why,
            Ok(false) => "the store has not answered yet".to_owned(),
            Ok(true) if !self.0.node.home().has_keys() => "no key set could be read".to_owned(),
            Ok(true) => "there is no lease".to_owned(),
        })
    }

    /// What was counted since the start.
    pub fn counts(&self) -> Counts {
        Counts::of(&self.0.decisions, &self.0.node)
    }

    /// Gives up the lease, says goodbye to the issuers, waits for calls that are under way, and writes the events that wait: for at
    /// most ten seconds altogether. From the beginning on every further call is refused.
    ///
    /// Drain first: let the server take no more connections and answer what it has, then stop. A call that runs for longer than
    /// this waits is answered all the same (in [`AuditMode::Strict`] with 503), and its event is lost; the log says so.
    pub async fn stop(&self) {
        self.0.node.recorder().close();
        self.0.retire.cancel();
        let mut ended = self.0.ended.clone();
        // The sender goes when all has ended.
        let _ = ended.wait_for(|ended| *ended).await;
    }

    fn clock(&self) -> &dyn Clock {
        self.0.node.clock().as_ref()
    }
}
