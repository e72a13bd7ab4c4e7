//! The sealed document of keys.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::schema::hard_bound;
use super::{Author, Committed, Store, StoreError, journal, refused};
use crate::account::AccountId;
use crate::audit::Numbered;
use crate::audit::block::hash;
use crate::epoch::Epoch;
use crate::verify::freshness::Identity;

/// One change of the document.
#[derive(Debug, Clone)]
pub struct KeyringChange<'a> {
    /// The version that was read; 0: there is none yet.
    pub read: u64,
    /// The next one, sealed.
    pub document: &'a str,
    /// A key of which no token may expire after that time.
    pub unneeded: Option<(&'a str, DateTime<Utc>)>,
    /// An admin who must be as he was read.
    pub remains: Option<(AccountId, Epoch)>,
    /// A key of which nothing is accepted any more.
    pub revoked: Option<&'a str>,
    /// The admins whose tokens die with it, as they were read.
    pub shut_out: &'a [(AccountId, Epoch)],
    /// Who does it. `None`: Countermark itself.
    pub author: Option<Author>,
    /// The server which it raises by what that lacks (R2). `None`: it is a change like any other.
    pub raises: Option<&'a Identity>,
    /// The version of the next one.
    pub next: u64,
}

impl<'a> KeyringChange<'a> {
    /// The document of this version is replaced by this one, whatever else is.
    pub fn of(read: u64, document: &'a str) -> Self {
        Self {
            read,
            document,
            unneeded: None,
            remains: None,
            revoked: None,
            shut_out: &[],
            author: None,
            raises: None,
            next: read + 1,
        }
    }
}

impl Store {
    /// Its version and the document, as it was sealed. `None`: there is none yet.
    pub async fn sealed_keyring(&self) -> Result<Option<(u64, String)>, StoreError> {
        let mut command = redis::cmd("HMGET");
        command.arg(self.schema.keyring()).arg("version").arg("document");
        let (version, document): (Option<u64>, Option<String>) = self.query(&self.shared, command).await?;
        Ok(version.zip(document))
    }

    /// The same of the store that was met, by a script that replicas and cut-off primaries refuse (F3).
    pub async fn keyring_here(&self) -> Result<Option<(u64, String)>, StoreError> {
        let mut script = self.scripts.keys.prepare_invoke();
        script.key(self.schema.meta()).key(self.schema.keyring());
        let reply: Vec<String> = self.run(&self.shared, &script).await?;
        let (_, rest) = self.place(&reply).await?;
        match rest {
            [_, document] if document.is_empty() => Ok(None),
            [version, document] => {
                let version = version.parse().map_err(|_| StoreError::Corrupt("the keyring's version".into()))?;
                Ok(Some((version, document.clone())))
            }
            _ => Err(StoreError::Corrupt("the keyring".into())),
        }
    }

    /// Replaces the document, together with its event (A1), if it is still of the version that was read.
    ///
    /// `act` is its event with a number; `None`: the first document of all. `again`: it may have been replaced by this one before; then it is not done twice.
    pub async fn replace_keyring(
        &self,
        change: &KeyringChange<'_>,
        act: Option<&Numbered>,
        again: bool,
    ) -> Result<Committed, StoreError> {
        let schema = &self.schema;
        let event = act.map(|act| act.to_line()).unwrap_or_default();
        let only_less = change.raises.is_some() || change.revoked.is_some() || change.unneeded.is_some();
        let plan = json!({
            "dataset": self.dataset_id().await?,
            "issuer": self.issuer_id(),
            "raises": change.raises.map_or(Value::Bool(false), |identity| identity.server().into()),
            "read": change.read.to_string(),
            "next": change.next.to_string(),
            "author": change.author.as_ref().map_or(Value::Bool(false), Author::plan),
            "unneeded": change.unneeded.map_or(Value::Bool(false), |(_, since)| since.timestamp().into()),
            "remains": change.remains.map_or(Value::Bool(false), |(_, version)| version.to_string().into()),
            "revoked": change.revoked.map_or(Value::Bool(false), Value::from),
            "shut_out": change.shut_out.iter().map(|(id, version)| json!([id, version.to_string()])).collect::<Vec<_>>(),
            "node": act.map(|act| act.node.as_str()),
            "claim": act.map(|act| act.claim.as_str()),
            "sequence": act.map(|act| act.sequence),
            "hash": hash(&event),
            "takes_away": only_less,
        });
        let author = change.author.as_ref().map(|author| author.id);
        let script = if only_less { &self.scripts.keyring_less } else { &self.scripts.keyring };
        let mut script = script.prepare_invoke();
        script
            .key(schema.meta())
            .key(schema.feed())
            .key(schema.keyring())
            .key(schema.leases())
            .key(schema.acts())
            .key(schema.act_heads())
            .key(author.map_or_else(|| schema.acts(), |author| schema.acts_of(author)))
            .key(schema.state(author.unwrap_or_else(AccountId::nobody)))
            .key(schema.roles())
            .key(schema.live(change.unneeded.map_or("", |(key_id, _)| key_id)))
            .key(schema.state(change.remains.map_or_else(AccountId::nobody, |(admin, _)| admin)))
            .key(schema.admins())
            .key(schema.unlinked())
            .key(self.session_of(change.author.as_ref()))
            .key(schema.issuers());
        for (admin, _) in change.shut_out {
            script.key(schema.state(*admin));
        }
        script
            .arg(plan.to_string())
            .arg(change.document)
            .arg(event)
            .arg(hard_bound(self.options.retention.firehose))
            .arg(self.options.retention.activity);
        let note = journal::Change::Keys { revoked: change.revoked.map(str::to_owned) };
        let changed = if change.raises.is_some() {
            self.raise(script, &note).await?
        } else if only_less {
            self.restrict(script, Some(&note), again).await?
        } else {
            self.change(script, Some(&note), again).await?
        };
        changed.map_err(|reply| refused(&reply))
    }
}
