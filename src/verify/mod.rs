//! The one function that decides about a token (contract, section 2). Every door asks it: the library, `/verify`,
//! introspection, revocation, the administration.

mod demand;
pub mod freshness;
mod hashing;
mod keyset;
mod reason;
#[cfg(feature = "server")]
mod session;
mod signatures;
mod signed;
mod snapshot;
mod source;
mod verified;

use std::sync::Arc;
use std::time::Instant;

pub use demand::{Demand, Presenter, Proof};
pub use keyset::{KeySet, KeyState, KnownKey};
pub use reason::{Reason, Refusal};
#[cfg(feature = "server")]
pub use session::{Actor, Session, ShownToken, SignedIn, SignedInBy};
pub use signatures::SignatureCounts;
pub use snapshot::{AsOf, RoleAt, SharedRecord, Snapshot};
pub use source::{Basis, Source, Unavailable};
pub use verified::{HeldToken, Holder, Verified};

use crate::account::{AccountId, AccountState, Audience, Binding};
use crate::clock::Clock;
use crate::token::{FormError, Header, MAX_TOKEN_LENGTH, Parts};
use signatures::Signatures;
use signed::Signed;
use verified::Standing;

/// Seconds that `exp` and `iat` may be off (contract, section 2). Not for the end of an overlap.
pub const LEEWAY: i64 = 5;

/// Decides about tokens of one issuer.
pub struct Decider<C: ?Sized = dyn Clock> {
    issuers: Vec<String>,
    clock: Arc<C>,
    signatures: Arc<Signatures>,
}

impl<C: Clock + ?Sized> Decider<C> {
    /// One that accepts tokens of these issuers: its own, and those that it had before it moved. It checks every
    /// signature anew.
    pub fn new(issuers: Vec<String>, clock: Arc<C>) -> Self {
        Self { issuers, clock, signatures: Arc::default() }
    }

    /// Remembers which signatures were genuine, in at most so many bytes; 0: none. Nothing else is remembered: whether the
    /// token is good is decided every time.
    #[must_use]
    pub fn with_signature_cache(self, bytes: u64) -> Self {
        Self { signatures: Arc::new(Signatures::within(bytes)), ..self }
    }

    /// What the memory of signatures has come to.
    pub fn signature_counts(&self) -> SignatureCounts {
        self.signatures.counts()
    }

    /// Decides whether this token may do what is demanded, in the order of contract section 2: size, form, header, key,
    /// signature, `iss`, `aud`, `exp`, `iat`, account state, generation and token id, binding, network, permission.
    pub async fn verify<S: Source>(&self, source: &S, token: &str, demand: &Demand) -> Result<Verified, Refusal> {
        let (signed, key_state) = self.prove(source, token).await?;

        // From here on the token is one that we signed, and its holder is told what is wrong with it.
        let standing = self.standing(source, &Held::Token(&signed, key_state), demand).await?;
        let verified = Verified::new(signed, standing);
        let is_allowed = |wanted| verified.allows(wanted, demand.team.as_ref());
        let allowed = demand.permission.as_ref().is_none_or(is_allowed);
        if allowed { Ok(verified) } else { Err(Refusal::insufficient(verified)) }
    }

    /// How the account of what is genuine stands now, if that is good for what is demanded, whatever the permissions.
    async fn standing<S: Source>(&self, source: &S, held: &Held<'_>, demand: &Demand) -> Result<Standing, Refusal> {
        let refuse = |reason| Err(Refusal::proven(reason, held.holder(None)));
        if let Some(reason) = self.unfit_by_itself(held, demand) {
            return refuse(reason);
        }
        let (snapshot, keys) = match self.state_and_keys(source, held.account()).await {
            Ok(known) => known,
            Err(Unavailable) => return refuse(Reason::StoreUnavailable),
        };
        // A key may have been revoked or retired since our copy of the set was read. A retired key signs nothing that lives;
        // whatever comes this far under one is not believed.
        let mut key_is_retired = false;
        if let Some(signed) = held.token() {
            key_is_retired = match keys.find(&signed.common.key_id).map(|key| key.state) {
                Some(KeyState::Pending | KeyState::Active | KeyState::Retiring) => false,
                Some(KeyState::Revoked) | None => return refuse(Reason::RevokedKey),
                Some(KeyState::Retired) => true,
            };
        }
        let Some((state, version, roles)) = snapshot.into_living() else {
            return refuse(Reason::UnknownAccount);
        };
        let unfit = self.unfit_state(held, &state, demand);
        if let Some(reason) = unfit.or(key_is_retired.then_some(Reason::RevokedKey)) {
            return Err(Refusal::proven(reason, held.holder(Some(&state))));
        }
        Ok(Standing::new(state, version, roles))
    }

