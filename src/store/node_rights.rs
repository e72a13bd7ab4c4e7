//! Whether the ACL user of a verifying node may do what the node will have to: better told at the start than found out by a call
//! that was let through and can't be recorded.

use super::schema::{Schema, shard_of};
use super::{NodeStore, StoreError};
use crate::account::AccountId;

impl NodeStore {
    /// What the user may not do and a node of this name does: a few words each. Nothing is written.
    pub async fn missing_rights(&self, node: &str) -> Result<Vec<String>, StoreError> {
        let (schema, shard) = (&self.schema, shard_of(node));
        // What is passed to one script has to lie together.
        let passed = [
            vec![
                schema.meta(),
                schema.roles(),
                schema.keyring(),
                schema.feed(),
                schema.leases(),
                schema.nodes(),
                schema.state(AccountId::nobody()),
            ],
            vec![schema.shard_log(shard), schema.shard_heads(shard)],
        ];
        let mut missing = Vec::new();
        for (keys, commands) in passed.into_iter().zip([schema.node_commands(), schema.audit_commands(shard)]) {
            let mut script = self.node_scripts.rights.prepare_invoke();
            let link = self.shared.at(keys.first().map_or("", String::as_str)).await?;
            for key in keys {
                script.key(key);
            }
            for command in commands {
                script.arg(serde_json::Value::from(command).to_string());
            }
            match self.run::<Vec<String>>(&link, &script).await {
                Ok(refused) => missing.extend(refused),
                Err(error) if error.is_forbidden() => missing.push("EVALSHA, SCRIPT LOAD".to_owned()),
                Err(error) => return Err(error),
            }
        }
        Ok(missing)
    }
}

impl Schema {
    /// One example of every command of a node outside of the audit, with keys of each kind.
    fn node_commands(&self) -> Vec<Vec<String>> {
        let state = self.state(AccountId::nobody());
        with_keys(&[
            ("PING", ""),
            ("TIME", ""),
            ("INFO server", ""),
            ("HMGET @ f", &self.meta()),
            ("HGET @ f", &self.meta()),
            ("HMGET @ f", &self.roles()),
            ("HGET @ f", &self.keyring()),
            ("MGET @", &state),
            ("XRANGE @ - +", &self.feed()),
            ("XREAD STREAMS @ 0-0", &self.feed()),
            ("HGET @ f", &self.leases()),
            ("HSET @ f v", &self.leases()),
            ("HDEL @ f", &self.leases()),
            ("HSETNX @ f v", &self.nodes()),
            ("HDEL @ f", &self.nodes()),
        ])
    }

    fn audit_commands(&self, shard: u16) -> Vec<Vec<String>> {
        with_keys(&[
            ("XADD @ * f v", &self.shard_log(shard)),
            ("XLEN @", &self.shard_log(shard)),
            ("HGET @ f", &self.shard_heads(shard)),
            ("HSET @ f v", &self.shard_heads(shard)),
        ])
    }
}

/// Commands as words; `@` is the key.
fn with_keys(commands: &[(&str, &str)]) -> Vec<Vec<String>> {
    let words = |text: &str| text.split(' ').map(str::to_owned).collect();
    commands.iter().map(|(command, key)| words(&command.replace('@', key))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_of_a_nodes_scripts_is_among_those_whose_right_is_tried() {
        let schema = Schema::new("cm");
        let tried = [schema.node_commands(), schema.audit_commands(0)].concat();
        let tried: Vec<&String> = tried.iter().filter_map(|words| words.first()).collect();
        for script in [
            include_str!("scripts/identity.lua"),
            include_str!("scripts/lookup.lua"),
            include_str!("scripts/renew.lua"),
            include_str!("scripts/follow.lua"),
            include_str!("scripts/remove.lua"),
            include_str!("scripts/append.lua"),
            include_str!("scripts/archived.lua"),
        ] {
            let calls = script.split("redis.call('").skip(1).filter_map(|rest| rest.split_once('\''));
            for (command, _) in calls {
                assert!(tried.iter().any(|tried| *tried == command), "{command} is not tried");
            }
        }
    }
}
