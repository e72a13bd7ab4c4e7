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
