//! Connections that come back by themselves. While one is away, whoever asks for it is refused at once: a request that
//! waits for the store is worth less than a clear 503.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use redis::aio::MultiplexedConnection;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::StoreError;
use super::error::describe;
use super::greeting::{ConnectError, Driver, Guard};
use super::target::{Connected, Primary, Target};
use super::wire::Share;
use crate::told::Told;

/// How often a connection is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// How often it is told that there is no connection, and how soon that it is for another reason.
const TELL_AGAIN: Duration = Duration::from_secs(30);
const TELL_NEWS: Duration = Duration::from_secs(5);

tokio::task_local! {
    static TAKEN: Cell<Taken>;
}

/// How long the store has taken for one request, which may ask several things at once.
#[derive(Clone, Copy, Default)]
struct Taken {
    before: Duration,
    under_way: u32,
    /// When the first of those was asked.
    since: Option<Instant>,
}

/// Works for one request. Of a store that has already taken as long as a command may take, nothing more is asked for it: slow
/// answers, each of them just in time, would add up. So two time-outs bound the whole.
pub async fn for_one_request<F: Future>(work: F) -> F::Output {
    TAKEN.scope(Cell::default(), work).await
}

/// How long the store has taken so far for this request.
pub(super) fn taken() -> Duration {
    let taken = TAKEN.try_with(Cell::get).unwrap_or_default();
    taken.before + taken.since.map(|since| since.elapsed()).unwrap_or_default()
}

/// Counts how long an answer takes.
pub(super) async fn counted<F: Future>(question: F) -> F::Output {
    let _asked = Asked::now();
    question.await
}

/// A question under way, until it is answered or given up.
struct Asked;

impl Asked {
    fn now() -> Self {
        change_taken(|taken| {
            taken.since.get_or_insert_with(Instant::now);
            taken.under_way += 1;
        });
        Self
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        change_taken(|taken| {
            taken.under_way = taken.under_way.saturating_sub(1);
            if taken.under_way == 0 {
                taken.before += taken.since.take().map(|since| since.elapsed()).unwrap_or_default();
            }
        });
    }
}

fn change_taken(change: impl FnOnce(&mut Taken)) {
    // Work that is nobody's request is not counted.
    let _ = TAKEN.try_with(|cell| {
        let mut taken = cell.get();
        change(&mut taken);
        cell.set(taken);
    });
}

/// A connection, and its number among those of its link.
#[derive(Clone)]
pub(super) struct Numbered {
    pub(super) connection: MultiplexedConnection,
    pub(super) number: u64,
    share: Arc<Share>,
    _driven: Arc<Guard>,
}

/// A connection under supervision.
pub(super) struct Link {
    name: &'static str,
    target: Target,
    current: ArcSwapOption<Numbered>,
    /// Why there is none.
    why: ArcSwapOption<String>,
    /// The number of the last connection that an error ended.
    lost: watch::Sender<u64>,
    /// The number of the last connection that was made.
    came: watch::Sender<u64>,
}

impl Link {
    /// Begins to connect, and to connect again whenever the connection is lost. `busy` is how long a command of ours may keep
    /// the connection from answering anything else.
    pub(super) fn supervise(name: &'static str, target: Target, busy: Duration, stop: CancellationToken) -> Arc<Self> {
        let link = Arc::new(Self {
            name,
            target,
            current: ArcSwapOption::empty(),
            why: ArcSwapOption::empty(),
            lost: watch::Sender::new(0),
            came: watch::Sender::new(0),
        });
        tokio::spawn({
            let link = Arc::clone(&link);
            async move {
                tokio::select! {
                    () = stop.cancelled() => link.current.store(None),
                    () = link.keep(busy) => {}
                }
            }
        });
        link
    }

