//! The check of an export, line by line.

mod archive;

use std::collections::{BTreeMap, BTreeSet};

use aws_lc_rs::digest::{Context, SHA256};

use super::chains::{Chains, place};
use super::report::Report;
use super::segments::{Beginning, Segments};
use super::{RECORD, Record, VERSION};
use crate::audit::archive::Segment;
use crate::audit::block::{Header, Lines, hash, hex};
use crate::audit::checkpoint::{ActsHead, Checkpoint, Lost, Mark, Seal};
use crate::audit::printable;
use crate::store::{ACTS, comes_before};
use crate::token::VerificationKey;

/// More events than this are in no block.
const MOST_IN_BLOCK: u64 = 16 * 1024;
/// The stream of checkpoints.
const CHECKPOINTS: &str = "checkpoints";

/// See the module. Its memory grows with nodes, checkpoints and acts, and not with events.
pub struct Verification {
    keys: Vec<VerificationKey>,
    report: Report,
    /// Of all lines so far: see [`Mark::lines`].
    digest: Context,
    dataset: Option<String>,
    checkpoints: Checkpoints,
    chains: Chains,
    /// The entry that was read last.
    reached: String,
    /// The same by stream.
    entries: BTreeMap<String, String>,
    /// The block whose events are being read.
    block: Option<Reading>,
    acts: Acts,
    seal: Option<Seal>,
    segments: Segments,
    /// What is being read was in the archive already.
    is_again: bool,
}

/// The checkpoints as far as they were read.
#[derive(Default)]
struct Checkpoints {
    first: Option<u64>,
    /// The last one, and the hash of its text.
    last: Option<(Checkpoint, String)>,
    /// The last one before the blocks: what it names was written when they were read.
    proven: Option<Checkpoint>,
}

/// The acts as far as they were read.
#[derive(Default)]
struct Acts {
    /// From where on they are to be there, what they come to, and up to which entry that was signed, as which hash.
    base: Option<(String, ActsHead)>,
    hash: String,
    is_reached: bool,
    /// The one whose event is to follow, and its epoch.
    open: Option<(String, String)>,
    /// Of an archive: entries up to which it was signed what the acts come to, and are not met yet.
    signed: BTreeMap<String, String>,
    /// The last one in an archive, and what the acts come to with it.
    archived: Option<(String, String)>,
}

/// A block whose events are being read.
struct Reading {
    place: String,
    header: Header,
    lines: Lines,
    next: u64,
    omitted: BTreeMap<u64, String>,
    /// Of the events that were read.
    numbers: BTreeSet<u64>,
    before: Option<(u64, BTreeSet<u64>)>,
}

impl Verification {
    /// With the public keys of the audit.
    pub fn new(keys: Vec<VerificationKey>) -> Self {
        Self {
            keys,
            report: Report::default(),
            digest: Context::new(&SHA256),
            dataset: None,
            checkpoints: Checkpoints::default(),
            chains: Chains::default(),
            reached: "the beginning".to_owned(),
            entries: BTreeMap::new(),
            block: None,
            acts: Acts::default(),
            seal: None,
            segments: Segments::default(),
            is_again: false,
        }
    }

