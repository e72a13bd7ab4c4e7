//! Keys are prepared, activated, retired and revoked under load: nobody who holds a living token notices.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use countermark::Verifier;
use serde_json::{Value, json};

use super::client;
use crate::machine::{Machine, finish};
use crate::redis::Redis;
use crate::server::Server;
use crate::until::soon;

/// How long a key is published before it signs: 24 h elsewhere. And how much faster the clients' clocks run, so that this is longer than the
/// ten minutes for which one of them keeps keys, as it should be.
const PUBLISH_AHEAD: &str = "7s";
const FASTER: &str = "100";
/// Of each client; the nodes verify besides.
const A_SECOND: &str = "250";

/// A client that was not written here.
struct Library {
    child: Child,
    asks: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Library {
    fn start(machine: &Machine, server: &Server, script: &str) -> Self {
        let mut command = client(machine, server, script, &[&server.issuer(), A_SECOND, FASTER]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (asks, answers) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, asks, answers }
    }

    /// From now on, and no look from before is under way.
    fn tell(&mut self, sign: char, token: &str) {
        writeln!(self.asks, "{sign}{token}").unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        assert_eq!(answer, "ok\n");
    }

    fn end(mut self) -> Value {
        drop(self.asks);
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        assert!(self.child.wait().unwrap().success());
        serde_json::from_str(&answer).unwrap()
    }
}

/// What the nodes see of the tokens that live.
#[derive(Default)]
struct Seen {
    /// Whoever looks holds it, so that a token that is taken out is no longer looked at.
    living: RwLock<Vec<String>>,
    verified: AtomicU64,
    refused: Mutex<Vec<String>>,
    ended: AtomicBool,
}

async fn verdict(node: &Verifier, token: &str) -> String {
    let call = node.call(node.request_id(), "GET", "/", None, None);
    match node.verify(&call, token, None, None).await {
        Ok(_) => "let in".to_owned(),
        Err(refused) => refused.refusal.reason.to_string(),
    }
}

fn look(node: &Verifier, runtime: &tokio::runtime::Runtime, seen: &Seen) {
    let mut number = 0;
    while !seen.ended.load(Ordering::SeqCst) {
        {
            let living = seen.living.read().unwrap();
            if let Some(token) = living.get(number % living.len().max(1)) {
                match runtime.block_on(verdict(node, token)).as_str() {
                    "let in" => _ = seen.verified.fetch_add(1, Ordering::SeqCst),
                    refused => seen.refused.lock().unwrap().push(refused.to_owned()),
                }
            }
        }
        number += 1;
        // About two hundred a second from each.
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Everybody who verifies, and the tokens.
struct Scene<'a> {
    issuers: [&'a Server; 2],
    admin: String,
    libraries: Vec<Library>,
    seen: Arc<Seen>,
    tokens: Vec<(String, String)>,
    turn: usize,
}

impl Scene<'_> {
    /// One issuer after the other.
    fn ask(&mut self, method: &str, path: &str, body: &Value, expected: u16) -> Value {
        self.turn += 1;
        let issuer = self.issuers[self.turn % 2];
        issuer.call(method, path).bearer(&self.admin).json(body).send().expect(expected).json()
    }

    fn lives(&mut self, token: &str) {
        self.seen.living.write().unwrap().push(token.to_owned());
        self.libraries.iter_mut().for_each(|library| library.tell('+', token));
    }

    fn lives_no_longer(&mut self, token: &str) {
        {
            let mut living = self.seen.living.write().unwrap();
            let Some(place) = living.iter().position(|living| living == token) else { return };
            living.remove(place);
        }
        self.libraries.iter_mut().for_each(|library| library.tell('-', token));
    }

    fn create(&mut self, username: &str) {
        let body = json!({ "username": username, "role": "auditor", "valid_for_months": 12 });
        let made = self.ask("POST", "/api/v1/accounts", &body, 201);
        let (id, token) = (made["account"]["id"].as_str().unwrap(), made["token"].as_str().unwrap());
        self.tokens.push((id.to_owned(), token.to_owned()));
        self.lives(token);
    }

    fn regenerate(&mut self, number: usize) {
        let (id, old) = self.tokens[number].clone();
        self.lives_no_longer(&old);
        let new = self.ask("POST", &format!("/api/v1/accounts/{id}/token"), &json!({ "valid_for_months": 12 }), 201);
        let new = new["token"].as_str().unwrap().to_owned();
        self.lives(&new);
        self.tokens[number].1 = new;
    }

    fn renew_the_admin(&mut self) {
        let id = self.ask("GET", "/api/v1/self", &json!({}), 200)["account"]["id"].as_str().unwrap().to_owned();
        let new = self.ask("POST", &format!("/api/v1/accounts/{id}/token"), &json!({ "valid_for_months": 12 }), 201);
        new["token"].as_str().unwrap().clone_into(&mut self.admin);
    }

    fn keys(&mut self) -> Vec<Value> {
        self.ask("GET", "/api/v1/keys", &json!({}), 200)["items"].as_array().unwrap().clone()
    }

    /// The next key signs, without force.
    fn rotate(&mut self, algorithm: &str) -> String {
        let prepared = self.ask("POST", "/api/v1/keys", &json!({ "algorithm": algorithm }), 201);
        let key = prepared["key"]["id"].as_str().unwrap().to_owned();
        let path = format!("/api/v1/keys/{key}/activate");
        let issuer = self.issuers[0];
        soon("the key is published for long enough", || {
            let answer = issuer.call("POST", &path).bearer(&self.admin).json(&json!({})).send();
            assert!(answer.status == 200 || answer.reason() == "too_early", "{answer:?}");
            answer.status == 200
        });
        key
    }
}

#[test]
fn nobody_who_holds_a_living_token_notices_that_keys_come_and_go() {
    let machine = Machine::new();
    let redis = Redis::start(&machine, &[]);
    let config = format!("[signing]\npublish_ahead = \"{PUBLISH_AHEAD}\"\n");
    let first = machine.serve().option("--store", redis.url()).config(&config).ready();
    let master = machine.path("data/keys/master.key");
    let second = machine.serve_in("data2").option("--store", redis.url()).option("--master-key-file", &master);
    let second = second.config(&config).ready();

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let nodes: Vec<Verifier> = runtime.block_on(async {
        let mut nodes = Vec::new();
        for _ in 0..3 {
            let builder = Verifier::builder(first.issuer()).redis(redis.url());
            let node = builder.ca_pem(std::fs::read(first.ca()).unwrap()).start().await.unwrap();
            node.ready(Duration::from_secs(10)).await.unwrap();
            nodes.push(node);
        }
        nodes
    });
    let (seen, began) = (Arc::new(Seen::default()), Instant::now());
    let told = std::thread::scope(|scope| {
        for node in &nodes {
            scope.spawn(|| look(node, &runtime, &seen));
        }
        let scripts = ["pyjwt_rotation.py", "jose_rotation.mjs"];
        let mut scene = Scene {
            issuers: [&first, &second],
            admin: first.admin(),
            libraries: scripts.map(|script| Library::start(&machine, &first, script)).into(),
            seen: Arc::clone(&seen),
            tokens: Vec::new(),
            turn: 0,
        };
        // So that whoever panics below does not leave them looking.
        let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for number in 0..6 {
                scene.create(&format!("ci-{number}"));
            }
            // Another algorithm, for half of them; the rest still have tokens of the first key.
            let leaked = scene.rotate("EdDSA");
            (0..3).for_each(|number| scene.regenerate(number));
            scene.rotate("ES256");
            scene.renew_the_admin();
            // The one between leaks: its tokens are dead when that is answered, at every node and every door.
            let dead: Vec<String> = scene.tokens[..3].iter().map(|(_, token)| token.clone()).collect();
            dead.iter().for_each(|token| scene.lives_no_longer(token));
            let path = format!("/api/v1/keys/{leaked}/revoke");
            let revoked = scene.ask("POST", &path, &json!({ "confirm": leaked }), 200);
            for token in &dead {
                for node in &nodes {
                    assert_eq!(runtime.block_on(verdict(node, token)), "revoked_key", "{}", revoked["receipt"]);
                }
                for issuer in [&first, &second] {
                    assert_eq!(issuer.verify(token).reason(), "revoked_key", "{}", revoked["receipt"]);
                }
            }
            assert_eq!(revoked["receipt"]["nodes_acknowledged"], 5, "{}", revoked["receipt"]);
            // The others get new tokens, and the first key retires by itself.
            (0..6).for_each(|number| scene.regenerate(number));
            soon("the first key is retired", || scene.keys()[0]["state"] == "retired");
            let keys = scene.keys();
            let states: Vec<&str> = keys.iter().map(|key| key["state"].as_str().unwrap()).collect();
            assert_eq!(states, ["retired", "revoked", "active"]);
            scene.libraries.into_iter().map(Library::end).collect::<Vec<_>>()
        }));
        seen.ended.store(true, Ordering::SeqCst);
        told.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    // How many that were: nobody is measured by it.
    let by_libraries: u64 = told.iter().map(|library| library["verified"].as_u64().unwrap()).sum();
    println!(
        "{by_libraries} by libraries, {} by nodes, in {:?}",
        seen.verified.load(Ordering::SeqCst),
        began.elapsed()
    );
    assert_eq!(*seen.refused.lock().unwrap(), Vec::<String>::new(), "a node refused a living token");
    assert!(seen.verified.load(Ordering::SeqCst) > 1_000, "{}", seen.verified.load(Ordering::SeqCst));
    for library in &told {
        assert_eq!(library["refused"], json!([]), "{library}");
        assert!(library["verified"].as_u64().unwrap() > 1_000, "{library}");
    }
    runtime.block_on(async {
        for node in nodes {
            node.stop().await;
        }
    });
    // Whoever reads the key set finds the one that signs.
    let listed = finish(machine.command().args(["key", "export"]), "").expect(0);
    assert!(listed.out.contains("BEGIN PUBLIC KEY"));
    first.stop();
    second.stop();
}
