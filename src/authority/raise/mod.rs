//! A store that has become another server may lack changes: what they ended is ended there again (protocols, section 3, R2).
//!
//! Nothing is written back: each step reads what the store has, takes away from it what the lost change took away, and commits that like
//! any other change, under a number of the audit. So it can be done twice, by several issuers at once, and be broken off anywhere.

mod account;
mod keys;

use std::collections::{BTreeMap, BTreeSet};

pub(super) use account::{MadeUp, made_up};

use super::acts::{Acting, Change};
use super::call::By;
use super::receipts::changes_servers;
use super::{Authority, Error};
use crate::account::AccountId;
use crate::audit::{Event, Outcome, kinds};
use crate::name::RoleName;
use crate::permission::{Grant, common_grants, is_built_in};
use crate::store::journal::LostAccount;
use crate::store::{
    AccountChange, Admin, Forgetting, KnownIssuer, Named, NamedChange, NamedKind, StoreError, ToRaise, role_definition,
};

/// How often one step is begun anew because another issuer's came between, and all of them because the server is not what it was.
const TRIES: usize = 16;

/// Why the store was not raised.
pub(super) enum NotRaised {
    /// It has become yet another server, or knows nothing of this issuer any more: what it lacks is found out anew.
    Unmet,
    /// Something that has to be mended first.
    Failed(Error),
}

impl From<Error> for NotRaised {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<StoreError> for NotRaised {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unmet => Self::Unmet,
            other => Self::Failed(other.into()),
        }
    }
}

impl Authority {
    /// Makes up for all that the store lacks of what this issuer has changed.
    pub async fn raise(&self) -> Result<(), Error> {
        let mut tries = 0;
        while let Some(what) = self.store.to_raise() {
            tries += 1;
            match self.raise_server(&what).await {
                Ok(()) => {}
                // What is done is in the journal, and not looked for again; of the rest nothing may say that it is done.
                Err(NotRaised::Unmet) if tries < TRIES => self.store.look_again().await?,
                Err(NotRaised::Unmet) => return Err(changes_servers().into()),
                Err(NotRaised::Failed(error)) => return Err(error),
            }
        }
        Ok(())
    }

    async fn raise_server(&self, what: &ToRaise) -> Result<(), NotRaised> {
        // The script of each change sees where it is; what is found to need none was read on another connection.
        let reads = self.store.reads_lead_to(&what.identity).await?;
        self.raise_all(what).await?;
        if self.store.reads_lead_to(&what.identity).await? != reads {
            return Err(NotRaised::Unmet);
        }
        Ok(self.store.has_raised(what).await?)
    }

    async fn raise_all(&self, what: &ToRaise) -> Result<(), NotRaised> {
        // Accounts are looked at with what roles grant after that.
        for (name, grants) in &what.lost.roles {
            self.raise_role(what, name, grants).await?;
        }
        for lost in &what.lost.accounts {
            self.raise_account(what, lost).await?;
        }
        if what.lost.keys { self.raise_keys(what).await } else { Ok(()) }
    }

    async fn raise_account(&self, what: &ToRaise, lost: &LostAccount) -> Result<(), NotRaised> {
        for _ in 0..TRIES {
            // An account that the store has never had is unknown to everybody.
            let Some(before) = self.store.account(lost.after.id).await? else { return Ok(()) };
            let roles = self.store.roles().await?;
            let follows = lost.follows(before.version, &what.lineage);
            let now = self.clock.now();
            let (after, made_up_for) = match made_up(&before, lost, follows, &grants_of(&roles), &self.own_audience) {
                MadeUp::Nothing => return Ok(()),
                MadeUp::Deleted => (None, vec!["deleted"]),
                MadeUp::Less { state, mut profile, what } => {
                    profile.updated_at = now;
                    (Some((state, profile)), what)
                }
            };
            let after = after.as_ref().map(|(state, profile)| (&**state, &**profile));
            let (state, profile) = after.unwrap_or((&before.state, &before.profile));
            let admin = after.map_or(Admin::No, |(state, profile)| self.admin(state, profile));
            let mut event = self
                .act_event(By::Machine, kinds::RAISE, before.id, state, profile)
                .detail("lost_epoch", lost.epoch().to_string())
                .detail("made_up_for", made_up_for);
            let locks_out = !admin.is_able(now) && self.is_last_admin(before.id).await?;
            if locks_out {
                event = event.detail("last_admin", true);
            }
            let change = AccountChange {
                id: before.id,
                before: Some(&before),
                after,
                admin,
                author: None,
                setup: None,
                reuse: None,
                keys_version: None,
                now,
                event: &event,
                raises: Some(&what.identity),
            };
            if self.made_up_for(Change::Account(&change)).await? {
                if locks_out {
                    tracing::error!(
                        account = %before.state.username,
                        "no active admin with a living token is left: get one with countermark recover"
                    );
                }
                return Ok(());
            }
        }
        Err(Error::Conflict.into())
    }

