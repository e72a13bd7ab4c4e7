//! The library in a process of its own, beside a server that it knows by its URL, its CA and their Redis.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countermark::Verifier;
use countermark::api_node::Builder;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::call::{Call, Reply};
use crate::machine::{Machine, bare_program};
use crate::redis::Redis;
use crate::server::Server;
use crate::until::{ended, signal, soon};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn beside(server: &Server, redis: &Redis) -> Builder {
    Verifier::builder(server.issuer()).redis(redis.url()).ca_pem(std::fs::read(server.ca()).unwrap())
}

/// The reason of a refusal, or "let in".
async fn verdict(verifier: &Verifier, token: &str) -> String {
    let call = verifier.call(verifier.request_id(), "GET", "/", None, None);
    match verifier.verify(&call, token, None, None).await {
        Ok(_) => "let in".to_owned(),
        Err(refused) => refused.refusal.reason.to_string(),
    }
}

#[test]
fn the_key_set_comes_over_https_and_a_copy_of_it_lets_a_node_start_while_the_issuer_is_away() {
    let machine = Machine::new();
    let redis = Redis::start(&machine, &[]);
    let server = machine.serve().option("--store", redis.url()).ready();
    let (_, token) = server.create("ci", "auditor");
    let copy = machine.path("keys.json");
    runtime().block_on(async {
        let verifier = beside(&server, &redis).keep_keys_in(&copy).start().await.unwrap();
        verifier.ready(Duration::from_secs(10)).await.unwrap();
        assert_eq!(verdict(&verifier, &token).await, "let in");
        verifier.stop().await;

        let (with_copy, without) = (beside(&server, &redis).keep_keys_in(&copy), beside(&server, &redis));
        let (again, writable) = (beside(&server, &redis), machine.path("writable.json"));
        server.stop();
        let verifier = with_copy.start().await.unwrap();
        verifier.ready(Duration::from_secs(10)).await.unwrap();
        assert_eq!(verdict(&verifier, &token).await, "let in");

        let verifier = without.start().await.unwrap();
        assert_eq!(verdict(&verifier, &token).await, "store_unavailable");
        let told = verifier.ready(Duration::from_millis(300)).await.unwrap_err().to_string();
        assert!(told.contains("key set"), "{told}");

        // Whoever else may write to the copy could make tokens.
        copied_for_all(&copy, &writable);
        let verifier = again.keep_keys_in(&writable).start().await.unwrap();
        assert_eq!(verdict(&verifier, &token).await, "store_unavailable");
    });
}

fn copied_for_all(from: &Path, to: &Path) {
    std::fs::copy(from, to).unwrap();
    std::fs::set_permissions(to, std::fs::Permissions::from_mode(0o666)).unwrap();
}

#[test]
fn a_key_set_from_behind_another_ca_is_not_believed() {
    let machine = Machine::new();
    let redis = Redis::start(&machine, &[]);
    let server = machine.serve().option("--store", redis.url()).ready();
    let (_, token) = server.create("ci", "auditor");
    let other = machine.serve_in("other").ready();
    runtime().block_on(async {
        let builder = Verifier::builder(server.issuer()).redis(redis.url()).ca_pem(std::fs::read(other.ca()).unwrap());
        let verifier = builder.start().await.unwrap();
        assert_eq!(verdict(&verifier, &token).await, "store_unavailable");
        assert!(!verifier.is_ready());
    });
}

#[test]
fn k6_keys_that_somebody_made_up_are_asked_for_once_in_a_while() {
    let machine = Machine::new();
    let redis = Redis::start(&machine, &[]);
    let server = machine.serve().option("--store", redis.url()).ready();
    let (_, token) = server.create("ci", "auditor");
    runtime().block_on(async {
        let verifier = beside(&server, &redis).start().await.unwrap();
        verifier.ready(Duration::from_secs(10)).await.unwrap();
        let before = verifier.counts().key_set_reads;
        let began = std::time::Instant::now();
        let mut sent = 0;
        // Until one of them was asked for: the set was read just now.
        while verifier.counts().key_set_reads == before || sent < 200 {
            assert!(began.elapsed() < Duration::from_secs(10), "none was ever asked for");
            let header = json!({"alg": "ES256", "typ": "at+jwt", "kid": format!("{sent:043}")}).to_string();
            let (_, rest) = token.split_once('.').unwrap();
            let forged = format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header));
            let reason = verdict(&verifier, &forged).await;
            assert!(["unknown_key", "rate_limited"].contains(&reason.as_str()), "{reason}");
            sent += 1;
        }
        let reads = verifier.counts().key_set_reads - before;
        assert!(reads <= began.elapsed().as_secs() + 1, "{reads} readings for {sent} keys in {:?}", began.elapsed());
        assert_eq!(verdict(&verifier, &token).await, "let in");
    });
}

