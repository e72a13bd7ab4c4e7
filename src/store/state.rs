//! The look-up behind every decision that is not made from memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{NodeStore, StoreError, definition};
use crate::account::{AccountId, Versioned};
use crate::name::RoleName;
use crate::verify::freshness::{Definition, LookedUp};

impl NodeStore {
    /// All that one verification consults, by a script that replicas and cut-off primaries refuse (F3, F4).
    pub async fn look_up(&self, account: AccountId) -> Result<LookedUp, StoreError> {
        let reply: Vec<String> = self
            .run(
                &self.shared,
                self.node_scripts
                    .lookup
                    .key(self.schema.meta())
                    .key(self.schema.state(account))
                    .key(self.schema.roles())
                    .key(self.schema.keyring()),
            )
            .await?;
        let corrupt = |what: &str| StoreError::Corrupt(what.to_owned());
        let (place, rest) = self.place(&reply).await?;
        let [keys_version, state, roles @ ..] = rest else {
            return Err(corrupt("a look-up's reply"));
        };
        let record = match state.as_str() {
            "" => None,
            text => Some(Versioned::parse(text).map_err(|error| StoreError::Corrupt(error.0))?),
        };
        let mut definitions = BTreeMap::new();
        for pair in roles.chunks_exact(2) {
            let [name, text] = pair else { continue };
            let name: RoleName = name.parse().map_err(|_| corrupt("a role's name"))?;
            let version = definition::version(text).ok_or_else(|| corrupt("a role"))?;
            let grants = definition::grants(text).ok_or_else(|| corrupt("a role"))?;
            definitions.insert(name, Definition { version, grants: Some(Arc::new(grants)) });
        }
        let keys_version = keys_version.parse().map_err(|_| corrupt("the keyring's version"))?;
        Ok(LookedUp { place, keys_version, record, roles: definitions })
    }
}
