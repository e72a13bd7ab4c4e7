//! Accounts: create, read, change, delete.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use ipnet::IpNet;

use super::acts::{Acting, Change};
use super::call::By;
use super::checks::{may_grant, powers_of};
use super::receipts::{NotHeld, TRIES, changes_servers};
use super::tokens::SIGNINGS;
use super::{AccountRef, Act, Authority, Error, Issued, Precondition, Receipt};
use crate::account::{Account, AccountId, AccountState, Audience, Kind, Status};
use crate::audit::{Event, Outcome, kinds};
use crate::name::{Description, RoleName, TeamName, Username};
use crate::permission::ADMIN;
use crate::store::{AccountChange, Admin, Committed, Entry, IssuedToken, List, Listing, Profile, StoredAccount};
use crate::verify::KeyState;

/// A new account.
#[derive(Debug, Clone)]
pub struct NewAccount {
    /// Its name.
    pub username: Username,
    /// For people.
    pub description: Description,
    /// The default role.
    pub role: RoleName,
    /// Team to role in that team.
    pub teams: BTreeMap<TeamName, RoleName>,
    /// Audiences of its tokens.
    pub audiences: Vec<Audience>,
    /// Networks that its tokens may be used from.
    pub allowed_networks: Vec<IpNet>,
    /// The lifetime of its first token.
    pub valid_for_months: u32,
}

/// What shall be changed; what is `None` stays.
#[derive(Debug, Clone, Default)]
pub struct AccountPatch {
    /// For people.
    pub description: Option<Description>,
    /// The default role.
    pub role: Option<RoleName>,
    /// All team roles.
    pub teams: Option<BTreeMap<TeamName, RoleName>>,
    /// All audiences.
    pub audiences: Option<Vec<Audience>>,
    /// All networks.
    pub allowed_networks: Option<Vec<IpNet>>,
    /// Enabled or disabled.
    pub status: Option<Status>,
}

/// Which accounts are wanted; what is `None` does not matter.
#[derive(Debug, Clone, Default)]
pub struct AccountFilter {
    /// Part of the username or the description, in any case.
    pub query: Option<String>,
    /// Whose username begins so. Others are not even looked at.
    pub prefix: Option<String>,
    /// Machines, or people.
    pub kind: Option<Kind>,
    /// With this default role, or this role in a team.
    pub role: Option<RoleName>,
    /// Members of this team.
    pub team: Option<TeamName>,
    /// Of this status.
    pub status: Option<Status>,
    /// Whose current token expires before.
    pub expires_before: Option<DateTime<Utc>>,
}

/// A page of accounts.
#[derive(Debug, serde::Serialize, utoipa::ToSchema)]
pub struct AccountPage {
    /// In the order of usernames.
    pub items: Vec<Account>,
    /// For the next page; null: there is none.
    #[schema(required = true)]
    pub next_cursor: Option<String>,
}

impl AccountFilter {
    /// The shortest list that all of them are in.
    fn list(&self) -> List<'_> {
        match (&self.team, &self.role, self.kind) {
            (Some(team), ..) => List::OfTeam(team),
            (None, Some(role), _) => List::OfRole(role),
            (None, None, Some(Kind::User)) => List::Users,
            (None, None, Some(Kind::Service) | None) => List::All,
        }
    }

    /// Whether there is more to it than standing in a list.
    fn is_search(&self) -> bool {
        self.query.is_some() || self.status.is_some() || self.expires_before.is_some()
    }

    fn passes(&self, account: &Entry<'_>) -> bool {
        let holds = |query: &String| account.username.contains(query) || account.description.contains(query);
        let has_role =
            |role: &RoleName| account.role == role.as_str() || account.teams().any(|(_, held)| held == role.as_str());
        let is_member = |team: &TeamName| account.teams().any(|(name, _)| name == team.as_str());
        self.query.as_ref().is_none_or(holds)
            && self.kind.is_none_or(|kind| account.kind == kind)
            && self.role.as_ref().is_none_or(has_role)
            && self.team.as_ref().is_none_or(is_member)
            && self.status.is_none_or(|status| account.status == status)
            && self.expires_before.is_none_or(|before| account.expires_before(before))
    }
}

