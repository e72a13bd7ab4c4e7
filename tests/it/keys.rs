//! Signing keys: what is published, what is counted, how they lie in the store.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countermark::authority::{Authority, BootstrapError, Metrics};
use countermark::clock::SystemClock;
use countermark::keyring::{KeyEntry, Read};
use countermark::store::KeyringChange;
use countermark::token::{Algorithm, SigningKey};
use countermark::verify::KeyState;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::app::{App, Setup, a_master_key, eventually, of_tokens};

/// What was read and changed, in the place of what was read, whatever the rules of its keys' life are.
pub async fn replace(authority: &Authority, read: &Read) {
    let sealed = authority.keys().seal(read).unwrap();
    let change = KeyringChange::of(read.version, &sealed);
    authority.store().replace_keyring(&change, None, false).await.unwrap();
}

/// RFC 7638, section 3.
fn thumbprint(key: &Value) -> String {
    let members: &[&str] = match key["kty"].as_str().unwrap() {
        "EC" => &["crv", "kty", "x", "y"],
        "OKP" => &["crv", "kty", "x"],
        "RSA" => &["e", "kty", "n"],
        other => panic!("{other}"),
    };
    let text: Vec<String> = members.iter().map(|name| format!("\"{name}\":{}", key[*name])).collect();
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, format!("{{{}}}", text.join(",")).as_bytes()))
}

#[tokio::test]
async fn each_algorithm_signs_tokens_that_its_published_key_verifies() {
    for (algorithm, name, members) in [
        (Algorithm::ES256, "ES256", vec!["alg", "crv", "kid", "kty", "use", "x", "y"]),
        (Algorithm::EdDSA, "EdDSA", vec!["alg", "crv", "kid", "kty", "use", "x"]),
        (Algorithm::RS256, "RS256", vec!["alg", "e", "kid", "kty", "n", "use"]),
        (Algorithm::PS256, "PS256", vec!["alg", "e", "kid", "kty", "n", "use"]),
    ] {
        let app = App::with(Setup { algorithm, ..Setup::default() }).await;
        let set = app.nobody().door("GET", "/.well-known/jwks.json", 200).await;
        assert_eq!(set.header("content-type"), "application/jwk-set+json");
        assert_eq!(set.header("cache-control"), "public, max-age=300, must-revalidate");
        let keys = of_tokens(&set.json);
        let [key] = keys.as_slice() else { panic!("{set:?}") };
        let mut found: Vec<&str> = key.as_object().unwrap().keys().map(String::as_str).collect();
        found.sort_unstable();
        assert_eq!(found, members, "nothing but the public half");
        assert_eq!((&key["alg"], &key["use"]), (&json!(name), &json!("sig")));
        assert_eq!(key["kid"], thumbprint(key));

        let admin = app.admin();
        let header: Value =
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(admin.token().split('.').next().unwrap()).unwrap()).unwrap();
        assert_eq!(header, json!({ "alg": name, "typ": "at+jwt", "kid": key["kid"] }));
        assert_eq!(admin.verdict().await, "allowed");
        let again = admin.regenerate("admin").await;
        assert_eq!(admin.verdict().await, "superseded");
        assert_eq!(admin.holding(&again).verdict().await, "allowed");
    }
}

#[tokio::test]
async fn whoever_has_the_key_set_is_not_sent_it_again() {
    let app = App::start().await;
    let tag = app.nobody().door("GET", "/.well-known/jwks.json", 200).await.header("etag").to_owned();
    for (given, status) in [(tag.clone(), 304), (format!("W/{tag}"), 304), ("*".into(), 304), ("\"x\"".into(), 200)] {
        let request = app.nobody().request("GET", "/.well-known/jwks.json").header("if-none-match", given);
        let answer = app.client.answer(request.body(Body::empty()).unwrap()).await.expect(status);
        assert_eq!(answer.header("etag"), tag);
        assert_eq!(answer.text.is_empty(), status == 304);
    }
}

