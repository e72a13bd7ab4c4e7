//! Clients that nobody here wrote, each used as its own documentation says. What they run lies in `tests/clients`, one file
//! for each use: an example for whoever does the same.

mod asking;
mod caching;
mod curl;
mod documents;
mod rotating;
mod tls;
mod verifying;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::machine::{Machine, finish, tool};
use crate::server::Server;

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

/// A script of `tests/clients` with its arguments, given the CA as its ecosystem gives it.
pub fn client(machine: &Machine, server: &Server, script: &str, arguments: &[&str]) -> Command {
    let mut command = if script.ends_with(".py") { python(&sources().join(script)) } else { node(machine, script) };
    command.env("REQUESTS_CA_BUNDLE", server.ca()).env("NODE_EXTRA_CA_CERTS", server.ca()).args(arguments);
    command
}

fn python(script: &Path) -> Command {
    let mut command = clean(&tool("clients/bin/python"));
    command.arg("-B").arg(script);
    command
}

fn node(machine: &Machine, script: &str) -> Command {
    node_modules(machine);
    for entry in std::fs::read_dir(sources()).unwrap() {
        let from = entry.unwrap().path();
        if from.extension().is_some_and(|kind| kind == "mjs") {
            std::fs::copy(&from, machine.path(from.file_name().unwrap().to_str().unwrap())).unwrap();
        }
    }
    let mut command = clean(Path::new("node"));
    command.arg(machine.path(script));
    command
}

/// Packages are looked for beside the script, and so it runs where they can be put.
fn node_modules(machine: &Machine) {
    let link = machine.path("node_modules");
    if !link.exists() {
        std::os::unix::fs::symlink(tool("node/node_modules"), link).unwrap();
    }
}

/// With nothing of the test's own environment: a proxy or a CA that is set there would decide.
fn clean(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap());
    command
}

/// What came of each case: `{"ok": …}` or `{"refused": …, "why": …}`.
#[track_caller]
pub fn outcomes(command: &mut Command, cases: &[Value]) -> Vec<Value> {
    let told = finish(command, &json!(cases).to_string()).expect(0).json();
    let told = told.as_array().unwrap().clone();
    assert_eq!(told.len(), cases.len());
    told
}

/// An account with permissions: its id and its token.
#[track_caller]
fn account(server: &Server, username: &str, permissions: &[&str]) -> (String, String) {
    let role = json!({"description": "", "permissions": permissions});
    let path = format!("/api/v1/roles/{username}");
    server.call("PUT", &path).bearer(&server.admin()).json(&role).send().expect(201);
    server.create(username, username)
}

/// How often the published keys were fetched, and what was answered.
fn key_fetches(server: &Server, status: u16) -> u64 {
    let line = format!("countermark_requests_total{{route=\"/.well-known/jwks.json\",status=\"{status}\"}} ");
    let metrics = server.operations("/metrics").send().expect(200).body;
    metrics.lines().find_map(|text| text.strip_prefix(&line)).map_or(0, |count| count.parse().unwrap())
}