impl Authority {
    /// Creates an account with its first token.
    pub async fn create_account(&self, act: &Act, new: NewAccount) -> Result<Issued, Error> {
        act.call.record().kind = Some(kinds::ACCOUNT_CREATE);
        self.check_shape(&new.teams, &new.audiences, &new.allowed_networks)?;
        self.check_lifetime(new.valid_for_months)?;
        let mut tries = 0;
        loop {
            let version = self.keys.set().version();
            tries += 1;
            match self.try_to_create(act, new.clone()).await {
                Err(Error::KeysChanged) if tries < SIGNINGS => self.newer_keys(version).await?,
                other => return other,
            }
        }
    }

    async fn try_to_create(&self, act: &Act, new: NewAccount) -> Result<Issued, Error> {
        let now = self.clock.now();
        let mut state = AccountState {
            username: new.username,
            generation: 0,
            token_id: None,
            status: Status::Active,
            role: new.role,
            teams: new.teams,
            audiences: new.audiences,
            allowed_networks: new.allowed_networks,
            binding: None,
            previous: None,
            sign_ins: 0,
        };
        let roles = self.store.roles().await?;
        self.check_names(&state, &roles).await?;
        may_grant(&act.actor.powers(), &powers_of(&state, &roles))?;
        let reuse = self.name_to_take_over(&state.username, now).await?;
        let id = AccountId::new(now);
        let mut profile = Profile {
            kind: Kind::Service,
            description: new.description,
            created_at: now,
            updated_at: now,
            token: None,
            previous: None,
            networks_proven: act.call.client_address().is_some_and(|address| state.admits(address)),
            password: None,
            link: None,
        };
        let signed = self.sign_next(id, &mut state, &mut profile, new.valid_for_months, 0).await?;
        let event = self
            .act_event(By::Somebody(act), kinds::ACCOUNT_CREATE, id, &state, &profile)
            .detail("role", state.role.as_str());
        let change = AccountChange {
            id,
            before: None,
            after: Some((&state, &profile)),
            admin: self.admin(&state, &profile),
            author: By::Somebody(act).author(),
            setup: None,
            reuse,
            keys_version: Some(signed.keys_version),
            now,
            event: &event,
            raises: None,
        };
        let committed = self.commit(By::Somebody(act), &change).await?;
        // There is no older token, and no node knows anything of the account: it holds everywhere.
        let receipt = Receipt::of_the_first(&committed, self.clock.now());
        self.receipt_given(By::Somebody(act), &event, &receipt);
        Ok(self.issued(id, state, profile, signed, receipt))
    }

    /// One account.
    pub async fn account(&self, wanted: &AccountRef) -> Result<StoredAccount, Error> {
        let id = match wanted {
            AccountRef::Id(id) => *id,
            AccountRef::Name(name) => self.store.id_of(name).await?.ok_or(Error::NotFound("account"))?,
        };
        self.store.account(id).await?.ok_or(Error::NotFound("account"))
    }

    /// One account, about which an act of this kind is going to be.
    pub(super) async fn account_to_change(
        &self,
        act: &Act,
        kind: &'static str,
        wanted: &AccountRef,
    ) -> Result<StoredAccount, Error> {
        act.call.record().kind = Some(kind);
        let account = self.account(wanted).await?;
        act.call.record().target = Some((account.id, account.state.username.to_string()));
        Ok(account)
    }

    /// Whether somebody holds all that an account may do, so that he may give it a token, or change what it may do.
    pub async fn may_dispose_of(&self, act: &Act, account: &StoredAccount) -> Result<bool, Error> {
        let roles = self.store.roles().await?;
        Ok(may_grant(&act.actor.powers(), &powers_of(&account.state, &roles)).is_ok())
    }

