//! The audit: every act and every call, once, and never a secret.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use redis::streams::StreamRangeReply;
use serde_json::{Value, json};

use crate::app::{App, Setup, claims_of};
use crate::redis_server::RedisServer;

async fn acts(app: &App) -> Vec<(String, Value)> {
    let reply: StreamRangeReply = app.redis.run(&["XRANGE", &app.key("acts"), "-", "+"]).await;
    reply
        .ids
        .iter()
        .map(|entry| {
            let event: String = entry.get("e").unwrap();
            (entry.get("v").unwrap(), serde_json::from_str(&event).unwrap())
        })
        .collect()
}

#[tokio::test]
async fn a1_an_act_and_its_entry_are_never_without_each_other() {
    let app = App::start().await;
    let admin = app.admin();
    let ci = app.account("ci", &["tokens:renew"]).await;
    app.team("payments").await;
    admin.patch("/accounts/ci", json!({ "teams": { "payments": "ci-role" } }), 200).await;
    let ci = ci.holding(&admin.regenerate("ci").await);
    let ci = ci.holding(&ci.post("/self/token", json!({ "valid_for_months": 6 }), 201).await.text_of("token"));
    app.nobody().form("/oauth2/revoke", &format!("token={}", ci.token()), 200).await;
    // Refused for all kinds of reasons.
    for (method, path, body, status) in [
        ("POST", "/accounts", Some(json!({ "username": "ci", "role": "ci-role", "valid_for_months": 6 })), 409),
        ("POST", "/accounts", Some(json!({ "username": "x", "role": "none", "valid_for_months": 6 })), 422),
        ("DELETE", "/accounts/admin", None, 409),
        ("DELETE", "/roles/ci-role", None, 409),
        ("DELETE", "/teams/payments", None, 409),
        ("PUT", "/roles/admin", Some(json!({ "permissions": [] })), 409),
        ("DELETE", "/accounts/nobody", None, 404),
    ] {
        let before = app.epoch().await;
        admin.send(method, path, body).await.expect(status);
        assert_eq!(app.epoch().await, before, "{method} {path}");
    }
    admin.delete("/accounts/ci", 200).await;
    admin.delete("/teams/payments", 200).await;
    admin.delete("/roles/ci-role", 200).await;

    let acts = acts(&app).await;
    let (term, counter) = app.epoch().await;
    let epochs: Vec<String> = acts.iter().map(|(epoch, _)| epoch.clone()).collect();
    // The first change made the keys; it is no act of anybody's.
    let expected: Vec<String> = (2..=counter).map(|counter| format!("{term}-{counter}")).collect();
    assert_eq!(epochs, expected, "each change has its entry, each entry its change");
    let kinds: Vec<&str> = acts.iter().map(|(_, event)| event["kind"].as_str().unwrap()).collect();
    assert_eq!(
        kinds,
        [
            "dataset.create",
            "role.set",
            "account.create",
            "team.set",
            "account.update",
            "token.regenerate",
            "token.renew",
            "token.revoke",
            "account.delete",
            "team.delete",
            "role.delete"
        ]
    );
    assert!(acts.iter().all(|(_, event)| event["outcome"] == "done" && event["node"] == "node-1"));
    let feed: u64 = app.redis.run(&["XLEN", &app.key("feed")]).await;
    assert_eq!(feed, counter);

    // A refused act is an event without a change.
    app.settled().await;
    let refused: BTreeSet<(String, String)> = admin
        .all("/audit?outcome=refused&limit=500")
        .await
        .iter()
        .map(|event| (event["kind"].as_str().unwrap().into(), event["reason"].as_str().unwrap().into()))
        .collect();
    for (kind, reason) in [
        ("account.create", "username_taken"),
        ("account.create", "invalid_field"),
        ("account.delete", "last_admin"),
        ("account.delete", "not_found"),
        ("role.delete", "role_in_use"),
        ("team.delete", "team_in_use"),
        ("role.set", "built_in"),
    ] {
        assert!(refused.contains(&(kind.into(), reason.into())), "{kind} {reason}: {refused:?}");
    }
}

