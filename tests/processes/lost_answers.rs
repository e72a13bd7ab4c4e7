//! The connection to the store breaks around a change: its caller is told the truth, and goes on from there.

use redis::streams::StreamRangeReply;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::between::{Between, Break};
use crate::call::{Call, Reply};
use crate::machine::Machine;
use crate::redis::Redis;
use crate::server::Server;
use crate::until::soon;

const BREAKS: [Break; 4] = [Break::BeforeTheCommand, Break::BeforeTheReply, Break::WithinTheReply, Break::LateReply];

struct Scene {
    server: Server,
    redis: Redis,
    way: Between,
    count: usize,
}

/// A change that a caller asks for.
struct Wanted {
    /// As it is called in a failure.
    what: &'static str,
    method: &'static str,
    path: String,
    /// The token that it is asked for with.
    token: String,
    body: Option<Value>,
    form: Option<String>,
    /// The status when it is done.
    done: u16,
    /// The status of a repetition when it was done already.
    repeated: u16,
}

impl Scene {
    fn new(machine: &Machine) -> Self {
        let redis = Redis::start(machine, &[]);
        let way = Between::to(redis.port);
        let config = "[store]\ncommand_timeout = \"400ms\"\n";
        let server = machine.serve().option("--store", &way.url).config(config).ready();
        Self { server, redis, way, count: 0 }
    }

    /// What has to be there before the change is asked for, and the change.
    fn prepare(&mut self, kind: usize) -> Wanted {
        self.count += 1;
        let (name, admin) = (format!("ci-{}", self.count), self.server.admin());
        let named = |what: &str, body: Value| {
            self.server.call("PUT", &format!("/api/v1/{what}s/{name}")).bearer(&admin).json(&body).send().expect(201);
        };
        let (_, token) = self.server.create(&name, "renewer");
        let account = format!("/api/v1/accounts/{name}");
        let months = || Some(json!({"valid_for_months": 6}));
        let role = |permissions: &[&str]| json!({"description": "", "permissions": permissions});
        let wanted = |what, method, path: String, body, done, repeated| Wanted {
            what,
            method,
            path,
            token: admin.clone(),
            body,
            form: None,
            done,
            repeated,
        };
        match kind {
            0 => {
                let body = json!({"username": format!("{name}-new"), "role": "renewer", "valid_for_months": 6});
                wanted("create", "POST", "/api/v1/accounts".into(), Some(body), 201, 409)
            }
            1 => wanted("regenerate", "POST", format!("{account}/token"), months(), 201, 201),
            2 => {
                let mut renewal = wanted("renew", "POST", "/api/v1/self/token".into(), months(), 201, 401);
                renewal.token = token;
                renewal
            }
            3 => wanted("revoke", "DELETE", format!("{account}/token"), None, 200, 200),
            4 => {
                let mut revocation = wanted("revoke by holding", "POST", "/oauth2/revoke".into(), None, 200, 200);
                revocation.form = Some(format!("token={token}"));
                revocation
            }
            5 => wanted("patch", "PATCH", account, Some(json!({"description": "changed"})), 200, 200),
            6 => wanted("delete", "DELETE", account, None, 200, 404),
            7 => wanted("new role", "PUT", format!("/api/v1/roles/{name}"), Some(role(&["a:b"])), 201, 200),
            8 => {
                named("role", role(&["a:b"]));
                wanted("changed role", "PUT", format!("/api/v1/roles/{name}"), Some(role(&["a:c"])), 200, 200)
            }
            9 => {
                named("role", role(&["a:b"]));
                wanted("deleted role", "DELETE", format!("/api/v1/roles/{name}"), None, 200, 404)
            }
            10 => wanted("new team", "PUT", format!("/api/v1/teams/{name}"), Some(json!({})), 201, 200),
            _ => {
                named("team", json!({}));
                wanted("deleted team", "DELETE", format!("/api/v1/teams/{name}"), None, 200, 404)
            }
        }
    }

    fn call(&self, wanted: &Wanted, request_id: &str) -> Call {
        let mut call = self.server.call(wanted.method, &wanted.path).header("X-Request-Id", request_id);
        // Whoever revokes by holding a token shows no other.
        if let Some(form) = &wanted.form {
            return call.option("--data", form);
        }
        call = call.bearer(&wanted.token);
        match &wanted.body {
            Some(body) => call.json(body),
            None => call,
        }
    }

    /// Ready is who can decide; for changes there is a connection of its own.
    fn changes_again(&self) {
        let admin = self.server.admin();
        soon("changes again", || {
            self.server.call("PUT", "/api/v1/teams/any").bearer(&admin).json(&json!({})).send().status < 300
        });
    }

    /// Acts that were committed for this request.
    fn acts_of(&self, request_id: &str) -> usize {
        let (committed, _) = self.events();
        committed.iter().filter(|event| event["request_id"] == request_id).count()
    }

