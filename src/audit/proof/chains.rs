//! The chains of nodes, as they are met block by block.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::super::block::{Header, hash};
use super::super::checkpoint::{Checkpoint, KeptFrom, NodeHead};
use chrono::{DateTime, Utc};

use crate::store::{ACTS, comes_before, stream_of};

/// What was signed of the blocks, and where each chain stands.
#[derive(Default)]
pub(super) struct Chains {
    nodes: HashMap<String, Chain>,
    /// Of each node the blocks that were signed and have not been met.
    signed: HashMap<String, BTreeMap<u64, NodeHead>>,
    /// Blocks before which others are missing: where they are, in which stream, what was before them, and what is wrong if that is not
    /// removed by now.
    gaps: Vec<(String, String, String)>,
    /// From where on streams are kept, as it was signed last before the blocks.
    kept: BTreeMap<String, KeptFrom>,
    /// The highest block of each node that was signed last, and the last signed entry of each stream.
    horizon: (HashMap<String, u64>, HashMap<String, String>),
    /// Acts that blocks link, by the ids of their entries.
    links: HashMap<String, Link>,
    /// The same of blocks in an archive that link acts which came too late for it.
    archived_links: HashMap<String, Link>,
    /// Acts in an archive that no block has linked so far, the same way.
    unlinked: HashMap<String, Link>,
    /// The ends of the chains in an archive.
    archived: HashMap<String, Chain>,
}

/// A node, a number, and a hash.
type Link = (String, u64, String);

/// The end of a node's chain so far.
struct Chain {
    block: u64,
    hash: String,
    entry: String,
    last: u64,
    open: BTreeSet<u64>,
    /// Whether it was met from its first block on: else nobody knows which acts were linked before.
    is_whole: bool,
}

/// A block, and what is wrong with it.
pub(super) struct Met {
    pub(super) header: Option<Header>,
    /// Where the node's numbers stood before it, and which were open. `None`: the block before was not met.
    pub(super) before: Option<(u64, BTreeSet<u64>)>,
    pub(super) wrong: Vec<String>,
}

impl Chain {
    /// What is wrong with this block as the next one.
    fn followed_by(&self, next: &Header) -> Option<String> {
        let block = self.block;
        if next.block <= block {
            Some(format!("it is block {}, after block {block}: repeated, or out of order", next.block))
        } else if next.previous != self.hash {
            Some(format!("block {block} was changed"))
        } else if next.after != self.entry {
            Some(format!("block {block} was moved: it was written as the entry {}", next.after))
        } else {
            None
        }
    }
}

/// Where an entry is.
pub(super) fn place(stream: &str, id: &str) -> String {
    format!("stream {stream}, entry {id}")
}

impl Chains {
    pub(super) fn sign(&mut self, checkpoint: &Checkpoint) {
        self.horizon = Default::default();
        self.kept.clone_from(&checkpoint.kept);
        for (node, head) in &checkpoint.nodes {
            self.horizon.0.insert(node.clone(), head.block);
            let last = self.horizon.1.entry(stream_of(node)).or_default();
            if comes_before(last, &head.entry) {
                last.clone_from(&head.entry);
            }
            self.signed.entry(node.clone()).or_default().insert(head.block, head.clone());
        }
    }

