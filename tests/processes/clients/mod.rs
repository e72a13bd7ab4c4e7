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
use crate::scripts::{clean, node};
use crate::server::Server;

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

/// A script of `tests/clients` with its arguments, given the CA as its ecosystem gives it.
pub fn client(machine: &Machine, server: &Server, script: &str, arguments: &[&str]) -> Command {
    let mut command =
        if script.ends_with(".py") { python(&sources().join(script)) } else { node(machine, &sources(), script) };
    command.env("REQUESTS_CA_BUNDLE", server.ca()).env("NODE_EXTRA_CA_CERTS", server.ca()).args(arguments);
    command
}

fn python(script: &Path) -> Command {
    let mut command = clean(&tool("clients/bin/python"));
    command.arg("-B").arg(script);
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
