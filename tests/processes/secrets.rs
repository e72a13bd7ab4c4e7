//! What must lie nowhere: tokens, their `jti`, private keys, the master key.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::machine::Machine;
use crate::until::soon;

/// What to look for, and what it is.
struct Secret {
    what: String,
    bytes: Vec<u8>,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes as they are, and in every spelling that somebody might write them in.
fn spellings(what: &str, bytes: &[u8]) -> Vec<Secret> {
    let mut found = vec![bytes.to_vec(), hex(bytes).into_bytes(), hex(bytes).to_uppercase().into_bytes()];
    // Inside something longer, base64 depends on where it begins; the first and last characters on what is around.
    for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
        for before in 0..3 {
            let text = engine.encode([vec![0; before], bytes.to_vec()].concat());
            found.push(text.as_bytes()[4.min(before * 4)..text.len() - 1].to_vec());
        }
    }
    found.into_iter().map(|bytes| Secret { what: what.to_owned(), bytes }).collect()
}

fn of_token(token: &str) -> Vec<Secret> {
    let claims = token.split('.').nth(1).unwrap();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    let jti = claims["jti"].as_str().unwrap();
    assert!(jti.len() >= 22);
    let signature = token.rsplit('.').next().unwrap();
    let mut secrets = spellings("the bytes of a jti", &URL_SAFE_NO_PAD.decode(jti).unwrap());
    for (what, text) in [("a token", token), ("a jti", jti), ("the signature of a token", signature)] {
        secrets.push(Secret { what: what.to_owned(), bytes: text.as_bytes().to_vec() });
    }
    secrets
}

