//! A node's events on their way into the firehose, and the chain of their blocks (protocols, section 6, A3).

use std::collections::BTreeMap;

use redis::streams::StreamRangeReply;

use super::lenient::Lenient;
use super::schema::{hard_bound, shard_of};
use super::{Full, NodeStore, StoreError};
use crate::audit::block::Header;
use crate::clock;

/// A block of one node, to be written as one entry.
#[derive(Debug, Clone)]
pub struct Block {
    /// The node.
    pub node: String,
    /// The claim under which it was made.
    pub claim: String,
    /// Its number.
    pub number: u64,
    /// The highest number of an event of this or an earlier one.
    pub last: u64,
    /// Its hash.
    pub hash: String,
    /// Numbers up to `last` whose events are still to come.
    pub open: Vec<u64>,
    /// The text of its header.
    pub header: String,
    /// A line of JSON for each event.
    pub lines: String,
    /// The id of the entry of the block before; empty: there is none.
    pub after: String,
    /// The numbers of the acts that it links.
    pub acts: Vec<u64>,
}

/// A block as it lies in the store.
#[derive(Debug, Clone)]
pub struct BlockEntry {
    /// Its header.
    pub header: Header,
    /// A line of JSON for each event.
    pub lines: String,
}

/// The last block of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Head {
    /// Its number; 0: there is none.
    pub block: u64,
    /// The highest number of an event.
    pub last: u64,
    /// Its hash; empty where there is none.
    pub hash: String,
    /// The id of its entry; empty where there is none.
    pub entry: String,
    /// Numbers up to `last` whose events are still to come.
    pub open: Vec<u64>,
}

impl Head {
    /// As it lies in the store: `CLAIM BLOCK LAST HASH ENTRY OPEN`.
    #[cfg(feature = "server")]
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut words = text.splitn(6, ' ').skip(1).map(str::to_owned);
        let words = [words.next()?, words.next()?, words.next()?, words.next()?, words.next()?];
        head(&words)
    }
}

/// The event of an act, as an entry of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActEntry {
    /// The entry's id.
    pub id: String,
    /// The SHA-256 of the event, in hex.
    pub hash: String,
}

/// What a process finds that claims a node's chain: from now on nobody else writes to it.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// The claim, random.
    pub claim: String,
    /// The last block.
    pub head: Head,
    /// The node's acts, where the process may carry out any.
    pub acts: Option<Acts>,
}

/// Acts of a node.
#[derive(Debug, Clone, Default)]
pub struct Acts {
    /// The highest number of one that was committed.
    pub last: u64,
    /// Those that no block links yet, by their numbers.
    pub unlinked: BTreeMap<u64, ActEntry>,
}

impl NodeStore {
    /// Writes a block, once, however often it is repeated: the id of its entry. `None`: the chain is another process' by now, or has
    /// another end. The dataset has to be met before.
    pub async fn append(&self, block: &Block) -> Result<Option<String>, StoreError> {
        self.has_room()?;
        let shard = shard_of(&block.node);
        let log = self.schema.shard_log(shard);
        let link = self.audit.at(&log).await?;
        let mut script = self.node_scripts.append.prepare_invoke();
        script
            .key(log)
            .key(self.schema.shard_heads(shard))
            .arg(&block.node)
            .arg(&block.claim)
            .arg(block.number)
            .arg(block.last)
            .arg(&block.hash)
            .arg(numbers(&block.open))
            .arg(&block.header)
            .arg(&block.lines)
            .arg(hard_bound(self.firehose()));
        let entry: String = self.run(&link, &script).await?;
        match id_of_entry(&entry) {
            Some(_) => Ok(Some(entry)),
            None if entry.is_empty() => Ok(None),
            None if entry == "full" => Err(StoreError::Full(Full::Archive)),
            // The answer to another question: it is asked again.
            None => Err(StoreError::Corrupt("the answer to a block".into())),
        }
    }

