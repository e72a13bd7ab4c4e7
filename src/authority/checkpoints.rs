//! Every few seconds an issuer looks at the ends of all nodes' chains and signs what it sees (protocols, section 6, A3). What is to be
//! removed from the streams is signed first, and removed then.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::call::By;
use super::{Authority, Error};
use crate::audit::archive::Archived;
use crate::audit::block::hash;
use crate::audit::checkpoint::{ActsHead, Checkpoint, KeptFrom, Lost, NodeHead};
use crate::audit::{Event, Outcome, kinds};
use crate::keyring::KeyringError;
use crate::store::{ACTS, Head, KeyringChange, StoreError, comes_before, stream_of};
use crate::token::{KeyError, VerificationKey};
use crate::told::Told;
use crate::verify::Unavailable;

/// As long as nothing happens.
const IDLE: Duration = Duration::from_secs(60);
/// So many bytes of checkpoints are kept, about,
const CHECKPOINT_BYTES: u64 = 32 * 1024 * 1024;
/// but so many in any case,
const LEAST_CHECKPOINTS: u64 = 100;
/// and never more.
const MOST_CHECKPOINTS: u64 = 10_000;
/// So many losses are remembered.
const MOST_LOST: usize = 100;

/// What a process knows of the checkpoints.
#[derive(Default)]
pub struct Checkpoints {
    last: Option<Signed>,
    /// Since when, by our clock.
    since: Option<Instant>,
    told: Told,
    /// Since when it is looked.
    begun: Option<Instant>,
}

/// A checkpoint, and the hash of its text.
struct Signed {
    checkpoint: Checkpoint,
    hash: String,
}

/// Why there is no further checkpoint for now.
#[derive(Debug, thiserror::Error)]
pub enum NoCheckpoint {
    /// The store is away, or has no room.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It could not be signed.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The keys can't be read.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// The latest keys are not here yet.
    #[error("the latest keys are not here yet")]
    Keys,
}

impl Checkpoints {
    /// What lies in the store, compared with what was seen. `Err`: what is wrong with it.
    fn meet(&mut self, stored: Option<&str>, keys: &[VerificationKey]) -> Result<Met, String> {
        let Some(text) = stored else {
            return match &self.last {
                None => Ok(Met::Known),
                Some(last) => Err(format!("the checkpoints up to number {} are gone", last.checkpoint.number)),
            };
        };
        let checkpoint = Checkpoint::open(text, keys).map_err(|why| format!("the last checkpoint is none: {why}"))?;
        let (hash, number) = (hash(text), checkpoint.number);
        match &self.last {
            Some(last) if number == last.checkpoint.number && hash == last.hash => Ok(Met::Known),
            Some(last) if number <= last.checkpoint.number => {
                Err(format!("the last checkpoint is another number {number} than was seen, or an older one"))
            }
            _ => {
                self.last = Some(Signed { checkpoint, hash });
                self.since = Some(Instant::now());
                Ok(Met::New)
            }
        }
    }

    fn tell(&mut self, what: &str) {
        self.told.is("", |_| {
            tracing::error!("somebody has written to the audit by hand, or the store has lost some of it: {what}");
        });
    }

    /// How old the last one is, by its own time; where there is none, for how long it is looked for.
    fn age(&mut self, now: DateTime<Utc>) -> i64 {
        let begun = self.begun.get_or_insert_with(Instant::now).elapsed().as_secs();
        let without = i64::try_from(begun).unwrap_or(i64::MAX);
        self.last.as_ref().map_or(without, |last| (now - last.checkpoint.time).num_seconds().max(0))
    }

    /// Says why there is none, at most once a minute.
    pub(super) fn waits(&mut self, why: &NoCheckpoint) {
        self.told.is("", |_| tracing::warn!(%why, "a checkpoint of the audit waits"));
    }
}

enum Met {
    /// It is the one that was seen.
    Known,
    /// Another issuer's.
    New,
}

impl Authority {
    /// Signs what there is now, if there is anything new, and no other issuer has done it.
    pub async fn checkpoint(&self, known: &mut Checkpoints) -> Result<(), NoCheckpoint> {
        self.metrics.checkpoint_age.set(known.age(self.clock.now()));
        let signed = self.sign_checkpoint(known).await;
        self.metrics.checkpoint_age.set(known.age(self.clock.now()));
        match signed {
            Err(NoCheckpoint::Store(error)) if error.is_of_what_is_stored() => {
                self.alarm(known, &error.to_string());
                Ok(())
            }
            signed => signed,
        }
    }

