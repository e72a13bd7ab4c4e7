//! What is put back into an empty store, before it is a dataset again.

use std::collections::BTreeMap;

use serde_json::json;

use super::super::accounts::Admin;
use super::super::place::LEASE_CEILING;
use super::super::{Profile, Store, StoreError};
use crate::account::{AccountId, StateRecord, Versioned};
use crate::epoch::Epoch;

/// Fields that are written at once.
const CHUNK: usize = 100;

/// What lies in a store that something may be put back into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// No dataset.
    Empty,
    /// A backup was being put back into it, and that did not come to its end.
    Restoring(String),
    /// A dataset.
    Dataset {
        /// Its id.
        id: String,
        /// Its issuer.
        issuer: String,
        /// Its epoch.
        epoch: Epoch,
        /// Of terms that are over, the counter at which they ended.
        ended: BTreeMap<u64, u64>,
    },
}

impl Standing {
    /// Whether this epoch is part of the dataset's history.
    pub fn knows(&self, past: Epoch) -> bool {
        match self {
            Self::Dataset { epoch, ended, .. } => {
                let end = if epoch.term == past.term { Some(&epoch.counter) } else { ended.get(&past.term) };
                end.is_some_and(|end| past.counter <= *end)
            }
            Self::Empty | Self::Restoring(_) => false,
        }
    }
}

/// Whether a backup may be put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// It is begun, or goes on, on this server.
    Begun(String),
    /// There is a dataset.
    Dataset(String),
    /// Another backup was begun to be put back.
    Restoring(String),
    /// There is no dataset, and yet this key.
    Leftover(String),
}

/// What makes a dataset of a store into which all else was put back.
#[derive(Debug, Clone)]
pub struct AtLast {
    /// What the dataset is.
    pub meta: BTreeMap<String, String>,
    /// Issuers begin a new term above this one when they meet it.
    pub term: u64,
    /// What the first of them is to tell in the audit.
    pub told: String,
}

/// An account to be put back.
#[derive(Debug, Clone)]
pub struct RestoredAccount<'a> {
    /// Its id.
    pub id: AccountId,
    /// Its state, as it lies in the store, and read.
    pub state: (&'a str, &'a Versioned),
    /// Its profile, in the same way. `None`: it was deleted.
    pub profile: Option<(&'a str, &'a Profile)>,
    /// Whether it is an active admin.
    pub admin: Admin,
}

/// Hashes of texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Texts {
    /// Definitions of roles.
    Roles,
    /// Definitions of teams.
    Teams,
    /// How many accounts name each role.
    RoleReferences,
    /// How many accounts name each team.
    TeamReferences,
    /// The sealed signing keys.
    Keyring,
    /// The issuers that the dataset knows.
    Issuers,
    /// The sinks of the audit.
    Sinks,
    /// The last act of each node.
    ActHeads,
    /// Acts that no block links.
    Unlinked,
}

impl Store {
    /// What lies in the store.
    pub async fn what_is_there(&self) -> Result<Standing, StoreError> {
        let mut command = redis::cmd("HGETALL");
        command.arg(self.schema.meta());
        let meta: BTreeMap<String, String> = self.query(&self.reads, command).await?;
        if let Some(backup) = meta.get("restoring") {
            return Ok(Standing::Restoring(backup.clone()));
        }
        let Some(id) = meta.get("dataset") else { return Ok(Standing::Empty) };
        let number = |name: &str| meta.get(name).and_then(|number| number.parse().ok());
        let epoch = number("term").zip(number("counter")).map(|(term, counter)| Epoch { term, counter });
        let ended = meta
            .iter()
            .filter_map(|(name, counter)| Some((name.strip_prefix("ended:")?.parse().ok()?, counter.parse().ok()?)));
        Ok(Standing::Dataset {
            id: id.clone(),
            issuer: meta.get("issuer").cloned().unwrap_or_default(),
            epoch: epoch.ok_or_else(|| StoreError::Corrupt("the epoch".into()))?,
            ended: ended.collect(),
        })
    }