    /// All events of acts, and of calls.
    fn events(&self) -> (Vec<Value>, Vec<Value>) {
        let mut redis = self.redis.connection();
        let mut read = |key: &str| -> Vec<Value> {
            let reply: StreamRangeReply = redis::cmd("XRANGE").arg(key).arg("-").arg("+").query(&mut redis).unwrap();
            let lines = reply.ids.iter().map(|entry| entry.get::<String>("e").unwrap());
            lines
                .flat_map(|lines| lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<_>>())
                .collect()
        };
        (read("{cm}:acts"), (0..4).flat_map(|shard| read(&format!("{{cm:a{shard}}}:log"))).collect())
    }

    /// The numbers that were given to no event, and those that were given to two, are none.
    fn numbers_are_complete(&self) {
        soon("numbers without a gap", || {
            let (acts, calls) = self.events();
            let mut numbers: Vec<u64> =
                acts.iter().chain(&calls).map(|event| event["sequence"].as_u64().unwrap()).collect();
            numbers.sort_unstable();
            numbers == (1..=numbers.len() as u64).collect::<Vec<_>>()
        });
    }
}

const KINDS: usize = 12;

/// Where the way breaks for this kind of change: everywhere for a new account and a new token, in the long form for all.
fn breaks(kind: usize) -> Vec<Break> {
    if kind < 2 || crate::effort::long() { BREAKS.to_vec() } else { vec![BREAKS[kind % BREAKS.len()]] }
}

fn prepared() -> (Machine, Scene) {
    let machine = Machine::new();
    let scene = Scene::new(&machine);
    let role = json!({"description": "", "permissions": ["tokens:renew"]});
    scene.server.call("PUT", "/api/v1/roles/renewer").bearer(&scene.server.admin()).json(&role).send().expect(201);
    (machine, scene)
}

#[test]
fn an_answer_that_is_lost_between_store_and_server_is_asked_for_again() {
    let (_machine, mut scene) = prepared();
    for kind in 0..KINDS {
        for at in breaks(kind) {
            let wanted = scene.prepare(kind);
            let id = format!("lost-{}", scene.count);
            let broken = scene.way.broken();
            scene.way.break_at(&id, at, false);
            let reply = scene.call(&wanted, &id).send();
            assert_eq!(scene.way.broken(), broken + 1, "{}, {at:?}: nothing broke", wanted.what);
            assert_eq!(reply.status, wanted.done, "{}, {at:?}: {reply:?}", wanted.what);
            assert_eq!(scene.acts_of(&id), 1, "{}, {at:?}", wanted.what);
            if wanted.done == 201 && wanted.path.contains("token") || wanted.what == "create" {
                let issued = reply.json();
                scene.server.verify(issued["token"].as_str().unwrap()).expect(200);
                let generation = if wanted.what == "create" { 1 } else { 2 };
                assert_eq!(issued["account"]["generation"], generation, "{}, {at:?}", wanted.what);
            }
            scene.server.becomes_ready();
        }
    }
    scene.numbers_are_complete();
    scene.server.stop();
}

#[track_caller]
fn is_told_that_it_is_unknown(reply: Reply) -> String {
    let reply = reply.expect(503);
    assert_eq!(reply.reason(), "unconfirmed", "{reply:?}");
    assert!(reply.header("Retry-After").is_some(), "{reply:?}");
    let detail = reply.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("may or may not have been made") && detail.contains("Repeating it is safe"), "{detail}");
    detail
}

#[test]
fn an_answer_that_stays_lost_is_said_to_be_unknown_and_a_repetition_tells() {
    let (_machine, mut scene) = prepared();
    for kind in 0..KINDS {
        for at in breaks(kind) {
            let wanted = scene.prepare(kind);
            let (id, again) = (format!("unknown-{}", scene.count), format!("repeated-{}", scene.count));
            scene.way.break_at(&id, at, true);
            let detail = is_told_that_it_is_unknown(scene.call(&wanted, &id).send());
            scene.way.open();
            scene.changes_again();
            let done = scene.acts_of(&id);
            let what = format!("{}, {at:?}, done {done}", wanted.what);
            assert_eq!(done, usize::from(at != Break::BeforeTheCommand), "{what}");

            // The audit does not say more than is known.
            soon("its event", || {
                let (_, calls) = scene.events();
                let failed = |event: &Value| event["outcome"] == "failed" && event["reason"] == "unconfirmed";
                calls.iter().filter(|event| event["request_id"] == id.as_str()).filter(|event| failed(event)).count()
                    == 1
            });

            let repeated = scene.call(&wanted, &again).send();
            assert_eq!(repeated.status, if done == 1 { wanted.repeated } else { wanted.done }, "{what}: {repeated:?}");
            // Where the repetition says that it was done, its caller was told what to do about it.
            match (wanted.what, done) {
                ("create", 1) => {
                    assert_eq!(repeated.reason(), "username_taken");
                    assert!(detail.contains("username") && detail.contains("generate a new one"), "{detail}");
                    let name = wanted.body.as_ref().unwrap()["username"].as_str().unwrap();
                    let issued = scene.server.regenerate(&wanted.token, name).expect(201).json();
                    assert_eq!(issued["account"]["generation"], 2);
                    scene.server.verify(issued["token"].as_str().unwrap()).expect(200);
                }
                ("renew", 1) => {
                    assert_eq!(repeated.reason(), "superseded");
                    assert!(detail.contains("superseded") && detail.contains("an admin"), "{detail}");
                }
                ("regenerate", _) => {
                    let issued = repeated.json();
                    assert_eq!(issued["account"]["generation"], 2 + done, "{what}");
                    scene.server.verify(issued["token"].as_str().unwrap()).expect(200);
                }
                _ => {}
            }
        }
    }
    scene.server.stop();
}