    /// What we signed, and the state of the key that signed it.
    async fn prove<S: Source>(&self, source: &S, token: &str) -> Result<(Signed, KeyState), Refusal> {
        if token.len() > MAX_TOKEN_LENGTH {
            return Err(Refusal::unproven(Reason::TooLarge));
        }
        let keys = source.keys();
        if let Some(key) = keys.find_by_header(token) {
            return self.prove_under(key, token);
        }
        let (header, keys) = read_with_keys(source, token).await.map_err(Refusal::unproven)?;
        let key = keys.find(&header.key_id).ok_or(Refusal::unproven(Reason::UnknownKey))?;
        // One key has one algorithm.
        if key.public.algorithm() != header.algorithm {
            return Err(Refusal::unproven(Reason::UnsupportedAlgorithm));
        }
        self.prove_under(key, token)
    }

    /// The same under the key that its header names. A signature that is known to be genuine saves the reading and the checking.
    /// A key's id is the thumbprint of its bytes, and it has the header's algorithm: checked anew it would find the same.
    fn prove_under(&self, key: &KnownKey, token: &str) -> Result<(Signed, KeyState), Refusal> {
        let digest = self.signatures.digest(token);
        if let Some(signed) = digest.and_then(|digest| self.signatures.find(&digest)) {
            return Ok((signed, key.state));
        }
        let unproven = |error| Refusal::unproven(Reason::from(error));
        let parts = Parts::of(token).map_err(unproven)?;
        let payload = parts.payload().map_err(unproven)?;
        let claimed = payload.claims().map_err(unproven)?;
        let signature = parts.signature().map_err(unproven)?;
        let signed = self.signatures.check(digest, &claimed, key, parts.signed, &signature);
        signed.map(|signed| (signed, key.state)).ok_or(Refusal::unproven(Reason::BadSignature))
    }

    /// State and keys of one moment that is no older than the staleness bound: from memory under a lease, else from the store.
    ///
    /// F2: the clock is read last, after all that the decision rests on, and compared with the bound that was captured before.
    async fn state_and_keys<S: Source>(
        &self,
        source: &S,
        account: AccountId,
    ) -> Result<(Snapshot, Arc<KeySet>), Unavailable> {
        let is_fresh = |until: Option<Instant>| until.is_none_or(|until| self.clock.monotonic() < until);
        if let Some(Basis { snapshot, until }) = source.recall(account) {
            let keys = source.keys();
            if is_fresh(until) {
                return Ok((snapshot, keys));
            }
        }
        let Basis { snapshot, until } = source.look_up(account).await?;
        let keys = source.keys_at_least(snapshot.keys_version()).await?;
        if is_fresh(until) { Ok((snapshot, keys)) } else { Err(Unavailable) }
    }

    /// What is wrong whatever the account's state is.
    fn unfit_by_itself(&self, held: &Held<'_>, demand: &Demand) -> Option<Reason> {
        match held {
            Held::Token(_, KeyState::Revoked) => Some(Reason::RevokedKey),
            Held::Token(signed, _) => self.unfit_claims(signed, demand),
            #[cfg(feature = "server")]
            Held::Session(session, _) => self.has_ended(session).then_some(Reason::SessionEnded),
        }
    }

    fn unfit_claims(&self, signed: &Signed, demand: &Demand) -> Option<Reason> {
        let now = self.clock.unix_seconds();
        if !self.issuers.contains(&signed.common.issuer) {
            return Some(Reason::WrongIssuer);
        }
        if demand.audience.as_ref().is_some_and(|wanted| !self.is_meant_for(&signed.common.audiences, wanted)) {
            return Some(Reason::WrongAudience);
        }
        if now >= signed.expires_at.saturating_add(LEEWAY) {
            return Some(Reason::Expired);
        }
        (signed.issued_at > now.saturating_add(LEEWAY)).then_some(Reason::NotYetValid)
    }

    /// The default audience is the issuer's URL: after a move, the tokens of before name the former one.
    fn is_meant_for(&self, audiences: &[Audience], wanted: &Audience) -> bool {
        let is_own = self.issuers.first().is_some_and(|own| own == wanted.as_str());
        audiences
            .iter()
            .any(|named| named == wanted || (is_own && self.issuers.iter().any(|issuer| issuer == named.as_str())))
    }

    /// S3: the most restrictive level wins, in this order, whatever order the levels were set in.
    fn unfit_state(&self, held: &Held<'_>, state: &AccountState, demand: &Demand) -> Option<Reason> {
        if state.status != crate::account::Status::Active {
            return Some(Reason::Disabled);
        }
        if let Some(reason) = held.unfit_generation(self, state) {
            return Some(reason);
        }
        // The account may have been narrowed since the token was issued.
        let default = self.issuers.first();
        let named = |wanted: &Audience| match state.audiences.as_slice() {
            [] => default.is_some_and(|own| own == wanted.as_str()),
            some => some.contains(wanted),
        };
        if demand.audience.as_ref().is_some_and(|wanted| !named(wanted)) {
            return Some(Reason::WrongAudience);
        }
        // Who has signed in with a password holds nothing that could be bound.
        let bound = |signed: &Signed| {
            bound_as_presented(signed.common.binding.as_ref(), state.binding.as_ref(), &demand.presenter)
        };
        if !held.token().is_none_or(bound) {
            return Some(Reason::BindingMismatch);
        }
        let admitted = match &demand.presenter {
            Presenter::Holder { address: Some(address), .. } => state.admits(*address),
            // Fail closed: an address that can't be known is in no network.
            Presenter::Holder { address: None, .. } => state.allowed_networks.is_empty(),
            Presenter::ThirdParty => true,
        };
        (!admitted).then_some(Reason::NetworkNotAllowed)
    }

