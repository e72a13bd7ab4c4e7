//! The life of signing keys (protocols, section 5): prepare, activate, retire, revoke.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use chrono::TimeDelta;
use countermark::authority::Upkeep;
use countermark::clock::Clock as _;
use countermark::store::{AccountChange, Admin, Author, KeyringChange, NamedChange, NamedKind, StoreError};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::app::{Actor, App, DAY, Setup, eventually, of_tokens};

const HOUR: Duration = Duration::from_secs(3600);

async fn keys(admin: &Actor) -> Vec<Value> {
    admin.get("/keys", 200).await["items"].as_array().unwrap().clone()
}

async fn states(admin: &Actor) -> Vec<String> {
    keys(admin).await.iter().map(|key| key["state"].as_str().unwrap().to_owned()).collect()
}

async fn published(app: &App) -> Vec<String> {
    let set = app.nobody().door("GET", "/.well-known/jwks.json", 200).await;
    let mut ids: Vec<String> = of_tokens(&set.json).iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect();
    ids.sort_unstable();
    ids
}

/// The newest events of acts upon keys, of this kind.
async fn acts(app: &App, kind: &str) -> Vec<Value> {
    let words = ["XREVRANGE", &app.key("acts"), "+", "-", "COUNT", "50"];
    let acts: redis::streams::StreamRangeReply = app.redis.run(&words).await;
    let lines = acts.ids.iter().map(|entry| entry.get::<String>("e").unwrap());
    let events = lines.map(|line| serde_json::from_str::<Value>(&line).unwrap());
    events.filter(|event| event["kind"] == kind).collect()
}

#[tokio::test]
async fn k1_k2_a_key_is_prepared_signs_and_retires_when_no_token_needs_it() {
    let app = App::start().await;
    let admin = app.admin();
    let first = keys(&admin).await[0]["id"].as_str().unwrap().to_owned();
    let ci = app.account("ci", &[]).await;

    let prepared = admin.post("/keys", json!({ "algorithm": "EdDSA" }), 201).await;
    let next = prepared["key"]["id"].as_str().unwrap().to_owned();
    assert_eq!((&prepared["key"]["state"], &prepared["key"]["algorithm"]), (&json!("pending"), &json!("EdDSA")));
    assert_eq!(prepared["receipt"]["nodes_acknowledged"], 1);
    assert_eq!(prepared["key"]["next_step"]["action"], "activate");
    let possible_at = prepared["key"]["next_step"]["possible_at"].as_str().unwrap().to_owned();
    let mut both = [first.clone(), next.clone()];
    both.sort_unstable();
    assert_eq!(published(&app).await, both, "published at once");
    // Tokens are still signed by the first.
    assert_eq!(admin.regenerate_whole("ci").await["account"]["token"]["key_id"], first);

    let early = admin.post(&format!("/keys/{next}/activate"), json!({}), 409).await;
    assert_eq!(early.reason(), "too_early");
    assert!(early["detail"].as_str().unwrap().contains(&possible_at), "{}", early["detail"]);
    app.clock.advance(24 * HOUR);
    let activated = admin.post(&format!("/keys/{next}/activate"), json!({}), 200).await;
    assert_eq!(activated["key"]["state"], "active");
    assert_eq!(states(&admin).await, ["retiring", "active"]);
    let act = &acts(&app, "key.activate").await[0];
    assert_eq!(
        act["details"],
        json!({ "key": next, "algorithm": "EdDSA", "state": "active", "forced": false, "instead_of": first })
    );
    assert_eq!(act["actor_id"], admin.id);

    // K2: two tokens need the first.
    let needed = admin.post(&format!("/keys/{first}/retire"), json!({}), 409).await;
    assert_eq!(needed.reason(), "key_in_use");
    assert!(needed["detail"].as_str().unwrap().starts_with("2 living tokens need this key, the last until 20"));
    let detail = admin.get(&format!("/keys/{first}"), 200).await;
    let names: Vec<&str> =
        detail["accounts"].as_array().unwrap().iter().map(|account| account["username"].as_str().unwrap()).collect();
    assert_eq!((names.len(), detail["complete"].as_bool()), (2, Some(true)), "{names:?}");
    assert!(names.contains(&"ci") && names.contains(&"admin"));

    let issued = admin.regenerate_whole("ci").await;
    assert_eq!(issued["account"]["token"]["key_id"], next);
    assert_eq!(ci.holding(&issued.text_of("token")).verdict().await, "allowed");
    let renewed = admin.regenerate("admin").await;
    let admin = admin.holding(&renewed);
    let retired = admin.post(&format!("/keys/{first}/retire"), json!({}), 200).await;
    assert_eq!((&retired["key"]["state"], &retired["key"]["live_tokens"]), (&json!("retired"), &json!(0)));
    assert_eq!(published(&app).await, [next]);
    assert_eq!(acts(&app, "key.retire").await.len(), 1);
}

