//! What is left of an account once the changes that the store lacks have taken away again what they took away.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use crate::account::{AccountState, Audience, StateRecord, Status};
use crate::name::RoleName;
use crate::permission::Grant;
use crate::store::journal::{AccountAfter, LostAccount};
use crate::store::{Profile, StoredAccount};
use crate::token::TokenId;

/// What is to become of an account.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::authority) enum MadeUp {
    /// It has all that was ended.
    Nothing,
    /// It is deleted again.
    Deleted,
    /// It is less than it was.
    Less {
        /// What verifications consult.
        state: Box<AccountState>,
        /// The rest.
        profile: Box<Profile>,
        /// Which parts of it.
        what: Vec<&'static str>,
    },
}

/// What the roles of the store grant.
type Grants<'a> = BTreeMap<&'a RoleName, &'a BTreeSet<Grant>>;

/// `follows`: the store has the account as it was when the first of the lost changes was made, and nobody has changed it since.
pub(in crate::authority) fn made_up(
    stored: &StoredAccount,
    lost: &LostAccount,
    follows: bool,
    grants: &Grants<'_>,
    own_audience: &Audience,
) -> MadeUp {
    let was = match &lost.after.record {
        StateRecord::Deleted(_) => return MadeUp::Deleted,
        StateRecord::Live(was) => was,
    };
    let mut less = Less { state: stored.state.clone(), profile: stored.profile.clone(), what: Vec::new() };
    less.tokens(was, &lost.after, follows);
    less.password(was, &lost.after);
    less.status(was);
    less.teams(was, grants);
    less.role(was, grants);
    less.audiences(was, own_audience);
    less.networks(was);
    less.binding(was);
    let Less { state, profile, what } = less;
    if what.is_empty() {
        MadeUp::Nothing
    } else {
        MadeUp::Less { state: Box::new(state), profile: Box::new(profile), what }
    }
}

struct Less {
    state: AccountState,
    profile: Profile,
    what: Vec<&'static str>,
}

/// Whether a token of this generation was dead after a change.
fn had_ended(was: &AccountState, generation: u64, id: TokenId) -> bool {
    let overlaps = |p: &crate::account::Previous| p.generation == generation && p.token_id == id;
    if was.previous.as_ref().is_some_and(overlaps) {
        return false;
    }
    generation < was.generation || (generation == was.generation && was.token_id.is_none())
}

impl Less {
    /// S1: the generation only rises. A lost token is put in place where it followed upon the one that is there; over any other it
    /// would be one that somebody else may have ended.
    fn tokens(&mut self, was: &AccountState, after: &AccountAfter, follows: bool) {
        let (state, profile) = (&mut self.state, &mut self.profile);
        if state.generation < was.generation {
            state.generation = was.generation;
            if follows {
                (state.token_id, profile.token) = (was.token_id, after.token.clone());
                (state.previous, profile.previous) = (was.previous.clone(), after.previous.clone());
            } else {
                (state.token_id, profile.token) = (None, None);
                (state.previous, profile.previous) = (None, None);
            }
            self.what.push("generation");
            return;
        }
        if state.token_id.is_some_and(|id| had_ended(was, state.generation, id)) {
            (state.token_id, profile.token) = (None, None);
            self.what.push("token");
        }
        let Some(previous) = state.previous.as_mut() else { return };
        let overlap = was.previous.as_ref().filter(|other| other.token_id == previous.token_id);
        if had_ended(was, previous.generation, previous.token_id) {
            (state.previous, profile.previous) = (None, None);
            self.what.push("overlap");
        } else if let Some(ends_at) = overlap.map(|other| other.ends_at).filter(|at| *at < previous.ends_at) {
            previous.ends_at = ends_at;
            self.what.push("overlap");
        }
    }

