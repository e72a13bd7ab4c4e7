//! K5: the sealed signing keys, and whoever writes to the store by hand; the master key, changed while issuers run.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countermark::authority::{BootstrapError, Error, MasterKeyChange, Metrics};
use countermark::clock::SystemClock;
use countermark::keyring::{KeyringError, MasterKey, Opened};
use countermark::store::{KeyringChange, StoreError};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::app::{App, Setup, eventually};

/// The version and the sealed document, as they lie in the store.
async fn lying(app: &App) -> (String, String) {
    let words = ["HMGET", &app.key("keyring"), "version", "document"];
    app.redis.run(&words).await
}

async fn put(app: &App, (version, document): &(String, String)) {
    let words = ["HSET", &app.key("keyring"), "version", version, "document", document];
    app.redis.run::<u64>(&words).await;
}

/// How another start on the same store ends.
async fn start(app: &App, mark: Option<PathBuf>) -> Result<(), String> {
    let setup = Setup {
        redis: Arc::clone(&app.redis),
        prefix: app.prefix.clone(),
        master_key: app.master_key.clone(),
        keys_mark: mark,
        ..Setup::default()
    };
    let stop = CancellationToken::new();
    let store = Arc::new(setup.open_store(Arc::new(SystemClock), &stop));
    store.connected().await;
    let started = setup.begin(store, Arc::new(SystemClock), Arc::new(Metrics::new()), "node-2").await;
    stop.cancel();
    match started {
        Ok(_) => Ok(()),
        Err(BootstrapError::Refused(why)) => Err(why),
        Err(error) => panic!("{error}"),
    }
}

/// It goes on with what it has in memory, changes nothing, and says why.
async fn goes_on_and_refuses(app: &App, what: &str) {
    let admin = app.admin();
    assert_eq!(admin.verdict().await, "allowed", "{what}");
    let before = lying(app).await;
    let refused = admin.post("/keys", json!({}), 503).await;
    assert_eq!(refused.reason(), "keys_unreadable", "{what}");
    assert_eq!(lying(app).await, before, "{what}");
    assert_eq!(admin.get("/keys", 200).await["items"].as_array().unwrap().len(), 2, "{what}");
    // Tokens are still issued, under the key in memory.
    let issued = admin.regenerate_whole("ci").await;
    assert_eq!(issued["account"]["token"]["generation"], Value::Null);
}

#[tokio::test]
async fn k5_an_older_document_and_a_changed_one_are_refused_while_the_keys_in_memory_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let mark = directory.path().join("keys-seen");
    let app = App::with(Setup { keys_mark: Some(mark.clone()), ..Setup::default() }).await;
    app.account("ci", &[]).await;
    let first = lying(&app).await;
    app.admin().post("/keys", json!({}), 201).await;
    let second = lying(&app).await;
    assert_ne!(first, second);

    put(&app, &first).await;
    let looked = app.authority.keys().look().await;
    assert!(matches!(looked, Err(KeyringError::RolledBack { found: 1, seen: 2, .. })), "{looked:?}");
    // Nothing depends on the version in the store being the newest one.
    assert_eq!(app.admin().verdict().await, "allowed");
    assert_eq!(app.admin().post("/keys", json!({}), 503).await.reason(), "keys_unreadable");
    let refused = start(&app, Some(mark.clone())).await.unwrap_err();
    for words in ["version 1", "version 2 was read before", mark.to_str().unwrap(), "Nothing was changed"] {
        assert!(refused.contains(words), "{refused}");
    }

    let Value::Object(sealed) = serde_json::from_str(&second.1).unwrap() else { panic!("{}", second.1) };
    let flipped = |text: &Value, place: usize| {
        let mut bytes = STANDARD.decode(text.as_str().unwrap()).unwrap();
        let place = place % bytes.len();
        bytes[place] ^= 1;
        Value::from(STANDARD.encode(bytes))
    };
    let mut body = sealed.clone();
    body["body"] = flipped(&body["body"], 100);
    let mut key = sealed.clone();
    key["keys"][0]["key"] = flipped(&key["keys"][0]["key"], 20);
    let mut nobodys = sealed.clone();
    nobodys["keys"] = json!([]);
    for (what, changed) in [("a bit of the body", body), ("a bit of its key", key), ("no key", nobodys)] {
        put(&app, &(second.0.clone(), Value::Object(changed).to_string())).await;
        assert!(matches!(app.authority.keys().look().await, Err(KeyringError::Sealed)), "{what}");
        goes_on_and_refuses(&app, what).await;
        assert!(start(&app, Some(mark.clone())).await.unwrap_err().contains("--master-key-file"), "{what}");
    }
    app.redis.run::<u64>(&["DEL", &app.key("keyring")]).await;
    let looked = app.authority.keys().look().await;
    assert!(matches!(looked, Err(KeyringError::RolledBack { found: 0, seen: 2, .. })), "{looked:?}");
    assert!(start(&app, Some(mark.clone())).await.unwrap_err().contains("version 0"));
    assert!(app.redis.run::<Vec<String>>(&["HKEYS", &app.key("keyring")]).await.is_empty(), "no key is made over them");

    put(&app, &second).await;
    assert!(app.authority.keys().look().await.is_ok());
    start(&app, Some(mark)).await.unwrap();
    app.admin().post("/keys", json!({}), 201).await;
}