#[test]
fn a_lost_confirmation_of_a_replica_is_asked_for_again_and_not_taken_for_granted() {
    let machine = Machine::new();
    let primary = Redis::start(&machine, &[("--repl-diskless-sync-delay", "0")]);
    let replica = Redis::start(&machine, &[("--replicaof", &format!("127.0.0.1 {}", primary.port))]);
    let info = || redis::cmd("INFO").arg("replication").query::<String>(&mut primary.connection()).unwrap();
    soon("a replica that follows", || info().contains("state=online"));
    let way = Between::to(primary.port);
    let config = "[store]\nreplicas_required = 1\nreplica_timeout = \"500ms\"\n";
    let server = machine.serve().option("--store", &way.url).config(config).ready();
    let admin = server.admin();
    let (id, _) = server.create("ci", "auditor");
    let read = || server.call("GET", "/api/v1/accounts/ci").bearer(&admin).send().expect(200).json();

    for at in [Break::BeforeTheCommand, Break::BeforeTheReply] {
        let before = read()["generation"].as_u64().unwrap();
        way.break_at("\r\nWAIT\r\n", at, false);
        let issued = server.regenerate(&admin, &id).expect(201).json();
        assert_eq!((&issued["receipt"]["replicas"], &issued["account"]["generation"]), (&json!(1), &json!(before + 1)));
    }

    // The replica has all that was before, and stops: a confirmation on another connection must not be one of that.
    soon("a replica that has everything", || {
        let info = info();
        let offset = info.lines().find_map(|line| line.strip_prefix("master_repl_offset:")).unwrap();
        info.contains(&format!(",offset={},", offset.trim()))
    });
    replica.signal(Signal::STOP);
    let before = read()["generation"].as_u64().unwrap();
    way.break_at("\r\nWAIT\r\n", Break::BeforeTheCommand, false);
    is_told_that_it_is_unknown(server.regenerate(&admin, &id));
    assert_eq!(read()["generation"], before + 1, "on the primary it is made, and it may be lost with it");
    replica.signal(Signal::CONT);
    soon("changes again", || server.regenerate(&admin, &id).status == 201);
    assert_eq!(way.broken(), 3);
    server.stop();
}

/// What the first start changes: the keys, and the first admin.
const FIRST_CHANGES: [&str; 2] = ["{cm}:feed\r\n$12\r\n{cm}:keyring", "dataset.create"];

#[test]
fn a_first_start_whose_answers_are_lost_makes_one_admin_and_one_set_of_keys() {
    let machine = Machine::new();
    let redis = Redis::start(&machine, &[]);
    // So that Redis knows the scripts.
    machine.serve_in("before").option("--store", redis.url()).ready().stop();
    for (number, text) in FIRST_CHANGES.iter().enumerate() {
        for (at, stays) in BREAKS.into_iter().flat_map(|at| [(at, false), (at, true)]) {
            redis::cmd("FLUSHALL").exec(&mut redis.connection()).unwrap();
            let way = Between::to(redis.port);
            way.break_at(text, at, stays);
            let config = "[store]\ncommand_timeout = \"400ms\"\n";
            let data = format!("data-{number}-{at:?}-{stays}");
            let server = machine.serve_in(&data).option("--store", &way.url).config(config).listening();
            soon("a break", || way.broken() == 1);
            // It has met the silence, or been told of the break, and looks for the store.
            soon("that it looks", || !stays || server.log().contains("no connection to the store"));
            way.open();
            server.becomes_ready();
            server.verify(&server.admin()).expect(200);
            assert!(!server.data("admin.token.new").exists(), "{data}");
            let mut redis = redis.connection();
            let mut ask = |words: &[&str]| -> u64 { redis::cmd(words[0]).arg(&words[1..]).query(&mut redis).unwrap() };
            assert_eq!((ask(&["ZCARD", "{cm}:admins"]), ask(&["XLEN", "{cm}:acts"])), (1, 1), "{data}");
            assert_eq!(ask(&["HGET", "{cm}:keyring", "version"]), 1, "{data}");
            server.stop();
        }
    }
}

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
