//! What all pages share.

use super::html::{check, text};
use super::{admin, visitor};
use crate::app::App;

#[tokio::test]
async fn what_pages_load_may_be_kept_for_good_and_is_there_for_everybody() {
    let app = App::start().await;
    let browser = app.browser();
    let page = browser.get("/console/sign-in", 200).await;
    check(&page);
    let assets = page.text.split('"').filter(|text| text.starts_with("/console/assets/")).collect::<Vec<_>>();
    assert!(assets.len() >= 3, "{assets:?}");
    for asset in assets {
        let answer = browser.get(asset, 200).await;
        assert_eq!(answer.header("cache-control"), "public, max-age=31536000, immutable");
        let kinds = ["text/css; charset=utf-8", "text/javascript; charset=utf-8", "image/svg+xml"];
        assert!(kinds.contains(&answer.header("content-type")), "{answer:?}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        // One of another version is not there.
        let other = asset.replace("/assets/", "/assets/0");
        browser.get(&other, 404).await;
    }
    browser.get("/console/assets/../console.css", 404).await;
}

#[tokio::test]
async fn a_page_says_where_it_is_and_shows_the_menu_of_whoever_looks() {
    let app = App::start().await;
    let all =
        ["Overview", "Service accounts", "Users", "Roles", "Teams", "Signing keys", "Audit", "Nodes", "My account"];
    for (name, permissions, shown) in [
        ("all", &["*:*"][..], &all[..]),
        ("reader", &["accounts:read"], &["Overview", "Service accounts", "Users", "My account"]),
        ("operator", &["keys:read", "nodes:read"], &["Overview", "Signing keys", "Nodes", "My account"]),
        ("none", &[], &["Overview", "My account"]),
    ] {
        let page = visitor(&app, name, permissions).await.get("/console/me", 200).await;
        check(&page);
        let (_, menu) = page.text.split_once(r#"<nav class="side""#).unwrap();
        let (menu, _) = menu.split_once("</nav>").unwrap();
        for section in all {
            assert_eq!(menu.contains(&format!(">{section}</a>")), shown.contains(&section), "{name}: {section}");
        }
        assert_eq!(menu.matches(r#"aria-current="page">My account<"#).count(), 1, "{menu}");
        assert!(page.text.contains(r##"<a class="skip" href="#main">"##));
    }
}

#[tokio::test]
async fn what_goes_wrong_is_a_page_too() {
    let app = App::start().await;
    let browser = admin(&app).await;
    for (path, status) in [
        ("/console/nothing", 404),
        ("/console/service-accounts/nobody", 404),
        ("/console/service-accounts/%00", 404),
        ("/console/users/00000000-0000-0000-0000-000000000000", 404),
    ] {
        let page = browser.get(path, status).await;
        check(&page);
        // Whoever was let in finds on.
        assert_eq!(page.text.contains(r#"<nav class="side""#), path != "/console/nothing", "{page:?}");
        assert!(text(&page).contains(page.header("x-request-id")), "{page:?}");
    }
    let page = browser.send("PUT", "/console/service-accounts", None, &[]).await.expect(405);
    check(&page);
    let page = visitor(&app, "ci", &["roles:read"]).await.get("/console/service-accounts", 403).await;
    check(&page);
    assert!(page.headers.get("www-authenticate").is_none());
}

#[tokio::test]
async fn browsers_say_where_a_form_comes_from_and_others_are_told_nothing() {
    let app = App::start().await;
    // The address of a page stays with it; under no-referrer, the origin of a form would be null.
    assert_eq!(admin(&app).await.get("/console/me", 200).await.header("referrer-policy"), "strict-origin");
    assert_eq!(app.admin().get("/self", 200).await.header("referrer-policy"), "no-referrer");
}

#[tokio::test]
async fn a_notice_is_said_once() {
    let app = App::start().await;
    app.account("ci", &[]).await;
    let browser = admin(&app).await;
    let path = super::path_of(&app, "ci").await;
    let page = browser.get(&format!("{path}/disable"), 200).await;
    check(&page);
    let version = super::field(&page, "version");
    let answer = browser.post(&format!("{path}/status"), &[("version", &version), ("status", "disabled")], 303).await;
    let page = super::followed(&browser, &answer).await;
    assert!(super::told(&page).contains("Disabled; its tokens are refused"), "{}", super::told(&page));
    assert_eq!(super::told(&browser.get(&path, 200).await), "");
    // A link can't make the console say anything.
    let page = browser.get(&format!("{path}?notice=You+are+hacked"), 200).await;
    assert!(!page.text.contains("hacked"));
}
