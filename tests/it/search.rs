//! Accounts are looked for among very many: all that are meant are found, and only they, however they have changed.

use std::collections::BTreeSet;

use countermark::clock::Clock as _;
use serde_json::json;

use crate::app::{Actor, App};

/// More than are read at once, wherever they are read.
const MANY: usize = 5_600;

/// Accounts as `plain` is, straight into the store: `many-00000` and so on. Each third has another description.
async fn many(app: &App, admin: &Actor) {
    admin.post("/accounts", json!({ "username": "plain", "role": "r", "valid_for_months": 12 }), 201).await;
    let plain = admin.get("/accounts/plain", 200).await.json;
    let id = plain["id"].as_str().unwrap();
    let catalogue = app.key("catalogue");
    let line: Vec<String> = app.redis.run(&["ZRANGEBYLEX", &catalogue, "[plain\n", "(plain\x0b"]).await;
    let [line] = line.as_slice() else { panic!("one line: {line:?}") };
    let state: String = app.redis.run(&["GET", &app.state_key(id)]).await;
    let profile: String = app.redis.run(&["GET", &app.key(&format!("p:{id}"))]).await;
    let mut connection = app.redis.connection().await;
    let mut pipe = redis::pipe();
    for number in 0..MANY {
        let name = format!("many-{number:05}");
        let new = countermark::account::AccountId::new(app.clock.now());
        let told = if number % 3 == 0 { "Drei Öfen" } else { "" };
        let profile = profile.replacen(r#""description":"""#, &format!(r#""description":"{told}""#), 1);
        pipe.set(app.state_key(&new.to_string()), state.replacen("plain", &name, 1));
        pipe.set(app.key(&format!("p:{new}")), profile);
        pipe.hset(app.key("names"), &name, new.to_string());
        for list in ["list", "of_role:r"] {
            pipe.zadd(app.key(list), &name, 0);
        }
        pipe.zadd(&catalogue, format!("{}{}", line.replacen("plain", &name, 1), told.to_lowercase()), 0);
        if number % 200 == 199 || number + 1 == MANY {
            pipe.exec_async(&mut connection).await.unwrap();
            pipe.clear();
        }
    }
}

async fn found(admin: &Actor, query: &str) -> Vec<String> {
    let items = admin.all(&format!("/accounts?limit=500&{query}")).await;
    items.iter().map(|item| item["username"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn among_very_many_all_and_only_those_are_found_that_are_meant() {
    let app = App::start().await;
    let admin = app.admin();
    app.role("r", &[]).await;
    app.role("s", &[]).await;
    app.team("t").await;
    let new = |name: &str, more: serde_json::Value| {
        let mut body = json!({ "username": name, "role": "r", "valid_for_months": 12 });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    admin.post("/accounts", new("zz-last", json!({ "description": "Delivers Post\nat night" })), 201).await;
    admin.post("/accounts", new("aa-first", json!({ "valid_for_months": 6, "role": "s" })), 201).await;
    admin.post("/accounts", new("mm-middle", json!({ "teams": { "t": "s" } })), 201).await;
    many(&app, &admin).await;

    // Wherever it stands, in the name or in the description, in any case.
    assert_eq!(found(&admin, "query=zz-l").await, ["zz-last"]);
    assert_eq!(found(&admin, "query=post%0Aat").await, ["zz-last"]);
    assert_eq!(found(&admin, "query=nobody-is-called-so").await, [""; 0]);
    assert_eq!(found(&admin, "query=ny-0559").await.len(), 10);
    let third: Vec<String> = (0..MANY).step_by(3).map(|number| format!("many-{number:05}")).collect();
    assert_eq!(found(&admin, "query=%C3%B6fen").await, third);
    // With what else is asked for.
    let half_a_year = (app.clock.now() + chrono::TimeDelta::days(300)).format("%Y-%m-%dT%H:%M:%SZ");
    assert_eq!(found(&admin, &format!("expires_before={half_a_year}")).await, ["aa-first"]);
    assert_eq!(found(&admin, "status=disabled").await, [""; 0]);
    assert_eq!(found(&admin, "query=m&role=s").await, ["mm-middle"]);
    assert_eq!(found(&admin, "query=m&team=t").await, ["mm-middle"]);
    assert_eq!(found(&admin, "query=zz&kind=user").await, [""; 0]);
    assert_eq!(found(&admin, "query=a&prefix=aa").await, ["aa-first"]);
    assert_eq!(found(&admin, "status=active&role=r").await.len(), MANY + 3);

    // As they change.
    admin.patch("/accounts/zz-last", json!({ "description": "rests" }), 200).await;
    admin.patch("/accounts/many-05432", json!({ "status": "disabled" }), 200).await;
    admin.delete("/accounts/aa-first", 200).await;
    assert_eq!(found(&admin, "query=post").await, [""; 0]);
    assert_eq!(found(&admin, "query=rests").await, ["zz-last"]);
    assert_eq!(found(&admin, "status=disabled").await, ["many-05432"]);
    assert_eq!(found(&admin, "query=aa-f").await, [""; 0]);
    admin.post("/accounts/mm-middle/token", json!({ "valid_for_months": 6 }), 201).await;
    assert_eq!(found(&admin, &format!("expires_before={half_a_year}")).await, ["mm-middle"]);

    // A dataset of an earlier version has no catalogue: it is gone through.
    app.redis.run::<u64>(&["HSET", &app.key("meta"), "indexed", "1"]).await;
    app.redis.run::<u64>(&["DEL", &app.key("catalogue")]).await;
    assert_eq!(found(&admin, "status=disabled").await, ["many-05432"]);
    assert_eq!(found(&admin, "query=rests").await, ["zz-last"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_account_stands_in_the_catalogue_once_as_it_is() {
    let app = App::start().await;
    let admin = app.admin();
    app.role("r", &[]).await;
    app.role("s", &[]).await;
    app.team("t").await;
    let catalogue = async || -> Vec<String> { app.redis.run(&["ZRANGE", &app.key("catalogue"), "0", "-1"]).await };
    let line = async |name: &str| -> Option<Vec<String>> {
        let lines = catalogue().await.into_iter().filter(|line| line.starts_with(&format!("{name}\n")));
        let lines: BTreeSet<String> = lines.collect();
        assert!(lines.len() <= 1, "{lines:?}");
        Some(lines.first()?.splitn(5, '\n').map(str::to_owned).collect())
    };
    let expiry = async |name: &str| {
        let account = admin.get(&format!("/accounts/{name}"), 200).await.json;
        let text = account["token"]["expires_at"].as_str().unwrap().to_owned();
        chrono::DateTime::parse_from_rfc3339(&text).unwrap().timestamp()
    };
    // Names that begin alike.
    for name in ["a", "a-b", "ab"] {
        admin.post("/accounts", json!({ "username": name, "role": "r", "valid_for_months": 6 }), 201).await;
    }
    assert_eq!(line("a").await.unwrap(), ["a", &format!("sa{}", expiry("a").await), "r", "", ""]);
    let patch = json!({ "description": "Öffnet\nalles", "role": "s", "teams": { "t": "r" }, "status": "disabled" });
    admin.patch("/accounts/a", patch, 200).await;
    assert_eq!(line("a").await.unwrap(), ["a", &format!("sd{}", expiry("a").await), "s", "t=r", "öffnet\nalles"]);
    admin.patch("/accounts/a", json!({ "status": "active" }), 200).await;
    let before = expiry("a").await;
    admin.post("/accounts/a/token", json!({ "valid_for_months": 24 }), 201).await;
    let after = expiry("a").await;
    assert_ne!(before, after);
    assert_eq!(line("a").await.unwrap()[1], format!("sa{after}"));
    admin.delete("/accounts/a/token", 200).await;
    assert_eq!(line("a").await.unwrap()[1], "sa");
    admin.delete("/accounts/a", 200).await;
    assert_eq!(line("a").await, None);
    let names: Vec<String> = catalogue().await.iter().map(|line| line.split('\n').next().unwrap().to_owned()).collect();
    let listed: Vec<String> = app.redis.run(&["ZRANGE", &app.key("list"), "0", "-1"]).await;
    assert_eq!(names, listed);
    admin.post("/users", json!({ "username": "ada", "role": "r" }), 201).await;
    assert_eq!(line("ada").await.unwrap(), ["ada", "ua", "r", "", ""]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_is_shown_whoever_stands_before_it() {
    let app = App::start().await;
    let admin = app.admin();
    admin.post("/accounts", json!({ "username": "zz-last", "role": "auditor", "valid_for_months": 12 }), 201).await;
    let first = json!({ "username": "aa", "description": "what zz-l does", "role": "auditor", "valid_for_months": 12 });
    admin.post("/accounts", first, 201).await;
    // More than are looked at for one page; there is nothing to them but their lines.
    let mut connection = app.redis.connection().await;
    let mut pipe = redis::pipe();
    for number in 0..26_000 {
        pipe.zadd(app.key("catalogue"), format!("many-{number:05}\nsa\nauditor\n\n"), 0);
        pipe.zadd(app.key("list"), format!("many-{number:05}"), 0);
        if number % 500 == 499 {
            pipe.exec_async(&mut connection).await.unwrap();
            pipe.clear();
        }
    }
    let browser = app.signed_in(admin.token()).await;
    let page = browser.get("/console/service-accounts?query=zz-l", 200).await;
    assert!(page.text.contains(">zz-last</a>") && page.text.contains(">aa</a>"), "{}", page.text);
    let page = browser.get("/console/service-accounts?query=zz-la", 200).await;
    assert!(page.text.contains(">zz-last</a>") && page.text.contains("Look further"), "{}", page.text);
    let page = browser.get("/console/service-accounts?query=z-last", 200).await;
    assert!(page.text.contains("in the part that was looked at"), "{}", page.text);
    let next = page.text.split(r#"rel="next" href=""#).nth(1).unwrap().split('"').next().unwrap();
    let further = browser.get(&next.replace("&#38;", "&").replace("&amp;", "&"), 200).await;
    assert!(further.text.contains(">zz-last</a>"), "{}", further.text);
    assert_eq!(found(&admin, "query=z-last").await, ["zz-last"]);
}
