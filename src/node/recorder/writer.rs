use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Lines, Recorder};
use crate::audit::push_numbered;
use crate::node::{Home, Node};
use crate::store::{Batch, StoreError};

/// How long a batch waits for more.
const GATHER: Duration = Duration::from_millis(10);
/// How often it is said that events wait.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// Writes batches.
pub struct Writer {
    recorder: Arc<Recorder>,
    process: String,
    last_batch: u64,
}

impl Writer {
    pub(super) fn new(recorder: Arc<Recorder>, process: String) -> Self {
        Self { recorder, process, last_batch: 0 }
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
            let Some(lines) = recorder.queue().batches.pop_front() else { continue };
            let batch = self.batch(&lines);
            let mut pause = Duration::from_millis(20);
            let mut told: Option<Instant> = None;
            while let Err(error) = append(&node, &batch).await {
                if last_moment.is_some_and(|moment| Instant::now() >= moment) {
                    tracing::error!(%error, "the store does not take the last events of the audit");
                    return self.left_over(batch.count);
                }
                recorder.counters.failures.fetch_add(1, Ordering::Relaxed);
                if told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
                    told = Some(Instant::now());
                    let waiting = batch.count + recorder.queue().waiting();
                    tracing::warn!(waiting, %error, "events of the audit wait for the store");
                }
                tokio::select! {
                    () = stop.cancelled(), if last_moment.is_none() => last_moment = close(),
                    () = tokio::time::sleep(pause) => pause = (pause * 2).min(Duration::from_secs(1)),
                }
            }
            recorder.counters.written.fetch_add(u64::try_from(batch.count).unwrap_or(0), Ordering::Relaxed);
            recorder.written(lines);
        }
    }

    /// After the closing: waits for an event of those who hold a permit. `false`: none will come, or none in time.
    async fn is_brought(&self, last_moment: Instant) -> bool {
        loop {
            {
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
                let queue = self.recorder.queue();
                if queue.is_full() {
                    return true;
                }
                if until.is_none() && !queue.batches.is_empty() {
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

    fn batch(&mut self, lines: &Lines) -> Batch {
        self.last_batch += 1;
        let recorder = &self.recorder;
        let mut numbers = (u64::MAX, 0);
        let mut numbered = String::with_capacity(lines.text.len() + lines.count * (recorder.node.len() + 40));
        for line in lines.text.lines() {
            let sequence = recorder.next_number();
            numbers = (numbers.0.min(sequence), numbers.1.max(sequence));
            push_numbered(&mut numbered, line, &recorder.node, sequence);
            numbered.push('\n');
        }
        Batch {
            node: recorder.node.clone(),
            process: self.process.clone(),
            number: self.last_batch,
            first: numbers.0,
            last: numbers.1,
            count: lines.count,
            lines: numbered,
        }
    }
}

/// Without a writer nothing is taken, however it came to its end.
impl Drop for Writer {
    fn drop(&mut self) {
        let mut queue = self.recorder.queue();
        (queue.is_closed, queue.has_ended) = (true, true);
    }
}

/// Events of a dataset must not be made in another one.
async fn append<H: Home>(node: &Node<H>, batch: &Batch) -> Result<(), StoreError> {
    node.home().met().await?;
    node.store().append(batch).await
}
