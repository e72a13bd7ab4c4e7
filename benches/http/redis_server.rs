//! A Redis beside the clients, as durable as the private one is.

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpStream};
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

    /// How many commands clients sent meanwhile, and how many scripts did.
    pub fn watch(&self, during: impl FnOnce()) -> (f64, f64) {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        (&stream).write_all(b"MONITOR\r\n").unwrap();
        std::thread::scope(|scope| {
            let counting = scope.spawn(|| {
                let (mut clients, mut scripts) = (0.0, 0.0);
                let mut line = Vec::new();
                let mut reader = BufReader::new(&stream);
                while reader.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                    // `+1700000000.123456 [0 127.0.0.1:1234] "get" "x"`, with `lua` for the address of a script.
                    let place = line.splitn(4, |byte| *byte == b' ').nth(2).unwrap_or_default();
                    match place {
                        b"lua]" => scripts += 1.0,
                        b"" => {}
                        _ => clients += 1.0,
                    }
                    line.clear();
                }
                (clients, scripts)
            });
            during();
            stream.shutdown(Shutdown::Both).unwrap();
            counting.join().unwrap()
        })
    }
}