    /// Begins to put a backup back into an empty store, or goes on.
    pub async fn begin_restore(&self, backup: &str) -> Result<Begun, StoreError> {
        self.has_room()?;
        if self.what_is_there().await? == Standing::Empty
            && let Some(key) = self.left_of_shards().await?
        {
            return Ok(Begun::Leftover(key));
        }
        let schema = &self.schema;
        let mut script = self.scripts.restore_begin.prepare_invoke();
        script.key(schema.meta());
        for key in [schema.names(), schema.list(), schema.keyring(), schema.roles(), schema.feed(), schema.acts()] {
            script.key(key);
        }
        script.arg(backup);
        let reply: Vec<String> = self.run_change(&self.shared, &script).await?;
        match reply.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["ok", server] => Ok(Begun::Begun((*server).to_owned())),
            ["dataset", id] => Ok(Begun::Dataset((*id).to_owned())),
            ["restoring", other] => Ok(Begun::Restoring((*other).to_owned())),
            ["leftover", key] => Ok(Begun::Leftover((*key).to_owned())),
            _ => Err(StoreError::Corrupt("a script's reply".into())),
        }
    }

    /// Puts one account back, if it is not there. `false`: it is.
    pub async fn restore_account(&self, backup: &str, account: &RestoredAccount<'_>) -> Result<bool, StoreError> {
        self.has_room()?;
        let (text, versioned) = account.state;
        let (username, after) = match (&versioned.record, account.profile) {
            (StateRecord::Live(state), Some((_, profile))) => (&state.username, Some((state, profile))),
            (StateRecord::Deleted(tombstone), None) => (&tombstone.username, None),
            _ => return Err(StoreError::Corrupt(format!("the account {} of the backup", account.id))),
        };
        let indexed = self.indexed(account.id, None, after, account.admin);
        let mut plan = json!({"expect": ""});
        indexed.tell(&mut plan, account.id, username);
        let schema = &self.schema;
        // A script of the same keys; what it does not touch is named once more.
        let mut keys = vec![schema.meta(); 25];
        let its_own = [
            (5, schema.names()),
            (6, schema.list()),
            (9, schema.role_refs()),
            (10, schema.team_refs()),
            (11, schema.admins()),
            (12, schema.overlaps()),
            (13, schema.state(account.id)),
            (14, schema.profile(account.id)),
            (21, schema.users()),
            (23, schema.catalogue()),
        ];
        for (place, key) in its_own {
            if let Some(at) = keys.get_mut(place - 1) {
                *at = key;
            }
        }
        let mut script = self.scripts.restore_account.prepare_invoke();
        for key in keys.iter().chain(&indexed.keys) {
            script.key(key);
        }
        script.arg(backup).arg(plan.to_string()).arg(text).arg(account.profile.map_or("", |(text, _)| text));
        Ok(under_way(self.run_change(&self.shared, &script).await?)? == 1)
    }

    /// Puts fields of a hash back.
    pub async fn restore_texts<'a>(
        &self,
        backup: &str,
        which: Texts,
        fields: impl IntoIterator<Item = (&'a String, &'a String)>,
    ) -> Result<(), StoreError> {
        let key = self.key_of(which);
        let fields: Vec<(&String, &String)> = fields.into_iter().collect();
        for some in fields.chunks(CHUNK) {
            self.has_room()?;
            let mut script = self.scripts.restore_some.prepare_invoke();
            script.key(self.schema.meta()).key(&key).arg(backup);
            for (name, value) in some {
                script.arg(name).arg(value);
            }
            under_way(self.run_change(&self.shared, &script).await?)?;
        }
        Ok(())
    }

    /// All of the backup is there: from now on it is the dataset. `server`: where that was begun; another one, which may lack what was
    /// put back last, is not taken for it.
    pub async fn finish_restore(&self, backup: &str, server: &str, last: AtLast) -> Result<(), StoreError> {
        let AtLast { meta, term, told } = last;
        let connected = self.changes.now()?;
        let mut script = self.scripts.restore_finish.prepare_invoke();
        script.key(self.schema.meta()).arg(backup).arg(server);
        let ceiling = LEASE_CEILING.as_millis().to_string();
        let new =
            [("term", term.to_string()), ("counter", "0".to_owned()), ("indexed", "2".to_owned()), ("restored", told)];
        if !meta.contains_key("lease_ceiling_ms") {
            script.arg("lease_ceiling_ms").arg(ceiling);
        }
        for (name, value) in &meta {
            script.arg(name).arg(value);
        }
        for (name, value) in new {
            script.arg(name).arg(value);
        }
        match self.run_change(&self.changes, &script).await? {
            -2 => return Err(StoreError::Unmet),
            reply => under_way(reply)?,
        };
        self.replicated(connected).await
    }

    /// What an issuer is to tell of a restore before it serves. `None`: nothing.
    pub async fn restored(&self) -> Result<Option<String>, StoreError> {
        let mut command = redis::cmd("HGET");
        command.arg(self.schema.meta()).arg("restored");
        self.query(&self.shared, command).await
    }

    /// What lies in a hash.
    pub async fn texts(&self, which: Texts) -> Result<BTreeMap<String, String>, StoreError> {
        let mut command = redis::cmd("HGETALL");
        command.arg(self.key_of(which));
        self.query(&self.reads, command).await
    }

    fn key_of(&self, which: Texts) -> String {
        match which {
            Texts::Roles => self.schema.roles(),
            Texts::Teams => self.schema.teams(),
            Texts::RoleReferences => self.schema.role_refs(),
            Texts::TeamReferences => self.schema.team_refs(),
            Texts::Keyring => self.schema.keyring(),
            Texts::Issuers => self.schema.issuers(),
            Texts::Sinks => self.schema.sinks(),
            Texts::ActHeads => self.schema.act_heads(),
            Texts::Unlinked => self.schema.unlinked(),
        }
    }
}

/// Only while this backup is being put back: a conflict once another process has come to the end of it, or the store was emptied.
pub(super) fn under_way(reply: i64) -> Result<i64, StoreError> {
    if reply >= 0 { Ok(reply) } else { Err(StoreError::Conflict) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_is_known_where_its_term_came_as_far() {
        let epoch = |text: &str| text.parse::<Epoch>().unwrap();
        let standing = Standing::Dataset {
            id: "d".into(),
            issuer: "i".into(),
            epoch: epoch("5-7"),
            ended: BTreeMap::from([(2, 9), (4, 0)]),
        };
        for (past, known) in [
            ("5-7", true),
            ("5-8", false),
            ("2-9", true),
            ("2-10", false),
            ("3-1", false),
            ("4-0", true),
            ("6-0", false),
        ] {
            assert_eq!(standing.knows(epoch(past)), known, "{past}");
        }
        assert!(!Standing::Empty.knows(epoch("0-0")));
    }
}
