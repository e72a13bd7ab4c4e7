//! F3: what can't be known within the staleness bound is refused, never guessed.

use std::time::Duration;

use serde_json::json;

use crate::app::{Actor, App, Setup, eventually};
use crate::redis_server::RedisServer;

async fn alone() -> App {
    App::with(Setup { redis: RedisServer::start(), ..Setup::default() }).await
}

/// F4: without a bound, the same fence.
async fn alone_without_a_bound() -> App {
    App::with(Setup { redis: RedisServer::start(), max_staleness: Duration::ZERO, ..Setup::default() }).await
}

async fn all_doors_are_closed(app: &App, actor: &Actor) {
    // Until the lease is over, memory decides.
    app.clock.advance(Duration::from_millis(500));
    for path in ["/verify", "/verify/x", "/api/v1/self", "/api/v1/accounts"] {
        let answer = actor.door("GET", path, 503).await;
        assert_eq!(answer.reason(), "store_unavailable", "{path}");
        assert_eq!(answer.header("retry-after"), "1");
    }
    let form = format!("token={}", actor.token());
    assert_eq!(actor.form("/oauth2/introspect", &form, 503).await.reason(), "store_unavailable");
    assert_eq!(app.nobody().form("/oauth2/revoke", &form, 503).await.reason(), "store_unavailable");
    let body = json!({ "username": "x", "role": "admin", "valid_for_months": 6 });
    assert_eq!(actor.post("/accounts", body, 503).await.reason(), "store_unavailable");
}

#[tokio::test]
async fn f3_a_replica_answers_no_look_up() {
    a_replica_answers_no_look_up(alone().await).await;
}

#[tokio::test]
async fn f4_a_replica_answers_no_look_up_where_everything_is_looked_up() {
    a_replica_answers_no_look_up(alone_without_a_bound().await).await;
}

async fn a_replica_answers_no_look_up(app: App) {
    let (admin, old) = (app.admin(), app.account("ci", &[]).await);
    admin.regenerate("ci").await;
    // It still holds every record and would answer a plain GET.
    app.redis.run::<()>(&["REPLICAOF", "192.0.2.1", "1"]).await;
    all_doors_are_closed(&app, &admin).await;
    assert_eq!(old.verdict().await, "store_unavailable");
    app.redis.run::<()>(&["REPLICAOF", "NO", "ONE"]).await;
    eventually("the primary is believed again", || async { admin.verdict().await == "allowed" }).await;
    assert_eq!(old.verdict().await, "superseded");
}

#[tokio::test]
async fn a_token_that_cannot_be_looked_up_is_not_taken_for_dead() {
    use countermark::authority::Fate;
    let app = alone().await;
    let (admin, old) = (app.admin(), app.account("ci", &[]).await);
    admin.regenerate("ci").await;
    assert_eq!(app.authority.fate_of(admin.token()).await, Fate::Good);
    assert_eq!(app.authority.fate_of(old.token()).await, Fate::Dead);
    assert_eq!(app.authority.fate_of("").await, Fate::Dead);
    app.redis.run::<()>(&["REPLICAOF", "192.0.2.1", "1"]).await;
    app.clock.advance(Duration::from_millis(500));
    assert_eq!(app.authority.fate_of(admin.token()).await, Fate::Unknown);
    assert_eq!(app.authority.fate_of(old.token()).await, Fate::Unknown);
}

#[tokio::test]
async fn f3_a_primary_cut_off_from_its_replicas_answers_no_look_up() {
    let app = alone().await;
    let admin = app.admin();
    app.redis.run::<()>(&["CONFIG", "SET", "min-replicas-to-write", "1"]).await;
    all_doors_are_closed(&app, &admin).await;
    app.redis.run::<()>(&["CONFIG", "SET", "min-replicas-to-write", "0"]).await;
    eventually("it is believed again", || async { admin.verdict().await == "allowed" }).await;
}

#[tokio::test]
async fn r3_a_store_that_lost_everything_lets_nobody_in() {
    let app = alone().await;
    let admin = app.admin();
    eventually("every shard is read", || async { app.redis.run::<Vec<String>>(&["KEYS", "*}:log"]).await.len() == 4 })
        .await;
    app.redis.run::<()>(&["FLUSHALL"]).await;
    // Another dataset at the same address is not ours, and nothing is written into it, neither before somebody calls nor after.
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let keys: Vec<String> = app.redis.run(&["KEYS", "*"]).await;
        assert!(keys.is_empty(), "{keys:?}");
        all_doors_are_closed(&app, &admin).await;
        // As whoever has a block to write does once its head is gone.
        assert!(app.store.claim_blocks("a-node").await.is_err());
    }
}

