//! `countermark key rotate-master`: on a machine with the master key and access to the store.

use std::path::PathBuf;

use super::machine::OnTheMachine;
use super::{ServeError, load};
use crate::authority::MasterKeyChange;
use crate::config::{Overrides, SecretSource};
use crate::keyring::MasterKey;

/// What is to be done.
pub enum MasterKeyStep {
    /// The key in this file opens the signing keys, too; made, if there is no such file.
    Begin(PathBuf),
    /// Only the configured one does, which is the new one by now.
    Finish,
    /// Only the configured one does, which is still the old one.
    Abort,
}

/// Changes the master key, one step of two.
pub async fn rotate_master(overrides: &Overrides, step: &MasterKeyStep) -> Result<MasterKeyChange, ServeError> {
    let config = load(overrides).map_err(ServeError::of)?;
    let machine = OnTheMachine::open(&config, "master-key", false).await?;
    let changed = async {
        machine.serves()?;
        match step {
            MasterKeyStep::Begin(path) => {
                if !path.exists() {
                    let new = MasterKey::generate().map_err(ServeError::of)?;
                    // On disk before anything is sealed under it.
                    new.write_new(path).map_err(ServeError::of)?;
                }
                let new = read(&SecretSource::File(path.clone()))?;
                machine.authority.begin_master_key_change(&new).await.map_err(ServeError::of)
            }
            MasterKeyStep::Finish => {
                let configured = read(&config.master_key)?;
                machine.authority.finish_master_key_change(&configured).await.map_err(ServeError::of)
            }
            MasterKeyStep::Abort => {
                let configured = read(&config.master_key)?;
                machine.authority.abort_master_key_change(&configured).await.map_err(ServeError::of)
            }
        }
    }
    .await;
    machine.close().await;
    changed
}

pub(super) fn read(source: &SecretSource) -> Result<MasterKey, ServeError> {
    let secret = source.read().map_err(ServeError::of)?;
    MasterKey::parse(secret.expose()).map_err(|error| match source {
        SecretSource::File(path) => ServeError(format!("{}: {error}", path.display())),
        SecretSource::Value(_) => ServeError::of(error),
    })
}