    /// Meets the next block of a stream.
    pub(super) fn meet(&mut self, stream: &str, id: &str, text: &str) -> Met {
        let Ok(header) = serde_json::from_str::<Header>(text) else {
            return Met { header: None, before: None, wrong: vec!["its header can't be read".to_owned()] };
        };
        let (mut wrong, hash) = (Vec::new(), hash(text));
        if stream_of(&header.node) != stream {
            wrong.push(format!("a block of the node {} does not belong in this stream", header.node));
        }
        let known = self.nodes.remove(&header.node).or_else(|| {
            let end = self.archived.get(&header.node)?;
            if header.block > end.block { self.archived.remove(&header.node) } else { None }
        });
        let here = format!("{} (node {}, block {})", place(stream, id), header.node, header.block);
        let is_first = header.block == 1 && header.previous.is_empty() && header.after.is_empty();
        let (mut before, mut is_whole) = (is_first.then(Default::default), is_first);
        match known {
            None if is_first => {}
            // Those before it may be removed, as it was signed, or be left out.
            None => {
                let after = if header.after.is_empty() { "nothing" } else { &header.after };
                let what = format!(
                    "{here}: blocks are missing before it, which should be there; it was written after {after}"
                );
                self.gaps.push((stream.to_owned(), header.after.clone(), what));
            }
            // They may have been removed when those before them had been read.
            Some(last) if header.block > last.block + 1 => {
                let (first, last) = (last.block + 1, header.block - 1);
                let what = format!("{here}: blocks {first} to {last} are missing before it");
                self.gaps.push((stream.to_owned(), header.after.clone(), what));
            }
            Some(last) => {
                wrong.extend(last.followed_by(&header));
                is_whole = last.is_whole;
                before = Some((last.last, last.open));
            }
        }
        if let Some(end) = self.archived.get(&header.node).filter(|end| end.block == header.block) {
            if end.hash != hash || end.entry != id {
                wrong.push("it is another one than was archived".to_owned());
            }
            is_whole |= end.is_whole;
        }
        if let Some(head) = self.signed.get_mut(&header.node).and_then(|signed| signed.remove(&header.block))
            && (head.hash != hash || head.entry != id || head.last != header.last)
        {
            wrong.push("it is another one than was signed".to_owned());
        }
        let is_new = self.horizon.0.get(&header.node).is_none_or(|signed| header.block > *signed);
        let is_removed = self.kept.get(stream).is_some_and(|kept| comes_before(id, &kept.first));
        if is_new && !is_removed && self.horizon.1.get(stream).is_some_and(|last| !comes_before(last, id)) {
            wrong.push("it was not there when entries after it were signed".to_owned());
        }
        for (number, entry, hash) in &header.acts {
            let link = (header.node.clone(), *number, hash.clone());
            match self.unlinked.remove(entry) {
                Some(act) if act == link => {}
                Some(_) => wrong.push(format!("the act of the entry {entry}, which it links, was changed")),
                None => _ = self.links.insert(entry.clone(), link),
            }
        }
        let open = header.open.iter().copied().collect();
        let chain = Chain { block: header.block, hash, entry: id.to_owned(), last: header.last, open, is_whole };
        self.nodes.insert(header.node.clone(), chain);
        Met { header: Some(header), before, wrong }
    }

    /// What a block says of the act of this entry, once: the node, the number, the hash.
    pub(super) fn link(&mut self, entry: &str) -> Option<(String, u64, String)> {
        self.links.remove(entry).or_else(|| self.archived_links.remove(entry))
    }

    /// An act in an archive, which a later block may link.
    pub(super) fn await_link(&mut self, entry: &str, act: Link) {
        self.unlinked.insert(entry.to_owned(), act);
    }

    /// Whether all blocks of the node were met, and this number is not open.
    pub(super) fn should_link(&self, node: &str, number: u64) -> bool {
        self.nodes
            .get(node)
            .or_else(|| self.archived.get(node))
            .is_some_and(|chain| chain.is_whole && number <= chain.last && !chain.open.contains(&number))
    }

    /// The highest numbers of blocks, by node; of nodes all of whose blocks are to be removed, none.
    pub(super) fn ends(&self) -> impl Iterator<Item = (&str, u64)> {
        let is_kept = |(node, chain): &(&String, &Chain)| {
            self.kept.get(&stream_of(node)).is_none_or(|kept| !comes_before(&chain.entry, &kept.first))
        };
        self.nodes.iter().filter(is_kept).map(|(node, chain)| (node.as_str(), chain.block))
    }

    /// What was signed, or linked, and not met. `from`: blocks before that time are left out.
    pub(super) fn missing(&self, kept: &BTreeMap<String, KeptFrom>, from: Option<DateTime<Utc>>) -> Vec<String> {
        let mut missing = Vec::new();
        let is_removed =
            |stream: &str, entry: &str| kept.get(stream).is_some_and(|kept| comes_before(entry, &kept.first));
        let from = from.map(|from| format!("{}-0", from.timestamp_millis().max(0))).unwrap_or_default();
        let is_left_out = |stream: &str, entry: &str| is_removed(stream, entry) || comes_before(entry, &from);
        for (stream, after, what) in &self.gaps {
            if after.is_empty() || !is_left_out(stream, after) {
                missing.push(what.clone());
            }
        }
        for (node, signed) in &self.signed {
            let end = self.nodes.get(node).map_or(0, |chain| chain.block);
            for head in signed.values().filter(|head| !is_left_out(&stream_of(node), &head.entry)) {
                let of = format!("{} (node {node}, block {})", place(&stream_of(node), &head.entry), head.block);
                missing.push(if head.block > end {
                    format!(
                        "{of}: it was signed and is missing, with all after block {end}: events up to number {}",
                        head.last
                    )
                } else {
                    format!("{of}: it was signed and is missing")
                });
            }
        }
        for (entry, (node, number, _)) in &self.links {
            if !is_removed(ACTS, entry) {
                missing.push(format!(
                    "{} (node {node}, number {number}): a block links it and it is missing",
                    place(ACTS, entry)
                ));
            }
        }
        missing.extend(self.not_linked());
        missing.sort_unstable();
        missing
    }