#[tokio::test]
async fn k1_forcing_is_possible_and_audited() {
    let app = App::start().await;
    let admin = app.admin();
    let next = admin.post("/keys", json!({}), 201).await["key"]["id"].as_str().unwrap().to_owned();
    let activated = admin.post(&format!("/keys/{next}/activate"), json!({ "force": true }), 200).await;
    assert_eq!(activated["key"]["state"], "active");
    assert_eq!(acts(&app, "key.activate").await[0]["details"]["forced"], true);
}

#[tokio::test]
async fn k3_revoking_shows_what_dies_first_and_then_who_has_a_new_token() {
    let app = App::start().await;
    let admin = app.admin();
    admin.put("/teams/payments", json!({ "description": "" }), 201).await;
    let first = keys(&admin).await[0]["id"].as_str().unwrap().to_owned();
    let ci = json!({ "username": "ci", "role": "auditor", "teams": { "payments": "auditor" }, "valid_for_months": 12 });
    let (ci, cd) = (app.create(ci).await, app.account("cd", &[]).await);
    for _ in 0..3 {
        assert_eq!(ci.verdict().await, "allowed");
    }
    let dry = async |admin: &Actor| admin.post(&format!("/keys/{first}/revoke"), json!({}), 200).await;
    // And the asking itself, which is a call like any other.
    let counted = async || dry(&admin).await["blast_radius"]["calls_24h"]["allowed"].as_u64().unwrap() >= 4;
    eventually("the calls are counted", counted).await;
    let radius = dry(&admin).await;
    assert_eq!((&radius["dry_run"], &radius["key"], &radius["receipt"]), (&json!(true), &Value::Null, &Value::Null));
    let radius = &radius["blast_radius"];
    assert_eq!((&radius["live_tokens"], &radius["accounts"]), (&json!(3), &json!(3)));
    assert_eq!((&radius["teams"], &radius["own_token"]), (&json!({ "payments": 1 }), &json!(true)));
    assert_eq!(radius["complete"], true);
    assert_eq!(states(&admin).await, ["active"], "nothing was done");

    let wrong = admin.post(&format!("/keys/{first}/revoke"), json!({ "confirm": "another" }), 409).await;
    assert_eq!(wrong.reason(), "not_confirmed");
    // Every admin's token would die.
    let last = admin.post(&format!("/keys/{first}/revoke"), json!({ "confirm": first }), 409).await;
    assert_eq!(last.reason(), "last_admin");
    assert_eq!(states(&admin).await, ["active"], "nothing was done");

    let next = admin.post("/keys", json!({}), 201).await["key"]["id"].as_str().unwrap().to_owned();
    admin.post(&format!("/keys/{next}/activate"), json!({ "force": true }), 200).await;
    let admin = admin.holding(&admin.regenerate("admin").await);
    let revoked = admin.post(&format!("/keys/{first}/revoke"), json!({ "confirm": first }), 200).await;
    // With the answer, it holds.
    assert_eq!((ci.verdict().await, cd.verdict().await), ("revoked_key".into(), "revoked_key".into()));
    assert_eq!((&revoked["dry_run"], &revoked["key"]["state"]), (&json!(false), &json!("revoked")));
    assert_eq!(revoked["receipt"]["nodes_acknowledged"], 1);
    assert_eq!((&revoked["key"]["tokens_revoked"], &revoked["key"]["live_tokens"]), (&json!(2), &json!(2)));
    assert_eq!(published(&app).await, std::slice::from_ref(&next));
    let act = &acts(&app, "key.revoke").await[0];
    assert_eq!(
        (&act["details"]["key"], &act["details"]["was"], &act["details"]["live_tokens"]),
        (&json!(first), &json!("retiring"), &json!(2))
    );

    // Progress: who still calls with a dead token, and who has a new one.
    let progress = async || admin.get(&format!("/keys/{first}"), 200).await;
    eventually("the refusals are in the log", || async {
        let progress = progress().await;
        progress["accounts"].as_array().unwrap().iter().all(|account| !account["last_refused_at"].is_null())
    })
    .await;
    let new = admin.regenerate("ci").await;
    assert_eq!(ci.holding(&new).verdict().await, "allowed");
    let after = progress().await;
    assert_eq!((&after["tokens_revoked"], &after["live_tokens"]), (&json!(2), &json!(1)));
    assert_eq!(after["accounts"][0]["username"], "cd");
    // Repeated, it is answered as what it is: done, and known to every node.
    let again = admin.post(&format!("/keys/{first}/revoke"), json!({ "confirm": first }), 200).await;
    assert_eq!(again["key"]["revoked_at"], revoked["key"]["revoked_at"]);
}

