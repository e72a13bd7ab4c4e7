//! The private Redis: the store of a single machine, run as a child process on a Unix socket in the data directory.
//!
//! Every write is on disk before it is acknowledged (`appendfsync always`). The child is restarted when it dies and ends
//! with its parent; one that outlived a killed parent is ended before a new one is started, because two of them on the
//! same files would destroy them. That this can only be ours is proven by the lock of [`DataDir`].
mod binary;
mod child;
mod place;
mod probe;
mod space;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::data_dir::DataDir;
use child::{State, Supervisor};
use place::Place;
use probe::Health;
pub use space::Space;
pub(super) use space::make_room;

const LOOK_EVERY: Duration = Duration::from_millis(20);
// A socket is there at once; data takes as long as it takes, within reason.
const LISTENS_WITHIN: Duration = Duration::from_secs(30);
const LOADED_WITHIN: Duration = Duration::from_secs(30 * 60);
const TELL_EVERY: Duration = Duration::from_secs(5);
// What was acknowledged is on disk already: one that hangs needn't be waited for.
const ENDS_WITHIN: Duration = Duration::from_secs(3);
const LOOK_AT_DISK_EVERY: Duration = Duration::from_secs(1);
const KILLED_WITHIN: Duration = Duration::from_secs(10);

/// Why there is no private Redis.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrivateRedisError {
    /// Nothing on the PATH.
    #[error(
        "neither redis-server nor valkey-server is on the PATH: install one (7.0 or newer; `apt-get install redis-server`), \
         name it in store.redis_server, or use a Redis of your own with --store redis://HOST:PORT"
    )]
    NotFound,
    /// The configured binary is missing or not executable.
    #[error("{binary} can't be run: {source}; set store.redis_server to a redis-server 7.0 or newer")]
    NotRunnable {
        /// The binary.
        binary: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Too old, or not a Redis.
    #[error("{binary} is not a Redis or Valkey 7.0 or newer; it says {said:?}")]
    WrongVersion {
        /// The binary.
        binary: PathBuf,
        /// The first line of `--version`.
        said: String,
    },
    /// Its directory can't be made.
    #[error("{path} can't be used for the private Redis: {source}")]
    Directory {
        /// The path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Its directory is another user's, or open to others.
    #[error("{path} has to be a directory of this user with mode 0700: whoever can enter it owns the store")]
    NotPrivate {
        /// The directory.
        path: PathBuf,
    },
    /// The thread or the process could not be made.
    #[error("the private Redis could not be started: {0}")]
    Spawn(#[source] io::Error),
    /// It ended before it was ready, or never became ready.
    #[error("the private Redis {what}; {advice}. The end of its log {log_file}:\n{log}")]
    NotReady {
        /// What it did.
        what: String,
        /// What to do.
        advice: String,
        /// Its log.
        log_file: PathBuf,
        /// The last lines of it, since this start.
        log: String,
    },
    /// Another Redis on our socket does not end.
    #[error("another Redis{} is using {socket} and does not end: end it by hand", pid.map_or_else(String::new, |pid| format!(" (pid {pid})")))]
    Orphan {
        /// Its process, where the system tells.
        pid: Option<i32>,
        /// The socket.
        socket: PathBuf,
    },
}

/// The socket of the private Redis of a data directory that another process runs.
pub fn private_socket(data_dir: &Path) -> PathBuf {
    place::socket_of(&data_dir.join("redis"))
}

/// The program that a private Redis would be, if there is one that will do. `binary` is `store.redis_server`.
pub fn private_binary(binary: Option<&Path>) -> Result<PathBuf, PrivateRedisError> {
    binary::find(binary)
}

/// A running private Redis. Dropped without [`stop`](Self::stop), it is told to end, and nobody waits for it.
pub struct PrivateRedis {
    supervisor: Arc<Supervisor>,
    state: watch::Receiver<State>,
    socket: PathBuf,
    space: Arc<Space>,
    /// Ends with this value.
    _looking: tokio_util::sync::DropGuard,
}

impl PrivateRedis {
    /// Starts it and waits until it has read its data and answers. `binary` is `store.redis_server`.
    pub async fn start(data_dir: &DataDir, binary: Option<&Path>) -> Result<Self, PrivateRedisError> {
        let binary = binary::find(binary)?;
        let place = Place::prepare(data_dir)?;
        end_orphan(&place.socket).await?;
        let log = place.log_length();
        let (supervisor, state) = Supervisor::start(binary, place.clone()).map_err(PrivateRedisError::Spawn)?;
        let looking = CancellationToken::new();
        tokio::spawn(look(Arc::clone(&place.space), looking.clone()));
        let redis = Self {
            supervisor,
            state,
            socket: place.socket.clone(),
            space: Arc::clone(&place.space),
            _looking: looking.drop_guard(),
        };
        match redis.ready().await {
            Ok(()) => Ok(redis),
            Err(what) => {
                redis.stop().await;
                let said = place.log_since(log);
                let advice = advice(&said, &place);
                Err(PrivateRedisError::NotReady { what, advice, log_file: place.log, log: said })
            }
        }
    }

    /// The Unix socket it listens on. Stays the same over restarts.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The disk that it writes to.
    pub fn space(&self) -> &Arc<Space> {
        &self.space
    }

    /// How often it died and was started again.
    pub fn restarts(&self) -> u64 {
        self.supervisor.restarts()
    }

    /// Its process, while there is one.
    pub fn pid(&self) -> Option<u32> {
        self.supervisor.pid()
    }

    /// Ends it cleanly, by force after 3 seconds. No process is left when this returns.
    pub async fn stop(mut self) {
        self.supervisor.stop();
        if !self.stopped(ENDS_WITHIN).await {
            tracing::error!("the private Redis does not end: killing it");
            self.supervisor.kill();
            if !self.stopped(KILLED_WITHIN).await {
                tracing::error!("the private Redis does not die");
            }
        }
    }

    async fn stopped(&mut self, within: Duration) -> bool {
        let stopped = self.state.wait_for(|state| *state == State::Stopped);
        // A closed channel is a thread that ended: stopped as well.
        tokio::time::timeout(within, stopped).await.is_ok()
    }

    async fn ready(&self) -> Result<(), String> {
        let began = Instant::now();
        let mut told = began;
        loop {
            if let State::Ended(how) = &*self.state.borrow() {
                return Err(how.clone());
            }
            // Ended and started again while the probe below waited.
            if self.restarts() > 0 {
                return Err("ended at once, more than once".to_owned());
            }
            let (limit, doing) = match probe::health(&self.socket).await {
                Health::Ready => return Ok(()),
                Health::Loading(part) => {
                    if told.elapsed() >= TELL_EVERY {
                        told = Instant::now();
                        tracing::info!(percent = part, "the private Redis is reading its data");
                    }
                    (LOADED_WITHIN, "is still reading its data".to_owned())
                }
                Health::Absent => (LISTENS_WITHIN, "does not open its socket".to_owned()),
                Health::Odd(answer) => (LISTENS_WITHIN, format!("does not answer PING but {answer:?}")),
            };
            if began.elapsed() > limit {
                return Err(format!("{doing} after {} seconds", began.elapsed().as_secs()));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

impl Drop for PrivateRedis {
    fn drop(&mut self) {
        self.supervisor.stop();
    }
}

impl std::fmt::Debug for PrivateRedis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PrivateRedis").field("socket", &self.socket).finish_non_exhaustive()
    }
}

async fn look(space: Arc<Space>, stop: CancellationToken) {
    let mut tick = tokio::time::interval(LOOK_AT_DISK_EVERY);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        // The disk may be slow, and requests are answered meanwhile.
        let space = Arc::clone(&space);
        if tokio::task::spawn_blocking(move || space.look()).await.is_err() {
            return;
        }
    }
}

/// Ends a Redis that outlived the server it belonged to.
async fn end_orphan(socket: &Path) -> Result<(), PrivateRedisError> {
    let Ok(mut stream) = UnixStream::connect(socket).await else { return Ok(()) };
    // Of whoever opened the socket for listening; none across containers.
    let pid = stream.peer_cred().ok().and_then(|peer| peer.pid()).and_then(Pid::from_raw);
    tracing::warn!(
        pid = pid.map(|pid| pid.as_raw_nonzero().get()),
        "a private Redis of an earlier run is still there: ending it"
    );
    // No answer is its answer to SHUTDOWN. An error (it is busy with a script, say) is settled below.
    let _ = probe::ask(&mut stream, "SHUTDOWN NOSAVE\r\n").await;
    drop(stream);
    if gone(socket, pid, ENDS_WITHIN).await {
        return Ok(());
    }
    if let Some(pid) = pid {
        tracing::warn!("it does not end: killing it");
        // A failure shows in the next line.
        let _ = rustix::process::kill_process(pid, Signal::KILL);
        if gone(socket, Some(pid), KILLED_WITHIN).await {
            return Ok(());
        }
    }
    Err(PrivateRedisError::Orphan { pid: pid.map(|pid| pid.as_raw_nonzero().get()), socket: socket.to_owned() })
}

/// Whether nobody answers on the socket any more and the process is gone, waiting for it.
async fn gone(socket: &Path, pid: Option<Pid>, within: Duration) -> bool {
    let deadline = Instant::now() + within;
    loop {
        let process = pid.is_some_and(is_running);
        if !process && UnixStream::connect(socket).await.is_err() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Whether the process is there and has not ended. One that nobody has reaped yet, as in a container whose first process does
/// not, is only a name.
pub(crate) fn is_running(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    // "PID (any name) STATE …"
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    !matches!(state, Some('Z' | 'X')) && rustix::process::test_kill_process(pid).is_ok()
}

fn advice(log: &str, place: &Place) -> String {
    if log.contains("Bad file format") || log.contains("redis-check-aof") {
        let manifest = place.directory.join("appendonlydir/appendonly.aof.manifest");
        return format!(
            "its data is damaged: copy {} away, then restore a backup, or run `redis-check-aof --fix {}` and accept that \
             what follows the damage is lost",
            place.directory.display(),
            manifest.display()
        );
    }
    if log.contains("No space left") {
        return "the disk is full: make room".to_owned();
    }
    if log.contains("Permission denied") {
        return format!(
            "it may not use {}: its owner must be the user that runs countermark",
            place.directory.display()
        );
    }
    "its log says why".to_owned()
}
