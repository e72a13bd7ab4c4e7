use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::account::{AccountState, StateRecord, Tombstone};
use crate::epoch::Epoch;
use crate::name::{RoleName, TeamName};
use crate::permission::{Grant, Permission, Powers};

/// Which moment a decision was about: acts that rest on it are carried out only while nothing of it has changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AsOf {
    /// The epoch of the account's last change.
    pub record: Epoch,
    /// The epochs of the last changes of the roles that it has.
    pub roles: BTreeMap<RoleName, Epoch>,
}

/// A state record that many hold at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SharedRecord {
    /// Of an account that is there.
    Live(Arc<AccountState>),
    /// Of one that was deleted.
    Deleted(Arc<Tombstone>),
}

impl From<StateRecord> for SharedRecord {
    fn from(record: StateRecord) -> Self {
        match record {
            StateRecord::Live(state) => Self::Live(Arc::new(state)),
            StateRecord::Deleted(gone) => Self::Deleted(Arc::new(gone)),
        }
    }
}

impl SharedRecord {
    /// The state of an account that is there.
    pub fn state(&self) -> Option<&Arc<AccountState>> {
        match self {
            Self::Live(state) => Some(state),
            Self::Deleted(_) => None,
        }
    }
}

/// What a role grants at one moment.
#[derive(Debug)]
pub struct RoleAt {
    name: RoleName,
    version: Epoch,
    grants: Arc<BTreeSet<Grant>>,
    counted: Option<Counted>,
}

impl RoleAt {
    /// The role as it is since this epoch.
    pub fn new(name: RoleName, version: Epoch, grants: Arc<BTreeSet<Grant>>) -> Self {
        Self { name, version, grants, counted: None }
    }

    /// The same, counted among what is held for as long as anybody holds it.
    pub(super) fn counted(self, counted: Counted) -> Self {
        Self { counted: Some(counted), ..self }
    }

    /// What it was counted with.
    pub(super) fn weight(&self) -> u64 {
        self.counted.as_ref().map_or(0, |counted| counted.bytes)
    }

    fn allows(&self, permission: &Permission) -> bool {
        self.grants.iter().any(|grant| grant.allows(permission))
    }
}

impl PartialEq for RoleAt {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, self.version, &self.grants) == (&other.name, other.version, &other.grants)
    }
}

/// So many bytes, in a sum from which they are taken when this is dropped.
#[derive(Debug)]
pub(super) struct Counted {
    bytes: u64,
    sum: Arc<AtomicU64>,
}

impl Counted {
    pub(super) fn new(bytes: u64, sum: &Arc<AtomicU64>) -> Self {
        sum.fetch_add(bytes, Ordering::Relaxed);
        Self { bytes, sum: Arc::clone(sum) }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.sum.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Roles of one moment, by name. Cheap to clone: accounts that have one and the same role share it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Roles(Option<Arc<[Arc<RoleAt>]>>);

impl Roles {
    fn all(&self) -> &[Arc<RoleAt>] {
        self.0.as_deref().unwrap_or_default()
    }

    fn find(&self, name: &RoleName) -> Option<&RoleAt> {
        let all = self.all();
        let at = all.binary_search_by(|role| role.name.cmp(name)).ok()?;
        all.get(at).map(Arc::as_ref)
    }
}

impl FromIterator<Arc<RoleAt>> for Roles {
    fn from_iter<T: IntoIterator<Item = Arc<RoleAt>>>(roles: T) -> Self {
        let mut roles: Vec<_> = roles.into_iter().collect();
        roles.sort_by(|one, other| one.name.cmp(&other.name));
        roles.dedup_by(|one, other| one.name == other.name);
        Self((!roles.is_empty()).then(|| roles.into()))
    }
}

impl<'a> IntoIterator for &'a Roles {
    type Item = &'a Arc<RoleAt>;
    type IntoIter = std::slice::Iter<'a, Arc<RoleAt>>;

    fn into_iter(self) -> Self::IntoIter {
        self.all().iter()
    }
}

/// All that one decision consults, of one moment. Cheap to clone.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Snapshot {
    record: Option<SharedRecord>,
    version: Epoch,
    /// Of those that the record names, the ones that exist; of no others.
    roles: Roles,
    keys_version: u64,
}

impl Snapshot {
    /// The record as it is since this epoch, if there ever was one; the definitions of the roles that it names, as far as they
    /// exist; and the version of the key set.
    pub fn new(
        record: Option<(SharedRecord, Epoch)>,
        roles: impl IntoIterator<Item = Arc<RoleAt>>,
        keys_version: u64,
    ) -> Self {
        let (record, version) = record.unzip();
        let state = record.as_ref().and_then(SharedRecord::state);
        let named = |role: &Arc<RoleAt>| state.is_some_and(|state| state.roles().any(|named| *named == role.name));
        let roles = roles.into_iter().filter(named).collect();
        Self { record, version: version.unwrap_or_default(), roles, keys_version }
    }

    /// The same of what was resolved before.
    pub(super) fn resolved(record: SharedRecord, version: Epoch, roles: Roles) -> Self {
        // Whoever decides under a lease has the keys of the applied epoch.
        Self { record: Some(record), version, roles, keys_version: 0 }
    }

    /// The account's record. `None`: there never was one.
    pub fn record(&self) -> Option<&SharedRecord> {
        self.record.as_ref()
    }

