//! The OpenAPI document against the service, examined by schemathesis: every answer is one that the document tells of, and
//! what the document says is good or bad is taken or refused.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::effort::rounds;
use crate::machine::{Machine, tool};
use crate::server::Server;
use crate::until::ended;

const EXAMINER: &str = "examiner";

/// Whoever is examined with so many invalid tokens would soon be told to wait.
const CONFIG: &str = "[guessing]\nper_minute = 1000000\nburst = 1000000\n";

/// Runs it with the token of an account of this role. What it said.
#[track_caller]
fn examine(server: &Server, role: &str, examples: usize) -> String {
    let (id, token) = server.create(EXAMINER, role);
    let place = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/tools/schemathesis");
    let mut command = Command::new(tool("schemathesis/bin/schemathesis"));
    command
        .current_dir(server.data(""))
        .env("PYTHONPATH", &place)
        .env("SCHEMATHESIS_HOOKS", "hooks")
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command.env("EXAMINER_ID", id).env("EXAMINER_NAME", EXAMINER).env("EXAMINER_TOKEN", token);
    command.args(["--no-color", "--config-file"]).arg(place.join("schemathesis.toml"));
    command.args(["run", &format!("{}/api/v1/openapi.json", server.address(0)), "--tls-verify"]).arg(server.ca());
    command.args(["--checks", "all", "--phases", "examples,coverage,fuzzing,stateful", "--continue-on-failure"]);
    // It has no end.
    command.args(["--exclude-path", "/api/v1/audit/tail"]);
    command.args([
        "--seed",
        "1",
        "--generation-database",
        "none",
        "--request-timeout",
        "10",
        "--output-truncate",
        "false",
    ]);
    command.args(["--max-examples", &examples.to_string()]);
    let report = server.data("schemathesis.txt");
    let output = File::create(&report).unwrap();
    command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
    let mut child = command.spawn().unwrap();
    let status = ended(&mut child, Duration::from_secs(1_800));
    if status.is_none() {
        let _ = child.kill();
        let _ = child.wait();
    }
    let said = std::fs::read_to_string(report).unwrap();
    assert_eq!(status.and_then(|status| status.code()), Some(0), "{said}");
    said
}

fn asked(server: &Server, status: u16) -> usize {
    server.log().matches(&format!(" status={status} ")).count()
}

#[test]
fn every_answer_is_one_that_the_description_tells_of() {
    let machine = Machine::new();
    let server = machine.serve().config(CONFIG).ready();
    let said = examine(&server, "admin", rounds(15, 300));
    // It got somewhere: past the credential, past the reading, and to the end.
    for (status, least) in [(200, 50), (201, 20), (404, 20), (409, 5), (422, 100)] {
        let found = asked(&server, status);
        assert!(found >= least, "{found} answers of {status}\n{said}");
    }
    // Before it is ready, /readyz says so.
    let log = server.log();
    let failed = log.lines().find(|line| line.contains("route=\"/api/") && line.contains(" status=5"));
    assert_eq!(failed, None);
    assert!(server.is_ready());
}

#[test]
fn what_an_auditor_may_not_do_is_described_too() {
    let machine = Machine::new();
    let server = machine.serve().config(CONFIG).ready();
    let said = examine(&server, "auditor", rounds(3, 100));
    assert!(asked(&server, 403) >= 20, "{said}");
    assert_eq!(asked(&server, 201), 1, "an auditor created something");
}