    /// Sessions of another count have ended. A password that was replaced is good no more, and neither is the way to set it.
    fn password(&mut self, was: &AccountState, after: &AccountAfter) {
        let (state, profile) = (&mut self.state, &mut self.profile);
        // By the count, and by no clock: of a higher one the store knows something that is later.
        let is_earlier = state.sign_ins <= was.sign_ins;
        let replaced = |at: i64, by: Option<i64>| is_earlier && by != Some(at);
        if state.sign_ins < was.sign_ins {
            state.sign_ins = was.sign_ins;
            self.what.push("sign_ins");
        }
        let set_at = profile.password.as_ref().map(|password| password.set_at.timestamp_millis());
        if set_at.is_some_and(|at| replaced(at, after.password_set_at)) {
            profile.password = None;
            // Also where the count has risen on another way: who signed in with this one has to do it anew.
            state.sign_ins = state.sign_ins.max(was.sign_ins.saturating_add(1));
            self.what.push("password");
        }
        let good_until = profile.link.as_ref().map(|link| link.expires_at.timestamp_millis());
        if good_until.is_some_and(|at| replaced(at, after.link_expires_at)) {
            profile.link = None;
            self.what.push("link");
        }
    }

    fn status(&mut self, was: &AccountState) {
        if was.status == Status::Disabled {
            self.disable("status");
        }
    }

    /// An admin has to look at it.
    fn disable(&mut self, why: &'static str) {
        if self.state.status != Status::Disabled {
            self.state.status = Status::Disabled;
            self.profile.link = None;
            self.what.push(why);
        }
    }

    fn teams(&mut self, was: &AccountState, grants: &Grants<'_>) {
        let mut left = BTreeMap::new();
        for (team, role) in &self.state.teams {
            let role = was.teams.get(team).filter(|other| *other == role || is_within(other, role, grants));
            left.extend(role.map(|role| (team.clone(), role.clone())));
        }
        if left != self.state.teams {
            self.state.teams = left;
            self.what.push("teams");
        }
    }

    fn role(&mut self, was: &AccountState, grants: &Grants<'_>) {
        if was.role == self.state.role {
            return;
        }
        if is_within(&was.role, &self.state.role, grants) {
            self.state.role = was.role.clone();
            self.what.push("role");
        } else {
            // Which of the two was meant to be less can't be told.
            self.disable("role_to_be_looked_at");
        }
    }

    /// None stands for the default one.
    fn audiences(&mut self, was: &AccountState, own: &Audience) {
        let named = |audiences: &[Audience]| -> Vec<Audience> {
            if audiences.is_empty() { vec![own.clone()] } else { audiences.to_vec() }
        };
        let (now, then) = (named(&self.state.audiences), named(&was.audiences));
        let left: Vec<Audience> = now.iter().filter(|audience| then.contains(audience)).cloned().collect();
        if left.len() == now.len() {
            return;
        }
        if left.is_empty() {
            return self.disable("audiences_to_be_looked_at");
        }
        self.state.audiences = left;
        self.what.push("audiences");
    }

    /// None stands for everywhere.
    fn networks(&mut self, was: &AccountState) {
        let (now, then) = (&self.state.allowed_networks, &was.allowed_networks);
        if then.is_empty()
            || now.iter().all(|network| then.iter().any(|other| other.contains(network))) && !now.is_empty()
        {
            return;
        }
        if now.is_empty() {
            self.state.allowed_networks.clone_from(then);
        } else {
            let left = common_networks(now, then);
            if left.is_empty() {
                return self.disable("networks_to_be_looked_at");
            }
            self.state.allowed_networks = left;
        }
        self.what.push("allowed_networks");
    }

    fn binding(&mut self, was: &AccountState) {
        match (&self.state.binding, &was.binding) {
            (_, None) => {}
            (None, Some(binding)) => {
                self.state.binding = Some(binding.clone());
                self.what.push("binding");
            }
            (Some(now), Some(then)) if now == then => {}
            (Some(_), Some(_)) => self.disable("binding_to_be_looked_at"),
        }
    }
}

/// Whether one role grants nothing that the other does not. Of what is not there nothing is known.
fn is_within(inner: &RoleName, outer: &RoleName, grants: &Grants<'_>) -> bool {
    let (Some(inner), Some(outer)) = (grants.get(inner), grants.get(outer)) else { return false };
    inner.iter().all(|grant| outer.iter().any(|held| held.includes(grant)))
}

