//! Roll-ups: who uses an account's tokens, from where, without reading every call again.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use countermark::account::AccountId;
use countermark::audit::{Event, Outcome, kinds};
use countermark::clock::Clock as _;
use countermark::store::schema::shard_of;
use countermark::token::TokenId;
use serde_json::{Value, json};

use crate::app::{App, Setup, eventually};
use crate::redis_server::RedisServer;

const LIVE: &str = "00000000000000000000000000000001";
const DEAD: &str = "000000000000000000000000000000de";

/// Repeatable, and not in turns (xorshift).
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// A call of an account, as another node would tell of it.
pub fn call(account: &str, time: DateTime<Utc>, refused: Option<&str>, [path, agent, address]: [&str; 3]) -> Event {
    let mut event = Event::new(time, kinds::CALL, if refused.is_some() { Outcome::Refused } else { Outcome::Allowed });
    event.account_id = Some(account.parse::<AccountId>().unwrap());
    event.token_id = Some(if refused.is_some() { DEAD } else { LIVE }.parse::<TokenId>().unwrap());
    event.generation = Some(if refused.is_some() { 1 } else { 2 });
    event.reason = refused.map(str::to_owned);
    event.method = Some("GET".to_owned());
    event.path = Some(path.to_owned());
    event.user_agent = Some(agent.to_owned());
    event.client_address = Some(address.to_owned());
    event
}

/// Writes a block of another node. `at`: the entry's time in milliseconds; else the store's.
pub async fn write(app: &App, shard: u16, at: Option<i64>, events: &[Event]) {
    let lines: String = events.iter().map(|event| event.to_line() + "\n").collect();
    let id = at.map_or_else(|| "*".to_owned(), |at| format!("{at}-*"));
    let key = format!("{{{}:a{shard}}}:log", app.prefix);
    app.redis.run::<String>(&["XADD", &key, &id, "b", "{}", "e", &lines]).await;
}

/// A shard that the node of the test does not write to.
pub fn another_shard() -> u16 {
    (shard_of("node-1") + 1) % 4
}

async fn locks(app: &App) -> usize {
    let keys: Vec<String> = app.redis.run(&["KEYS", &format!("{{{}:a*}}:lock", app.prefix)]).await;
    keys.len()
}

/// As after a crash between writing and acknowledging: all is delivered again.
pub async fn deliver_again(app: &App) {
    app.stop_filler();
    eventually("the shards are handed over", || async { locks(app).await == 0 }).await;
    for shard in 0..4 {
        let key = format!("{{{}:a{shard}}}:log", app.prefix);
        app.redis.run::<()>(&["XGROUP", "SETID", &key, "activity", "0"]).await;
    }
}

fn counts(usage: &Value, name: &str) -> BTreeMap<String, (u64, u64)> {
    let rows = usage[name].as_array().unwrap().iter();
    rows.map(|row| {
        assert_eq!((&row["too_high_by"], &row["too_low_by"]), (&json!(0), &json!(0)), "{row}");
        let number = |name: &str| row[name].as_u64().unwrap();
        (row["value"].as_str().unwrap().to_owned(), (number("count"), number("refused")))
    })
    .collect()
}

#[tokio::test]
async fn each_call_is_counted_once_from_whatever_shard_it_comes_and_however_often() {
    let app = App::start().await;
    let id = app.account("ci", &[]).await.id;
    let other = app.account("other", &[]).await.id;
    app.settled().await;
    let now = app.clock.now();
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut hours = BTreeMap::<DateTime<Utc>, (u64, u64)>::new();
    let mut truth = BTreeMap::<&str, BTreeMap<String, (u64, u64)>>::new();
    for round in 0..4 {
        if round == 3 {
            // What is delivered again comes together with what is new.
            deliver_again(&app).await;
        }
        for block in 0..16 {
            let mut events = Vec::new();
            for _ in 0..dice.throw(40) + 1 {
                let time = now - TimeDelta::minutes(i64::try_from(dice.throw(4 * 60)).unwrap());
                let refused = (dice.throw(4) == 0).then_some("superseded");
                // Quotation marks and the like come back as they were.
                let path = format!("/\"{}\\ä", dice.throw(9).min(dice.throw(9)));
                let (agent, address) = (format!("agent/{}", dice.throw(3)), format!("192.0.2.{}", dice.throw(8)));
                let of_other = dice.throw(8) == 0;
                let account = if of_other { &other } else { &id };
                events.push(call(account, time, refused, [&path, &agent, &address]));
                if of_other {
                    continue;
                }
                let one = (1, u64::from(refused.is_some()));
                let hour = DateTime::from_timestamp(time.timestamp() / 3600 * 3600, 0).unwrap();
                let values = [
                    ("paths", format!("GET {path}")),
                    ("user_agents", agent),
                    ("addresses", address),
                    ("refusals", refused.unwrap_or_default().to_owned()),
                ];
                let counted = values.into_iter().filter(|(_, value)| !value.is_empty());
                let of_hour = hours.entry(hour).or_default();
                *of_hour = (of_hour.0 + 1 - one.1, of_hour.1 + one.1);
                for (name, value) in counted {
                    let sum = truth.entry(name).or_default().entry(value).or_default();
                    *sum = (sum.0 + one.0, sum.1 + one.1);
                }
            }
            // All shards at once, and each event in one of them.
            write(&app, block % 4, None, &events).await;
        }
        if round == 3 {
            app.start_filler();
        }
        app.settled().await;
        let usage = app.admin().get("/accounts/ci/usage", 200).await.json;
        assert_eq!(usage["complete"], true);
        for (name, truth) in &truth {
            assert_eq!(counts(&usage, name), *truth, "{name} in round {round}");
        }
        let told: BTreeMap<DateTime<Utc>, (u64, u64)> = usage["calls_by_hour"]
            .as_array()
            .unwrap()
            .iter()
            .map(|hour| {
                let number = |name: &str| hour[name].as_u64().unwrap();
                (hour["hour"].as_str().unwrap().parse().unwrap(), (number("allowed"), number("refused")))
            })
            .collect();
        assert_eq!(told, hours);
        let refused: u64 = hours.values().map(|(_, refused)| refused).sum();
        assert_eq!(usage["dead_tokens"][0]["count"], refused);
    }
}