fn write(file: &Path, key: &MasterKey) {
    let _ = std::fs::remove_file(file);
    key.write_new(file).unwrap();
}

#[tokio::test]
async fn the_master_key_is_changed_while_issuers_run() {
    let directory = tempfile::tempdir().unwrap();
    let (one, two) = (directory.path().join("one/master.key"), directory.path().join("two/master.key"));
    let (old, new) = (MasterKey::generate().unwrap(), MasterKey::generate().unwrap());
    write(&one, &old);
    write(&two, &old);
    let app = App::with(Setup { master_key_file: Some(one.clone()), ..Setup::default() }).await;
    let other = App::with(Setup {
        redis: Arc::clone(&app.redis),
        prefix: app.prefix.clone(),
        master_key_file: Some(two.clone()),
        node: "node-2",
        admin: Some(app.admin().token().to_owned()),
        clock: Some(Arc::clone(&app.clock)),
        ..Setup::default()
    })
    .await;
    let prepares = async |app: &App| app.admin().post("/keys", json!({}), 201).await;
    let issuer = &app.authority;
    // Not before it has begun.
    assert!(matches!(issuer.finish_master_key_change(&new).await, Err(Error::NotTheNewMasterKey)));
    assert_eq!(issuer.finish_master_key_change(&old).await.unwrap(), MasterKeyChange::FinishedBefore);
    assert_eq!(issuer.begin_master_key_change(&new).await.unwrap(), MasterKeyChange::Begun);
    assert_eq!(issuer.begin_master_key_change(&new).await.unwrap(), MasterKeyChange::BegunBefore);
    // Lost before it was anywhere: another one, or none.
    let third = MasterKey::generate().unwrap();
    assert_eq!(issuer.begin_master_key_change(&third).await.unwrap(), MasterKeyChange::Begun);
    assert!(matches!(issuer.finish_master_key_change(&new).await, Err(Error::NotTheNewMasterKey)));
    assert_eq!(issuer.abort_master_key_change(&old).await.unwrap(), MasterKeyChange::Finished);
    assert_eq!(issuer.begin_master_key_change(&new).await.unwrap(), MasterKeyChange::Begun);
    let both = lying(&app).await;
    // One has the new key by now, the other the old one; both read and write.
    write(&one, &new);
    prepares(&app).await;
    prepares(&other).await;
    // Whoever has the new one lets no third in any more.
    assert!(matches!(issuer.begin_master_key_change(&third).await, Err(Error::MasterKeyUnderWay)));
    assert!(matches!(issuer.finish_master_key_change(&old).await, Err(Error::NotTheNewMasterKey)));

    // Whoever can't follow is waited for until his lease is over.
    let clock = Arc::clone(&app.clock);
    let passing = tokio::spawn(async move {
        loop {
            clock.advance(Duration::from_millis(50));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let finished = issuer.finish_master_key_change(&new).await.unwrap();
    assert_eq!(finished, MasterKeyChange::Finished);
    assert_eq!(issuer.finish_master_key_change(&new).await.unwrap(), MasterKeyChange::FinishedBefore);
    prepares(&app).await;
    // Whoever was left out can't read the keys any more, and needs no restart once he can.
    assert_eq!(other.admin().post("/keys", json!({}), 503).await.reason(), "store_unavailable");
    write(&two, &new);
    eventually("it reads the keys again", || async { other.admin().verdict().await == "allowed" }).await;
    prepares(&other).await;
    passing.abort();
    // The old one opens nothing any more.
    let (version, sealed) = lying(&app).await;
    let dataset: String = app.redis.run(&["HGET", &app.key("meta"), "dataset"]).await;
    assert!(old.open(&dataset, version.parse().unwrap(), &sealed).is_err());
    assert!(new.open(&dataset, version.parse().unwrap(), &sealed).is_ok());
    let acts: redis::streams::StreamRangeReply = app.redis.run(&["XREVRANGE", &app.key("acts"), "+", "-"]).await;
    let lines: Vec<String> = acts.ids.iter().map(|entry| entry.get("e").unwrap()).collect();
    let changes: Vec<&String> = lines.iter().filter(|line| line.contains("\"key.master\"")).collect();
    let words = ["finished", "begun", "aborted", "begun", "begun"];
    assert_eq!(changes.len(), words.len());
    assert!(changes.iter().zip(words).all(|(line, word)| line.contains(word)), "{changes:?}");
    // Whoever has the old one, and what it opened once, brings nothing in that it opens.
    let seen: Opened = old.open(&dataset, both.0.parse().unwrap(), &both.1).unwrap();
    let next = version.parse::<u64>().unwrap() + 1;
    put(&app, &(next.to_string(), seen.envelope.seal(&dataset, next, &seen.text).unwrap())).await;
    assert!(matches!(issuer.keys().look().await, Err(KeyringError::Sealed)));
}

#[tokio::test]
async fn what_a_step_rests_on_is_looked_at_again_when_it_is_committed() {
    let app = App::start().await;
    let admin: countermark::account::AccountId = app.admin().id.parse().unwrap();
    let record = app.store.account(admin).await.unwrap().unwrap();
    let read = app.authority.keys().document().await.unwrap();
    let sealed = app.authority.keys().seal(&read).unwrap();
    let key = read.document.keys[0].id.clone();
    let now = chrono::DateTime::from_timestamp(0, 0).unwrap();
    let change = KeyringChange::of(read.version, &sealed);
    let before = lying(&app).await;
    // K2: a token that lives.
    let needed = KeyringChange { unneeded: Some((&key, now)), ..change.clone() };
    assert!(matches!(app.store.replace_keyring(&needed, None, false).await, Err(StoreError::InUse(1))));
    // The admin who must remain has changed since.
    let changed = app.admin().patch("/accounts/admin", json!({ "description": "changed" }), 200).await;
    assert_ne!(changed["account"]["version"], record.version.to_string());
    let without = KeyringChange { unneeded: None, remains: Some((admin, record.version)), ..change.clone() };
    assert!(matches!(app.store.replace_keyring(&without, None, false).await, Err(StoreError::Conflict)));
    // Another document came first.
    let late = KeyringChange { read: read.version - 1, ..change };
    assert!(matches!(app.store.replace_keyring(&late, None, false).await, Err(StoreError::Conflict)));
    assert_eq!(lying(&app).await, before);
}
