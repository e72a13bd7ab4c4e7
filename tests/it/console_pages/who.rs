//! Who sees which page, and that nobody is shown a way to what he may not do.

use std::collections::BTreeSet;

use serde_json::json;

use super::html::{actions, check, links};
use super::{path_of, visitor};
use crate::app::App;

const ROLES: [(&str, &[&str]); 8] = [
    ("all", &["*:*"]),
    ("reader", &["accounts:read"]),
    ("auditing", &["accounts:read", "audit:read", "roles:read", "keys:read"]),
    ("writer", &["accounts:read", "accounts:write"]),
    ("issuer", &["accounts:read", "tokens:issue"]),
    ("revoker", &["accounts:read", "tokens:revoke"]),
    ("blind", &["accounts:write", "tokens:issue", "tokens:revoke", "audit:read"]),
    ("none", &[]),
];

/// A page, below an account's where it begins with a slash, and all that it takes to see it.
const PAGES: [(&str, &[&str]); 13] = [
    ("/console", &[]),
    ("/console/service-accounts", &["accounts:read"]),
    ("/console/service-accounts/new", &["accounts:write", "tokens:issue"]),
    ("/console/audit", &["audit:read"]),
    ("/console/audit/status", &["audit:read"]),
    ("/console/nodes", &["nodes:read"]),
    ("{account}", &["accounts:read"]),
    ("{account}/activity", &["accounts:read", "audit:read"]),
    ("{account}/edit", &["accounts:read", "accounts:write"]),
    ("{account}/token", &["accounts:read", "tokens:issue"]),
    ("{account}/revoke", &["accounts:read", "tokens:revoke"]),
    ("{account}/disable", &["accounts:read", "accounts:write"]),
    ("{account}/delete", &["accounts:read", "accounts:write"]),
];

fn holds(permissions: &[&str], needed: &[&str]) -> bool {
    needed.iter().all(|need| permissions.contains(need) || permissions.contains(&"*:*"))
}

#[tokio::test]
async fn each_role_sees_the_pages_that_it_may() {
    let app = App::start().await;
    app.account("ci", &[]).await;
    let account = path_of(&app, "ci").await;
    let stranger = app.browser();
    for (page, _) in PAGES {
        let sent = stranger.get(&page.replace("{account}", &account), 303).await;
        assert!(sent.header("location").starts_with("/console/sign-in?to="), "{page}: {sent:?}");
    }
    for (name, permissions) in ROLES {
        let browser = visitor(&app, name, permissions).await;
        for (page, needed) in PAGES {
            let expected = if holds(permissions, needed) { 200 } else { 403 };
            let answer = browser.send("GET", &page.replace("{account}", &account), None, &[]).await;
            assert_eq!(answer.status, expected, "{name}: {page}: {answer:?}");
            check(&answer);
        }
    }
}

#[tokio::test]
async fn each_role_sends_the_forms_that_it_may() {
    let app = App::start().await;
    app.account("ci", &[]).await;
    let account = path_of(&app, "ci").await;
    let forms: [(&str, &[&str]); 6] = [
        ("/console/service-accounts/new", &["accounts:write", "tokens:issue"]),
        ("{account}/edit", &["accounts:read", "accounts:write"]),
        ("{account}/status", &["accounts:read", "accounts:write"]),
        ("{account}/token", &["accounts:read", "tokens:issue"]),
        ("{account}/revoke", &["accounts:read", "tokens:revoke"]),
        ("{account}/delete", &["accounts:read", "accounts:write"]),
    ];
    for (name, permissions) in ROLES {
        let browser = visitor(&app, name, permissions).await;
        browser.get("/console/me", 200).await;
        for (form, needed) in forms {
            // Of another version, so that nothing is changed.
            let fields = [
                ("version", "1-1"),
                ("confirm", "ci"),
                ("status", "disabled"),
                ("role", "ci-role"),
                ("valid_for_months", "6"),
                ("overlap_seconds", "0"),
                ("form_token", &browser.form_token()),
            ]
            .map(|(name, value)| (name, value.to_owned()));
            let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let body = crate::browser::encoded(&fields);
            let answer = browser
                .send("POST", &form.replace("{account}", &account), Some(&body), &[("sec-fetch-site", "same-origin")])
                .await;
            let may = holds(permissions, needed);
            assert_eq!(answer.status != 403, may, "{name}: {form}: {answer:?}");
            assert!(!may || [412, 422].contains(&answer.status.as_u16()), "{name}: {form}: {answer:?}");
            check(&answer);
        }
    }
    assert_eq!(app.look("ci").await["generation"], 1);
}

/// Follows every link that is shown, and looks at where every form leads.
#[tokio::test]
async fn nobody_is_shown_a_way_to_what_he_may_not_do() {
    let app = App::start().await;
    app.account("ci", &["deployments:create"]).await;
    app.create(json!({ "username": "mighty", "role": "admin", "valid_for_months": 6 })).await;
    app.admin().post("/users", json!({ "username": "ann", "role": "auditor" }), 201).await;
    app.authority.count_accounts().await.unwrap();
    app.settled().await;
    for (name, permissions) in ROLES {
        let browser = visitor(&app, name, permissions).await;
        let mut seen = BTreeSet::new();
        let mut ahead = vec!["/console".to_owned()];
        while let Some(path) = ahead.pop() {
            let answer = browser.send("GET", &path, None, &[]).await;
            assert!([200, 303].contains(&answer.status.as_u16()), "{name}: {path}: {answer:?}");
            if answer.status == 303 {
                ahead.push(answer.header("location").to_owned());
                continue;
            }
            check(&answer);
            for link in links(&answer) {
                // Other lists and their filters are what others test.
                let ours =
                    ["/console", "/console/me", "/console/accounts/", "/console/service-accounts", "/console/users"];
                if ours.iter().any(|path| link == *path || (path.len() > 11 && link.starts_with(path)))
                    && seen.insert(link.clone())
                {
                    ahead.push(link);
                }
            }
            for action in
                actions(&answer).into_iter().filter(|action| !action.contains("sign-out") && !action.contains("/me/"))
            {
                let body = crate::browser::encoded(&[
                    ("form_token", &browser.form_token()),
                    ("version", "1-1"),
                    ("status", "disabled"),
                    ("session", "x"),
                ]);
                let sent = browser.send("POST", &action, Some(&body), &[("sec-fetch-site", "same-origin")]).await;
                assert_ne!(sent.status, 403, "{name}: {path} shows a form to {action}: {sent:?}");
            }
        }
        assert!(seen.len() > 1, "{name}: {seen:?}");
    }
}
