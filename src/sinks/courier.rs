//! Delivers one sink, from where it was left, for as long as no other issuer does.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

use super::metrics::OfOne;
use super::pace::Backoff;
use super::{Item, NotDelivered, Outlet, SinkMetrics};
use crate::audit::{Event, Outcome};
use crate::clock::Clock;
use crate::config::Sink;
use crate::store::{NextForSink, SinkCursor, Store, StoreError};
use crate::told::Told;

/// For how long a sink is one's own without saying so again.
const HOLD: Duration = Duration::from_secs(10);
/// How often it is looked whether there is anything new, or whether another has left the sink.
const EVERY: Duration = Duration::from_secs(1);
/// No delivery takes longer.
const LONGEST: Duration = Duration::from_secs(60);
/// Down to about one event.
const SMALLEST_SHARE: usize = 8_192;
/// How long the last delivery may take after the signal to stop: what is broken off comes twice.
const AT_THE_END: Duration = Duration::from_secs(2);

/// See the module.
pub struct Courier {
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    name: String,
    who: String,
    outlet: Arc<Outlet>,
    from_beginning: bool,
    kinds: Vec<String>,
    outcomes: Vec<Outcome>,
    metrics: OfOne,
    backoff: Backoff,
    /// Of what is delivered at once otherwise, one in so many: a receiver may be too slow for more.
    share: usize,
    failing: Told,
    missing: Told,
    /// Up to where it is delivered. `None`: the sink is not ours.
    cursor: Option<SinkCursor>,
    /// When the right to deliver was last taken or kept.
    kept: Instant,
    /// When the oldest event happened that is not delivered.
    oldest: Option<DateTime<Utc>>,
}

/// Why a turn came to nothing.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Receiver(#[from] NotDelivered),
    /// Another issuer has it.
    #[error("another issuer delivers it")]
    Taken,
    #[error("it is being stopped")]
    Stopped,
}

impl Courier {
    /// Of this sink. `who` must be this process' alone.
    pub fn new(
        store: Arc<Store>,
        clock: Arc<dyn Clock>,
        metrics: &SinkMetrics,
        who: &str,
        name: &str,
        sink: &Sink,
        outlet: Arc<Outlet>,
    ) -> Self {
        let kept = clock.monotonic();
        Self {
            store,
            clock,
            name: name.to_owned(),
            who: who.to_owned(),
            outlet,
            from_beginning: sink.from_beginning,
            kinds: sink.kinds.clone(),
            outcomes: sink.outcomes.clone(),
            metrics: metrics.of(name),
            backoff: Backoff::default(),
            share: 1,
            failing: Told::default(),
            missing: Told::default(),
            cursor: None,
            kept,
            oldest: None,
        }
    }

