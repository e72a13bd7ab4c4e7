//! Signing in and out, and whoever is signed in.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::passwords::{Lane, Password};
use super::{AccountRef, Act, Authority, Call, Error, Refused};
use crate::account::{AccountId, Kind, Status};
use crate::audit::{kinds, printable};
use crate::clock::rfc3339;
use crate::name::Username;
use crate::session::{Secret, SessionId};
use crate::store::{StoreError, StoredAccount, StoredSession, Tries};
use crate::subscriber::Subscriber;
use crate::verify::{Actor, Demand, Presenter, Reason, Refusal, Session, ShownToken, SignedIn, SignedInBy, Verified};

/// How long sessions go on.
#[derive(Debug, Clone, Copy)]
pub struct SessionSettings {
    /// Without a call.
    pub idle: Duration,
    /// At the longest.
    pub longest: Duration,
}

/// How long tries to sign in are counted.
pub(super) const WINDOW: Duration = Duration::from_secs(15 * 60);
/// Tries for one account by browsers that nobody has signed in with before; and by each that somebody has.
const TRIES_OF_ACCOUNT: u32 = 10;
/// Tries of one address, whoever is let in not counted; and of 65,536 networks of IPv6, which one subscriber may have all of.
const TRIES_OF_ADDRESS: u32 = 30;
const TRIES_OF_SITE: u32 = 90;
/// How long a browser is remembered.
pub const KNOWN_FOR: TimeDelta = TimeDelta::days(400);
/// How exactly it is known when a session was last used.
const SEEN: TimeDelta = TimeDelta::seconds(60);

/// A session that was begun.
pub struct Begun {
    /// What the browser shows from now on.
    pub secret: Secret,
    /// What it is known by when somebody signs in the next time.
    pub device: Option<Secret>,
}

/// A session, as its owner and admins see it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct SessionView {
    /// Its name.
    pub id: SessionId,
    /// What it was begun with.
    pub signed_in_with: &'static str,
    /// When.
    #[serde(with = "rfc3339")]
    pub began_at: DateTime<Utc>,
    /// When it was last used, to a minute.
    #[serde(with = "rfc3339")]
    pub seen_at: DateTime<Utc>,
    /// When it ends if it is not used before.
    #[serde(with = "rfc3339")]
    pub ends_at: DateTime<Utc>,
    /// From where it was begun.
    #[schema(required = true, value_type = Option<String>)]
    pub client_address: Option<std::net::IpAddr>,
    /// With what.
    #[schema(required = true)]
    pub user_agent: Option<String>,
    /// Whether it is the one that asks.
    pub present: bool,
}

/// Whose turn it is to try, and what counts it.
struct Trying {
    lane: Lane,
    /// Forgotten once somebody was let in.
    own: Option<String>,
    tries: Vec<Tries>,
    /// Who waits for it.
    who: Option<AccountId>,
}

impl Authority {
    /// Begins a session for a person who knows the password. `device`: what his browser is known by.
    pub async fn sign_in(
        &self,
        call: &Call,
        username: &str,
        password: &Password,
        device: Option<&Secret>,
    ) -> Result<Begun, Error> {
        call.record().kind = Some(kinds::SESSION_BEGIN);
        let username: Option<Username> = username.trim().parse().ok();
        let account = match &username {
            Some(username) => self.person(username).await?,
            None => None,
        };
        let trying = self.trying(call, username.as_ref(), account.as_ref(), device).await?;
        // Whoever has tried often enough takes nobody's turn.
        if let Err(wait) = self.store.try_to_sign_in(&trying.tries).await? {
            return Err(Error::TooManyTries(wait));
        }
        let turn = self.passwords.turn(trying.lane, trying.who).await?;
        let stored = account.as_ref().and_then(|account| account.profile.password.as_ref());
        let is_right = self.passwords.matches(turn, password, stored).await?;
        let Some(account) = account else { return Err(Error::SignInRefused) };
        if !is_right || account.state.status != Status::Active {
            // So many of them at the most as may be tried.
            call.record().target = Some((account.id, account.state.username.to_string()));
            return Err(Error::SignInRefused);
        }
        let device = match (trying.lane, device) {
            (Lane::Known, Some(device)) => device.clone(),
            _ => Secret::random()?,
        };
        let begun = self.begin(call, account.id, SignedInBy::Password(account.state.sign_ins)).await?;
        self.store.remember_device(account.id, device.id(), self.clock.now() + KNOWN_FOR).await?;
        // Where many come from one address, those who know their passwords keep nobody out.
        let forgiven = async {
            self.store.forgive_try(&trying.tries).await?;
            match &trying.own {
                Some(own) => self.store.forget_tries(own).await,
                None => Ok(()),
            }
        };
        // He is signed in all the same.
        if let Err(error) = forgiven.await {
            tracing::warn!(%error, "tries to sign in were not taken back");
        }
        Ok(Begun { device: Some(device), ..begun })
    }

