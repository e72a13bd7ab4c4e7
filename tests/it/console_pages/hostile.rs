//! What others have written is shown as text, and steers nothing.

use serde_json::json;

use super::html::{check, text};
use super::{admin, make, path_of};
use crate::app::App;

const HOSTILE: [&str; 8] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "'><svg onload=alert(1)>",
    "</textarea><script>alert(1)</script>",
    "javascript:alert(1)",
    "{{ 7*7 }} ${7*7} {% x %}",
    "\u{202e}gpj.exe\u{2066}\u{200f}",
    "&lt;b&gt; &amp; &#60;",
];

#[tokio::test]
async fn what_is_typed_into_a_form_comes_back_as_text() {
    let app = App::start().await;
    app.role("r", &[]).await;
    app.team("ops").await;
    let browser = admin(&app).await;
    for text in HOSTILE {
        for name in [
            "username",
            "description",
            "role",
            "teams.ops",
            "teams",
            "audiences",
            "allowed_networks",
            "valid_for_months",
            "opened",
        ] {
            let page = make(&browser, &[("username", "!"), ("role", "r"), (name, text)], 422).await;
            check(&page);
            assert!(!page.text.contains("<script>alert") && !page.text.contains("<img src=x"), "{name}: {}", page.text);
        }
        let encoded: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
        for path in ["/console/service-accounts", "/console/users"] {
            for name in ["query", "role", "team", "status", "expires", "cursor"] {
                check(&browser.get(&format!("{path}?{name}={encoded}"), 200).await);
            }
        }
        for name in
            ["account", "kind", "outcome", "reason", "method", "path", "address", "node", "from", "to", "cursor"]
        {
            check(&browser.get(&format!("/console/audit?{name}={encoded}"), 200).await);
        }
        let path = path_of(&app, "admin").await;
        for name in ["outcome", "reason", "path", "from", "to", "cursor"] {
            check(&browser.get(&format!("{path}/activity?{name}={encoded}"), 200).await);
        }
        check(&browser.get(&format!("{path}?window={encoded}"), 200).await);
        check(&browser.send("GET", &format!("/console/service-accounts/{encoded}"), None, &[]).await);
    }
}

#[tokio::test]
async fn descriptions_agents_and_paths_are_shown_as_text() {
    let app = App::start().await;
    let browser = admin(&app).await;
    for (number, hostile) in HOSTILE.iter().enumerate() {
        let name = format!("ci-{number}");
        app.role(&name, &[]).await;
        let role = json!({ "permissions": [], "description": hostile });
        app.admin().put(&format!("/roles/{name}"), role, 200).await;
        let body = json!({ "username": name, "role": name, "description": hostile, "valid_for_months": 6 });
        let ci = app.create(body).await;
        let agent: String = hostile.chars().filter(char::is_ascii).collect();
        let path: String = form_urlencoded::byte_serialize(hostile.as_bytes()).collect();
        let request = ci.request("GET", &format!("/verify/{path}")).header("user-agent", agent);
        app.client.answer(request.body(axum::body::Body::empty()).unwrap()).await;
        app.settled().await;
        let base = path_of(&app, &name).await;
        for page in [
            base.clone(),
            format!("{base}/edit"),
            format!("{base}/token"),
            format!("{base}/activity"),
            format!("{base}/delete"),
        ] {
            let page = browser.get(&page, 200).await;
            check(&page);
            assert!(!page.text.contains("<script>alert") && !page.text.contains("<img src=x"), "{}", page.text);
        }
        let shown = text(&browser.get(&base, 200).await);
        let readable: String = hostile.chars().filter(|c| !('\u{2000}'..'\u{2070}').contains(c)).collect();
        assert!(shown.contains(&readable), "{hostile}: {shown}");
        assert!(!shown.contains('\u{202e}'), "{shown}");
    }
    check(&browser.get("/console/service-accounts", 200).await);
    check(&browser.get("/console", 200).await);
}

#[tokio::test]
async fn a_tower_of_marks_stays_on_its_line() {
    let app = App::start().await;
    app.role("r", &[]).await;
    let tower = format!("e{}", "\u{301}".repeat(499));
    app.create(json!({ "username": "ci", "role": "r", "description": tower, "valid_for_months": 6 })).await;
    let browser = admin(&app).await;
    for path in ["/console/service-accounts".to_owned(), path_of(&app, "ci").await] {
        let page = browser.get(&path, 200).await;
        check(&page);
        assert!(!page.text.contains(&"\u{301}".repeat(3)), "{path}");
    }
}
