//! The audit is checked at the command line, with the service and without it.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::effort::rounds;
use crate::machine::{Ended, Machine};
use crate::redis::Redis;
use crate::server::Server;
use crate::until::{ended, soon};

/// What `audit verify` says of what the service has, once all that was done is proven.
#[track_caller]
fn proven(machine: &Machine, arguments: &[&str]) -> Value {
    let mut told = Value::Null;
    soon("all of it is proven", || {
        let ended = machine.run(&[&["audit", "verify", "--output", "json"], arguments].concat());
        assert!(ended.code == 0 || ended.code == 1, "{ended:?}");
        told = ended.json();
        let findings = told["findings"].as_array().unwrap();
        // Just after the start nothing is signed yet.
        assert!(findings.iter().all(|finding| finding.as_str().unwrap().contains("no checkpoint")), "{told}");
        // Each look is in the audit too: its own event is always too late for its checkpoint.
        ended.code == 0 && told["unproven"].as_u64().unwrap() <= 2
    });
    told
}

fn changed(path: &Path, change: impl FnOnce(&mut Vec<String>)) {
    let text = std::fs::read_to_string(path).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    change(&mut lines);
    std::fs::write(path, lines.join("\n") + "\n").unwrap();
}

#[test]
fn an_export_is_checked_without_the_service_and_what_was_done_to_it_is_found() {
    let machine = Machine::new();
    let server = machine.serve().ready();
    let (id, token) = server.create("ci", "auditor");
    for _ in 0..20 {
        server.verify(&token).expect(200);
    }
    server.regenerate(&server.admin(), &id).expect(201);
    server.verify(&token).expect(401);
    let told = proven(&machine, &[]);
    assert!(told["acts"].as_u64().unwrap() >= 3 && told["checkpoints"].as_u64().unwrap() >= 1, "{told}");
    let said = machine.run(&["audit", "verify"]).expect(0);
    assert!(said.out.contains("The audit is whole: ") && said.out.contains("The last checkpoint is of "), "{said:?}");

    let keys = server.call("GET", "/.well-known/jwks.json").send().expect(200).body;
    machine.write("keys.json", &keys);
    let written = machine.run(&["audit", "export", "--out", "audit.jsonl"]).expect(0);
    assert!(written.out.contains("events were written to audit.jsonl, and what proves them to audit.jsonl.proof"));
    let printed = machine.run(&["audit", "export", "--account", "ci"]).expect(0);
    machine.write("ci.jsonl", &printed.out);
    let again = machine.run(&["audit", "export", "--out", "audit.jsonl"]).expect(2);
    assert!(again.err.contains("audit.jsonl exists"), "{again:?}");
    machine.run(&["audit", "export", "--from", "yesterday"]).expect(2);
    server.stop();

    let verify = |file: &str| machine.run(&["audit", "verify", file, "--keys", "keys.json"]);
    verify("audit.jsonl").expect(0);
    verify("ci.jsonl").expect(0);
    let events = std::fs::read_to_string(machine.path("audit.jsonl")).unwrap();
    assert!(events.lines().all(|line| serde_json::from_str::<Value>(line).unwrap()["id"].is_string()));
    assert!(!events.contains(token.split('.').nth(1).unwrap()));

    // Found, and told where.
    let (file, proof) = (machine.path("audit.jsonl"), machine.path("audit.jsonl.proof"));
    let whole = (std::fs::read(&file).unwrap(), std::fs::read(&proof).unwrap());
    let found = |ended: Ended, what: &str| {
        let ended = ended.expect(1);
        assert!(ended.out.contains(what) && ended.out.contains("The audit is not what was written"), "{ended:?}");
    };
    changed(&file, |lines| lines[10] = lines[10].replace("\"GET\"", "\"PUT\""));
    found(verify("audit.jsonl"), "its events were changed");
    std::fs::write(&file, &whole.0).unwrap();
    changed(&file, |lines| _ = lines.remove(10));
    found(verify("audit.jsonl"), "(node ");
    std::fs::write(&file, &whole.0).unwrap();
    changed(&proof, |lines| lines.retain(|line| !line.contains("\"record\":\"seal\"")));
    found(verify("audit.jsonl"), "it has no end");
    std::fs::write(&proof, &whole.1).unwrap();
    changed(&proof, |lines| {
        let block = lines.iter().position(|line| line.contains("\"record\":\"block\"")).unwrap();
        lines.remove(block);
    });
    found(verify("audit.jsonl"), "missing");
    std::fs::write(&proof, &whole.1).unwrap();
    verify("audit.jsonl").expect(0);

    // What can't be checked is not called whole.
    let other = machine.write("other.json", "{\"keys\":[]}");
    let refused = machine.run(&["audit", "verify", "audit.jsonl", "--keys", other.to_str().unwrap()]).expect(2);
    assert!(refused.err.contains("holds no keys of an audit"), "{refused:?}");
    assert!(
        machine.run(&["audit", "verify", "none.jsonl", "--keys", "keys.json"]).expect(2).err.contains("can't be read")
    );
    machine.write("empty.jsonl", "");
    found(verify("empty.jsonl"), "it has no beginning");
    machine.run(&["audit", "verify", "audit.jsonl"]).expect(2);
}