    /// Begins a session for whoever has an account's token. Nobody can guess one, so that no tries are counted but invalid
    /// signatures: this way stays open to an admin whose password somebody else is trying.
    pub async fn sign_in_with_token(&self, call: &Call, token: &str) -> Result<Begun, Error> {
        call.record().kind = Some(kinds::SESSION_BEGIN);
        let refused = |refused: Refused| match (refused.refusal.reason, refused.retry_after) {
            (Reason::RateLimited, Some(wait)) => Error::TooManyTries(wait),
            _ => refused.refusal.into(),
        };
        let verified = self.verify_in_the_store(call, token, &self.demand_of(call)).await.map_err(refused)?;
        let shown = ShownToken::of(&verified).ok_or_else(|| {
            Error::field(
                "token",
                "this token is bound to a certificate or key, which a browser can't prove; take another",
            )
        })?;
        self.begin(call, verified.account(), SignedInBy::Token(shown)).await
    }

    async fn begin(&self, call: &Call, account: AccountId, by: SignedInBy) -> Result<Begun, Error> {
        let now = self.clock.now();
        let secret = Secret::random()?;
        let stored = StoredSession {
            account,
            by,
            began_at: now,
            seen_at: now,
            ends_at: now + self.settings.sessions.longest,
            address: call.client_address(),
            user_agent: call.user_agent().map(|agent| printable(agent, 200)),
        };
        // As every call of it will be decided.
        let session = self.as_decided(secret.id(), &stored);
        let decided = self.node.verify_session(call, &session, &self.demand_of(call)).await;
        decided.map_err(|refused| Error::from(refused.refusal))?;
        self.store.begin_session(session.id, &stored, self.kept_for()).await?;
        Ok(Begun { secret, device: None })
    }

    /// Whoever shows the secret of a session, if that is good for what is demanded; what is decided is noted in the call.
    pub async fn signed_in(&self, call: &Call, secret: &Secret, demand: &Demand) -> Result<SignedIn, Refused> {
        let result = self.find_signed_in(call, secret.id(), demand).await;
        self.metrics.decided(result.as_ref().err().map(|refused| refused.refusal.reason));
        result
    }

    async fn find_signed_in(&self, call: &Call, id: SessionId, demand: &Demand) -> Result<SignedIn, Refused> {
        let stored = match self.stored_session(id).await {
            Ok(stored) => stored,
            Err(refusal) => {
                call.record().refusal = Some(refusal.reason);
                return Err(refusal.into());
            }
        };
        let signed_in = self.node.verify_session(call, &self.as_decided(id, &stored), demand).await?;
        let now = self.clock.now();
        if now - stored.seen_at >= SEEN {
            let (store, kept_for) = (Arc::clone(&self.store), self.kept_for());
            let seen = StoredSession { seen_at: now, ..stored };
            tokio::spawn(async move {
                if let Err(error) = store.note_session(id, &seen, kept_for).await {
                    tracing::debug!(%error, "the use of a session was not noted");
                }
            });
        }
        Ok(signed_in)
    }

    /// Whether a session is still good for what is demanded. Nothing is noted of it.
    pub async fn still_signed_in(&self, id: SessionId, demand: &Demand) -> Result<SignedIn, Refusal> {
        let stored = self.stored_session(id).await?;
        self.node.decide_session(&self.as_decided(id, &stored), demand).await
    }

    /// That a session has not been ended.
    pub async fn goes_on(&self, secret: &Secret) -> Result<(), Refusal> {
        self.stored_session(secret.id()).await.map(drop)
    }

    async fn stored_session(&self, id: SessionId) -> Result<StoredSession, Refusal> {
        match self.store.session(id).await {
            Ok(Some(stored)) => Ok(stored),
            Ok(None) => Err(Refusal::unproven(Reason::SessionEnded)),
            Err(error) => {
                tracing::warn!(%error, "no session");
                Err(Refusal::unproven(Reason::StoreUnavailable))
            }
        }
    }

    fn as_decided(&self, id: SessionId, stored: &StoredSession) -> Arc<Session> {
        let ends_at = stored.ends_at.min(stored.seen_at + self.settings.sessions.idle);
        Arc::new(Session { id, account: stored.account, by: stored.by.clone(), ends_at })
    }

    /// In the store a session is kept a little longer than it goes on: what is decided goes by our clock.
    pub(super) fn kept_for(&self) -> Duration {
        self.settings.sessions.idle + Duration::from_secs(300)
    }

