//! A Redis beside the clients, as durable as the private one is.

use std::net::TcpStream;
use std::path::Path;

use super::processes::{CLIENT, Process, free_port, pinned};
use super::reading;

pub struct Redis {
    pub process: Process,
    port: u16,
}

impl Redis {
    pub fn start(directory: &Path) -> Self {
        let port = free_port();
        let place = directory.join(format!("redis-{port}"));
        std::fs::create_dir_all(&place).unwrap();
        let mut command = pinned(CLIENT, "redis-server");
        command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--appendonly", "yes"]);
        // A rewrite of the file in the midst of a round would be measured with it.
        command.args(["--appendfsync", "always", "--auto-aof-rewrite-percentage", "0", "--dir"]).arg(&place);
        let mut process = Process::start(command, &place, "redis");
        process.until("Redis that answers", || TcpStream::connect(("127.0.0.1", port)).ok());
        Self { process, port }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn connection(&self) -> redis::Connection {
        redis::Client::open(self.url()).unwrap().get_connection().unwrap()
    }

    pub fn info(&self, section: &str, name: &str) -> f64 {
        let info: String = redis::cmd("INFO").arg(section).query(&mut self.connection()).unwrap();
        reading::field(&info, name).unwrap() as f64
    }

    /// How many commands clients sent so far, and how many scripts did. `MONITOR` would tell them apart, but makes Redis write all
    /// that it is sent once more.
    pub fn commands(&self) -> (f64, f64) {
        let info: String = redis::cmd("INFO").arg("commandstats").query(&mut self.connection()).unwrap();
        reading::commands(&info, &OF_CLIENTS)
    }
}

/// What nodes send, none of which stands in a script. The rest is what scripts call.
const OF_CLIENTS: [&str; 14] = [
    "auth",
    "client",
    "eval",
    "evalsha",
    "hello",
    "info",
    "ping",
    "script",
    "select",
    "xack",
    "xautoclaim",
    "xgroup",
    "xinfo",
    "xreadgroup",
];
