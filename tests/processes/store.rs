//! The store goes, hangs, comes back, is somebody else, or asks for more.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use crate::call::Reply;
use crate::certificates::Authority;
use crate::machine::{Machine, write_private};
use crate::redis::{Redis, free_port};
use crate::server::Server;
use crate::until::{lives, signal, soon};

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
    let redis = server.redis_pid().unwrap();
    signal(redis, Signal::STOP);
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
    drop(redis);
    soon("not ready", || !server.is_ready());
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
    redis::cmd("FLUSHALL").exec(&mut redis.connection()).unwrap();
    unavailable(server.verify(&token));
    unavailable(server.try_create("other", "auditor"));
}

#[test]
fn a_store_with_another_password_is_refused() {
    let machine = Machine::new();
    let redis = Redis::start(&machine, &[("--requirepass", "open-sesame")]);
    let address = format!("127.0.0.1:{}", redis.port);
    for url in [format!("redis://{address}"), format!("redis://:wrong@{address}")] {
        let refused = machine.serve().option("--store", &url).ends().expect(2);
        assert!(refused.err.contains("the store refuses the user or the password"), "{refused:?}");
        assert!(!refused.err.contains("wrong@"), "{refused:?}");
    }
    let server = machine.serve().option("--store", format!("redis://:open-sesame@{address}"));
    let server = server.config("[log]\nlevel = \"trace\"\n").ready();
    assert!(!server.log().contains("open-sesame"));
    assert!(!server.document().to_string().contains("open-sesame"));
    server.stop();
}

