//! Asking the one function, with memory and the store behind it; noting the answer in the call.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::{Call, Home, Node};
use crate::account::AccountId;
use crate::store::StoreError;
use crate::verify::freshness::Unusable;
use crate::verify::{Basis, Demand, Holder, KeySet, Reason, Refusal, Source, Unavailable, Verified};
#[cfg(feature = "server")]
use crate::verify::{Session, SignedIn};

/// A refusal, and for how long to wait where that helps.
#[derive(Debug)]
pub struct Refused {
    /// Why and whom.
    pub refusal: Refusal,
    /// For `Retry-After`.
    pub retry_after: Option<Duration>,
}

impl<H: Home> Node<H> {
    /// Decides about a token in a call, and notes in the call what was decided.
    pub async fn verify(&self, call: &Call, token: &str, demand: &Demand) -> Result<Verified, Refused> {
        self.verify_by(self, call, token, demand).await
    }

    /// The same, but never without the store: for whoever then reads or changes what lies there. A store that is away, no longer
    /// the primary, or another one than it was, is not read for him, however fresh memory still is.
    pub async fn verify_in_the_store(&self, call: &Call, token: &str, demand: &Demand) -> Result<Verified, Refused> {
        self.verify_by(&InTheStore(self), call, token, demand).await
    }

    /// Decides about a session in a call, by what the store says, and notes in the call what was decided.
    #[cfg(feature = "server")]
    pub async fn verify_session(
        &self,
        call: &Call,
        session: &Arc<Session>,
        demand: &Demand,
    ) -> Result<SignedIn, Refused> {
        let result = self.decider.verify_session(&InTheStore(self), session, demand).await;
        self.noted(call, demand, result, SignedIn::holder)
    }

    /// Decides about a session, by what the store says, and notes nothing.
    #[cfg(feature = "server")]
    pub async fn decide_session(&self, session: &Arc<Session>, demand: &Demand) -> Result<SignedIn, Refusal> {
        self.decider.verify_session(&InTheStore(self), session, demand).await
    }

    /// Decides about a token, and notes nothing.
    pub async fn decide(&self, token: &str, demand: &Demand) -> Result<Verified, Refusal> {
        self.decider.verify(self, token, demand).await
    }

    async fn verify_by<S: Source>(
        &self,
        source: &S,
        call: &Call,
        token: &str,
        demand: &Demand,
    ) -> Result<Verified, Refused> {
        let result = self.decider.verify(source, token, demand).await;
        self.noted(call, demand, result, Verified::holder)
    }

    /// Notes in a call what was decided about what was shown in it.
    fn noted<T>(
        &self,
        call: &Call,
        demand: &Demand,
        result: Result<T, Refusal>,
        holder: impl FnOnce(&T) -> Holder,
    ) -> Result<T, Refused> {
        self.freshness.counters().decided.fetch_add(1, Ordering::Relaxed);
        let mut record = call.record();
        record.decided_us = Some(call.elapsed_us(self.clock.as_ref()));
        record.permission.clone_from(&demand.permission);
        record.team.clone_from(&demand.team);
        let refusal = match result {
            Ok(verified) => {
                record.holder = Some(holder(&verified));
                return Ok(verified);
            }
            Err(refusal) => refusal,
        };
        record.holder.clone_from(&refusal.holder);
        record.refusal = Some(refusal.reason);
        drop(record);
        Err(self.count(call, refusal))
    }

    /// Whether a verification could be decided now.
    pub async fn can_decide(&self) -> Result<(), StoreError> {
        self.ask(AccountId::nobody()).await.map(|_| ())
    }

    /// Whether decisions are made from memory, or needn't be: none are with a bound of zero, or while there is no room to renew
    /// a lease in.
    pub fn holds_lease(&self) -> bool {
        let bound = self.freshness.max_staleness();
        bound.is_zero() || self.freshness.has_lease() || self.store().has_room().is_err()
    }

    /// Asks the store itself. What was dropped meanwhile is asked for once more.
    async fn ask(&self, account: AccountId) -> Result<Basis, StoreError> {
        let mut usable = self.ask_once(account).await?;
        if matches!(usable, Err(Unusable::Dropped | Unusable::OtherServer)) {
            usable = self.ask_once(account).await?;
        }
        usable.map_err(|error| {
            if error == Unusable::RolledBack {
                tracing::error!(%account, "{error}: it is not believed");
            }
            StoreError::Unavailable(error.to_string())
        })
    }

