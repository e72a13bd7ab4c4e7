//! The processes that verify tokens.

use serde_json::json;

use super::seen::{is_sound, shows};
use super::{admin, visitor};
use crate::app::{App, eventually};

#[tokio::test]
async fn each_node_is_told_with_its_lease() {
    let app = App::start().await;
    let browser = admin(&app).await;
    let page = browser.get("/console/nodes", 200).await;
    is_sound(&page);
    shows(&page, &["node-1", "https://127.0.0.1", "of 500 ms", "<dd>1</dd>"]);
    app.stands_still().await;
    eventually("its lease is over", || async { browser.get("/console/nodes", 200).await.text.contains("Over</span>") })
        .await;
    app.redis.run::<u64>(&["DEL", &app.key("nodes"), &app.key("leases")]).await;
    shows(&browser.get("/console/nodes", 200).await, &["No node is there"]);
}

#[tokio::test]
async fn many_nodes_come_in_parts_and_what_they_say_of_themselves_is_text() {
    let app = App::start().await;
    app.goes().await;
    for number in 0..60 {
        let id = format!("00000000-0000-7000-8000-0000000000{number:02}");
        let said =
            json!({ "name": format!("n{number:02}<script>"), "version": "\"><img src=x>", "address": "\u{202e}" });
        app.redis.run::<u64>(&["HSET", &app.key("nodes"), &id, &said.to_string()]).await;
        app.redis.run::<u64>(&["HSET", &app.key("leases"), &id, "1 0 0-0 1700000000000 5"]).await;
    }
    let browser = admin(&app).await;
    let page = browser.get("/console/nodes", 200).await;
    is_sound(&page);
    shows(
        &page,
        &[
            "n00&#60;script",
            "n49&#60;script",
            "Looks everything up",
            "<dd>300</dd>",
            "cursor=00000000-0000-7000-8000-000000000049",
        ],
    );
    assert!(!page.text.contains("n50&#60;script"));
    let page = browser.get("/console/nodes?cursor=00000000-0000-7000-8000-000000000049", 200).await;
    is_sound(&page);
    shows(&page, &["n50&#60;script", "n59&#60;script", "First page"]);
}

#[tokio::test]
async fn it_takes_the_permission() {
    let app = App::start().await;
    is_sound(&visitor(&app, "stranger", &["audit:read", "keys:read"]).await.get("/console/nodes", 403).await);
    is_sound(&visitor(&app, "reader", &["nodes:read"]).await.get("/console/nodes", 200).await);
}
