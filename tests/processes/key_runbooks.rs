//! The runbooks of docs/keys.md, followed to the letter.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use countermark::clock::{Clock as _, SystemClock};
use serde_json::Value;

use crate::machine::{BINARY, Machine};
use crate::until::soon;

/// What the page says to type, under its name.
fn commands(name: &str) -> String {
    let page = include_str!("../../docs/keys.md");
    let start = page.find(&format!("<!-- runbook: {name} -->")).unwrap_or_else(|| panic!("no runbook {name}"));
    let block = page[start..].split("```").nth(1).unwrap().strip_prefix("sh\n").unwrap();
    block.lines().map(str::trim_start).collect::<Vec<_>>().join("\n")
}

/// Types it, in the machine's folder. What was printed.
#[track_caller]
fn follow(machine: &Machine, name: &str, set: &[(&str, &str)]) -> String {
    let path = std::env::var_os("PATH").unwrap();
    let mut places = vec![PathBuf::from(BINARY).parent().unwrap().to_owned()];
    places.extend(std::env::split_paths(&path));
    let mut shell = Command::new("bash");
    shell.args(["-euo", "pipefail", "-c", &commands(name)]).current_dir(machine.path("."));
    shell.env("PATH", std::env::join_paths(places).unwrap()).env("HOME", machine.path("."));
    shell.envs(set.iter().copied()).stdin(Stdio::null());
    let output = shell.output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{name}: {said}\n{}", String::from_utf8_lossy(&output.stderr));
    said
}

fn keys(machine: &Machine, more: &[&str]) -> Vec<Value> {
    let listed = machine.run(&[&["key", "list", "--output", "json"], more].concat()).expect(0).json();
    listed["items"].as_array().unwrap().clone()
}

fn id(key: &Value) -> &str {
    key["id"].as_str().unwrap()
}

#[test]
fn the_runbook_of_a_rotation_is_followed() {
    let machine = Machine::new();
    let server = machine.serve().config("[signing]\npublish_ahead = \"2s\"\n").ready();
    let said = follow(&machine, "rotate", &[]);
    let first = keys(&machine, &[]).remove(0);
    let new = keys(&machine, &[]).remove(1);
    assert!(said.contains(id(&new)) && said.contains("can be activated from"), "{said}");
    // What takes a day elsewhere.
    soon("the key can be activated", || {
        let next = &keys(&machine, &[])[1]["next_step"];
        let possible_at = chrono::DateTime::parse_from_rfc3339(next["possible_at"].as_str().unwrap()).unwrap();
        possible_at <= SystemClock.now()
    });
    follow(&machine, "rotate, a day later", &[("KID", id(&new))]);
    let again = machine.run(&["key", "activate", id(&new)]).expect(2);
    assert!(again.err.contains("signs already"), "{again:?}");
    machine.run(&["account", "create", "ci", "--role", "auditor", "--months", "6", "--out", "ci.token"]).expect(0);
    let shown = machine.run(&["key", "show", id(&new)]).expect(0);
    assert!(shown.out.contains("ci") && shown.out.contains("active"), "{shown:?}");
    let early = machine.run(&["key", "retire", id(&first)]).expect(2);
    assert!(early.err.contains("1 living tokens need this key"), "{early:?}");
    machine.run(&["token", "regenerate", "admin", "--months", "12", "--yes", "--out", "admin.new"]).expect(0);
    soon("the first key retires by itself", || keys(&machine, &["--token-file", "admin.new"])[0]["state"] == "retired");
    server.stop();
}

