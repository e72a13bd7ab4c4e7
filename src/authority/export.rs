//! The audit as a text that can be checked without the store: see [`crate::audit::proof`].

use std::collections::VecDeque;
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::stream::{self, Stream};
use tokio::sync::OwnedSemaphorePermit;

use super::{Authority, Error};
use crate::account::AccountId;
use crate::audit::Event;
use crate::audit::block::{Header, hash, hex};
use crate::audit::checkpoint::{Checkpoint, Mark, Part, Reached, Seal};
use crate::audit::proof::{Record, VERSION};
use crate::store::{ACTS, StoredAct, StoredBlock, comes_before, for_one_request, just_before, schema};

/// Bytes after which it can be gone on with: no more than about as many are sent again after an interruption, and a signature for each
/// of them costs nothing beside reading them.
const MARK_EVERY: usize = 256 * 1024;
/// For so long it can be: of what was removed from the store meanwhile, the checkpoints must still be there.
const MARK_LIVES: TimeDelta = TimeDelta::hours(1);

/// How far an export is.
enum Step {
    Begin,
    Checkpoints,
    Shard(u16),
    BeginActs,
    Acts,
    /// Those that were written meanwhile: before the acts are gone on with, and at the end.
    CheckpointsBeforeActs,
    LaterCheckpoints,
    Seal,
    End,
}

/// What is exported, and for whom.
pub struct Exporting {
    /// Which part.
    pub part: Part,
    /// From where on. `None`: from the beginning.
    pub after: Option<ExportMark>,
    /// A place among those that are under way: see [`Authority::place_to_export`].
    pub place: OwnedSemaphorePermit,
}

/// A place in an export of this dataset, signed by one of us: see [`Authority::export_mark`].
pub struct ExportMark {
    mark: Mark,
    text: String,
}

impl ExportMark {
    /// Of which part.
    pub fn part(&self) -> &Part {
        &self.mark.part
    }
}

struct Export<M> {
    authority: Arc<Authority>,
    may_still: M,
    _place: OwnedSemaphorePermit,
    part: Part,
    step: Step,
    /// The entry that was reached.
    reached: String,
    checkpoint: String,
    /// The number of the last checkpoint.
    number: u64,
    lines: VecDeque<String>,
    acts: Vec<StoredAct>,
    /// Of all lines so far: see [`Mark::lines`].
    digest: Context,
    /// Bytes since the last mark.
    unmarked: usize,
}

impl Authority {
    /// A place among the exports that are under way at once. `None`: all are taken.
    pub fn place_to_export(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places_to_export).try_acquire_owned().ok()
    }

    /// Reads a mark: one that a process of this dataset has signed, within the last hour. What it says is believed for its signature
    /// alone.
    pub fn export_mark(&self, text: &str) -> Result<ExportMark, Error> {
        let unusable = |why: &str| Error::field("after", format!("{why}; begin anew without it"));
        let loaded = self.keys.now();
        let mark =
            Mark::open(text, &loaded.audit.public).map_err(|_| unusable("it is no mark of an export from here"))?;
        if mark.dataset != self.dataset.id {
            return Err(unusable("it is no mark of an export from here"));
        }
        if self.clock.now() - mark.time > MARK_LIVES {
            return Err(unusable("it is older than an hour"));
        }
        Ok(ExportMark { mark, text: text.to_owned() })
    }

    /// Exports the audit: texts of some lines each. Before each it is asked whether he may still have it: why not, if not; `false`: that
    /// can't be known now. It ends with an error where the store does; what was exported until then has no end, which whoever checks it
    /// notices.
    pub fn export<M, F>(
        self: &Arc<Self>,
        exporting: Exporting,
        may_still: M,
    ) -> impl Stream<Item = Result<String, Error>> + Send + use<M, F>
    where
        M: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = Result<bool, String>> + Send,
    {
        let Exporting { part, after, place } = exporting;
        let mut export = Export {
            authority: Arc::clone(self),
            may_still,
            _place: place,
            part,
            step: Step::Begin,
            reached: String::new(),
            checkpoint: String::new(),
            number: 0,
            lines: VecDeque::new(),
            acts: Vec::new(),
            digest: Context::new(&SHA256),
            unmarked: 0,
        };
        if let Some(after) = after {
            export.take_up(after);
        }
        stream::try_unfold(export, |mut export| async move {
            loop {
                if matches!(export.step, Step::End) {
                    return Ok(None);
                }
                match (export.may_still)().await {
                    Ok(true) => {}
                    Ok(false) => return Err(Error::Unavailable("nobody knows who may have it".into())),
                    Err(reason) => {
                        export.step = Step::End;
                        return Ok(Some((Record::Broken { reason }.to_line() + "\n", export)));
                    }
                }
                // Each read has the time of a request.
                let text = for_one_request(export.next()).await?;
                if !text.is_empty() {
                    return Ok(Some((text, export)));
                }
            }
        })
    }
}