/// Events as they are told, by their kinds and paths.
struct Follower {
    child: Child,
    lines: Receiver<String>,
}

impl Follower {
    fn start(machine: &Machine) -> Self {
        let mut command = machine.command();
        command.args(["audit", "tail", "--follow", "--limit", "1", "--output", "json"]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let told = BufReader::new(child.stdout.take().unwrap());
        let (tell, lines) = channel();
        std::thread::spawn(move || told.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
        Self { child, lines }
    }

    #[track_caller]
    fn sees(&mut self, what: impl Fn(&Value) -> bool) {
        loop {
            let line = self.lines.recv_timeout(Duration::from_secs(15)).expect("nothing comes");
            let event: Value = serde_json::from_str(&line).unwrap();
            if what(&event) {
                return;
            }
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn whoever_follows_the_audit_sees_what_happens_also_after_a_restart() {
    let machine = Machine::new();
    let server = machine.serve().ready();
    let (_, token) = server.create("ci", "auditor");
    let mut follower = Follower::start(&machine);
    let is_of = |path: &'static str| move |event: &Value| event["path"] == path && event["username"] == "ci";
    server.verify(&token).expect(200);
    follower.sees(is_of("/verify"));
    // It is told that the server stops, and asks it again until it is there.
    let (port, began) = (server.port(0), Instant::now());
    server.stop();
    assert!(began.elapsed() < Duration::from_secs(8), "whoever looks on is not waited for: {:?}", began.elapsed());
    let server = machine.serve().listen(&format!("127.0.0.1:{port}")).ready();
    server.call("GET", "/api/v1/self").bearer(&token).send().expect(200);
    follower.sees(is_of("/api/v1/self"));
    // Whoever may not look on any more is told so.
    let (id, admin) = (server.call("GET", "/api/v1/self").bearer(&server.admin()).send().json(), server.admin());
    let id = id["account"]["id"].as_str().unwrap();
    server.regenerate(&admin, id).expect(201);
    assert_eq!(ended(&mut follower.child, Duration::from_secs(10)).unwrap().code(), Some(2));
}

#[test]
fn nodes_that_are_killed_leave_no_hole_in_the_audit() {
    let machine = Machine::new();
    let redis = Redis::start(&machine, &[("--appendonly", "yes")]);
    let one = || machine.serve_in("data").option("--store", redis.url());
    let mut first = one().ready();
    let master = first.data("keys/master.key");
    let second = || machine.serve_in("two").option("--store", redis.url()).option("--master-key-file", &master);
    let mut other = second().ready();
    let (id, _) = first.create("ci", "auditor");
    for round in 0..rounds(4, 40) {
        let admin = first.admin();
        let busy = |server: &Server| {
            for _ in 0..30 {
                // Until it is killed.
                if server
                    .call("POST", &format!("/api/v1/accounts/{id}/token"))
                    .bearer(&admin)
                    .json(&serde_json::json!({"valid_for_months": 12}))
                    .attempt()
                    .is_err()
                    || server.call("GET", "/api/v1/accounts").bearer(&admin).attempt().is_err()
                {
                    return;
                }
            }
        };
        let dies = if round % 2 == 0 { &first } else { &other };
        std::thread::scope(|scope| {
            scope.spawn(|| busy(&first));
            scope.spawn(|| busy(&other));
            let _ = dies.call("GET", "/api/v1/keys").bearer(&admin).attempt();
            dies.signal(Signal::KILL);
        });
        if round % 2 == 0 {
            first.end();
            first = one().ready();
        } else {
            other.end();
            other = second().ready();
        }
    }
    // Acts of one that does not come back are linked by the other.
    other.signal(Signal::KILL);
    other.end();
    first.create("last", "auditor");
    let told = proven(&machine, &[]);
    assert!(told["blocks"].as_u64().unwrap() > 10, "{told}");
    first.stop();
}
