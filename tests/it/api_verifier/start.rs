//! What a start refuses, and what it leaves behind.

use std::time::Duration;

use countermark::Verifier;
use countermark::api_node::{Builder, StartError};
use countermark::store::schema::Schema;
use serde_json::json;

use super::{allow, an_account, for_issuer, is_ready, of, user, verdict};
use crate::app::{App, ISSUER, eventually};

async fn refused(builder: Builder) -> StartError {
    builder.start().await.map(|_| ()).unwrap_err()
}

/// The rules of a verifier without those for this kind of key.
fn rules_without(app: &App, key: &str) -> Vec<String> {
    let rules = Schema::new(&app.prefix).verifier_rules();
    rules.into_iter().filter(|rule| !(rule.starts_with('~') && rule.ends_with(key))).collect()
}

#[tokio::test]
async fn nobody_is_let_in_by_the_store_of_another_issuer_that_comes_late() {
    let (app, directory) = (App::start().await, tempfile::tempdir().unwrap());
    let (keys, socket) = (directory.path().join("jwks.json"), directory.path().join("redis.sock"));
    of(&app, &keys).await;
    let node = for_issuer("https://other.test", &app)
        .redis(format!("unix:{}", socket.display()))
        .also_accept_issuers([ISSUER.to_owned()])
        .audience(ISSUER)
        .key_set_file(&keys)
        .start_with(app.clock.clone())
        .await
        .unwrap();
    std::os::unix::fs::symlink(app.redis.socket(), &socket).unwrap();
    let why = node.ready(Duration::from_secs(2)).await.unwrap_err().to_string();
    assert!(why.contains(ISSUER) && why.contains("https://other.test"), "{why}");
    let ci = json!({"username": "ci", "role": "auditor", "audiences": [ISSUER], "valid_for_months": 6});
    let ci = app.create(ci).await;
    assert_eq!(verdict(&node, ci.token()).await, "store_unavailable");
    assert!(node.reserve().is_err());
}

#[tokio::test]
async fn a_user_that_may_not_do_what_a_verifier_does_is_told_at_the_start() {
    let (app, directory) = (App::start().await, tempfile::tempdir().unwrap());
    let keys = directory.path().join("jwks.json");
    for key in [":log", ":heads", ":leases", ":nodes"] {
        let builder = of(&app, &keys).await;
        allow(&app, &rules_without(&app, key)).await;
        let error = refused(builder).await;
        assert!(matches!(&error, StartError::Redis(why) if why.contains("acl verifier")), "{key}: {error}");
    }
    for command in ["+evalsha", "+xadd", "+hset", "+hget", "+hdel", "+xread", "+mget"] {
        let builder = of(&app, &keys).await;
        let rules = Schema::new(&app.prefix)
            .verifier_rules()
            .into_iter()
            .map(|rule| if rule.starts_with('(') { rule.replace(&format!("{command} "), "") } else { rule });
        allow(&app, &rules.filter(|rule| rule != command).collect::<Vec<_>>()).await;
        let error = refused(builder).await;
        assert!(matches!(&error, StartError::Redis(why) if why.contains("acl verifier")), "{command}: {error}");
    }
    // Nothing was written by all that trying.
    assert_eq!(app.redis.run::<u64>(&["HLEN", &app.key("leases")]).await, 1);
}

#[tokio::test]
async fn a_node_that_could_not_begin_decides_nothing_and_takes_no_event() {
    let (app, directory) = (App::start().await, tempfile::tempdir().unwrap());
    let socket = directory.path().join("redis.sock");
    let builder = of(&app, &directory.path().join("jwks.json")).await.redis(format!("unix:{}", socket.display()));
    allow(&app, &rules_without(&app, ":log")).await;
    let node = builder.max_staleness(Duration::ZERO).start_with(app.clock.clone()).await.unwrap();
    let ci = an_account(&app).await;
    assert!(node.reserve().is_err());
    std::os::unix::fs::symlink(app.redis.socket(), &socket).unwrap();
    let why = node.ready(Duration::from_secs(2)).await.unwrap_err().to_string();
    assert!(why.contains("acl verifier"), "{why}");
    assert_eq!(verdict(&node, ci.token()).await, "store_unavailable");
    assert!(node.reserve().is_err());
    allow(&app, &Schema::new(&app.prefix).verifier_rules()).await;
    assert!(is_ready(&node).await);
    assert_eq!(verdict(&node, ci.token()).await, "let in");
    assert!(node.reserve().is_ok());
}

#[tokio::test]
async fn a_start_that_fails_leaves_no_connection_behind() {
    let (app, directory) = (App::start().await, tempfile::tempdir().unwrap());
    let keys = directory.path().join("jwks.json");
    of(&app, &keys).await;
    for _ in 0..3 {
        let error = refused(for_issuer("https://other.test", &app).key_set_file(&keys)).await;
        assert!(matches!(error, StartError::Issuer { .. }), "{error}");
    }
    let mark = format!("user={} ", user(&app));
    eventually("no connection is left", || async {
        let list: String = app.redis.run(&["CLIENT", "LIST"]).await;
        !list.lines().any(|line| line.contains(&mark))
    })
    .await;
}

#[tokio::test]
async fn f1_more_staleness_than_the_dataset_allows_is_told_at_the_start() {
    let (app, directory) = (App::start().await, tempfile::tempdir().unwrap());
    let keys = directory.path().join("jwks.json");
    app.redis.run::<u64>(&["HSET", &app.key("meta"), "lease_ceiling_ms", "1000"]).await;
    let error = refused(of(&app, &keys).await.max_staleness(Duration::from_millis(1001))).await;
    assert!(error.to_string().starts_with("max_staleness: ") && error.to_string().contains("1000 ms"), "{error}");
    let builder = of(&app, &keys).await.max_staleness(Duration::from_secs(1));
    assert!(is_ready(&builder.start_with(app.clock.clone()).await.unwrap()).await);
}

#[tokio::test]
async fn each_setting_that_can_not_be_is_named() {
    let plain = || Verifier::builder(ISSUER).redis("redis://127.0.0.1:1");
    for (setting, builder) in [
        ("command_timeout", plain().command_timeout(Duration::ZERO)),
        ("audit_queue", plain().audit_queue(0)),
        ("firehose_max_entries", plain().firehose_max_entries(0)),
        ("also_accept_issuers", plain().also_accept_issuers(["tokens.example.com".to_owned()])),
        ("also_accept_issuers", plain().also_accept_issuers(["http://tokens.example.com".to_owned()])),
        ("key_set_url", plain().key_set_url("https://reader:SECRET@127.0.0.1:1/jwks.json")),
        ("key_set_url", plain().key_set_url("https://SECRET@127.0.0.1:1/jwks.json")),
    ] {
        let error = refused(builder).await.to_string();
        assert!(error.starts_with(&format!("{setting}: ")) && !error.contains("SECRET"), "{error}");
    }
}