    async fn ask_once(&self, account: AccountId) -> Result<Result<Basis, Unusable>, StoreError> {
        let asked = self.freshness.asking(account);
        let answer = match self.store().look_up(account).await {
            // The server has become another one: once it was met, its answers count.
            Err(StoreError::Unmet) => {
                self.home.met().await?;
                self.store().look_up(account).await?
            }
            other => other?,
        };
        // F6, where there is no memory that follows a server: it must be the one that was met.
        if self.freshness.max_staleness().is_zero() && !self.home.is_here(&answer.place.identity) {
            self.home.met().await?;
            return Ok(Err(Unusable::OtherServer));
        }
        Ok(self.freshness.answered(asked, answer))
    }

    /// Each request would say it while the store is away.
    fn not_known(&self, error: &StoreError) -> Unavailable {
        let mut told = self.unanswered.lock().unwrap_or_else(PoisonError::into_inner);
        told.is(&error.to_string(), |more| tracing::warn!(%error, more, "no look-up"));
        Unavailable
    }

    /// Only what was never signed by us counts towards the limit of an address.
    fn count(&self, call: &Call, refusal: Refusal) -> Refused {
        if refusal.reason.is_unproven()
            && let Err(wait) = self.guessing.count(call.client_address(), self.clock.monotonic())
        {
            return Refused { refusal: Refusal::unproven(Reason::RateLimited), retry_after: Some(wait) };
        }
        refusal.into()
    }

    pub(super) fn is_sample(&self, call: &Call) -> bool {
        self.guessing.is_sample(call.client_address(), self.clock.monotonic())
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        let retry_after = (refusal.reason == Reason::StoreUnavailable).then_some(Duration::from_secs(1));
        Self { refusal, retry_after }
    }
}

impl<H: Home> Source for Node<H> {
    fn keys(&self) -> Arc<KeySet> {
        self.home.keys()
    }

    async fn keys_for_unknown(&self, _key_id: &str) -> Result<Arc<KeySet>, Unavailable> {
        self.home.keys_for_unknown().await
    }

    async fn keys_at_least(&self, version: u64) -> Result<Arc<KeySet>, Unavailable> {
        self.home.keys_at_least(version).await
    }

    fn recall(&self, account: AccountId) -> Option<Basis> {
        self.freshness.recall(account)
    }

    async fn look_up(&self, account: AccountId) -> Result<Basis, Unavailable> {
        // A look-up that was sent before we came may be joined only under a lease, which says that memory is fresh whatever
        // that one was answered.
        let mut flight = None;
        if self.freshness.has_lease() {
            flight = self.flights.begin(account).await;
            if flight.is_none()
                && self.freshness.has_lease()
                && let Some(basis) = self.freshness.recall(account)
            {
                return Ok(basis);
            }
        }
        let answer = self.ask(account).await;
        drop(flight);
        answer.map_err(|error| self.not_known(&error))
    }
}

/// Asks the store in any case.
struct InTheStore<'a, H>(&'a Node<H>);

impl<H: Home> Source for InTheStore<'_, H> {
    fn keys(&self) -> Arc<KeySet> {
        Source::keys(self.0)
    }

    async fn keys_for_unknown(&self, key_id: &str) -> Result<Arc<KeySet>, Unavailable> {
        self.0.keys_for_unknown(key_id).await
    }

    async fn keys_at_least(&self, version: u64) -> Result<Arc<KeySet>, Unavailable> {
        self.0.keys_at_least(version).await
    }

    fn recall(&self, _account: AccountId) -> Option<Basis> {
        None
    }

    async fn look_up(&self, account: AccountId) -> Result<Basis, Unavailable> {
        let answer = self.0.ask(account).await.map_err(|error| self.0.not_known(&error))?;
        // It is there, and the one that it was. Where it took its time, memory is fresher.
        let remembered = self.0.freshness.recall(account).filter(|remembered| remembered.until > answer.until);
        Ok(remembered.unwrap_or(answer))
    }
}
