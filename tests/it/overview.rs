//! Everything at a glance: what was counted before, each call once, and nothing that the caller may not see.

use std::time::Duration;

use chrono::TimeDelta;
use countermark::clock::{Clock as _, rfc3339};
use serde_json::{Value, json};

use crate::app::{Actor, App, DAY, Setup, eventually};
use crate::usage::{another_shard, call, deliver_again, write};

async fn overview(actor: &Actor) -> Value {
    actor.get("/overview", 200).await.json
}

async fn count(app: &App) {
    app.authority.count_accounts().await.unwrap();
}

#[tokio::test]
async fn who_lacks_a_permission_sees_nothing_of_its_part() {
    let app = App::start().await;
    count(&app).await;
    let parts = ["accounts", "calls", "receipts", "audit", "signing", "nodes"];
    let shown = async |actor: &Actor| -> Vec<&str> {
        let overview = overview(actor).await;
        assert_eq!(overview.as_object().unwrap().len(), parts.len() + 1, "{overview}");
        parts.into_iter().filter(|part| !overview[*part].is_null()).collect()
    };
    for (permission, expected) in [
        ("accounts:read", vec!["accounts"]),
        ("keys:read", vec!["signing"]),
        ("nodes:read", vec!["nodes"]),
        ("audit:read", vec!["calls", "receipts", "audit"]),
        ("accounts:write", vec![]),
    ] {
        let name = permission.replace(':', "-");
        assert_eq!(shown(&app.account(&name, &[permission]).await).await, expected, "{permission}");
    }
    // A permission in a team is none without one.
    app.role("all", &["*:*"]).await;
    app.role("none", &[]).await;
    app.team("t").await;
    let body = json!({ "username": "in-team", "role": "none", "teams": { "t": "all" }, "valid_for_months": 6 });
    assert_eq!(shown(&app.create(body).await).await, Vec::<&str>::new());
    assert_eq!(shown(&app.admin()).await, parts);

    let body = json!({ "username": "other", "role": "all", "audiences": ["other"], "valid_for_months": 6 });
    assert_eq!(app.create(body).await.get("/overview", 401).await.reason(), "wrong_audience");
}

#[tokio::test]
async fn accounts_are_counted_by_state_now_and_then() {
    let app = App::start().await;
    let admin = app.admin();
    assert_eq!(overview(&admin).await["accounts"]["census"], json!(null));
    app.role("r", &[]).await;
    let new = async |name: &str, months: u32| {
        app.create(json!({ "username": name, "role": "r", "valid_for_months": months })).await
    };
    new("long", 24).await;
    new("short", 6).await;
    new("gone", 6).await;
    new("off", 6).await;
    admin.delete("/accounts/gone/token", 200).await;
    admin.patch("/accounts/off", json!({ "status": "disabled" }), 200).await;
    count(&app).await;
    let states = async || overview(&admin).await["accounts"]["census"]["service_accounts"].clone();
    let expected = |active, expired| json!({ "total": 5, "disabled": 1, "without_token": 1, "expired": expired, "active": active });
    assert_eq!(states().await, expected(3, 0));

    // A count is good for a minute.
    new("later", 24).await;
    admin.delete("/accounts/later", 200).await;
    admin.delete("/accounts/short/token", 200).await;
    app.clock.advance(Duration::from_secs(59));
    count(&app).await;
    assert_eq!(states().await, expected(3, 0));
    app.clock.advance(Duration::from_secs(1));
    count(&app).await;
    let after = json!({ "total": 5, "disabled": 1, "without_token": 2, "expired": 0, "active": 2 });
    assert_eq!(states().await, after);
    let counted = overview(&admin).await["accounts"]["census"]["counted_at"].clone();
    assert_eq!(counted, rfc3339::text(&app.clock.now()));
}

#[tokio::test]
async fn tokens_that_expire_are_told_by_day_until_they_have() {
    let app = App::start().await;
    let admin = app.admin();
    app.role("r", &[]).await;
    for (name, months) in [("a", 6), ("b", 6), ("off", 6), ("c", 12)] {
        app.create(json!({ "username": name, "role": "r", "valid_for_months": months })).await;
    }
    admin.patch("/accounts/off", json!({ "status": "disabled" }), 200).await;
    let expires_at: chrono::DateTime<chrono::Utc> =
        app.look("a").await["token"]["expires_at"].as_str().unwrap().parse().unwrap();
    let within = async || {
        count(&app).await;
        let accounts = overview(&admin).await["accounts"].clone();
        let told = ["expiring_within_7_days", "expiring_within_30_days", "expiring_within_60_days"]
            .map(|name| accounts[name].as_u64().unwrap());
        (told, accounts["census"].clone())
    };
    let go_to = |before: TimeDelta| {
        let ahead = (expires_at - before) - app.clock.now();
        app.clock.step_wall(ahead);
    };
    go_to(TimeDelta::days(61));
    assert_eq!(within().await.0, [0, 0, 0]);
    for (days, expected) in [(60, [0, 0, 2]), (31, [0, 0, 2]), (30, [0, 2, 2]), (7, [2, 2, 2]), (1, [2, 2, 2])] {
        go_to(TimeDelta::days(days));
        let (told, census) = within().await;
        assert_eq!(told, expected, "{days}");
        assert_eq!(census["expiring"], json!({ expires_at.date_naive().to_string(): 2 }));
    }
    go_to(TimeDelta::zero());
    let (told, census) = within().await;
    assert_eq!((told, &census["service_accounts"]["expired"]), ([0, 0, 0], &json!(2)));
}

