//! People: invited, their passwords, the links by which they set them.

use std::time::Duration;

use serde_json::json;

use crate::app::{App, DAY};
use crate::browser::{Browser, sent_to};

pub const PASSWORD: &str = "violet harbour teacup nine";
pub const OTHER: &str = "marble otter seventeen kites";

/// The path of a link.
pub fn path_of(link: &str) -> &str {
    link.strip_prefix("https://countermark.test").unwrap_or_else(|| panic!("{link}"))
}

/// What a link holds.
pub fn secret_of(link: &str) -> &str {
    link.split_once("?link=").unwrap().1
}

/// A person of this role who has set the password, at a browser at which nobody is signed in.
pub async fn person(app: &App, name: &str, role: &str) -> Browser {
    let invited = app.admin().post("/users", json!({ "username": name, "role": role }), 201).await;
    let browser = app.browser();
    set(&browser, &invited.text_of("link"), PASSWORD, 303).await;
    browser
}

pub async fn set(browser: &Browser, link: &str, password: &str, expected: u16) -> String {
    browser.get(path_of(link), if expected == 410 { 410 } else { 200 }).await;
    let fields = [("link", secret_of(link)), ("password", password), ("repeated", password)];
    browser.post("/console/password", &fields, expected).await.text
}

pub async fn sign_in(browser: &Browser, name: &str, password: &str, expected: u16) {
    browser.post("/console/sign-in", &[("username", name), ("password", password)], expected).await;
}

#[tokio::test]
async fn whoever_is_invited_sets_a_password_once_and_signs_in() {
    let app = App::start().await;
    let invited = app.admin().post("/users", json!({ "username": "ada", "role": "auditor" }), 201).await;
    assert_eq!(invited.header("cache-control"), "no-store");
    assert_eq!((&invited["account"]["kind"], &invited["account"]["token"]), (&json!("user"), &json!(null)));
    assert_eq!(invited["account"]["sign_in"]["password_set_at"], json!(null));
    let link = invited.text_of("link");
    let browser = app.browser();
    let page = browser.get(path_of(&link), 200).await;
    assert!(page.text.contains("<b>ada</b>") && page.header("cache-control") == "no-store", "{}", page.text);
    set(&browser, &link, PASSWORD, 303).await;
    // It works once.
    set(&app.browser(), &link, OTHER, 410).await;
    sign_in(&app.browser(), "ada", OTHER, 401).await;
    sign_in(&browser, "ada", PASSWORD, 303).await;
    let page = browser.get("/console/me", 200).await;
    assert!(page.text.contains("ada") && page.text.contains("audit:read"), "{}", page.text);
    let account = app.look("ada").await;
    assert!(account["sign_in"]["password_set_at"].is_string() && account["sign_in"]["link_expires_at"].is_null());
    let activity = app.activity("ada").await;
    let kinds: Vec<_> = activity.iter().map(|event| event["kind"].as_str().unwrap()).collect();
    for kind in ["account.create", "password.set", "session.begin"] {
        assert!(kinds.contains(&kind), "{kinds:?}");
    }
}