    /// Works until it is stopped, then leaves the sink to others.
    pub async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let pause = match self.turn(&stop).await {
                Ok(true) => Duration::ZERO,
                Ok(false) => EVERY,
                Err(failure) => self.failed(&failure).await,
            };
            self.wait(pause, &stop).await;
        }
        self.leave().await;
    }

    /// Delivers what has come. `false`: that is all for now. What comes in small pieces is read together later: each reading costs
    /// the store as much as a large one.
    async fn turn(&mut self, stop: &CancellationToken) -> Result<bool, Failure> {
        let at = match &self.cursor {
            Some(at) => {
                let at = at.clone();
                self.keep_if_due().await?;
                at
            }
            None => {
                self.keep().await?;
                self.begin().await?
            }
        };
        let Some(next) = self.store.next_for_sink(&at).await? else {
            self.oldest = None;
            self.metrics.behind.set(0);
            self.note_success();
            return Ok(false);
        };
        self.metrics.behind.set(i64::try_from(next.behind).unwrap_or(i64::MAX));
        let (reached, is_more) = (next.reached.clone(), next.behind > 0);
        let mut waiting = self.wanted(next);
        while let Some((items, to)) = self.some_of(&mut waiting) {
            if stop.is_cancelled() {
                return Err(Failure::Stopped);
            }
            self.oldest = items.iter().find(|item| item.events() > 0).map(|item| *item.time());
            self.deliver(&items, stop).await?;
            self.move_to(to).await?;
            self.metrics.delivered.inc_by(items.iter().map(Item::events).sum());
            self.metrics.missed.inc_by(items.iter().map(Item::missed).sum());
            self.note_success();
        }
        if self.cursor.as_ref() != Some(&reached) {
            self.move_to(reached).await?;
        }
        self.oldest = None;
        Ok(is_more)
    }

    /// Where it was left, or where a new one begins.
    async fn begin(&mut self) -> Result<SinkCursor, Failure> {
        if let Some(at) = self.store.sink_cursor(&self.name).await? {
            self.cursor = Some(at.clone());
            return Ok(at);
        }
        let first = self.store.first_of_sink(self.from_beginning).await?;
        self.move_to(first.clone()).await?;
        tracing::info!(sink = self.name, "a new sink of the audit begins");
        Ok(first)
    }

    /// What of it the sink gets, and how far it has come with each.
    fn wanted(&mut self, next: NextForSink) -> VecDeque<(Item, SinkCursor)> {
        let now = self.clock.now();
        let entries: u64 = next.missed.iter().map(|missed| missed.entries).sum();
        if entries > 0 {
            self.missing.is("", |_| {
                tracing::error!(
                    sink = self.name,
                    entries,
                    "blocks or acts of the audit were removed before they could be delivered to a sink"
                );
            });
        }
        let missed = next.missed.into_iter().map(|missed| (Item::Missed(missed, now), next.after_missed.clone()));
        let events = next.events.into_iter().filter(|(event, _)| self.is_wanted(event));
        missed.chain(events.map(|(event, at)| (Item::Event(Box::new(event)), at))).collect()
    }

    fn is_wanted(&self, event: &Event) -> bool {
        (self.kinds.is_empty() || self.kinds.contains(&event.kind))
            && (self.outcomes.is_empty() || self.outcomes.contains(&event.outcome))
    }

    /// As many as are delivered at once, and how far the sink has come with them.
    fn some_of(&self, waiting: &mut VecDeque<(Item, SinkCursor)>) -> Option<(Vec<Item>, SinkCursor)> {
        let (most, most_bytes) = self.outlet.most();
        let (most, most_bytes) = ((most / self.share).max(1), most_bytes / self.share);
        let (mut items, mut bytes, mut to) = (Vec::new(), 0, None);
        while let Some((item, _)) = waiting.front() {
            bytes += item.json().len();
            if items.len() >= most || (bytes > most_bytes && !items.is_empty()) {
                break;
            }
            if let Some((item, at)) = waiting.pop_front() {
                items.push(item);
                to = Some(at);
            }
        }
        to.map(|to| (items, to))
    }

    /// Delivers these, and keeps the sink meanwhile.
    async fn deliver(&mut self, items: &[Item], stop: &CancellationToken) -> Result<(), Failure> {
        let hold = Hold { store: &self.store, clock: self.clock.as_ref(), name: &self.name, who: &self.who };
        let mut kept = self.kept;
        let delivery = tokio::time::timeout(LONGEST, self.outlet.deliver(items));
        tokio::pin!(delivery);
        let stopped = async {
            stop.cancelled().await;
            tokio::time::sleep(AT_THE_END).await;
        };
        tokio::pin!(stopped);
        let mut tick = tokio::time::interval(EVERY);
        let delivered = loop {
            tokio::select! {
                delivered = &mut delivery => break delivered,
                () = &mut stopped => return Err(Failure::Stopped),
                _ = tick.tick() => {
                    note_lag(&self.metrics, self.clock.as_ref(), self.oldest);
                    hold.keep_if_due(&mut kept).await?;
                }
            }
        };
        self.kept = kept;
        delivered.unwrap_or_else(|_| Err(NotDelivered(format!("no end within {} s", LONGEST.as_secs()))))?;
        Ok(())
    }

    async fn move_to(&mut self, to: SinkCursor) -> Result<(), Failure> {
        if !self.store.move_sink(&self.name, &self.who, &to).await? {
            return Err(Failure::Taken);
        }
        self.cursor = Some(to);
        Ok(())
    }

    async fn keep(&mut self) -> Result<(), Failure> {
        let hold = Hold { store: &self.store, clock: self.clock.as_ref(), name: &self.name, who: &self.who };
        hold.keep(&mut self.kept).await
    }

    async fn keep_if_due(&mut self) -> Result<(), Failure> {
        let hold = Hold { store: &self.store, clock: self.clock.as_ref(), name: &self.name, who: &self.who };
        hold.keep_if_due(&mut self.kept).await
    }

    fn note_success(&mut self) {
        self.share = (self.share / 2).max(1);
        if self.backoff.succeeded() {
            tracing::info!(sink = self.name, "a sink of the audit takes events again");
        }
    }

    /// How long is waited before it is tried again. The sink is left meanwhile: another issuer may reach what this one can't.
    async fn failed(&mut self, failure: &Failure) -> Duration {
        self.leave().await;
        match failure {
            Failure::Taken => {
                self.oldest = None;
                self.metrics.behind.set(0);
                return EVERY;
            }
            Failure::Stopped => return Duration::ZERO,
            Failure::Store(_) | Failure::Receiver(_) => {}
        }
        self.failing.is("", |_| {
            tracing::error!(sink = self.name, error = %failure, "events of the audit can't be delivered to a sink; trying again");
        });
        self.metrics.failures.inc();
        if matches!(failure, Failure::Store(_)) {
            return EVERY;
        }
        self.share = (self.share * 2).min(SMALLEST_SHARE);
        self.backoff.failed()
    }

    async fn leave(&mut self) {
        if self.cursor.take().is_some()
            && let Err(error) = self.store.hold_sink(&self.name, &self.who, Duration::ZERO).await
        {
            tracing::debug!(sink = self.name, %error, "a sink is left when its time is over");
        }
    }

    async fn wait(&self, pause: Duration, stop: &CancellationToken) {
        let until = tokio::time::Instant::now() + pause;
        loop {
            note_lag(&self.metrics, self.clock.as_ref(), self.oldest);
            let next = until.min(tokio::time::Instant::now() + EVERY);
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep_until(next) => {}
            }
            if next >= until {
                return;
            }
        }
    }
}

fn note_lag(metrics: &OfOne, clock: &dyn Clock, oldest: Option<DateTime<Utc>>) {
    metrics.lag.set(oldest.map_or(0, |oldest| (clock.now() - oldest).num_seconds().max(0)));
}

/// The right to deliver.
struct Hold<'a> {
    store: &'a Store,
    clock: &'a dyn Clock,
    name: &'a str,
    who: &'a str,
}

impl Hold<'_> {
    async fn keep_if_due(&self, kept: &mut Instant) -> Result<(), Failure> {
        // Long before it ends, and not in each turn: each time is a write to disk.
        if self.clock.monotonic().saturating_duration_since(*kept) < HOLD / 3 {
            return Ok(());
        }
        self.keep(kept).await
    }

    async fn keep(&self, kept: &mut Instant) -> Result<(), Failure> {
        let now = self.clock.monotonic();
        if !self.store.hold_sink(self.name, self.who, HOLD).await? {
            return Err(Failure::Taken);
        }
        *kept = now;
        Ok(())
    }
}
