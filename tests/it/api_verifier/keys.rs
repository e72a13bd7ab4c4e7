//! The key set: where it comes from, how long it is good, and the copy of it. By the real clock: a lease has to end.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use countermark::Verifier;
use countermark::verify::KeyState;
use serde_json::{Value, json};

use super::{NOWHERE, an_account, change_keys, is_ready, of, publish, verdict};
use crate::app::{App, eventually};

/// Lets a node keep a copy of the service's keys, and changes what it says.
async fn a_copy(app: &App, directory: &Path, change: impl FnOnce(&mut Value)) -> std::path::PathBuf {
    let (keys, copy) = (directory.join("jwks.json"), directory.join("copy.json"));
    let node = of(app, &keys).await.keep_keys_in(&copy).start().await.unwrap();
    assert!(is_ready(&node).await);
    eventually("a copy was kept", || async { copy.exists() }).await;
    node.stop().await;
    let mut kept = serde_json::from_str(&std::fs::read_to_string(&copy).unwrap()).unwrap();
    change(&mut kept);
    std::fs::write(&copy, kept.to_string()).unwrap();
    copy
}

async fn a_node_with(app: &App, directory: &Path, copy: &Path) -> Verifier {
    let builder = of(app, &directory.join("jwks.json")).await;
    builder.keep_keys_in(copy).start().await.unwrap()
}

/// Nothing but the copy is there.
async fn a_node_alone_with(app: &App, directory: &Path, copy: &Path) -> Verifier {
    let builder = of(app, &directory.join("jwks.json")).await.key_set_url(NOWHERE);
    builder.keep_keys_in(copy).start().await.unwrap()
}

#[tokio::test]
async fn a_node_starts_from_its_copy_while_the_issuer_is_away() {
    let (app, directory) = (App::start().await, tempfile::tempdir().unwrap());
    let copy = a_copy(&app, directory.path(), |_| {}).await;
    let node = a_node_alone_with(&app, directory.path(), &copy).await;
    assert!(is_ready(&node).await);
    let ci = an_account(&app).await;
    assert_eq!(verdict(&node, ci.token()).await, "let in");
    // The change may be a revocation, and the copy does not know.
    change_keys(&app, KeyState::Retiring, true).await;
    eventually("nobody is let in", || async { verdict(&node, ci.token()).await == "store_unavailable" }).await;
}

#[tokio::test]
async fn a_copy_of_a_higher_version_than_the_stores_hides_no_revoked_key() {
    let (app, directory) = (App::start().await, tempfile::tempdir().unwrap());
    let copy = a_copy(&app, directory.path(), |kept| kept["key_set"]["countermark_version"] = json!(99)).await;
    let node = a_node_with(&app, directory.path(), &copy).await;
    assert!(is_ready(&node).await);
    let ci = an_account(&app).await;
    assert_eq!(verdict(&node, ci.token()).await, "let in");
    change_keys(&app, KeyState::Revoked, true).await;
    eventually("the issuer knows", || async { ci.verdict().await == "revoked_key" }).await;
    publish(&app, &directory.path().join("jwks.json")).await;
    eventually("the key's token is dead", || async { verdict(&node, ci.token()).await == "revoked_key" }).await;
}

#[tokio::test]
async fn a_copy_of_other_keys_keeps_nobody_out_for_longer_than_one_reading() {
    let (app, directory) = (App::start().await, tempfile::tempdir().unwrap());
    let other = countermark::token::SigningKey::generate(countermark::token::Algorithm::ES256).unwrap();
    let other = serde_json::to_value(other.public().jwk()).unwrap();
    let copy = a_copy(&app, directory.path(), |kept| {
        kept["key_set"] = json!({"keys": [other], "countermark_version": 7});
    })
    .await;
    let node = a_node_with(&app, directory.path(), &copy).await;
    assert!(is_ready(&node).await);
    let ci = an_account(&app).await;
    assert_eq!(verdict(&node, ci.token()).await, "let in");
}

#[tokio::test]
async fn a_copy_that_is_not_the_stores_is_not_decided_by() {
    let (app, directory) = (App::start().await, tempfile::tempdir().unwrap());
    let ci = an_account(&app).await;
    for (what, pointer, value) in [
        ("of a later version", "/key_set/countermark_version", json!(99)),
        ("of another dataset", "/dataset", json!("another")),
        ("of nobody knows which", "/dataset", json!(null)),
        ("of another issuer", "/issuer", json!("https://other.test")),
    ] {
        let copy = a_copy(&app, directory.path(), |kept| *kept.pointer_mut(pointer).unwrap() = value).await;
        let node = a_node_alone_with(&app, directory.path(), &copy).await;
        assert!(node.ready(Duration::from_millis(1500)).await.is_err(), "{what}");
        assert_eq!(verdict(&node, ci.token()).await, "store_unavailable", "{what}");
    }
}