    /// Acts in an archive that a block should have linked.
    pub(super) fn not_linked(&self) -> Vec<String> {
        let should = self.unlinked.iter().filter(|(_, (node, number, _))| self.should_link(node, *number));
        should
            .map(|(entry, (node, number, _))| {
                format!("{} (node {node}, number {number}): no block links it", place(ACTS, entry))
            })
            .collect()
    }

    /// What a checkpoint says of one stream, of which a segment of an archive follows. `begins`: nothing before it was archived. Returns
    /// what is wrong with what came before it.
    pub(super) fn sign_segment(&mut self, stream: &str, checkpoint: &Checkpoint, begins: bool) -> Vec<String> {
        self.horizon = Default::default();
        if begins {
            self.kept.insert(stream.to_owned(), checkpoint.kept.get(stream).cloned().unwrap_or_default());
        }
        let mut wrong = Vec::new();
        for (node, head) in checkpoint.nodes.iter().filter(|(node, _)| stream_of(node) == stream) {
            self.horizon.0.insert(node.clone(), head.block);
            let last = self.horizon.1.entry(stream.to_owned()).or_default();
            if comes_before(last, &head.entry) {
                last.clone_from(&head.entry);
            }
            match self.nodes.get(node) {
                Some(chain) if chain.block < head.block => {}
                Some(chain) if chain.block == head.block && chain.hash == head.hash => continue,
                Some(_) => {
                    wrong.push(format!("block {} of the node {node} is another one than was signed", head.block));
                    continue;
                }
                None => {}
            }
            self.signed.entry(node.clone()).or_default().insert(head.block, head.clone());
        }
        wrong
    }

    /// The same of the acts, where nothing before them was archived.
    pub(super) fn begin_acts(&mut self, checkpoint: &Checkpoint) {
        self.kept.insert(ACTS.to_owned(), checkpoint.kept.get(ACTS).cloned().unwrap_or_default());
    }

    /// After a segment of a stream, up to an entry: what of it is missing.
    pub(super) fn end_segment(&mut self, stream: &str, last: &str) -> Vec<String> {
        let first = self.kept.get(stream).map(|kept| kept.first.clone()).unwrap_or_default();
        // What came before the archive is in none.
        let gaps = self.gaps.drain(..).filter(|(_, after, _)| after.is_empty() || !comes_before(after, &first));
        let mut missing: Vec<String> = gaps.map(|(.., what)| what).collect();
        for (node, signed) in self.signed.iter_mut().filter(|(node, _)| stream_of(node) == stream) {
            signed.retain(|block, head| {
                let is_later = comes_before(last, &head.entry);
                if !is_later {
                    missing.push(format!(
                        "{} (node {node}, block {block}): it was signed and is missing",
                        place(stream, &head.entry)
                    ));
                }
                is_later
            });
        }
        missing
    }

    /// After the last segment of an archive, of which this was the last act: what of it is missing. What is met from now on goes on from
    /// there.
    pub(super) fn end_archive(&mut self, last_act: &str) -> Vec<String> {
        let first = self.kept.get(ACTS).map(|kept| kept.first.clone()).unwrap_or_default();
        let links = std::mem::take(&mut self.links);
        let (later, missing): (HashMap<_, _>, HashMap<_, _>) =
            links.into_iter().partition(|(entry, _)| comes_before(last_act, entry) || comes_before(entry, &first));
        self.archived_links = later;
        self.archived = std::mem::take(&mut self.nodes);
        (self.horizon, self.kept, self.signed) = Default::default();
        let missing = missing.iter().map(|(entry, (node, number, _))| {
            format!("{} (node {node}, number {number}): a block links it and it is missing", place(ACTS, entry))
        });
        missing.collect()
    }
}