#[tokio::test]
async fn the_count_of_living_tokens_is_exact() {
    let app = App::start().await;
    let admin = app.admin();
    let count = async || admin.get("/keys", 200).await["items"][0]["live_tokens"].as_u64().unwrap();
    let key = admin.get("/keys", 200).await["items"][0].clone();
    assert_eq!(
        (&key["state"], &key["algorithm"], &key["next_step"]),
        (&json!("active"), &json!("ES256"), &json!(null))
    );
    assert_eq!(count().await, 1);
    app.account("ci", &[]).await;
    app.account("other", &[]).await;
    assert_eq!(count().await, 3);
    admin.regenerate("ci").await;
    assert_eq!(count().await, 3);
    let overlap = json!({ "valid_for_months": 24, "overlap_seconds": 60 });
    let longest = admin.post("/accounts/ci/token", overlap.clone(), 201).await;
    assert_eq!(count().await, 4);
    assert_eq!(admin.get("/keys", 200).await["items"][0]["last_expiry"], longest["expires_at"]);
    admin.post("/accounts/ci/token", overlap, 201).await;
    assert_eq!(count().await, 4);
    // By the clock alone, before anybody tidies up.
    app.clock.advance(Duration::from_secs(61));
    assert_eq!(count().await, 3);
    // A disabled account's counts: it can be enabled again.
    admin.patch("/accounts/ci", json!({ "status": "disabled" }), 200).await;
    assert_eq!(count().await, 3);
    admin.delete("/accounts/ci/token", 200).await;
    assert_eq!(count().await, 2);
    admin.delete("/accounts/other", 200).await;
    assert_eq!(count().await, 1);
    admin.delete("/accounts/ci", 200).await;
    assert_eq!(count().await, 1);
    let members: Vec<String> =
        app.redis.run(&["ZRANGE", &app.key(&format!("live:{}", key["id"].as_str().unwrap())), "0", "-1"]).await;
    assert_eq!(members, [format!("{}:1", admin.id)]);
}

#[tokio::test]
async fn keys_are_sealed_and_another_master_key_opens_nothing() {
    let setup = Setup { max_staleness: Duration::ZERO, ..Setup::default() };
    let (redis, prefix, master_key) = (Arc::clone(&setup.redis), setup.prefix.clone(), setup.master_key.clone());
    let app = App::with(setup).await;
    let document: Vec<u8> = redis.run(&["HGET", &app.key("keyring"), "document"]).await;
    let text = String::from_utf8_lossy(&document).into_owned();
    for word in ["private", "public", "ES256", app.admin().get("/keys", 200).await["items"][0]["id"].as_str().unwrap()]
    {
        assert!(!text.contains(word), "{word}");
    }
    let stop = CancellationToken::new();
    let start = async |master_key: String| {
        let setup = Setup { redis: Arc::clone(&redis), prefix: prefix.clone(), master_key, ..Setup::default() };
        let store = Arc::new(setup.open_store(Arc::new(countermark::clock::SystemClock), &stop));
        store.connected().await;
        setup.begin(store, Arc::new(SystemClock), Arc::new(Metrics::new()), "node-2").await
    };
    match start(a_master_key()).await {
        Err(BootstrapError::Refused(why)) => assert!(why.contains("--master-key-file"), "{why}"),
        other => panic!("{:?}", other.err()),
    }
    let after: Vec<u8> = redis.run(&["HGET", &app.key("keyring"), "document"]).await;
    assert_eq!(document, after);
    assert!(start(master_key).await.is_ok());

    // Whoever can write to the store alone brings no key in, and no older document back.
    redis.run::<()>(&["HSET", &app.key("keyring"), "version", "2"]).await;
    assert_ne!(app.admin().verdict().await, "allowed");
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn k5_two_issuers_on_an_empty_store_end_with_one_key() {
    for _ in 0..15 {
        let setup = Setup::default();
        let stop = CancellationToken::new();
        let start = |node: &'static str| {
            let store = Arc::new(setup.open_store(Arc::new(countermark::clock::SystemClock), &stop));
            let setup = Setup {
                redis: Arc::clone(&setup.redis),
                prefix: setup.prefix.clone(),
                master_key: setup.master_key.clone(),
                ..Setup::default()
            };
            tokio::spawn(async move {
                store.connected().await;
                let metrics = Arc::new(Metrics::new());
                let (authority, _writer) = setup
                    .begin(store, Arc::new(SystemClock), metrics, node)
                    .await
                    .unwrap_or_else(|error| panic!("{error}"));
                let made = authority.create_first_admin(|_, _| Ok(())).await.unwrap();
                (authority, made)
            })
        };
        let (one, two) = (start("node-1"), start("node-2"));
        let ((one, one_made), (two, two_made)) = (one.await.unwrap(), two.await.unwrap());
        assert!(one_made != two_made, "one of them made the first admin");
        assert_eq!(one.issuer(), two.issuer());
        let ids = |authority: &countermark::authority::Authority| {
            authority.keys().now().facts.iter().map(|facts| facts.id.clone()).collect::<Vec<_>>()
        };
        assert_eq!((ids(&one).len(), ids(&one)), (1, ids(&two)));
        let accounts: u64 = setup.redis.run(&["ZCARD", &format!("{{{}}}:list", setup.prefix)]).await;
        assert_eq!(accounts, 1);
        stop.cancel();
    }
}

