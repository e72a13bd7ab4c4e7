//! Exports of the audit at the command line: compressed, interrupted, refused, and in another form.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::machine::{Ended, Machine, bare_program, finish};
use crate::relay::Relay;
use crate::server::Server;
use crate::until::soon;

/// So many calls that there are marks between them, by one curl; and all of them are proven.
fn many_calls(machine: &Machine, server: &Server, token: &str, count: usize) {
    let url = format!("https://127.0.0.1:{}/verify/{}[1-{count}]", server.port(0), "x".repeat(450));
    let mut curl = bare_program(Path::new("curl"), &machine.path(""));
    curl.args(["--silent", "--fail", "--noproxy", "*", "--cacert"]).arg(server.data("tls/ca.pem"));
    curl.args(["--header", &format!("Authorization: Bearer {token}"), "--output", "/dev/null", &url]);
    finish(&mut curl, "").expect(0);
    soon("all of it is proven", || {
        let ended = machine.run(&["audit", "verify", "--output", "json"]);
        let told = ended.json();
        ended.code == 0 && told["unproven"].as_u64().unwrap() <= 2 && told["events"].as_u64().unwrap() >= count as u64
    });
}

fn keys(machine: &Machine, server: &Server) {
    machine.write("keys.json", &server.call("GET", "/.well-known/jwks.json").send().expect(200).body);
}

fn verify(machine: &Machine, file: &str) -> Ended {
    machine.run(&["audit", "verify", file, "--keys", "keys.json"])
}

/// What a program makes of a file.
fn piped(machine: &Machine, program: &str, from: &str, to: &str) {
    let mut command = Command::new(program);
    command.current_dir(machine.path("")).arg("-c").stdin(File::open(machine.path(from)).unwrap());
    command.stdout(File::create(machine.path(to)).unwrap());
    assert!(command.status().unwrap().success(), "{program} {from}");
}

#[track_caller]
fn found(ended: Ended, what: &str) {
    let ended = ended.expect(1);
    assert!(ended.out.contains(what) && ended.out.contains("The audit is not what was written"), "{ended:?}");
}

#[test]
fn a_compressed_export_is_checked_as_it_is_and_what_was_done_to_it_is_found() {
    let machine = Machine::new();
    let server = machine.serve().ready();
    let (_, token) = server.create("ci", "auditor");
    many_calls(&machine, &server, &token, 200);
    keys(&machine, &server);
    let export = |arguments: &[&str]| machine.run(&[&["audit", "export"], arguments].concat());
    let written = export(&["--out", "a.jsonl.gz"]).expect(0);
    assert!(written.out.contains("what proves them to a.jsonl.proof.gz"), "{written:?}");
    export(&["--out", "b.jsonl.zst"]).expect(0);
    export(&["--out", "c.jsonl", "--compress", "gzip"]).expect(0);
    let mut printing = machine.command();
    printing.args(["audit", "export", "--compress", "zstd"]).stdin(Stdio::null());
    assert!(printing.stdout(File::create(machine.path("d")).unwrap()).status().unwrap().success());
    let contradiction = export(&["--out", "e.jsonl.zst", "--compress", "gzip"]).expect(2);
    assert!(contradiction.err.contains("contradict each other"), "{contradiction:?}");
    export(&["--out", "plain.jsonl"]).expect(0);
    server.stop();

    for file in ["a.jsonl.gz", "b.jsonl.zst", "c.jsonl", "d", "plain.jsonl"] {
        let whole = verify(&machine, file).expect(0);
        assert!(whole.out.contains("The audit is whole"), "{whole:?}");
    }
    // They are what others understand by that, and hold what an export without compression does.
    piped(&machine, "zcat", "a.jsonl.gz", "a.jsonl");
    piped(&machine, "zstdcat", "b.jsonl.zst", "b.jsonl");
    let text = |name: &str| std::fs::read_to_string(machine.path(name)).unwrap();
    let plain = text("plain.jsonl");
    let all: Vec<&str> = plain.lines().collect();
    for name in ["a.jsonl", "b.jsonl"] {
        let lines = text(name);
        assert!(lines.lines().count() > 200 && lines.lines().all(|line| all.contains(&line)), "{name}");
        // Also when one of the two was decompressed.
        verify(&machine, name).expect(0);
    }

    for (file, compress, decompressed) in [("a.jsonl.gz", "gzip", "a.jsonl"), ("b.jsonl.zst", "zstd", "b.jsonl")] {
        let path = machine.path(file);
        let whole = std::fs::read(&path).unwrap();
        // Changed inside.
        machine.write("changed", &text(decompressed).replacen("\"outcome\":\"allowed\"", "\"outcome\":\"refused\"", 1));
        piped(&machine, compress, "changed", file);
        found(verify(&machine, file), "its events were changed");
        // Cut off, at the end or anywhere.
        for length in [whole.len() - 1, whole.len() - 9, whole.len() / 2, 20, 5, 0] {
            std::fs::write(&path, &whole[..length]).unwrap();
            let cut = verify(&machine, file).expect(1);
            assert!(length == 0 || cut.out.contains("damaged or cut off"), "{length}: {cut:?}");
        }
        // Damaged, and with something after it.
        let mut damaged = whole.clone();
        damaged[whole.len() / 2] ^= 1;
        std::fs::write(&path, &damaged).unwrap();
        verify(&machine, file).expect(1);
        std::fs::write(&path, [&whole[..], b"more"].concat()).unwrap();
        found(verify(&machine, file), "damaged or cut off");
        // A whole one behind it is more than there was.
        std::fs::write(&path, [&whole[..], &whole[..]].concat()).unwrap();
        found(verify(&machine, file), "an event that belongs to no block");
        std::fs::write(&path, &whole).unwrap();
        verify(&machine, file).expect(0);
    }
    // So of the proof.
    let proof = machine.path("b.jsonl.proof.zst");
    let whole = std::fs::read(&proof).unwrap();
    std::fs::write(&proof, &whole[..whole.len() - 1]).unwrap();
    found(verify(&machine, "b.jsonl.zst"), "b.jsonl.proof.zst: its compressed form is damaged or cut off");
}