    /// A page of accounts.
    pub async fn accounts(
        &self,
        filter: &AccountFilter,
        after: Option<&str>,
        limit: usize,
    ) -> Result<AccountPage, Error> {
        let which = Listing { of: filter.list(), prefix: filter.prefix.as_deref().unwrap_or_default(), after };
        let passes = |account: &Entry<'_>| filter.passes(account);
        let page = if filter.is_search() {
            self.store.search(which, limit, passes).await?
        } else {
            let passes = |account: &StoredAccount| passes(&Entry::of(&account.state, &account.profile));
            self.store.list(which, limit, passes).await?
        };
        Ok(AccountPage { items: page.accounts.iter().map(StoredAccount::view).collect(), next_cursor: page.next })
    }

    /// Changes an account.
    pub async fn update_account(
        &self,
        act: &Act,
        wanted: &AccountRef,
        patch: AccountPatch,
        only: &Precondition,
    ) -> Result<(Account, Receipt), Error> {
        let before = self.account_to_change(act, kinds::ACCOUNT_UPDATE, wanted).await?;
        only.check(Some(before.version))?;
        let now = self.clock.now();
        let (mut state, mut profile) = (before.state.clone(), before.profile.clone());
        let mut changed = Vec::new();
        if let Some(description) = patch.description {
            profile.description = description;
            changed.push("description");
        }
        if let Some(role) = patch.role {
            state.role = role;
            changed.push("role");
        }
        if let Some(teams) = patch.teams {
            state.teams = teams;
            changed.push("teams");
        }
        if let Some(audiences) = patch.audiences {
            state.audiences = audiences;
            changed.push("audiences");
        }
        if let Some(networks) = patch.allowed_networks {
            state.allowed_networks = networks;
            profile.networks_proven = act.call.client_address().is_some_and(|address| state.admits(address));
            changed.push("allowed_networks");
        }
        if let Some(status) = patch.status {
            state.status = status;
            changed.push("status");
        }
        let ends_sign_ins = state.status == Status::Disabled;
        if ends_sign_ins && before.state.status != Status::Disabled && profile.kind == Kind::User {
            // Not to be good again once he is enabled.
            profile.link = None;
            state.sign_ins += 1;
        }
        self.check_shape(&state.teams, &state.audiences, &state.allowed_networks)?;
        self.check_length(before.id, &state)?;
        let roles = self.store.roles().await?;
        self.check_names(&state, &roles).await?;
        // To take power away from somebody, or to give it back, is to dispose of it: one must hold it. Disabling alone is
        // open to whoever may write accounts, because it must be quick.
        let disposes = state.role != before.state.role
            || state.teams != before.state.teams
            || state.audiences != before.state.audiences
            || state.allowed_networks != before.state.allowed_networks
            || (state.status == Status::Active && before.state.status != Status::Active);
        if disposes {
            may_grant(&act.actor.powers(), &powers_of(&before.state, &roles))?;
            may_grant(&act.actor.powers(), &powers_of(&state, &roles))?;
        }
        profile.updated_at = now;
        let event = self.act_event(By::Somebody(act), kinds::ACCOUNT_UPDATE, before.id, &state, &profile);
        let event = with_what_is_new(event.detail("changed", changed), &before.state, &state);
        let change = self.change(By::Somebody(act), &before, (&state, &profile), now, &event);
        let receipt = self.commit_everywhere(By::Somebody(act), &change, None).await;
        let receipt = receipt.map_err(|error| only.or_failed(error))?;
        // Also when it was disabled already: whoever repeats it was perhaps not answered.
        if ends_sign_ins {
            self.forget_sign_ins(before.id).await;
        }
        let after = StoredAccount { version: receipt.epoch, state, profile, ..before };
        Ok((after.view(), receipt))
    }

