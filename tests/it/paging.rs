//! Lists: what is there throughout appears exactly once, whatever comes and goes between two pages.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::app::{Actor, App};

fn names(items: &[Value]) -> Vec<String> {
    items.iter().map(|item| item["username"].as_str().unwrap().to_owned()).collect()
}

/// The pages of a list, with something in between.
async fn walk(actor: &Actor, path: &str, mut between: impl AsyncFnMut()) -> Vec<Value> {
    let mut items = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let next = cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
        let page = actor.get(&format!("{path}{next}"), 200).await;
        items.extend(page["items"].as_array().unwrap().iter().cloned());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => return items,
        }
        between().await;
    }
}

#[derive(Debug, Clone)]
struct History {
    there: BTreeSet<u8>,
    /// Between the pages: numbers that are created, or deleted where they are there.
    between: Vec<Vec<u8>>,
    limit: usize,
}

fn history() -> impl Strategy<Value = History> {
    let numbers = proptest::collection::btree_set(0_u8..40, 0..20);
    let between = proptest::collection::vec(proptest::collection::vec(0_u8..40, 0..4), 0..8);
    (numbers, between, 1_usize..7).prop_map(|(there, between, limit)| History { there, between, limit })
}

#[test]
fn an_account_that_exists_throughout_appears_exactly_once() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 12,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    runner
        .run(&history(), |history| {
            runtime.block_on(async {
                let app = App::start().await;
                let admin = app.admin();
                app.role("even", &[]).await;
                app.role("odd", &[]).await;
                let create = async |number: u8| {
                    let role = if number.is_multiple_of(2) { "even" } else { "odd" };
                    let body = json!({ "username": format!("a{number:02}"), "role": role, "valid_for_months": 6 });
                    admin.send("POST", "/accounts", Some(body)).await.status == 201
                };
                for number in &history.there {
                    create(*number).await;
                }
                for (filter, matches) in [("", 3), ("&role=even", 0), ("&role=odd", 1)] {
                    let mut present: BTreeSet<String> =
                        names(&admin.all("/accounts?limit=500").await).into_iter().collect();
                    let mut throughout = present.clone();
                    let mut ever = present.clone();
                    let mut between = history.between.clone();
                    let path = format!("/accounts?limit={}{filter}", history.limit);
                    let items = walk(&admin, &path, async || {
                        for number in between.pop().unwrap_or_default() {
                            let name = format!("a{number:02}");
                            if present.remove(&name) {
                                throughout.remove(&name);
                                admin.delete(&format!("/accounts/{name}"), 200).await;
                            } else if create(number).await {
                                // A name that was deleted before stays taken.
                                present.insert(name.clone());
                                ever.insert(name);
                            }
                        }
                    })
                    .await;
                    let found = names(&items);
                    let wanted = |name: &String| match (matches, name[1..].parse::<u8>()) {
                        (3, _) => true,
                        (_, Err(_)) => false,
                        (parity, Ok(number)) => number % 2 == parity,
                    };
                    assert!(found.is_sorted_by(|a, b| a < b), "in order, none twice: {found:?}");
                    for name in throughout.iter().filter(|name| wanted(name)) {
                        assert!(found.contains(name), "{name} is missing in {found:?}");
                    }
                    assert!(found.iter().all(|name| ever.contains(name) && wanted(name)), "{found:?}");
                }
            });
            Ok(())
        })
        .unwrap();
}

#[tokio::test]
async fn a_page_has_as_many_items_as_were_asked_for() {
    let app = App::start().await;
    let admin = app.admin();
    app.role("r", &[]).await;
    for number in 0..52 {
        app.create(json!({ "username": format!("a{number:02}"), "role": "r", "valid_for_months": 6 })).await;
    }
    let page = admin.get("/accounts", 200).await;
    assert_eq!(page["items"].as_array().unwrap().len(), 50);
    assert!(page["next_cursor"].is_string());
    assert_eq!(admin.get("/accounts?limit=53", 200).await["next_cursor"], json!(null));
    let page = admin.get("/accounts?limit=52", 200).await;
    assert_eq!(page["items"].as_array().unwrap().len(), 52);
    let rest = admin.get(&format!("/accounts?cursor={}", page["next_cursor"].as_str().unwrap()), 200).await;
    assert_eq!(
        (names(rest["items"].as_array().unwrap()), &rest["next_cursor"]),
        (vec!["admin".to_owned()], &json!(null))
    );
}