    /// Takes the next line, without its end.
    pub fn line(&mut self, line: &str) {
        if self.segments.file().is_none() {
            self.end_archive();
        }
        let before = self.digest.clone();
        self.digest.update(line.as_bytes());
        self.digest.update(b"\n");
        if !line.starts_with(RECORD) {
            return self.event(line);
        }
        self.end_block();
        self.end_act();
        match serde_json::from_str::<Record>(line) {
            Err(_) => self.report.wrong(format!("after {}: a record can't be read", self.reached)),
            Ok(_) if self.seal.is_some() || self.segments.is_sealed() => {
                self.report.wrong("there is more after the end".to_owned())
            }
            Ok(Record::Segment { version, dataset, stream, number, previous, after }) => {
                if self.segments.file().is_none() {
                    return self.report.wrong("a segment of an archive is in the middle of it".to_owned());
                }
                let beginning = Beginning { version, dataset, stream, number, previous, after };
                let (wrong, note) = self.segments.begin(beginning);
                self.report.all_wrong(wrong);
                self.report.notes.extend(note);
            }
            Ok(Record::Begin { .. }) if self.segments.file().is_some() => {
                self.report.wrong("it is no segment of an archive".to_owned());
            }
            Ok(Record::Begin { version, dataset, part, .. }) => {
                if self.segments.dataset.as_ref().is_some_and(|archived| *archived != dataset) {
                    self.report.wrong(format!("it is of the dataset {dataset}, and the archive is of another one"));
                }
                if version == 0 || version > VERSION {
                    self.report.wrong(format!("it is of version {version}, and this program reads up to {VERSION}"));
                }
                if self.dataset.is_some() {
                    self.report.wrong("it begins twice".to_owned());
                }
                self.dataset = Some(dataset);
                self.report.part = part;
            }
            Ok(Record::Checkpoint { id, text }) => self.checkpoint(&id, &text),
            Ok(Record::Block { stream, id, header, withheld, omitted }) => {
                self.begin_block(&stream, &id, &header, withheld, omitted);
            }
            Ok(Record::Act { id, epoch, omitted }) => self.begin_act(id, epoch, omitted),
            Ok(Record::Mark { text }) => self.mark(line, &text, before),
            Ok(Record::Broken { reason }) => {
                self.report.wrong(format!(
                    "after {}: the export was stopped: {}",
                    self.reached,
                    printable(&reason, 64)
                ));
            }
            Ok(Record::Seal { text }) if self.segments.file().is_some() => {
                let opened = Segment::open(&text, &self.keys);
                let wrong = self.segments.seal(&text, opened, &hex(before.finish().as_ref()));
                self.report.all_wrong(wrong);
            }
            Ok(Record::Seal { text }) => match Seal::open(&text, &self.keys) {
                Ok(seal) => {
                    if seal.lines != hex(before.finish().as_ref()) {
                        self.report.wrong("its lines are not those that were signed when it was exported".to_owned());
                    }
                    self.seal = Some(seal);
                }
                Err(why) => self.report.wrong(format!("the seal at the end is none: {why}")),
            },
        }
    }

    /// Finds something wrong with the text itself, which can't be read on.
    pub fn unreadable(&mut self, why: &str) {
        self.report.wrong(format!("after {}: it can't be read on: {why}", self.reached));
    }

    /// What came of it.
    pub fn finish(mut self) -> Report {
        self.end_archive();
        self.end_block();
        self.end_act();
        if self.dataset.is_none() && self.segments.are_there() {
            return self.of_archive();
        }
        self.proven();
        let Some(dataset) = self.dataset.take() else {
            self.report.wrong("it has no beginning: it is no export of an audit".to_owned());
            return self.report;
        };
        let number = self.checkpoints.last.as_ref().map_or(0, |(last, _)| last.number);
        match &self.seal {
            None => {
                self.report.wrong("it has no end: what is there may be the beginning of an export only".to_owned());
            }
            Some(seal) if seal.dataset != dataset || seal.checkpoint != number || seal.part != self.report.part => {
                self.report.wrong(format!(
                    "its end was signed for the checkpoint {} of the dataset {}, and the last one here is {number} of {dataset}",
                    seal.checkpoint, seal.dataset
                ));
            }
            Some(_) => {}
        }
        let (Some((last, _)), Some(proven)) = (self.checkpoints.last.take(), self.checkpoints.proven.take()) else {
            self.report.wrong("there is no checkpoint: nothing of it is proven".to_owned());
            return self.report;
        };
        if last.dataset != dataset {
            self.report.wrong(format!("its checkpoints are of the dataset {}", last.dataset));
        }
        if let Some(first) = self.checkpoints.first.filter(|first| *first > last.oldest) {
            self.report.wrong(format!("checkpoints are missing before number {first}, which should be there"));
        }
        for what in self.chains.missing(&last.kept, self.report.part.from) {
            self.report.wrong(what);
        }
        self.acts_are_all(&proven, &last);
        self.are_lost(&last.lost);
        if self.segments.are_there() {
            let archived = last.archived.iter();
            let lacks: Vec<String> = archived
                .filter_map(|(stream, archived)| self.segments.lacks(stream, archived, Some(last.time)))
                .collect();
            self.report.all_wrong(lacks);
        }
        let blocks = self
            .chains
            .ends()
            .map(|(node, block)| block.saturating_sub(proven.nodes.get(node).map_or(0, |head| head.block)));
        self.report.unproven += blocks.sum::<u64>();
        self.report.proven_until = Some(proven.time);
        self.report
    }