#[tokio::test]
async fn what_another_process_has_counted_meanwhile_is_not_written_over() {
    let app = App::start().await;
    let ci = app.account("ci", &[]).await;
    ci.door("GET", "/verify", 200).await;
    app.settled().await;
    // As one that fills from another shard.
    let of = |name: &str| format!("{{{}:{}}}:{name}", app.prefix, ci.id);
    let hour = (app.clock.now().timestamp() / 3600).to_string();
    let rolled: String = app.redis.run(&["HGET", &of("hours"), &hour]).await;
    let rolled = rolled.replace("\"allowed\":1", "\"allowed\":6");
    app.redis.run::<u64>(&["HSET", &of("hours"), &hour, &rolled]).await;
    app.redis.run::<u64>(&["HINCRBY", &of("use"), "events", "5"]).await;
    ci.door("GET", "/verify", 200).await;
    app.settled().await;
    let usage = app.admin().get("/accounts/ci/usage", 200).await;
    assert_eq!(usage["calls_by_hour"][0]["allowed"], 7);
}

#[tokio::test]
async fn a_flood_of_values_neither_grows_nor_hides_who_is_let_through() {
    let app = App::start().await;
    let id = app.account("ci", &[]).await.id;
    let now = app.clock.now();
    let long = "x".repeat(400);
    for block in 0..40 {
        let mut events = vec![call(&id, now, None, ["/deploy", "deployer/1.0", "192.0.2.1"])];
        for number in 0..250 {
            let value = format!("/{block}/{number}/{long}");
            let time = now - TimeDelta::seconds(number);
            let mut flood =
                call(&id, time, Some("superseded"), [&value, &value, &format!("2001:db8:{block}::{number}")]);
            // With tokens that nobody issued: somebody has the key.
            flood.token_id = Some(TokenId::of_jti(&value));
            events.push(flood);
        }
        write(&app, another_shard(), None, &events).await;
    }
    app.settled().await;
    let of = |name: &str| format!("{{{}:{id}}}:{name}", app.prefix);
    let hours: u64 = app.redis.run(&["MEMORY", "USAGE", &of("hours"), "SAMPLES", "0"]).await;
    let uses: u64 = app.redis.run(&["MEMORY", "USAGE", &of("use"), "SAMPLES", "0"]).await;
    assert!(hours < 32 * 1024 && uses < 16 * 1024, "{hours} {uses}");
    let usage = app.admin().get("/accounts/ci/usage", 200).await;
    for (name, value) in [("addresses", "192.0.2.1"), ("user_agents", "deployer/1.0"), ("paths", "GET /deploy")] {
        let row = usage[name].as_array().unwrap().iter().find(|row| row["value"] == value);
        let row = row.unwrap_or_else(|| panic!("{name}: {}", usage[name]));
        assert_eq!((&row["count"], &row["refused"]), (&json!(40), &json!(0)), "{row}");
        assert_eq!(row["too_high_by"], 0, "{row}");
    }
    let (first, rest) = usage["paths"].as_array().unwrap().split_first().unwrap();
    assert_eq!(first["value"], "GET /deploy");
    assert!(rest.len() < 10 && rest.iter().all(|row| row["value"].as_str().unwrap().len() <= 160), "{rest:?}");
    assert!(rest.iter().all(|row| row["too_high_by"].as_u64().unwrap() + 1 >= row["count"].as_u64().unwrap()));
    assert_eq!(usage["dead_tokens"].as_array().unwrap().len(), 16);
}

