//! The library in a process of its own, beside a server that it knows by its URL, its CA and their Redis.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countermark::Verifier;
use countermark::api_node::Builder;
use serde_json::json;

use crate::machine::Machine;
use crate::redis::Redis;
use crate::server::Server;

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
