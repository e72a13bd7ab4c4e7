//! People: they are invited, and set their password by a link that works once.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use ipnet::IpNet;
use serde::Serialize;
use serde_json::json;

use super::call::By;
use super::checks::{may_grant, powers_of};
use super::passwords::{Lane, Password};
use super::sessions::KNOWN_FOR;
use super::{AccountRef, Act, Authority, Call, Error, Precondition, Receipt};
use crate::account::{Account, AccountId, AccountState, Kind, Status};
use crate::audit::kinds;
use crate::clock::rfc3339;
use crate::name::{Description, RoleName, TeamName, Username};
use crate::permission::{ADMIN, Powers};
use crate::session::{Secret, SecretId};
use crate::store::{AccountChange, Profile, Setup, StoredAccount, StoredLink, StoredSession, Tries};
use crate::token::TokenId;
use crate::verify::SignedInBy;

/// How long a link is good by which a password is set.
const LINK: TimeDelta = TimeDelta::days(3);
/// How long the link is good that the first start prints.
const SETUP: TimeDelta = TimeDelta::days(7);
/// So often somebody who is signed in may type the present password wrongly.
const TRIES: u32 = 10;

/// A new person.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// The name to sign in with.
    pub username: Username,
    /// For people.
    pub description: Description,
    /// The default role.
    pub role: RoleName,
    /// Team to role in that team.
    pub teams: BTreeMap<TeamName, RoleName>,
    /// Networks from which he may come.
    pub allowed_networks: Vec<IpNet>,
}

/// A link by which somebody sets his password, shown this once.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Invited {
    /// His account.
    pub account: Account,
    /// The link. It works once.
    pub link: String,
    /// Until when.
    #[serde(with = "rfc3339")]
    pub link_expires_at: DateTime<Utc>,
    /// Since when that holds.
    pub receipt: Receipt,
}

impl std::fmt::Debug for Invited {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Invited({} …)", self.account.id)
    }
}

/// A password was set by a link.
pub struct PasswordSet {
    /// Whose.
    pub username: Username,
    /// What the browser is known by from now on, if it is.
    pub device: Option<Secret>,
}

/// What stands in a link: whose it is, and its secret.
#[derive(Debug, Clone)]
pub struct Link {
    account: AccountId,
    secret: Secret,
}

impl std::str::FromStr for Link {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let parts =
            text.split_once('.').and_then(|(account, secret)| Some((account.parse().ok()?, secret.parse().ok()?)));
        parts.map(|(account, secret)| Self { account, secret }).ok_or(Error::LinkGone)
    }
}

/// The link that the first start prints.
pub(super) struct SetupLink {
    pub(super) secret: Secret,
    pub(super) offer: String,
}

impl Authority {
    /// Creates a person's account, with a link to set the password by.
    pub async fn create_user(&self, act: &Act, new: NewUser) -> Result<Invited, Error> {
        act.call.record().kind = Some(kinds::ACCOUNT_CREATE);
        self.check_shape(&new.teams, &[], &new.allowed_networks)?;
        let now = self.clock.now();
        let state = new_state(new.username, new.role, new.teams, new.allowed_networks);
        let roles = self.store.roles().await?;
        self.check_names(&state, &roles).await?;
        let powers = powers_of(&state, &roles);
        may_grant(&act.actor.powers(), &powers)?;
        let reuse = self.name_to_take_over(&state.username, now).await?;
        let id = AccountId::new(now);
        let secret = Secret::random()?;
        let networks_proven = act.call.client_address().is_some_and(|address| state.admits(address));
        let mut profile = new_profile(new.description, now);
        profile.networks_proven = networks_proven;
        profile.link = Some(StoredLink { id: secret.id(), expires_at: now + LINK, powers: digest(&powers) });
        let event = self
            .act_event(By::Somebody(act), kinds::ACCOUNT_CREATE, id, &state, &profile)
            .detail("role", state.role.as_str())
            .detail("kind", "user");
        let change = AccountChange {
            id,
            before: None,
            after: Some((&state, &profile)),
            admin: self.admin(&state, &profile),
            author: By::Somebody(act).author(),
            setup: None,
            reuse,
            keys_version: None,
            now,
            event: &event,
            raises: None,
        };
        let committed = self.commit(By::Somebody(act), &change).await?;
        let receipt = Receipt::of_the_first(&committed, self.clock.now());
        Ok(self.invited(id, state, profile, &secret, receipt))
    }