    fn are_lost(&mut self, lost: &[Lost]) {
        for Lost { node, head, noticed_at } in lost {
            self.report.wrong(format!(
                "the service has noticed at {} that block {} of the node {node}, which had been signed, was gone or another one: \
                 events up to number {} are in doubt",
                crate::clock::rfc3339::text(noticed_at),
                head.block,
                head.last
            ));
        }
    }

    fn enter(&mut self, stream: &str, id: &str) -> String {
        let place = place(stream, id);
        if self.segments.file().is_some() {
            self.is_again = false;
            if stream != CHECKPOINTS
                && let Some(what) = self.segments.entry(stream, id)
            {
                self.report.wrong(format!("{place}: {what}"));
            }
        } else {
            self.is_again = !comes_before(self.segments.reached(stream), id);
        }
        self.reached.clone_from(&place);
        if self.entries.get(stream).is_some_and(|last| !comes_before(last, id)) {
            self.report.wrong(format!("{place}: it is out of order"));
        }
        self.entries.insert(stream.to_owned(), id.to_owned());
        place
    }

    /// It stands for all lines before it from here on: what comes after it is checked by itself.
    fn mark(&mut self, line: &str, text: &str, before: Context) {
        let lines = hex(before.finish().as_ref());
        let mark = match Mark::open(text, &self.keys) {
            Ok(mark) => mark,
            Err(why) => {
                self.report.wrong(format!("after {}: a mark is none: {why}", self.reached));
                self.digest = Mark::digest(&lines, line);
                return;
            }
        };
        if mark.lines != lines {
            self.report.wrong(format!("up to {}: its lines are not those that were signed", self.reached));
        }
        if Some(&mark.dataset) != self.dataset.as_ref() || mark.part != self.report.part {
            self.report.wrong(format!("after {}: a mark was signed for another export", self.reached));
        }
        self.digest = Mark::digest(&mark.lines, line);
    }

    fn checkpoint(&mut self, id: &str, text: &str) {
        let is_of_segment = self.segments.file().is_some();
        // One may prove several segments.
        let place = if is_of_segment { place(CHECKPOINTS, id) } else { self.enter(CHECKPOINTS, id) };
        self.report.checkpoints += 1;
        let checkpoint = match Checkpoint::open(text, &self.keys) {
            Ok(checkpoint) => checkpoint,
            Err(why) => return self.report.wrong(format!("{place}: {why}")),
        };
        if is_of_segment {
            return self.prove_segment(&place, &checkpoint);
        }
        self.checkpoints.first.get_or_insert(checkpoint.number);
        if let Some((before, hash)) = &self.checkpoints.last
            && (checkpoint.number != before.number + 1 || checkpoint.previous != *hash)
        {
            let (number, before) = (checkpoint.number, before.number);
            self.report.wrong(format!(
                "{place}: it is number {number}, and does not follow number {before}: one was removed or changed"
            ));
        }
        // Those that come later name blocks that were written when others had been read already.
        if self.checkpoints.proven.is_none() {
            self.chains.sign(&checkpoint);
        }
        self.checkpoints.last = Some((checkpoint, hash(text)));
    }

