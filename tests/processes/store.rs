//! The store goes, hangs, comes back, is full, or asks for more.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use crate::call::Reply;
use crate::machine::Machine;
use crate::redis::{Redis, free_port, state_key};
use crate::server::Server;
use crate::until::{leases_end, lives, signal, soon, stand_still};

#[track_caller]
fn unavailable(reply: Reply) {
    let reply = reply.expect(503);
    let seconds: u64 = reply.header("Retry-After").expect("Retry-After").parse().unwrap();
    assert!(seconds >= 1);
}

#[test]
fn a_private_redis_that_is_killed_comes_back_and_the_service_with_it() {
    let machine = Machine::new();
    let server = machine.serve().ready();
    let (id, token) = server.create("ci", "auditor");
    let before = server.redis_pid().unwrap();
    signal(before, Signal::KILL);
    soon("another Redis", || server.redis_pid().is_some_and(|now| now != before));
    soon("the service again", || server.is_ready() && server.verify(&token).status == 200);
    soon("changes again", || server.regenerate(&server.admin(), &id).status == 201);
    assert_eq!(server.verify(&token).expect(401).reason(), "superseded");
    server.stop();
}

#[test]
fn a_redis_that_hangs_is_answered_for_within_two_seconds_and_leaves_nothing_half_done() {
    let machine = Machine::new();
    let server = machine.serve().ready();
    let admin = server.admin();
    let (id, token) = server.create("ci", "auditor");
    server.verify(&token).expect(200);
    let redis = server.redis_pid().unwrap();
    stand_still(redis);
    leases_end(Instant::now());
    let body = json!({"username": "late", "description": "", "role": "auditor", "valid_for_months": 6});
    let calls: [&(dyn Fn() -> Reply + Sync); 3] = [
        &|| server.verify(&token),
        &|| server.call("POST", "/api/v1/accounts").bearer(&admin).json(&body).send(),
        &|| server.regenerate(&admin, &id),
    ];
    // All at once, so that each of them meets the silence itself; and once more, when the connection was given up.
    for _ in 0..2 {
        std::thread::scope(|scope| {
            for call in calls {
                scope.spawn(move || {
                    let began = Instant::now();
                    unavailable(call());
                    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
                });
            }
        });
        assert!(!server.is_ready());
    }
    signal(redis, Signal::CONT);
    server.becomes_ready();

    // What was sent may have been carried out after all, but then as a whole: the record, the list and the audit.
    let account = server.call("GET", "/api/v1/accounts/late").bearer(&admin).send();
    let made = account.status == 200;
    assert!(made || account.status == 404, "{account:?}");
    let items = |path: &str| {
        let list = server.call("GET", path).bearer(&admin).send().expect(200).json();
        list["items"].as_array().unwrap().clone()
    };
    assert_eq!(items("/api/v1/accounts?query=late").len(), usize::from(made));
    let done = items("/api/v1/audit?outcome=done&limit=500");
    assert_eq!(done.iter().filter(|event| event["username"] == "late").count(), usize::from(made));
    let account = server.call("GET", "/api/v1/accounts/ci").bearer(&admin).send().expect(200).json();
    let reply = server.verify(&token);
    match account["generation"].as_u64().unwrap() {
        1 => assert_eq!(reply.status, 200),
        _ => assert_eq!(reply.expect(401).reason(), "superseded"),
    }
    server.regenerate(&admin, &id).expect(201);
    server.stop();
}

#[test]
fn a_store_that_is_away_at_the_start_is_waited_for() {
    let machine = Machine::new();
    let port = free_port();
    let server = machine.serve().option("--store", format!("redis://127.0.0.1:{port}")).listening();
    let status = |path: &str| server.operations(path).attempt().map_or(0, |reply| reply.status);
    soon("an answer", || status("/healthz") == 200);
    assert_eq!(status("/readyz"), 503);
    for (method, path) in
        [("GET", "/verify"), ("GET", "/api/v1/accounts"), ("GET", "/api/v1/self"), ("GET", "/.well-known/jwks.json")]
    {
        unavailable(server.call(method, path).bearer("e30.e30.e30").send());
    }
    let form = server.call("POST", "/oauth2/introspect").bearer("e30.e30.e30").option("--data", "token=x");
    unavailable(form.send());
    assert!(!server.data("admin.token").exists());

    let redis = Redis::start_on(&machine, port, &[]);
    server.becomes_ready();
    server.verify(&server.admin()).expect(200);
    server.stop();
    drop(redis);
}

