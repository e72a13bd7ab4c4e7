//! A Redis beside the clients, as durable as the private one is.

use std::net::TcpStream;
use std::path::Path;

use super::processes::{CLIENT, Process, free_port, pinned};
use super::reading;

pub struct Redis {
    /// The one that has the state.
    pub process: Process,
    port: u16,
    url: String,
    /// Of a cluster, the other primaries, with their ports.
    pub shards: Vec<(Process, u16)>,
    _replicas: Vec<Process>,
}

impl Redis {
    pub fn start(directory: &Path) -> Self {
        let (process, port) = server(directory, &["--appendfsync", "always"]);
        let url = format!("redis://127.0.0.1:{port}");
        Self { process, port, url, shards: Vec::new(), _replicas: Vec::new() }
    }

    /// Three primaries, each with a replica that it can't do without.
    pub fn cluster(directory: &Path) -> Self {
        let settings = [
            "--cluster-enabled",
            "yes",
            "--appendfsync",
            "everysec",
            "--min-replicas-to-write",
            "1",
            "--repl-diskless-sync-delay",
            "0",
        ];
        let mut servers: Vec<(Process, u16)> = (0..6).map(|_| server(directory, &settings)).collect();
        let addresses: Vec<String> = servers.iter().map(|(_, port)| format!("127.0.0.1:{port}")).collect();
        let mut create = pinned(CLIENT, "redis-cli");
        create.args(["--cluster", "create"]).args(&addresses).args(["--cluster-replicas", "1", "--cluster-yes"]);
        let created = create.output().unwrap();
        assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stdout));
        let replicas = servers.split_off(3);
        for (process, port) in &mut servers {
            process.until("primary that takes changes", || writes(*port).then_some(()));
        }
        let has_state = servers.iter().position(|(_, port)| has_key(*port, "{cm}:meta")).unwrap();
        let (process, port) = servers.remove(has_state);
        let url = format!("redis+cluster://{}", addresses.join(","));
        Self {
            process,
            port,
            url,
            shards: servers,
            _replicas: replicas.into_iter().map(|(process, _)| process).collect(),
        }
    }

    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// To the one that has the state.
    pub fn connection(&self) -> redis::Connection {
        connection_to(self.port)
    }

    pub fn info(&self, section: &str, name: &str) -> f64 {
        info_of(self.port, section, name)
    }

    /// How many commands clients sent so far, and how many scripts did. `MONITOR` would tell them apart, but makes Redis write all
    /// that it is sent once more.
    pub fn commands(&self) -> (f64, f64) {
        let info: String = redis::cmd("INFO").arg("commandstats").query(&mut self.connection()).unwrap();
        reading::commands(&info, &OF_CLIENTS)
    }
}

/// On one processor with the clients.
fn server(directory: &Path, settings: &[&str]) -> (Process, u16) {
    let port = free_port();
    let place = directory.join(format!("redis-{port}"));
    std::fs::create_dir_all(&place).unwrap();
    let mut command = pinned(CLIENT, "redis-server");
    command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--appendonly", "yes"]);
    // A rewrite of the file in the midst of a round would be measured with it.
    command.args(["--auto-aof-rewrite-percentage", "0", "--dir"]).arg(&place).args(settings);
    let mut process = Process::start(command, &place, "redis");
    process.until("Redis that answers", || TcpStream::connect(("127.0.0.1", port)).ok());
    (process, port)
}

fn connection_to(port: u16) -> redis::Connection {
    redis::Client::open(format!("redis://127.0.0.1:{port}")).unwrap().get_connection().unwrap()
}

/// Of any server, by its port.
pub fn info_of(port: u16, section: &str, name: &str) -> f64 {
    let info: String = redis::cmd("INFO").arg(section).query(&mut connection_to(port)).unwrap();
    reading::field(&info, name).unwrap() as f64
}

fn writes(port: u16) -> bool {
    let fence: redis::RedisResult<u64> =
        redis::cmd("EVAL").arg("#!lua\nreturn 1").arg(0).query(&mut connection_to(port));
    let state: String = redis::cmd("CLUSTER").arg("INFO").query(&mut connection_to(port)).unwrap();
    fence.is_ok() && state.contains("cluster_state:ok")
}

fn has_key(port: u16, key: &str) -> bool {
    redis::cmd("EXISTS").arg(key).query::<u64>(&mut connection_to(port)).is_ok()
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