    /// Whether this very block is in the store, somewhere after the one before it.
    pub async fn has_block(&self, block: &Block) -> Result<bool, StoreError> {
        let log = self.schema.shard_log(shard_of(&block.node));
        let mut from = if block.after.is_empty() { "-".to_owned() } else { format!("({}", block.after) };
        loop {
            let mut command = redis::cmd("XRANGE");
            command.arg(&log).arg(&from).arg("+").arg("COUNT").arg(4);
            let link = self.audit.at(&log).await?;
            let Lenient(reply): Lenient<StreamRangeReply> = self.query(&link, command).await?;
            let Some(last) = reply.ids.last() else { return Ok(false) };
            from = format!("({}", last.id);
            for entry in &reply.ids {
                let text: String = entry.get("b").unwrap_or_default();
                let Ok(header) = serde_json::from_str::<Header>(&text) else { continue };
                if header.node == block.node && header.block >= block.number {
                    return Ok(text == block.header);
                }
            }
        }
    }

    /// A block, by its entry. `None`: it is not there, or not of this node.
    pub async fn block_at(&self, node: &str, entry: &str) -> Result<Option<BlockEntry>, StoreError> {
        let mut command = redis::cmd("XRANGE");
        let log = self.schema.shard_log(shard_of(node));
        command.arg(&log).arg(entry).arg(entry);
        let Lenient(reply): Lenient<StreamRangeReply> = self.query(&*self.audit.at(&log).await?, command).await?;
        let Some(found) = reply.ids.first() else { return Ok(None) };
        let header = found.get::<String>("b").and_then(|text| serde_json::from_str::<Header>(&text).ok());
        let lines = found.get("e").unwrap_or_default();
        Ok(header.filter(|header| header.node == node).map(|header| BlockEntry { header, lines }))
    }

    /// Claims a node's chain. The dataset has to be met before.
    pub async fn claim_blocks(&self, node: &str) -> Result<Claimed, StoreError> {
        self.has_some_room()?;
        // Whoever finds his claim gone may have lost more than that: nothing is written into another dataset, or into none.
        self.still_ours().await?;
        let random: [u8; 16] = clock::random().map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let claim: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut script = self.node_scripts.claim.prepare_invoke();
        let heads = self.schema.shard_heads(shard_of(node));
        script.key(&heads).arg(node).arg(&claim);
        let reply: Vec<String> = self.run(&*self.shared.at(&heads).await?, &script).await?;
        let (head, is_lost) = reply
            .split_last()
            .and_then(|(is_lost, reply)| Some((head(reply)?, is_lost != "0")))
            .ok_or_else(|| StoreError::Corrupt(format!("the last block of the node {node}")))?;
        if is_lost {
            tracing::error!(node, "the last block of this node can't be read: its chain in the audit begins anew");
        }
        Ok(Claimed { claim, head, acts: None })
    }
}

/// The two numbers of an id of an entry.
pub(super) fn id_of_entry(id: &str) -> Option<(u64, u64)> {
    let (ms, number) = id.split_once('-')?;
    Some((ms.parse().ok()?, number.parse().ok()?))
}

fn head(reply: &[String]) -> Option<Head> {
    let [block, last, hash, entry, open] = reply else { return None };
    let text = |text: &String| if text == "-" { String::new() } else { text.clone() };
    let open = open.split(',').filter(|number| !number.is_empty()).map(str::parse).collect::<Result<_, _>>().ok()?;
    Some(Head { block: block.parse().ok()?, last: last.parse().ok()?, hash: text(hash), entry: text(entry), open })
}

fn numbers(numbers: &[u64]) -> String {
    numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_chain_is_read_as_it_is_written() {
        let reply = |texts: [&str; 5]| head(&texts.map(str::to_owned));
        assert_eq!(reply(["0", "0", "-", "-", ""]), Some(Head::default()));
        let open = vec![3, 5];
        let expected = Head { block: 2, last: 7, hash: "ab".into(), entry: "1-0".into(), open: open.clone() };
        assert_eq!(reply(["2", "7", "ab", "1-0", &numbers(&open)]), Some(expected));
        assert_eq!(reply(["2", "7", "ab", "1-0", "3,x"]), None);
        assert_eq!(head(&["?".to_owned()]), None);
        #[cfg(feature = "server")]
        for (text, block) in
            [("c 2 7 ab 1-0 3,5", Some(2)), ("c 0 0 - - ", Some(0)), ("c 2 7 ab 1-0", None), ("7", None)]
        {
            assert_eq!(Head::read(text).map(|head| head.block), block, "{text}");
        }
    }
}
