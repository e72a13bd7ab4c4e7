//! Waiting is for conditions, with a deadline.

use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

const EVERY: Duration = Duration::from_millis(20);

/// Until `condition` gives something; what it waited for is said when it doesn't.
#[track_caller]
pub fn until<T>(within: Duration, what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(began.elapsed() < within, "not within {within:?}: {what}");
        std::thread::sleep(EVERY);
    }
}

/// Ten seconds are enough for everything that has no limit of its own.
#[track_caller]
pub fn soon(what: &str, mut condition: impl FnMut() -> bool) {
    until(Duration::from_secs(10), what, || condition().then_some(()));
}

/// The end of a child, if it comes in time.
pub fn ended(child: &mut Child, within: Duration) -> Option<ExitStatus> {
    let began = Instant::now();
    while began.elapsed() < within {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        std::thread::sleep(EVERY);
    }
    None
}

/// Sends a signal to a process of ours.
pub fn signal(pid: u32, signal: Signal) {
    // One that is gone already needs none.
    let _ = kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), signal);
}

/// Stops a process of ours in its tracks: when this returns, none of its threads does anything more.
pub fn stand_still(pid: u32) {
    signal(pid, Signal::STOP);
    soon("all of its threads stand still", || {
        let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
        threads.flatten().all(|thread| {
            let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
        })
    });
}

/// How long a server decides from memory after the store has answered for the last time, where nothing else is configured.
pub const MAX_STALENESS: Duration = Duration::from_millis(500);

/// Waits until no lease from before this moment can be left (F2): what is decided then is not decided from memory.
pub fn leases_end(since: Instant) {
    std::thread::sleep(MAX_STALENESS.saturating_sub(since.elapsed()));
}

/// Whether the process exists and has not ended (one that nobody reaped has).
pub fn lives(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit(") ").next().is_some_and(|rest| !rest.starts_with(['Z', 'X'])))
}
