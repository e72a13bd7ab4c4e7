//! How the audit stands.

use std::time::Duration;

use countermark::audit::checkpoint::Checkpoint;
use countermark::authority::{Archive, ArchivePlace, Archiving, Checkpoints};
use countermark::store::schema::shard_of;
use serde_json::{Value, json};

use crate::app::{App, Setup, eventually};

async fn status(app: &App) -> Value {
    app.admin().get("/audit/status", 200).await.json
}

/// The chain of the test's node.
fn own(status: &Value) -> Value {
    status["chains"].as_array().unwrap().iter().find(|chain| chain["node"] == "node-1").cloned().unwrap_or_default()
}

/// Until every act is linked, and every event written.
async fn quiet(app: &App) {
    eventually("all is written", || async {
        let unlinked: u64 = app.redis.run(&["HLEN", &app.key("unlinked")]).await;
        unlinked == 0 && app.authority.node().recorder().counters().waiting() == 0
    })
    .await;
    app.settled().await;
}

#[tokio::test]
async fn what_is_signed_is_told_with_the_key_that_signed_it() {
    let app = App::start().await;
    quiet(&app).await;
    let told = status(&app).await;
    assert_eq!(told["checkpoint"], json!(null));
    assert_eq!(own(&told)["state"], "waiting");

    let mut known = Checkpoints::default();
    quiet(&app).await;
    app.authority.checkpoint(&mut known).await.unwrap();
    let told = status(&app).await;
    let checkpoint = &told["checkpoint"];
    assert_eq!(
        (&checkpoint["number"], &checkpoint["verified"], &checkpoint["problem"]),
        (&json!(1), &json!(true), &json!(null))
    );
    assert_eq!((&checkpoint["chains"], &checkpoint["age_seconds"]), (&json!(1), &json!(0)));
    let set = app.nobody().door("GET", "/.well-known/jwks.json", 200).await;
    let of_audit = set["keys"].as_array().unwrap().iter().find(|key| !key["key_ops"].is_null()).unwrap();
    assert_eq!(checkpoint["key_id"], of_audit["kid"]);
    let chain = own(&told);
    assert_eq!((&chain["state"], &chain["block"]), (&json!("signed"), &chain["signed_block"]));
    assert_eq!((&told["lost"], &told["unlinked_acts"], &told["complete"]), (&json!([]), &json!(0), &json!(true)));

    app.clock.advance(Duration::from_secs(60));
    quiet(&app).await;
    let told = status(&app).await;
    assert_eq!((&told["checkpoint"]["age_seconds"], &own(&told)["state"]), (&json!(60), &json!("waiting")));
}

#[tokio::test]
async fn what_was_signed_and_is_gone_is_told() {
    let app = App::start().await;
    quiet(&app).await;
    let mut known = Checkpoints::default();
    app.authority.checkpoint(&mut known).await.unwrap();
    let heads = format!("{{{}:a{}}}:heads", app.prefix, shard_of("node-1"));
    let head: String = app.redis.run(&["HGET", &heads, "node-1"]).await;
    app.redis.run::<u64>(&["HDEL", &heads, "node-1"]).await;
    let told = status(&app).await;
    assert_eq!(own(&told)["state"], "missing");
    assert_eq!((&told["lost"], &told["alarms"]), (&json!([]), &json!(0)));
    // Whoever signs next has noticed.
    app.authority.checkpoint(&mut known).await.unwrap();
    let told = status(&app).await;
    assert_eq!((&told["lost"][0]["node"], &told["alarms"]), (&json!("node-1"), &json!(1)));
    app.redis.run::<u64>(&["HSET", &heads, "node-1", &head]).await;

    // A checkpoint that nobody has signed.
    let key = app.key("checkpoints");
    let entries: Vec<(String, Vec<String>)> = app.redis.run(&["XREVRANGE", &key, "+", "-", "COUNT", "1"]).await;
    let text = &entries[0].1[1];
    assert!(Checkpoint::key_id_of(text).is_some());
    let (head, tail) = text.split_at(text.len() - 9);
    let other = if tail.starts_with('A') { "B" } else { "A" };
    let forged = format!("{head}{other}{}", &tail[1..]);
    app.redis.run::<String>(&["XADD", &key, "*", "c", &forged]).await;
    let checkpoint = status(&app).await["checkpoint"].clone();
    assert_eq!((&checkpoint["verified"], &checkpoint["number"]), (&json!(false), &json!(null)));
    assert!(checkpoint["problem"].as_str().unwrap().contains("signature"), "{checkpoint}");
    app.redis.run::<String>(&["XADD", &key, "*", "c", "<script>"]).await;
    let checkpoint = status(&app).await["checkpoint"].clone();
    assert_eq!((&checkpoint["verified"], &checkpoint["key_id"]), (&json!(false), &json!(null)));
}

