//! The master key is changed while issuers run: first either opens the signing keys, then only the new one.

use serde_json::Value;

use super::call::By;
use super::key_acts::STEPS;
use super::{Authority, Error};
use crate::audit::{Event, Outcome, kinds};
use crate::keyring::{MasterKey, Read};
use crate::store::KeyringChange;

/// How far the change of the master key has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MasterKeyChange {
    /// Either opens the signing keys.
    Begun,
    /// It had begun already, with this key.
    BegunBefore,
    /// Only the new one does.
    Finished,
    /// Only that one did already.
    FinishedBefore,
}

impl MasterKeyChange {
    /// As it is written in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::BegunBefore => "begun_before",
            Self::Finished => "finished",
            Self::FinishedBefore => "finished_before",
        }
    }
}

impl Authority {
    /// From now on another master key opens the signing keys, too. Begun anew with another one, it takes the place of the one before.
    pub async fn begin_master_key_change(&self, new: &MasterKey) -> Result<MasterKeyChange, Error> {
        for _ in 0..STEPS {
            let mut read = self.keys.document().await?;
            let known: Vec<&str> = read.envelope.master_keys().collect();
            let present = self.keys.master_key();
            match known.as_slice() {
                [only] if *only == new.id() => return Ok(MasterKeyChange::FinishedBefore),
                [_, newest] if *newest == new.id() => return Ok(MasterKeyChange::BegunBefore),
                [first, ..] if *first == present.id() => {}
                // Only whoever has the one that everybody has can let another one in beside it.
                _ => return Err(Error::MasterKeyUnderWay),
            }
            self.keys.seal_under(&mut read, &[&present, new])?;
            if self.reseal(&read, "begun").await? {
                return Ok(MasterKeyChange::Begun);
            }
        }
        Err(Error::Conflict)
    }

    /// From now on only the newest master key opens the signing keys, which must be this one.
    pub async fn finish_master_key_change(&self, master: &MasterKey) -> Result<MasterKeyChange, Error> {
        self.leave_one(master, "finished", |known| known.last() == Some(&master.id().as_str())).await
    }

    /// The change is left again: only the oldest one opens them, which must be this one.
    pub async fn abort_master_key_change(&self, master: &MasterKey) -> Result<MasterKeyChange, Error> {
        self.leave_one(master, "aborted", |known| known.first() == Some(&master.id().as_str())).await
    }

    async fn leave_one(
        &self,
        master: &MasterKey,
        what: &str,
        is_the_one: impl Fn(&[&str]) -> bool,
    ) -> Result<MasterKeyChange, Error> {
        for _ in 0..STEPS {
            let mut read = self.keys.document().await?;
            let known: Vec<&str> = read.envelope.master_keys().collect();
            if !is_the_one(&known) {
                return Err(Error::NotTheNewMasterKey);
            }
            if known.len() == 1 {
                return Ok(MasterKeyChange::FinishedBefore);
            }
            self.keys.seal_under(&mut read, &[master])?;
            if self.reseal(&read, what).await? {
                return Ok(MasterKeyChange::Finished);
            }
        }
        Err(Error::Conflict)
    }

    /// `false`: the keys have changed meanwhile.
    async fn reseal(&self, read: &Read, what: &str) -> Result<bool, Error> {
        let sealed = self.keys.seal(read)?;
        let names: Vec<Value> = read.envelope.master_keys().map(Value::from).collect();
        let event = Event::new(self.clock.now(), kinds::MASTER_KEY, Outcome::Done)
            .detail("change", what)
            .detail("master_keys", names);
        match self.commit_keys(By::Machine, &event, KeyringChange::of(read.version, &sealed)).await {
            Ok(_) => Ok(true),
            Err(Error::Conflict) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
