//! Sentinels that are far away, wrong, or not there.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::faults::proxy::{Proxy, Wire};
use crate::machine::Machine;
use crate::redis::{Redis, free_port};
use crate::until::{soon, until};

/// Ends when it is dropped.
struct Sentinel {
    child: Child,
    port: u16,
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Sentinel {
    /// One that alone knows this primary, since this epoch.
    fn of(machine: &Machine, primary: u16, epoch: u64) -> Self {
        let port = free_port();
        let directory = machine.path(&format!("sentinel-{port}"));
        std::fs::create_dir_all(&directory).unwrap();
        let settings = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\nsentinel monitor cm 127.0.0.1 {primary} 1\n\
             sentinel config-epoch cm {epoch}\nsentinel current-epoch {epoch}\n",
            directory.display()
        );
        std::fs::write(directory.join("sentinel.conf"), settings).unwrap();
        let mut command = Command::new("redis-server");
        command.arg(directory.join("sentinel.conf")).arg("--sentinel");
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let sentinel = Self { child, port };
        until(Duration::from_secs(10), "a sentinel that listens", || {
            std::net::TcpStream::connect(("127.0.0.1", port)).ok()
        });
        sentinel
    }
}

#[test]
fn a_far_sentinel_that_is_right_is_heard_beside_near_ones_that_are_wrong() {
    // Of those that are near, and how long each answer of the other one takes: within what is waited for beside one, with a
    // greeting longer than all patience, and longer than is waited for once most have answered.
    for (near, way) in [(1, 80), (1, 300), (2, 300)] {
        let machine = Machine::new();
        let redis = Redis::start(&machine, &[]);
        let gone = free_port();
        let wrong: Vec<Sentinel> = (0..near).map(|_| Sentinel::of(&machine, gone, 0)).collect();
        let right = Sentinel::of(&machine, redis.port, 7);
        let far = Proxy::to(right.port);
        far.becomes(Wire::Late(Duration::from_millis(way)));
        let hosts: Vec<String> = wrong.iter().map(|one| format!("127.0.0.1:{}", one.port)).collect();
        let url = format!("redis+sentinel://{},{}/cm", hosts.join(","), far.address());
        let server = machine.serve().option("--store", url).ready();
        let (_, token) = server.create("ci", "auditor");
        server.verify(&token).expect(200);
        // One for all looks.
        assert_eq!(far.accepted(), 1, "{near} near, {way} ms");
        server.stop();
    }
}

#[test]
fn whoever_can_not_be_reached_is_named_with_the_reason_and_without_the_password() {
    let machine = Machine::new();
    let [first, second] = [free_port(), free_port()];
    for (data, url, named) in [
        (
            "one",
            format!("redis://user:hunter2@127.0.0.1:{first}"),
            vec![format!("127.0.0.1:{first}: Connection refused")],
        ),
        (
            "sentinels",
            format!("redis+sentinel://:hunter2@127.0.0.1:{first},127.0.0.1:{second}/cm"),
            [first, second].map(|port| format!("the sentinel 127.0.0.1:{port}: Connection refused")).into(),
        ),
        (
            "cluster",
            format!("redis+cluster://:hunter2@127.0.0.1:{first},127.0.0.1:{second}"),
            [first, second].map(|port| format!("the server 127.0.0.1:{port}: Connection refused")).into(),
        ),
    ] {
        let server = machine.serve_in(data).option("--store", url).listening();
        soon("a connection that is missed", || server.log().contains("no connection to the store"));
        let log = server.log();
        let told: Vec<&str> = log.lines().filter(|line| line.contains("no connection to the store")).collect();
        for name in named {
            assert!(told.iter().all(|line| line.contains(&name)), "{name}: {told:?}");
        }
        assert!(!log.contains("hunter2"), "{log}");
    }
}
