//! The chain of a node's blocks, as the process has it that claimed it (protocols, section 6, A3).
//!
//! Numbers are given in memory, under a claim that the store knows. A process that finds its claim lost, because it is not known
//! whether an act was committed, because another process of this name has claimed it, or because the store has another end of the
//! chain than it should, claims it again: then the store says what there is, every number that was given before and is not found
//! there is void, and numbers go on after the last one.

use std::collections::{BTreeMap, BTreeSet};

use crate::audit::block::{Header, Lines as Digest, hash};
use crate::audit::push_numbered;
use crate::store::{ActEntry, Block, Claimed, Head};

/// More acts than this are never on their way at once.
const MOST_OPEN: u64 = 100_000;

/// See the module.
pub(super) struct Chain {
    claim: String,
    /// The last block.
    block: u64,
    hash: String,
    entry: String,
    /// The next number.
    next: u64,
    /// Numbers that were given and are in no block.
    open: BTreeMap<u64, Number>,
    void: Vec<u64>,
    /// Acts that are still noted as not linked, and are.
    linked: BTreeSet<u64>,
}

/// What has become of a number.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Number {
    /// An act has it.
    Given,
    /// The act came to nothing: the next event gets it.
    Returned,
}

impl Chain {
    /// As the store has it.
    pub(super) fn of(claimed: Claimed) -> Self {
        let Claimed { claim, head: Head { block, last, hash, entry, open }, acts } = claimed;
        let (open_before, void) = (open, Vec::new());
        let (open, linked) = (BTreeMap::new(), BTreeSet::new());
        let mut chain = Self { claim, block, hash, entry, next: last + 1, open, void, linked };
        let Some(acts) = acts else {
            // Acts of others who had this name: an issuer says what has become of them.
            chain.open = open_before.into_iter().map(|number| (number, Number::Given)).collect();
            return chain;
        };
        // Where the last block is missing, nobody can tell which of them were calls.
        let first = (last + 1).max(acts.last.saturating_sub(MOST_OPEN));
        for number in open_before.into_iter().chain(first..=acts.last) {
            if acts.unlinked.contains_key(&number) {
                chain.open.insert(number, Number::Given);
            } else {
                chain.void.push(number);
            }
        }
        chain.linked = acts.unlinked.into_keys().filter(|number| !chain.open.contains_key(number)).collect();
        chain.next = last.max(acts.last) + 1;
        chain
    }

    pub(super) fn claim(&self) -> &str {
        &self.claim
    }

    /// A number for an act.
    #[cfg_attr(not(feature = "server"), expect(dead_code, reason = "an API carries out no acts"))]
    pub(super) fn give(&mut self) -> u64 {
        let number = self.take();
        self.open.insert(number, Number::Given);
        number
    }

    /// The act of this number was certainly not committed.
    #[cfg_attr(not(feature = "server"), expect(dead_code, reason = "an API carries out no acts"))]
    pub(super) fn give_back(&mut self, number: u64) {
        self.open.entry(number).and_modify(|state| *state = Number::Returned);
    }

    fn take(&mut self) -> u64 {
        let returned = self.open.iter().find(|(_, state)| **state == Number::Returned).map(|(number, _)| *number);
        match returned {
            Some(number) => {
                self.open.remove(&number);
                number
            }
            None => {
                self.next += 1;
                self.next - 1
            }
        }
    }

    /// Whether a block is to be written although there is no event.
    pub(super) fn has_void(&self) -> bool {
        !self.void.is_empty()
    }

    /// Whether a block is to link any of these.
    pub(super) fn is_to_link(&self, committed: &BTreeMap<u64, ActEntry>) -> bool {
        committed.keys().any(|number| self.open.contains_key(number))
    }

    /// Acts that need not be noted as not linked any more.
    pub(super) fn linked(&self) -> Vec<u64> {
        self.linked.iter().copied().collect()
    }

    /// They are not noted so any more.
    pub(super) fn forget(&mut self, linked: &[u64]) {
        linked.iter().for_each(|number| _ = self.linked.remove(number));
    }

    /// Makes the next block of events that have no numbers yet, and of acts that are committed. It is to be [written](Self::written),
    /// or the chain to be claimed again.
    pub(super) fn seal(&mut self, node: &str, lines: &str, count: usize, committed: &BTreeMap<u64, ActEntry>) -> Block {
        let mut text = String::with_capacity(lines.len() + count * (node.len() + 40));
        let mut digest = Digest::default();
        let mut written = 0;
        let mut rest = lines;
        while let Some((line, after)) =
            memchr::memchr(b'\n', rest.as_bytes()).and_then(|end| rest.split_at_checked(end))
        {
            rest = after.get(1..).unwrap_or_default();
            let start = text.len();
            push_numbered(&mut text, line, node, self.take());
            digest.push(text.get(start..).unwrap_or_default());
            text.push('\n');
            written += 1;
        }
        let acts: Vec<u64> = committed.keys().copied().filter(|number| self.open.remove(number).is_some()).collect();
        let header = Header {
            node: node.to_owned(),
            block: self.block + 1,
            previous: self.hash.clone(),
            after: self.entry.clone(),
            count: written,
            lines: digest.finish(),
            last: self.next - 1,
            acts: acts
                .iter()
                .filter_map(|number| committed.get(number).map(|act| (*number, act.id.clone(), act.hash.clone())))
                .collect(),
            void: std::mem::take(&mut self.void),
            open: self.open.keys().copied().collect(),
        };
        let text_of_header = header.to_text();
        Block {
            node: header.node,
            claim: self.claim.clone(),
            number: header.block,
            last: header.last,
            hash: hash(&text_of_header),
            open: header.open,
            header: text_of_header,
            lines: text,
            after: header.after,
            acts,
        }
    }