#[test]
fn a_store_that_goes_is_refused_for_and_its_return_is_noticed() {
    let machine = Machine::new();
    let redis = Redis::start(&machine, &[]);
    let port = redis.port;
    let server = machine.serve().option("--store", redis.url()).ready();
    let (_, token) = server.create("ci", "auditor");
    server.verify(&token).expect(200);
    drop(redis);
    leases_end(Instant::now());
    assert!(!server.is_ready());
    unavailable(server.verify(&token));
    unavailable(server.try_create("other", "auditor"));
    let redis = Redis::start_on(&machine, port, &[]);
    server.becomes_ready();
    soon("good again", || server.verify(&token).status == 200);
    server.stop();
    drop(redis);
}

#[test]
fn a_store_that_was_emptied_meanwhile_is_not_taken_for_a_new_one() {
    let machine = Machine::new();
    let redis = Redis::start(&machine, &[]);
    let server = machine.serve().option("--store", redis.url()).ready();
    let (_, token) = server.create("ci", "auditor");
    server.verify(&token).expect(200);
    redis::cmd("FLUSHALL").exec(&mut redis.connection()).unwrap();
    let emptied = Instant::now();
    // Whoever reads or changes what lies in the store is not let in from memory.
    unavailable(server.call("GET", "/api/v1/accounts").bearer(&server.admin()).send());
    unavailable(server.call("GET", "/api/v1/accounts/ci").bearer(&server.admin()).send());
    unavailable(server.try_create("other", "auditor"));
    leases_end(emptied);
    unavailable(server.verify(&token));
}

#[test]
fn a_store_that_was_emptied_between_two_starts_is_not_taken_for_a_new_one() {
    let machine = Machine::new();
    let redis = Redis::start(&machine, &[]);
    let server = machine.serve().option("--store", redis.url()).ready();
    let admin = server.admin();
    let token_file = server.data("admin.token");
    let dataset = std::fs::read_to_string(server.data("dataset")).unwrap();
    server.stop();
    redis::cmd("FLUSHALL").exec(&mut redis.connection()).unwrap();
    let start = || machine.serve().option("--store", redis.url());
    let refused = start().ends().expect(2);
    assert!(refused.err.contains("the store is empty") && refused.err.contains(dataset.trim()), "{refused:?}");
    assert_eq!(redis.size(), 0);

    machine.serve_in("other").option("--store", redis.url()).ready().stop();
    let other = std::fs::read_to_string(machine.path("other/dataset")).unwrap();
    let refused = start().ends().expect(2);
    assert!(refused.err.contains(dataset.trim()) && refused.err.contains(other.trim()), "{refused:?}");
    assert_eq!(std::fs::read_to_string(token_file).unwrap().trim_end(), admin);
}

struct Replicated {
    primary: Redis,
    replica: Redis,
}

impl Replicated {
    fn start(machine: &Machine) -> Self {
        let primary = Redis::start(machine, &[("--repl-diskless-sync-delay", "0")]);
        let of = format!("127.0.0.1 {}", primary.port);
        let replica = Redis::start(machine, &[("--replicaof", &of)]);
        let both = Self { primary, replica };
        soon("a replica that follows", || both.info().contains("state=online"));
        both
    }

    fn info(&self) -> String {
        redis::cmd("INFO").arg("replication").query(&mut self.primary.connection()).unwrap()
    }

    /// Stops the replica at a moment when it has said that it has everything: what is missing afterwards is the next change.
    fn stop_replica(&self) {
        soon("a replica that has everything", || {
            let info = self.info();
            let offset = info.lines().find_map(|line| line.strip_prefix("master_repl_offset:")).unwrap();
            info.contains(&format!(",offset={},", offset.trim()))
        });
        self.replica.signal(Signal::STOP);
    }

    fn serve(&self, machine: &Machine, settings: &str) -> Server {
        let config = format!("[store]\nreplicas_required = 1\n{settings}");
        machine.serve().option("--store", self.primary.url()).config(&config).ready()
    }
}

