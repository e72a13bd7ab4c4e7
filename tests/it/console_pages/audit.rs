//! The audit of all accounts, and who sees it, how it stands, and the nodes.

use super::html::{check, links, text};
use super::{admin, visitor};
use crate::app::App;

#[tokio::test]
async fn the_audit_shows_what_happened_and_finds_it_by_its_filters() {
    let app = App::start().await;
    let ci = app.account("ci", &[]).await;
    assert_eq!(ci.verdict().await, "allowed");
    let newer = app.bearer(&app.admin().regenerate(&ci.id).await);
    assert_eq!(ci.verdict().await, "superseded");
    assert_eq!(newer.verdict().await, "allowed");
    app.settled().await;
    let browser = admin(&app).await;
    let rows = async |query: &str| {
        let page = browser.get(&format!("/console/audit{query}"), 200).await;
        check(&page);
        page.text.matches("<tr><td data-label=\"Time\"><time datetime").count()
    };
    let page = browser.get("/console/audit", 200).await;
    for seen in ["superseded", "New token generated", "Account created", "Signed in"] {
        assert!(text(&page).contains(seen), "{seen}: {}", text(&page));
    }
    assert_eq!(rows("?account=ci&outcome=refused").await, 1);
    assert_eq!(rows("?account=ci&kind=call").await, 3);
    assert_eq!(rows(&format!("?account={}&kind=token.regenerate", ci.id)).await, 1);
    assert_eq!(rows("?account=ci&reason=superseded&path=%2Fverify&method=GET&address=127.0.0.1").await, 1);
    assert_eq!(rows("?account=ci&address=192.0.2.0%2F24").await, 0);
    assert_eq!(rows("?account=ci&to=2020-01-01+00%3A00").await, 0);

    // What can't be read is marked, and what was typed is kept.
    for (name, wrong) in
        [("account", "No One"), ("account", "nobody-at-all"), ("address", "here"), ("from", "yesterday")]
    {
        let query = crate::browser::encoded(&[(name, wrong)]);
        let page = browser.get(&format!("/console/audit?{query}"), 200).await;
        check(&page);
        assert!(page.text.contains(&format!("id=\"e-{name}\"")) && page.text.contains(wrong), "{wrong}: {}", page.text);
    }
}

#[tokio::test]
async fn the_pages_of_the_audit_are_stable_while_entries_arrive() {
    let app = App::start().await;
    let ci = app.account("ci", &[]).await;
    for _ in 0..35 {
        ci.verdict().await;
    }
    app.settled().await;
    let browser = admin(&app).await;
    let requests = |text: &str| {
        let all = text.split("<dt>request id</dt><dd><bdi>").skip(1);
        all.map(|rest| rest.split("</bdi>").next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let first = browser.get("/console/audit?account=ci&kind=call", 200).await;
    for _ in 0..20 {
        ci.verdict().await;
    }
    app.settled().await;
    let next = links(&first).into_iter().find(|link| link.contains("cursor=")).unwrap();
    let second = browser.get(&next, 200).await;
    let (one, two) = (requests(&first.text), requests(&second.text));
    assert_eq!((one.len(), two.len()), (25, 10));
    assert!(two.iter().all(|request| !one.contains(request)));
    assert!(!second.text.contains("data-tail"), "only the newest page is followed");
}

#[tokio::test]
async fn only_whoever_may_sees_them() {
    let app = App::start().await;
    for (name, permissions, audit, nodes) in [
        ("auditing", &["audit:read"][..], 200, 403),
        ("watching", &["nodes:read"], 403, 200),
        ("neither", &["accounts:read", "keys:read", "roles:read"], 403, 403),
    ] {
        let browser = visitor(&app, name, permissions).await;
        for (path, expected) in [("/console/audit", audit), ("/console/audit/status", audit), ("/console/nodes", nodes)]
        {
            let page = browser.send("GET", path, None, &[]).await.expect(expected);
            check(&page);
        }
        let menu = links(&browser.get("/console/me", 200).await);
        assert_eq!(menu.contains("/console/audit"), audit == 200, "{name}: {menu:?}");
        assert_eq!(menu.contains("/console/nodes"), nodes == 200, "{name}: {menu:?}");
    }
}