fn files(directory: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(directory)
        .unwrap()
        .flat_map(|entry| {
            let path = entry.unwrap().path();
            if path.is_dir() { files(&path) } else { vec![path] }
        })
        .filter(|path| path.is_file())
        .collect()
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

#[test]
fn no_log_and_no_file_holds_a_token_or_a_key_whatever_is_logged() {
    let machine = Machine::new();
    let start = || {
        machine
            .serve()
            .listen("127.0.0.1:0")
            .listen("http://127.0.0.1:0")
            .config("trusted_proxies = [\"127.0.0.0/8\"]\n[log]\nlevel = \"trace\"\n")
    };
    let server = start().ready();
    let admin = server.admin();
    let mut tokens = vec![admin.clone()];
    let (id, first) = server.create("ci", "admin");
    let second = server.regenerate(&admin, &id).expect(201).json()["token"].as_str().unwrap().to_owned();
    let overlapping = json!({"valid_for_months": 6, "overlap_seconds": 60});
    let renewed = server.call("POST", "/api/v1/self/token").bearer(&second).json(&overlapping).send().expect(201);
    let third = renewed.json()["token"].as_str().unwrap().to_owned();
    tokens.extend([first.clone(), second.clone(), third.clone()]);

    for token in &tokens {
        server.verify(token);
        // Everywhere that a token might be put by mistake.
        for path in [format!("/verify?access_token={token}"), format!("/api/v1/self?token={token}")] {
            server.call("GET", &path).send();
        }
        server.call("GET", "/verify").header("Authorization", token).send();
        server.call("GET", "/verify").header("Authorization", &format!("Token {token}")).send();
        server.call("GET", "/verify").bearer(token).header("X-Original-URI", &format!("/x?token={token}")).send();
        server.call("GET", "/verify").bearer(token).header("X-Request-Id", token).send();
        server.call("GET", "/verify").bearer(&format!("{token}x")).send();
        server.call("GET", "/verify").bearer(token).header("Cookie", &format!("token={token}")).send();
        server.call_at(1, "GET", "/api/v1/self").bearer(token).header("X-Forwarded-Proto", "http").send().expect(400);
        let form = format!("token={token}");
        server.call("POST", "/oauth2/introspect").bearer(&admin).option("--data", &form).send().expect(200);
        server
            .call("POST", "/oauth2/introspect")
            .option("--user", &format!("{id}:{token}"))
            .option("--data", &form)
            .send();
        server.call("POST", "/api/v1/accounts").bearer(&admin).json(&json!({"username": token})).send().expect(422);
        server.call("PATCH", &format!("/api/v1/accounts/{id}")).bearer(&admin).json(&json!({token.as_str(): 1})).send();
    }
    server.call("POST", "/oauth2/revoke").option("--data", &format!("token={third}")).send().expect(200);
    machine.run(&["account", "list"]).expect(0);
    machine.run(&["recover", "--data-dir", "data", "--out", "recovered.token"]).expect(0);
    tokens.push(std::fs::read_to_string(machine.path("recovered.token")).unwrap().trim_end().to_owned());
    server.verify(&tokens[4]).expect(200);
    // A key that is brought along, and another master key.
    let openssl = |arguments: &[&str]| {
        let made =
            std::process::Command::new("openssl").args(arguments).current_dir(machine.path(".")).output().unwrap();
        assert!(made.status.success(), "{arguments:?}");
        made.stdout
    };
    let pem = String::from_utf8(openssl(&["genpkey", "-algorithm", "ed25519"])).unwrap();
    let body = json!({"private_key": pem});
    let taken = server.call("POST", "/api/v1/keys").bearer(&tokens[4]).json(&body).send().expect(201);
    let again = server.call("POST", "/api/v1/keys").bearer(&tokens[4]).json(&body).send().expect(409);
    let broken = json!({"private_key": pem.replacen("MC4", "MC5", 1)});
    let broken = server.call("POST", "/api/v1/keys").bearer(&tokens[4]).json(&broken).send().expect(422);
    let kid = taken.json()["key"]["id"].as_str().unwrap().to_owned();
    let shown = server.call("GET", &format!("/api/v1/keys/{kid}")).bearer(&tokens[4]).send().expect(200);
    let path = format!("/api/v1/keys/{kid}/activate");
    let forced = server.call("POST", &path).bearer(&tokens[4]).json(&json!({"force": true})).send().expect(200);
    let older_master = std::fs::read_to_string(machine.path("data/keys/master.key")).unwrap();
    machine.run(&["key", "rotate-master", "--new-master-key-file", "data/keys/new.key"]).expect(0);
    std::fs::rename(machine.path("data/keys/new.key"), machine.path("data/keys/master.key")).unwrap();
    machine.run(&["key", "rotate-master", "--finish"]).expect(0);
    let events = server.call("GET", "/api/v1/audit?limit=500").bearer(&tokens[4]).send().expect(200);
    let metrics = server.operations("/metrics").send().expect(200);
    let answers = [taken, again, broken, shown, forced, events, metrics];
    let usage = server.call("GET", &format!("/api/v1/accounts/{id}/usage")).bearer(&tokens[4]).send().expect(200);
    soon("the events in the store", || {
        let path = format!("/api/v1/accounts/{id}/activity");
        let list = server.call("GET", &path).bearer(&tokens[4]).send().expect(200).json();
        list["items"].as_array().unwrap().iter().any(|event| event["kind"] == "token.exposed")
    });
    let log = machine.path("data.log");
    server.stop();
    start().ready().stop();

    let master = std::fs::read_to_string(machine.path("data/keys/master.key")).unwrap();
    let mut secrets: Vec<Secret> = tokens.iter().flat_map(|token| of_token(token)).collect();
    secrets.extend(spellings("the master key", &URL_SAFE_NO_PAD.decode(master.trim_end()).unwrap()));
    secrets.extend(spellings("the older master key", &URL_SAFE_NO_PAD.decode(older_master.trim_end()).unwrap()));
    let der = STANDARD.decode(pem.lines().filter(|line| !line.starts_with('-')).collect::<String>()).unwrap();
    // What follows what each Ed25519 key begins with (RFC 8410, section 7).
    secrets.extend(spellings("an imported private key", &der[16..]));
    // PKCS#8, version 0, of an EC key on P-256 (RFC 5958): what is before the private part.
    let pkcs8 =
        [2, 1, 0, 0x30, 0x13, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
    secrets.extend(spellings("a private key in PKCS#8", &pkcs8));
    secrets.push(Secret { what: "a private key in PEM".to_owned(), bytes: b"PRIVATE KEY".to_vec() });

    let secret_files = ["admin.token", "keys/master.key", "tls/ca.key", "tls/server.key"];
    let secret_files = secret_files.map(|name| machine.path("data").join(name));
    let mut searched = files(&machine.path("data"));
    searched.push(log.clone());
    for path in &searched {
        let content = std::fs::read(path).unwrap();
        let found: Vec<&str> = secrets
            .iter()
            .filter(|secret| contains(&content, &secret.bytes))
            .map(|secret| secret.what.as_str())
            .collect();
        // The search finds what there is to be found.
        assert_eq!(found.is_empty(), !secret_files.contains(path), "{} holds {found:?}", path.display());
    }
    for secret in &secrets {
        for answer in answers.iter().chain([&usage]) {
            assert!(!contains(answer.body.as_bytes(), &secret.bytes), "{}: {answer:?}", secret.what);
        }
    }
    let log = std::fs::read_to_string(log).unwrap();
    assert!(log.contains("countermark::request"), "{log}");
    assert!(searched.iter().any(|path| path.ends_with("serve.json")));
    assert!(searched.iter().any(|path| path.extension().is_some_and(|extension| extension == "aof")));
}

/// How a server that crashes leaves its folder: the core file, if there is one.
fn core_of(config: &str) -> Option<Vec<u8>> {
    let machine = Machine::new();
    let mut server = machine.serve().config(config).core_files().ready();
    server.verify(&server.admin()).expect(200);
    server.signal(rustix::process::Signal::ABORT);
    server.end();
    let core = files(&machine.path(".")).into_iter().find(|path| {
        path.file_name().is_some_and(|name| name == "core" || name.to_string_lossy().starts_with("core."))
    });
    core.map(|core| std::fs::read(core).unwrap())
}

#[test]
fn k7_a_crash_leaves_no_core_file_unless_one_is_asked_for() {
    assert!(core_of("").is_none());
    // Elsewhere the system hands it to a program of its own.
    if !std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap().starts_with("core") {
        return;
    }
    let core = core_of("core_dumps = \"danger_on\"\n").expect("that it can happen here");
    assert!(contains(&core, b"countermark"), "there is something in it");
}

#[test]
fn the_private_redis_is_told_nothing_of_our_secrets() {
    let machine = Machine::new();
    let server = machine.serve().env("COUNTERMARK_MASTER_KEY", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8").ready();
    let redis = server.redis_pid().unwrap();
    for name in ["environ", "cmdline"] {
        let content = std::fs::read(format!("/proc/{redis}/{name}")).unwrap();
        assert!(!contains(&content, b"COUNTERMARK") && !contains(&content, b"AAECAwQF"), "{name}");
    }
    assert!(!server.data("keys/master.key").exists());
    server.verify(&server.admin()).expect(200);
}