#[test]
fn the_runbook_of_a_leaked_key_is_followed() {
    let machine = Machine::new();
    let server = machine.serve().ready();
    machine.run(&["account", "create", "ci", "--role", "auditor", "--months", "6", "--out", "ci.token"]).expect(0);
    machine.run(&["token", "verify", "--file", "ci.token"]).expect(0);
    let leaked = keys(&machine, &[]).remove(0);
    let leaked = [("LEAKED", id(&leaked))];
    // Without the first step nobody would be left to administer, and that is said.
    let alone = machine.run(&["key", "revoke", leaked[0].1, "--yes"]).expect(2);
    assert!(alone.err.contains("activate another key"), "{alone:?}");
    follow(&machine, "leaked, another key", &[]);
    let dies = follow(&machine, "leaked, what dies", &leaked);
    assert!(dies.contains("living tokens   1") && dies.contains("your own token  no"), "{dies}");
    machine.run(&["token", "verify", "--file", "ci.token"]).expect(0);
    let revoked = follow(&machine, "leaked, revoke", &leaked);
    assert!(revoked.contains("is revoked") && revoked.contains("effective"), "{revoked}");
    let dead = machine.run(&["token", "verify", "--file", "ci.token"]).expect(1);
    assert!(dead.out.contains("revoked_key"), "{dead:?}");
    soon("the refusal is told", || {
        let waits = follow(&machine, "leaked, who has none", &leaked);
        waits.lines().any(|line| line.starts_with("ci ") && line.contains('T'))
    });
    server.stop();
}

#[test]
fn the_runbook_of_the_master_key_is_followed_while_the_server_runs() {
    let machine = Machine::new();
    let server = machine.serve().ready();
    let before = std::fs::read(machine.path("data/keys/master.key")).unwrap();
    let early = machine.run(&["key", "rotate-master", "--finish"]).expect(0);
    assert!(early.out.contains("nothing was changed"), "{early:?}");
    let begun = follow(&machine, "master key", &[]);
    assert!(begun.contains("--finish") && begun.contains("new-master.key"), "{begun}");
    let hasty = machine.run(&["key", "rotate-master", "--finish"]).expect(2);
    assert!(hasty.err.contains("put the new one in its place"), "{hasty:?}");
    machine.run(&["key", "prepare"]).expect(0);
    follow(&machine, "master key, in place", &[]);
    follow(&machine, "master key, finish", &[]);
    machine.run(&["key", "prepare"]).expect(0);
    assert!(server.log().contains("the master key was changed"), "{}", server.log());
    server.stop();
    // The old one opens nothing any more, and the new one everything.
    let new = std::fs::read(machine.path("data/keys/master.key")).unwrap();
    assert_ne!(before, new);
    machine.serve().ready().stop();
    std::fs::write(machine.path("data/keys/master.key"), &before).unwrap();
    let refused = machine.serve().ends();
    assert!(refused.err.contains("don't open under this master key"), "{refused:?}");
    std::fs::write(machine.path("data/keys/master.key"), &new).unwrap();
    machine.serve().ready().stop();
}

#[test]
fn a_key_is_imported_with_its_passphrase() {
    let machine = Machine::new();
    let server = machine.serve().ready();
    let openssl = |arguments: &[&str]| {
        let status =
            Command::new("openssl").args(arguments).current_dir(machine.path(".")).stderr(Stdio::null()).status();
        assert!(status.unwrap().success(), "{arguments:?}");
    };
    openssl(&["genpkey", "-algorithm", "ed25519", "-aes256", "-pass", "pass:over the hills", "-out", "key.pem"]);
    std::fs::write(machine.path("passphrase"), "over the hills\n").unwrap();
    let open = machine.run(&["key", "import", "key.pem", "--passphrase-file", "passphrase"]).expect(2);
    assert!(open.err.contains("chmod 600"), "{open:?}");
    for file in ["key.pem", "passphrase"] {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(machine.path(file), std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    let asked = machine.run(&["key", "import", "key.pem"]).expect(2);
    assert!(asked.err.contains("--passphrase-file"), "{asked:?}");
    let unfit = machine.run(&["key", "import", "key.pem", "--passphrase-file", "passphrase", "--algorithm", "RS256"]);
    assert!(unfit.expect(2).err.contains("EdDSA fits"));
    let done = machine.run(&["key", "import", "key.pem", "--passphrase-file", "passphrase"]).expect(0);
    assert!(done.out.contains("is published"), "{done:?}");
    assert_eq!(keys(&machine, &[])[1]["algorithm"], "EdDSA");
    let counted = machine.run(&["key", "recount"]).expect(0);
    assert!(counted.err.contains("The counts were right"), "{counted:?}");
    server.stop();
}
