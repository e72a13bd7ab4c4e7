//! Changes of accounts, each with all that goes with it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::json;

use super::account_record::{Profile, StoredAccount};
use super::journal::{self, AccountAfter};
use super::schema::hard_bound;
use super::{Committed, Store, StoreError, refused};
use crate::account::{AccountId, AccountState, StateRecord, Tombstone, Versioned};
use crate::audit::block::hash;
use crate::audit::{Event, Numbered};
use crate::session::SessionId;
use crate::verify::freshness::Identity;
use crate::verify::{Actor, AsOf};

/// Whoever changes something, as he was when he was let in.
#[derive(Debug, Clone)]
pub struct Author {
    /// His account.
    pub id: AccountId,
    /// The moment that his rights are about.
    pub as_of: AsOf,
    /// The key that signed his token, if he has shown one.
    pub key_id: Option<String>,
    /// The session in which he acts, if he has signed in.
    pub session: Option<SessionId>,
}

impl Author {
    /// Who was let in so.
    pub fn of(actor: &Actor) -> Self {
        Self {
            id: actor.account(),
            as_of: actor.as_of(),
            key_id: actor.key_id().map(str::to_owned),
            session: actor.session().map(|session| session.id),
        }
    }

    pub(super) fn plan(&self) -> serde_json::Value {
        json!({"record": self.as_of.record, "roles": self.as_of.roles, "key": self.key_id.as_deref().unwrap_or_default()})
    }
}

/// Whether an account is one of those of whom the last must stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admin {
    /// It can't administer.
    No,
    /// It could, with a token; its token lives until then, if it has one.
    Able(Option<DateTime<Utc>>),
}

impl Admin {
    /// Whether it can administer now.
    pub fn is_able(self, now: DateTime<Utc>) -> bool {
        matches!(self, Self::Able(Some(until)) if until > now)
    }
}

/// One change of one account.
#[derive(Debug)]
pub struct AccountChange<'a> {
    /// The account.
    pub id: AccountId,
    /// As it was read. `None`: it is new.
    pub before: Option<&'a StoredAccount>,
    /// As it shall be. `None`: deleted.
    pub after: Option<(&'a AccountState, &'a Profile)>,
    /// Whether it is an active admin after the change, and until when its token lives.
    pub admin: Admin,
    /// Who does it. `None`: Countermark itself.
    pub author: Option<Author>,
    /// What becomes of the setup link with it.
    pub setup: Option<Setup<'a>>,
    /// The id of the tombstone whose name it takes over.
    pub reuse: Option<AccountId>,
    /// The version of the key set that signed its new token.
    pub keys_version: Option<u64>,
    /// Now.
    pub now: DateTime<Utc>,
    /// The act, without a number.
    pub event: &'a Event,
    /// The server which it raises by what that lacks (R2). `None`: it is a change like any other.
    pub raises: Option<&'a Identity>,
}

impl AccountChange<'_> {
    /// Whether nobody can do more after it: then it may go on where there is hardly room.
    fn only_takes_away(&self) -> bool {
        match (self.before, self.after) {
            (Some(_), None) => true,
            (Some(before), Some((state, profile))) => {
                let was = &before.profile;
                state.only_takes_away_from(&before.state)
                    && profile.description == was.description
                    && (profile.password.is_none() || profile.password == was.password)
                    && (profile.link.is_none() || profile.link == was.link)
            }
            (None, _) => false,
        }
    }
}