    /// A new link for a person, to set the password by; an earlier one is gone. `ends_present`: the present password, and all
    /// sessions that were begun with it, end with this.
    pub async fn password_link(
        &self,
        act: &Act,
        wanted: &AccountRef,
        ends_present: bool,
        only: &Precondition,
    ) -> Result<Invited, Error> {
        let before = self.account_to_change(act, kinds::PASSWORD_LINK, wanted).await?;
        only.check(Some(before.version))?;
        if before.profile.kind != Kind::User {
            return Err(Error::NotAUser);
        }
        if before.state.status != Status::Active {
            return Err(Error::AccountDisabled);
        }
        // Whoever sits at somebody else's session, or has his token, would need no present password.
        if before.id == act.actor.account() && before.profile.password.is_some() {
            return Err(Error::field(
                "account",
                "this is your own account: change your password by the present one, or have another admin make a link",
            ));
        }
        let powers = powers_of(&before.state, &self.store.roles().await?);
        may_grant(&act.actor.powers(), &powers)?;
        let now = self.clock.now();
        let (mut state, mut profile) = (before.state.clone(), before.profile.clone());
        let secret = Secret::random()?;
        profile.link = Some(StoredLink { id: secret.id(), expires_at: now + LINK, powers: digest(&powers) });
        profile.updated_at = now;
        if ends_present {
            profile.password = None;
            state.sign_ins += 1;
        }
        let event = self
            .act_event(By::Somebody(act), kinds::PASSWORD_LINK, before.id, &state, &profile)
            .detail("ends_present", ends_present);
        let change = self.change(By::Somebody(act), &before, (&state, &profile), now, &event);
        let receipt = self.commit_everywhere(By::Somebody(act), &change, None).await;
        let receipt = receipt.map_err(|error| only.or_failed(error))?;
        if ends_present {
            self.forget_sign_ins(before.id).await;
        }
        let stored = StoredAccount { version: receipt.epoch, ..before };
        Ok(self.invited(stored.id, state, profile, &secret, receipt))
    }

    /// Whose link it is, if it is good.
    pub async fn link_holder(&self, link: &Link) -> Result<Username, Error> {
        Ok(self.account_of_link(link).await?.state.username)
    }

    async fn account_of_link(&self, link: &Link) -> Result<StoredAccount, Error> {
        let account = match self.account(&AccountRef::Id(link.account)).await {
            Err(Error::NotFound(_)) => return Err(Error::LinkGone),
            other => other?,
        };
        let is_open = |stored: &StoredLink| stored.id == link.secret.id() && self.clock.now() < stored.expires_at;
        let Some(stored) = account.profile.link.as_ref().filter(|stored| is_open(stored)) else {
            return Err(Error::LinkGone);
        };
        // What the account may do may have become more since, and whoever made the link could not give that.
        let powers = digest(&powers_of(&account.state, &self.store.roles().await?));
        if account.state.status != Status::Active || stored.powers != powers {
            return Err(Error::LinkGone);
        }
        Ok(account)
    }

    /// Sets a password by a link, which is used up by it. All of its sessions end.
    pub async fn set_password_by_link(
        &self,
        call: &Call,
        link: &Link,
        password: &Password,
    ) -> Result<PasswordSet, Error> {
        let before = self.account_of_link(link).await?;
        let now = self.clock.now();
        let username = before.state.username.clone();
        let hashed = self.passwords.hashed("password", password, (before.id, &username), now).await?;
        let (mut state, mut profile) = (before.state.clone(), before.profile.clone());
        profile.password = Some(hashed);
        profile.link = None;
        profile.updated_at = now;
        state.sign_ins += 1;
        let event =
            self.act_event(By::Holder(call), kinds::PASSWORD_SET, before.id, &state, &profile).detail("by", "link");
        let change = self.change(By::Holder(call), &before, (&state, &profile), now, &event);
        self.commit_everywhere(By::Holder(call), &change, None).await.map_err(|error| match error {
            // Somebody else has used it, or changed what it rests on.
            Error::Conflict | Error::NotFound(_) => Error::LinkGone,
            other => other,
        })?;
        self.forget_sign_ins(before.id).await;
        let device = self.only_known(before.id).await;
        Ok(PasswordSet { username, device })
    }