    /// Ends the session in which this is asked.
    pub async fn sign_out(&self, act: &Act) -> Result<(), Error> {
        act.call.record().kind = Some(kinds::SESSION_END);
        let Some(session) = act.actor.session() else { return Ok(()) };
        Ok(self.store.end_sessions(session.account, &[session.id]).await?)
    }

    /// The sessions of an account, the newest first.
    pub async fn sessions_of(&self, act: &Act, account: AccountId) -> Result<Vec<SessionView>, Error> {
        let present = act.actor.session().map(|session| session.id);
        let now = self.clock.now();
        let mut views: Vec<SessionView> = self
            .store
            .sessions_of(account)
            .await?
            .into_iter()
            .map(|(id, stored)| SessionView {
                id,
                signed_in_with: match &stored.by {
                    SignedInBy::Password(_) => "password",
                    SignedInBy::Token(_) => "token",
                },
                ends_at: self.as_decided(id, &stored).ends_at,
                began_at: stored.began_at,
                seen_at: stored.seen_at,
                client_address: stored.address,
                user_agent: stored.user_agent,
                present: present == Some(id),
            })
            .filter(|view| view.ends_at > now)
            .collect();
        views.sort_by_key(|view| std::cmp::Reverse(view.began_at));
        Ok(views)
    }

    /// Ends one session of an account.
    pub async fn end_session(&self, act: &Act, account: AccountId, id: SessionId) -> Result<(), Error> {
        self.about_sessions(act, account).await?;
        let found = self.store.session(id).await?;
        if found.is_none_or(|found| found.account != account) {
            return Err(Error::NotFound("such session"));
        }
        Ok(self.store.end_sessions(account, &[id]).await?)
    }

    /// Ends all sessions of an account but the one in which this is asked; how many there were.
    pub async fn end_sessions(&self, act: &Act, account: AccountId) -> Result<u64, Error> {
        self.about_sessions(act, account).await?;
        let present = act.actor.session().map(|session| session.id);
        Ok(self.store.end_all_sessions(account, present).await?)
    }

    async fn about_sessions(&self, act: &Act, account: AccountId) -> Result<(), Error> {
        if account == act.actor.account() {
            act.call.record().kind = Some(kinds::SESSION_END);
            return Ok(());
        }
        self.account_to_change(act, kinds::SESSION_END, &AccountRef::Id(account)).await.map(drop)
    }

    async fn person(&self, username: &Username) -> Result<Option<StoredAccount>, Error> {
        match self.account(&AccountRef::Name(username.clone())).await {
            Ok(account) => Ok(Some(account).filter(|account| account.profile.kind == Kind::User)),
            Err(Error::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn trying(
        &self,
        call: &Call,
        username: Option<&Username>,
        account: Option<&StoredAccount>,
        device: Option<&Secret>,
    ) -> Result<Trying, StoreError> {
        let counted = |name: String, most| Tries { name, most, within: WINDOW };
        if let (Some(account), Some(device)) = (account, device)
            && self.store.knows_device(account.id, device.id()).await?
        {
            let own = format!("d:{}", device.id());
            let tries = vec![counted(own.clone(), TRIES_OF_ACCOUNT)];
            return Ok(Trying { lane: Lane::Known, own: Some(own), tries, who: Some(account.id) });
        }
        let own = username.map(|username| format!("a:{username}"));
        let mut tries = Vec::from_iter(own.clone().map(|own| counted(own, TRIES_OF_ACCOUNT)));
        let address = match Subscriber::from(call.client_address()) {
            Subscriber::Four(address) => address.to_string(),
            Subscriber::Six([a, b, c, d]) => {
                tries.push(counted(format!("n:{a:x}:{b:x}:{c:x}::"), TRIES_OF_SITE));
                format!("{a:x}:{b:x}:{c:x}:{d:x}::")
            }
            Subscriber::Unknown => "unknown".to_owned(),
        };
        tries.push(counted(format!("n:{address}"), TRIES_OF_ADDRESS));
        Ok(Trying { lane: Lane::Stranger, own, tries, who: None })
    }

    /// What is asked of everybody who signs in.
    pub(super) fn demand_of(&self, call: &Call) -> Demand {
        Demand {
            audience: Some(self.own_audience.clone()),
            permission: None,
            team: None,
            presenter: Presenter::Holder { address: call.client_address(), proof: None },
        }
    }
}

impl From<Verified> for Actor {
    fn from(verified: Verified) -> Self {
        Self::Token(verified)
    }
}

impl From<SignedIn> for Actor {
    fn from(signed_in: SignedIn) -> Self {
        Self::Session(signed_in)
    }
}