#[tokio::test]
async fn a_bad_password_is_refused_with_what_to_do_and_uses_the_link_not_up() {
    let app = App::start().await;
    let link = app.admin().post("/users", json!({ "username": "ada", "role": "auditor" }), 201).await.text_of("link");
    let browser = app.browser();
    for (password, told) in [("short", "at least 12"), ("password1234", "easy to guess"), ("", "at least 12")] {
        let page = set(&browser, &link, password, 422).await;
        assert!(page.contains(told) && page.contains(r#"aria-invalid="true""#), "{password}: {page}");
        assert!(password.is_empty() || !page.contains(password), "what was typed does not come back: {page}");
    }
    let fields = [("link", secret_of(&link)), ("password", PASSWORD), ("repeated", OTHER)];
    let page = browser.post("/console/password", &fields, 422).await;
    assert!(page.text.contains("another one than above"), "{}", page.text);
    set(&browser, &link, PASSWORD, 303).await;
}

#[tokio::test]
async fn a_link_is_gone_after_its_time_after_another_and_where_what_the_account_may_do_has_become_more() {
    let app = App::start().await;
    app.role("reader", &["accounts:read"]).await;
    let admin = app.admin();
    let invite = async |name: &str| {
        admin.post("/users", json!({ "username": name, "role": "reader" }), 201).await.text_of("link")
    };
    let first = invite("ada").await;
    let second = admin.post("/accounts/ada/password-link", json!({}), 201).await.text_of("link");
    set(&app.browser(), &first, PASSWORD, 410).await;
    app.clock.advance(3 * DAY);
    set(&app.browser(), &second, PASSWORD, 410).await;

    // Whoever made it could give what the role granted then.
    let link = invite("bob").await;
    app.role("reader", &["accounts:read", "accounts:write"]).await;
    set(&app.browser(), &link, PASSWORD, 410).await;
    let link = admin.post("/accounts/bob/password-link", json!({}), 201).await.text_of("link");
    admin.patch("/accounts/bob", json!({ "role": "admin" }), 200).await;
    set(&app.browser(), &link, PASSWORD, 410).await;
    admin.patch("/accounts/bob", json!({ "role": "reader" }), 200).await;
    admin.patch("/accounts/bob", json!({ "status": "disabled" }), 200).await;
    set(&app.browser(), &link, PASSWORD, 410).await;
    admin.post("/accounts/bob/password-link", json!({}), 409).await;
    // It does not come back.
    admin.patch("/accounts/bob", json!({ "status": "active" }), 200).await;
    set(&app.browser(), &link, PASSWORD, 410).await;
    assert!(app.look("bob").await["sign_in"]["link_expires_at"].is_null());
    for garbage in ["", "x", "../..", "00000000-0000-7000-8000-000000000000.aaaa"] {
        app.browser().get(&format!("/console/password?link={garbage}"), 410).await;
    }
}

#[tokio::test]
async fn nobody_makes_a_link_for_more_than_he_holds_and_machines_have_none() {
    let app = App::start().await;
    let clerk = app.account("clerk", &["accounts:read", "accounts:write", "tokens:issue"]).await;
    clerk.post("/users", json!({ "username": "ada", "role": "admin" }), 403).await;
    clerk.post("/users", json!({ "username": "ada", "role": "clerk-role" }), 201).await;
    app.admin().patch("/accounts/ada", json!({ "role": "auditor" }), 200).await;
    clerk.post("/accounts/ada/password-link", json!({}), 403).await;
    assert_eq!(app.admin().post("/accounts/clerk/password-link", json!({}), 409).await.reason(), "not_a_user");
    // Whoever sits at somebody's session sets no password for him by a link either.
    let eve = person(&app, "eve", "admin").await;
    sign_in(&eve, "eve", PASSWORD, 303).await;
    eve.get("/console/me", 200).await;
    let headers = [("sec-fetch-site", "same-origin"), ("x-countermark-form", &eve.form_token())];
    let headers = [headers[0], headers[1], ("content-type", "application/json")];
    let refused = eve.send_json("POST", "/api/v1/accounts/eve/password-link", json!({}), &headers).await;
    assert_eq!(refused.expect(422).fields(), ["account"]);
    app.admin().post("/accounts/eve/password-link", json!({}), 201).await;
    let own = json!({ "present": PASSWORD, "new": OTHER });
    assert_eq!(clerk.post("/self/password", own, 409).await.reason(), "not_a_user");
}

#[tokio::test]
async fn a_new_password_ends_the_sessions_of_the_one_before_and_keeps_the_one_in_which_it_is_set() {
    let app = App::start().await;
    let one = person(&app, "ada", "auditor").await;
    sign_in(&one, "ada", PASSWORD, 303).await;
    let other = app.browser();
    sign_in(&other, "ada", PASSWORD, 303).await;
    other.get("/console/me", 200).await;
    one.get("/console/me", 200).await;
    let change = |present, new| [("present", present), ("password", new), ("repeated", new)];
    let wrong = one.post("/console/me/password", &change(OTHER, OTHER), 422).await;
    assert!(wrong.text.contains("not the present password"), "{}", wrong.text);
    let weak = one.post("/console/me/password", &change(PASSWORD, "password1234"), 422).await;
    assert!(weak.text.contains("easy to guess"), "{}", weak.text);
    other.get("/console/me", 200).await;
    one.post("/console/me/password", &change(PASSWORD, OTHER), 303).await;
    one.get("/console/me", 200).await;
    assert!(sent_to(&other.get("/console/me", 303).await).starts_with("/console/sign-in"));
    sign_in(&app.browser(), "ada", PASSWORD, 401).await;
    sign_in(&app.browser(), "ada", OTHER, 303).await;

    // An admin's link ends nothing until it is used, or at once if he says so.
    let link = app.admin().post("/accounts/ada/password-link", json!({}), 201).await.text_of("link");
    one.get("/console/me", 200).await;
    app.admin().post("/accounts/ada/password-link", json!({ "ends_present": true }), 201).await;
    one.get("/console/me", 303).await;
    sign_in(&app.browser(), "ada", OTHER, 401).await;
    set(&app.browser(), &link, PASSWORD, 410).await;
}

#[tokio::test]
async fn the_link_of_the_first_start_makes_one_admin_once() {
    let app = App::start().await;
    let link = app.setup_link.clone().unwrap();
    let browser = app.browser();
    browser.get(path_of(&link), 200).await;
    let fields = |username: &'static str, password: &'static str| {
        [("link", secret_of(&link)), ("username", username), ("password", password), ("repeated", password)]
    };
    let page = browser.post("/console/setup", &fields("Ada <b>", PASSWORD), 422).await;
    assert!(page.text.contains("value=\"Ada &#60;b&#62;\"") && page.text.contains("e-username"), "{}", page.text);
    let page = browser.post("/console/setup", &fields("admin", PASSWORD), 409).await;
    assert!(page.text.contains("taken"), "{}", page.text);
    browser.post("/console/setup", &fields("ada", "password1234"), 422).await;
    browser.post("/console/setup", &fields("ada", PASSWORD), 303).await;
    app.browser().get(path_of(&link), 410).await;
    browser.post("/console/setup", &fields("eve", PASSWORD), 410).await;
    app.admin().get("/accounts/eve", 404).await;
    sign_in(&browser, "ada", PASSWORD, 303).await;
    assert_eq!(app.look("ada").await["role"], "admin");

    // From now on she is an admin who may remain.
    let admin = app.admin();
    admin.delete(&format!("/accounts/{}/token", admin.id), 200).await;
    let page = browser.get("/console/me", 200).await;
    assert!(page.text.contains("*:*"), "{}", page.text);
}

#[tokio::test]
async fn two_who_use_the_setup_link_at_once_are_one_admin() {
    let app = App::start().await;
    let link = app.setup_link.clone().unwrap();
    let all = ["ada", "bob", "eve"].map(|username| {
        let (browser, link) = (app.browser(), link.clone());
        async move {
            let fields =
                [("link", secret_of(&link)), ("username", username), ("password", PASSWORD), ("repeated", PASSWORD)];
            let form = crate::browser::encoded(&fields);
            let sent = browser.send("POST", "/console/setup", Some(&form), &[("sec-fetch-site", "same-origin")]).await;
            sent.status.as_u16()
        }
    });
    let [one, two, three] = all;
    let (one, two, three) = tokio::join!(one, two, three);
    let mut all = [one, two, three];
    all.sort_unstable();
    assert_eq!(all, [303, 410, 410]);
}

#[tokio::test]
async fn the_setup_link_is_good_for_a_week() {
    let app = App::start().await;
    app.clock.advance(7 * DAY - Duration::from_secs(1));
    app.browser().get(path_of(&app.setup_link.clone().unwrap()), 200).await;
    app.clock.advance(Duration::from_secs(1));
    app.browser().get(path_of(&app.setup_link.clone().unwrap()), 410).await;
}

#[tokio::test]
async fn a_person_with_a_password_is_an_admin_who_may_remain_until_it_ends() {
    let app = App::start().await;
    person(&app, "ada", "admin").await;
    let clerk = app.account("clerk", &["accounts:read", "accounts:write", "tokens:issue", "tokens:revoke"]).await;
    let admin = app.admin();
    // The machine's token may go, as the person can sign in; then the person is the last.
    let link = admin.post("/accounts/ada/password-link", json!({ "ends_present": true }), 201).await.text_of("link");
    assert_eq!(clerk.delete(&format!("/accounts/{}/token", admin.id), 409).await.reason(), "last_admin");
    set(&app.browser(), &link, PASSWORD, 303).await;
    clerk.delete(&format!("/accounts/{}/token", admin.id), 200).await;
    assert_eq!(clerk.patch("/accounts/ada", json!({ "status": "disabled" }), 409).await.reason(), "last_admin");
}
