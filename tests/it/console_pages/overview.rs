//! The overview.

use super::html::{check, links, text};
use super::{admin, visitor};
use crate::app::App;

#[tokio::test]
async fn everything_is_told_at_a_glance() {
    let app = App::start().await;
    let ci = app.account("ci", &[]).await;
    ci.verdict().await;
    app.admin().regenerate("ci").await;
    ci.verdict().await;
    app.settled().await;
    let browser = admin(&app).await;
    let page = browser.get("/console", 200).await;
    check(&page);
    assert!(text(&page).contains("The accounts are being counted for the first time."), "{}", text(&page));
    app.authority.count_accounts().await.unwrap();
    let page = browser.get("/console", 200).await;
    check(&page);
    let said = text(&page);
    for part in [
        "with a good token",
        "0 users",
        "Calls a minute in the last hour",
        "Calls an hour in the last day",
        "Within 7 days: 0",
        "1 account within the last 7 days",
        "Signing key",
        "ES256",
        "Last changes",
        "New token generated",
        "Audit",
        "node-1",
        "1 node has its lease",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(links(&page).contains("/console/service-accounts?expires=30"));
}

#[tokio::test]
async fn nobody_is_told_what_he_may_not_see() {
    let app = App::start().await;
    app.authority.count_accounts().await.unwrap();
    let parts = ["Service accounts", "Calls a minute", "Signing key", "Last changes", "Tokens a second"];
    for (name, permissions, shown) in [
        ("accounts", &["accounts:read"][..], &["Service accounts"][..]),
        ("audit", &["audit:read"], &["Calls a minute", "Last changes"]),
        ("keys", &["keys:read"], &["Signing key"]),
        ("nodes", &["nodes:read"], &["Tokens a second"]),
        ("none", &[], &[]),
    ] {
        let page = visitor(&app, name, permissions).await.get("/console", 200).await;
        check(&page);
        let main = page.text.split_once("<main").unwrap().1.to_owned();
        for part in parts {
            assert_eq!(main.contains(part), shown.contains(&part), "{name}: {part}");
        }
        assert_eq!(main.contains("There is nothing here that you may see"), permissions.is_empty());
    }
}