#[test]
fn r3_a_store_that_has_lost_everything_lets_nobody_in() {
    let machine = Machine::new();
    let redis = Redis::start(&machine, &[]);
    let server = machine.serve().option("--store", redis.url()).ready();
    let (_, token) = server.create("ci", "auditor");
    runtime().block_on(async {
        let verifier = beside(&server, &redis).start().await.unwrap();
        verifier.ready(Duration::from_secs(10)).await.unwrap();
        assert_eq!(verdict(&verifier, &token).await, "let in");
        ::redis::cmd("FLUSHALL").exec(&mut redis.connection()).unwrap();
        // From memory for as long as the lease lasts, and no longer.
        crate::until::soon("it is refused", || {
            tokio::task::block_in_place(|| {
                tokio::runtime::Handle::current().block_on(verdict(&verifier, &token)) == "store_unavailable"
            })
        });
    });
}

/// `examples/deployments_api.rs`, as somebody would run it who has just built it.
struct DeploymentsApi {
    child: Child,
    url: String,
}

impl DeploymentsApi {
    fn beside(server: &Server, machine: &Machine) -> Self {
        // Beside `deps`, where the tests are.
        let tests = std::env::current_exe().unwrap();
        let program = tests.ancestors().nth(2).unwrap().join("examples/deployments_api");
        assert!(program.is_file(), "{}: build it with `cargo build --example deployments_api`", program.display());
        let mut command = bare_program(&program, &machine.path(""));
        command.env("ISSUER", server.issuer()).env("CA_FILE", server.ca()).env("LISTEN", "127.0.0.1:0");
        command.env("REDIS", format!("unix:{}", server.socket().display()));
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        let url =
            said.trim_end().strip_prefix("listening on ").unwrap_or_else(|| panic!("it said {said:?}")).to_owned();
        Self { child, url }
    }

    fn call(&self, method: &str, path: &str) -> Call {
        Call::new(method, &format!("{}{path}", self.url), None)
    }
}

impl Drop for DeploymentsApi {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn made(server: &Server, method: &str, path: &str, body: &Value) -> Reply {
    let reply = server.call(method, &format!("/api/v1{path}")).bearer(&server.admin()).json(body).send();
    assert!(reply.status < 300, "{reply:?}");
    reply
}

#[test]
fn the_example_lets_in_by_role_and_team_and_writes_what_waits_when_it_is_told_to_end() {
    let machine = Machine::new();
    let server = machine.serve().ready();
    made(&server, "PUT", "/teams/payments", &json!({}));
    made(&server, "PUT", "/roles/deployer", &json!({"permissions": ["deployments:read", "deployments:create"]}));
    made(&server, "PUT", "/roles/nothing", &json!({"permissions": []}));
    let account =
        json!({"username": "ci", "role": "nothing", "teams": {"payments": "deployer"}, "valid_for_months": 6});
    let account = made(&server, "POST", "/accounts", &account).json();
    let (id, token) = (account["account"]["id"].as_str().unwrap(), account["token"].as_str().unwrap());

    let mut api = DeploymentsApi::beside(&server, &machine);
    let web = json!({"name": "web", "version": "7"});
    api.call("GET", "/payments/deployments").send().expect(401);
    let created = api.call("POST", "/payments/deployments").bearer(token).json(&web).send().expect(201);
    assert_eq!(created.json(), json!({"name": "web", "version": "7", "by": "ci"}));
    let listed = api.call("GET", "/payments/deployments").bearer(token).send().expect(200);
    assert_eq!(listed.json(), json!([created.json()]));
    assert_eq!(
        api.call("DELETE", "/payments/deployments/web").bearer(token).send().reason(),
        "insufficient_permission"
    );
    api.call("GET", "/search/deployments").bearer(token).send().expect(403);
    api.call("GET", "/nobodys/deployments").bearer(token).send().expect(404);
    let metrics = api.call("GET", "/metrics").send().expect(200).body;
    assert!(metrics.contains("countermark_node_decisions_total{reason=\"insufficient_permission\"} 2"), "{metrics}");

    let new = server.regenerate(&server.admin(), id).expect(201).json();
    assert_eq!(api.call("GET", "/payments/deployments").bearer(token).send().reason(), "superseded");
    let token = new["token"].as_str().unwrap();
    api.call("GET", "/payments/deployments").bearer(token).send().expect(200);

    // As a supervisor ends it, right after a call.
    signal(api.child.id(), Signal::TERM);
    let status = ended(&mut api.child, Duration::from_secs(15)).expect("it ends");
    assert_eq!(status.code(), Some(0));
    soon("every call is in the activity, with its address", || {
        let path = format!("/api/v1/accounts/{id}/activity?limit=100");
        let activity = server.call("GET", &path).bearer(&server.admin()).send().expect(200).json();
        let calls = activity["items"].as_array().unwrap().iter().filter(|event| event["kind"] == "call");
        let statuses: Vec<_> = calls
            .map(|event| {
                assert_eq!(event["client_address"], "127.0.0.1");
                event["details"]["status"].as_u64().unwrap()
            })
            .collect();
        statuses == [200, 401, 404, 403, 403, 200, 201]
    });
}