/// What becomes of the setup link: `NAME-OF-ITS-SECRET UNTIL`.
#[derive(Debug, Clone, Copy)]
pub enum Setup<'a> {
    /// It is offered.
    Offer(&'a str),
    /// It is used, if it is still the one that is offered.
    Take(&'a str),
}

impl Store {
    /// Carries out one change of one account, together with its event (A1).
    ///
    /// `act` is its event with a number. `again`: it may have been carried out before; then it is not done twice.
    pub async fn change_account(
        &self,
        change: &AccountChange<'_>,
        act: &Numbered,
        again: bool,
    ) -> Result<Committed, StoreError> {
        let no_longer = change.before.map(|before| &before.state);
        let username = change.after.map(|(state, _)| &state.username).or(no_longer.map(|state| &state.username));
        let username = username.ok_or(StoreError::NotFound)?;
        let record = match change.after {
            Some((state, _)) => StateRecord::Live(state.clone()),
            None => StateRecord::Deleted(Tombstone {
                username: username.clone(),
                generation: no_longer.map_or(0, |state| state.generation),
                deleted_at: change.now.timestamp(),
            }),
        };
        let indexed = self.indexed(change.id, change.before, change.after, change.admin);
        let added = |counts: &BTreeMap<&str, i64>| -> Vec<String> {
            counts.iter().filter(|(_, by)| **by > 0).map(|(name, _)| (*name).to_owned()).collect()
        };

        let event = act.to_line();
        let only_less = change.raises.is_some() || change.only_takes_away();
        let mut plan = json!({
            "dataset": self.dataset_id().await?,
            "issuer": self.issuer_id(),
            "raises": change.raises.map_or(serde_json::Value::Bool(false), |identity| identity.server().into()),
            "keys_version": change.keys_version.map_or(serde_json::Value::Bool(false), serde_json::Value::from),
            "expect": change.before.map(|before| before.version.to_string()).unwrap_or_default(),
            "reuse": change.reuse.map(|id| id.to_string()).unwrap_or_default(),
            "now": change.now.timestamp(),
            "setup_offer": if let Some(Setup::Offer(offer)) = change.setup { offer } else { "" },
            "setup_take": if let Some(Setup::Take(offer)) = change.setup { offer } else { "" },
            "author": change.author.as_ref().map_or(serde_json::Value::Bool(false), Author::plan),
            "need_roles": added(&indexed.roles),
            "need_teams": added(&indexed.teams),
            "node": act.node,
            "claim": act.claim,
            "sequence": act.sequence,
            "hash": hash(&event),
            "takes_away": only_less,
        });
        indexed.tell(&mut plan, change.id, username);
        let profile = match change.after {
            Some((_, profile)) => encode(profile)?,
            None => String::new(),
        };
        let schema = &self.schema;
        let script = if only_less { &self.scripts.account_less } else { &self.scripts.account };
        let mut script = script.prepare_invoke();
        script
            .key(schema.meta())
            .key(schema.feed())
            .key(schema.acts())
            .key(schema.act_heads())
            .key(schema.names())
            .key(schema.list())
            .key(schema.roles())
            .key(schema.teams())
            .key(schema.role_refs())
            .key(schema.team_refs())
            .key(schema.admins())
            .key(schema.overlaps())
            .key(schema.state(change.id))
            .key(schema.profile(change.id))
            .key(schema.acts_of(change.id))
            .key(schema.acts_of(change.event.actor_id.unwrap_or(change.id)))
            .key(schema.keyring())
            .key(schema.state(change.author.as_ref().map_or(change.id, |author| author.id)))
            .key(schema.leases())
            .key(schema.unlinked())
            .key(schema.users())
            .key(schema.setup())
            .key(schema.catalogue())
            .key(self.session_of(change.author.as_ref()))
            .key(schema.issuers());
        for key in &indexed.keys {
            script.key(key);
        }
        script
            .arg(plan.to_string())
            .arg(encode(&record)?)
            .arg(profile)
            .arg(event)
            .arg(hard_bound(self.options.retention.firehose))
            .arg(self.options.retention.activity);
        let profile = change.after.map(|(_, profile)| profile);
        // What is new ends nothing.
        let note = change.before.map(|before| AccountAfter::of(change.id, before.version, record, profile));
        let note = note.map(|after| journal::Change::Account(Box::new(after)));
        let changed = match (change.raises, &note) {
            (Some(_), Some(note)) => self.raise(script, note).await?,
            _ if only_less => self.restrict(script, note.as_ref(), again).await?,
            _ => self.change(script, note.as_ref(), again).await?,
        };
        changed.map_err(|reply| refused(&reply))
    }

    /// The last change of an account, also of one that was deleted, as if it had just been made: noted, with the replicas that have
    /// it and the nodes that may not. For whoever finds done what he wanted, and answers for it: whoever made it was perhaps not
    /// answered, as it was noted nowhere. `Conflict`: it was changed while it was looked at.
    pub async fn last_change(&self, id: AccountId) -> Result<Committed, StoreError> {
        let (state, profile) = (self.schema.state(id), self.schema.profile(id));
        let mut read = redis::cmd("MGET");
        read.arg(&state).arg(&profile);
        let (text, profile_text): (Option<String>, Option<String>) = self.query(&self.shared, read).await?;
        let text = text.ok_or(StoreError::NotFound)?;
        let found = Versioned::parse(&text).map_err(|_| StoreError::Corrupt(format!("the state of account {id}")))?;
        let known: Option<Profile> = profile_text
            .as_deref()
            .map(|text| {
                serde_json::from_str(text).map_err(|_| StoreError::Corrupt(format!("the profile of account {id}")))
            })
            .transpose()?;
        // Upon which version it was done is not known any more: a token in it is put in place over none.
        let note = AccountAfter::of(id, found.version, found.record, known.as_ref());
        let note = journal::Change::Account(Box::new(note));
        let mut script = self.scripts.holds.prepare_invoke();
        script
            .key(self.schema.meta())
            .key(state)
            .key(profile)
            .key(self.schema.leases())
            .key(self.schema.issuers())
            .arg(
                json!({ "dataset": self.dataset_id().await?, "issuer": self.issuer_id(), "raises": false }).to_string(),
            )
            .arg(text)
            .arg(profile_text.unwrap_or_default());
        let told = self.restrict(script, Some(&note), false).await.map_err(|error| match error {
            // Nothing was to be changed by it.
            StoreError::Uncertain(why) => StoreError::Unavailable(why),
            other => other,
        });
        told?.map_err(|reply| refused(&reply))
    }
}

pub(super) fn encode(value: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|_| StoreError::Corrupt("a record has no JSON form".into()))
}

