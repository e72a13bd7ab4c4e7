//! Which stores are taken, which are refused with a clear word, and who may do what in them.

use std::io::{Read, Write};
use std::net::TcpListener;

use serde_json::json;

use crate::certificates::Authority;
use crate::machine::{Machine, write_private};
use crate::redis::{Redis, state_key};

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
    crate::doctor::doctor(&machine, &["--config", "data.toml", "--data-dir", "data"]).healthy();
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
    let script = script_of(include_str!("../../src/store/scripts/lookup.lua"));
    let state = state_key(&id);
    let (dataset, identity, epoch, _, states, roles, definitions): LookedUp = script
        .key("{cm}:meta")
        .key("{cm}:roles")
        .key("{cm}:keyring")
        .key(&state)
        .invoke(&mut verifier)
        .expect("the look-up");
    assert!(states[0].contains("ci") && roles == ["auditor"] && definitions[0].contains("audit:read"));
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

    // The lease that it renews, what it follows and reports, and what it saw.
    let (dataset, identity) = (dataset.as_str(), identity.as_str());
    let introduction = json!({"name": "verifier", "version": "0", "address": ""}).to_string();
    let renewed: Vec<String> = script_of(include_str!("../../src/store/scripts/renew.lua"))
        .key("{cm}:meta")
        .key("{cm}:leases")
        .key("{cm}:nodes")
        .arg(&[dataset, identity, "n", "500", "0-1", "0", introduction.as_str(), "1"])
        .invoke(&mut verifier)
        .expect("a renewal");
    assert_eq!(renewed[3], "ok", "{renewed:?}");
    let followed: Vec<String> = script_of(include_str!("../../src/store/scripts/follow.lua"))
        .key("{cm}:meta")
        .key("{cm}:feed")
        .key("{cm}:leases")
        .key("{cm}:keyring")
        .arg(&[dataset, identity, "1-0", "n", "256", identity])
        .invoke(&mut verifier)
        .expect("the feed");
    assert_eq!(followed[2], epoch);
    let lease: String = redis::cmd("HGET").arg("{cm}:leases").arg("n").query(&mut redis.connection()).unwrap();
    assert!(lease.starts_with("1 500 1-0 "), "what it followed is reported: {lease}");
    redis::Script::new(include_str!("../../src/store/scripts/remove.lua"))
        .key("{cm}:leases")
        .key("{cm}:nodes")
        .arg(&["n", ""])
        .invoke::<u64>(&mut verifier)
        .expect("a goodbye");
    let claim = redis::Script::new(include_str!("../../src/store/scripts/claim.lua"));
    let claimed: Vec<String> = claim.key("{cm:a0}:heads").arg(&["n", "mine"]).invoke(&mut verifier).expect("a claim");
    assert_eq!(claimed, ["0", "0", "-", "-", "", "0"]);
    let append = script_of(include_str!("../../src/store/scripts/append.lua"));
    let mut write = |claim: &str, block: &str, hash: &str| -> String {
        append
            .key("{cm:a0}:log")
            .key("{cm:a0}:heads")
            .arg(&["n", claim, block, "1", hash, "", "{}", "{}", "1000"])
            .invoke(&mut verifier)
            .expect("events")
    };
    // Repeated after a lost reply it is written once; what does not follow, and what another process claims, is not.
    let first = write("mine", "1", "h1");
    assert_eq!([write("mine", "1", "h1"), write("mine", "1", "h2"), write("mine", "3", "h3")], [&first, "", ""]);
    assert_ne!(write("mine", "2", "h2"), first);
    assert_eq!(write("another", "3", "h3"), "");
}

/// Dataset, identity, epoch, version of the key set, states, roles, definitions.
type LookedUp = (String, String, String, u64, Vec<String>, Vec<String>, Vec<String>);

/// A script of the store, with the parts that it may call.
fn script_of(text: &str) -> redis::Script {
    const PARTS: [&str; 3] = [
        include_str!("../../src/store/scripts/identity.lua"),
        include_str!("../../src/store/scripts/order.lua"),
        include_str!("../../src/store/scripts/archived.lua"),
    ];
    let (first, rest) = text.split_once('\n').unwrap();
    redis::Script::new(&format!("{first}\n{}{rest}", PARTS.concat()))
}