#[tokio::test]
async fn a_node_that_has_no_copy_yet_keeps_one_though_the_store_came_after_the_keys() {
    let (app, directory) = (App::start().await, tempfile::tempdir().unwrap());
    let (copy, socket) = (directory.path().join("copy.json"), directory.path().join("redis.sock"));
    let builder = of(&app, &directory.path().join("jwks.json")).await.redis(format!("unix:{}", socket.display()));
    let node = builder.keep_keys_in(&copy).start().await.unwrap();
    eventually("the keys were read", || async { node.counts().key_set_reads > 0 }).await;
    std::os::unix::fs::symlink(app.redis.socket(), &socket).unwrap();
    assert!(is_ready(&node).await);
    eventually("a copy was kept", || async { copy.exists() }).await;
}

#[tokio::test]
async fn a_copy_that_somebody_else_could_write_is_not_used() {
    use std::os::unix::fs::PermissionsExt as _;
    let (app, directory) = (App::start().await, tempfile::tempdir().unwrap());
    let copy = a_copy(&app, directory.path(), |_| {}).await;
    let mode = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    mode(directory.path(), 0o777);
    let node = a_node_alone_with(&app, directory.path(), &copy).await;
    assert!(node.ready(Duration::from_millis(1500)).await.is_err());
    // Where each may remove his own alone, the file's owner is what counts.
    mode(directory.path(), 0o1777);
    assert!(is_ready(&a_node_alone_with(&app, directory.path(), &copy).await).await);
}

#[tokio::test]
async fn k2_the_last_key_revoked_is_a_revoked_key_and_no_faulty_set() {
    let (app, directory) = (App::start().await, tempfile::tempdir().unwrap());
    let keys = directory.path().join("jwks.json");
    let node = of(&app, &keys).await.start().await.unwrap();
    assert!(is_ready(&node).await);
    let ci = an_account(&app).await;
    assert_eq!(verdict(&node, ci.token()).await, "let in");
    change_keys(&app, KeyState::Revoked, false).await;
    eventually("the issuer knows", || async { ci.verdict().await == "revoked_key" }).await;
    publish(&app, &keys).await;
    eventually("the node knows", || async { verdict(&node, ci.token()).await == "revoked_key" }).await;
}

#[tokio::test]
async fn an_issuer_that_hangs_holds_no_call_for_long() {
    let (app, directory) = (App::start().await, tempfile::tempdir().unwrap());
    let copy = a_copy(&app, directory.path(), |_| {}).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/jwks", listener.local_addr().unwrap());
    let connections = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&connections);
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((connection, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            held.push(connection);
        }
    });
    let builder = of(&app, &directory.path().join("jwks.json")).await.key_set_url(url);
    let node = builder.keep_keys_in(&copy).start().await.unwrap();
    assert!(is_ready(&node).await);
    let ci = an_account(&app).await;
    change_keys(&app, KeyState::Retiring, true).await;
    eventually("the lease is over", || async { !node.counts().has_lease }).await;
    let before = connections.load(Ordering::SeqCst);
    let began = Instant::now();
    for _ in 0..3 {
        let calls: Vec<_> = (0..20)
            .map(|_| {
                let (node, token) = (node.clone(), ci.token().to_owned());
                tokio::spawn(async move {
                    let began = Instant::now();
                    assert_eq!(verdict(&node, &token).await, "store_unavailable");
                    began.elapsed()
                })
            })
            .collect();
        for call in calls {
            let took = call.await.unwrap();
            assert!(took < Duration::from_millis(1800), "{took:?}");
        }
    }
    let (took, made) = (began.elapsed(), connections.load(Ordering::SeqCst) - before);
    assert!(made <= 2 + took.as_secs(), "{made} connections in {took:?}");
}

#[tokio::test]
async fn a_set_that_lags_behind_the_store_is_not_read_for_every_call() {
    let (app, directory) = (App::start().await, tempfile::tempdir().unwrap());
    let keys = directory.path().join("jwks.json");
    let node = of(&app, &keys).await.start().await.unwrap();
    assert!(is_ready(&node).await);
    let ci = an_account(&app).await;
    change_keys(&app, KeyState::Retiring, true).await;
    eventually("the lease is over", || async { !node.counts().has_lease }).await;
    let before = node.counts().key_set_reads;
    let began = Instant::now();
    for _ in 0..30 {
        assert_eq!(verdict(&node, ci.token()).await, "store_unavailable");
    }
    let (took, reads) = (began.elapsed(), node.counts().key_set_reads - before);
    assert!(reads <= 6 + took.as_secs(), "{reads} readings in {took:?}");
    publish(&app, &keys).await;
    eventually("the set is read soon", || async { verdict(&node, ci.token()).await == "let in" }).await;
}