#[cfg(test)]
mod tests {
    use super::super::account_record::{StoredLink, StoredPassword};
    use super::*;
    use crate::account::{Kind, Status};
    use crate::audit::{Outcome, kinds};
    use crate::name::Description;

    fn person() -> StoredAccount {
        let state = AccountState {
            username: "ada".parse().unwrap(),
            generation: 0,
            token_id: None,
            status: Status::Active,
            role: "auditor".parse().unwrap(),
            teams: BTreeMap::new(),
            audiences: Vec::new(),
            allowed_networks: Vec::new(),
            binding: None,
            previous: None,
            sign_ins: 1,
        };
        let profile = Profile {
            kind: Kind::User,
            description: Description::default(),
            created_at: DateTime::UNIX_EPOCH,
            updated_at: DateTime::UNIX_EPOCH,
            token: None,
            previous: None,
            networks_proven: false,
            password: Some(StoredPassword { hash: "one".to_owned(), set_at: DateTime::UNIX_EPOCH }),
            link: None,
        };
        let version = "1-1".parse().unwrap();
        StoredAccount {
            id: AccountId::nobody(),
            version,
            state,
            profile,
            used: Default::default(),
            dead: Default::default(),
        }
    }

    /// Room that is kept for revoking is no room for passwords and links.
    #[test]
    fn only_what_lets_nobody_do_more_takes_away() {
        let before = person();
        let event = Event::new(DateTime::UNIX_EPOCH, kinds::ACCOUNT_UPDATE, Outcome::Done);
        let takes_away = |change: fn(&mut AccountState, &mut Profile)| {
            let (mut state, mut profile) = (before.state.clone(), before.profile.clone());
            change(&mut state, &mut profile);
            AccountChange {
                id: before.id,
                before: Some(&before),
                after: Some((&state, &profile)),
                admin: Admin::No,
                author: None,
                setup: None,
                reuse: None,
                keys_version: None,
                now: DateTime::UNIX_EPOCH,
                event: &event,
                raises: None,
            }
            .only_takes_away()
        };
        assert!(takes_away(|state, profile| {
            (state.status, state.sign_ins) = (Status::Disabled, 2);
            (profile.password, profile.link) = (None, None);
        }));
        assert!(!takes_away(|state, profile| {
            state.sign_ins = 2;
            profile.password = Some(StoredPassword { hash: "two".to_owned(), set_at: DateTime::UNIX_EPOCH });
        }));
        assert!(!takes_away(|state, profile| {
            (state.sign_ins, profile.password) = (2, None);
            let expires_at = DateTime::UNIX_EPOCH;
            let id = crate::session::Secret::random().unwrap().id();
            profile.link = Some(StoredLink { id, expires_at, powers: String::new() });
        }));
        assert!(!takes_away(|_, profile| profile.description = "more".parse().unwrap()));
    }
}
