use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Lines, Recorder};
use crate::node::{Home, Node};
use crate::store::{Block, StoreError};

/// How long a batch waits for more.
const GATHER: Duration = Duration::from_millis(10);
/// How often it is said that events wait.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// Writes blocks.
pub struct Writer {
    recorder: Arc<Recorder>,
    /// Made, and perhaps written.
    sealed: Option<Block>,
}

impl Writer {
    pub(super) fn new(recorder: Arc<Recorder>) -> Self {
        Self { recorder, sealed: None }
    }

    /// Writes until `stop`, then what is left, and what those bring who hold a permit, for as long as `grace` allows. Returns how
    /// many events were left over.
    pub async fn run<H: Home>(mut self, node: Arc<Node<H>>, stop: CancellationToken, grace: Duration) -> usize {
        let recorder = Arc::clone(&self.recorder);
        let mut last_moment: Option<Instant> = None;
        let close = || {
            recorder.close();
            Some(Instant::now() + grace)
        };
        loop {
            match last_moment {
                None if self.gathered(&stop).await => {}
                None => last_moment = close(),
                Some(moment) if !self.is_brought(moment).await => return self.left_over(0),
                Some(_) => {}
            }
            let lines = recorder.queue().batches.pop_front().unwrap_or_default();
            let mut pause = Duration::from_millis(20);
            let mut told: Option<Instant> = None;
            while let Err(error) = self.write(&node, &lines).await {
                if last_moment.is_some_and(|moment| Instant::now() >= moment) {
                    tracing::error!(%error, "the store does not take the last events of the audit");
                    return self.left_over(lines.count);
                }
                recorder.counters.failures.fetch_add(1, Ordering::Relaxed);
                if told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
                    told = Some(Instant::now());
                    let waiting = lines.count + recorder.queue().waiting();
                    tracing::warn!(waiting, %error, "events of the audit wait for the store");
                }
                tokio::select! {
                    () = stop.cancelled(), if last_moment.is_none() => last_moment = close(),
                    () = tokio::time::sleep(pause) => pause = (pause * 2).min(Duration::from_secs(1)),
                }
            }
            recorder.counters.written.fetch_add(u64::try_from(lines.count).unwrap_or(0), Ordering::Relaxed);
            recorder.written(lines);
        }
    }

    /// After the closing: waits for an event of those who hold a permit. `false`: none will come, or none in time.
    async fn is_brought(&self, last_moment: Instant) -> bool {
        loop {
            {
                if self.recorder.has_links() {
                    return true;
                }
                let mut queue = self.recorder.queue();
                if queue.try_to_end() {
                    return false;
                }
                if !queue.batches.is_empty() {
                    return true;
                }
            }
            tokio::select! {
                () = self.recorder.news.notified() => {}
                () = tokio::time::sleep_until(last_moment) => return false,
            }
        }
    }

    fn left_over(&self, in_hand: usize) -> usize {
        let mut queue = self.recorder.queue();
        queue.has_ended = true;
        let (waiting, promised) = (in_hand + queue.waiting(), queue.reserved);
        drop(queue);
        if waiting + promised > 0 {
            tracing::error!(waiting, promised, "events of the audit could not be written before the end");
        }
        waiting + promised
    }

    /// Waits until a batch is worth being written. `false`: it is to stop.
    async fn gathered(&self, stop: &CancellationToken) -> bool {
        let mut until: Option<Instant> = None;
        loop {
            {
                let has_links = self.recorder.has_links();
                let queue = self.recorder.queue();
                if queue.is_full() {
                    return true;
                }
                if until.is_none() && (has_links || !queue.batches.is_empty()) {
                    until = Some(Instant::now() + GATHER);
                }
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return false,
                () = self.recorder.news.notified() => {}
                () = tokio::time::sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => return true,
            }
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

/// Without a writer nothing is taken, however it came to its end.
impl Drop for Writer {
    fn drop(&mut self) {
        let mut queue = self.recorder.queue();
        (queue.is_closed, queue.has_ended) = (true, true);
    }
}
