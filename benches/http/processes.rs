//! Processes on a processor of their own, stopped by their own handle.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::reading;

/// Where the server under test runs, and where its clients and Redis do.
pub const SERVER: usize = 0;
pub const CLIENT: usize = 1;

/// The kernel's, on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// Ends when it is dropped.
pub struct Process {
    child: Child,
    log: PathBuf,
}

/// The program, to be run on one processor and with nothing of our environment.
pub fn pinned(processor: usize, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("taskset");
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command.args(["-c", &processor.to_string()]).arg(program);
    command.stdin(Stdio::null());
    command
}

impl Process {
    /// Its output goes to `NAME.log` in the directory.
    pub fn start(mut command: Command, directory: &Path, name: &str) -> Self {
        let path = directory.join(format!("{name}.log"));
        let log = fs::File::create(&path).unwrap();
        command.stdout(log.try_clone().unwrap()).stderr(log);
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { child, log: path }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Tries until something of it is there. Where it ends instead, or takes too long, what it said is shown.
    pub fn until<T>(&mut self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            if let Some(found) = look() {
                return found;
            }
            let ended = self.child.try_wait().unwrap();
            if ended.is_some() || began.elapsed() > Duration::from_secs(60) {
                let said = fs::read_to_string(&self.log).unwrap_or_default();
                panic!("there is no {what}; ended: {ended:?}; {}:\n{said}", self.log.display());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Kilobytes that it holds in memory.
    pub fn resident_kb(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        reading::field(&status, "VmRSS").unwrap() as f64
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            let _ = kill_process(pid, Signal::TERM);
        }
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(10) {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Seconds of processor time that a process has taken so far.
pub fn processor_seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    reading::ticks(&stat).map_or(f64::NAN, |ticks| ticks as f64 / TICKS_PER_SECOND)
}

/// Waits until the processes have nothing left to do: what one does after its answers must not slow the next one down.
pub fn settle(pids: &[u32]) -> Duration {
    const WINDOW: Duration = Duration::from_millis(200);
    let began = Instant::now();
    let taken = || pids.iter().map(|pid| processor_seconds(*pid)).sum::<f64>();
    let mut before = taken();
    while began.elapsed() < Duration::from_secs(120) {
        std::thread::sleep(WINDOW);
        let now = taken();
        if now - before < 0.1 * WINDOW.as_secs_f64() {
            return began.elapsed().saturating_sub(WINDOW);
        }
        before = now;
    }
    eprintln!("still at work after two minutes");
    began.elapsed()
}

/// A port that was free a moment ago, below those that outgoing connections get.
pub fn free_port() -> u16 {
    use std::hash::{BuildHasher as _, RandomState};
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    (0..1_000).map(|_| (RandomState::new().hash_one(0) % 16_000) as u16 + 16_000).find(free).unwrap()
}
