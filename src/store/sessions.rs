//! Sessions, and what is remembered of those who sign in.

use std::net::IpAddr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Author, Store, StoreError};
use crate::account::AccountId;
use crate::clock::rfc3339;
use crate::session::{SecretId, SessionId};
use crate::verify::SignedInBy;

/// Sessions of one account that go on at once: the one that ends first makes room.
const SESSIONS: isize = 50;
/// Browsers that are remembered for one account.
const DEVICES: isize = 20;

/// A session as it lies in the store. Of its secret there is only the name, which is its key's.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StoredSession {
    /// Whose.
    pub account: AccountId,
    /// What he signed in with.
    pub by: SignedInBy,
    /// When he signed in.
    #[serde(with = "rfc3339")]
    pub began_at: DateTime<Utc>,
    /// When it was last used, to a minute.
    #[serde(with = "rfc3339")]
    pub seen_at: DateTime<Utc>,
    /// When it ends, whatever he does.
    #[serde(with = "rfc3339")]
    pub ends_at: DateTime<Utc>,
    /// From where he signed in.
    pub address: Option<IpAddr>,
    /// With what.
    pub user_agent: Option<String>,
}

/// One counter of tries, and how many it lets through within how long.
#[derive(Debug, Clone)]
pub struct Tries {
    /// Its name, below `{P}:tries:`.
    pub name: String,
    /// How many.
    pub most: u32,
    /// From the first one on.
    pub within: Duration,
}

impl Store {
    /// Begins a session.
    pub async fn begin_session(
        &self,
        id: SessionId,
        session: &StoredSession,
        keep_for: Duration,
    ) -> Result<(), StoreError> {
        self.has_room()?;
        self.still_met().await?;
        let index = self.schema.sessions_of(session.account);
        let mut pipeline = redis::pipe();
        // The list first: a session that it does not name could not be ended by anybody else.
        pipeline.cmd("ZADD").arg(&index).arg(session.ends_at.timestamp()).arg(id.to_string()).ignore();
        pipeline.cmd("SET").arg(self.schema.session(id)).arg(text(session)?).arg("EX").arg(seconds(keep_for)).ignore();
        pipeline.cmd("ZREMRANGEBYSCORE").arg(&index).arg("-inf").arg(self.clock.now().timestamp()).ignore();
        pipeline.cmd("ZRANGE").arg(&index).arg(0).arg(-1 - SESSIONS);
        let (too_many,): (Vec<String>,) = self.pipeline(&self.shared, &pipeline).await?;
        self.end_sessions(session.account, &ids(too_many)).await
    }

    /// The session of this name, if it goes on.
    pub async fn session(&self, id: SessionId) -> Result<Option<StoredSession>, StoreError> {
        let mut command = redis::cmd("GET");
        command.arg(self.schema.session(id));
        let found: Option<String> = self.query(&self.shared, command).await?;
        found.map(|found| read(&found)).transpose()
    }

    /// What has to be there for as long as somebody acts: his session, or what always is.
    pub(super) fn session_of(&self, author: Option<&Author>) -> String {
        author.and_then(|author| author.session).map_or_else(|| self.schema.meta(), |id| self.schema.session(id))
    }

    /// Notes that a session was used. One that was ended meanwhile stays so.
    pub async fn note_session(
        &self,
        id: SessionId,
        session: &StoredSession,
        keep_for: Duration,
    ) -> Result<(), StoreError> {
        let mut command = redis::cmd("SET");
        command.arg(self.schema.session(id)).arg(text(session)?).arg("XX").arg("EX").arg(seconds(keep_for));
        self.query::<Option<String>>(&self.shared, command).await.map(|_| ())
    }

    /// The sessions of an account that go on.
    pub async fn sessions_of(&self, account: AccountId) -> Result<Vec<(SessionId, StoredSession)>, StoreError> {
        let ids = self.session_ids(account).await?;
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut command = redis::cmd("MGET");
        for id in &ids {
            command.arg(self.schema.session(*id));
        }
        let found: Vec<Option<String>> = self.query(&self.shared, command).await?;
        let found = ids.into_iter().zip(found);
        found.filter_map(|(id, found)| Some(read(&found?).map(|session| (id, session)))).collect()
    }

    /// Names of an account's sessions, of some that have ended too.
    async fn session_ids(&self, account: AccountId) -> Result<Vec<SessionId>, StoreError> {
        let mut command = redis::cmd("ZRANGE");
        command.arg(self.schema.sessions_of(account)).arg(0).arg(-1);
        self.query(&self.shared, command).await.map(ids)
    }

