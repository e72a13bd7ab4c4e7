//! The look-up behind every decision.

use std::collections::BTreeMap;

use super::{Store, StoreError, roles};
use crate::account::{AccountId, Versioned};
use crate::name::RoleName;
use crate::verify::{AsOf, Snapshot};

impl Store {
    /// All that one verification consults, by a script that replicas and cut-off primaries refuse (F3, F4).
    pub async fn snapshot(&self, account: AccountId) -> Result<Snapshot, StoreError> {
        let reply: Vec<String> = self
            .run(
                &self.shared,
                self.scripts
                    .lookup
                    .key(self.schema.meta())
                    .key(self.schema.state(account))
                    .key(self.schema.roles())
                    .key(self.schema.keyring()),
            )
            .await?;
        let corrupt = |what: &str| StoreError::Corrupt(what.to_owned());
        let [dataset, keys_version, state, roles @ ..] = reply.as_slice() else {
            return Err(corrupt("a look-up's reply"));
        };
        // Another dataset at the same address knows nothing of our accounts: that is no "unknown account".
        if *dataset != self.dataset_id().await? {
            self.lost_dataset();
            return Err(StoreError::Unavailable("the store holds another dataset than it did".into()));
        }
        let found = match state.as_str() {
            "" => None,
            text => Some(Versioned::parse(text).map_err(|error| StoreError::Corrupt(error.0))?),
        };
        let mut as_of =
            AsOf { record: found.as_ref().map(|found| found.version).unwrap_or_default(), ..AsOf::default() };
        let mut definitions = BTreeMap::new();
        for pair in roles.chunks_exact(2) {
            let [name, text] = pair else { continue };
            let name: RoleName = name.parse().map_err(|_| corrupt("a role's name"))?;
            as_of.roles.insert(name.clone(), roles::version(text).ok_or_else(|| corrupt("a role"))?);
            definitions.insert(name, roles::grants(text).ok_or_else(|| corrupt("a role"))?);
        }
        Ok(Snapshot {
            record: found.map(|found| found.record),
            as_of,
            roles: definitions,
            keys_version: keys_version.parse().map_err(|_| corrupt("the keyring's version"))?,
        })
    }
}