    async fn keep(&self, busy: Duration) {
        let mut pause = Duration::from_millis(20);
        let mut told = Told::every(TELL_AGAIN, TELL_NEWS);
        let mut number = 0;
        loop {
            match connect_to_primary(&self.target).await {
                Ok(Connected { connection, driver: Driver { task, share, guard }, route, at }) => {
                    number += 1;
                    let held = Numbered { connection, number, share, _driven: Arc::new(guard) };
                    self.why.store(None);
                    self.current.store(Some(Arc::new(held.clone())));
                    self.came.send_replace(number);
                    tracing::info!(link = self.name, server = %route, "connected to the store");
                    pause = Duration::from_millis(20);
                    told.is_over();
                    tokio::select! {
                        () = self.watch(held, at.as_ref(), self.target.timeout() + busy) => {}
                        _ = task => {}
                    }
                    self.current.store(None);
                    self.target.moved();
                    tracing::warn!(link = self.name, server = %route, "lost the connection to the store");
                }
                Err(NoConnection { error, shown }) => {
                    let (ConnectError::Away(why) | ConnectError::Refused(why)) = error;
                    told.is(&why, |more| {
                        tracing::warn!(link = self.name, why, more, "no connection to the store; trying again");
                    });
                    self.why.store(Some(Arc::new(shown)));
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_millis(500));
                }
            }
        }
    }

    /// Returns when the connection is lost, or leads to a server that may no longer write, or is no longer the one that counts.
    async fn watch(&self, mut held: Numbered, at: Option<&Primary>, patience: Duration) {
        held.connection.set_response_timeout(patience);
        let mut lost = self.lost.subscribe();
        let unfit = async {
            loop {
                tokio::time::sleep(LOOK_AGAIN).await;
                match fence(&mut held.connection, self.target.fence_key()).await {
                    Ok(()) => held.share.answered(),
                    Err(error) if is_broken(&error) || may_not_write(&error) => return,
                    Err(_) => {}
                }
            }
        };
        // By itself: one that stands still keeps the other look waiting.
        let replaced = async {
            loop {
                tokio::time::sleep(LOOK_AGAIN).await;
                if self.target.has_moved_from(at).await {
                    return tracing::warn!(link = self.name, "the sentinels name another primary");
                }
            }
        };
        tokio::select! {
            _ = lost.wait_for(|lost| *lost >= held.number) => {}
            () = unfit => {}
            () = replaced => {}
        }
    }

    /// The connection, if there is one now.
    pub(super) fn now(&self) -> Result<Numbered, StoreError> {
        if taken() >= self.target.timeout() {
            return Err(StoreError::Unavailable("it answers too slowly for all that the request needs".into()));
        }
        let current = self.current.load_full();
        current.map(|current| Numbered::clone(&current)).ok_or_else(|| {
            let why = self.why.load().as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            StoreError::Unavailable(format!("no connection{why}"))
        })
    }

    /// That nobody says any more which server counts, if that lasts.
    #[cfg(feature = "server")]
    pub(super) fn unguided(&self) -> Option<String> {
        self.target.unguided()
    }

    /// Whether there was ever a connection.
    pub(super) fn has_ever_come(&self) -> bool {
        *self.came.borrow() > 0
    }

    /// Waits until there is a connection.
    pub(super) async fn connected(&self) {
        let mut came = self.came.subscribe();
        while self.current.load().is_none() {
            if came.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Waits until there is a connection with a higher number than this one.
    #[cfg(feature = "server")]
    pub(super) async fn connected_after(&self, number: u64) {
        let mut came = self.came.subscribe();
        if came.wait_for(|came| *came > number).await.is_err() {
            std::future::pending::<()>().await;
        }
        self.connected().await;
    }

    /// Told that an answer came on the connection with this number.
    pub(super) fn answered(&self, number: u64) {
        if let Some(current) = self.current.load().as_ref().filter(|current| current.number == number) {
            current.share.answered();
        }
    }

    /// Told of an error of the connection with this number: one that speaks of the connection, or of a server that is no
    /// longer the primary, ends it, unless it has been replaced already.
    pub(super) fn failed(&self, error: &redis::RedisError, number: u64) {
        if is_elsewhere(error) {
            self.target.moved();
        }
        // What may pass is left to the watch: a command is refused by it, and the server may still be the right one. So is where
        // a key has gone, of a connection that is for whatever a server of a cluster has.
        let has_lost_its_slot = error.code() == Some("MOVED") && self.target.fence_key().is_some();
        let not_the_primary = has_lost_its_slot || matches!(error.code(), Some("READONLY" | "MASTERDOWN" | "LOADING"));
        if !is_broken(error) && !not_the_primary {
            return;
        }
        let current = self.current.load();
        if current.as_ref().is_some_and(|current| current.number == number) {
            self.current.compare_and_swap(&current, None);
        }
        self.lost.send_if_modified(|lost| {
            let later = *lost < number;
            *lost = number.max(*lost);
            later
        });
    }
}

/// Why there is none.
struct NoConnection {
    error: ConnectError,
    /// The same for everybody, who need not know where the servers are.
    shown: String,
}

impl From<ConnectError> for NoConnection {
    fn from(error: ConnectError) -> Self {
        let shown = match &error {
            ConnectError::Away(_) => "it can't be reached; the log says why",
            ConnectError::Refused(_) => "it refuses, or is another than it should be; the log says why",
        };
        Self { error, shown: shown.to_owned() }
    }
}

/// A connection to a server that may write: behind one address there may be a replica now and the primary a moment later.
async fn connect_to_primary(target: &Target) -> Result<Connected, NoConnection> {
    let mut connected = target.connect().await.inspect_err(|_| target.moved())?;
    match fence(&mut connected.connection, target.fence_key()).await {
        Err(error) if is_broken(&error) || may_not_write(&error) => {
            target.moved();
            let shown = why_not(&error);
            Err(NoConnection { error: ConnectError::Away(shown.clone()).at(&connected.route), shown })
        }
        _ => Ok(connected),
    }
}

/// A script that may write, as far as Redis knows: replicas and cut-off primaries, which would answer a PING, refuse it. With a
/// key, so does a server of a cluster that does not have its slot.
pub(super) async fn fence(connection: &mut MultiplexedConnection, key: Option<&str>) -> redis::RedisResult<()> {
    let mut command = redis::cmd("EVAL");
    command.arg("#!lua flags=allow-oom\nreturn 1").arg(usize::from(key.is_some()));
    command.arg(key.as_slice()).query_async(connection).await
}

pub(super) fn is_broken(error: &redis::RedisError) -> bool {
    // A reply that is late is as bad as none: the connection may be a black hole.
    error.kind() == redis::ErrorKind::Io || error.is_unrecoverable_error()
}

fn may_not_write(error: &redis::RedisError) -> bool {
    is_elsewhere(error) || matches!(error.code(), Some("MASTERDOWN" | "LOADING" | "NOREPLICAS"))
}

/// In words what an operator has to look for.
fn why_not(error: &redis::RedisError) -> String {
    match error.code() {
        Some("NOREPLICAS") => "too few replicas follow it (NOREPLICAS): see min-replicas-to-write of Redis".into(),
        Some("READONLY") => "it is a replica (READONLY)".into(),
        _ => describe(error),
    }
}

/// Whether it says that the key is, or is about to be, at another server.
fn is_elsewhere(error: &redis::RedisError) -> bool {
    matches!(error.code(), Some("READONLY" | "MOVED" | "ASK" | "TRYAGAIN" | "CLUSTERDOWN"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn questions_that_are_asked_at_once_take_as_long_as_the_longest() {
        let [short, long] = [20, 50].map(Duration::from_millis);
        let asked = |how_long| counted(tokio::time::sleep(how_long));
        let began = Instant::now();
        for_one_request(async {
            tokio::join!(asked(long), asked(short), asked(long));
            assert!((long..=began.elapsed()).contains(&taken()), "{:?}", taken());
            asked(short).await;
            assert!((long + short..=began.elapsed()).contains(&taken()), "one after the other: {:?}", taken());
            assert!(tokio::time::timeout(short, asked(long)).await.is_err());
            assert!((long + short * 2..=began.elapsed()).contains(&taken()), "given up: {:?}", taken());
        })
        .await;
        assert_eq!(taken(), Duration::ZERO, "of nobody's request");
    }
}