    /// Deletes an account. Its activity stays readable, and its name taken for as long. `NotFound`: there is none, and of one that was
    /// deleted before that holds everywhere, as after a receipt.
    pub async fn delete_account(&self, act: &Act, wanted: &AccountRef, only: &Precondition) -> Result<Receipt, Error> {
        match self.try_to_delete(act, wanted, only).await {
            Err(Error::NotFound(what)) => {
                let id = match wanted {
                    AccountRef::Id(id) => Some(*id),
                    // As long as nobody else has the name.
                    AccountRef::Name(name) => self.store.id_of(name).await?,
                };
                if let Some(id) = id {
                    self.is_held(id, kinds::ACCOUNT_DELETE).await?;
                }
                Err(Error::NotFound(what))
            }
            other => other,
        }
    }

    async fn try_to_delete(&self, act: &Act, wanted: &AccountRef, only: &Precondition) -> Result<Receipt, Error> {
        let before = self.account_to_change(act, kinds::ACCOUNT_DELETE, wanted).await?;
        only.check(Some(before.version))?;
        let event = self.act_event(By::Somebody(act), kinds::ACCOUNT_DELETE, before.id, &before.state, &before.profile);
        let change = AccountChange {
            id: before.id,
            before: Some(&before),
            after: None,
            admin: Admin::No,
            author: By::Somebody(act).author(),
            setup: None,
            reuse: None,
            keys_version: None,
            now: self.clock.now(),
            event: &event,
            raises: None,
        };
        let receipt = self.commit_everywhere(By::Somebody(act), &change, None).await;
        let receipt = receipt.map_err(|error| only.or_failed(error))?;
        self.forget_sign_ins(before.id).await;
        Ok(receipt)
    }

    /// Commits a change and waits until it holds everywhere (protocols, section 3). `ends`: when what it replaces ends.
    pub(super) async fn commit_everywhere(
        &self,
        by: By<'_>,
        change: &AccountChange<'_>,
        ends: Option<DateTime<Utc>>,
    ) -> Result<Receipt, Error> {
        let mut acting = Acting::new(Change::Account(change));
        for tries in 0..TRIES {
            let committed = self.commit_again(by, &mut acting, tries > 0).await?;
            match self.held_everywhere(&committed, ends).await {
                Ok(receipt) => {
                    self.receipt_given(by, change.event, &receipt);
                    return Ok(receipt);
                }
                // Whether this one has the change is not known: it is asked for again.
                Err(NotHeld::OtherServer) => {}
                Err(NotHeld::Away(error)) => return Err(Error::from(error).after(&change.event.kind)),
            }
        }
        Err(Error::from(changes_servers()).after(&change.event.kind))
    }

