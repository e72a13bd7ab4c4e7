//! A Redis that somebody else runs.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use crate::machine::Machine;
use crate::until::{signal, until};

/// Ends when it is dropped.
pub struct Redis {
    child: Child,
    pub port: u16,
    password: Option<String>,
    tls: bool,
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
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
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "yes", "--appendfsync", "always"]);
        command.arg("--port").arg(if tls { "0".to_owned() } else { port.to_string() });
        command.arg("--dir").arg(&directory);
        for (name, value) in settings {
            let value = if *name == "--tls-port" { port.to_string() } else { (*value).to_owned() };
            command.arg(name).args(value.split(' '));
        }
        let log = std::fs::File::create(directory.join("log")).unwrap();
        let child = command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let password =
            settings.iter().find(|(name, _)| *name == "--requirepass").map(|(_, password)| (*password).to_owned());
        let redis = Self { child, port, password, tls };
        until(Duration::from_secs(10), "a Redis that answers", || redis.listens().then_some(()));
        redis
    }

    fn listens(&self) -> bool {
        if self.tls {
            return std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok();
        }
        self.connect().is_some()
    }

    fn connect(&self) -> Option<redis::Connection> {
        let password = self.password.as_ref().map(|password| format!(":{password}@")).unwrap_or_default();
        let client = redis::Client::open(format!("redis://{password}127.0.0.1:{}", self.port)).unwrap();
        let mut connection = client.get_connection_with_timeout(Duration::from_secs(2)).ok()?;
        connection.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        redis::cmd("PING").query::<String>(&mut connection).ok()?;
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

    /// How many keys there are.
    pub fn size(&self) -> u64 {
        redis::cmd("DBSIZE").query(&mut self.connection()).unwrap()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // A stopped one too.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
