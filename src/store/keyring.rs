//! The sealed document of keys.

use super::{Committed, Store, StoreError, refused};

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

    /// Replaces the document, if it is still of the version that was read (0: there is none).
    pub async fn replace_keyring(&self, read: u64, document: &str) -> Result<Committed, StoreError> {
        let dataset = self.dataset_id().await?;
        let mut script = self.scripts.keyring.prepare_invoke();
        script
            .key(self.schema.meta())
            .key(self.schema.feed())
            .key(self.schema.keyring())
            .key(self.schema.leases())
            .arg(dataset)
            .arg(read)
            .arg(document);
        self.change(script, false).await?.map_err(|reply| refused(&reply))
    }
}