impl<M> Export<M> {
    async fn next(&mut self) -> Result<String, Error> {
        self.lines.clear();
        match self.step {
            Step::Begin => {
                let dataset = self.authority.dataset.id.clone();
                let (time, part) = (self.authority.clock.now(), self.part.clone());
                self.record(&Record::Begin { version: VERSION, dataset, time, part });
                self.go_on_with(Step::Checkpoints);
            }
            Step::Checkpoints => {
                if !self.checkpoints().await? {
                    self.go_on_with(Step::Shard(0));
                    self.begin();
                }
            }
            Step::Shard(shard) => self.blocks(shard).await?,
            // The first of them are read before the checkpoints that say which of them are to be there.
            Step::BeginActs => {
                self.acts = self.authority.store.acts_between("", "").await?;
                self.step = Step::CheckpointsBeforeActs;
            }
            Step::CheckpointsBeforeActs => {
                if !self.checkpoints().await? {
                    self.go_on_with(Step::Acts);
                }
            }
            Step::Acts => self.acts().await?,
            Step::LaterCheckpoints => {
                if !self.checkpoints().await? {
                    self.go_on_with(Step::Seal);
                }
            }
            Step::Seal => {
                let loaded = self.authority.keys.now();
                let (signer, _) = loaded.audit.signer.as_ref().ok_or_else(no_key)?;
                let dataset = self.authority.dataset.id.clone();
                let lines = hex(self.digest.clone().finish().as_ref());
                let (time, part) = (self.authority.clock.now(), self.part.clone());
                let seal = Seal { dataset, time, checkpoint: self.number, lines, part };
                self.record(&Record::Seal { text: seal.sign(signer)? });
                self.go_on_with(Step::End);
            }
            Step::End => {}
        }
        let mut text = self.text();
        self.digest.update(text.as_bytes());
        self.unmarked += text.len();
        if self.unmarked >= MARK_EVERY {
            text.push_str(&self.mark()?);
        }
        Ok(text)
    }

    /// The lines that are ready.
    fn text(&mut self) -> String {
        let length = self.lines.iter().map(|line| line.len() + 1).sum();
        self.lines.drain(..).fold(String::with_capacity(length), |mut text, line| {
            text.push_str(&line);
            if !line.ends_with('\n') {
                text.push('\n');
            }
            text
        })
    }

    /// The line of a mark, where one can be set: it has to name a place that can be read on from.
    fn mark(&mut self) -> Result<String, Error> {
        let stream = match self.step {
            Step::Shard(shard) => shard.to_string(),
            Step::Acts if !self.reached.is_empty() => ACTS.to_owned(),
            _ => return Ok(String::new()),
        };
        let loaded = self.authority.keys.now();
        let Some((signer, _)) = loaded.audit.signer.as_ref() else { return Ok(String::new()) };
        let lines = hex(self.digest.clone().finish().as_ref());
        let reached = Reached { checkpoint: self.checkpoint.clone(), stream, entry: self.reached.clone() };
        let mark = Mark {
            dataset: self.authority.dataset.id.clone(),
            time: self.authority.clock.now(),
            checkpoint: self.number,
            lines: lines.clone(),
            part: self.part.clone(),
            reached,
        };
        let line = Record::Mark { text: mark.sign(signer)? }.to_line();
        self.digest = Mark::digest(&lines, &line);
        self.unmarked = 0;
        Ok(line + "\n")
    }

    /// Goes on after a mark.
    fn take_up(&mut self, after: ExportMark) {
        let ExportMark { mark, text } = after;
        self.digest = Mark::digest(&mark.lines, &Record::Mark { text }.to_line());
        let Reached { checkpoint, stream, entry } = mark.reached;
        // Whatever we have signed names a shard, or acts.
        self.step = stream.parse().map_or(Step::Acts, Step::Shard);
        (self.checkpoint, self.number, self.reached) = (checkpoint, mark.checkpoint, entry);
    }