    /// Sets one's own password. All other sessions end that were begun with the one before. What the browser is known by from
    /// now on, if it is one.
    pub async fn change_password(
        &self,
        act: &Act,
        present: &Password,
        new: &Password,
    ) -> Result<(Receipt, Option<Secret>), Error> {
        act.call.record().kind = Some(kinds::PASSWORD_SET);
        let before = self.account(&AccountRef::Id(act.actor.account())).await?;
        if before.profile.kind != Kind::User {
            return Err(Error::NotAUser);
        }
        // Of a session that a password has begun for itself: whoever guesses in a stolen one does not keep its owner from changing the
        // password. A token begins as many as somebody likes.
        let of_password = act.actor.session().filter(|session| matches!(session.by, SignedInBy::Password(_)));
        let who = of_password.map_or_else(|| before.id.to_string(), |session| session.id.to_string());
        let counter = Tries { name: format!("p:{who}"), most: TRIES, within: super::sessions::WINDOW };
        if let Err(wait) = self.store.try_to_sign_in(std::slice::from_ref(&counter)).await? {
            return Err(Error::TooManyTries(wait));
        }
        let turn = self.passwords.turn(Lane::Known, Some(before.id)).await?;
        if !self.passwords.matches(turn, present, before.profile.password.as_ref()).await? {
            return Err(Error::field("present", "this is not the present password"));
        }
        self.store.forget_tries(&counter.name).await?;
        let now = self.clock.now();
        let hashed = self.passwords.hashed("new", new, (before.id, &before.state.username), now).await?;
        let (mut state, mut profile) = (before.state.clone(), before.profile.clone());
        profile.password = Some(hashed);
        profile.link = None;
        profile.updated_at = now;
        state.sign_ins += 1;
        let event = self.act_event(By::Somebody(act), kinds::PASSWORD_SET, before.id, &state, &profile);
        let change = self.change(By::Somebody(act), &before, (&state, &profile), now, &event);
        let receipt = self.commit_everywhere(By::Somebody(act), &change, None).await?;
        self.keep_present_session(act, state.sign_ins).await?;
        let device = match act.actor.session() {
            Some(_) => self.only_known(before.id).await,
            None => {
                self.store.forget_devices(before.id).await?;
                None
            }
        };
        Ok((receipt, device))
    }

    /// The session in which a password was changed goes on under the new one; the others are forgotten.
    async fn keep_present_session(&self, act: &Act, sign_ins: u64) -> Result<(), Error> {
        let account = act.actor.account();
        let present = act.actor.session().map(|session| session.id);
        if let Some(id) = present
            && let Some(stored) = self.store.session(id).await?
            && matches!(stored.by, SignedInBy::Password(_))
        {
            let goes_on = StoredSession { by: SignedInBy::Password(sign_ins), ..stored };
            self.store.note_session(id, &goes_on, self.kept_for()).await?;
        }
        Ok(self.store.end_all_sessions(account, present).await.map(drop)?)
    }

    /// The browser in which a password was set is known from then on, and no other one, by a secret that nobody has seen. So whoever sets
    /// it can sign in with it, however many strangers are trying to. What it is known by.
    async fn only_known(&self, account: AccountId) -> Option<Secret> {
        let known = async {
            self.store.forget_devices(account).await?;
            let device = Secret::random()?;
            self.store.remember_device(account, device.id(), self.clock.now() + KNOWN_FOR).await?;
            Ok::<_, Error>(device)
        };
        // The password is set all the same.
        known.await.inspect_err(|error| tracing::warn!(%error, "a browser was not remembered")).ok()
    }

    /// They have ended by what was committed; what is left of them is only in the way.
    pub(super) async fn forget_sign_ins(&self, account: AccountId) {
        let forgotten = async {
            self.store.end_all_sessions(account, None).await?;
            self.store.forget_devices(account).await
        };
        if let Err(error) = forgotten.await {
            tracing::warn!(%error, "what is left of ended sessions was not removed");
        }
    }

    /// Whether the link of the first start is good.
    pub async fn setup_is_open(&self, secret: &Secret) -> Result<(), Error> {
        self.open_setup(secret).await.map(drop)
    }