/// A server on a port of its own that answers each thing it reads; it lasts as long as the process of the test.
fn impostor(answer: impl Fn(&str) -> String + Send + Clone + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, answer) = (stream.unwrap(), answer.clone());
            std::thread::spawn(move || {
                let mut bytes = [0; 4096];
                while let Ok(length @ 1..) = stream.read(&mut bytes) {
                    let asked = String::from_utf8_lossy(&bytes[..length]).into_owned();
                    if stream.write_all(answer(&asked).as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    url
}

#[test]
fn something_that_is_no_redis_is_refused() {
    let machine = Machine::new();
    let web = impostor(|_| "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n".to_owned());
    let refused = machine.serve().option("--store", web).ends().expect(2);
    assert!(refused.err.contains("is not Redis"), "{refused:?}");
}

#[test]
fn a_redis_that_is_too_old_is_refused() {
    let machine = Machine::new();
    let old = impostor(|asked| {
        // One answer to each command of a pipeline.
        let commands = asked.matches('*').count();
        if asked.contains("INFO") && !asked.contains("SETINFO") {
            let text = "# Server\r\nredis_version:6.0.0\r\n";
            return format!("${}\r\n{text}\r\n", text.len());
        }
        "+OK\r\n".repeat(commands)
    });
    let refused = machine.serve().option("--store", old).ends().expect(2);
    assert!(refused.err.contains("Redis 6.0.0") && refused.err.contains("7.0 or newer"), "{refused:?}");
}

#[test]
fn without_its_master_key_it_refuses_to_start_and_makes_no_other() {
    use std::os::unix::fs::PermissionsExt;
    let machine = Machine::new();
    let server = machine.serve().ready();
    let path = server.data("keys/master.key");
    let (_, token) = server.create("ci", "auditor");
    server.stop();
    let good = std::fs::read_to_string(&path).unwrap();

    std::fs::remove_file(&path).unwrap();
    let lost = machine.serve().ends().expect(2);
    assert!(lost.err.contains("is missing") && lost.err.contains("Restore the file"), "{lost:?}");
    assert!(!path.exists());

    write_private(&path, &"A".repeat(43));
    let wrong = machine.serve().ends().expect(2);
    assert!(wrong.err.contains("master key"), "{wrong:?}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "A".repeat(43));
    write_private(&path, "too short");
    let damaged = machine.serve().ends().expect(2);
    assert!(damaged.err.contains("master key"), "{damaged:?}");

    write_private(&path, &good);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let open = machine.serve().ends().expect(2);
    assert!(open.err.contains(&format!("chmod 600 {}", path.display())), "{open:?}");

    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let server = machine.serve().ready();
    server.verify(&token).expect(200);
    server.stop();
}

#[test]
fn a_store_over_tls_with_a_client_certificate_and_a_user_of_its_own_works() {
    let machine = Machine::new();
    let ca = Authority::new(&machine, "ca");
    let (server_certificate, server_key) = ca.issue("redis", "IP:127.0.0.1");
    let (client_certificate, client_key) = ca.issue("client", "DNS:countermark");
    let (stranger_certificate, stranger_key) = Authority::new(&machine, "strangers").issue("stranger", "DNS:stranger");
    let users = machine.write("users.acl", "user default off\nuser countermark on >secret ~* &* +@all\n");
    let text = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let redis = Redis::start(
        &machine,
        &[
            ("--tls-port", ""),
            ("--tls-cert-file", &text(&server_certificate)),
            ("--tls-key-file", &text(&server_key)),
            ("--tls-ca-cert-file", &text(&ca.pem())),
            ("--tls-auth-clients", "yes"),
            ("--aclfile", &text(&users)),
        ],
    );
    let password = machine.write("password", "secret\n");
    let config = |ca: &str, certificate: &str, key: &str, user: &str| {
        format!(
            "[store]\nurl = \"rediss://127.0.0.1:{}\"\nuser = \"{user}\"\npassword_file = {:?}\nca_file = {ca:?}\n\
             client_cert_file = {certificate:?}\nclient_key_file = {key:?}\n",
            redis.port,
            text(&password),
        )
    };
    let (ours, key) = (text(&client_certificate), text(&client_key));
    let good = config(&text(&ca.pem()), &ours, &key, "countermark");
    let server = machine.serve().config(&good).ready();
    server.verify(&server.admin()).expect(200);
    server.stop();

    let nobody = machine.serve().config(&config(&text(&ca.pem()), &ours, &key, "nobody")).ends().expect(2);
    assert!(nobody.err.contains("refuses the user or the password"), "{nobody:?}");
    let other_ca = config(&text(&machine.path("strangers.pem")), &ours, &key, "countermark");
    let other_ca = machine.serve().config(&other_ca).ends().expect(2);
    assert!(other_ca.err.contains("TLS"), "{other_ca:?}");
    let stranger = config(&text(&ca.pem()), &text(&stranger_certificate), &text(&stranger_key), "countermark");
    let stranger = machine.serve().config(&stranger).ends().expect(2);
    assert!(stranger.err.contains("TLS"), "{stranger:?}");
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
fn a_change_counts_when_the_demanded_replicas_have_it() {
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
    let replica_of = |host: &str, port: &str| {
        redis::cmd("REPLICAOF").arg(host).arg(port).exec(&mut redis.connection()).unwrap();
    };
    // Stopped, so that the data stays what it is: only the role has changed.
    other.signal(Signal::STOP);
    replica_of("127.0.0.1", &other.port.to_string());
    unavailable(server.verify(&token));
    unavailable(server.try_create("other", "auditor"));
    soon("not ready", || !server.is_ready());
    replica_of("NO", "ONE");
    server.becomes_ready();
    soon("good again", || server.verify(&token).status == 200);
    server.stop();
}

#[test]
fn a_primary_that_is_cut_off_from_its_replicas_decides_nothing() {
    let machine = Machine::new();
    let redis = Redis::start(&machine, &[]);
    let server = machine.serve().option("--store", redis.url()).ready();
    let (_, token) = server.create("ci", "auditor");
    let demand = |replicas: &str| {
        let words = ["SET", "min-replicas-to-write", replicas];
        redis::cmd("CONFIG").arg(&words).exec(&mut redis.connection()).unwrap();
    };
    demand("1");
    unavailable(server.verify(&token));
    unavailable(server.try_create("other", "auditor"));
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
    limit("1");
    server.verify(&token).expect(200);
    unavailable(server.regenerate(&server.admin(), &id));
    unavailable(server.try_create("other", "auditor"));
    server.verify(&token).expect(200);
    limit("0");
    server.regenerate(&server.admin(), &id).expect(201);
    server.verify(&token).expect(401);
    server.call("GET", "/api/v1/accounts/other").bearer(&server.admin()).send().expect(404);
    server.stop();
}

#[test]
fn a_process_with_another_master_key_does_not_join() {
    let machine = Machine::new();
    let redis = Redis::start(&machine, &[]);
    let server = machine.serve().option("--store", redis.url()).ready();
    let keys = server.call("GET", "/.well-known/jwks.json").send().expect(200).json();
    let other = machine.write("other.key", &"A".repeat(43));
    let join = || machine.serve_in("other").option("--store", redis.url());
    let wrong = join().option("--master-key-file", &other).ends().expect(2);
    assert!(wrong.err.contains("master key"), "{wrong:?}");
    let without = join().ends().expect(2);
    assert!(without.err.contains("is missing"), "{without:?}");
    assert!(!machine.path("other/keys/master.key").exists());
    assert_eq!(server.call("GET", "/.well-known/jwks.json").send().expect(200).json(), keys);
    server.verify(&server.admin()).expect(200);
}

#[test]
fn the_rules_of_a_verifier_suffice_for_looking_up_and_for_no_change_of_a_record() {
    let machine = Machine::new();
    let redis = Redis::start(&machine, &[]);
    let server = machine.serve().option("--store", redis.url()).ready();
    let (id, _) = server.create("ci", "auditor");
    let printed = machine.run(&["acl", "verifier", "--user", "verifier"]).expect(0);
    let words: Vec<&str> = printed.out.split_whitespace().collect();
    assert_eq!(words[..3], ["ACL", "SETUSER", "verifier"]);
    let mut setting = redis::cmd("ACL");
    for word in &words[1..] {
        setting.arg(word);
    }
    setting.arg(">secret").exec(&mut redis.connection()).unwrap();

    let client = redis::Client::open(format!("redis://verifier:secret@127.0.0.1:{}", redis.port)).unwrap();
    let mut verifier = client.get_connection().unwrap();
    let script = redis::Script::new(include_str!("../../src/store/scripts/lookup.lua"));
    let state = format!("{{cm}}:s:{id}");
    let reply: Vec<String> = script
        .key("{cm}:meta")
        .key(&state)
        .key("{cm}:roles")
        .key("{cm}:keyring")
        .invoke(&mut verifier)
        .expect("the look-up");
    assert!(!reply[2].is_empty() && reply.contains(&"auditor".to_owned()), "{reply:?}");
    redis::cmd("XREAD").arg(&["STREAMS", "{cm}:feed", "0"]).exec(&mut verifier).expect("the feed");

    let before = redis.size();
    let through_a_script = |command: &str, keys: &[&str], arguments: &[&str]| {
        let mut eval = redis::cmd("EVAL");
        eval.arg(format!("return redis.call('{command}', KEYS[1], unpack(ARGV))")).arg(keys.len());
        eval.arg(keys).arg(arguments).clone()
    };
    let forbidden = vec![
        redis::cmd("SET").arg(&state).arg("x").clone(),
        redis::cmd("DEL").arg(&state).clone(),
        redis::cmd("HSET").arg("{cm}:meta").arg("dataset").arg("x").clone(),
        redis::cmd("HSET").arg("{cm}:roles").arg("auditor").arg("x").clone(),
        redis::cmd("HSET").arg("{cm}:keyring").arg("version").arg("9").clone(),
        redis::cmd("XADD").arg("{cm}:feed").arg("*").arg("t").arg("x").clone(),
        redis::cmd("GET").arg(format!("{{cm}}:p:{id}")).clone(),
        redis::cmd("XADD").arg("{cm}:acts").arg("*").arg("e").arg("x").clone(),
        redis::cmd("FLUSHALL").clone(),
        redis::cmd("CONFIG").arg("GET").arg("*").clone(),
        redis::cmd("KEYS").arg("*").clone(),
        through_a_script("SET", &[&state], &["x"]),
        through_a_script("DEL", &[&state], &[]),
        through_a_script("HSET", &["{cm}:roles"], &["auditor", "x"]),
        through_a_script("HSET", &["{cm}:keyring"], &["version", "9"]),
    ];
    for command in &forbidden {
        let refused = command.exec(&mut verifier).expect_err("it was allowed").to_string();
        let by_the_rules = ["NOPERM", "permission", "can't run this command", "can't access"];
        assert!(by_the_rules.iter().any(|words| refused.contains(words)), "{refused}");
    }
    assert_eq!(redis.size(), before);

    // What a node says of itself, and what it saw.
    let node = json!({"name": "verifier", "version": "0", "address": "", "lease_ms": 500, "applied_epoch": "1-1"});
    let heartbeat = redis::Script::new(include_str!("../../src/store/scripts/heartbeat.lua"));
    let renewals: u64 =
        heartbeat.key("{cm}:nodes").arg("n").arg(node.to_string()).arg("").invoke(&mut verifier).expect("a heartbeat");
    assert_eq!(renewals, 1);
    let append = redis::Script::new(include_str!("../../src/store/scripts/append.lua"));
    let mut write = |process: &str, number: &str| -> u64 {
        append
            .key("{cm:a0}:log")
            .key("{cm:a0}:heads")
            .arg(&["n", "1", "1", "1", "{}", "1000", process, number])
            .invoke(&mut verifier)
            .expect("events")
    };
    // Repeated after a lost reply it is written once; another process' batch is another batch.
    assert_eq!([write("p", "1"), write("p", "1"), write("p", "2"), write("q", "1")], [1, 0, 1, 1]);
}
