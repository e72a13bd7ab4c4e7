//! A Redis that somebody else runs.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use crate::machine::Machine;
use crate::until::{signal, stand_still, until};

/// Ends when it is dropped.
pub struct Redis {
    child: Child,
    command: Vec<std::ffi::OsString>,
    directory: PathBuf,
    pub port: u16,
    password: Option<String>,
    tls: bool,
}

/// A port that was free a moment ago, and is none of those that outgoing connections get (from 32768 on), so that nobody takes
/// it by chance before its server does.
pub fn free_port() -> u16 {
    use std::hash::{BuildHasher as _, RandomState};
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    (0..1_000).map(|_| (RandomState::new().hash_one(0) % 16_000) as u16 + 16_000).find(free).expect("a free port")
}

impl Redis {
    /// On a free port, with further settings.
    pub fn start(machine: &Machine, settings: &[(&str, &str)]) -> Self {
        Self::start_on(machine, free_port(), settings)
    }

    pub fn start_on(machine: &Machine, port: u16, settings: &[(&str, &str)]) -> Self {
        let directory = machine.path(&format!("redis-{port}"));
        std::fs::create_dir_all(&directory).unwrap();
        let tls = settings.iter().any(|(name, _)| *name == "--tls-port");
        let mut command: Vec<std::ffi::OsString> = Vec::new();
        for word in ["--bind", "127.0.0.1", "--save", "", "--appendonly", "yes", "--appendfsync", "always"] {
            command.push(word.into());
        }
        command.extend(["--port".into(), if tls { "0".into() } else { port.to_string().into() }]);
        command.extend(["--dir".into(), directory.clone().into_os_string()]);
        for (name, value) in settings {
            let value = if *name == "--tls-port" { port.to_string() } else { (*value).to_owned() };
            command.push(name.into());
            command.extend(value.split(' ').map(Into::into));
        }
        let password =
            settings.iter().find(|(name, _)| *name == "--requirepass").map(|(_, password)| (*password).to_owned());
        let child = spawn(&command, &directory, &[]);
        let redis = Self { child, command, directory, port, password, tls };
        redis.has_begun();
        redis
    }

    /// Killed.
    pub fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Started again on the same data, with these settings too, and not waited for.
    pub fn begin(&mut self, settings: &[(&str, &str)]) {
        self.child = spawn(&self.command, &self.directory, settings);
    }

    /// Started again, and there.
    pub fn again(&mut self, settings: &[(&str, &str)]) {
        self.begin(settings);
        self.has_begun();
    }

    pub fn has_begun(&self) {
        until(Duration::from_secs(20), "a Redis that answers", || self.listens().then_some(()));
    }

    /// Where its data is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The code of the error that it answers a script with, if it does.
    pub fn refusal(&self) -> Option<String> {
        let client = redis::Client::open(self.url()).unwrap();
        let mut connection = client.get_connection_with_timeout(Duration::from_secs(2)).ok()?;
        connection.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
        let error = redis::cmd("EVAL").arg("return 1").arg(0).exec(&mut connection).err()?;
        error.code().map(str::to_owned)
    }

    fn listens(&self) -> bool {
        if self.tls {
            return std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok();
        }
        self.connect().is_some_and(|mut connection| redis::cmd("PING").exec(&mut connection).is_ok())
    }

    fn connect(&self) -> Option<redis::Connection> {
        let password = self.password.as_ref().map(|password| format!(":{password}@")).unwrap_or_default();
        let client = redis::Client::open(format!("redis://{password}127.0.0.1:{}", self.port)).unwrap();
        let connection = client.get_connection_with_timeout(Duration::from_secs(2)).ok()?;
        connection.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        Some(connection)
    }

    pub fn connection(&self) -> redis::Connection {
        self.connect().unwrap()
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn signal(&self, which: Signal) {
        signal(self.child.id(), which);
    }

    /// Stopped in its tracks.
    pub fn stands_still(&self) {
        stand_still(self.child.id());
    }

    /// How many keys there are.
    pub fn size(&self) -> u64 {
        redis::cmd("DBSIZE").query(&mut self.connection()).unwrap()
    }
}

/// The key of an account's state record.
pub fn state_key(account: &str) -> String {
    let account: countermark::account::AccountId = account.parse().unwrap();
    format!("{{cm}}:s:{}", account.packed())
}

fn spawn(command: &[std::ffi::OsString], directory: &Path, settings: &[(&str, &str)]) -> Child {
    let log = std::fs::File::options().create(true).append(true).open(directory.join("log")).unwrap();
    let mut process = Command::new("redis-server");
    process.args(command);
    for (name, value) in settings {
        process.args([name, value]);
    }
    process.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
}

impl Drop for Redis {
    fn drop(&mut self) {
        // A stopped one too.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
