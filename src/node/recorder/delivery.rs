use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Lines, Recorder};
use crate::audit::{Line, Outcome, kinds};
use crate::node::{Home, Node};
use crate::store::{Block, StoreError};
use crate::told::Told;

/// Writes blocks, one after the other.
pub(super) struct Delivery {
    recorder: Arc<Recorder>,
    /// Made, and perhaps written.
    sealed: Option<Block>,
    told_of_dropped: Told,
}

/// The end of it all: from the signal on there is only so much time.
pub(super) struct Closing {
    recorder: Arc<Recorder>,
    stop: CancellationToken,
    grace: Duration,
    last_moment: OnceLock<Instant>,
}

impl Closing {
    pub(super) fn new(recorder: Arc<Recorder>, stop: CancellationToken, grace: Duration) -> Self {
        Self { recorder, stop, grace, last_moment: OnceLock::new() }
    }

    /// Waits for the signal, and closes the queue.
    pub(super) async fn begins(&self) -> Instant {
        self.stop.cancelled().await;
        *self.last_moment.get_or_init(|| {
            self.recorder.close();
            Instant::now() + self.grace
        })
    }

    pub(super) fn has_begun(&self) -> bool {
        self.last_moment.get().is_some()
    }

    pub(super) fn is_over(&self) -> bool {
        self.last_moment.get().is_some_and(|moment| Instant::now() >= *moment)
    }
}

impl Delivery {
    pub(super) fn new(recorder: Arc<Recorder>) -> Self {
        Self { recorder, sealed: None, told_of_dropped: Told::default() }
    }

    /// Writes these events, and links acts, however often it has to be tried. `Err`: not before the end.
    pub(super) async fn deliver<H: Home>(
        &mut self,
        node: &Node<H>,
        lines: &mut Lines,
        closing: &Closing,
    ) -> Result<(), StoreError> {
        let recorder = Arc::clone(&self.recorder);
        let count = lines.count;
        let announced = self.announce(node, lines);
        let mut pause = Duration::from_millis(20);
        let mut told = Told::default();
        let began = Instant::now();
        while let Err(error) = self.write(node, lines).await {
            recorder.is_away.store(true, Ordering::Relaxed);
            if closing.is_over() {
                return Err(error);
            }
            recorder.counters.failures.fetch_add(1, Ordering::Relaxed);
            self.tell_of_dropped();
            told.is("", |_| {
                let waiting = recorder.counters.waiting();
                tracing::warn!(waiting, %error, "events of the audit wait for the store");
            });
            tokio::select! {
                _ = closing.begins(), if !closing.has_begun() => {}
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(Duration::from_secs(1)),
            }
        }
        recorder.is_away.store(false, Ordering::Relaxed);
        let counters = &recorder.counters;
        let took = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        counters.writing_us.fetch_add(took, Ordering::Relaxed);
        counters.announced.fetch_add(announced, Ordering::Relaxed);
        let count = u64::try_from(count).unwrap_or(0);
        counters.written.fetch_add(count, Ordering::Relaxed);
        if let Some(written) = &recorder.strict {
            written.send_modify(|written| *written += count);
        }
        Ok(())
    }

    /// Adds an event that tells of those that were left out. It is not one of those that were taken.
    fn announce<H: Home>(&mut self, node: &Node<H>, lines: &mut Lines) -> u64 {
        let dropped = self.recorder.unannounced();
        if dropped > 0 {
            self.tell_of_dropped();
            let mut line = Line::new(node.clock().now(), kinds::AUDIT_DROPPED, Outcome::Failed);
            line.reason = Some("no_room");
            line.detail("events", dropped);
            line.with_text(|text| lines.push(text));
        }
        dropped
    }

    fn tell_of_dropped(&mut self) {
        let dropped = self.recorder.unannounced();
        if dropped > 0 {
            self.told_of_dropped.is("", |_| {
                tracing::error!(dropped, "calls are answered without an event in the audit: there is no room for it");
            });
        }
    }

    /// One try to write these events, and to link acts. What may have been written by a try before is not written again.
    async fn write<H: Home>(&mut self, node: &Node<H>, lines: &Lines) -> Result<(), StoreError> {
        let (recorder, home) = (Arc::clone(&self.recorder), node.home());
        // Events of a dataset must not be made in another one.
        home.met().await?;
        let sealed = match self.sealed.take() {
            Some(sealed) => sealed,
            None => match self.seal(home, lines).await? {
                Some(sealed) => sealed,
                None => return Ok(()),
            },
        };
        match node.store().append(&sealed).await {
            Ok(Some(entry)) => {
                recorder.counters.blocks.fetch_add(1, Ordering::Relaxed);
                if let Some(chain) = recorder.chain().as_mut() {
                    chain.written(&sealed, entry);
                }
                self.forget_linked(home).await;
                Ok(())
            }
            Ok(None) => {
                let sealed = self.sealed.insert(sealed);
                recorder.claim(home, Some(&sealed.claim)).await?;
                // An answer may have been lost, and then the claim.
                let may_be_there = recorder.chain().as_ref().is_some_and(|chain| chain.block() >= sealed.number);
                let is_there = may_be_there && node.store().has_block(sealed).await?;
                self.sealed = None;
                if is_there { Ok(()) } else { Err(StoreError::Unclaimed) }
            }
            Err(error) => {
                self.sealed = Some(sealed);
                Err(error)
            }
        }
    }

    /// What is not forgotten now is so after another block.
    async fn forget_linked<H: Home>(&self, home: &H) {
        let recorder = &self.recorder;
        let linked = recorder.chain().as_ref().map(|chain| chain.linked()).unwrap_or_default();
        if linked.is_empty() {
            return;
        }
        match home.linked(recorder.node(), &linked).await {
            Ok(()) => {
                if let Some(chain) = recorder.chain().as_mut() {
                    chain.forget(&linked);
                }
            }
            Err(error) => tracing::debug!(%error, "acts are noted as not linked, and are"),
        }
    }

    /// The next block. `None`: there is nothing to be written.
    async fn seal<H: Home>(&self, home: &H, lines: &Lines) -> Result<Option<Block>, StoreError> {
        let recorder = &self.recorder;
        let claim = recorder.chain().as_ref().map(|chain| chain.claim().to_owned());
        if recorder.is_uncertain.swap(false, Ordering::SeqCst) || claim.is_none() {
            let claimed = recorder.claim(home, claim.as_deref()).await;
            claimed.inspect_err(|_| recorder.is_uncertain.store(true, Ordering::SeqCst))?;
        }
        let mut committed = BTreeMap::new();
        if recorder.acts_wait.swap(false, Ordering::SeqCst) {
            let read = home.unlinked(recorder.node()).await;
            committed = read.inspect_err(|_| recorder.acts_wait.store(true, Ordering::SeqCst))?;
        }
        let mut chain = recorder.chain();
        let Some(chain) = chain.as_mut() else { return Err(StoreError::Unclaimed) };
        if lines.count == 0 && !chain.is_to_link(&committed) && !chain.has_void() {
            return Ok(None);
        }
        Ok(Some(chain.seal(recorder.node(), &lines.text, lines.count, &committed)))
    }
}