#[tokio::test]
async fn revoking_the_key_that_signs_lets_another_one_sign() {
    let app = App::start().await;
    let admin = app.admin();
    let first = keys(&admin).await[0]["id"].as_str().unwrap().to_owned();
    let next = admin.post("/keys", json!({}), 201).await["key"]["id"].as_str().unwrap().to_owned();
    admin.post(&format!("/keys/{next}/activate"), json!({ "force": true }), 200).await;
    let other = app.account("ops", &[]).await;
    admin.patch(&format!("/accounts/{}", other.id), json!({ "role": "admin" }), 200).await;
    // The active one: a new key of its kind takes its place. The admin with a token of the first key remains.
    admin.post(&format!("/keys/{next}/revoke"), json!({ "confirm": next }), 200).await;
    let after = keys(&admin).await;
    assert_eq!(states(&admin).await, ["retiring", "revoked", "active"]);
    assert_eq!(other.verdict().await, "revoked_key");
    let issued = admin.regenerate_whole("ops").await;
    assert_eq!(issued["account"]["token"]["key_id"], after[2]["id"]);
    assert_eq!(acts(&app, "key.revoke").await[0]["details"]["signs_instead"], after[2]["id"]);
    assert_ne!(after[2]["id"], first);
}

#[tokio::test]
async fn bad_requests_about_keys_say_what_is_wrong_with_them() {
    let app = App::start().await;
    let admin = app.admin();
    let first = keys(&admin).await[0]["id"].as_str().unwrap().to_owned();
    for (path, body, status, word) in [
        ("/keys".to_owned(), json!({ "algorithm": "HS256" }), 422, "algorithm"),
        ("/keys".to_owned(), json!({ "bits": 1024 }), 422, "bits"),
        ("/keys/none/activate".to_owned(), json!({}), 404, "GET /api/v1/keys"),
        ("/keys/none/retire".to_owned(), json!({}), 404, "GET /api/v1/keys"),
        ("/keys/none/revoke".to_owned(), json!({}), 404, "GET /api/v1/keys"),
        ("/keys/none/revoke".to_owned(), json!({ "confirm": "none" }), 404, "GET /api/v1/keys"),
        (format!("/keys/{first}/activate"), json!({}), 409, "signs already"),
        (format!("/keys/{first}/activate"), json!({ "force": 1 }), 422, "force"),
        (format!("/keys/{first}/retire"), json!({}), 409, "activate another"),
        (format!("/keys/{first}/revoke"), json!({ "confirm": "" }), 409, "confirm must be the id"),
        (format!("/keys/{first}/revoke"), json!({ "confirm": null }), 422, "confirm"),
    ] {
        let answer = admin.post(&path, body, status).await;
        assert!(answer.text.contains(word), "{path}: {}", answer.text);
    }
    admin.get("/keys/none", 404).await;
    let request = admin.request("POST", &format!("/api/v1/keys/{first}/revoke")).body(Body::empty()).unwrap();
    app.client.answer(request).await.expect(415);
    admin.post("/keys", json!({}), 201).await;
    // Who may only read keys changes none.
    let auditor = app.account("auditor", &[]).await;
    admin.patch(&format!("/accounts/{}", auditor.id), json!({ "role": "auditor" }), 200).await;
    auditor.get(&format!("/keys/{first}"), 200).await;
    for path in ["/keys".to_owned(), format!("/keys/{first}/activate"), format!("/keys/{first}/revoke")] {
        assert_eq!(auditor.post(&path, json!({}), 403).await.reason(), "insufficient_permission");
    }
    assert_eq!(states(&admin).await, ["active", "pending"]);
}

