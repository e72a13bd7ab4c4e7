//! Stopping: what has begun is finished, what happened is written down, nothing is left.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use crate::machine::Machine;
use crate::server::Server;
use crate::until::{ended, lives, signal, soon};

/// A request whose last byte is still to come.
struct Slow {
    stream: TcpStream,
    last: u8,
}

impl Slow {
    fn begin(server: &Server, username: &str) -> Self {
        let body = json!({"username": username, "description": "", "role": "auditor", "valid_for_months": 6});
        let body = body.to_string();
        let (most, last) = body.split_at(body.len() - 1);
        let mut stream = TcpStream::connect(("127.0.0.1", server.port(1))).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        write!(
            stream,
            "POST /api/v1/accounts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{most}",
            server.admin(),
            body.len()
        )
        .unwrap();
        // It has begun when its head was read: then its connection counts.
        soon("the request's beginning", || {
            let metrics = server.operations("/metrics").send().body;
            metrics.lines().any(|line| line.starts_with("countermark_connections ") && !line.ends_with(" 0"))
        });
        Self { stream, last: last.as_bytes()[0] }
    }

    fn finish(mut self) -> String {
        self.stream.write_all(&[self.last]).unwrap();
        let mut answer = String::new();
        self.stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

fn both(machine: &Machine, config: &str) -> Server {
    machine.serve().listen("127.0.0.1:0").listen("http://127.0.0.1:0").config(config).ready()
}

#[test]
fn a_request_under_way_is_finished_while_the_process_is_no_longer_ready() {
    for which in [Signal::TERM, Signal::INT] {
        let machine = Machine::new();
        let mut server = both(&machine, "");
        let redis = server.redis_pid().unwrap();
        let slow = Slow::begin(&server, "late");
        server.signal(which);
        soon("not ready", || server.operations("/readyz").attempt().is_ok_and(|reply| reply.status == 503));
        assert_eq!(server.operations("/healthz").send().status, 200);
        soon("no new connections", || server.call("GET", "/verify").attempt().is_err());
        let answer = slow.finish();
        assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
        assert_eq!(server.end().code(), Some(0), "{}", server.log());
        assert!(!lives(redis));
        assert!(server.log().contains("stopped"));

        let server = machine.serve().ready();
        server.call("GET", "/api/v1/accounts/late").bearer(&server.admin()).send().expect(200);
    }
}

#[test]
fn the_events_of_the_last_calls_are_in_the_audit_after_a_restart() {
    let machine = Machine::new();
    let server = machine.serve().ready();
    let (_, token) = server.create("ci", "auditor");
    let mut ids: Vec<String> =
        (0..20).map(|_| server.verify(&token).expect(200).header("X-Request-Id").unwrap().to_owned()).collect();
    server.stop();

    let server = machine.serve().ready();
    soon("all events", || {
        let path = "/api/v1/audit?kind=call&limit=500";
        let list = server.call("GET", path).bearer(&server.admin()).send().expect(200).json();
        let items = list["items"].as_array().unwrap();
        ids.retain(|id| !items.iter().any(|event| event["request_id"] == json!(id)));
        ids.is_empty()
    });
    server.stop();
}

#[test]
fn a_request_that_does_not_end_is_given_up_after_the_drain_timeout() {
    let machine = Machine::new();
    let mut server = both(&machine, "[limits]\ndrain_timeout = \"1s\"\n");
    let slow = Slow::begin(&server, "never");
    let began = Instant::now();
    server.signal(Signal::TERM);
    assert_eq!(server.end().code(), Some(0), "{}", server.log());
    assert!(began.elapsed() >= Duration::from_secs(1) && began.elapsed() < Duration::from_secs(15));
    drop(slow);
    let server = machine.serve().ready();
    server.call("GET", "/api/v1/accounts/never").bearer(&server.admin()).send().expect(404);
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let machine = Machine::new();
    let mut server = both(&machine, "");
    let redis = server.redis_pid().unwrap();
    let slow = Slow::begin(&server, "late");
    server.signal(Signal::TERM);
    soon("that it is stopping", || !server.is_ready());
    let began = Instant::now();
    server.signal(Signal::TERM);
    server.end();
    // The drain time-out is 20 s.
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    soon("the end of its Redis", || !lives(redis));
    drop(slow);
    // And nothing is broken.
    machine.serve().ready().stop();
}

#[test]
fn it_stops_while_it_still_waits_for_its_store() {
    let machine = Machine::new();
    let store = format!("redis://127.0.0.1:{}", crate::redis::free_port());
    let mut server = machine.serve().option("--store", store).listening();
    let began = Instant::now();
    server.signal(Signal::TERM);
    assert_eq!(server.end().code(), Some(0), "{}", server.log());
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[test]
fn a_signal_is_answered_while_the_private_redis_does_not() {
    let machine = Machine::new();
    // It never opens its socket. Made by another process: one that is forked beside us may still have our file open.
    let script = machine.path("slow-redis");
    let body = "#!/bin/sh\n[ \"$1\" = --version ] && exec redis-server --version\nexec sleep 60\n";
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "printf %s \"$2\" > \"$1\" && chmod 755 \"$1\"", "sh"]).arg(&script).arg(body);
    assert!(shell.status().unwrap().success());
    let config = machine.write("slow.toml", &format!("[store]\nredis_server = {script:?}\n"));
    let mut server = machine
        .command()
        .args(["serve", "--listen", "127.0.0.1:0", "--operations-listen", "http://127.0.0.1:0", "--data-dir", "data"])
        .arg("--config")
        .arg(config)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    soon("its Redis has begun", || machine.path("data/redis/redis.log").exists());
    let began = Instant::now();
    signal(server.id(), Signal::TERM);
    let status = ended(&mut server, Duration::from_secs(10)).expect("it does not stop");
    assert_eq!(status.code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}
