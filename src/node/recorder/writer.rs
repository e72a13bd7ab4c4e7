use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::chain::Chain;
use super::delivery::{Closing, Delivery};
use super::spill::{Kept, Spill, Unknown};
use super::{BATCH, Lines, Recorder};
use crate::audit::id_of;
use crate::node::{Home, Node};
use crate::store::{BlockEntry, StoreError};
use crate::told::Told;

/// How long a batch waits for more.
const GATHER: Duration = Duration::from_millis(10);
/// How often what waits on disk is synced while the store is away.
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// So many blocks are looked at, to find out which events the store has,
const LOOK_AT: usize = 10_000;
/// and those of events that are older by so many seconds.
const LONG_BEFORE: u64 = 10;

/// Writes blocks.
pub struct Writer {
    recorder: Arc<Recorder>,
}

impl Writer {
    pub(super) fn new(recorder: Arc<Recorder>) -> Self {
        Self { recorder }
    }

    /// Writes until `stop`, then what is left, and what those bring who hold a permit, for as long as `grace` allows. Returns how
    /// many events were left over, and lie nowhere.
    pub async fn run<H: Home>(self, node: Arc<Node<H>>, stop: CancellationToken, grace: Duration) -> usize {
        let closing = Closing::new(Arc::clone(&self.recorder), stop, grace);
        match self.recorder.spill.clone() {
            Some(spill) => self.run_over_disk(&node, &spill, &closing).await,
            None => self.run_from_memory(&node, &closing).await,
        }
    }

    async fn run_from_memory<H: Home>(&self, node: &Node<H>, closing: &Closing) -> usize {
        let recorder = &self.recorder;
        let mut delivery = Delivery::new(Arc::clone(recorder));
        loop {
            let (links, queue) = (|| recorder.has_links(), || recorder.queue().batches.front().is_some());
            if !closing.has_begun() {
                self.gathered(closing, || links() || queue()).await;
            } else if !self.is_brought(closing, || links() || queue()).await {
                return self.left_over(0);
            }
            let mut lines = recorder.queue().batches.pop_front().unwrap_or_default();
            let count = lines.count;
            if let Err(error) = delivery.deliver(node, &mut lines, closing).await {
                tracing::error!(%error, "the store does not take the last events of the audit");
                return self.left_over(count);
            }
            recorder.written(lines, count);
        }
    }

    async fn run_over_disk<H: Home>(&self, node: &Node<H>, spill: &Arc<Spill>, closing: &Closing) -> usize {
        // All that was taken is kept.
        let kept = CancellationToken::new();
        let keeping = async {
            self.keep(spill, closing).await;
            kept.cancel();
        };
        let ((), is_all_sent) = tokio::join!(keeping, self.send(node, spill, closing, &kept));
        let (bytes, in_memory) = spill.waiting();
        let closed = Arc::clone(spill);
        blocking(move || closed.close()).await;
        if !is_all_sent && bytes > 0 {
            tracing::warn!(bytes, "events of the audit wait on disk for the next start");
        }
        self.left_over(in_memory)
    }

    /// Takes each batch from the queue to the disk.
    async fn keep(&self, spill: &Arc<Spill>, closing: &Closing) {
        let recorder = &self.recorder;
        let queue = || recorder.queue().batches.front().is_some();
        let mut told = Told::default();
        let (mut synced, mut syncing): (_, Option<JoinHandle<()>>) = (Instant::now(), None);
        loop {
            if !closing.has_begun() {
                self.gathered(closing, queue).await;
            } else if !self.is_brought(closing, queue).await {
                return;
            }
            let Some(lines) = recorder.queue().batches.pop_front() else { continue };
            let count = lines.count;
            let to = Arc::clone(spill);
            let kept = blocking(move || to.push(lines)).await;
            let is_synced = syncing.as_ref().is_none_or(JoinHandle::is_finished);
            if recorder.is_away.load(Ordering::Relaxed) && is_synced && synced.elapsed() >= SYNC_EVERY {
                synced = Instant::now();
                let to = Arc::clone(spill);
                // Nobody waits for the disk.
                syncing = Some(tokio::task::spawn_blocking(move || to.sync()));
            }
            match kept {
                Some(Kept::OnDisk(lines)) => recorder.written(lines, count),
                Some(Kept::InMemory(error)) => {
                    recorder.counters.spill_failures.fetch_add(1, Ordering::Relaxed);
                    told.is("", |_| {
                        tracing::error!(%error, "events of the audit can't be kept on disk, and wait in memory");
                    });
                }
                // It was not to be: their room is free, and they are counted.
                None => {
                    recorder.counters.lost.fetch_add(count as u64, Ordering::Relaxed);
                    recorder.written(Lines::default(), count);
                }
            }
        }
    }

    /// Sends what is kept. `false`: not all of it before the end.
    async fn send<H: Home>(
        &self,
        node: &Node<H>,
        spill: &Arc<Spill>,
        closing: &Closing,
        kept: &CancellationToken,
    ) -> bool {
        let recorder = &self.recorder;
        if !self.recovered(node, spill, closing).await {
            return false;
        }
        let mut delivery = Delivery::new(Arc::clone(recorder));
        loop {
            if closing.is_over() {
                // What lies on disk is sent by whoever comes next.
                return spill.is_empty();
            }
            let is_last = kept.is_cancelled();
            if spill.is_empty() && !recorder.has_links() {
                if is_last {
                    return true;
                }
                tokio::select! {
                    () = spill.news.notified() => {}
                    () = recorder.links.notified() => tokio::time::sleep(GATHER).await,
                    () = kept.cancelled() => {}
                }
                continue;
            }
            let from = Arc::clone(spill);
            let next = blocking(move || from.next(BATCH)).await.flatten();
            let (through, mut lines) = match next {
                Some(next) => {
                    recorder.counters.lost.fetch_add(next.lost as u64, Ordering::Relaxed);
                    (Some(next.through), next.lines)
                }
                None => (None, Lines::default()),
            };
            if let Err(error) = delivery.deliver(node, &mut lines, closing).await {
                tracing::error!(%error, "the store does not take the last events of the audit");
                return false;
            }
            if let Some(through) = through {
                self.sent(spill, through).await;
            }
        }
    }