    /// The block is in the store, as this entry.
    pub(super) fn written(&mut self, block: &Block, entry: String) {
        self.block = block.number;
        self.hash.clone_from(&block.hash);
        self.entry = entry;
        self.linked.extend(&block.acts);
    }

    /// The entry of the last block; empty: there is none.
    pub(super) fn entry(&self) -> String {
        self.entry.clone()
    }

    /// The number of the last block.
    pub(super) fn block(&self) -> u64 {
        self.block
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Acts;

    fn claimed(head: Head, acts: Option<(u64, &[u64])>) -> Claimed {
        let acts = acts.map(|(last, unlinked)| {
            let entry = |number: &u64| (*number, ActEntry { id: format!("{number}-0"), hash: "ab".into() });
            Acts { last, unlinked: unlinked.iter().map(entry).collect() }
        });
        Claimed { claim: "c".into(), head, acts }
    }

    fn seal(chain: &mut Chain, lines: &str, committed: &[u64]) -> Header {
        let entry = |number: &u64| (*number, ActEntry { id: format!("{number}-0"), hash: "ab".into() });
        let block = chain.seal("n", lines, lines.lines().count(), &committed.iter().map(entry).collect());
        chain.written(&block, format!("{}-0", block.number));
        serde_json::from_str(&block.header).unwrap()
    }

    #[test]
    fn blocks_are_linked_and_numbers_have_no_gaps() {
        let mut chain = Chain::of(claimed(Head::default(), Some((0, &[]))));
        let first = seal(&mut chain, "{\"a\":1}\n{\"a\":2}\n", &[]);
        assert_eq!((first.block, first.previous.as_str(), first.after.as_str(), first.last), (1, "", "", 2));
        let (refused, done, unknown) = (chain.give(), chain.give(), chain.give());
        assert_eq!((refused, done, unknown), (3, 4, 5));
        chain.give_back(refused);
        let second = seal(&mut chain, "{\"a\":3}\n{\"a\":4}\n", &[done]);
        assert_eq!((second.previous, second.after.as_str()), (hash(&first.to_text()), "1-0"));
        assert_eq!((second.last, second.count, second.open), (6, 2, vec![unknown]));
        assert_eq!(second.acts, [(4, "4-0".to_owned(), "ab".to_owned())]);
        // Linked once.
        assert_eq!(seal(&mut chain, "", &[done]).acts, Vec::new());
        assert_eq!(chain.linked(), [done]);
        chain.forget(&[done]);
        assert!(chain.linked().is_empty());
    }

    #[test]
    fn what_the_store_does_not_have_is_void_and_what_it_has_is_linked() {
        let head = Head { block: 3, last: 10, hash: "h".into(), entry: "9-0".into(), open: vec![7, 8] };
        let mut chain = Chain::of(claimed(head.clone(), Some((13, &[8, 13, 2]))));
        assert!(chain.has_void());
        assert_eq!(chain.linked(), [2]);
        let block = seal(&mut chain, "{\"a\":1}\n", &[2, 8, 13]);
        assert_eq!((block.block, block.previous.as_str(), block.after.as_str()), (4, "h", "9-0"));
        assert_eq!(block.void, [7, 11, 12]);
        // The one that an earlier block links is not linked again.
        assert_eq!(block.acts.iter().map(|(number, ..)| *number).collect::<Vec<_>>(), [8, 13]);
        assert_eq!((block.last, block.open), (14, Vec::new()));
        assert!(!chain.has_void());
        // Whoever can't know leaves open what was open.
        let mut chain = Chain::of(claimed(head, None));
        let block = seal(&mut chain, "{\"a\":1}\n", &[]);
        assert_eq!((block.last, block.open, block.void), (11, vec![7, 8], Vec::new()));
    }

    #[test]
    fn a_last_block_that_is_missing_makes_no_endless_list() {
        let chain = Chain::of(claimed(Head::default(), Some((1_000_000_000_000, &[]))));
        assert_eq!((chain.next, chain.void.len()), (1_000_000_000_001, MOST_OPEN as usize + 1));
    }
}