    /// The state of an account that is there.
    pub fn state(&self) -> Option<&Arc<AccountState>> {
        self.record.as_ref()?.state()
    }

    /// The version of the key set at that moment.
    pub fn keys_version(&self) -> u64 {
        self.keys_version
    }

    /// That moment.
    pub fn as_of(&self) -> AsOf {
        as_of(self.version, &self.roles)
    }

    /// What the account may do at that moment.
    pub fn powers(&self) -> Powers {
        self.state().map(|state| powers(state, &self.roles)).unwrap_or_default()
    }

    /// What outlives the decision, of an account that is there.
    pub(super) fn into_living(self) -> Option<(Arc<AccountState>, Epoch, Roles)> {
        match self.record? {
            SharedRecord::Live(state) => Some((state, self.version, self.roles)),
            SharedRecord::Deleted(_) => None,
        }
    }
}

pub(super) fn as_of(record: Epoch, roles: &Roles) -> AsOf {
    AsOf { record, roles: roles.into_iter().map(|role| (role.name.clone(), role.version)).collect() }
}

/// What somebody of this state may do where these are the roles that it names.
pub(super) fn powers(state: &AccountState, roles: &Roles) -> Powers {
    let grants = |role| roles.find(role).map(|role| BTreeSet::clone(&role.grants)).unwrap_or_default();
    Powers {
        default: grants(&state.role),
        teams: state.teams.iter().map(|(team, role)| (team.clone(), grants(role))).collect(),
    }
}

/// The default role as it is. Where there are no teams no other is named.
pub(super) fn default_role<'a>(state: &AccountState, roles: &'a Roles) -> Option<&'a RoleAt> {
    if state.teams.is_empty() { roles.all().first().map(Arc::as_ref) } else { roles.find(&state.role) }
}

/// The same as [`Powers::allow`], without writing down what they are.
pub(super) fn allows(state: &AccountState, roles: &Roles, permission: &Permission, team: Option<&TeamName>) -> bool {
    let in_team = || team.and_then(|team| state.teams.get(team)).and_then(|role| roles.find(role));
    default_role(state, roles).is_some_and(|role| role.allows(permission))
        || in_team().is_some_and(|role| role.allows(permission))
}

/// What the default role grants.
pub(super) fn default_grants<'a>(state: &AccountState, roles: &'a Roles) -> impl Iterator<Item = &'a Grant> {
    default_role(state, roles).into_iter().flat_map(|role| role.grants.iter())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::account::Status;

    const ROLES: [&str; 4] = ["a", "b", "c", "d"];

    fn state(role: usize, teams: &[usize]) -> AccountState {
        let teams = teams.iter().enumerate();
        AccountState {
            username: "ci".parse().unwrap(),
            generation: 1,
            token_id: None,
            status: Status::Active,
            role: ROLES[role].parse().unwrap(),
            teams: teams
                .map(|(nth, role)| (format!("t{nth}").parse().unwrap(), ROLES[*role].parse().unwrap()))
                .collect(),
            audiences: vec![],
            allowed_networks: vec![],
            binding: None,
            previous: None,
            sign_ins: 0,
        }
    }

    proptest! {
        /// What is asked lazily is what the powers, written down, say.
        #[test]
        fn asked_without_writing_them_down_powers_say_the_same(
            role in 0..4_usize,
            teams in prop::collection::vec(0..4_usize, 0..3),
            defined in prop::collection::vec(0..4_usize, 0..6),
            asked in 0..4_usize,
            team in prop::option::of(0..4_usize),
        ) {
            let state = state(role, &teams);
            let define = |nth: &usize| {
                let grants = Arc::new(BTreeSet::from([format!("{}:run", ROLES[*nth]).parse().unwrap()]));
                Arc::new(RoleAt::new(ROLES[*nth].parse().unwrap(), Epoch { term: 1, counter: *nth as u64 }, grants))
            };
            let record = SharedRecord::from(StateRecord::Live(state.clone()));
            let snapshot = Snapshot::new(Some((record, Epoch::default())), defined.iter().map(define), 0);
            let powers = snapshot.powers();
            let permission: Permission = format!("{}:run", ROLES[asked]).parse().unwrap();
            let team = team.map(|nth| format!("t{nth}").parse::<TeamName>().unwrap());
            prop_assert_eq!(
                allows(&state, &snapshot.roles, &permission, team.as_ref()),
                powers.allow(&permission, team.as_ref())
            );
            prop_assert_eq!(
                default_grants(&state, &snapshot.roles).cloned().collect::<BTreeSet<_>>(),
                powers.default
            );
            let named: BTreeMap<_, _> = defined
                .iter()
                .filter(|nth| **nth == role || teams.contains(nth))
                .map(|nth| (ROLES[*nth].parse().unwrap(), Epoch { term: 1, counter: *nth as u64 }))
                .collect();
            prop_assert_eq!(snapshot.as_of().roles, named);
        }
    }

    #[test]
    fn what_is_counted_is_counted_until_nobody_holds_it() {
        let sum = Arc::new(AtomicU64::new(0));
        let role = RoleAt::new("a".parse().unwrap(), Epoch::default(), Arc::default());
        let held = Arc::new(role.counted(Counted::new(100, &sum)));
        let other = Arc::clone(&held);
        drop(held);
        assert_eq!(sum.load(Ordering::Relaxed), 100);
        drop(other);
        assert_eq!(sum.load(Ordering::Relaxed), 0);
    }
}