#[tokio::test]
async fn hours_come_and_go_and_what_is_not_kept_is_not_said_to_be_there() {
    let app = App::start().await;
    let admin = app.admin();
    let id = app.account("ci", &[]).await.id;
    let now = app.clock.now();
    let from_here = |hours: i64| now + TimeDelta::hours(hours);
    for hour in -200..=0_i64 {
        let calls: Vec<Event> = (0..3).map(|_| call(&id, from_here(hour), None, ["/", "a", "192.0.2.1"])).collect();
        write(&app, another_shard(), Some(from_here(hour).timestamp_millis()), &calls).await;
    }
    // A clock that is a year ahead is not believed.
    let ahead = call(&id, from_here(24 * 365), None, ["/ahead", "a", "192.0.2.1"]);
    write(&app, another_shard(), Some(now.timestamp_millis()), &[ahead]).await;
    app.settled().await;
    let hours: u64 = app.redis.run(&["HLEN", &format!("{{{}:{id}}}:hours", app.prefix)]).await;
    assert_eq!(hours, 7 * 24);
    let lives: i64 = app.redis.run(&["TTL", &format!("{{{}:{id}}}:hours", app.prefix)]).await;
    assert!((7 * 86_400..=9 * 86_400).contains(&lives), "{lives}");

    let usage = async |query: String| admin.get(&format!("/accounts/ci/usage{query}"), 200).await.json;
    let sum = |usage: &Value| -> u64 {
        usage["calls_by_hour"].as_array().unwrap().iter().map(|hour| hour["allowed"].as_u64().unwrap()).sum()
    };
    let time = |hours: i64| countermark::clock::rfc3339::text(&from_here(hours));
    let day = usage(String::new()).await;
    assert_eq!((sum(&day), &day["complete"]), (25 * 3 + 1, &json!(true)));
    let ahead = day["paths"].as_array().unwrap().iter().find(|row| row["value"] == "GET /ahead").unwrap();
    assert!(ahead["last_seen_at"].as_str().unwrap() <= time(1).as_str());
    let two = usage(format!("?from={}&to={}", time(-5), time(-4))).await;
    assert_eq!((sum(&two), &two["complete"]), (6, &json!(true)));
    let hour = now.timestamp() / 3600 * 3600 - 5 * 3600;
    assert_eq!(two["from"], countermark::clock::rfc3339::text(&DateTime::from_timestamp(hour, 0).unwrap()));
    let all_kept = usage(format!("?from={}", time(-167))).await;
    assert_eq!((sum(&all_kept), &all_kept["complete"]), (168 * 3 + 1, &json!(true)));
    let more = usage(format!("?from={}", time(-168))).await;
    assert_eq!((sum(&more), &more["complete"]), (168 * 3 + 1, &json!(false)));
    let nothing = admin.get(&format!("/accounts/ci/usage?from={}&to={}", time(0), time(-1)), 200).await;
    assert_eq!(nothing["calls_by_hour"], json!([]));
    for bad in ["from=yesterday", "hours=3"] {
        admin.get(&format!("/accounts/ci/usage?{bad}"), 422).await;
    }
    // However far away it is.
    for far in ["from=0000-01-01T00:00:00Z", "to=9999-12-31T23:59:59Z", "to=0000-01-01T00:00:00Z"] {
        admin.get(&format!("/accounts/ci/usage?{far}"), 200).await;
    }
}

#[tokio::test]
async fn calls_of_before_there_were_roll_ups_are_not_said_to_be_counted() {
    let app = App::start().await;
    let ci = app.account("ci", &[]).await;
    ci.door("GET", "/verify", 200).await;
    app.settled().await;
    let of = |name: &str| format!("{{{}:{}}}:{name}", app.prefix, ci.id);
    app.redis.run::<u64>(&["DEL", &of("hours")]).await;
    app.redis.run::<u64>(&["HDEL", &of("use"), "since"]).await;
    // Whoever fills now has not written them himself.
    app.stop_filler();
    eventually("the shards are handed over", || async { locks(&app).await == 0 }).await;
    app.start_filler();
    let usage = async || app.admin().get("/accounts/ci/usage", 200).await.json;
    assert_eq!(usage().await["complete"], false);
    ci.door("GET", "/verify", 200).await;
    app.settled().await;
    let usage = usage().await;
    assert_eq!((&usage["complete"], &usage["calls_by_hour"][0]["allowed"]), (&json!(false), &json!(1)));
}

