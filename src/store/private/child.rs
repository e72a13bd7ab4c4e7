//! The child process: one thread starts it, waits for it, and starts it again.
use std::fs::OpenOptions;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use tokio::sync::watch;

use super::place::Place;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
// Who has lived this long did not die of how it was started.
const SETTLED: Duration = Duration::from_secs(10);

/// What the thread is at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    /// A child is running.
    Running,
    /// It ended, and another is started after a pause: how it ended.
    Ended(String),
    /// The thread is done, and no child is left.
    Stopped,
}

pub(super) struct Supervisor {
    binary: PathBuf,
    place: Place,
    restarts: AtomicU64,
    stopping: AtomicBool,
    // The pid is taken out before the child is reaped: while it is in here, it can't be another process's.
    running: Mutex<Option<Pid>>,
    wake: Condvar,
}

impl Supervisor {
    /// Starts the thread. It lasts until `stop`.
    pub(super) fn start(binary: PathBuf, place: Place) -> io::Result<(Arc<Self>, watch::Receiver<State>)> {
        let supervisor = Arc::new(Self {
            binary,
            place,
            restarts: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            running: Mutex::new(None),
            wake: Condvar::new(),
        });
        let (say, state) = watch::channel(State::Running);
        let thread = Arc::clone(&supervisor);
        std::thread::Builder::new().name("private-redis".to_owned()).spawn(move || thread.run(&say))?;
        Ok((supervisor, state))
    }

    pub(super) fn restarts(&self) -> u64 {
        self.restarts.load(Ordering::Relaxed)
    }

    /// The child's pid, while there is one.
    pub(super) fn pid(&self) -> Option<u32> {
        self.running().and_then(|pid| u32::try_from(pid.as_raw_nonzero().get()).ok())
    }

    /// Asks the child to end, and the thread not to start another.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.signal(Signal::TERM);
        self.wake.notify_all();
    }

    pub(super) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// Lets go of a running child, as a killed server does: it is not started again.
    #[cfg(test)]
    pub(super) fn leave(&self) {
        self.stopping.store(true, Ordering::SeqCst);
    }

    fn running(&self) -> MutexGuard<'_, Option<Pid>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = *self.running()
            && let Err(error) = rustix::process::kill_process(pid, signal)
        {
            tracing::warn!(%error, "the private Redis can't be signalled");
        }
    }

    fn run(&self, say: &watch::Sender<State>) {
        let mut pause = FIRST_PAUSE;
        loop {
            let began = Instant::now();
            let log = self.place.log_length();
            let ended = self.run_once(say);
            if self.stopping.load(Ordering::SeqCst) {
                break;
            }
            let ended = ended.map_or_else(|error| format!("could not be started: {error}"), |status| describe(&status));
            let last = self.place.log_since(log);
            if ["AOF write error", "AOF for fsync error"].iter().any(|words| last.contains(words)) {
                self.place.space.failed();
            }
            tracing::error!(log = last.lines().last(), "the private Redis {ended}; starting it again in {pause:?}");
            say.send_replace(State::Ended(ended));
            if began.elapsed() >= SETTLED {
                pause = FIRST_PAUSE;
            }
            self.pause(pause);
            if self.stopping.load(Ordering::SeqCst) {
                break;
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
            self.restarts.fetch_add(1, Ordering::Relaxed);
        }
        say.send_replace(State::Stopped);
    }

    fn run_once(&self, say: &watch::Sender<State>) -> io::Result<ExitStatus> {
        let mut child = {
            // Under the lock: a stop that comes now finds either no child and none coming, or this one.
            let mut running = self.running();
            if self.stopping.load(Ordering::SeqCst) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let child = spawn(&self.binary, &self.place)?;
            *running = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
            child
        };
        say.send_replace(State::Running);
        self.wait(&mut child)
    }

    fn wait(&self, child: &mut Child) -> io::Result<ExitStatus> {
        let pid = *self.running();
        if let Some(pid) = pid {
            // Any other error is met again, and reported, by the wait below.
            let exited = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            while let Err(rustix::io::Errno::INTR) = rustix::process::waitid(WaitId::Pid(pid), exited) {}
        }
        *self.running() = None;
        child.wait()
    }

    fn pause(&self, length: Duration) {
        let running = self.running();
        let waiting = |_: &mut Option<Pid>| !self.stopping.load(Ordering::SeqCst);
        drop(self.wake.wait_timeout_while(running, length, waiting));
    }
}

fn describe(status: &ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

pub(super) fn spawn(binary: &Path, place: &Place) -> io::Result<Child> {
    if let Err(error) = place.remove_leftovers() {
        tracing::warn!(%error, "what an earlier private Redis left half written could not be removed");
    }
    let log = OpenOptions::new().create(true).append(true).open(&place.log)?;
    let mut command = Command::new(binary);
    // No file is named, so none is read: these are all the settings there are.
    for (name, value) in settings(place) {
        command.arg(name).arg(value);
    }
    // Secrets of ours that came in variables are none of its business.
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"COUNTERMARK_") {
            command.env_remove(name);
        }
    }
    command
        .current_dir(&place.directory)
        .stdin(Stdio::null())
        // What it says before it knows its log file.
        .stdout(log.try_clone()?)
        .stderr(log)
        // Ctrl-C is for us: Redis has to outlive the requests that are under way.
        .process_group(0);
    end_with_parent(&mut command);
    command.spawn()
}

fn settings(place: &Place) -> [(&'static str, std::ffi::OsString); 16] {
    [
        ("--port", "0".into()),
        ("--unixsocket", place.socket.clone().into()),
        ("--unixsocketperm", "700".into()),
        ("--dir", place.directory.clone().into()),
        ("--appendonly", "yes".into()),
        ("--appendfsync", "always".into()),
        ("--save", "".into()),
        // The log is written anew now and then. Compressing events takes a fifth of a small machine's time where they come fast, and the
        // log that is replaced is not compressed either.
        ("--rdbcompression", "no".into()),
        ("--maxmemory-policy", "noeviction".into()),
        ("--daemonize", "no".into()),
        ("--supervised", "no".into()),
        ("--enable-debug-command", "no".into()),
        ("--enable-module-command", "no".into()),
        ("--enable-protected-configs", "no".into()),
        ("--always-show-logo", "no".into()),
        ("--logfile", place.log.clone().into()),
    ]
}

/// Lets the kernel end the child (cleanly, by SIGTERM) when the calling thread ends, as it does with a killed process.
#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "pre_exec has no safe form; what runs there is two system calls and a comparison")]
fn end_with_parent(command: &mut Command) {
    let parent = std::process::id();
    // SAFETY: between fork and exec only async-signal-safe code may run. rustix makes the system calls directly, and
    // nothing here allocates, locks or panics.
    unsafe {
        command.pre_exec(move || {
            rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?;
            // Killed before the line above, our parent's end would have gone unnoticed.
            let now = rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get());
            if i64::from(now) == i64::from(parent) { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
        });
    }
}

/// Elsewhere an orphan is met, and ended, by the next start.
#[cfg(not(target_os = "linux"))]
fn end_with_parent(_: &mut Command) {}