    /// The store has these.
    async fn sent(&self, spill: &Arc<Spill>, through: u64) -> usize {
        let of = Arc::clone(spill);
        let Some((from_memory, events)) = blocking(move || of.done(through)).await else { return 0 };
        for lines in from_memory {
            let count = lines.count;
            self.recorder.written(lines, count);
        }
        events
    }

    /// What an earlier process has left may be in the store, the answer to which it has not lived to see. `false`: that could not be
    /// found out before the end.
    async fn recovered<H: Home>(&self, node: &Node<H>, spill: &Arc<Spill>, closing: &Closing) -> bool {
        let of = Arc::clone(spill);
        let Some(unknown) = blocking(move || of.unknown()).await.flatten() else { return true };
        let mut through = None;
        for name in &unknown.nodes {
            let mut pause = Duration::from_millis(20);
            let last = loop {
                match self.last_written(node, name, &unknown).await {
                    Ok(last) => break last,
                    Err(error) => tracing::debug!(%error, "events that an earlier process has left wait for the store"),
                }
                tokio::select! {
                    _ = closing.begins() => return false,
                    () = tokio::time::sleep(pause) => pause = (pause * 2).min(Duration::from_secs(1)),
                }
            };
            through = through.max(last);
        }
        if let Some(through) = through {
            let events = self.sent(spill, through).await;
            self.recorder.counters.written.fetch_add(events as u64, Ordering::Relaxed);
        }
        true
    }

    /// The last of these batches that is in a block of this node.
    async fn last_written<H: Home>(
        &self,
        node: &Node<H>,
        name: &str,
        unknown: &Unknown,
    ) -> Result<Option<u64>, StoreError> {
        let (home, store) = (node.home(), node.store());
        home.met().await?;
        // Whatever that process has sent and the store has not carried out is refused by this claim.
        let own = self.recorder.chain().as_ref().filter(|_| name == self.recorder.node()).map(Chain::entry);
        let mut entry = match own {
            Some(entry) => entry,
            None => home.claim(name).await?.head.entry,
        };
        for _ in 0..LOOK_AT {
            if entry.is_empty() {
                break;
            }
            let Some(BlockEntry { header, lines }) = store.block_at(name, &entry).await? else { break };
            let ids: Vec<Uuid> = lines.lines().filter_map(|line| id_of(line)?.parse().ok()).collect();
            let last = ids.iter().filter_map(|id| unknown.batches.get(id)).max();
            if last.is_some() {
                return Ok(last.copied());
            }
            // Blocks without events link acts; those of events that were made long before have none of these.
            if ids.iter().max().is_some_and(|newest| is_long_before(newest, &unknown.oldest)) {
                break;
            }
            entry = header.after;
        }
        Ok(None)
    }

    /// Waits until `is_there` is so, and then for more. Returns early where it is to stop.
    async fn gathered(&self, closing: &Closing, is_there: impl Fn() -> bool) {
        let mut until: Option<Instant> = None;
        loop {
            if self.recorder.queue().is_full() {
                return;
            }
            if until.is_none() && is_there() {
                if self.recorder.strict.is_some() {
                    // Somebody waits; others come together while this is written.
                    return;
                }
                until = Some(Instant::now() + GATHER);
            }
            tokio::select! {
                biased;
                _ = closing.begins() => return,
                () = self.recorder.news.notified() => {}
                () = self.recorder.links.notified(), if self.recorder.spill.is_none() => {}
                () = tokio::time::sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => return,
            }
        }
    }

    /// After the closing: waits for an event of those who hold a permit. `false`: none will come, or none in time.
    async fn is_brought(&self, closing: &Closing, is_there: impl Fn() -> bool) -> bool {
        let last_moment = closing.begins().await;
        loop {
            if is_there() {
                return true;
            }
            if self.recorder.queue().try_to_end() {
                return false;
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
        let dropped = self.recorder.unannounced();
        if waiting + promised > 0 || dropped > 0 {
            tracing::error!(waiting, promised, dropped, "events of the audit could not be written before the end");
        }
        waiting + promised
    }
}

/// Whether one was made so long before the other that a clock which was set makes no difference (RFC 9562, section 5.7).
fn is_long_before(one: &Uuid, other: &Uuid) -> bool {
    let seconds = |id: &Uuid| id.get_timestamp().map_or(0, |time| time.to_unix().0);
    seconds(one) + LONG_BEFORE < seconds(other)
}

/// Files are written and read where nobody else is kept waiting. `None`: the process ends.
async fn blocking<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> Option<R> {
    tokio::task::spawn_blocking(work).await.ok()
}

/// Without a writer nothing is taken, however it came to its end.
impl Drop for Writer {
    fn drop(&mut self) {
        let mut queue = self.recorder.queue();
        (queue.is_closed, queue.has_ended) = (true, true);
    }
}