#[tokio::test]
async fn one_issuer_counts_and_a_count_that_nobody_can_read_is_made_anew() {
    let app = App::start().await;
    app.redis.run::<String>(&["SET", &app.key("counting"), "another", "PX", "60000"]).await;
    count(&app).await;
    let census = async || overview(&app.admin()).await["accounts"]["census"].clone();
    assert_eq!(census().await, json!(null));
    app.redis.run::<u64>(&["DEL", &app.key("counting")]).await;
    app.redis.run::<String>(&["SET", &app.key("census"), "{"]).await;
    assert_eq!(census().await, json!(null));
    count(&app).await;
    assert_eq!(census().await["service_accounts"]["active"], 1);
    assert_eq!(app.redis.run::<u64>(&["EXISTS", &app.key("counting")]).await, 0, "the turn is given back");
}

#[tokio::test]
async fn dead_tokens_in_use_are_told_until_nobody_has_tried_them_for_a_week() {
    let app = App::start().await;
    let admin = app.admin();
    for name in ["quiet", "ci"] {
        let old = app.account(name, &[]).await;
        admin.regenerate(name).await;
        if name == "ci" {
            old.door("GET", "/verify", 401).await;
        }
    }
    app.settled().await;
    count(&app).await;
    let census = async || overview(&admin).await["accounts"]["census"].clone();
    let told = census().await;
    assert_eq!((&told["dead_tokens_in_use"], told["last_dead_tokens"].as_array().unwrap().len()), (&json!(1), 1));
    let ci = &told["last_dead_tokens"][0];
    assert_eq!((&ci["username"], &ci["calls"]), (&json!("ci"), &json!(1)));
    app.clock.advance(8 * DAY);
    count(&app).await;
    assert_eq!(census().await["dead_tokens_in_use"], 0);
}

#[tokio::test]
async fn each_call_is_counted_once_in_its_minute_and_its_hour() {
    let app = App::start().await;
    let ci = app.account("ci", &[]).await.id;
    app.settled().await;
    let before = app.store.calls().await.unwrap();
    let now = app.clock.now();
    let (minute, hour) = (now.timestamp() / 60, now.timestamp() / 3600);
    let at = |minutes: i64, refused: Option<&str>| {
        call(&ci, now - TimeDelta::minutes(minutes), refused, ["/", "a", "192.0.2.1"])
    };
    // Late ones are counted when they were, not when they came; and of those that are too old, nothing.
    let blocks = [
        vec![at(0, None), at(0, None), at(0, Some("superseded")), at(5, None)],
        vec![at(5, Some("expired")), at(119, None), at(240, None), at(60 * 25, None), at(60 * 40, None)],
        // A clock that is far ahead is not believed.
        vec![at(-600, None)],
    ];
    for (number, events) in blocks.iter().enumerate() {
        write(&app, u16::try_from(number).unwrap(), None, events).await;
        app.settled().await;
    }
    deliver_again(&app).await;
    write(&app, another_shard(), None, &[at(5, None)]).await;
    app.start_filler();
    app.settled().await;

    let calls = app.store.calls().await.unwrap();
    let of = |told: &std::collections::BTreeMap<i64, _>, unit: i64| {
        told.get(&unit).map_or((0, 0), |counts: &countermark::store::CallCounts| (counts.allowed, counts.refused))
    };
    let more = |unit: i64| {
        let (had, have) = (of(&before.minutes, unit), of(&calls.minutes, unit));
        (have.0 - had.0, have.1 - had.1)
    };
    // What is not believed counts when it was written, which may be a minute later by now.
    let (present, next) = (more(minute), more(minute + 1));
    assert_eq!((present.0 + next.0, present.1 + next.1), (3, 1));
    assert_eq!([more(minute - 5), more(minute - 119)], [(2, 1), (1, 0)]);
    assert_eq!([of(&calls.minutes, minute - 240), of(&calls.hours, hour - 40)], [(0, 0), (0, 0)]);
    let sum = |told: &countermark::store::CallsInTime| told.hours.values().map(|counts| counts.allowed).sum::<u64>();
    assert_eq!(sum(&calls) - sum(&before), 8);
    assert_eq!(of(&calls.hours, hour - 25), (1, 0));

    let told = overview(&app.admin()).await["calls"].clone();
    let (minutes, hours) = (told["minutes"].as_array().unwrap(), told["hours"].as_array().unwrap());
    assert_eq!((minutes.len(), hours.len()), (60, 24));
    assert_eq!(minutes[54]["allowed"], of(&calls.minutes, minute - 5).0);
    assert_eq!(minutes[54]["from"], rfc3339::text(&chrono::DateTime::from_timestamp((minute - 5) * 60, 0).unwrap()));
}