#[tokio::test]
async fn how_far_the_activity_logs_are_is_told() {
    let app = App::start().await;
    quiet(&app).await;
    let lag = async || {
        let told = status(&app).await;
        let all = told["streams"].as_array().unwrap().clone();
        assert_eq!(all.len(), 5);
        all.iter().map(|stream| stream["activity_lag_seconds"].as_u64().unwrap()).max().unwrap()
    };
    assert!(lag().await < 2);
    app.stop_filler();
    let shard = format!("{{{}:a2}}:log", app.prefix);
    let earlier = countermark::clock::Clock::now(&countermark::clock::SystemClock).timestamp_millis() - 30_000;
    app.redis.run::<String>(&["XADD", &shard, &format!("{earlier}-0"), "b", "{}", "e", ""]).await;
    let lagging = lag().await;
    assert!((30..60).contains(&lagging), "{lagging}");
    // Taken up and not finished is not there yet.
    app.redis.run::<redis::Value>(&["XREADGROUP", "GROUP", "activity", "x", "STREAMS", &shard, ">"]).await;
    assert!(lag().await >= 30);
    app.start_filler();
    eventually("they have come on", || async { lag().await < 30 }).await;
}

#[tokio::test]
async fn how_far_the_archive_is_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let archive = Archive::Here(ArchivePlace {
        directory: directory.path().to_owned(),
        segment_bytes: 1 << 20,
        after: Duration::ZERO,
    });
    let app = App::with(Setup { archive, ..Setup::default() }).await;
    quiet(&app).await;
    let of_acts = async || {
        let told = status(&app).await;
        told["streams"].as_array().unwrap().iter().find(|stream| stream["name"] == "acts").unwrap()["archive"].clone()
    };
    assert_eq!(of_acts().await, json!(null));
    let (mut known, mut archiving) = (Checkpoints::default(), Archiving::default());
    app.authority.checkpoint(&mut known).await.unwrap();
    app.authority.archive(&mut archiving).await.unwrap();
    let told = of_acts().await;
    assert_eq!((&told["is_on"], &told["segment"], &told["node"]), (&json!(true), &json!(1), &json!("node-1")));
    assert!(told["archived_up_to"].is_string(), "{told}");
    let lag = app.admin().get("/overview", 200).await["audit"]["archive_lag_seconds"].clone();
    assert!(lag.as_u64().unwrap() < 60, "{lag}");
}

#[tokio::test]
async fn how_far_each_sink_is_is_told() {
    let app = App::start().await;
    quiet(&app).await;
    assert_eq!(status(&app).await["sinks"], json!([]));
    let hold = Duration::from_secs(60);
    assert!(app.store.hold_sink("siem", "me", hold).await.unwrap());
    let begin = app.store.first_of_sink(true).await.unwrap();
    assert!(app.store.move_sink("siem", "me", &begin).await.unwrap());
    app.redis.run::<u64>(&["HSET", &app.key("sinks"), "unreadable", "{"]).await;
    let told = status(&app).await["sinks"].clone();
    assert_eq!((&told[0]["name"], &told[0]["is_delivered"]), (&json!("siem"), &json!(true)));
    assert!(told[0]["behind_entries"].as_u64().unwrap() > 1 && told[0]["lag_seconds"].as_u64().unwrap() < 60, "{told}");
    let unreadable = json!({ "name": "unreadable", "is_delivered": false, "behind_entries": null, "lag_seconds": 0 });
    assert_eq!(told[1], unreadable);

    quiet(&app).await;
    let end = app.store.first_of_sink(false).await.unwrap();
    assert!(app.store.move_sink("siem", "me", &end).await.unwrap());
    assert!(app.store.hold_sink("siem", "me", Duration::ZERO).await.unwrap());
    let told = app.admin().get("/overview", 200).await["audit"]["sinks"][0].clone();
    let is = (&told["is_delivered"], &told["lag_seconds"]);
    // The call itself may have come meanwhile.
    assert_eq!(is, (&json!(false), &json!(0)));
    assert!(told["behind_entries"].as_u64().unwrap() <= 1, "{told}");
}
