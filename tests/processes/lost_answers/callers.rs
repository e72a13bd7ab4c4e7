//! The connection to the caller breaks: he finds out.

use rustix::process::Signal;
use serde_json::json;

use super::scene::Scene;
use crate::between::{Between, Break};
use crate::machine::Machine;
use crate::redis::Redis;
use crate::until::soon;

#[test]
fn a_caller_who_leaves_in_the_middle_leaves_a_whole_change_and_no_gap_in_the_numbers() {
    use std::io::Write;
    let machine = Machine::new();
    let redis = Redis::start(&machine, &[]);
    let way = Between::to(redis.port);
    // Long enough for the caller to be gone when the answer is asked for again.
    let config = "[store]\ncommand_timeout = \"10s\"\n";
    let start = machine.serve().option("--store", &way.url).config(config);
    let server = start.listen("127.0.0.1:0").listen("http://127.0.0.1:0").ready();
    let scene = Scene { server, redis, way, count: 0 };
    let admin = scene.server.admin();
    scene.server.create("ci", "auditor");
    for round in 0..3 {
        let id = format!("left-{round}");
        scene.way.break_at(&id, Break::BeforeTheCommand, true);
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", scene.server.port(1))).unwrap();
        let body = json!({"valid_for_months": 6}).to_string();
        write!(
            stream,
            "POST /api/v1/accounts/ci/token HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {admin}\r\nX-Request-Id: {id}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        soon("the command", || scene.way.broken() == round + 1);
        drop(stream);
        soon("its end", || {
            let metrics = scene.server.operations("/metrics").send().body;
            metrics.lines().any(|line| line == "countermark_connections 0")
        });
        assert_eq!(scene.acts_of(&id), 0);
        scene.way.open();
        soon("the change", || scene.acts_of(&id) == 1);
        scene.changes_again();
    }
    let account = scene.server.call("GET", "/api/v1/accounts/ci").bearer(&admin).send().expect(200).json();
    assert_eq!(account["generation"], 4);
    scene.numbers_are_complete();
    scene.server.stop();
}

#[test]
fn whoever_waited_for_a_server_that_was_killed_finds_out_what_was_done() {
    let machine = Machine::new();
    let redis = Redis::start(&machine, &[]);
    let way = Between::to(redis.port);
    let mut scene = Scene { server: machine.serve().option("--store", &way.url).ready(), redis, way, count: 0 };
    scene.server.create("ci", "auditor");
    for (round, at) in [Break::LateReply, Break::BeforeTheCommand].into_iter().enumerate() {
        let id = format!("killed-{round}");
        let admin = scene.server.admin();
        scene.way.break_at(&id, at, true);
        let name = format!("late-{round}");
        let body = json!({"username": name, "role": "auditor", "valid_for_months": 6});
        let call = scene.server.call("POST", "/api/v1/accounts").bearer(&admin).header("X-Request-Id", &id).json(&body);
        let asking = std::thread::spawn(move || call.attempt());
        soon("the command", || scene.way.broken() == round as u64 + 1);
        if at == Break::LateReply {
            soon("the change", || scene.acts_of(&id) == 1);
        }
        scene.server.signal(Signal::KILL);
        scene.server.end();
        assert!(asking.join().unwrap().is_err(), "there was an answer");
        scene.way.open();
        scene.server = machine.serve().option("--store", &scene.way.url).ready();

        let done = at == Break::LateReply;
        let there = scene.server.call("GET", &format!("/api/v1/accounts/{name}")).bearer(&admin).send();
        assert_eq!(there.status, if done { 200 } else { 404 });
        let audit = scene.server.call("GET", "/api/v1/audit?kind=account.create&outcome=done").bearer(&admin).send();
        let audit = audit.expect(200).json();
        let events = audit["items"].as_array().unwrap().iter().filter(|event| event["request_id"] == id.as_str());
        assert_eq!(events.count(), usize::from(done));
    }
    scene.server.stop();
}