    /// Ends sessions of an account.
    pub async fn end_sessions(&self, account: AccountId, ended: &[SessionId]) -> Result<(), StoreError> {
        if ended.is_empty() {
            return Ok(());
        }
        if let Some(it) = self.remembering() {
            it.journal.session_ended(ended, self.clock.now().timestamp()).await?;
        }
        let mut pipeline = redis::pipe();
        for id in ended {
            pipeline.cmd("DEL").arg(self.schema.session(*id)).ignore();
        }
        let names: Vec<String> = ended.iter().map(ToString::to_string).collect();
        pipeline.cmd("ZREM").arg(self.schema.sessions_of(account)).arg(names).ignore();
        self.pipeline(&self.shared, &pipeline).await
    }

    /// Ends sessions that were ended before: the store may have lost that (R2).
    pub(super) async fn end_again(&self, ended: &[SessionId]) -> Result<(), StoreError> {
        for some in ended.chunks(500) {
            let mut pipeline = redis::pipe();
            for id in some {
                pipeline.cmd("DEL").arg(self.schema.session(*id)).ignore();
            }
            self.pipeline::<()>(&self.changes, &pipeline).await?;
        }
        Ok(())
    }

    /// Ends all sessions of an account but this one.
    pub async fn end_all_sessions(&self, account: AccountId, but: Option<SessionId>) -> Result<u64, StoreError> {
        let mut ids = self.session_ids(account).await?;
        ids.retain(|id| Some(*id) != but);
        self.end_sessions(account, &ids).await?;
        Ok(ids.len() as u64)
    }

    /// Counts one try with each counter, or with none: then for how long the fullest of them lets nobody through.
    pub async fn try_to_sign_in(&self, tries: &[Tries]) -> Result<Result<(), Duration>, StoreError> {
        self.has_room()?;
        let mut script = self.scripts.tries.prepare_invoke();
        for tries in tries {
            script.key(self.schema.tries(&tries.name));
            script.arg(tries.most).arg(seconds(tries.within));
        }
        let wait: u64 = self.run(&self.shared, &script).await?;
        Ok(if wait == 0 { Ok(()) } else { Err(Duration::from_secs(wait)) })
    }

    /// Takes one try back from each counter.
    pub async fn forgive_try(&self, tries: &[Tries]) -> Result<(), StoreError> {
        let mut script = self.scripts.forgive.prepare_invoke();
        for tries in tries {
            script.key(self.schema.tries(&tries.name));
        }
        self.run(&self.shared, &script).await
    }

    /// Forgets the tries of one counter.
    pub async fn forget_tries(&self, name: &str) -> Result<(), StoreError> {
        let mut command = redis::cmd("DEL");
        command.arg(self.schema.tries(name));
        self.query(&self.shared, command).await
    }

    /// Whether somebody has signed in to the account with this browser before.
    pub async fn knows_device(&self, account: AccountId, device: SecretId) -> Result<bool, StoreError> {
        let mut command = redis::cmd("ZSCORE");
        command.arg(self.schema.devices(account)).arg(device.to_string());
        let until: Option<i64> = self.query(&self.shared, command).await?;
        Ok(until.is_some_and(|until| until > self.clock.now().timestamp()))
    }

    /// Remembers a browser. What is too much is forgotten, the oldest first.
    pub async fn remember_device(
        &self,
        account: AccountId,
        device: SecretId,
        until: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let key = self.schema.devices(account);
        let mut pipeline = redis::pipe();
        pipeline.cmd("ZADD").arg(&key).arg(until.timestamp()).arg(device.to_string()).ignore();
        pipeline.cmd("ZRANGE").arg(&key).arg(0).arg(-1 - DEVICES);
        let (too_many,): (Vec<String>,) = self.pipeline(&self.shared, &pipeline).await?;
        if too_many.is_empty() {
            return Ok(());
        }
        let mut command = redis::cmd("ZREM");
        command.arg(key).arg(too_many);
        self.query(&self.shared, command).await
    }

    /// Forgets all browsers of an account.
    pub async fn forget_devices(&self, account: AccountId) -> Result<(), StoreError> {
        let mut command = redis::cmd("DEL");
        command.arg(self.schema.devices(account));
        self.query(&self.shared, command).await
    }

    /// The setup link that is still open, as it was offered.
    pub async fn setup_offer(&self) -> Result<Option<String>, StoreError> {
        let mut command = redis::cmd("GET");
        command.arg(self.schema.setup());
        self.query(&self.shared, command).await
    }
}

fn seconds(duration: Duration) -> u64 {
    duration.as_secs().max(1)
}

fn ids(names: Vec<String>) -> Vec<SessionId> {
    names.into_iter().filter_map(|name| name.parse().ok()).collect()
}

fn text(session: &StoredSession) -> Result<String, StoreError> {
    serde_json::to_string(session).map_err(|_| StoreError::Corrupt("a session has no JSON form".into()))
}

fn read(text: &str) -> Result<StoredSession, StoreError> {
    serde_json::from_str(text).map_err(|_| StoreError::Corrupt("a session".into()))
}