    /// Whether another token, or none, has come in the place of this one.
    fn unfit_token(&self, signed: &Signed, state: &AccountState) -> Option<Reason> {
        let current = signed.generation == state.generation && state.token_id.is_some_and(|id| id == signed.token_id);
        let overlapping = || {
            state.previous.as_ref().is_some_and(|previous| {
                // The clock is read now, and not before the state was: that may have taken its time.
                signed.generation == previous.generation
                    && previous.token_id == signed.token_id
                    && self.clock.now().timestamp_millis() < previous.ends_at.saturating_mul(1000)
            })
        };
        if !current && !overlapping() {
            // A generation above the newest can only come of a store that lost changes: then nothing newer exists.
            let newer = state.token_id.is_some() && signed.generation <= state.generation;
            return Some(if newer { Reason::Superseded } else { Reason::Revoked });
        }
        None
    }
}

/// What somebody shows, being genuine.
enum Held<'a> {
    /// A token, and the state that its key had when the signature was checked.
    Token(&'a Signed, KeyState),
    /// A session, with the sign-ins of the account that it belongs to.
    #[cfg(feature = "server")]
    Session(&'a Session, u64),
}

impl<'a> Held<'a> {
    fn token(&self) -> Option<&'a Signed> {
        match self {
            Self::Token(signed, _) => Some(signed),
            #[cfg(feature = "server")]
            Self::Session(..) => None,
        }
    }

    fn account(&self) -> AccountId {
        match self {
            Self::Token(signed, _) => signed.account,
            #[cfg(feature = "server")]
            Self::Session(session, _) => session.account,
        }
    }

    fn holder(&self, state: Option<&Arc<AccountState>>) -> Holder {
        match self {
            Self::Token(signed, _) => Holder::of(signed, state),
            #[cfg(feature = "server")]
            Self::Session(session, _) => session.holder(None, state),
        }
    }

    /// Whether what came after it has ended it.
    fn unfit_generation<C: Clock + ?Sized>(&self, decider: &Decider<C>, state: &AccountState) -> Option<Reason> {
        match self {
            Self::Token(signed, _) => decider.unfit_token(signed, state),
            #[cfg(feature = "server")]
            Self::Session(_, sign_ins) => (*sign_ins != state.sign_ins).then_some(Reason::SessionEnded),
        }
    }
}

/// The header of a token that no key in memory writes, and the keys to look for its own in, read anew if it is not in memory: it
/// may be younger (K6).
async fn read_with_keys<S: Source>(source: &S, token: &str) -> Result<(Header, Arc<KeySet>), Reason> {
    let parts = Parts::of(token)?;
    let header = parts.header();
    // What is wrong with the form has one name, whatever part of it is read first.
    if header == Err(FormError::Malformed) {
        return Err(Reason::Malformed);
    }
    // All of it before the key is looked for: garbage makes nobody read the keys again.
    parts.payload()?.claims()?;
    parts.signature()?;
    let header = header?;
    let keys = source.keys();
    if keys.find(&header.key_id).is_some() {
        return Ok((header, keys));
    }
    let keys = source.keys_for_unknown(&header.key_id).await.map_err(|_| Reason::StoreUnavailable)?;
    Ok((header, keys))
}

impl From<FormError> for Reason {
    fn from(error: FormError) -> Self {
        match error {
            FormError::TooLarge => Self::TooLarge,
            FormError::Malformed => Self::Malformed,
            FormError::UnsupportedAlgorithm => Self::UnsupportedAlgorithm,
        }
    }
}

/// The token's `cnf` and the account's binding must say the same, and the presenter must have proven it.
fn bound_as_presented(claimed: Option<&Binding>, bound: Option<&Binding>, presenter: &Presenter) -> bool {
    if claimed != bound {
        return false;
    }
    match (claimed, presenter) {
        (None, _) | (Some(_), Presenter::ThirdParty) => true,
        (Some(wanted), Presenter::Holder { proof, .. }) => proof.as_ref().is_some_and(|Proof(shown)| shown == wanted),
    }
}

#[cfg(any(feature = "fuzzing", all(test, feature = "server")))]
pub(crate) mod fuzzing;
#[cfg(any(feature = "fuzzing", test))]
#[allow(dead_code, missing_docs, clippy::unwrap_used, clippy::panic, reason = "of tests")]
mod scene;
#[cfg(test)]
mod tests;
