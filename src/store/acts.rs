//! Acts on their way into the chain of their node's blocks (protocols, section 6, A3).

use std::collections::BTreeMap;

use redis::RedisResult;

use super::append::{ActEntry, Acts, Claimed};
use super::link::counted;
use super::node_store::noting;
use super::schema::shard_of;
use super::{Store, StoreError};

/// How often a claim is tried that another one comes between.
const CLAIMS: usize = 4;

impl Store {
    /// Claims a node's chain and its acts: whatever was numbered under an earlier claim, and is not committed by now, never will be.
    pub async fn claim(&self, node: &str) -> Result<Claimed, StoreError> {
        for _ in 0..CLAIMS {
            let claimed = self.claim_blocks(node).await?;
            let acts = self.claim_acts(node, &claimed.claim).await?;
            // Of two who claim at once one has the blocks and the other the acts: neither has the chain.
            let mut command = redis::cmd("HGET");
            let heads = self.schema.shard_heads(shard_of(node));
            command.arg(&heads).arg(node);
            let head: String = self.query(&*self.shared.at(&heads).await?, command).await?;
            if head.split(' ').next() == Some(claimed.claim.as_str()) {
                return Ok(Claimed { acts: Some(acts), ..claimed });
            }
        }
        Err(StoreError::Unclaimed)
    }

    async fn claim_acts(&self, node: &str, claim: &str) -> Result<Acts, StoreError> {
        let mut script = self.scripts.claim_acts.prepare_invoke();
        script.key(self.schema.act_heads()).key(self.schema.unlinked()).arg(node).arg(claim);
        // On the connection on which acts are committed: it may lead to another server for a moment. A change before it may still be
        // waiting for its replicas. Also before nodes are served: what raises the store is an act.
        let mut held = self.begun().await?;
        held.connection.set_response_timeout(self.longest_wait());
        let reply: RedisResult<Vec<String>> = counted(script.invoke_async(&mut held.connection)).await;
        let reply = noting(&self.changes, held.number, reply)?;
        let corrupt = || StoreError::Corrupt(format!("the acts of the node {node}"));
        let (last, unlinked) = reply.split_first().ok_or_else(corrupt)?;
        let mut acts = Acts { last: last.parse().map_err(|_| corrupt())?, unlinked: BTreeMap::new() };
        for pair in unlinked.chunks(2) {
            let read = |pair: &[String]| match pair {
                [number, act] => Some((number.parse().ok()?, entry(act)?)),
                _ => None,
            };
            match read(pair) {
                Some((number, act)) => _ = acts.unlinked.insert(number, act),
                None => tracing::error!(node, "an act that no block links can't be read, and is left out"),
            }
        }
        Ok(acts)
    }

    /// All acts that no block links yet, by node and number.
    pub async fn unlinked_acts(&self) -> Result<BTreeMap<(String, u64), ActEntry>, StoreError> {
        let mut command = redis::cmd("HGETALL");
        command.arg(self.schema.unlinked());
        let all: Vec<(Vec<u8>, Vec<u8>)> = self.query(&self.shared, command).await?;
        let read = |(name, act): (Vec<u8>, Vec<u8>)| {
            let (name, act) = (String::from_utf8(name).ok()?, String::from_utf8(act).ok()?);
            let (node, number) = name.split_once(' ')?;
            Some(((node.to_owned(), number.parse().ok()?), entry(&act)?))
        };
        let noted = |act| {
            let act = read(act);
            if act.is_none() {
                tracing::error!("an act that no block links can't be read, and is left out");
            }
            act
        };
        Ok(all.into_iter().filter_map(noted).collect())
    }

    /// How many acts no block links yet.
    pub async fn count_unlinked_acts(&self) -> Result<u64, StoreError> {
        let mut command = redis::cmd("HLEN");
        command.arg(self.schema.unlinked());
        self.query(&self.reads, command).await
    }

    /// A block links them by now.
    pub async fn linked(&self, node: &str, numbers: &[u64]) -> Result<(), StoreError> {
        if numbers.is_empty() {
            return Ok(());
        }
        let mut command = redis::cmd("HDEL");
        command.arg(self.schema.unlinked());
        for number in numbers {
            command.arg(format!("{node} {number}"));
        }
        self.query(&self.shared, command).await
    }
}

fn entry(text: &str) -> Option<ActEntry> {
    let (id, hash) = text.split_once(' ')?;
    Some(ActEntry { id: id.to_owned(), hash: hash.to_owned() })
}