#[tokio::test]
async fn a_key_that_another_issuer_put_in_is_used_at_once() {
    let app = App::start().await;
    let admin = app.admin();
    let old = app.account("ci", &[]).await;
    let keys = app.authority.keys();
    let new = SigningKey::generate(Algorithm::EdDSA).unwrap();
    let new_id = new.public().key_id().to_owned();
    let mut read = keys.document().await.unwrap();
    read.document.keys[0].state = KeyState::Retiring;
    read.document.keys.push(KeyEntry::active(&new, countermark::clock::Clock::now(app.clock.as_ref())));
    replace(&app.authority, &read).await;

    let issued = admin.post("/accounts/ci/token", json!({ "valid_for_months": 6, "overlap_seconds": 60 }), 201).await;
    assert_eq!(issued["account"]["token"]["key_id"], new_id);
    assert_ne!(issued["account"]["previous_token"]["key_id"], new_id);
    assert_eq!(old.verdict().await, "allowed");
    assert_eq!(old.holding(&issued.text_of("token")).verdict().await, "allowed");
    let set = app.nobody().door("GET", "/.well-known/jwks.json", 200).await;
    assert_eq!(of_tokens(&set.json).len(), 2);
    let algorithms = app.nobody().door("GET", "/.well-known/oauth-authorization-server", 200).await;
    assert_eq!(algorithms["id_token_signing_alg_values_supported"], json!(["ES256", "EdDSA"]));
    // Counted where each belongs: the admin's and the overlapping one, and the new one.
    let counts = async || {
        let keys = admin.get("/keys", 200).await["items"].clone();
        [0, 1].map(|place| keys[place]["live_tokens"].as_u64().unwrap())
    };
    assert_eq!(counts().await, [2, 1]);
    admin.regenerate("ci").await;
    assert_eq!(counts().await, [1, 1]);
    let retiring = admin.get("/keys", 200).await["items"][0].clone();
    assert_eq!(retiring["next_step"]["action"], "retire");
    assert_eq!(retiring["next_step"]["possible_at"], retiring["last_expiry"]);
    // Retired: gone from the set, and what it signed is not believed.
    let mut read = keys.document().await.unwrap();
    read.document.keys[0].state = KeyState::Retired;
    replace(&app.authority, &read).await;
    eventually("the key is not believed", || async { admin.verdict().await == "revoked_key" }).await;
}

#[tokio::test]
async fn k6_made_up_key_ids_make_nobody_read_the_keys_over_and_over() {
    // The renewals of a lease would be counted as well.
    let redis = crate::redis_server::RedisServer::start();
    let app = App::with(Setup { redis, max_staleness: Duration::ZERO, ..Setup::default() }).await;
    let admin = app.admin();
    let reads = async || {
        let stats: String = app.redis.run(&["INFO", "commandstats"]).await;
        let line = stats.lines().find(|line| line.starts_with("cmdstat_hmget:")).unwrap_or_default().to_owned();
        line.split(['=', ',']).nth(1).and_then(|count| count.parse::<u64>().ok()).unwrap_or(0)
    };
    // It has said that it is there, and won't again so soon.
    let is_there = async || !admin.get("/nodes", 200).await["items"].as_array().unwrap().is_empty();
    eventually("the node is in the table", is_there).await;
    let (header, rest) = admin.token().split_once('.').unwrap();
    let mut header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
    let before = reads().await;
    for number in 0..50 {
        header["kid"] = json!(format!("{number:A>43}"));
        let token = format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header.to_string()));
        assert_eq!(app.bearer(&token).verdict().await, "invalid_token");
    }
    let read = reads().await - before;
    assert!(read <= 1, "{read} times");
    assert_eq!(admin.verdict().await, "allowed");
}

#[tokio::test]
async fn k6_whoever_waits_for_a_read_of_the_keys_takes_what_comes_of_it() {
    let redis = crate::redis_server::RedisServer::start();
    let setup = Setup { redis, command_timeout: Duration::from_millis(1100), ..Setup::default() };
    let stop = CancellationToken::new();
    let store = Arc::new(setup.open_store(Arc::new(countermark::clock::SystemClock), &stop));
    store.connected().await;
    let metrics = Arc::new(Metrics::new());
    let (authority, _writer) = setup.begin(store, Arc::new(SystemClock), metrics, "node-1").await.unwrap();
    let keys = authority.keys();
    let version = keys.now().set.version();
    setup.redis.run::<()>(&["CLIENT", "PAUSE", "60000", "ALL"]).await;
    // To call it unknown would be to call a genuine token of a new key a guess.
    let began = std::time::Instant::now();
    let unknown = futures_util::future::join_all((0..5).map(|_| keys.for_unknown()));
    let newer = futures_util::future::join_all((0..5).map(|_| keys.at_least(version + 1)));
    let (unknown, newer) = tokio::join!(unknown, newer);
    assert!(unknown.iter().chain(&newer).all(Result::is_err), "nobody knows whether there is such a key");
    let took = began.elapsed();
    assert!(took < Duration::from_millis(2 * 1100 + 500), "they wait for one read, not for one each: {took:?}");
    stop.cancel();
}
