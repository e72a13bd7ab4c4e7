//! How the audit stands.

use countermark::authority::Checkpoints;
use countermark::store::schema::shard_of;

use super::admin;
use super::seen::{is_sound, shows};
use crate::app::{App, eventually};

#[tokio::test]
async fn how_it_stands_is_told_in_a_sentence_first() {
    let app = App::start().await;
    let browser = admin(&app).await;
    let page = browser.get("/console/audit/status", 200).await;
    is_sound(&page);
    shows(&page, &["Nothing is signed yet."]);
    eventually("all acts are linked", || async { app.redis.run::<u64>(&["HLEN", &app.key("unlinked")]).await == 0 })
        .await;
    app.settled().await;
    let mut known = Checkpoints::default();
    app.authority.checkpoint(&mut known).await.unwrap();
    let page = browser.get("/console/audit/status", 200).await;
    is_sound(&page);
    shows(&page, &["All that was signed is there.", "genuine", ">node-1</bdi>", "1 chain", "Calls, shard 0", "Acts"]);
    app.clock.advance(std::time::Duration::from_secs(600));
    shows(&browser.get("/console/audit/status", 200).await, &["older than it should be"]);
    let heads = format!("{{{}:a{}}}:heads", app.prefix, shard_of("node-1"));
    app.redis.run::<u64>(&["HDEL", &heads, "node-1"]).await;
    let page = browser.get("/console/audit/status", 200).await;
    shows(&page, &["Something that was signed is not there any more", "Missing"]);
    app.redis.run::<u64>(&["HSET", &heads, "<b>evil</b>", "c 1 1 h 1-0 "]).await;
    is_sound(&browser.get("/console/audit/status", 200).await);
    app.redis.run::<String>(&["XADD", &app.key("checkpoints"), "*", "c", "<script>"]).await;
    let page = browser.get("/console/audit/status", 200).await;
    is_sound(&page);
    shows(&page, &["The last checkpoint is none of ours", "it has not the form of a checkpoint"]);
}
