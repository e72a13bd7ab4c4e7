//! What must be right whatever happens at the same time.

use std::sync::Arc;

use countermark::keyring::KeyEntry;
use countermark::token::{Algorithm, SigningKey};
use countermark::verify::KeyState;
use serde_json::{Value, json};
use tokio::sync::Barrier;

use crate::app::{Actor, Answer, App, DAY};

/// Who, method, path, body, `If-Match`.
type Call = (Actor, &'static str, String, Option<Value>, Option<String>);

/// All of them at the same moment, on threads of their own.
async fn at_once(calls: Vec<Call>) -> Vec<Answer> {
    let barrier = Arc::new(Barrier::new(calls.len()));
    let tasks: Vec<_> = calls
        .into_iter()
        .map(|(actor, method, path, body, tag)| {
            let barrier = Arc::clone(&barrier);
            tokio::spawn(async move {
                let headers: Vec<(&str, &str)> = tag.iter().map(|tag| ("if-match", tag.as_str())).collect();
                barrier.wait().await;
                actor.send_with(method, &path, body, &headers).await
            })
        })
        .collect();
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    answers
}

fn statuses(answers: &[Answer]) -> Vec<u16> {
    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status.as_u16()).collect();
    statuses.sort_unstable();
    statuses
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_regenerations_at_once_those_that_succeed_follow_each_other() {
    let app = App::start().await;
    let admin = app.admin();
    let mut tokens = vec![app.account("ci", &[]).await.token().to_owned()];
    let mut lost = 0;
    for _ in 0..60 {
        let before = app.look("ci").await["generation"].as_u64().unwrap();
        let call =
            || (admin.clone(), "POST", "/accounts/ci/token".to_owned(), Some(json!({ "valid_for_months": 6 })), None);
        let answers = at_once(vec![call(), call(), call()]).await;
        let won: Vec<_> = answers.iter().filter(|answer| answer.status == 201).collect();
        // Whoever read after another's commit follows it; whoever read before loses.
        assert!(!won.is_empty());
        for answer in answers.iter().filter(|answer| answer.status != 201) {
            assert_eq!((answer.status.as_u16(), answer.reason()), (409, "conflict"));
            lost += 1;
        }
        let mut generations: Vec<u64> =
            won.iter().map(|answer| answer["account"]["generation"].as_u64().unwrap()).collect();
        generations.sort_unstable();
        let expected: Vec<u64> = (before + 1..=before + u64::try_from(won.len()).unwrap()).collect();
        assert_eq!(generations, expected, "no generation twice, none left out");
        tokens.extend(won.iter().map(|answer| answer.text_of("token")));
        let last = app.look("ci").await;
        let mut good = 0;
        for token in tokens.iter().rev().take(6) {
            if app.bearer(token).verdict().await == "allowed" {
                good += 1;
                assert_eq!(crate::app::claims_of(token)["gen"], last["generation"]);
            }
        }
        assert_eq!(good, 1, "exactly one token is good");
    }
    assert!(lost > 0, "there was no race");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_changes_of_one_version_one_is_made() {
    let app = App::start().await;
    app.account("ci", &[]).await;
    let admin = app.admin();
    for round in 0..40 {
        let tag = format!("\"{}\"", app.look("ci").await["version"].as_str().unwrap());
        let call = |text: String| {
            let body = json!({ "description": text });
            (admin.clone(), "PATCH", "/accounts/ci".to_owned(), Some(body), Some(tag.clone()))
        };
        let answers = at_once(vec![call(format!("a{round}")), call(format!("b{round}"))]).await;
        assert_eq!(statuses(&answers), [200, 412]);
        let won = answers.iter().find(|answer| answer.status == 200).unwrap();
        assert_eq!(app.look("ci").await["description"], won["account"]["description"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_admins_who_demote_each_other_leave_one() {
    let app = App::start().await;
    app.role("weak", &[]).await;
    let first = app.admin();
    let mut good = vec![first];
    for round in 0..40 {
        let name = format!("admin-{round}");
        let body = json!({ "username": name, "role": "admin", "valid_for_months": 12 });
        let made = good[0].post("/accounts", body, 201).await;
        let id = made["account"]["id"].as_str().unwrap().to_owned();
        let (one, two) = (good[0].clone(), Actor { id, ..good[0].holding(&made.text_of("token")) });
        let (method, body) = match round % 4 {
            0 => ("PATCH", Some(json!({ "role": "weak" }))),
            1 => ("PATCH", Some(json!({ "status": "disabled" }))),
            2 => ("DELETE", None),
            _ => ("DELETE", None),
        };
        let path = |of: &Actor| format!("/accounts/{}{}", of.id, if round % 4 == 3 { "/token" } else { "" });
        let answers = at_once(vec![
            (one.clone(), method, path(&two), body.clone(), None),
            (two.clone(), method, path(&one), body, None),
        ])
        .await;
        let made = answers.iter().filter(|answer| answer.status == 200).count();
        assert_eq!(made, 1, "{answers:#?}");
        let one_left = one.send("GET", "/accounts", None).await.status == 200;
        let two_left = two.send("GET", "/accounts", None).await.status == 200;
        assert_ne!(one_left, two_left, "one admin is left, and only one");
        good = vec![if one_left { one } else { two }];
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_of_those_who_want_a_username_gets_it() {
    let app = App::start().await;
    app.role("r", &[]).await;
    let admin = app.admin();
    for round in 0..30 {
        let body = json!({ "username": format!("ci-{round}"), "role": "r", "valid_for_months": 12 });
        let call = || (admin.clone(), "POST", "/accounts".to_owned(), Some(body.clone()), None);
        let answers = at_once(vec![call(), call(), call()]).await;
        assert_eq!(statuses(&answers), [201, 409, 409]);
        for answer in answers {
            if answer.status == 201 {
                assert_eq!(app.bearer(&answer.text_of("token")).verdict().await, "allowed");
            } else {
                assert_eq!(answer.reason(), "username_taken");
            }
        }
    }
    assert_eq!(admin.all("/accounts?limit=10").await.len(), 31);
    // The same for a name that is free again.
    for round in 0..30 {
        admin.delete(&format!("/accounts/ci-{round}"), 200).await;
    }
    app.clock.advance(401 * DAY);
    let issued =
        countermark::authority::recover(&app.authority, &"admin".parse().unwrap(), None, |_| Ok(())).await.unwrap();
    let admin = admin.holding(&issued.token);
    for round in 0..30 {
        let body = json!({ "username": format!("ci-{round}"), "role": "r", "valid_for_months": 12 });
        let call = || (admin.clone(), "POST", "/accounts".to_owned(), Some(body.clone()), None);
        assert_eq!(statuses(&at_once(vec![call(), call(), call()]).await), [201, 409, 409]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_role_is_not_deleted_from_under_an_account() {
    let app = App::start().await;
    let admin = app.admin();
    for round in 0..30 {
        app.role("r", &[]).await;
        let name = format!("ci-{round}");
        let body = json!({ "username": name, "role": "r", "valid_for_months": 12 });
        let answers = at_once(vec![
            (admin.clone(), "POST", "/accounts".to_owned(), Some(body), None),
            (admin.clone(), "DELETE", "/roles/r".to_owned(), None, None),
        ])
        .await;
        match (answers[0].status.as_u16(), answers[1].status.as_u16()) {
            (201, 409) => {
                assert_eq!(answers[1].reason(), "role_in_use");
                admin.get("/roles/r", 200).await;
                admin.delete(&format!("/accounts/{name}"), 200).await;
            }
            (422, 200) => assert_eq!(answers[0].fields(), ["role"]),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_role_is_not_changed_by_whoever_saw_an_older_one() {
    let app = App::start().await;
    let admin = app.admin();
    let mut lost = 0;
    for round in 0..40 {
        for kind in ["roles", "teams"] {
            let call = |text: &str| {
                let body = match kind {
                    "roles" => json!({ "description": text, "permissions": [] }),
                    _ => json!({ "description": text }),
                };
                (admin.clone(), "PUT", format!("/{kind}/r{round}"), Some(body), None)
            };
            let answers = at_once(vec![call("a"), call("b"), call("c")]).await;
            let count = |status: u16| answers.iter().filter(|answer| answer.status == status).count();
            assert_eq!(count(201), 1, "it comes to be once: {:?}", statuses(&answers));
            assert_eq!(count(201) + count(200) + count(409), 3);
            lost += count(409);
        }
    }
    assert!(lost > 0, "there was no race");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_writes_over_power_that_a_role_was_just_given() {
    let app = App::start().await;
    let admin = app.admin();
    let lead = app.account("lead", &["roles:write", "a:*"]).await;
    for round in 0..30 {
        let name = format!("r{round}");
        app.role(&name, &["a:b"]).await;
        let path = format!("/roles/{name}");
        let answers = at_once(vec![
            (admin.clone(), "PUT", path.clone(), Some(json!({ "permissions": ["a:b", "strong:x"] })), None),
            (lead.clone(), "PUT", path.clone(), Some(json!({ "permissions": ["a:c"] })), None),
        ])
        .await;
        let now = admin.get(&path, 200).await["permissions"].clone();
        match (answers[0].status.as_u16(), answers[1].status.as_u16()) {
            (200, 200 | 403 | 409) => assert_eq!(now, json!(["a:b", "strong:x"])),
            (409, 200) => assert_eq!(now, json!(["a:c"])),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_token_survives_a_revocation_that_was_acknowledged_after_it() {
    let app = App::start().await;
    let admin = app.admin();
    app.account("ci", &[]).await;
    for _ in 0..40 {
        let answers = at_once(vec![
            (admin.clone(), "POST", "/accounts/ci/token".to_owned(), Some(json!({ "valid_for_months": 6 })), None),
            (admin.clone(), "DELETE", "/accounts/ci/token".to_owned(), None, None),
        ])
        .await;
        let account = app.look("ci").await;
        let issued = (answers[0].status == 201).then(|| app.bearer(&answers[0].text_of("token")));
        match (issued, answers[1].status.as_u16()) {
            (Some(issued), 200) => {
                // Whichever came last.
                let good = issued.verdict().await == "allowed";
                assert_eq!(good, account["token"].is_object(), "{account}");
                let (revoked, made) = (&answers[1]["receipt"]["epoch"], &answers[0]["receipt"]["epoch"]);
                let number = |epoch: &Value| epoch.as_str().unwrap().split_once('-').unwrap().1.parse::<u64>().unwrap();
                assert_eq!(good, number(made) > number(revoked));
            }
            (Some(issued), 409) => assert_eq!(issued.verdict().await, "allowed"),
            (None, 200) => assert!(account["token"].is_null()),
            other => panic!("{:?}", other.1),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_key_signs_after_it_was_replaced_and_nobody_is_told_to_repeat() {
    let app = App::start().await;
    let admin = app.admin();
    app.account("ci", &[]).await;
    app.account("cd", &[]).await;
    for _ in 0..60 {
        let mut read = app.authority.keys().document().await.unwrap();
        let new = SigningKey::generate(Algorithm::ES256).unwrap();
        for key in &mut read.document.keys {
            key.state = KeyState::Retiring;
        }
        read.document.keys.push(KeyEntry::active(&new, countermark::clock::Clock::now(app.clock.as_ref())));
        let authority = Arc::clone(&app.authority);
        let replacing = tokio::spawn(async move { crate::keys::replace(&authority, &read).await });
        let call = |path: &str| (admin.clone(), "POST", path.to_owned(), Some(json!({ "valid_for_months": 6 })), None);
        let answers = at_once(vec![call("/accounts/ci/token"), call("/accounts/cd/token")]).await;
        replacing.await.unwrap();
        let words = ["XREVRANGE", &app.key("feed"), "+", "-", "COUNT", "10"];
        let feed: redis::streams::StreamRangeReply = app.redis.run(&words).await;
        let replaced = feed.ids.iter().find(|entry| entry.get::<String>("t").unwrap() == "keys").unwrap();
        let number = |epoch: &str| epoch.split_once('-').unwrap().1.parse::<u64>().unwrap();
        for answer in &answers {
            assert_eq!(answer.status, 201, "it is signed anew: {}", answer.text);
            if answer["account"]["token"]["key_id"] != new.public().key_id() {
                let epoch = answer["receipt"]["epoch"].as_str().unwrap();
                assert!(
                    number(epoch) < number(&replaced.id),
                    "{epoch} is signed by the key replaced at {}",
                    replaced.id
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_holder_who_ends_his_token_is_answered_200_whatever_happens_meanwhile() {
    let app = App::start().await;
    let admin = app.admin();
    for round in 0..90 {
        let ci = app.account(&format!("ci-{round}"), &[]).await;
        let path = format!("/accounts/ci-{round}");
        let form = format!("token={}", ci.token());
        let revoking: Vec<_> = (0..3)
            .map(|_| {
                let (nobody, form) = (app.nobody(), form.clone());
                tokio::spawn(async move { nobody.form("/oauth2/revoke", &form, 200).await })
            })
            .collect();
        let other = match round % 3 {
            0 => (admin.clone(), "PATCH", path, Some(json!({ "description": "changed" })), None),
            1 => (admin.clone(), "DELETE", path, None, None),
            _ => (admin.clone(), "POST", format!("{path}/token"), Some(json!({ "valid_for_months": 6 })), None),
        };
        let other = at_once(vec![other]).await.remove(0);
        for revoking in revoking {
            revoking.await.unwrap();
        }
        assert_ne!(ci.verdict().await, "allowed");
        // A successor that was issued meanwhile is nobody's to end by the older token.
        if let Some(token) = other["token"].as_str() {
            assert_eq!(ci.holding(token).verdict().await, "allowed");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_token_that_is_superseded_meanwhile_does_not_renew_itself() {
    let app = App::start().await;
    let admin = app.admin();
    let mut ci = app.account("ci", &["tokens:renew"]).await;
    for _ in 0..90 {
        let body = Some(json!({ "valid_for_months": 6 }));
        let answers = at_once(vec![
            (ci.clone(), "POST", "/self/token".to_owned(), body.clone(), None),
            (admin.clone(), "POST", "/accounts/ci/token".to_owned(), body, None),
        ])
        .await;
        let (renewed, regenerated) = (&answers[0], &answers[1]);
        if renewed.status == 201 && regenerated.status == 201 {
            let generation = |answer: &Answer| answer["account"]["generation"].as_u64().unwrap();
            assert!(generation(renewed) < generation(regenerated), "the older token overtook its successor");
        }
        let last = answers.iter().filter(|answer| answer.status == 201);
        let last = last.max_by_key(|answer| answer["account"]["generation"].as_u64()).unwrap();
        ci = ci.holding(&last.text_of("token"));
        assert_eq!(ci.verdict().await, "allowed");
    }
}