/// Every key with all that lies in it, as text.
async fn everything(app: &App) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for key in app.redis.run::<Vec<String>>(&["KEYS", "*"]).await {
        let kind: String = app.redis.run(&["TYPE", &key]).await;
        let words: &[&str] = match kind.as_str() {
            "string" => &["GET", &key],
            "hash" => &["HGETALL", &key],
            "zset" => &["ZRANGE", &key, "0", "-1", "WITHSCORES"],
            "stream" => &["XRANGE", &key, "-", "+"],
            other => panic!("{key}: {other}"),
        };
        let value: redis::Value = app.redis.run(words).await;
        all.insert(key, text_of(&value));
    }
    all
}

fn text_of(value: &redis::Value) -> String {
    match value {
        redis::Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        redis::Value::Array(values) => values.iter().map(text_of).collect::<Vec<_>>().join("\n"),
        redis::Value::SimpleString(text) => text.clone(),
        redis::Value::Int(number) => number.to_string(),
        redis::Value::Double(number) => number.to_string(),
        redis::Value::Nil => String::new(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a4_no_token_and_no_jti_lies_anywhere_or_comes_out_again() {
    let app = App::with(Setup { redis: RedisServer::start(), ..Setup::default() }).await;
    let admin = app.admin();
    let first = app.account("ci", &["tokens:renew", "tokens:introspect"]).await;
    let overlap = json!({ "valid_for_months": 12, "overlap_seconds": 60 });
    let second = first.holding(&admin.post("/accounts/ci/token", overlap, 201).await.text_of("token"));
    let third =
        second.holding(&second.post("/self/token", json!({ "valid_for_months": 6 }), 201).await.text_of("token"));
    let fourth = app.account("other", &[]).await;
    let tokens: Vec<String> = [&admin, &first, &second, &third, &fourth].map(|actor| actor.token().to_owned()).to_vec();

    for token in &tokens {
        let jti = claims_of(token)["jti"].as_str().unwrap().to_owned();
        let holder = app.bearer(token);
        // In all the wrong places.
        for path in [
            format!("/verify?token={token}"),
            format!("/verify/x?access_token={token}"),
            format!("/api/v1/self?access_token={token}"),
            format!("/api/v1/accounts?query={jti}"),
            format!("/api/v1/accounts?unknown={jti}"),
            format!("/api/v1/accounts?cursor={jti}"),
        ] {
            app.client.answer(holder.request("GET", &path).body(axum::body::Body::empty()).unwrap()).await;
        }
        for (name, value) in [
            ("x-original-uri", format!("/a?token={token}")),
            ("x-forwarded-uri", format!("/a?token={token}#{token}")),
            ("x-request-id", token.clone()),
            ("cookie", format!("session={token}")),
            ("if-match", format!("\"{token}\"")),
        ] {
            let request = holder.request("GET", "/verify").header(name, value);
            app.client.answer(request.body(axum::body::Body::empty()).unwrap()).await;
        }
        third.form("/oauth2/introspect", &format!("token={token}"), 200).await;
        holder.send("GET", "/self", None).await;
        holder.send("GET", "/accounts", None).await;
    }
    for path in [
        "/accounts?limit=100",
        "/audit?limit=100",
        "/accounts/ci/activity?limit=100",
        "/accounts/other/activity?limit=100",
    ] {
        admin.all(path).await;
    }
    for path in ["/accounts/ci", "/accounts/ci/usage", "/keys", "/roles", "/nodes", "/self"] {
        admin.get(path, 200).await;
    }
    app.nobody().form("/oauth2/revoke", &format!("token={}", fourth.token()), 200).await;
    app.clock.advance(Duration::from_secs(60));
    app.settled().await;

    let store = everything(&app).await;
    assert!(store.len() > 10, "{:?}", store.keys());
    let answers = app.client.answers.lock().unwrap().clone();
    for token in &tokens {
        let jti = claims_of(token)["jti"].as_str().unwrap().to_owned();
        let signature = token.rsplit('.').next().unwrap();
        let payload = token.split('.').nth(1).unwrap();
        for (key, text) in &store {
            for secret in [&jti, signature, payload] {
                assert!(!text.contains(secret) && !key.contains(secret), "{key} holds a secret: {text}");
            }
        }
        let mut shown = 0;
        for (request, answer) in &answers {
            let creates =
                request.starts_with("POST ") && (request.ends_with("/accounts") || request.ends_with("/token"));
            if creates && answer.contains(token.as_str()) {
                shown += 1;
                continue;
            }
            for secret in [&jti, signature, payload] {
                assert!(!answer.contains(secret), "{request} gives a secret away: {answer}");
            }
        }
        // The first admin's is shown by no answer at all.
        assert_eq!(shown, usize::from(token != admin.token()));
    }
}

#[tokio::test]
async fn calls_reach_the_activity_once_whoever_fills_it() {
    let app = App::start().await;
    let ci = app.account("ci", &[]).await;
    for round in 0..6 {
        for call in 0..40 {
            let request = ci.request("GET", "/verify").header("x-request-id", format!("call-{round}-{call}"));
            app.client.answer(request.body(axum::body::Body::empty()).unwrap()).await.expect(200);
            if call == 20 {
                app.stop_filler();
            }
        }
        app.start_filler();
    }
    let mut seen = HashMap::new();
    for event in app.activity("ci").await.iter().filter(|event| event["kind"] == "call") {
        *seen.entry(event["request_id"].as_str().unwrap().to_owned()).or_insert(0) += 1;
    }
    assert_eq!(seen.len(), 240);
    assert!(seen.values().all(|count| *count == 1), "{seen:?}");
}

#[tokio::test]
async fn a_batch_that_is_delivered_again_is_written_once() {
    let app = App::start().await;
    let ci = app.account("ci", &[]).await;
    for _ in 0..10 {
        ci.door("GET", "/verify", 200).await;
    }
    let before = app.activity("ci").await.len();
    app.stop_filler();
    // As after a crash between writing and acknowledging: the group begins anew.
    for shard in 0..4 {
        let key = format!("{{{}:a{shard}}}:log", app.prefix);
        if app.redis.run::<u64>(&["EXISTS", &key]).await == 1 {
            app.redis.run::<()>(&["XGROUP", "SETID", &key, "activity", "0"]).await;
        }
    }
    app.start_filler();
    assert_eq!(app.activity("ci").await.len(), before);
}

#[tokio::test]
async fn every_event_has_a_number_of_its_own_without_gaps() {
    let app = App::start().await;
    let ci = app.account("ci", &[]).await;
    for _ in 0..20 {
        ci.verdict().await;
        app.admin().regenerate("ci").await;
        // Acts that come to nothing leave no gap.
        app.admin().delete("/accounts/admin", 409).await;
        app.admin().delete("/roles/ci-role", 409).await;
        let body = json!({ "valid_for_months": 6 });
        let (one, two) = (app.admin(), app.admin());
        let _ = tokio::join!(
            one.send("POST", "/accounts/ci/token", Some(body.clone())),
            two.send("POST", "/accounts/ci/token", Some(body.clone()))
        );
    }
    app.settled().await;
    let mut numbers: Vec<u64> =
        app.admin().all("/audit?limit=500").await.iter().map(|event| event["sequence"].as_u64().unwrap()).collect();
    numbers.sort_unstable();
    let highest = *numbers.last().unwrap();
    assert!(highest > 100, "{highest}");
    assert_eq!(numbers, (1..=highest).collect::<Vec<_>>());
}

#[tokio::test]
async fn filters_of_the_audit_find_what_they_say() {
    let app = App::start().await;
    let admin = app.admin();
    let ci = app.account("ci", &[]).await;
    app.account("other", &[]).await.door("GET", "/verify", 200).await;
    ci.door("GET", "/verify", 200).await;
    ci.door("GET", "/verify?permission=a:b", 403).await;
    app.clock.advance(Duration::from_secs(30));
    let middle = countermark::clock::rfc3339::text(&countermark::clock::Clock::now(app.clock.as_ref()));
    admin.regenerate("ci").await;
    ci.door("GET", "/verify", 401).await;
    app.settled().await;
    let found = async |query: &str| -> Vec<(String, String)> {
        let mut found: Vec<_> = admin
            .all(&format!("/audit?{query}&limit=2"))
            .await
            .iter()
            .filter(|event| event["path"] == "/verify" || event["kind"] != "call")
            .map(|event| {
                let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
                (text("kind"), text("reason"))
            })
            .collect();
        found.sort();
        found
    };
    let pair = |kind: &str, reason: &str| (kind.to_owned(), reason.to_owned());
    let regenerated = pair("token.regenerate", "");
    let (superseded, lacking) = (pair("call", "superseded"), pair("call", "insufficient_permission"));
    let (call, created) = (pair("call", ""), pair("account.create", ""));
    assert_eq!(
        found("account=ci").await,
        [created.clone(), call.clone(), lacking.clone(), superseded.clone(), regenerated.clone()]
    );
    assert_eq!(
        found(&format!("account={}&kind=call", ci.id)).await,
        [call.clone(), lacking.clone(), superseded.clone()]
    );
    assert_eq!(found("kind=token.regenerate").await, std::slice::from_ref(&regenerated));
    assert_eq!(found("reason=superseded").await, std::slice::from_ref(&superseded));
    assert_eq!(found("outcome=refused").await, [lacking.clone(), superseded.clone()]);
    assert_eq!(found("outcome=allowed&kind=call&account=other").await, std::slice::from_ref(&call));
    assert_eq!(found(&format!("account=ci&from={middle}")).await, [superseded.clone(), regenerated.clone()]);
    assert_eq!(found(&format!("account=ci&to={middle}")).await, [created, call, lacking]);
    assert_eq!(found("node=node-1&reason=superseded").await, [superseded]);
    assert_eq!(found("node=elsewhere").await, []);
    let of_ci = admin.all("/accounts/ci/activity?kind=call").await.len();
    assert_eq!(of_ci, 3);
    for (query, count) in [
        ("method=GET&path=/ver", 3),
        ("method=POST&kind=call", 0),
        ("path=/verify/x", 0),
        ("address=127.0.0.1&kind=call", 3),
        ("address=127.0.0.0/8&reason=superseded", 1),
        ("address=::/0", 0),
        ("node=node-1&outcome=refused", 2),
    ] {
        assert_eq!(admin.all(&format!("/accounts/ci/activity?{query}")).await.len(), count, "{query}");
        let in_all = admin.all(&format!("/audit?account=ci&{query}")).await.len();
        assert_eq!(in_all, count, "{query}");
    }
    for bad in ["address=here", "address=127.0.0.1/33", "address="] {
        assert_eq!(admin.get(&format!("/audit?{bad}"), 422).await.fields(), ["address"], "{bad}");
    }
}

#[tokio::test]
async fn usage_says_who_uses_the_tokens_from_where() {
    let app = App::start().await;
    let old = app.account("ci", &[]).await;
    for address in ["192.0.2.1", "192.0.2.1", "192.0.2.2"] {
        let request = old.at(address).request("GET", "/verify").header("user-agent", "deployer/1.0");
        old.at(address)
            .client
            .answer(request.header("x-original-uri", "/a?b").body(axum::body::Body::empty()).unwrap())
            .await;
    }
    app.admin().regenerate("ci").await;
    old.at("192.0.2.9").verdict().await;
    app.settled().await;
    let usage = app.admin().get("/accounts/ci/usage", 200).await;
    assert_eq!(usage["complete"], true);
    let hours = usage["calls_by_hour"].as_array().unwrap();
    let sum = |name: &str| hours.iter().map(|hour| hour[name].as_u64().unwrap()).sum::<u64>();
    assert_eq!((sum("allowed"), sum("refused")), (3, 1));
    let top = |name: &str| (usage[name][0]["value"].clone(), usage[name][0]["count"].clone());
    assert_eq!(top("refusals"), (json!("superseded"), json!(1)));
    assert_eq!(top("addresses"), (json!("192.0.2.1"), json!(2)));
    assert_eq!(top("user_agents"), (json!("deployer/1.0"), json!(3)));
    assert_eq!(top("paths"), (json!("GET /a"), json!(3)));
    let dead = &usage["dead_tokens"][0];
    assert_eq!((&dead["reason"], &dead["count"], &dead["generation"]), (&json!("superseded"), &json!(1), &json!(1)));
    assert_eq!(dead["client_address"], "192.0.2.9");
}

#[tokio::test]
async fn strangers_are_counted_and_sampled_and_nobodys_calls_are_not_events() {
    let app = App::start().await;
    for _ in 0..5 {
        app.nobody().verdict().await;
        app.bearer("garbage").verdict().await;
        app.bearer("garbage").at("192.0.2.7").verdict().await;
    }
    app.clock.advance(Duration::from_secs(60));
    app.bearer("garbage").verdict().await;
    app.settled().await;
    let events = app.admin().all("/audit?limit=100").await;
    let sampled: Vec<_> = events.iter().filter(|event| event["kind"] == "call.invalid").collect();
    assert_eq!(sampled.len(), 3, "one for each address and minute");
    assert!(sampled.iter().all(|event| event["reason"] == "malformed" && event["outcome"] == "refused"));
    assert!(sampled.iter().all(|event| event["account_id"].is_null()));
    assert!(!events.iter().any(|event| event["reason"] == "missing_token"));
}

#[tokio::test]
async fn what_another_process_read_and_did_not_finish_is_not_lost() {
    let app = App::start().await;
    let ci = app.account("ci", &[]).await;
    ci.door("GET", "/verify", 200).await;
    app.settled().await;
    app.stop_filler();
    let locks = || async { app.redis.run::<Vec<String>>(&["KEYS", &format!("{{{}:a*}}:lock", app.prefix)]).await };
    crate::app::eventually("the shards are handed over", || async { locks().await.is_empty() }).await;
    for _ in 0..10 {
        ci.door("GET", "/verify/unfinished", 200).await;
    }
    crate::app::eventually("the calls are written", || async {
        app.authority.node().recorder().counters().waiting() == 0
    })
    .await;
    let mut taken = 0;
    for shard in 0..4 {
        let key = format!("{{{}:a{shard}}}:log", app.prefix);
        let words = ["XREADGROUP", "GROUP", "activity", "dead", "COUNT", "1000", "STREAMS", &key, ">"];
        let reply: Option<redis::streams::StreamReadReply> = app.redis.run(&words).await;
        taken += reply.map_or(0, |reply| reply.keys.len());
    }
    assert_eq!(taken, 1);
    app.start_filler();
    let found = app.activity("ci").await.into_iter().filter(|event| event["path"] == "/unfinished").count();
    assert_eq!(found, 10);
}

#[tokio::test]
async fn calls_of_one_account_lie_together_and_no_more_than_so_many_are_kept() {
    let app = App::with(Setup { activity: 200, ..Setup::default() }).await;
    let ci = app.account("ci", &[]).await;
    let id = ci.id.clone();
    let activity = format!("{{{}:{id}}}:activity", app.prefix);
    for round in 0..3 {
        // At once, so that they come in few batches.
        let calls = (0..200).map(|call| {
            let request = ci.request("GET", "/verify").header("x-request-id", format!("call-{round}-{call}"));
            app.client.answer(request.body(axum::body::Body::empty()).unwrap())
        });
        for answer in futures_util::future::join_all(calls).await {
            answer.expect(200);
        }
        app.settled().await;
        let entries: u64 = app.redis.run(&["XLEN", &activity]).await;
        assert!(entries < 150, "{entries} entries");
    }
    let events: Vec<Value> = app.activity("ci").await.into_iter().filter(|event| event["kind"] == "call").collect();
    let of =
        |round: &str| events.iter().filter(|event| event["request_id"].as_str().unwrap().starts_with(round)).count();
    assert_eq!(of("call-2-"), 200, "the newest are there");
    // A part that came together goes together, and not for each event is it looked.
    assert!((200..400).contains(&events.len()), "{}", events.len());
}

#[tokio::test]
async fn without_calls_in_the_audit_acts_are_there_and_decisions_are_counted() {
    let app = App::with(Setup { records_calls: false, ..Setup::default() }).await;
    let ci = app.account("ci", &[]).await;
    ci.door("GET", "/verify", 200).await;
    app.admin().regenerate("ci").await;
    ci.door("GET", "/verify", 401).await;
    app.settled().await;
    let events = app.activity("ci").await;
    assert!(events.iter().any(|event| event["kind"] == "token.regenerate"));
    assert!(events.iter().all(|event| event["kind"] != "call"), "{events:?}");
    let metrics = app.authority.metrics().text();
    assert!(metrics.contains("countermark_decisions_total{reason=\"superseded\"} 1"), "{metrics}");
}

#[tokio::test]
async fn an_entry_with_a_field_whose_name_is_no_text_stops_no_reading() {
    let app = App::start().await;
    let ci = app.account("ci", &[]).await;
    for shard in 0..4 {
        let key = format!("{{{}:a{shard}}}:log", app.prefix);
        let mut command = redis::cmd("XADD");
        command.arg(key).arg("*").arg(b"\xff\xfe").arg(b"\xff");
        command.query_async::<String>(&mut app.redis.connection().await).await.unwrap();
    }
    ci.door("GET", "/verify/after", 200).await;
    let events = app.activity("ci").await;
    assert!(events.iter().any(|event| event["path"] == "/after"), "{events:?}");
    let all = app.admin().all("/audit?kind=call&path=/after&limit=10").await;
    assert_eq!(all.len(), 1);
}