#[tokio::test]
async fn keys_rotate_by_themselves_and_one_of_two_issuers_does_it() {
    let setup = Setup { rotate_every: Some(TimeDelta::days(90)), ..Setup::default() };
    let (redis, prefix, master_key) = (Arc::clone(&setup.redis), setup.prefix.clone(), setup.master_key.clone());
    let app = App::with(setup).await;
    let other = App::with(Setup {
        redis,
        prefix,
        master_key,
        rotate_every: Some(TimeDelta::days(90)),
        node: "node-2",
        admin: Some(app.admin().token().to_owned()),
        clock: Some(Arc::clone(&app.clock)),
        ..Setup::default()
    })
    .await;
    let stop = CancellationToken::new();
    for app in [&app, &other] {
        tokio::spawn(Upkeep::new(Arc::clone(&app.authority)).run(stop.clone()));
    }
    let admin = app.admin();
    let become_these = async |wanted: &[&str]| {
        eventually(&format!("the keys are {wanted:?}"), || async { states(&admin).await == wanted }).await;
    };
    become_these(&["active"]).await;
    app.clock.advance(89 * DAY);
    become_these(&["active", "pending"]).await;
    app.clock.advance(DAY);
    become_these(&["retiring", "active"]).await;
    let admin = admin.holding(&admin.regenerate("admin").await);
    eventually("the first key is retired", || async { states(&admin).await == ["retired", "active"] }).await;
    for kind in ["key.prepare", "key.activate", "key.retire"] {
        let acts = acts(&app, kind).await;
        assert_eq!(acts.len(), 1, "{kind}");
        assert_eq!(acts[0]["actor_id"], Value::Null);
    }
    // Both sign with the new one.
    let key = keys(&admin).await[1]["id"].clone();
    let through_the_other = other.admin().holding(admin.token());
    assert_eq!(through_the_other.regenerate_whole("admin").await["account"]["token"]["key_id"], key);
    stop.cancel();
}

#[tokio::test]
async fn caches_keep_the_key_set_no_longer_than_a_key_is_published_before_it_signs() {
    for (ahead, most) in [(TimeDelta::hours(24), 300), (TimeDelta::seconds(60), 60), (TimeDelta::zero(), 0)] {
        let app = App::with(Setup { publish_ahead: ahead, ..Setup::default() }).await;
        let set = app.nobody().door("GET", "/.well-known/jwks.json", 200).await;
        assert_eq!(set.header("cache-control"), format!("public, max-age={most}, must-revalidate"));
        let tag = set.header("etag").to_owned();
        app.admin().post("/keys", json!({}), 201).await;
        let after = app.nobody().door("GET", "/.well-known/jwks.json", 200).await;
        assert_ne!(after.header("etag"), tag);
        let _ = app.clock.now();
    }
}

#[tokio::test]
async fn the_counts_of_living_tokens_are_repaired_while_everything_goes_on() {
    let app = App::start().await;
    let admin = app.admin();
    let key = keys(&admin).await[0]["id"].as_str().unwrap().to_owned();
    let live = app.key(&format!("live:{key}"));
    let (ci, cd) = (app.account("ci", &[]).await, app.account("cd", &[]).await);
    let recount = async || {
        let answer = admin.send("POST", "/keys/recount", None).await.expect(200);
        let key = &answer["keys"][0];
        [&key["before"], &key["after"], &answer["corrected"]].map(|number| number.as_u64().unwrap())
    };
    assert_eq!(recount().await, [3, 3, 0], "they were right");
    let in_a_year = app.clock.now().timestamp() + 365 * 86_400;
    // One that lives and is not counted; one until another time; one that is dead; one of nobody; one of an account that is gone.
    app.redis.run::<u64>(&["ZREM", &live, &format!("{}:1", ci.id)]).await;
    app.redis.run::<u64>(&["ZADD", &live, &(in_a_year + 5_000_000).to_string(), &format!("{}:1", cd.id)]).await;
    app.redis.run::<u64>(&["ZADD", &live, &in_a_year.to_string(), &format!("{}:7", cd.id)]).await;
    let nobody = uuid::Uuid::now_v7();
    app.redis.run::<u64>(&["ZADD", &live, &in_a_year.to_string(), &format!("{nobody}:1")]).await;
    app.redis.run::<u64>(&["ZADD", &live, &in_a_year.to_string(), "no account"]).await;
    let gone = app.account("gone", &[]).await;
    admin.delete("/accounts/gone", 200).await;
    app.redis.run::<u64>(&["ZADD", &live, &in_a_year.to_string(), &format!("{}:1", gone.id)]).await;
    assert_eq!(recount().await, [6, 3, 6]);
    assert_eq!(recount().await, [3, 3, 0], "they are right now");
}