    /// From now on blocks and acts come.
    fn proven(&mut self) -> Option<&Checkpoint> {
        if self.checkpoints.proven.is_none() {
            self.checkpoints.proven = self.checkpoints.last.as_ref().map(|(last, _)| last.clone());
        }
        self.checkpoints.proven.as_ref()
    }

    fn begin_block(&mut self, stream: &str, id: &str, text: &str, withheld: bool, omitted: Vec<(u64, String)>) {
        let mut place = self.enter(stream, id);
        self.report.blocks += u64::from(!self.is_again);
        if self.segments.file().is_none() {
            self.proven();
        }
        let met = self.chains.meet(stream, id, text);
        if let Some(header) = &met.header {
            place = format!("{place} (node {}, block {})", header.node, header.block);
        }
        for what in met.wrong {
            self.report.wrong(format!("{place}: {what}"));
        }
        let Some(header) = met.header else { return };
        self.report.left_out += if withheld { header.count } else { omitted.len() as u64 };
        if !withheld {
            let (lines, numbers) = (Lines::default(), BTreeSet::new());
            let (omitted, before) = (omitted.into_iter().collect(), met.before);
            self.block = Some(Reading { place, header, lines, next: 0, omitted, numbers, before });
        }
    }

    fn begin_act(&mut self, id: String, epoch: String, omitted: Option<String>) {
        self.enter(ACTS, &id);
        self.report.acts += u64::from(!self.is_again);
        if self.segments.file().is_none() {
            self.proven();
        }
        if self.acts.base.is_none() {
            // The last one so far: it was read after the first acts were.
            let last = self.checkpoints.last.as_ref().map(|(last, _)| last);
            let first = last.and_then(|last| last.kept.get(ACTS)).map(|kept| kept.first.clone()).unwrap_or_default();
            let head = last.map(|last| last.acts.clone()).unwrap_or_default();
            self.acts.hash.clone_from(&head.before);
            if let Some((last, hash)) = &self.acts.archived
                && comes_before(last, &first)
                && head.before != *hash
            {
                self.report.wrong(format!("{}: the acts up to it are not those that were archived", place(ACTS, last)));
            }
            self.acts.base = Some((first, head));
        }
        match omitted {
            Some(hash) => {
                self.report.left_out += 1;
                self.take_act(&id, &epoch, &hash, None);
            }
            None => self.acts.open = Some((id, epoch)),
        }
    }

    fn event(&mut self, line: &str) {
        self.report.events += u64::from(!self.is_again);
        if let Some((id, epoch)) = self.acts.open.take() {
            return self.take_act(&id, &epoch, &hash(line), Some(line));
        }
        let Some(block) = &mut self.block else {
            return self.report.wrong(format!("after {}: an event that belongs to no block", self.reached));
        };
        block.skip_omitted();
        block.lines.push(line);
        block.next += 1;
        if block.next > MOST_IN_BLOCK {
            if block.next == MOST_IN_BLOCK + 1 {
                self.report.wrong(format!("{}: it has more events than any that is written", block.place));
            }
            return;
        }
        match numbered(line) {
            Some((node, number)) if node == block.header.node => {
                if !block.numbers.insert(number) {
                    self.report.wrong(format!("{}: number {number} is there twice", block.place));
                }
            }
            _ => self.report.wrong(format!("{}: event {} has not the number of its node", block.place, block.next)),
        }
    }

    fn end_act(&mut self) {
        if let Some((id, _)) = self.acts.open.take() {
            self.report.wrong(format!("{}: its event is missing", place(ACTS, &id)));
        }
    }