#[test]
fn what_is_small_and_becomes_large_takes_no_more_memory() {
    let machine = Machine::new();
    let server = machine.serve().ready();
    keys(&machine, &server);
    server.stop();
    // 1 GiB as one line, 256 MiB so, and 600 MiB in lines of a mebibyte: some kilobytes each.
    let bomb = |script: &str| {
        let mut shell = bare_program(Path::new("sh"), &machine.path(""));
        finish(shell.args(["-c", script]), "").expect(0);
    };
    bomb("head -c 1G /dev/zero | zstd -q -o one.zst");
    bomb("head -c 64M /dev/zero | gzip -1 > part && cat part part part part > one.gz");
    bomb("line=$(head -c 1M /dev/zero | tr '\\0' x) && for i in $(seq 600); do echo $line; done | zstd -q -o many.zst");
    for (file, what) in [
        ("one.zst", "a line is longer than any that is written"),
        ("one.gz", "a line is longer than any that is written"),
        ("many.zst", "an event that belongs to no block"),
    ] {
        assert!(std::fs::metadata(machine.path(file)).unwrap().len() < 2 * 1024 * 1024, "{file}");
        let mut limited = bare_program(Path::new("sh"), &machine.path(""));
        // In KiB, of address space: of which an allocator takes more than it uses.
        limited.args(["-c", "ulimit -v 524288 && exec \"$0\" \"$@\"", crate::machine::BINARY]);
        let ended = finish(limited.args(["audit", "verify", file, "--keys", "keys.json"]), "");
        found(ended, what);
    }
}

/// Of whoever goes over a relay.
fn over(machine: &Machine, server: &Server, relay: &Relay, token_file: &Path, out: &str) -> Ended {
    let (to, ca) = (format!("https://127.0.0.1:{}", relay.port), server.data("tls/ca.pem"));
    let mut command = machine.command();
    command.args(["audit", "export", "--out", out, "--server", &to, "--ca-file"]).arg(ca);
    finish(command.arg("--token-file").arg(token_file), "")
}