#[tokio::test]
async fn filters_of_the_accounts_find_what_they_say() {
    let app = App::start().await;
    let admin = app.admin();
    app.role("r", &[]).await;
    app.role("s", &[]).await;
    app.team("t").await;
    for (name, description, role, teams, months) in [
        ("deploy-a", "Ships", "r", json!({}), 6),
        ("deploy-b", "ÄHRE", "s", json!({ "t": "r" }), 12),
        ("other", "ships too", "s", json!({}), 24),
    ] {
        let body = json!({ "username": name, "description": description, "role": role, "teams": teams, "valid_for_months": months });
        app.create(body).await;
    }
    admin.patch("/accounts/other", json!({ "status": "disabled" }), 200).await;
    let now = countermark::clock::Clock::now(app.clock.as_ref());
    let in_a_year = countermark::clock::rfc3339::text(&(now + chrono::TimeDelta::days(300)));
    for (query, expected) in [
        ("query=deploy", vec!["deploy-a", "deploy-b"]),
        ("query=SHIPS", vec!["deploy-a", "other"]),
        ("query=%C3%A4hre", vec!["deploy-b"]),
        ("query=nothing", vec![]),
        ("prefix=deploy", vec!["deploy-a", "deploy-b"]),
        ("prefix=DEPLOY-&role=s", vec!["deploy-b"]),
        ("prefix=o", vec!["other"]),
        ("prefix=eploy", vec![]),
        ("prefix=zz", vec![]),
        ("prefix=%C3%A4", vec![]),
        ("prefix=deploy&kind=service", vec!["deploy-a", "deploy-b"]),
        ("kind=user", vec![]),
        ("role=r", vec!["deploy-a", "deploy-b"]),
        ("role=s&query=deploy", vec!["deploy-b"]),
        ("team=t", vec!["deploy-b"]),
        ("team=none", vec![]),
        ("status=disabled", vec!["other"]),
        ("status=active&role=s", vec!["deploy-b"]),
        (&format!("expires_before={in_a_year}"), vec!["deploy-a"]),
    ] {
        assert_eq!(names(&admin.all(&format!("/accounts?{query}&limit=1")).await), expected, "{query}");
    }
    // A cursor of another list begins nothing before the prefix.
    let cursor = admin.get("/accounts?limit=1", 200).await.text_of("next_cursor");
    let rest = admin.all(&format!("/accounts?prefix=deploy-b&limit=1&cursor={cursor}")).await;
    assert_eq!(names(&rest), ["deploy-b"]);
    admin.delete("/accounts/deploy-a/token", 200).await;
    assert_eq!(names(&admin.all(&format!("/accounts?expires_before={in_a_year}&limit=1")).await), Vec::<String>::new());
}

#[tokio::test]
async fn pages_of_the_audit_stay_right_while_events_arrive() {
    let app = App::start().await;
    let admin = app.admin();
    let ci = app.account("ci", &[]).await;
    for number in 0..15 {
        ci.door("GET", &format!("/verify/before/{number}"), 200).await;
        admin.patch("/accounts/ci", json!({ "description": format!("{number}") }), 200).await;
        app.clock.advance(std::time::Duration::from_secs(1));
        app.settled().await;
    }
    for path in [
        "/audit?limit=3",
        "/accounts/ci/activity?limit=3",
        "/audit?limit=3&account=ci&kind=call",
        "/audit?limit=3&kind=call",
    ] {
        app.settled().await;
        let before: BTreeSet<String> = walk(&admin, &path.replace("limit=3", "limit=500"), async || {})
            .await
            .iter()
            .map(|event| event["id"].as_str().unwrap().to_owned())
            .collect();
        let mut number = 0;
        let items = walk(&admin, path, async || {
            number += 1;
            if number < 5 {
                app.clock.advance(std::time::Duration::from_secs(1));
                ci.door("GET", &format!("/verify/meanwhile/{number}"), 200).await;
                admin.patch("/accounts/ci", json!({ "description": format!("meanwhile {number}") }), 200).await;
                app.settled().await;
            }
        })
        .await;
        let mut seen = BTreeMap::new();
        for event in &items {
            *seen.entry(event["id"].as_str().unwrap().to_owned()).or_insert(0) += 1;
        }
        assert!(seen.values().all(|count| *count == 1), "{path}: an event came twice");
        assert!(before.iter().all(|id| seen.contains_key(id)), "{path}: an event is missing");
        let times: Vec<&str> = items.iter().map(|event| event["time"].as_str().unwrap()).collect();
        assert!(times.is_sorted_by(|a, b| a >= b), "{path}: from the newest on: {times:?}");
    }
}

#[tokio::test]
async fn what_arrives_after_the_first_page_is_on_no_later_one() {
    let app = App::start().await;
    let admin = app.admin();
    let ci = app.account("ci", &[]).await;
    let second = std::time::Duration::from_secs(1);
    for _ in 0..3 {
        app.clock.advance(second);
        ci.door("GET", "/verify", 200).await;
    }
    app.settled().await;
    // The newest are all of one kind, so that a first page needs nothing of the other stream.
    for number in 0..6 {
        app.clock.advance(second);
        app.create(json!({ "username": format!("a{number}"), "role": "ci-role", "valid_for_months": 6 })).await;
        admin.patch("/accounts/ci", json!({ "description": format!("{number}") }), 200).await;
    }
    app.settled().await;
    // A stream that was empty as well.
    app.create(json!({ "username": "quiet", "role": "ci-role", "valid_for_months": 6 })).await;
    admin.patch("/accounts/quiet", json!({ "description": "x" }), 200).await;
    let quiet = app.bearer(&admin.regenerate("quiet").await);
    for path in ["/accounts/ci/activity?limit=2", "/audit?limit=2", "/accounts/quiet/activity?limit=2"] {
        let mut first = true;
        let items = walk(&admin, path, async || {
            if std::mem::take(&mut first) {
                app.clock.advance(second);
                ci.door("GET", "/verify/late", 200).await;
                quiet.door("GET", "/verify/late", 200).await;
                app.settled().await;
            }
        })
        .await;
        let times: Vec<&str> = items.iter().map(|event| event["time"].as_str().unwrap()).collect();
        assert!(times.is_sorted_by(|a, b| a >= b), "{path}: {times:?}");
    }
}