    fn take_act(&mut self, id: &str, epoch: &str, hashed: &str, line: Option<&str>) {
        let place = place(ACTS, id);
        let Some((first, signed)) = &self.acts.base else { return };
        // Signed as removed, and not removed yet.
        if !comes_before(id, first) {
            self.acts.hash = ActsHead::after_hashed(&self.acts.hash, id, epoch, hashed);
        }
        let is_archive = self.segments.file().is_some();
        if is_archive {
            if self.acts.signed.remove(id).is_some_and(|hash| hash != self.acts.hash) {
                self.report.wrong(format!("{place}: the acts up to it are not those that were signed"));
            }
        } else if signed.last == id {
            self.acts.is_reached = true;
            if self.acts.hash != signed.hash {
                self.report.wrong(format!("{place}: the acts up to it are not those that were signed"));
            }
        } else if comes_before(&signed.last, id) {
            self.report.unproven += 1;
        }
        if self.acts.archived.as_ref().is_some_and(|(last, hash)| !is_archive && last == id && *hash != self.acts.hash)
        {
            self.report.wrong(format!("{place}: the acts up to it are not those that were archived"));
        }
        let event = line.and_then(numbered);
        if line.is_some() && event.is_none() {
            self.report.wrong(format!("{place}: its event has no number"));
        }
        match (self.chains.link(id), event) {
            (Some((node, number, hash)), event) => {
                if hash != hashed || event.is_some_and(|event| event != (node.as_str(), number)) {
                    self.report.wrong(format!("{place} (node {node}, number {number}): it was changed"));
                }
            }
            (None, Some((node, number))) if is_archive => {
                self.chains.await_link(id, (node.to_owned(), number, hashed.to_owned()));
            }
            (None, Some(_)) if self.is_again => {}
            (None, Some((node, number))) if self.chains.should_link(node, number) => {
                self.report.wrong(format!("{place} (node {node}, number {number}): no block links it"));
            }
            (None, _) => {}
        }
    }

    fn acts_are_all(&mut self, proven: &Checkpoint, last: &Checkpoint) {
        let signed = self.acts.base.take().map_or_else(|| proven.acts.clone(), |(_, signed)| signed);
        let are_removed = last.kept.get(ACTS).is_some_and(|kept| comes_before(&signed.last, &kept.first));
        if !self.acts.is_reached && !signed.last.is_empty() && !are_removed {
            let last = &signed.last;
            self.report
                .wrong(format!("{}: it was signed and is missing, or acts before it were changed", place(ACTS, last)));
        }
    }

    fn end_block(&mut self) {
        let Some(mut block) = self.block.take() else { return };
        block.skip_omitted();
        let Reading { place, header, lines, next, omitted, mut numbers, before } = block;
        if next != header.count {
            return self.report.wrong(format!("{place}: {next} of its {} events are there", header.count));
        }
        if lines.finish() != header.lines {
            return self.report.wrong(format!("{place}: its events were changed"));
        }
        // Without all of its events, and those before it, nobody can tell which numbers they have.
        let Some((last, open)) = before else { return };
        if !omitted.is_empty() {
            return;
        }
        for number in header.acts.iter().map(|(number, ..)| number).chain(&header.void) {
            if !numbers.insert(*number) {
                self.report.wrong(format!("{place}: number {number} is there twice"));
            }
        }
        let still_open: BTreeSet<u64> = header.open.iter().copied().collect();
        // Counted first: a header may name any number, and there must be as many as it says.
        let counted =
            header.last.checked_sub(last).and_then(|more| usize::try_from(more).ok()?.checked_add(open.len()));
        let is_all = counted == Some(numbers.len() + still_open.len()) && {
            let mut expected = open;
            expected.extend((last..header.last).map(|number| number + 1));
            numbers.is_subset(&expected) && expected.difference(&numbers).eq(&still_open)
        };
        if !is_all {
            self.report.wrong(format!("{place}: the numbers of its events have gaps, or were given before"));
        }
    }
}

impl Reading {
    fn skip_omitted(&mut self) {
        while let Some(hash) = self.omitted.get(&self.next) {
            self.lines.push_hashed(hash);
            self.next += 1;
        }
    }
}

/// Node and number of an event, as we write them.
pub(crate) fn numbered(line: &str) -> Option<(&str, u64)> {
    let (node, rest) = line.strip_prefix("{\"node\":\"")?.split_once("\",\"sequence\":")?;
    let (number, _) = rest.split_once(',')?;
    Some((node, number.parse().ok()?))
}