#[tokio::test]
async fn a_lost_record_is_an_unknown_account() {
    let app = App::start().await;
    let ci = app.account("ci", &[]).await;
    app.redis.run::<()>(&["DEL", &app.state_key(&ci.id)]).await;
    assert_eq!(ci.verdict().await, "unknown_account");
}

#[tokio::test]
async fn a_damaged_record_lets_nobody_in() {
    let app = App::start().await;
    let ci = app.account("ci", &[]).await;
    let key = app.state_key(&ci.id);
    let good: String = app.redis.run(&["GET", &key]).await;
    // The last: a restriction that a newer version might write.
    let with = |member: &str| good.replace('}', &format!(",{member}}}"));
    for bad in [
        "x",
        "1-1",
        "1-1 ",
        "1-1 {}",
        "1-1 []",
        &good[..good.len() - 1],
        &with(r#""s":"other""#),
        &with(r#""g":1"#),
        &with(r#""x":1"#),
    ] {
        app.redis.run::<()>(&["SET", &key, bad]).await;
        assert_eq!(ci.verdict().await, "store_unavailable", "{bad}");
    }
    app.redis.run::<()>(&["SET", &key, &good]).await;
    assert_eq!(ci.verdict().await, "allowed");
}

#[tokio::test]
async fn what_cannot_be_read_is_left_out_of_lists() {
    let app = App::start().await;
    let (admin, ci) = (app.admin(), app.account("ci", &[]).await);
    let lists = ["/accounts", "/nodes", "/audit", "/accounts/admin/activity"];
    app.redis.run::<()>(&["SET", &app.key(&format!("p:{}", ci.id)), "{"]).await;
    for entry in ["[]", "x", "{}"] {
        app.redis.run::<()>(&["HSET", &app.key("nodes"), entry, entry]).await;
        app.redis.run::<()>(&["HSET", &app.key("leases"), entry, entry]).await;
    }
    app.redis.run::<()>(&["XADD", &app.key("acts"), "*", "v", "1-1", "e", "x"]).await;
    app.redis.run::<()>(&["XADD", &app.key(&format!("acts:{}", admin.id)), "*", "v", "1-1", "e", "{}"]).await;
    for list in lists {
        let items = admin.get(list, 200).await["items"].as_array().unwrap().len();
        // The app is a node of its own.
        assert_eq!(items, if list == "/nodes" { 1 } else { items.max(1) }, "{list}");
    }
}

#[tokio::test]
async fn one_damaged_shard_does_not_keep_the_others_from_the_activity_logs() {
    let app = alone().await;
    let ci = app.account("ci", &[]).await;
    let other = (countermark::store::schema::shard_of("node-1") + 1) % countermark::store::schema::SHARDS;
    app.redis.run::<()>(&["SET", &format!("{{{}:a{other}}}:log", app.prefix), "damaged"]).await;
    ci.verdict().await;
    eventually("it is in the log", || async {
        let admin = app.admin();
        let log = admin.get("/accounts/ci/activity", 200).await;
        log["items"].as_array().unwrap().iter().any(|event| event["kind"] == "call")
    })
    .await;
}

#[tokio::test]
async fn an_idle_service_writes_little() {
    let app = alone().await;
    app.settled().await;
    let changes = || async {
        let info: String = app.redis.run(&["INFO", "persistence"]).await;
        let line = info.lines().find_map(|line| line.strip_prefix("rdb_changes_since_last_save:")).unwrap().to_owned();
        line.trim().parse::<u64>().unwrap()
    };
    let (began, before) = (std::time::Instant::now(), changes().await);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let writes = changes().await - before;
    // However long a second is on a busy machine.
    let took = began.elapsed();
    // Three renewals a lease.
    assert!(writes <= (4 + 6) * took.as_secs().max(1), "{writes} writes within {took:?}");
}

#[tokio::test]
async fn readiness_tells_what_is_missing() {
    let app = alone().await;
    let ready = app.nobody().door("GET", "/readyz", 200).await;
    assert_eq!(ready["ready"], true);
    app.edge.drain();
    let stopping = app.nobody().door("GET", "/readyz", 503).await;
    assert_eq!((&stopping["ready"], &stopping["checks"]["store"]), (&json!(false), &json!("ok")));
    app.nobody().door("GET", "/healthz", 200).await;
}