#[tokio::test]
async fn a_key_that_exists_is_taken_in_and_signs() {
    let app = App::start().await;
    let admin = app.admin();
    let openssl = |arguments: &[&str], input: &str| {
        use std::io::Write as _;
        let mut command = std::process::Command::new("openssl");
        command.args(arguments).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        let mut child = command.stderr(std::process::Stdio::null()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
    };
    let ec = openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"], "");
    let taken = admin.post("/keys", json!({ "private_key": ec }), 201).await;
    let id = taken["key"]["id"].as_str().unwrap().to_owned();
    assert_eq!((&taken["key"]["algorithm"], &taken["key"]["state"]), (&json!("ES256"), &json!("pending")));
    assert!(!taken.text.contains("PRIVATE"));
    let act = acts(&app, "key.prepare").await.remove(0);
    assert_eq!((&act["details"]["imported"], &act["details"]["key"]), (&json!(true), &json!(id)));
    let again = admin.post("/keys", json!({ "private_key": ec }), 409).await;
    assert!(again["detail"].as_str().unwrap().contains("it is pending"), "{}", again.text);
    admin.post(&format!("/keys/{id}/activate"), json!({ "force": true }), 200).await;
    let issued = app.account("ci", &[]).await;
    assert_eq!(issued.verdict().await, "allowed");
    assert_eq!(issued.get("/self", 200).await["token"]["key_id"], id);

    let small = openssl(&["genrsa", "1024"], "");
    let rsa = openssl(&["genrsa", "2048"], "");
    let sealed = openssl(&["pkcs8", "-topk8", "-v2", "aes-256-cbc", "-passout", "pass:secret"], &rsa);
    let public = openssl(&["pkey", "-pubout"], &ec);
    let certainly = rsa.lines().nth(3).unwrap().to_owned();
    for (body, field, words) in [
        (json!({ "private_key": small }), "private_key", "1024 bits"),
        (json!({ "private_key": rsa, "algorithm": "ES256" }), "algorithm", "RS256 and PS256 fit"),
        (json!({ "private_key": sealed }), "private_key", "countermark key import"),
        (json!({ "private_key": public }), "private_key", "no private key"),
        (json!({ "private_key": "" }), "private_key", "not PEM"),
        (json!({ "private_key": [rsa] }), "private_key", "string"),
    ] {
        let refused = admin.post("/keys", body, 422).await;
        assert_eq!(refused["errors"][0]["field"], field, "{}", refused.text);
        assert!(refused.text.contains(words) && !refused.text.contains(&certainly), "{}", refused.text);
    }
    let rotator = app.account("rotator", &["keys:rotate", "keys:read"]).await;
    let lacking = rotator.post("/keys", json!({ "private_key": rsa }), 403).await;
    assert!(lacking["detail"].as_str().unwrap().contains("*:*"), "{}", lacking.text);
    let ps256 = admin.post("/keys", json!({ "private_key": rsa, "algorithm": "PS256" }), 201).await;
    assert_eq!(ps256["key"]["algorithm"], "PS256");
    assert_eq!(states(&admin).await, ["retiring", "active", "pending"]);
}

#[tokio::test]
async fn an_admin_whose_key_was_revoked_is_not_the_one_who_remains() {
    let app = App::start().await;
    let first = app.admin();
    let second = json!({ "username": "second", "role": "admin", "valid_for_months": 12 });
    let key = async |admin: &Actor| {
        let key = admin.post("/keys", json!({}), 201).await["key"]["id"].as_str().unwrap().to_owned();
        admin.post(&format!("/keys/{key}/activate"), json!({ "force": true }), 200).await;
        key
    };
    let revoke = async |admin: &Actor, key: &str, status: u16| {
        admin.post(&format!("/keys/{key}/revoke"), json!({ "confirm": key }), status).await
    };
    let of_the_first = keys(&first).await[0]["id"].as_str().unwrap().to_owned();
    let of_the_second = key(&first).await;
    let second = app.create(second).await;
    revoke(&second, &of_the_first, 200).await;
    assert_eq!(first.verdict().await, "revoked_key");
    // The first one can do nothing: the second must stay.
    let body = json!({ "status": "disabled" });
    for refused in [
        second.patch("/accounts/second", body, 409).await,
        second.delete("/accounts/second", 409).await,
        second.delete("/accounts/second/token", 409).await,
        revoke(&second, &of_the_second, 409).await,
    ] {
        assert_eq!(refused.reason(), "last_admin", "{}", refused.text);
    }
    // Nor does a change of the first one's account make him one who can.
    second.patch("/accounts/admin", json!({ "description": "changed" }), 200).await;
    assert_eq!(second.delete("/accounts/second/token", 409).await.reason(), "last_admin");
    // With a new token he is one again.
    second.regenerate("admin").await;
    second.delete("/accounts/second/token", 200).await;
}

#[tokio::test]
async fn what_was_begun_with_a_token_of_a_revoked_key_is_not_done() {
    let app = App::start().await;
    let first = app.admin();
    let second = json!({ "username": "second", "role": "admin", "valid_for_months": 12 });
    let key = keys(&first).await[0]["id"].as_str().unwrap().to_owned();
    let next = first.post("/keys", json!({}), 201).await["key"]["id"].as_str().unwrap().to_owned();
    first.post(&format!("/keys/{next}/activate"), json!({ "force": true }), 200).await;
    let second = app.create(second).await;
    app.account("ci", &[]).await;
    // Let in, and held up before his change.
    let token = first.token().to_owned();
    let demand = countermark::verify::Demand {
        audience: None,
        permission: None,
        team: None,
        presenter: countermark::verify::Presenter::ThirdParty,
    };
    let actor: countermark::verify::Actor = app.authority.node().decide(&token, &demand).await.unwrap().into();
    second.post(&format!("/keys/{key}/revoke"), json!({ "confirm": key }), 200).await;
    let author = Author::of(&actor);
    let read = app.authority.keys().document().await.unwrap();
    let sealed = app.authority.keys().seal(&read).unwrap();
    let change = KeyringChange { author: Some(author.clone()), ..KeyringChange::of(read.version, &sealed) };
    assert!(matches!(app.store.replace_keyring(&change, None, false).await, Err(StoreError::AuthorChanged)));
    let before = app.store.account(actor.account()).await.unwrap().unwrap();
    let event = countermark::audit::Event::new(app.clock.now(), "account.update", countermark::audit::Outcome::Done);
    let change = AccountChange {
        raises: None,
        id: before.id,
        before: Some(&before),
        after: Some((&before.state, &before.profile)),
        admin: Admin::Able(None),
        author: Some(author.clone()),
        setup: None,
        reuse: None,
        keys_version: None,
        now: app.clock.now(),
        event: &event,
    };
    let act = app.authority.node().recorder().number(event.clone());
    assert!(matches!(app.store.change_account(&change, &act, false).await, Err(StoreError::AuthorChanged)));
    let change = NamedChange {
        kind: NamedKind::Team,
        name: "made",
        before: None,
        after: Some("{\"d\":\"\"}".to_owned()),
        author: Some(author),
        raises: None,
        event: &event,
    };
    assert!(matches!(app.store.change_named(&change, &act, false).await, Err(StoreError::AuthorChanged)));
}

#[tokio::test]
async fn k2_a_token_that_is_accepted_still_keeps_its_key() {
    let app = App::start().await;
    let admin = app.admin();
    let first = keys(&admin).await[0]["id"].as_str().unwrap().to_owned();
    let ci = app.create(json!({ "username": "ci", "role": "auditor", "valid_for_months": 6 })).await;
    let ends: chrono::DateTime<chrono::Utc> =
        ci.get("/self", 200).await["token"]["expires_at"].as_str().unwrap().parse().unwrap();
    let next = admin.post("/keys", json!({}), 201).await["key"]["id"].as_str().unwrap().to_owned();
    admin.post(&format!("/keys/{next}/activate"), json!({ "force": true }), 200).await;
    let admin = admin.holding(&admin.regenerate("admin").await);
    let until_the_end = (ends - app.clock.now()).to_std().unwrap();
    app.clock.advance(until_the_end + Duration::from_secs(3));
    let stop = CancellationToken::new();
    tokio::spawn(Upkeep::new(Arc::clone(&app.authority)).run(stop.clone()));
    // Past its end, within what clocks may be off.
    let refused = admin.post(&format!("/keys/{first}/retire"), json!({}), 409).await;
    assert_eq!(refused.reason(), "key_in_use");
    for _ in 0..50 {
        assert_eq!(ci.verdict().await, "allowed");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(states(&admin).await, ["retiring", "active"]);
    app.clock.advance(Duration::from_secs(3));
    assert_eq!(ci.verdict().await, "expired");
    eventually("the first key is retired", || async { states(&admin).await == ["retired", "active"] }).await;
    stop.cancel();
}
