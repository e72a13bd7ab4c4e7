//! A `redis-server` of our own on a Unix socket, for as long as somebody holds it.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use redis::FromRedisValue;
use redis::aio::MultiplexedConnection;

pub struct RedisServer {
    child: Child,
    directory: tempfile::TempDir,
}

static SHARED: Mutex<Weak<RedisServer>> = Mutex::new(Weak::new());

impl RedisServer {
    /// One that nobody else uses.
    pub fn start() -> Arc<Self> {
        let directory = tempfile::tempdir().unwrap();
        let child = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--enable-debug-command", "yes", "--unixsocket"])
            .arg(directory.path().join("redis.sock"))
            .arg("--dir")
            .arg(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server is needed for these tests");
        let server = Self { child, directory };
        let deadline = Instant::now() + Duration::from_secs(10);
        while !server.answers() {
            assert!(Instant::now() < deadline, "redis-server did not begin to answer");
            std::thread::sleep(Duration::from_millis(5));
        }
        Arc::new(server)
    }

    /// Another server with a copy of all that this one holds, as a replica is that was promoted.
    pub async fn copy(&self) -> Arc<Self> {
        let copy = Self::start();
        self.copy_to(&copy).await;
        copy
    }

    async fn copy_to(&self, copy: &Self) {
        let mut keys = self.run::<Vec<Vec<u8>>>(&["KEYS", "*"]).await;
        // Whoever finds the dataset there finds all of it.
        keys.sort_by_key(|key| key.ends_with(b":meta"));
        for key in keys {
            // What was there a moment ago may be gone.
            let dumped: Option<Vec<u8>> =
                redis::cmd("DUMP").arg(&key).query_async(&mut self.connection().await).await.unwrap();
            let Some(dumped) = dumped else { continue };
            let mut restore = redis::cmd("RESTORE");
            restore.arg(&key).arg(0).arg(dumped).arg("REPLACE");
            restore.exec_async(&mut copy.connection().await).await.unwrap();
        }
    }

    /// It becomes another server, as one that is restarted does.
    pub async fn changes_identity(&self) {
        self.run::<()>(&["DEBUG", "CHANGE-REPL-ID"]).await;
    }

    /// It becomes another server, with what this one holds: as where a backup is restored under running issuers.
    pub async fn go_back_to(&self, earlier: &Self) {
        self.changes_identity().await;
        self.run::<()>(&["FLUSHALL"]).await;
        earlier.copy_to(self).await;
    }

    /// The one of this binary.
    pub fn shared() -> Arc<Self> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = shared.upgrade() {
            return server;
        }
        let server = Self::start();
        *shared = Arc::downgrade(&server);
        server
    }

    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("redis.sock")
    }

    fn client(&self) -> redis::Client {
        redis::Client::open(format!("redis+unix://{}", self.socket().display())).unwrap()
    }

    fn answers(&self) -> bool {
        self.client().get_connection().is_ok_and(|mut connection| redis::cmd("PING").exec(&mut connection).is_ok())
    }

    pub async fn connection(&self) -> MultiplexedConnection {
        self.client().get_multiplexed_async_connection().await.unwrap()
    }

    /// One command: `["HGET", "key", "field"]`.
    pub async fn run<T: FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command = redis::Cmd::new();
        for word in words {
            command.arg(*word);
        }
        command.query_async(&mut self.connection().await).await.unwrap()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
