//! The audit as a text that can be checked without the store: see [`crate::audit::proof`].

use std::collections::VecDeque;
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use chrono::{DateTime, Utc};
use futures_util::stream::{self, Stream};

use super::{Authority, Error};
use crate::account::AccountId;
use crate::audit::Event;
use crate::audit::block::{Header, hash, hex};
use crate::audit::checkpoint::{Checkpoint, Part, Seal};
use crate::audit::proof::{Record, VERSION};
use crate::store::{StoredAct, StoredBlock, comes_before, for_one_request, just_before, schema};

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

struct Export {
    authority: Arc<Authority>,
    part: Part,
    step: Step,
    /// The entry that was reached.
    reached: String,
    checkpoint: String,
    /// The number of the last checkpoint.
    number: u64,
    lines: VecDeque<String>,
    acts: Vec<StoredAct>,
    /// Of all lines so far.
    digest: Context,
}

impl Authority {
    /// Exports the audit: texts of some lines each. It ends with an error where the store does; what was exported until then has no
    /// end, which whoever checks it notices.
    pub fn export(self: &Arc<Self>, part: Part) -> impl Stream<Item = Result<String, Error>> + use<> {
        let export = Export {
            authority: Arc::clone(self),
            part,
            step: Step::Begin,
            reached: String::new(),
            checkpoint: String::new(),
            number: 0,
            lines: VecDeque::new(),
            acts: Vec::new(),
            digest: Context::new(&SHA256),
        };
        stream::try_unfold(export, |mut export| async move {
            loop {
                if matches!(export.step, Step::End) {
                    return Ok(None);
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

impl Export {
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
        let length = self.lines.iter().map(|line| line.len() + 1).sum();
        let text = self.lines.drain(..).fold(String::with_capacity(length), |mut text, line| {
            text.push_str(&line);
            if !line.ends_with('\n') {
                text.push('\n');
            }
            text
        });
        self.digest.update(text.as_bytes());
        Ok(text)
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
        let Some(last) = self.acts.last() else {
            self.go_on_with(Step::LaterCheckpoints);
            return Ok(());
        };
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
