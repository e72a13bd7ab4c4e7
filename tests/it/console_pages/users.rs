//! Users: invited by a link, which is shown once; their sessions.

use serde_json::json;

use super::accounts::token_of;
use super::html::{check, links, text};
use super::{admin, field, followed, path_of, told};
use crate::app::App;
use crate::browser::Browser;

const PASSWORD: &str = "correct horse battery staple";

async fn invite(browser: &Browser, name: &str, role: &str) -> String {
    let form = browser.get("/console/users/new", 200).await;
    check(&form);
    assert!(!form.text.contains("valid_for_months") && !form.text.contains("audiences"));
    let opened = field(&form, "opened");
    let fields = [("username", name), ("role", role), ("opened", opened.as_str())];
    let shown = browser.post("/console/users/new", &fields, 200).await;
    check(&shown);
    let again = browser.post("/console/users/new", &fields, 409).await;
    check(&again);
    assert!(text(&again).contains("This was done already") && !again.text.contains("link="), "{}", text(&again));
    super::unescaped(&token_of(&shown))
}

/// Sets the password by a link, and signs in with it.
async fn arrive(app: &App, link: &str, name: &str) -> Browser {
    let browser = app.browser();
    let path = link.strip_prefix("https://countermark.test").unwrap_or(link);
    let (page, secret) = path.split_once("?link=").unwrap();
    browser.get(path, 200).await;
    let fields = [("link", secret), ("password", PASSWORD), ("repeated", PASSWORD)];
    let done = browser.post(page, &fields, 303).await;
    assert_eq!(done.header("location"), "/console/sign-in");
    browser.post("/console/sign-in", &[("username", name), ("password", PASSWORD)], 303).await;
    browser
}

#[tokio::test]
async fn somebody_is_invited_signs_in_and_is_signed_out_by_an_admin() {
    let app = App::start().await;
    let browser = admin(&app).await;
    let link = invite(&browser, "ann", "auditor").await;
    let path = path_of(&app, "ann").await;
    let page = browser.get(&path, 200).await;
    check(&page);
    assert!(text(&page).contains("none was set yet") && text(&page).contains("Nobody is signed in"), "{}", text(&page));
    assert!(
        page.text.contains("<li><a href=\"/console/users\">Users</a></li>")
            && !links(&page).contains(&format!("{path}/token"))
    );
    let ann = arrive(&app, &link, "ann").await;
    check(&ann.get("/console/service-accounts", 200).await);
    let page = browser.get(&path, 200).await;
    check(&page);
    assert_eq!(page.text.matches(&format!("action=\"{path}/sessions\"")).count(), 2, "one, and all");
    let session = field(&page, "session");
    let done = browser.post(&format!("{path}/sessions"), &[("session", &session)], 303).await;
    assert!(told(&followed(&browser, &done).await).contains("The session has ended."));
    ann.get("/console/service-accounts", 303).await;
    // Sent again, it is so already.
    browser.get(&path, 200).await;
    let done = browser.post(&format!("{path}/sessions"), &[("session", &session)], 303).await;
    assert!(told(&followed(&browser, &done).await).contains("The session had ended already."));
    ann.get("/console/sign-in", 200).await;
    ann.post("/console/sign-in", &[("username", "ann"), ("password", PASSWORD)], 303).await;
    browser.get(&path, 200).await;
    let done = browser.post(&format!("{path}/sessions"), &[], 303).await;
    assert!(told(&followed(&browser, &done).await).contains("1 session has ended."));
    ann.get("/console/me", 303).await;
}

#[tokio::test]
async fn a_new_link_is_shown_once_and_ends_the_present_password_if_that_is_wanted() {
    let app = App::start().await;
    let browser = admin(&app).await;
    let link = invite(&browser, "ann", "auditor").await;
    let ann = arrive(&app, &link, "ann").await;
    let path = path_of(&app, "ann").await;
    for ends in [false, true] {
        let ask = browser.get(&format!("{path}/link"), 200).await;
        check(&ask);
        let (version, known) = (field(&ask, "version"), field(&ask, "link"));
        let mut fields = vec![("version", version.as_str()), ("link", known.as_str())];
        fields.extend(ends.then_some(("ends_present", "yes")));
        let shown = browser.post(&format!("{path}/link"), &fields, 200).await;
        check(&shown);
        let again = browser.post(&format!("{path}/link"), &fields, 412).await;
        check(&again);
        assert!(!again.text.contains("?link="), "{}", again.text);
        ann.get("/console/me", if ends { 303 } else { 200 }).await;
        let link = super::unescaped(&token_of(&shown));
        if ends {
            arrive(&app, &link, "ann").await.get("/console/me", 200).await;
        }
    }
}

#[tokio::test]
async fn a_user_is_edited_disabled_and_deleted_as_a_service_account_is() {
    let app = App::start().await;
    let browser = admin(&app).await;
    invite(&browser, "ann", "auditor").await;
    let path = path_of(&app, "ann").await;
    let edit = browser.get(&format!("{path}/edit"), 200).await;
    check(&edit);
    let version = field(&edit, "version");
    browser
        .post(&format!("{path}/edit"), &[("version", &version), ("description", "Ann"), ("role", "auditor")], 303)
        .await;
    assert_eq!(app.look("ann").await["description"], "Ann");
    let version = field(&browser.get(&format!("{path}/disable"), 200).await, "version");
    browser.post(&format!("{path}/status"), &[("version", &version), ("status", "disabled")], 303).await;
    let page = browser.get(&path, 200).await;
    check(&page);
    assert!(text(&page).contains("Disabled") && !links(&page).contains(&format!("{path}/link")));
    let version = field(&browser.get(&format!("{path}/delete"), 200).await, "version");
    browser.post(&format!("{path}/delete"), &[("version", &version), ("confirm", "ann")], 303).await;
    app.admin().get("/accounts/ann", 404).await;
    let list = browser.get("/console/users", 200).await;
    check(&list);
    assert!(text(&list).contains("There are no users yet"));
}

#[tokio::test]
async fn each_kind_has_its_own_list_and_its_own_pages() {
    let app = App::start().await;
    let browser = admin(&app).await;
    invite(&browser, "ann", "auditor").await;
    app.account("ci", &[]).await;
    let lists = [("/console/users", "ann", "ci"), ("/console/service-accounts", "ci", "ann")];
    for (list, there, elsewhere) in lists {
        let page = browser.get(list, 200).await;
        check(&page);
        assert!(page.text.contains(&format!(">{there}</a>")) && !page.text.contains(&format!(">{elsewhere}</a>")));
        // One of the other kind has its page elsewhere.
        let sent = browser.get(&format!("{list}/{elsewhere}"), 303).await;
        let sent = browser.get(sent.header("location"), 303).await;
        assert_eq!(sent.header("location"), path_of(&app, elsewhere).await);
        browser.get(&format!("{list}/{elsewhere}/edit"), 404).await;
        browser.get(&format!("{list}/{elsewhere}/token"), 404).await;
    }
    let id = app.look("ann").await["id"].as_str().unwrap().to_owned();
    assert_eq!(
        browser.get(&format!("/console/accounts/{id}"), 303).await.header("location"),
        path_of(&app, "ann").await
    );
    browser.get(&format!("/console/accounts/{}", json!("nobody").as_str().unwrap()), 404).await;
}