    async fn is_last_admin(&self, id: AccountId) -> Result<bool, Error> {
        Ok(self.store.able_admins(self.clock.now(), 2).await? == [id])
    }

    async fn raise_role(&self, what: &ToRaise, name: &RoleName, granted: &BTreeSet<Grant>) -> Result<(), NotRaised> {
        for _ in 0..TRIES {
            let Some(before) = self.store.role(name).await?.filter(|_| !is_built_in(name)) else { return Ok(()) };
            let left = common_grants(&before.definition.permissions, granted);
            if left == before.definition.permissions {
                return Ok(());
            }
            let permissions: Vec<String> = left.iter().map(ToString::to_string).collect();
            let event = Event::new(self.clock.now(), kinds::RAISE, Outcome::Done)
                .detail("role", name.as_str())
                .detail("permissions", permissions);
            let mut role = before.definition;
            role.permissions = left;
            let change = NamedChange {
                kind: NamedKind::Role,
                name: name.as_str(),
                before: Some(before.version),
                after: Some(role_definition(&role)),
                author: None,
                event: &event,
                raises: Some(&what.identity),
            };
            if self.made_up_for(Change::Named(&change)).await? {
                return Ok(());
            }
        }
        Err(Error::Conflict.into())
    }

    /// `false`: something else came between, or may have been done already: to be looked at once more.
    async fn made_up_for(&self, change: Change<'_>) -> Result<bool, NotRaised> {
        match self.carry_out(&mut Acting::new(change), false).await {
            Ok(_) => {
                self.metrics.raises.inc();
                self.metrics.acts.inc();
                Ok(true)
            }
            Err(StoreError::Conflict | StoreError::NotFound | StoreError::Uncertain(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Declares an issuer gone for good, by its name or its id: the store waits for it no more, whatever it alone may know.
    pub async fn forget_issuer(&self, name: &str) -> Result<KnownIssuer, Error> {
        let known = self.store.issuers().await?;
        let meant: Vec<KnownIssuer> =
            known.into_iter().filter(|issuer| issuer.name == name || issuer.id == name).collect();
        let [issuer] = meant.as_slice() else {
            return Err(if meant.is_empty() {
                Error::NotFound("issuer")
            } else {
                let ids: Vec<&str> = meant.iter().map(|issuer| issuer.id.as_str()).collect();
                Error::field("name", format!("several issuers have that name; say which by its id: {}", ids.join(", ")))
            });
        };
        let event = Event::new(self.clock.now(), kinds::ISSUER_FORGET, Outcome::Done)
            .detail("issuer", issuer.id.as_str())
            .detail("name", issuer.name.as_str());
        let forgetting = Forgetting { id: &issuer.id, event: &event };
        match self.carry_out(&mut Acting::new(Change::Forget(&forgetting)), false).await {
            Ok(_) => Ok(issuer.clone()),
            Err(StoreError::NotFound) => Err(Error::NotFound("issuer")),
            Err(error) => Err(error.into()),
        }
    }
}

fn grants_of(roles: &BTreeMap<RoleName, Named<crate::permission::Role>>) -> BTreeMap<&RoleName, &BTreeSet<Grant>> {
    roles.iter().map(|(name, role)| (name, &role.definition.permissions)).collect()
}
