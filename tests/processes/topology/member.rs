//! A process of a topology: a Redis or a sentinel, with a configuration file that it rewrites by itself.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use super::net::{Net, Side};
use crate::machine::Machine;
use crate::redis::free_port;
use crate::until::{signal, stand_still, until};

/// Ends when it is dropped.
pub struct Member {
    child: Child,
    directory: PathBuf,
    is_sentinel: bool,
    /// Where it listens.
    pub port: u16,
    /// Where the others find it.
    pub door: u16,
    /// Of a cluster: where it listens for the others of it, and where they find that.
    bus: Option<(u16, u16)>,
}

/// What it is told before it starts.
pub enum Kind {
    Redis,
    OfACluster,
    Sentinel,
}

impl Member {
    pub fn start(machine: &Machine, net: &Net, kind: &Kind, settings: &str) -> Self {
        let port = free_port();
        let door = net.door(port);
        let bus = matches!(kind, Kind::OfACluster).then(|| {
            let port = free_port();
            (port, net.door(port))
        });
        let directory = machine.path(&format!("member-{port}"));
        std::fs::create_dir_all(&directory).unwrap();
        let mut text = format!("bind 127.0.0.1\nport {port}\ndir {}\n{settings}\n", directory.display());
        match kind {
            Kind::Sentinel => {
                text.push_str(&format!("sentinel announce-ip 127.0.0.1\nsentinel announce-port {door}\n"))
            }
            Kind::Redis => text.push_str(&format!("replica-announce-ip 127.0.0.1\nreplica-announce-port {door}\n")),
            Kind::OfACluster => {
                let (bus, bus_door) = bus.unwrap();
                text.push_str(&format!(
                    "cluster-enabled yes\ncluster-port {bus}\ncluster-announce-ip 127.0.0.1\n\
                     cluster-announce-port {door}\ncluster-announce-bus-port {bus_door}\n"
                ));
            }
        }
        std::fs::write(directory.join("redis.conf"), text).unwrap();
        let is_sentinel = matches!(kind, Kind::Sentinel);
        let child = spawn(&directory, is_sentinel);
        let member = Self { child, directory, is_sentinel, port, door, bus };
        member.has_begun();
        member
    }

    pub fn has_begun(&self) {
        until(Duration::from_secs(20), "a server that answers", || redis::cmd("PING").exec(&mut self.connect()?).ok());
    }

    /// Killed.
    pub fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Started again on what it left.
    pub fn begin(&mut self) {
        self.child = spawn(&self.directory, self.is_sentinel);
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, which: Signal) {
        signal(self.pid(), which);
    }

    /// Stopped in its tracks.
    pub fn stands_still(&self) {
        stand_still(self.pid());
    }

    /// Itself, as a side of a cut.
    pub fn joins(&self, side: Side) -> Side {
        let bus = self.bus.map(|(bus, _)| bus);
        let ports: Vec<u16> = [self.port].into_iter().chain(bus).collect();
        side.and(self.pid(), &ports)
    }

    /// The door of its bus.
    pub fn bus_door(&self) -> u16 {
        self.bus.unwrap().1
    }

    fn connect(&self) -> Option<redis::Connection> {
        connect(self.port)
    }

    pub fn ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> Option<T> {
        ask(self.port, words)
    }

    /// As `ask`, and it has to answer.
    #[track_caller]
    pub fn told<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let mut connection = self.connect().unwrap_or_else(|| panic!("{words:?}: no connection"));
        let reply = redis::cmd(words[0]).arg(&words[1..]).query(&mut connection);
        reply.unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// A line of its INFO.
    pub fn info(&self, name: &str) -> Option<String> {
        let text: String = self.ask(&["INFO", "everything"])?;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::to_owned));
        value.map(|value| value.trim_end().to_owned())
    }

    pub fn is_primary(&self) -> bool {
        self.info("role").as_deref() == Some("master")
    }

    /// Whether it takes what may write: it is the primary, and its replicas are there (NOREPLICAS).
    pub fn takes_changes(&self) -> bool {
        self.ask::<u8>(&["EVAL", "#!lua\nreturn 1", "0"]).is_some()
    }

    /// A replica that has all that its primary has sent.
    pub fn follows(&self) -> bool {
        self.info("master_link_status").as_deref() == Some("up")
            && self.info("master_sync_in_progress").as_deref() == Some("0")
    }
}

fn connect(port: u16) -> Option<redis::Connection> {
    let client = redis::Client::open(format!("redis://127.0.0.1:{port}")).unwrap();
    let connection = client.get_connection_with_timeout(Duration::from_secs(1)).ok()?;
    connection.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    Some(connection)
}

/// What a server says, if it does.
pub fn ask<T: redis::FromRedisValue>(port: u16, words: &[&str]) -> Option<T> {
    redis::cmd(words[0]).arg(&words[1..]).query(&mut connect(port)?).ok()
}

fn spawn(directory: &Path, is_sentinel: bool) -> Child {
    let log = std::fs::File::options().create(true).append(true).open(directory.join("log")).unwrap();
    let mut process = Command::new("redis-server");
    process.arg(directory.join("redis.conf"));
    if is_sentinel {
        process.arg("--sentinel");
    }
    process.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
}

impl Drop for Member {
    fn drop(&mut self) {
        // A stopped one too.
        self.end();
    }
}
