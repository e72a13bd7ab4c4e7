//! The activity log of an account, and the chart of its use.

use std::time::Duration;

use super::html::{check, links, text};
use super::{admin, path_of};
use crate::app::{Answer, App};

/// A gateway asks about a call of this path, which needs this permission.
async fn call(app: &App, token: &str, path: &str, permission: &str, agent: &str) {
    let asked = if permission.is_empty() { "/verify".to_owned() } else { format!("/verify?permission={permission}") };
    let request = app.bearer(token).request("GET", &asked).header("user-agent", agent);
    let request = request.header("x-original-method", "GET").header("x-original-uri", path);
    app.client.answer(request.body(axum::body::Body::empty()).unwrap()).await;
}

#[tokio::test]
async fn activity_is_filtered_and_has_pages() {
    let app = App::start().await;
    let ci = app.account("ci", &[]).await;
    app.clock.advance(Duration::from_secs(1));
    for number in 0..55 {
        call(&app, ci.token(), &format!("/orders/{number}"), "", "shop/1").await;
    }
    call(&app, ci.token(), "/other", "a:b", "shop/1").await;
    app.settled().await;
    let browser = admin(&app).await;
    let path = format!("{}/activity", path_of(&app, "ci").await);
    let page = browser.get(&path, 200).await;
    check(&page);
    assert_eq!(page.text.matches("data-label=\"Time\"").count(), 26, "25 rows, and the one that is a template");
    for part in ["insufficient_permission: a:b", "shop/1", "generation", "token id"] {
        assert!(text(&page).contains(part), "{part}: {}", text(&page));
    }
    assert!(page.text.contains("data-tail=\"/api/v1/audit/tail?account="));
    let next = |page: &Answer| links(page).into_iter().find(|link| link.contains("cursor="));
    let second = browser.get(&next(&page).unwrap(), 200).await;
    check(&second);
    assert!(!second.text.contains("data-tail="), "nothing new arrives on an older page");
    let third = browser.get(&next(&second).unwrap(), 200).await;
    assert!(text(&third).contains("Account created by admin"), "{}", text(&third));
    let shown = async |query: &str| {
        let page = browser.get(&format!("{path}?{query}"), 200).await;
        check(&page);
        page.text.matches("<tr><td data-label=\"Time\"><time datetime").count()
    };
    assert_eq!(shown("outcome=refused").await, 1);
    assert_eq!(shown("reason=insufficient_permission").await, 1);
    assert_eq!(shown("path=%2Forders%2F5").await, 6);
    assert_eq!(shown("outcome=done").await, 1);
    assert_eq!(shown("kind=account.create").await, 1);
    assert_eq!(shown("address=192.0.2.0/24&outcome=refused").await, 0);
    assert_eq!(shown("to=2001-01-01T00:00").await, 0);
    assert_eq!(shown("from=2001-01-01T00:00&outcome=refused").await, 1);
    let wrong = browser.get(&format!("{path}?from=yesterday&outcome=maybe"), 200).await;
    check(&wrong);
    assert_eq!(wrong.text.matches(r#"<p class="error""#).count(), 2, "{}", wrong.text);
    assert!(wrong.text.contains(r#"value="yesterday""#));
}

#[tokio::test]
async fn the_activity_of_a_deleted_account_is_filtered_and_has_pages_too() {
    let app = App::start().await;
    let ci = app.account("ci", &[]).await;
    let id = app.look("ci").await["id"].as_str().unwrap().to_owned();
    app.clock.advance(Duration::from_secs(1));
    for number in 0..55 {
        call(&app, ci.token(), &format!("/orders/{number}"), "", "shop/1").await;
    }
    call(&app, ci.token(), "/other", "a:b", "shop/1").await;
    app.admin().delete("/accounts/ci", 200).await;
    app.settled().await;
    let browser = admin(&app).await;
    let path = format!("/console/accounts/{id}");
    let page = browser.get(&path, 200).await;
    check(&page);
    let (mut page, mut seen) = (page, Vec::new());
    loop {
        seen.extend(page.text.split("GET /orders/").skip(1).map(|rest| {
            let digits = rest.split(|c: char| !c.is_ascii_digit()).next().unwrap();
            digits.parse::<u32>().unwrap()
        }));
        let Some(next) = links(&page).into_iter().find(|link| link.contains("cursor=")) else { break };
        assert!(next.starts_with(&path), "{next}");
        page = browser.get(&next, 200).await;
    }
    seen.sort_unstable();
    assert_eq!(seen, Vec::from_iter(0..55), "{}", page.text);
    assert!(text(&page).contains("Account created"), "{}", text(&page));
    let refused = browser.get(&format!("{path}?reason=insufficient_permission"), 200).await;
    check(&refused);
    assert!(text(&refused).contains("/other") && !text(&refused).contains("/orders/"), "{}", text(&refused));
}

#[tokio::test]
async fn the_page_of_an_account_shows_who_uses_it_and_when() {
    let app = App::start().await;
    let ci = app.account("ci", &[]).await;
    let browser = admin(&app).await;
    let path = path_of(&app, "ci").await;
    let page = browser.get(&path, 200).await;
    check(&page);
    assert!(text(&page).contains("Nobody has used a token of this account in the last 24 hours"), "{}", text(&page));
    for _ in 0..3 {
        call(&app, ci.token(), "/orders", "", "shop/1").await;
    }
    call(&app, ci.token(), "/orders", "a:b", "shop/2").await;
    app.settled().await;
    for window in ["", "?window=week", "?window=nonsense"] {
        let page = browser.get(&format!("{path}{window}"), 200).await;
        check(&page);
        let said = text(&page);
        for part in [
            "3 allowed",
            "1 refused",
            "shop/1",
            "GET /orders",
            "127.0.0.1",
            "insufficient_permission",
            "Newest activity",
        ] {
            assert!(said.contains(part), "{window} {part}: {said}");
        }
        assert!(page.text.contains("<svg class=\"bars\"") && said.contains("The same in numbers"));
    }
}