    async fn open_setup(&self, secret: &Secret) -> Result<String, Error> {
        let (id, offer) = self.offered_setup().await?.ok_or(Error::LinkGone)?;
        if id == secret.id() { Ok(offer) } else { Err(Error::LinkGone) }
    }

    /// Whether the link that the first start printed can still be used.
    pub async fn setup_is_offered(&self) -> Result<bool, Error> {
        Ok(self.offered_setup().await?.is_some())
    }

    /// The link that can still be used: the name of its secret, and what lies in the store.
    async fn offered_setup(&self) -> Result<Option<(SecretId, String)>, Error> {
        let offer = self.store.setup_offer().await?;
        Ok(offer.and_then(|offer| {
            let (id, until) = offer.split_once(' ')?;
            let (id, until) = (id.parse().ok()?, until.parse::<i64>().ok()?);
            (self.clock.now().timestamp() < until).then_some((id, offer))
        }))
    }

    /// Creates the first person, an admin, by the link of the first start, which is used up by it.
    pub async fn set_up(
        &self,
        call: &Call,
        secret: &Secret,
        username: Username,
        password: &Password,
    ) -> Result<PasswordSet, Error> {
        let offer = self.open_setup(secret).await?;
        let now = self.clock.now();
        let reuse = self.name_to_take_over(&username, now).await?;
        let id = AccountId::new(now);
        let hashed = self.passwords.hashed("password", password, (id, &username), now).await?;
        let role = ADMIN.parse().map_err(|_| Error::Internal("the admin's role".into()))?;
        let state = new_state(username.clone(), role, BTreeMap::new(), Vec::new());
        let mut profile = new_profile("The first person".parse().unwrap_or_default(), now);
        profile.password = Some(hashed);
        let event = self.act_event(By::Holder(call), kinds::ACCOUNT_CREATE, id, &state, &profile);
        let change = AccountChange {
            id,
            before: None,
            after: Some((&state, &profile)),
            admin: self.admin(&state, &profile),
            author: None,
            setup: Some(Setup::Take(&offer)),
            reuse,
            keys_version: None,
            now,
            event: &event.detail("role", ADMIN).detail("kind", "user").detail("by", "setup"),
            raises: None,
        };
        self.commit(By::Holder(call), &change).await?;
        let device = self.only_known(id).await;
        Ok(PasswordSet { username, device })
    }

    pub(super) fn setup_link(&self) -> Result<SetupLink, Error> {
        let secret = Secret::random()?;
        let offer = format!("{} {}", secret.id(), (self.clock.now() + SETUP).timestamp());
        Ok(SetupLink { secret, offer })
    }

    fn invited(
        &self,
        id: AccountId,
        state: AccountState,
        profile: Profile,
        secret: &Secret,
        receipt: Receipt,
    ) -> Invited {
        let link_expires_at = profile.link.as_ref().map_or(profile.updated_at, |link| link.expires_at);
        let link = format!("{}/console/password?link={id}.{}", self.origin(), secret.expose());
        let stored = StoredAccount {
            id,
            version: receipt.epoch,
            state,
            profile,
            used: Default::default(),
            dead: Default::default(),
        };
        Invited { account: stored.view(), link, link_expires_at, receipt }
    }

    /// Scheme, host and port of the issuer URL.
    pub fn origin(&self) -> String {
        let url = url::Url::parse(self.issuer()).ok();
        url.map_or_else(|| self.issuer().to_owned(), |url| url.origin().ascii_serialization())
    }
}

fn new_state(
    username: Username,
    role: RoleName,
    teams: BTreeMap<TeamName, RoleName>,
    allowed_networks: Vec<IpNet>,
) -> AccountState {
    AccountState {
        username,
        generation: 0,
        token_id: None,
        status: Status::Active,
        role,
        teams,
        audiences: Vec::new(),
        allowed_networks,
        binding: None,
        previous: None,
        sign_ins: 0,
    }
}

fn new_profile(description: Description, now: DateTime<Utc>) -> Profile {
    Profile {
        kind: Kind::User,
        description,
        created_at: now,
        updated_at: now,
        token: None,
        previous: None,
        networks_proven: false,
        password: None,
        link: None,
    }
}

/// Two powers have the same digest only if they are the same.
fn digest(powers: &Powers) -> String {
    let written = json!({"default": powers.default, "teams": powers.teams}).to_string();
    TokenId::of_jti(&written).to_string()
}