    /// A change of an account that is there, and stays.
    pub(super) fn change<'a>(
        &self,
        by: By<'_>,
        before: &'a StoredAccount,
        (state, profile): (&'a AccountState, &'a Profile),
        now: DateTime<Utc>,
        event: &'a Event,
    ) -> AccountChange<'a> {
        AccountChange {
            id: before.id,
            before: Some(before),
            after: Some((state, profile)),
            admin: self.admin(state, profile),
            author: by.author(),
            setup: None,
            reuse: None,
            keys_version: None,
            now,
            event,
            raises: None,
        }
    }

    /// Commits a change in which an act's event lies; from then on the call is recorded.
    pub(super) async fn commit(&self, by: By<'_>, change: &AccountChange<'_>) -> Result<Committed, Error> {
        self.commit_again(by, &mut Acting::new(Change::Account(change)), false).await
    }

    async fn commit_again(&self, by: By<'_>, acting: &mut Acting<'_>, again: bool) -> Result<Committed, Error> {
        let committed = self.carry_out(acting, again).await;
        let committed = committed.map_err(|error| Error::of_account(error).after(&acting.event().kind))?;
        // Asked for again, it is still one act.
        if !again {
            self.is_committed(by);
        }
        Ok(committed)
    }

    pub(super) fn is_committed(&self, by: By<'_>) {
        if let Some(call) = by.call() {
            call.record().committed = true;
        }
        self.used_by(by);
        self.metrics.acts.inc();
    }

    /// An act is a use of the token that it was done with. The answer does not wait for that being noted.
    pub(super) fn used_by(&self, by: By<'_>) {
        let By::Somebody(act) = by else { return };
        let (store, now) = (Arc::clone(&self.store), self.clock.now());
        let holder = act.actor.holder();
        let (account, Some(token)) = (holder.account, holder.token.map(|token| token.id)) else { return };
        tokio::spawn(async move {
            if let Err(error) = store.note_use(account, token, now).await {
                tracing::debug!(%error, "the use of a token was not noted");
            }
        });
    }

    /// The event of an act upon an account, as the account will be.
    pub(super) fn act_event(
        &self,
        by: By<'_>,
        kind: &'static str,
        id: AccountId,
        state: &AccountState,
        profile: &Profile,
    ) -> Event {
        let mut event = match by.call() {
            Some(call) => {
                let mut record = call.record();
                record.kind = Some(kind);
                record.target = Some((id, state.username.to_string()));
                drop(record);
                call.event(kind, Outcome::Done, self.clock.as_ref())
            }
            None => Event::new(self.clock.now(), kind, Outcome::Done),
        };
        event.account_id = Some(id);
        event.username = Some(state.username.to_string());
        event.token_id = state.token_id;
        event.generation = Some(state.generation);
        event.key_id = state.token_id.and(profile.token.as_ref()).map(|token| token.key_id.clone());
        event
    }

    /// Whether the account is an active admin that can use Countermark's own API, and until when its token lives.
    pub(super) fn admin(&self, state: &AccountState, profile: &Profile) -> Admin {
        let ours = |audience: &Audience| {
            *audience == self.own_audience
                || self.settings.also_accept_issuers.iter().any(|issuer| issuer == audience.as_str())
        };
        let keys = self.keys.set();
        let is_revoked = |key_id: &str| keys.find(key_id).is_some_and(|key| key.state == KeyState::Revoked);
        admin_of(state, profile, ours, is_revoked)
    }
}

/// The same, where `ours` are the audiences of Countermark's own API.
pub(super) fn admin_of(
    state: &AccountState,
    profile: &Profile,
    ours: impl Fn(&Audience) -> bool,
    is_revoked: impl Fn(&str) -> bool,
) -> Admin {
    let able = state.role.as_str() == ADMIN
        && state.status == Status::Active
        && profile.is_reachable(state)
        && (state.audiences.is_empty() || state.audiences.iter().any(ours));
    let is_good = |token: &&IssuedToken| token.for_own_api && !is_revoked(&token.key_id);
    let token = state.token_id.and(profile.token.as_ref()).filter(is_good);
    // Whoever has a password can get in whatever becomes of tokens.
    let until = profile.password.as_ref().map(|_| NEVER).or(token.map(|token| token.expires_at));
    if able { Admin::Able(until) } else { Admin::No }
}

/// When a password expires.
const NEVER: DateTime<Utc> = DateTime::<Utc>::MAX_UTC;

/// What an act has changed: without it nobody could see in the audit who was made what.
fn with_what_is_new(mut event: Event, before: &AccountState, after: &AccountState) -> Event {
    if after.status != before.status {
        event = event.detail("status", if after.status == Status::Active { "active" } else { "disabled" });
    }
    if after.role != before.role {
        event = event.detail("role", after.role.as_str()).detail("role_before", before.role.as_str());
    }
    if after.teams != before.teams {
        let teams: serde_json::Map<_, _> =
            after.teams.iter().map(|(team, role)| (team.to_string(), role.as_str().into())).collect();
        event = event.detail("teams", teams);
    }
    if after.audiences != before.audiences {
        event = event.detail("audiences", after.audiences.iter().map(ToString::to_string).collect::<Vec<_>>());
    }
    if after.allowed_networks != before.allowed_networks {
        let networks: Vec<_> = after.allowed_networks.iter().map(ToString::to_string).collect();
        event = event.detail("allowed_networks", networks);
    }
    event
}