#[test]
fn r1_a_change_counts_when_the_demanded_replicas_have_it() {
    let machine = Machine::new();
    let redis = Replicated::start(&machine);
    let server = redis.serve(&machine, "replica_timeout = \"500ms\"\n");
    let admin = server.admin();
    let (id, token) = server.create("ci", "auditor");
    let fresh = server.regenerate(&admin, &id).expect(201).json();
    assert_eq!(fresh["receipt"]["replicas"], 1);
    server.verify(&token).expect(401);

    redis.stop_replica();
    let late = server.regenerate(&admin, &id);
    assert!(late.json()["detail"].as_str().unwrap().contains("may or may not"), "{late:?}");
    unavailable(late);
    redis.replica.signal(Signal::CONT);
    soon("changes again", || server.regenerate(&admin, &id).status == 201);
    server.stop();
}

#[test]
fn a_long_wait_for_a_replica_does_not_cost_the_connection() {
    let machine = Machine::new();
    let redis = Replicated::start(&machine);
    let server = redis.serve(&machine, "replica_timeout = \"3s\"\n");
    let (id, _) = server.create("ci", "auditor");
    redis.stop_replica();
    unavailable(server.regenerate(&server.admin(), &id));
    redis.replica.signal(Signal::CONT);
    assert!(!server.log().contains("lost the connection"), "{}", server.log());
}

#[test]
fn a_killed_server_leaves_no_redis_behind_and_the_next_one_goes_on() {
    let machine = Machine::new();
    let mut server = machine.serve().ready();
    let (_, token) = server.create("ci", "auditor");
    let redis = server.redis_pid().unwrap();
    server.signal(Signal::KILL);
    server.end();
    soon("the end of its Redis", || !lives(redis));
    let server = machine.serve().ready();
    server.verify(&token).expect(200);
    server.stop();
}

#[test]
fn what_was_acknowledged_survives_the_sudden_end_of_everything() {
    let machine = Machine::new();
    let mut server = machine.serve().ready();
    let admin = server.admin();
    let (id, mut token) = server.create("ci", "auditor");
    for _ in 0..3 {
        let fresh = server.regenerate(&admin, &id).expect(201).json();
        let redis = server.redis_pid().unwrap();
        signal(redis, Signal::KILL);
        server.signal(Signal::KILL);
        server.end();
        server = machine.serve().ready();
        assert_eq!(server.verify(&token).expect(401).reason(), "superseded");
        token = fresh["token"].as_str().unwrap().to_owned();
        server.verify(&token).expect(200);
    }
    server.stop();
}

#[test]
fn a_store_that_became_a_replica_decides_nothing() {
    let machine = Machine::new();
    let (redis, other) = (Redis::start(&machine, &[]), Redis::start(&machine, &[]));
    let server = machine.serve().option("--store", redis.url()).ready();
    let (_, token) = server.create("ci", "auditor");
    server.verify(&token).expect(200);
    let replica_of = |host: &str, port: &str| {
        redis::cmd("REPLICAOF").arg(host).arg(port).exec(&mut redis.connection()).unwrap();
    };
    // Stopped, so that the data stays what it is: only the role has changed.
    other.signal(Signal::STOP);
    replica_of("127.0.0.1", &other.port.to_string());
    let demoted = Instant::now();
    unavailable(server.try_create("other", "auditor"));
    leases_end(demoted);
    unavailable(server.verify(&token));
    assert!(!server.is_ready());
    replica_of("NO", "ONE");
    server.becomes_ready();
    soon("good again", || server.verify(&token).status == 200);
    server.stop();
}

/// One address in front of a primary and its replica, as a load balancer is: new connections go to whichever is named.
fn one_address(first: u16) -> (String, std::sync::Arc<std::sync::atomic::AtomicU16>) {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU16, Ordering};
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let to = Arc::new(AtomicU16::new(first));
    let chosen = Arc::clone(&to);
    std::thread::spawn(move || {
        for near in listener.incoming() {
            let near = near.unwrap();
            let Ok(far) = std::net::TcpStream::connect(("127.0.0.1", chosen.load(Ordering::SeqCst))) else { continue };
            for (mut from, mut to) in
                [(near.try_clone().unwrap(), far.try_clone().unwrap()), (far.try_clone().unwrap(), near)]
            {
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(std::net::Shutdown::Both);
                });
            }
        }
    });
    (url, to)
}