    fn go_on_with(&mut self, step: Step) {
        self.step = step;
        self.reached.clear();
    }

    /// Where streams of events are read from.
    fn begin(&mut self) {
        if let Some(from) = self.part.from {
            self.reached = just_before(milliseconds(from));
        }
    }

    fn record(&mut self, record: &Record) {
        self.lines.push_back(record.to_line());
    }

    /// `false`: there are no more.
    async fn checkpoints(&mut self) -> Result<bool, Error> {
        let some = self.authority.store.checkpoints_after(&self.checkpoint).await?;
        let Some((last, _)) = some.last() else { return Ok(false) };
        self.checkpoint.clone_from(last);
        let loaded = self.authority.keys.now();
        for (id, text) in some {
            if let Ok(checkpoint) = Checkpoint::open(&text, &loaded.audit.public) {
                self.number = checkpoint.number;
            }
            self.record(&Record::Checkpoint { id, text });
        }
        Ok(true)
    }

    async fn blocks(&mut self, shard: u16) -> Result<(), Error> {
        let with_events = !is_after(&self.reached, self.part.to);
        let some = self.authority.store.blocks_after(shard, &self.reached, with_events).await?;
        let Some(last) = some.last() else {
            let next = shard + 1;
            self.go_on_with(if next < schema::SHARDS { Step::Shard(next) } else { Step::BeginActs });
            if next < schema::SHARDS {
                self.begin();
            }
            return Ok(());
        };
        self.reached.clone_from(&last.id);
        for block in some {
            self.block(shard, block);
        }
        Ok(())
    }

    fn block(&mut self, shard: u16, block: StoredBlock) {
        let StoredBlock { id, header, lines } = block;
        let node = || serde_json::from_str::<Header>(&header).map(|header| header.node).unwrap_or_default();
        let is_wanted = !is_after(&id, self.part.to) && self.part.node.as_ref().is_none_or(|wanted| *wanted == node());
        let lines = lines.filter(|_| is_wanted);
        let mut omitted = Vec::new();
        let mut events = String::new();
        match (&lines, self.part.account) {
            (Some(lines), Some(account)) => {
                for (place, line) in (0..).zip(lines.lines()) {
                    if concerns(line, account) {
                        events.push_str(line);
                        events.push('\n');
                    } else {
                        omitted.push((place, hash(line)));
                    }
                }
            }
            (Some(lines), None) => events.push_str(lines),
            (None, _) => {}
        }
        self.record(&Record::Block { stream: shard.to_string(), id, header, withheld: lines.is_none(), omitted });
        if !events.is_empty() {
            self.lines.push_back(events);
        }
    }

    async fn acts(&mut self) -> Result<(), Error> {
        if self.acts.is_empty() && !self.reached.is_empty() {
            self.acts = self.authority.store.acts_between(&self.reached, "").await?;
        }
        let Some(last) = self.acts.last() else {
            self.go_on_with(Step::LaterCheckpoints);
            return Ok(());
        };
        self.reached.clone_from(&last.id);
        let next = self.authority.store.acts_between(&last.id, "").await?;
        for StoredAct { id, epoch, line } in std::mem::replace(&mut self.acts, next) {
            let is_of = |node: &String| Event::from_line(&line).is_some_and(|event| event.node == *node);
            let is_wanted = (self.part.from.is_none() || is_after(&id, self.part.from))
                && !is_after(&id, self.part.to)
                && self.part.node.as_ref().is_none_or(is_of)
                && self.part.account.is_none_or(|account| concerns(&line, account));
            let omitted = (!is_wanted).then(|| hash(&line));
            self.record(&Record::Act { id, epoch, omitted });
            if is_wanted {
                self.lines.push_back(line);
            }
        }
        Ok(())
    }
}

fn no_key() -> Error {
    Error::Unavailable("no key signs the audit yet".into())
}

/// Whether an entry was written at that time or later.
fn is_after(id: &str, time: Option<DateTime<Utc>>) -> bool {
    time.is_some_and(|time| comes_before(&just_before(milliseconds(time)), id))
}

fn milliseconds(time: DateTime<Utc>) -> u64 {
    u64::try_from(time.timestamp_millis()).unwrap_or(0)
}

/// Whether a line tells of this account.
fn concerns(line: &str, account: AccountId) -> bool {
    // Most don't even name it.
    line.contains(&account.to_string()) && Event::from_line(line).is_some_and(|event| event.concerns(account))
}