    async fn sign_checkpoint(&self, known: &mut Checkpoints) -> Result<(), NoCheckpoint> {
        let stored = self.store.last_checkpoint().await?;
        // Nothing is judged, or signed, with keys that are older than it.
        let version = self.keys.document().await?.version;
        self.keys.at_least(version).await.map_err(|Unavailable| NoCheckpoint::Keys)?;
        let loaded = self.keys.now();
        match known.meet(stored.as_ref().map(|(_, text)| text.as_str()), &loaded.audit.public) {
            Ok(Met::New) => return Ok(()),
            Ok(Met::Known) => {}
            // What was seen stays what the next one goes on from.
            Err(what) => self.alarm(known, &what),
        }
        let Some((signer, _)) = &loaded.audit.signer else { return Ok(()) };
        let last = known.last.as_ref().map(|last| last.checkpoint.clone());
        let mut next = self.seen(known, last.as_ref()).await?;
        let is_same = last.as_ref().is_some_and(|last| {
            (&last.nodes, &last.acts, &last.kept, &last.archived, &last.lost)
                == (&next.nodes, &next.acts, &next.kept, &next.archived, &next.lost)
        });
        if is_same && known.since.is_some_and(|since| since.elapsed() < IDLE) {
            return Ok(());
        }
        next.previous = known.last.as_ref().map(|last| last.hash.clone()).unwrap_or_default();
        // As many as there is room for, each about as long as the last one; where they become smaller, those that are gone don't come back.
        let length = stored.as_ref().map_or(0, |(_, text)| u64::try_from(text.len()).unwrap_or(u64::MAX));
        let most = (CHECKPOINT_BYTES / length.max(1)).clamp(LEAST_CHECKPOINTS, MOST_CHECKPOINTS);
        next.oldest = last.map_or(1, |last| last.oldest).max((next.number + 1).saturating_sub(most));
        let text = next.sign(signer)?;
        let kept = next.number + 1 - next.oldest;
        if self.store.write_checkpoint(stored.as_ref().map_or("", |(id, _)| id), &text, kept).await? {
            known.last = Some(Signed { hash: hash(&text), checkpoint: next.clone() });
            known.since = Some(Instant::now());
            self.store.remove_before(&next.kept).await?;
        }
        Ok(())
    }

    /// What the next checkpoint would say.
    async fn seen(&self, known: &mut Checkpoints, last: Option<&Checkpoint>) -> Result<Checkpoint, StoreError> {
        let now = self.clock.now();
        let heads = self.store.block_heads().await?;
        let mut kept = last.map(|last| last.kept.clone()).unwrap_or_default();
        let mut acts = self.acts_head(last).await?;
        let mut written = BTreeMap::from([(ACTS.to_owned(), acts.count)]);
        for (node, head) in &heads {
            *written.entry(stream_of(node)).or_default() += head.block;
        }
        let was_first = kept.get(ACTS).map(|kept| kept.first.clone()).unwrap_or_default();
        let (archived, bounds) = self.archived(known, last).await?;
        kept = self.store.kept_from(kept, &written, &bounds, now).await?;
        acts.before = self.acts_before(acts.before, &was_first, kept.get(ACTS)).await?;
        let mut lost = last.map(|last| last.lost.clone()).unwrap_or_default();
        if let Some(last) = last {
            let missed = self.missed(&last.nodes, &heads, &kept).await?;
            if !missed.is_empty() {
                let nodes: Vec<&str> = missed.iter().map(|(node, _)| node.as_str()).collect();
                self.alarm(
                    known,
                    &format!("blocks that were signed are not there any more, of the nodes {}", nodes.join(", ")),
                );
            }
            lost.extend(missed.into_iter().map(|(node, head)| Lost { node, head, noticed_at: now }));
            lost.drain(..lost.len().saturating_sub(MOST_LOST));
            let is_gone = comes_before(&last.acts.last, kept.get(ACTS).map_or("", |kept| &kept.first));
            if !last.acts.last.is_empty() && !is_gone && !self.store.has_act(&last.acts.last).await? {
                self.alarm(
                    known,
                    &format!("the act of the entry {}, which was signed, is not there any more", last.acts.last),
                );
            }
        }
        let is_kept = |(node, head): &(String, Head)| head.block > 0 && !is_gone(node, &head.entry, &kept);
        let nodes = heads.into_iter().filter(is_kept).map(|(node, head)| (node, signed_head(&head))).collect();
        Ok(Checkpoint {
            dataset: self.dataset.id.clone(),
            number: last.map_or(0, |last| last.number) + 1,
            time: now,
            previous: String::new(),
            nodes,
            acts,
            kept,
            archived,
            oldest: 1,
            lost,
        })
    }

    /// How far each stream is archived; and of those that are still to be, the last entry that is.
    async fn archived(
        &self,
        known: &mut Checkpoints,
        last: Option<&Checkpoint>,
    ) -> Result<(BTreeMap<String, Archived>, BTreeMap<String, String>), StoreError> {
        let mut archived = last.map(|last| last.archived.clone()).unwrap_or_default();
        let mut bounds = BTreeMap::new();
        for (stream, stored) in self.store.archive_cursors().await? {
            let signed = archived.get(&stream).cloned();
            let goes_on = |now: &Archived| signed.as_ref().is_none_or(|signed| now.goes_on_from(signed));
            match stored.cursor.as_ref().filter(|cursor| goes_on(&cursor.archived)) {
                Some(cursor) => {
                    if cursor.is_on {
                        bounds.insert(stream.clone(), cursor.archived.last.clone());
                    }
                    archived.insert(stream, cursor.archived.clone());
                }
                None if signed.is_none() && !stored.is_unreadable() => {}
                None => {
                    self.alarm(known, &format!("how far the stream {stream} is archived is not what was signed"));
                    bounds.insert(stream, signed.map(|signed| signed.last).unwrap_or_default());
                }
            }
        }
        Ok((archived, bounds))
    }