/// What lies in both: of two networks, one contains the other, or they have nothing in common.
fn common_networks(a: &[IpNet], b: &[IpNet]) -> Vec<IpNet> {
    let within = |a: &[IpNet], b: &[IpNet]| -> BTreeSet<IpNet> {
        a.iter().filter(|network| b.iter().any(|other| other.contains(*network))).copied().collect()
    };
    within(a, b).union(&within(b, a)).copied().collect()
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::account::{AccountId, Kind, Previous, Tombstone};
    use crate::store::{IssuedToken, StoredLink, StoredPassword};

    fn token(name: &str) -> TokenId {
        TokenId::of_jti(name)
    }

    fn issued(key_id: &str) -> IssuedToken {
        IssuedToken {
            key_id: key_id.to_owned(),
            issued_at: DateTime::UNIX_EPOCH,
            expires_at: DateTime::UNIX_EPOCH,
            for_own_api: false,
        }
    }

    /// The second generation, of which the store knows.
    fn stored() -> StoredAccount {
        let state = AccountState {
            username: "ci".parse().unwrap(),
            generation: 2,
            token_id: Some(token("second")),
            status: Status::Active,
            role: "wide".parse().unwrap(),
            teams: BTreeMap::new(),
            audiences: Vec::new(),
            allowed_networks: Vec::new(),
            binding: None,
            previous: None,
            sign_ins: 1,
        };
        let profile = Profile {
            kind: Kind::Service,
            description: Default::default(),
            created_at: DateTime::UNIX_EPOCH,
            updated_at: DateTime::UNIX_EPOCH,
            token: Some(issued("k")),
            previous: None,
            networks_proven: false,
            password: None,
            link: None,
        };
        let (used, dead) = Default::default();
        StoredAccount { id: AccountId::nobody(), version: "5-1".parse().unwrap(), state, profile, used, dead }
    }

    /// What becomes of the account where this was lost.
    fn raised(stored: &StoredAccount, follows: bool, change: impl FnOnce(&mut AccountState, &mut Profile)) -> MadeUp {
        let (mut state, mut profile) = (stored.state.clone(), stored.profile.clone());
        change(&mut state, &mut profile);
        after(stored, follows, StateRecord::Live(state), Some(&profile))
    }

    fn after(stored: &StoredAccount, follows: bool, record: StateRecord, profile: Option<&Profile>) -> MadeUp {
        let after = AccountAfter::of(stored.id, stored.version, record, profile);
        let lost = LostAccount::of(after, "5-9".parse().unwrap());
        let names = ["wide", "narrow", "other"].map(|name| name.parse::<RoleName>().unwrap());
        let grants = [&["a:*", "b:c"][..], &["a:b"], &["z:z"]]
            .map(|grants| grants.iter().map(|grant| grant.parse().unwrap()).collect::<BTreeSet<Grant>>());
        let grants: Grants<'_> = names.iter().zip(&grants).collect();
        made_up(stored, &lost, follows, &grants, &"https://own".parse().unwrap())
    }

    #[track_caller]
    fn less(made_up: MadeUp) -> (AccountState, Profile, Vec<&'static str>) {
        match made_up {
            MadeUp::Less { state, profile, what } => (*state, *profile, what),
            other => panic!("{other:?}"),
        }
    }

    fn third(state: &mut AccountState, profile: &mut Profile) {
        (state.generation, state.token_id, profile.token) = (3, Some(token("third")), Some(issued("k2")));
    }

    #[test]
    fn r2_a_lost_token_is_put_in_place_over_the_one_that_it_replaced_and_over_no_other() {
        let (state, profile, what) = less(raised(&stored(), true, third));
        assert_eq!((state.generation, state.token_id, what), (3, Some(token("third")), vec!["generation"]));
        assert_eq!(profile.token.unwrap().key_id, "k2");
        let (state, profile, _) = less(raised(&stored(), false, third));
        assert_eq!((state.generation, state.token_id, profile.token), (3, None, None));
    }

    #[test]
    fn r2_a_lost_revocation_revokes_that_generation_and_no_later_one() {
        let revoke = |state: &mut AccountState, _: &mut Profile| state.token_id = None;
        let (state, profile, what) = less(raised(&stored(), true, revoke));
        assert_eq!((state.token_id, profile.token, what), (None, None, vec!["token"]));
        let mut later = stored();
        later.state.generation = 3;
        let earlier = |state: &mut AccountState, _: &mut Profile| (state.generation, state.token_id) = (2, None);
        assert_eq!(raised(&later, false, earlier), MadeUp::Nothing);
        // As an overlap the revoked one may be good still.
        later.state.previous = Some(Previous { generation: 2, token_id: token("second"), ends_at: 100 });
        later.profile.previous = Some(issued("k"));
        let revoked = |state: &mut AccountState, _: &mut Profile| {
            (state.generation, state.token_id, state.previous) = (2, None, None);
        };
        let (state, profile, what) = less(raised(&later, false, revoked));
        assert_eq!((state.previous, profile.previous, what), (None, None, vec!["overlap"]));
        assert_eq!(state.token_id, Some(token("second")), "the present one");
    }

    #[test]
    fn r2_an_overlap_that_was_ended_or_shortened_is_so_again() {
        let mut overlapping = stored();
        overlapping.state.previous = Some(Previous { generation: 1, token_id: token("first"), ends_at: 100 });
        overlapping.profile.previous = Some(issued("k"));
        let (state, _, what) = less(raised(&overlapping, true, |state, _| state.previous = None));
        assert_eq!((state.previous, what), (None, vec!["overlap"]));
        let shorten = |state: &mut AccountState, _: &mut Profile| state.previous.as_mut().unwrap().ends_at = 50;
        assert_eq!(less(raised(&overlapping, true, shorten)).0.previous.unwrap().ends_at, 50);
        let lengthen = |state: &mut AccountState, _: &mut Profile| state.previous.as_mut().unwrap().ends_at = 500;
        assert_eq!(raised(&overlapping, true, lengthen), MadeUp::Nothing);
    }

    #[test]
    fn r2_what_gave_more_is_not_done_again() {
        let mut disabled = stored();
        disabled.state.status = Status::Disabled;
        assert_eq!(raised(&disabled, true, |state, _| state.status = Status::Active), MadeUp::Nothing);
        let mut narrow = stored();
        narrow.state.allowed_networks = vec!["10.0.0.0/8".parse().unwrap()];
        assert_eq!(raised(&narrow, true, |state, _| state.allowed_networks.clear()), MadeUp::Nothing);
        narrow.state.audiences = vec!["one".parse().unwrap()];
        let widen = |state: &mut AccountState, _: &mut Profile| state.audiences.push("two".parse().unwrap());
        assert_eq!(raised(&narrow, true, widen), MadeUp::Nothing);
        let join = |state: &mut AccountState, _: &mut Profile| {
            state.teams.insert("t".parse().unwrap(), "wide".parse().unwrap());
        };
        assert_eq!(raised(&stored(), true, join), MadeUp::Nothing);
        assert_eq!(raised(&stored(), true, |_, _| ()), MadeUp::Nothing);
    }

    #[test]
    fn r2_a_lost_disable_disables_and_a_lost_delete_deletes() {
        let (state, _, what) = less(raised(&stored(), true, |state, _| state.status = Status::Disabled));
        assert_eq!((state.status, what), (Status::Disabled, vec!["status"]));
        let gone = Tombstone { username: "ci".parse().unwrap(), generation: 2, deleted_at: 1 };
        assert_eq!(after(&stored(), true, StateRecord::Deleted(gone), None), MadeUp::Deleted);
    }

    #[test]
    fn r2_a_lost_change_of_roles_counts_where_it_grants_less_and_else_an_admin_has_to_look() {
        let role = |name: &str| name.parse::<RoleName>().unwrap();
        let (state, _, what) = less(raised(&stored(), true, |state, _| state.role = role("narrow")));
        assert_eq!((state.role, state.status, what), (role("narrow"), Status::Active, vec!["role"]));
        for unfit in ["other", "unknown"] {
            let (state, _, what) = less(raised(&stored(), true, |state, _| state.role = role(unfit)));
            assert_eq!((state.role, state.status), (role("wide"), Status::Disabled), "{unfit}");
            assert_eq!(what, ["role_to_be_looked_at"]);
        }
        let team = |name: &str| (name.parse::<crate::name::TeamName>().unwrap(), role("wide"));
        let mut member = stored();
        member.state.teams = ["left", "narrowed", "widened", "same"].map(team).into();
        let change = |state: &mut AccountState, _: &mut Profile| {
            state.teams.remove("left".parse::<crate::name::TeamName>().as_ref().unwrap());
            state.teams.insert("narrowed".parse().unwrap(), role("narrow"));
            state.teams.insert("widened".parse().unwrap(), role("other"));
        };
        let (state, _, what) = less(raised(&member, true, change));
        let left = [("narrowed", "narrow"), ("same", "wide")];
        assert_eq!(state.teams, left.map(|(team, of)| (team.parse().unwrap(), role(of))).into());
        assert_eq!(what, ["teams"]);
    }

    #[test]
    fn r2_audiences_and_networks_are_what_both_allow() {
        let networks = |list: &[&str]| list.iter().map(|network| network.parse().unwrap()).collect::<Vec<IpNet>>();
        for (now, then, left) in [
            (&[][..], &["10.0.0.0/8"][..], Some(&["10.0.0.0/8"][..])),
            (&["10.0.0.0/8"], &["10.1.0.0/16", "192.168.0.0/16"], Some(&["10.1.0.0/16"])),
            (&["10.1.0.0/16", "fd00::/8"], &["10.0.0.0/8"], Some(&["10.1.0.0/16"])),
            (&["10.1.0.0/16"], &["10.0.0.0/8"], None),
        ] {
            let mut account = stored();
            account.state.allowed_networks = networks(now);
            let made_up = raised(&account, true, |state, _| state.allowed_networks = networks(then));
            match left {
                Some(left) => assert_eq!(less(made_up).0.allowed_networks, networks(left), "{now:?} {then:?}"),
                None => assert_eq!(made_up, MadeUp::Nothing, "{now:?} {then:?}"),
            }
        }
        // Nothing in common stands for nowhere, which no list says.
        let mut account = stored();
        account.state.allowed_networks = networks(&["10.0.0.0/8"]);
        let elsewhere = raised(&account, true, |state, _| state.allowed_networks = networks(&["192.168.0.0/16"]));
        assert_eq!(less(elsewhere).0.status, Status::Disabled);
        account = stored();
        let named = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect::<Vec<Audience>>();
        account.state.audiences = named(&["one", "https://own", "two"]);
        assert_eq!(
            less(raised(&account, true, |state, _| state.audiences = named(&["two"]))).0.audiences,
            named(&["two"])
        );
        let default = less(raised(&account, true, |state, _| state.audiences.clear())).0;
        assert_eq!(default.audiences, named(&["https://own"]), "none stands for the default one");
        assert_eq!(less(raised(&account, true, |state, _| state.audiences = named(&["x"]))).0.status, Status::Disabled);
    }

    #[test]
    fn r2_a_replaced_password_and_a_used_link_are_good_no_more() {
        let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
        let password = |seconds| Some(StoredPassword { hash: "argon".to_owned(), set_at: at(seconds) });
        let link = |seconds| {
            let id = crate::session::Secret::random().unwrap().id();
            Some(StoredLink { id, expires_at: at(seconds), powers: String::new() })
        };
        let mut person = stored();
        (person.profile.password, person.profile.link) = (password(10), link(20));
        let change = |state: &mut AccountState, profile: &mut Profile| {
            (state.sign_ins, profile.password, profile.link) = (2, password(11), None);
        };
        let (state, profile, what) = less(raised(&person, true, change));
        assert_eq!((state.sign_ins, profile.password, profile.link), (3, None, None));
        assert_eq!(what, ["sign_ins", "password", "link"]);
        // Signed out, with the same password.
        let (state, profile, _) = less(raised(&person, true, |state, _| state.sign_ins = 2));
        assert_eq!((state.sign_ins, profile.password, profile.link.is_some()), (2, password(10), true));
    }
}