#[tokio::test]
async fn counts_of_calls_don_t_grow() {
    let app = App::start().await;
    let ci = app.account("ci", &[]).await.id;
    let now = app.clock.now();
    // Two days, block by block, as if they had been written then.
    for ago in (0..2 * 24 * 6).rev() {
        let time = now - TimeDelta::minutes(10 * ago);
        let events: Vec<_> = (0..10)
            .map(|minute| {
                call(&ci, time + TimeDelta::minutes(minute), (minute == 0).then_some("expired"), ["/", "a", "::1"])
            })
            .collect();
        write(&app, another_shard(), Some(time.timestamp_millis()), &events).await;
    }
    app.settled().await;
    let key = format!("{{{}:a{}}}:calls", app.prefix, another_shard());
    let fields: u64 = app.redis.run(&["HLEN", &key]).await;
    assert!(fields <= 768, "{fields}");
    let kept: u64 = app.redis.run(&["TTL", &key]).await;
    assert!(kept > 26 * 3600 && kept <= 27 * 3600, "{kept}");
}

#[tokio::test]
async fn the_last_receipts_are_told_with_who_did_what() {
    let app = App::start().await;
    let admin = app.admin();
    app.role("r", &[]).await;
    app.team("t").await;
    app.create(json!({ "username": "ci", "role": "r", "valid_for_months": 6 })).await;
    admin.regenerate("ci").await;
    let prepared = admin.post("/keys", json!({}), 201).await["key"]["id"].clone();
    let told = async || overview(&admin).await["receipts"].as_array().unwrap().clone();
    eventually("all are noted", || async { told().await.len() == 5 }).await;
    // They are noted beside, so that two may change places.
    let mut last = told().await;
    last.sort_by_key(|given| {
        given["receipt"]["epoch"]
            .as_str()
            .unwrap()
            .split('-')
            .map(|part| part.parse::<u64>().unwrap())
            .collect::<Vec<_>>()
    });
    let kinds: Vec<_> = last.iter().map(|given| (given["kind"].as_str().unwrap(), given["name"].clone())).collect();
    let expected = [
        ("role.set", json!("r")),
        ("team.set", json!("t")),
        ("account.create", json!("ci")),
        ("token.regenerate", json!("ci")),
        ("key.prepare", prepared),
    ];
    assert_eq!(kinds, expected);
    for given in &last {
        assert_eq!(given["actor"], "admin");
        assert!(given["receipt"]["waited_ms"].is_u64() && given["request_id"].is_string(), "{given}");
    }
    for number in 0..25 {
        app.role(&format!("r{number}"), &[]).await;
    }
    eventually("there are no more than twenty", || async {
        let told = told().await;
        told.len() == 20 && told.iter().all(|given| given["kind"] == "role.set")
    })
    .await;
}

#[tokio::test]
async fn the_signing_key_tells_what_comes_after_it() {
    let setup =
        Setup { publish_ahead: TimeDelta::hours(24), rotate_every: Some(TimeDelta::days(90)), ..Setup::default() };
    let app = App::with(setup).await;
    let admin = app.admin();
    let began = app.clock.now();
    let signing = async || overview(&admin).await["signing"].clone();
    let told = signing().await;
    assert_eq!(told["key"]["state"], "active");
    let at = |time| json!(rfc3339::text(&time));
    let prepare =
        json!({ "step": "prepare", "key_id": null, "at": at(began + TimeDelta::days(89)), "is_automatic": true });
    assert_eq!((&told["next"], &told["age_seconds"]), (&prepare, &json!(0)));
    app.clock.advance(DAY);
    let id = admin.post("/keys", json!({}), 201).await["key"]["id"].clone();
    let told = signing().await;
    let activate =
        json!({ "step": "activate", "key_id": id, "at": at(began + TimeDelta::days(90)), "is_automatic": true });
    assert_eq!((&told["next"], &told["age_seconds"], &told["published"]), (&activate, &json!(86_400), &json!(2)));

    let app = App::start().await;
    let admin = app.admin();
    assert_eq!(overview(&admin).await["signing"]["next"], json!(null));
    let began = app.clock.now();
    let id = admin.post("/keys", json!({}), 201).await["key"]["id"].clone();
    let activate =
        json!({ "step": "activate", "key_id": id, "at": at(began + TimeDelta::days(1)), "is_automatic": false });
    assert_eq!(overview(&admin).await["signing"]["next"], activate);
}

#[tokio::test]
async fn nodes_are_counted_by_their_lease() {
    let app = App::start().await;
    let nodes = overview(&app.admin()).await["nodes"].clone();
    let counts =
        |nodes: &Value| ["total", "with_lease", "overdue", "without_memory"].map(|name| nodes[name].as_u64().unwrap());
    assert_eq!(counts(&nodes), [1, 1, 0, 0]);
    app.stands_still().await;
    eventually("its lease is over", || async { counts(&overview(&app.admin()).await["nodes"]) == [1, 0, 1, 0] }).await;
}