#[test]
fn an_export_whose_connection_breaks_goes_on_and_is_whole() {
    let machine = Machine::new();
    let server = machine.serve().ready();
    let (_, token) = server.create("ci", "auditor");
    many_calls(&machine, &server, &token, 2_000);
    keys(&machine, &server);
    let token_file = machine.write("token", &token);
    // More each time than what was held, and less than all.
    let relay = Relay::to(server.port(0), 3, 450_000, || {});
    for out in ["a.jsonl", "b.jsonl.zst"] {
        let before = relay.connections();
        over(&machine, &server, &relay, &token_file, out).expect(0);
        assert!(out != "a.jsonl" || relay.connections() - before == 4, "{}", relay.connections());
        verify(&machine, out).expect(0);
    }
    let text = std::fs::read_to_string(machine.path("a.jsonl")).unwrap();
    let mut ids: Vec<String> = text.lines().map(id).collect();
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert!(ids.len() == count && count >= 2_000);
    let proof = std::fs::read_to_string(machine.path("a.jsonl.proof")).unwrap();
    assert!(proof.matches("{\"record\":\"mark\"").count() >= 3 && proof.matches("{\"record\":\"begin\"").count() == 1);

    // Whoever may not have it any more is told so, and nothing looks like an export.
    let (admin, account) = (server.admin(), server.call("GET", "/api/v1/accounts/ci").bearer(&server.admin()).send());
    let regenerate = format!("/api/v1/accounts/{}/token", account.json()["id"].as_str().unwrap());
    let call = server.call("POST", &regenerate).bearer(&admin).json(&serde_json::json!({"valid_for_months": 12}));
    let call = std::sync::Mutex::new(Some(call));
    let relay = Relay::to(server.port(0), 1, 700_000, move || {
        call.lock().unwrap().take().unwrap().send().expect(201);
    });
    let refused = over(&machine, &server, &relay, &token_file, "c.jsonl").expect(2);
    assert!(refused.err.contains("superseded"), "{refused:?}");
    assert_eq!(relay.connections(), 2);
    let left = std::fs::read_dir(machine.path("")).unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<String> = left.map(|name| name.to_string_lossy().into_owned()).collect();
    assert!(!left.iter().any(|name| name.contains("c.jsonl")), "{left:?}");
    server.stop();
}

fn id(line: &str) -> String {
    serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().to_owned()
}

#[test]
fn events_are_exported_as_ocsf_which_proves_nothing() {
    let machine = Machine::new();
    let server = machine.serve().ready();
    let (_, token) = server.create("ci", "auditor");
    server.verify(&token).expect(200);
    many_calls(&machine, &server, &token, 20);
    keys(&machine, &server);
    machine.run(&["audit", "export", "--out", "plain.jsonl"]).expect(0);
    let written = machine.run(&["audit", "export", "--format", "ocsf", "--out", "ocsf.jsonl.gz"]).expect(0);
    assert!(written.out.contains("They prove nothing"), "{written:?}");
    assert!(!machine.path("ocsf.jsonl.proof.gz").exists());
    let of_one = machine.run(&["audit", "export", "--format", "ocsf", "--account", "ci"]).expect(0);
    server.stop();
    piped(&machine, "zcat", "ocsf.jsonl.gz", "ocsf.jsonl");
    let read = |text: &str| -> Vec<Value> { text.lines().map(|line| serde_json::from_str(line).unwrap()).collect() };
    let text = std::fs::read_to_string(machine.path("ocsf.jsonl")).unwrap();
    let mapped = read(&text);
    let plain = std::fs::read_to_string(machine.path("plain.jsonl")).unwrap();
    let known: Vec<&Value> = mapped.iter().map(|event| &event["metadata"]["uid"]).collect();
    assert!(plain.lines().map(id).all(|id| known.contains(&&Value::String(id.clone()))));
    for class in [6003, 3002] {
        assert!(mapped.iter().any(|event| event["class_uid"] == class), "{class}");
    }
    let of_one = read(&of_one.out);
    assert!(!of_one.is_empty() && of_one.len() < mapped.len());
    for file in ["ocsf.jsonl", "ocsf.jsonl.gz"] {
        let refused = verify(&machine, file).expect(2);
        assert!(refused.err.contains("holds OCSF events, which prove nothing"), "{refused:?}");
    }
}