    /// The acts up to now.
    async fn acts_head(&self, last: Option<&Checkpoint>) -> Result<ActsHead, StoreError> {
        let mut acts = last.map(|last| last.acts.clone()).unwrap_or_default();
        loop {
            let some = self.store.acts_between(&acts.last, "").await?;
            if some.is_empty() {
                return Ok(acts);
            }
            for act in some {
                acts.hash = ActsHead::after(&acts.hash, &act.id, &act.epoch, &act.line);
                acts.last = act.id;
                acts.count += 1;
            }
        }
    }

    /// What the acts come to before the first one to be kept, from what they came to before the first one that was kept so far.
    async fn acts_before(
        &self,
        mut before: String,
        was_first: &str,
        kept: Option<&KeptFrom>,
    ) -> Result<String, StoreError> {
        let Some(KeptFrom { first, .. }) = kept.filter(|kept| kept.first != was_first) else { return Ok(before) };
        let mut reached = String::new();
        loop {
            let some = self.store.acts_between(&reached, first).await?;
            let Some(last) = some.last() else { return Ok(before) };
            reached.clone_from(&last.id);
            // What lies before that was to be removed already.
            for act in some.iter().filter(|act| !comes_before(&act.id, was_first)) {
                before = ActsHead::after(&before, &act.id, &act.epoch, &act.line);
            }
        }
    }

    /// Blocks that were signed and are not where they were.
    async fn missed(
        &self,
        signed: &BTreeMap<String, NodeHead>,
        heads: &BTreeMap<String, Head>,
        kept: &BTreeMap<String, KeptFrom>,
    ) -> Result<Vec<(String, NodeHead)>, StoreError> {
        let mut missed = Vec::new();
        for (node, head) in signed {
            let is_there = match heads.get(node) {
                Some(now) if now.block == head.block => now.hash == head.hash,
                Some(now) if now.block > head.block => {
                    // Everything before it hangs on it.
                    let header = self.store.block_header(node, &head.entry).await?;
                    header.map_or_else(|| is_gone(node, &head.entry, kept), |header| hash(&header) == head.hash)
                }
                _ => is_gone(node, &head.entry, kept),
            };
            if !is_there {
                missed.push((node.clone(), head.clone()));
            }
        }
        Ok(missed)
    }

    fn alarm(&self, known: &mut Checkpoints, what: &str) {
        self.metrics.audit_alarms.inc();
        known.tell(what);
    }

    /// Another key signs checkpoints from now on, if it is time. `false`: that was not possible.
    pub(super) async fn rotate_audit_key(&self) -> bool {
        let every = self.settings.signing.rotate_every;
        let now = self.clock.now();
        let is_due =
            |since: Option<DateTime<Utc>>| since.is_none_or(|since| every.is_some_and(|every| now >= since + every));
        if !is_due(self.keys.now().audit.signer.as_ref().map(|(_, since)| *since)) {
            return true;
        }
        match self.change_audit_key(now, is_due).await {
            // Another issuer was faster.
            Ok(()) | Err(Error::Conflict) => true,
            Err(error) => {
                tracing::warn!(%error, "the key that signs checkpoints of the audit could not be changed; it is tried again later");
                false
            }
        }
    }

    async fn change_audit_key(
        &self,
        now: DateTime<Utc>,
        is_due: impl Fn(Option<DateTime<Utc>>) -> bool,
    ) -> Result<(), Error> {
        let mut read = self.keys.document().await?;
        if !is_due(read.document.audit_key_since()) {
            return Ok(());
        }
        let key = read.document.change_audit_key(now)?;
        let sealed = self.keys.seal(&read)?;
        let event = Event::new(now, kinds::AUDIT_KEY, Outcome::Done).detail("key", key.as_str());
        self.commit_keys(By::Machine, &event, KeyringChange::of(read.version, &sealed)).await?;
        tracing::info!(key, "another key signs checkpoints of the audit");
        // Those that have an older document for a moment sign with an older key, which verifies all the same.
        let _ = self.keys.at_least(read.version + 1).await;
        Ok(())
    }
}

fn signed_head(head: &Head) -> NodeHead {
    NodeHead { block: head.block, last: head.last, hash: head.hash.clone(), entry: head.entry.clone() }
}

/// Whether a node's entry is one of those that were removed, or may be.
pub(super) fn is_gone(node: &str, entry: &str, kept: &BTreeMap<String, KeptFrom>) -> bool {
    kept.get(&stream_of(node)).is_some_and(|kept| comes_before(entry, &kept.first))
}
