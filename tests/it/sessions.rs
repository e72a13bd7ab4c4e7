//! Sessions: begun, used, ended; theft, fixation, other sites, guessing.

use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use serde_json::json;

use crate::app::{Answer, App, eventually};
use crate::browser::{Browser, encoded, sent_to};
use crate::users::{OTHER, PASSWORD, path_of, person, secret_of, set, sign_in};

#[tokio::test]
async fn whoever_is_not_signed_in_is_asked_to_and_comes_back_to_his_page() {
    let app = App::start().await;
    let browser = app.browser();
    let turned_away = browser.get("/console/me?x=1", 303).await;
    assert_eq!(sent_to(&turned_away), "/console/sign-in?to=%2Fconsole%2Fme%3Fx%3D1");
    let page = browser.get(sent_to(&turned_away), 200).await;
    assert!(page.text.contains(r#"name="to" value="/console/me?x=1""#), "{}", page.text);
    let token = app.admin().token().to_owned();
    let let_in = browser.post("/console/sign-in", &[("token", &token), ("to", "/console/me?x=1")], 303).await;
    assert_eq!(sent_to(&let_in), "/console/me?x=1");
    for elsewhere in ["//evil.example", "https://evil.example/console", "/console/../x", "javascript:alert(1)"] {
        let let_in = browser.post("/console/sign-in", &[("token", &token), ("to", elsewhere)], 303).await;
        assert_eq!(sent_to(&let_in), "/console", "{elsewhere}");
        let asked = browser
            .get(&format!("/console/sign-in?to={}", encoded(&[("", elsewhere)]).trim_start_matches('=')), 200)
            .await;
        assert!(asked.text.contains(r#"name="to" value="/console""#), "{elsewhere}: {}", asked.text);
    }
}

#[tokio::test]
async fn a_session_begun_with_a_token_is_good_for_as_long_as_the_token_is() {
    let app = App::start().await;
    let ci = app.account("ci", &["accounts:read", "tokens:issue"]).await;
    let browser = app.signed_in(ci.token()).await;
    browser.get("/console/me", 200).await;
    app.admin().regenerate(&ci.id).await;
    assert!(sent_to(&browser.get("/console/me", 303).await).starts_with("/console/sign-in"));
    let dead = app.browser();
    dead.post("/console/sign-in", &[("token", ci.token())], 401).await;
    assert_eq!(dead.session(), None);
}

#[tokio::test]
async fn rights_follow_the_account_while_somebody_is_signed_in() {
    let app = App::start().await;
    let ada = person(&app, "ada", "admin").await;
    sign_in(&ada, "ada", PASSWORD, 303).await;
    let read = async || ada.send("GET", "/api/v1/keys", None, &[]).await;
    read().await.expect(200);
    app.role("nothing", &["accounts:read"]).await;
    app.admin().patch("/accounts/ada", json!({ "role": "nothing" }), 200).await;
    assert_eq!(read().await.expect(403).reason(), "insufficient_permission");
    app.admin().patch("/accounts/ada", json!({ "allowed_networks": ["192.0.2.0/24"] }), 200).await;
    assert_eq!(read().await.expect(401).reason(), "network_not_allowed");
    app.admin().patch("/accounts/ada", json!({ "allowed_networks": [] }), 200).await;
    read().await.expect(403);
    app.admin().patch("/accounts/ada", json!({ "status": "disabled" }), 200).await;
    assert_eq!(read().await.expect(401).reason(), "session_ended");
    sign_in(&app.browser(), "ada", PASSWORD, 401).await;
    // It does not come back with the account.
    app.admin().patch("/accounts/ada", json!({ "status": "active" }), 200).await;
    assert_eq!(read().await.expect(401).reason(), "session_ended");
    sign_in(&ada, "ada", PASSWORD, 303).await;
    read().await.expect(403);
    app.admin().delete("/accounts/ada", 200).await;
    assert_eq!(read().await.expect(401).reason(), "session_ended");
}

/// Sends the headers of a form, ends the session once they have been decided about, and then sends the rest.
async fn with_the_session_ended_in_between(
    app: &App,
    browser: &Browser,
    (method, path, headers, body): (&str, &str, &[(&str, &str)], String),
) -> Answer {
    let (asked, is_asked) = tokio::sync::oneshot::channel::<()>();
    let (go_on, goes_on) = tokio::sync::oneshot::channel::<()>();
    let rest = futures_util::stream::once(async move {
        asked.send(()).unwrap();
        goes_on.await.unwrap();
        Ok::<_, std::convert::Infallible>(body)
    });
    let mut request = Request::builder().method(method).uri(path).header("sec-fetch-site", "same-origin");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.header("cookie", browser.cookie()).body(Body::from_stream(rest)).unwrap();
    let client = app.client.clone();
    let answer = tokio::spawn(async move { client.answer(request).await });
    is_asked.await.unwrap();
    assert_eq!(app.admin().delete("/accounts/ada/sessions", 200).await["ended"], 1);
    go_on.send(()).unwrap();
    answer.await.unwrap()
}

#[tokio::test]
async fn a_session_that_is_ended_while_a_request_is_under_way_changes_nothing() {
    let app = App::start().await;
    let ada = person(&app, "ada", "admin").await;
    app.account("ci", &[]).await;
    let is_active = async || assert_eq!(app.look("ci").await["status"], "active");

    sign_in(&ada, "ada", PASSWORD, 303).await;
    ada.get("/console/me", 200).await;
    let account = app.look("ci").await;
    let path = format!("/console/service-accounts/{}/status", account["id"].as_str().unwrap());
    let version = account["version"].as_str().unwrap();
    let form = encoded(&[("form_token", &ada.form_token()), ("status", "disabled"), ("version", version)]);
    let type_of_form = [("content-type", "application/x-www-form-urlencoded")];
    let sent = with_the_session_ended_in_between(&app, &ada, ("POST", &path, &type_of_form, form)).await;
    assert_eq!(sent.status, 401, "{}", sent.text);
    assert!(sent.text.contains("You are signed out") && !sent.text.contains(r#"class="side""#), "{}", sent.text);
    is_active().await;

    // What is sent to the API is stopped by the store itself.
    sign_in(&ada, "ada", PASSWORD, 303).await;
    ada.get("/console/me", 200).await;
    let headers = [("content-type", "application/json"), ("x-countermark-form", &ada.form_token())];
    let body = json!({ "status": "disabled" }).to_string();
    let sent = with_the_session_ended_in_between(&app, &ada, ("PATCH", "/api/v1/accounts/ci", &headers, body)).await;
    assert_eq!(sent.expect(409).reason(), "conflict");
    is_active().await;
    sign_in(&ada, "ada", PASSWORD, 303).await;
    ada.get("/console/me", 200).await;
    let headers = [("content-type", "application/json"), ("x-countermark-form", &ada.form_token())];
    let body = json!({ "description": "", "permissions": ["x:y"] }).to_string();
    let sent = with_the_session_ended_in_between(&app, &ada, ("PUT", "/api/v1/roles/late", &headers, body)).await;
    assert_eq!(sent.expect(409).reason(), "conflict");
    app.admin().get("/roles/late", 404).await;
    sign_in(&ada, "ada", PASSWORD, 303).await;
    ada.get("/console/me", 200).await;
    let headers = [("content-type", "application/json"), ("x-countermark-form", &ada.form_token())];
    let keys = app.admin().get("/keys", 200).await["items"].as_array().unwrap().len();
    let sent = with_the_session_ended_in_between(&app, &ada, ("POST", "/api/v1/keys", &headers, "{}".into())).await;
    assert_eq!(sent.expect(409).reason(), "conflict");
    assert_eq!(app.admin().get("/keys", 200).await["items"].as_array().unwrap().len(), keys);
}

#[tokio::test]
async fn strangers_who_guess_keep_nobody_out_who_sets_a_password() {
    let app = App::start().await;
    // As often as strangers may.
    let guess = async |name: &str| {
        app.redis.run::<()>(&["SET", &app.key(&format!("tries:a:{name}")), "10", "EX", "900"]).await;
    };
    // By the link of an invitation.
    let ada = person(&app, "ada", "auditor").await;
    guess("ada").await;
    sign_in(&app.browser(), "ada", PASSWORD, 429).await;
    sign_in(&ada, "ada", PASSWORD, 303).await;
    // By the present one.
    ada.get("/console/me", 200).await;
    let change = [("present", PASSWORD), ("password", OTHER), ("repeated", OTHER)];
    ada.post("/console/me/password", &change, 303).await;
    sign_in(&ada, "ada", OTHER, 303).await;
    // By a link that ends the present one, at another browser.
    let ended = json!({ "ends_present": true });
    let link = app.admin().post("/accounts/ada/password-link", ended, 201).await.text_of("link");
    let elsewhere = app.browser();
    set(&elsewhere, &link, PASSWORD, 303).await;
    sign_in(&elsewhere, "ada", PASSWORD, 303).await;
    // The one before is not known any more.
    sign_in(&ada, "ada", PASSWORD, 429).await;
    // By the link of the first start.
    let first = app.browser();
    let link = app.setup_link.clone().unwrap();
    first.get(path_of(&link), 200).await;
    guess("eve").await;
    let fields = [("link", secret_of(&link)), ("username", "eve"), ("password", PASSWORD), ("repeated", PASSWORD)];
    first.post("/console/setup", &fields, 303).await;
    sign_in(&app.browser(), "eve", PASSWORD, 429).await;
    sign_in(&first, "eve", PASSWORD, 303).await;
}

#[tokio::test]
async fn those_who_know_their_passwords_keep_nobody_out_who_comes_from_the_same_address() {
    let app = App::start().await;
    person(&app, "ada", "auditor").await;
    person(&app, "boss", "admin").await;
    // All that the address has left but one.
    sign_in(&app.browser(), "ada", OTHER, 401).await;
    let counters: Vec<String> = app.redis.run(&["KEYS", &app.key("tries:n:*")]).await;
    let [counter] = counters.as_slice() else { panic!("one address: {counters:?}") };
    app.redis.run::<()>(&["SET", counter, "29", "KEEPTTL"]).await;
    for _ in 0..2 {
        sign_in(&app.browser(), "ada", PASSWORD, 303).await;
    }
    sign_in(&app.browser(), "boss", PASSWORD, 303).await;
    assert_eq!(app.redis.run::<u64>(&["GET", counter]).await, 29);
    assert!(app.redis.run::<i64>(&["TTL", counter]).await > 0);
    sign_in(&app.browser(), "boss", OTHER, 401).await;
    sign_in(&app.browser(), "boss", PASSWORD, 429).await;
}

#[tokio::test]
async fn a_store_that_is_away_is_told_to_whoever_is_signed_in_with_when_to_come_again() {
    let app = App::start().await;
    let browser = app.signed_in(app.admin().token()).await;
    // What lies where the session was is none.
    let key: Vec<String> = app.redis.run(&["KEYS", &app.key("session:*")]).await;
    app.redis.run::<u64>(&["DEL", &key[0]]).await;
    app.redis.run::<u64>(&["HSET", &key[0], "a", "b"]).await;
    let refused = browser.send("GET", "/api/v1/self", None, &[]).await.expect(503);
    assert_eq!(refused.header("retry-after"), "1");
}

#[tokio::test]
async fn sessions_begun_with_the_token_of_a_machine_are_shown_and_ended_too() {
    let app = App::start().await;
    let ci = app.account("ci", &["accounts:read"]).await;
    let machine = app.signed_in(ci.token()).await;
    let admin = app.signed_in(app.admin().token()).await;
    let path = format!("/console/service-accounts/{}", ci.id);
    let page = admin.get(&path, 200).await;
    assert!(page.text.contains("<h2>Sessions</h2>") && page.text.contains("End all"), "{}", page.text);
    admin.post(&format!("{path}/sessions"), &[], 303).await;
    machine.get("/console/me", 303).await;
    assert!(!admin.get(&path, 200).await.text.contains("<h2>Sessions</h2>"));
}

#[tokio::test]
async fn a_session_ends_when_it_is_not_used_and_after_its_time_whatever_is_done() {
    let app = App::start().await;
    let ada = person(&app, "ada", "auditor").await;
    sign_in(&ada, "ada", PASSWORD, 303).await;
    let seen = async || {
        let sessions = app.admin().get("/accounts/ada/sessions", 200).await;
        sessions["items"][0]["seen_at"].as_str().unwrap_or_default().to_owned()
    };
    for _ in 0..24 {
        app.clock.advance(Duration::from_secs(1_799));
        let before = seen().await;
        ada.get("/console/me", 200).await;
        eventually("its use is noted", || async { seen().await != before }).await;
    }
    // 12 hours less 24 seconds have gone by.
    app.clock.advance(Duration::from_secs(25));
    ada.get("/console/me", 303).await;
    sign_in(&ada, "ada", PASSWORD, 303).await;
    ada.get("/console/me", 200).await;
    app.clock.advance(Duration::from_secs(1_800));
    ada.get("/console/me", 303).await;
    assert_eq!(app.admin().get("/accounts/ada/sessions", 200).await["items"], json!([]));
}

#[tokio::test]
async fn signing_out_ends_the_session_and_not_only_the_cookie() {
    let app = App::start().await;
    let browser = app.signed_in(app.admin().token()).await;
    let thief = app.browser();
    thief.cookies.lock().unwrap().clone_from(&browser.cookies.lock().unwrap());
    thief.get("/console/me", 200).await;
    browser.post("/console/sign-out", &[], 303).await;
    assert_eq!(browser.session(), None);
    thief.get("/console/me", 303).await;
}

#[tokio::test]
async fn owner_and_admins_see_sessions_and_end_them() {
    let app = App::start().await;
    let ada = person(&app, "ada", "auditor").await;
    sign_in(&ada, "ada", PASSWORD, 303).await;
    let others = [app.browser(), app.browser()];
    for other in &others {
        sign_in(other, "ada", PASSWORD, 303).await;
    }
    let page = ada.get("/console/me", 200).await;
    assert_eq!(page.text.matches(r#"name="session""#).count(), 2, "{}", page.text);
    let own = ada.send("GET", "/api/v1/self/sessions", None, &[]).await.expect(200);
    let items = own["items"].as_array().unwrap();
    assert_eq!(items.iter().filter(|session| session["present"] == true).count(), 1, "{items:?}");
    let foreign = items.iter().find(|session| session["present"] == false).unwrap()["id"].as_str().unwrap().to_owned();
    ada.post("/console/me/sessions", &[("session", &foreign)], 303).await;
    let alive = async || {
        let mut alive = 0;
        for other in &others {
            alive += u32::from(other.send("GET", "/console/me", None, &[]).await.status == 200);
        }
        alive
    };
    assert_eq!(alive().await, 1);
    ada.post("/console/me/sessions", &[], 303).await;
    assert_eq!(alive().await, 0);
    ada.get("/console/me", 200).await;

    // Nobody ends another's session as his own.
    let bob = person(&app, "bob", "auditor").await;
    sign_in(&bob, "bob", PASSWORD, 303).await;
    bob.get("/console/me", 200).await;
    let of_ada = app.admin().get("/accounts/ada/sessions", 200).await["items"][0]["id"].as_str().unwrap().to_owned();
    bob.post("/console/me/sessions", &[("session", &of_ada)], 404).await;
    ada.get("/console/me", 200).await;
    app.admin().delete(&format!("/accounts/ada/sessions/{of_ada}"), 204).await;
    ada.get("/console/me", 303).await;
    assert_eq!(app.admin().delete("/accounts/bob/sessions", 200).await["ended"], 1);
    bob.get("/console/me", 303).await;
    let ends = app.activity("ada").await.into_iter().filter(|event| event["kind"] == "session.end").count();
    assert_eq!(ends, 3);
}

#[tokio::test]
async fn a_session_that_somebody_planted_is_not_the_one_that_is_signed_in_to() {
    let app = App::start().await;
    let browser = app.browser();
    let planted = "A".repeat(43);
    browser.cookies.lock().unwrap().insert("__Host-countermark".into(), planted.clone());
    browser.get("/console/me", 303).await;
    browser.post("/console/sign-in", &[("token", app.admin().token())], 303).await;
    assert_ne!(browser.session(), Some(planted));
    let first = browser.session();
    browser.post("/console/sign-in", &[("token", app.admin().token())], 303).await;
    assert_ne!(browser.session(), first);
}

#[tokio::test]
async fn forms_of_other_sites_of_no_page_and_of_other_sessions_do_nothing() {
    let app = App::start().await;
    let browser = app.signed_in(app.admin().token()).await;
    let other = app.signed_in(app.admin().token()).await;
    let right = browser.form_token();
    let ours = ("sec-fetch-site", "same-origin");
    for (headers, token) in [
        (vec![("sec-fetch-site", "cross-site")], right.clone()),
        (vec![("sec-fetch-site", "same-site")], right.clone()),
        (vec![("origin", "https://evil.example")], right.clone()),
        (vec![("origin", "null")], right.clone()),
        (vec![], right.clone()),
        (vec![ours], String::new()),
        (vec![ours], other.form_token()),
        (vec![ours], browser.session().unwrap()),
    ] {
        let form = encoded(&[("form_token", &token)]);
        let refused = browser.send("POST", "/console/sign-out", Some(&form), &headers).await.expect(403);
        assert!(refused.text.contains("cross_site"), "{headers:?}: {}", refused.text);
    }
    browser.get("/console/me", 200).await;
    // Nor is somebody signed in by another site.
    let form = encoded(&[("token", app.admin().token())]);
    app.browser().send("POST", "/console/sign-in", Some(&form), &[("sec-fetch-site", "cross-site")]).await.expect(403);
    browser.send("POST", "/console/sign-out", Some(&encoded(&[("form_token", &right)])), &[ours]).await.expect(303);
}

#[tokio::test]
async fn the_api_takes_a_session_and_what_changes_something_must_be_meant() {
    let app = App::start().await;
    let browser = app.signed_in(app.admin().token()).await;
    let me = browser.send("GET", "/api/v1/self", None, &[]).await.expect(200);
    assert!(me["token"].is_null() && me["session"]["id"].is_string(), "{me:?}");
    let token = browser.form_token();
    let end = async |headers: &[(&str, &str)]| browser.send("DELETE", "/api/v1/self/sessions", None, headers).await;
    assert_eq!(end(&[]).await.expect(403).reason(), "cross_site");
    assert_eq!(end(&[("sec-fetch-site", "same-origin")]).await.expect(403).reason(), "cross_site");
    assert_eq!(end(&[("x-countermark-form", &token)]).await.expect(403).reason(), "cross_site");
    end(&[("sec-fetch-site", "same-origin"), ("x-countermark-form", &token)]).await.expect(200);
    // A bearer token beside the cookie is the credential.
    let wrong = browser.send("GET", "/api/v1/self", None, &[("authorization", "Bearer x")]).await;
    assert_eq!(wrong.expect(401).reason(), "invalid_token");
    // Gateways ask for tokens.
    browser.send("GET", "/verify", None, &[]).await.expect(401);
}

#[tokio::test]
async fn strangers_who_guess_are_stopped_and_whoever_has_signed_in_before_is_not() {
    let app = App::start().await;
    let ada = person(&app, "ada", "auditor").await;
    sign_in(&ada, "ada", PASSWORD, 303).await;
    let stranger = app.browser();
    for _ in 0..10 {
        sign_in(&stranger, "ada", OTHER, 401).await;
    }
    let stopped = stranger.post("/console/sign-in", &[("username", "ada"), ("password", PASSWORD)], 429).await;
    assert!(!stopped.header("retry-after").is_empty(), "{stopped:?}");
    // The right password does not help a stranger now; a browser that is known is not kept out, nor is a token.
    sign_in(&ada, "ada", PASSWORD, 303).await;
    app.signed_in(app.admin().token()).await;
    let refused = app.activity("ada").await;
    let refused: Vec<_> = refused.iter().filter(|event| event["reason"] == "sign_in_refused").collect();
    assert_eq!(refused.len(), 10, "each try that was looked at is on record, and none that was not");
    assert!(refused.iter().all(|event| event["kind"] == "session.begin" && event["outcome"] == "refused"));
    // Somebody who has his cookie and guesses is stopped too.
    for _ in 0..10 {
        sign_in(&ada, "ada", OTHER, 401).await;
    }
    sign_in(&ada, "ada", PASSWORD, 429).await;
}

#[tokio::test]
async fn an_address_that_tries_many_names_is_stopped_and_unknown_names_are_told_as_wrong_passwords_are() {
    let app = App::start().await;
    person(&app, "ada", "auditor").await;
    let stranger = app.browser();
    let told = |answer: &crate::app::Answer| answer.text.split("request").next().unwrap().len();
    let of_nobody = stranger.post("/console/sign-in", &[("username", "zoe"), ("password", OTHER)], 401).await;
    let of_ada = stranger.post("/console/sign-in", &[("username", "ada"), ("password", OTHER)], 401).await;
    assert_eq!(told(&of_nobody), told(&of_ada));
    for number in 2..30 {
        sign_in(&stranger, &format!("nobody-{number}"), OTHER, 401).await;
    }
    sign_in(&stranger, "somebody", OTHER, 429).await;
    // Names that can be nobody's count too.
    sign_in(&stranger, "Some Body", OTHER, 429).await;
}

#[tokio::test]
async fn no_secret_of_a_session_comes_out_again() {
    let app = App::start().await;
    let ada = person(&app, "ada", "admin").await;
    sign_in(&ada, "ada", PASSWORD, 303).await;
    ada.get("/console/me", 200).await;
    app.activity("ada").await;
    app.admin().get("/audit?limit=500", 200).await;
    let session = ada.session().unwrap();
    let device = ada.cookies.lock().unwrap()["__Host-countermark-device"].clone();
    let answers = app.client.answers.lock().unwrap().clone();
    for (what, answer) in answers {
        // Headers that set them are written down as sensitive, without what they hold.
        assert!(!answer.contains(&session) && !answer.contains(&device), "{what}");
        assert!(!answer.contains(PASSWORD) && !answer.contains("$argon2id$"), "{what}");
    }
    let keys: Vec<String> = app.redis.run(&["KEYS", "*"]).await;
    assert!(keys.iter().all(|key| !key.contains(&session) && !key.contains(&device)), "{keys:?}");
}

#[tokio::test]
async fn a_token_begins_no_session_in_which_the_password_may_be_guessed_anew() {
    let app = App::start().await;
    person(&app, "ada", "auditor").await;
    let token = app.admin().regenerate("ada").await;
    let thief = app.signed_in(&token).await;
    let guess = [("present", OTHER), ("password", OTHER), ("repeated", OTHER)];
    for _ in 0..10 {
        thief.post("/console/me/password", &guess, 422).await;
    }
    app.signed_in(&token).await.post("/console/me/password", &guess, 429).await;
}

#[tokio::test]
async fn a_password_set_by_a_link_ends_every_session() {
    let app = App::start().await;
    let ada = person(&app, "ada", "auditor").await;
    sign_in(&ada, "ada", PASSWORD, 303).await;
    let with_token = app.signed_in(&app.admin().regenerate("ada").await).await;
    let link = app.admin().post("/accounts/ada/password-link", json!({}), 201).await.text_of("link");
    set(&app.browser(), &link, OTHER, 303).await;
    ada.get("/console/me", 303).await;
    with_token.get("/console/me", 303).await;
    assert_eq!(app.admin().get("/accounts/ada/sessions", 200).await["items"], json!([]));
}

#[tokio::test]
async fn disabling_again_ends_what_was_left_the_first_time() {
    let app = App::start().await;
    let ci = app.account("ci", &[]).await;
    let browser = app.signed_in(ci.token()).await;
    let key: Vec<String> = app.redis.run(&["KEYS", &app.key("session:*")]).await;
    let session: String = app.redis.run(&["GET", &key[0]]).await;
    let admin = app.admin();
    admin.patch("/accounts/ci", json!({ "status": "disabled" }), 200).await;
    // As if nobody had come to it.
    let index = app.key(&format!("sessions:{}", ci.id));
    app.redis.run::<()>(&["SET", &key[0], &session]).await;
    app.redis.run::<u64>(&["ZADD", &index, "9999999999", key[0].rsplit(':').next().unwrap()]).await;
    admin.patch("/accounts/ci", json!({ "status": "disabled" }), 200).await;
    admin.patch("/accounts/ci", json!({ "status": "active" }), 200).await;
    browser.get("/console/me", 303).await;
}

#[tokio::test]
async fn whoever_has_many_networks_of_ipv6_is_one_who_tries() {
    let app = App::start().await;
    person(&app, "ada", "auditor").await;
    sign_in(&app.browser().at("2001:db8:7:1::1"), "ada", OTHER, 401).await;
    let counter = app.key("tries:n:2001:db8:7::");
    assert_eq!(app.redis.run::<u64>(&["GET", &counter]).await, 1);
    app.redis.run::<()>(&["SET", &counter, "90", "KEEPTTL"]).await;
    sign_in(&app.browser().at("2001:db8:7:2::1"), "ada", PASSWORD, 429).await;
    sign_in(&app.browser().at("2001:db8:8:1::1"), "ada", PASSWORD, 303).await;
}