#[tokio::test]
async fn a_dead_token_that_is_used_is_seen_at_its_account_until_it_lives_again() {
    let app = App::start().await;
    let admin = app.admin();
    let old = app.account("ci", &[]).await;
    old.verdict().await;
    app.settled().await;
    assert_eq!(app.look("ci").await["dead_tokens"], json!(null));
    let new = old.holding(&admin.regenerate("ci").await);
    for _ in 0..3 {
        assert_eq!(old.at("192.0.2.9").verdict().await, "superseded");
    }
    app.settled().await;
    let seen = app.look("ci").await["dead_tokens"].clone();
    assert_eq!((&seen["tokens"], &seen["calls"]), (&json!(1), &json!(3)));
    let listed = admin.all("/accounts?query=ci&limit=10").await;
    assert_eq!(listed[0]["dead_tokens"], seen);

    app.clock.advance(Duration::from_secs(1));
    admin.patch("/accounts/ci", json!({ "status": "disabled" }), 200).await;
    assert_eq!(new.verdict().await, "disabled");
    app.settled().await;
    let usage = admin.get("/accounts/ci/usage", 200).await;
    let reasons: Vec<_> = usage["dead_tokens"].as_array().unwrap().iter().map(|token| &token["reason"]).collect();
    assert_eq!(reasons, ["disabled", "superseded"]);
    assert_eq!(usage["dead_tokens"][1]["client_address"], "192.0.2.9");
    assert_eq!((&usage["dead_tokens"][1]["count"], &usage["dead_tokens"][1]["generation"]), (&json!(3), &json!(1)));

    admin.patch("/accounts/ci", json!({ "status": "active" }), 200).await;
    app.clock.advance(Duration::from_secs(1));
    assert_eq!(new.verdict().await, "allowed");
    app.settled().await;
    assert_eq!(app.look("ci").await["dead_tokens"], seen);
    // Looking is on record, as all reads are.
    let reads = app.activity("admin").await;
    assert!(reads.iter().any(|event| event["path"] == "/api/v1/accounts/ci/usage" && event["kind"] == "call"));
}

#[tokio::test]
async fn each_good_token_shows_when_it_was_last_used_and_what_comes_late_changes_nothing() {
    let app = App::start().await;
    let old = app.account("ci", &[]).await;
    let body = json!({ "valid_for_months": 12, "overlap_seconds": 3600 });
    let new = old.holding(&app.admin().post("/accounts/ci/token", body, 201).await.text_of("token"));
    // In one write.
    app.stop_filler();
    eventually("the shards are handed over", || async { locks(&app).await == 0 }).await;
    for actor in [&new, &old, &new] {
        assert_eq!(actor.verdict().await, "allowed");
    }
    let now = countermark::clock::rfc3339::text(&app.clock.now());
    app.clock.advance(Duration::from_secs(5));
    assert_eq!(old.verdict().await, "allowed");
    let later = countermark::clock::rfc3339::text(&app.clock.now());
    app.start_filler();
    app.settled().await;
    let used = async || {
        let account = app.look("ci").await;
        ["token", "previous_token"].map(|token| account[token]["last_used_at"].clone())
    };
    assert_eq!(used().await, [json!(now), json!(later)]);
    let mut late = call(&old.id, app.clock.now() - TimeDelta::minutes(9), None, ["/late", "a", "192.0.2.1"]);
    late.token_id = Some(app.look("ci").await["token"]["id"].as_str().unwrap().parse().unwrap());
    write(&app, another_shard(), None, &[late]).await;
    app.settled().await;
    assert!(app.activity("ci").await.iter().any(|event| event["path"] == "/late"));
    assert_eq!(used().await, [json!(now), json!(later)]);
}

#[tokio::test]
async fn what_somebody_put_in_place_of_a_roll_up_stops_nothing() {
    let app = App::with(Setup { redis: RedisServer::start(), ..Setup::default() }).await;
    let ci = app.account("ci", &[]).await;
    ci.door("GET", "/verify", 200).await;
    app.settled().await;
    let of = |name: &str| format!("{{{}:{}}}:{name}", app.prefix, ci.id);
    let hour = (app.clock.now().timestamp() / 3600).to_string();
    app.redis.run::<u64>(&["HSET", &of("hours"), &hour, "no roll-up"]).await;
    app.redis.run::<u64>(&["HSET", &of("use"), "dead", "{", "events", "many"]).await;
    assert_eq!(app.look("ci").await["dead_tokens"], json!(null));
    ci.door("GET", "/verify", 200).await;
    app.settled().await;
    let usage = app.admin().get("/accounts/ci/usage", 200).await;
    assert_eq!(usage["calls_by_hour"][0]["allowed"], 1);
}
