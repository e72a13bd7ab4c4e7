//! What of an account, and of a role, may come back into a store that lives on (R2): no more than the backup and all changes since
//! that are known here allow. The feed of the store has them all, as far as it reaches back; the journal here has those of this issuer,
//! also where the store has lost them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::survey::{BackedUp, Survey};
use super::{BackupError, FileError};
use crate::account::{AccountId, AccountState, Audience, StateRecord, Status};
use crate::authority::raise::{MadeUp, made_up};
use crate::name::RoleName;
use crate::permission::{Grant, Role, common_grants};
use crate::store::journal::{AccountAfter, LostAccount};
use crate::store::{Profile, Store, StoredAccount, stored_role};

/// See the module.
pub(super) struct Since {
    accounts: HashMap<AccountId, Vec<LostAccount>>,
    roles: HashMap<RoleName, Vec<BTreeSet<Grant>>>,
    /// Whether all changes since are known, whoever made them.
    pub(super) is_complete: bool,
    own_audience: Audience,
}

/// What roles grant.
pub(super) type Granted = BTreeMap<RoleName, BTreeSet<Grant>>;

/// What becomes of an account that is missing.
pub(super) enum Comeback {
    /// It was deleted, and stays so.
    Deleted,
    /// It comes back.
    Less {
        state: Box<AccountState>,
        profile: Box<Profile>,
        /// What was taken away from it because of what changed since.
        what: Vec<&'static str>,
    },
}

/// A role as it comes back.
pub(super) struct RoleBack {
    pub(super) role: Role,
    /// Whether it grants less than then.
    pub(super) is_less: bool,
}

impl Since {
    pub(super) async fn of(survey: &Survey, store: &Store) -> Result<Self, BackupError> {
        let (dataset, issuer, then) = (&survey.header.dataset, &survey.header.issuer, survey.epoch());
        let own_audience =
            issuer.parse().map_err(|_| BackupError::Refused(format!("the issuer {issuer} can't be an audience")))?;
        let (mut accounts, mut roles) = (HashMap::<_, Vec<_>>::new(), HashMap::<_, Vec<_>>::new());
        let by_feed = store.changed_since(then).await?;
        let is_complete = by_feed.is_some();
        let by_feed = by_feed.unwrap_or_default();
        for (id, last) in by_feed.accounts {
            let after = AccountAfter::of(id, then, last.record, None);
            accounts.entry(id).or_default().push(LostAccount::of(after, last.version));
        }
        let noted = store.noted_since(dataset, then, &survey.rest.meta).await?;
        for lost in noted.accounts {
            accounts.entry(lost.after.id).or_default().push(lost);
        }
        for (name, grants) in by_feed.roles.into_iter().chain(noted.roles) {
            roles.entry(name).or_default().push(grants);
        }
        Ok(Self { accounts, roles, is_complete, own_audience })
    }

    /// What roles grant once those that are missing are put back.
    pub(super) async fn granted(&self, survey: &Survey, store: &Store) -> Result<Granted, BackupError> {
        let there = store.roles().await?.into_iter();
        let mut granted: Granted = there.map(|(name, role)| (name, role.definition.permissions)).collect();
        for (name, definition) in &survey.rest.roles {
            let role = self.role(name, definition)?.role;
            granted.entry(role.name).or_insert(role.permissions);
        }
        Ok(granted)
    }

    /// `None`: in the backup it is no account any more.
    pub(super) fn account(&self, account: &BackedUp, granted: &Granted) -> Option<Comeback> {
        let (StateRecord::Live(state), Some((_, profile))) = (&account.versioned.record, &account.profile) else {
            return None;
        };
        let (state, profile) = shut(state, profile);
        let version = account.versioned.version;
        let (used, dead) = Default::default();
        let mut left = StoredAccount { id: account.id, version, state, profile, used, dead };
        let mut all = Vec::new();
        let grants = granted.iter().collect();
        for lost in self.accounts.get(&account.id).into_iter().flatten() {
            // A token comes back by nothing.
            match made_up(&left, lost, false, &grants, &self.own_audience) {
                MadeUp::Nothing => {}
                MadeUp::Deleted => return Some(Comeback::Deleted),
                MadeUp::Less { state, profile, what } => {
                    (left.state, left.profile) = (*state, *profile);
                    all.extend(what);
                }
            }
        }
        if !self.is_complete && left.state.status == Status::Active {
            left.state.status = Status::Disabled;
            all.push("status_to_be_looked_at");
        }
        Some(Comeback::Less { state: Box::new(left.state), profile: Box::new(left.profile), what: all })
    }

    /// A role, of `EPOCH {definition}`.
    pub(super) fn role(&self, name: &str, definition: &str) -> Result<RoleBack, BackupError> {
        let unreadable = || FileError::Damaged(format!("the role {name} can't be read"));
        let name: RoleName = name.parse().map_err(|_| unreadable())?;
        let mut role = stored_role(&name, definition).map_err(|_| unreadable())?.definition;
        let then = role.permissions.clone();
        for grants in self.roles.get(&name).into_iter().flatten() {
            role.permissions = common_grants(&role.permissions, grants);
        }
        if !self.is_complete {
            // It can't be disabled until somebody has looked at it.
            role.permissions.clear();
        }
        Ok(RoleBack { is_less: role.permissions != then, role })
    }
}

/// The account without what lets anybody in: a token or a password may have been replaced, and by whom nobody has to know.
fn shut(state: &AccountState, profile: &Profile) -> (AccountState, Profile) {
    let state = AccountState { token_id: None, previous: None, sign_ins: state.sign_ins + 1, ..state.clone() };
    let profile = Profile { token: None, previous: None, password: None, link: None, ..profile.clone() };
    (state, profile)
}