#[test]
fn f6_behind_one_address_the_new_primary_is_found_and_begins_a_new_term() {
    let machine = Machine::new();
    let redis = Replicated::start(&machine);
    let (url, to) = one_address(redis.primary.port);
    let server = machine.serve().option("--store", url).ready();
    let admin = server.admin();
    let (id, token) = server.create("ci", "auditor");
    let epoch = |redis: &Redis| -> (Option<u64>, Option<u64>) {
        redis::cmd("HMGET").arg(&["{cm}:meta", "term", "counter"]).query(&mut redis.connection()).unwrap()
    };
    let before = epoch(&redis.primary);
    soon("a replica that has everything", || epoch(&redis.replica) == before);
    let replica_of = |redis: &Redis, host: &str, port: &str| {
        redis::cmd("REPLICAOF").arg(host).arg(port).exec(&mut redis.connection()).unwrap();
    };
    // The connections of the server live on: it is their other end that may no longer write.
    replica_of(&redis.replica, "NO", "ONE");
    replica_of(&redis.primary, "127.0.0.1", &redis.replica.port.to_string());
    soon("not ready", || !server.is_ready());
    to.store(redis.replica.port, std::sync::atomic::Ordering::SeqCst);
    soon("the new primary", || server.verify(&token).status == 200);
    soon("changes again", || server.regenerate(&admin, &id).status == 201);
    let state: String = redis::cmd("GET").arg(state_key(&id)).query(&mut redis.replica.connection()).unwrap();
    assert!(state.starts_with(&format!("{}-", before.0.unwrap() + 1)), "{state}");
    server.stop();
}

#[test]
fn two_servers_that_start_at_once_on_an_empty_store_agree_on_an_issuer() {
    let machine = Machine::new();
    let redis = Redis::start(&machine, &[]);
    let key = machine.write("master.key", &"A".repeat(43));
    let start = |data: &str| machine.serve_in(data).option("--store", redis.url()).option("--master-key-file", &key);
    let servers: Vec<Server> = ["one", "two", "three"].map(|data| start(data).listening()).into();
    for server in &servers {
        server.becomes_ready();
    }
    assert_eq!(servers[0].issuer(), servers[1].issuer());
    assert_eq!(servers[0].issuer(), servers[2].issuer());
}

#[test]
fn a_primary_that_is_cut_off_from_its_replicas_decides_nothing() {
    let machine = Machine::new();
    let redis = Redis::start(&machine, &[]);
    let server = machine.serve().option("--store", redis.url()).ready();
    let (_, token) = server.create("ci", "auditor");
    server.verify(&token).expect(200);
    let demand = |replicas: &str| {
        let words = ["SET", "min-replicas-to-write", replicas];
        redis::cmd("CONFIG").arg(&words).exec(&mut redis.connection()).unwrap();
    };
    demand("1");
    let cut_off = Instant::now();
    unavailable(server.try_create("other", "auditor"));
    leases_end(cut_off);
    unavailable(server.verify(&token));
    demand("0");
    soon("good again", || server.verify(&token).status == 200);
    server.stop();
}

#[test]
fn a_store_that_is_full_still_decides_and_changes_nothing() {
    let machine = Machine::new();
    let redis = Redis::start(&machine, &[]);
    let server = machine.serve().option("--store", redis.url()).ready();
    let (id, token) = server.create("ci", "auditor");
    let limit = |bytes: &str| {
        redis::cmd("CONFIG").arg(&["SET", "maxmemory", bytes]).exec(&mut redis.connection()).unwrap();
    };
    let prepare = || server.call("POST", "/api/v1/keys").bearer(&server.admin()).json(&json!({})).send();
    let spare = prepare().expect(201).json()["key"]["id"].as_str().unwrap().to_owned();
    limit("1");
    server.verify(&token).expect(200);
    unavailable(prepare());
    let revoke = server.call("POST", &format!("/api/v1/keys/{spare}/revoke")).bearer(&server.admin());
    revoke.json(&json!({"confirm": spare})).send().expect(200);
    unavailable(server.regenerate(&server.admin(), &id));
    unavailable(server.try_create("other", "auditor"));
    server.verify(&token).expect(200);
    limit("0");
    server.regenerate(&server.admin(), &id).expect(201);
    server.verify(&token).expect(401);
    server.call("GET", "/api/v1/accounts/other").bearer(&server.admin()).send().expect(404);
    server.stop();
}
