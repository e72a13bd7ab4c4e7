use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use super::Full;

/// How long an answer waits for its event in [`Mode::Strict`].
const STRICT_WAIT: Duration = Duration::from_secs(2);

/// What becomes of calls whose events the store does not take at once (protocols, section 6, A2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// No answer before its event is in the store. After two seconds, and where too many events wait already, the call is answered
    /// 503; what it did is done, and its event may still follow.
    Strict,
    /// Events wait on disk, and follow later. A process that is killed loses those of its last 10 ms. Where that is full, or can't be
    /// written, they wait in memory; where that is full too, calls are answered 503.
    Spill {
        /// Where; for one process at a time.
        directory: PathBuf,
        /// The most bytes that they may take there.
        max_bytes: u64,
    },
    /// Events wait in memory; where that is full, calls are answered 503. A process that is killed loses them.
    Memory,
    /// Events wait in memory; where that is full, calls are answered without one. How many these were is counted, and an event later.
    BestEffort,
}

/// An event that was taken.
#[derive(Debug)]
#[must_use = "an answer may have to wait until its event is written"]
pub struct Recorded {
    /// `None`: nothing is to be waited for.
    waits: Option<Waits>,
}

#[derive(Debug)]
struct Waits {
    /// How many events are written.
    written: watch::Receiver<u64>,
    /// Which of them it is.
    position: u64,
    /// How many have waited in vain.
    late: Arc<AtomicU64>,
}

impl Recorded {
    /// Nothing is to be waited for.
    pub(crate) fn at_once() -> Self {
        Self { waits: None }
    }

    pub(super) fn waits_for(written: watch::Receiver<u64>, position: u64, late: Arc<AtomicU64>) -> Self {
        Self { waits: Some(Waits { written, position, late }) }
    }

    /// Waits until it may be answered: at once, but for [`Mode::Strict`].
    ///
    /// # Errors
    /// The event is not in the store within two seconds.
    pub async fn may_be_answered(self) -> Result<(), Full> {
        let Some(Waits { mut written, position, late }) = self.waits else { return Ok(()) };
        let waiting = tokio::time::timeout(STRICT_WAIT, written.wait_for(|written| *written >= position));
        match waiting.await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => {
                late.fetch_add(1, Ordering::Relaxed);
                Err(Full)
            }
        }
    }
}
