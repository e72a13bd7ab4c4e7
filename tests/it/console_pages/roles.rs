//! Roles: what each grants, who has it, and who gains and loses what before a change is made.

use serde_json::json;

use super::seen::{HOSTILE, hidden, hides, is_sound, shows};
use super::{admin, visitor};
use crate::app::App;
use crate::browser::sent_to;

#[tokio::test]
async fn a_role_is_made_changed_and_deleted() {
    let app = App::start().await;
    let browser = admin(&app).await;
    is_sound(&browser.get("/console/roles/~new", 200).await);
    let fields =
        [("name", "ship"), ("description", "Ships"), ("permissions", "deployments:create\r\n\r\n deployments:read ")];
    let made = browser.post("/console/roles/~new", &fields, 303).await;
    assert_eq!(sent_to(&made), "/console/roles/ship");
    let page = browser.get("/console/roles/ship", 200).await;
    is_sound(&page);
    shows(
        &page,
        &[
            "The role ship was made.",
            "deployments:create",
            "Ships",
            "No account has this role",
            "/console/roles/ship/edit",
        ],
    );
    assert_eq!(
        app.admin().get("/roles/ship", 200).await["permissions"],
        json!(["deployments:create", "deployments:read"])
    );
    app.create(json!({ "username": "ci", "role": "ship", "valid_for_months": 6 })).await;

    // First what it comes to, then it is made.
    let page = browser.get("/console/roles/ship/edit", 200).await;
    shows(&page, &["deployments:create\ndeployments:read</textarea>", "Show who gains and loses what"]);
    hides(&page, &["value=\"save\""]);
    let version = hidden(&page, "version");
    let change =
        [("version", version.as_str()), ("description", "Ships"), ("permissions", "deployments:create\nbuilds:read")];
    let send = async |more: &[(&str, &str)], expected| {
        browser.post("/console/roles/ship/edit", &[&change, more].concat(), expected).await
    };
    // Whoever leaves that out is shown it all the same.
    for more in [&[("step", "preview")][..], &[("step", "save")], &[("step", "save"), ("previewed", "deployments:*")]] {
        let page = send(more, 200).await;
        is_sound(&page);
        shows(
            &page,
            &[
                "+ builds:read",
                "− deployments:read",
                ">ci</a>",
                "everywhere",
                "1 account gains or loses",
                "value=\"save\"",
            ],
        );
    }
    assert_eq!(
        app.admin().get("/roles/ship", 200).await["permissions"],
        json!(["deployments:create", "deployments:read"])
    );
    let previewed = hidden(&send(&[("step", "preview")], 200).await, "previewed");
    let saved = send(&[("step", "save"), ("previewed", &previewed)], 303).await;
    assert_eq!(sent_to(&saved), "/console/roles/ship");
    shows(
        &browser.get("/console/roles/ship", 200).await,
        &["The role ship was changed; it holds", "builds:read", ">ci</a>", "by default"],
    );

    // As long as somebody has it, it stays.
    let page = browser.get("/console/roles/ship/delete", 200).await;
    shows(&page, &["Accounts have this role"]);
    hides(&page, &["Delete ship"]);
    app.admin().delete("/accounts/ci", 200).await;
    let page = browser.get("/console/roles/ship/delete", 200).await;
    is_sound(&page);
    shows(&page, &["Delete ship", "builds:read, deployments:create", "No account has it now."]);
    let version = hidden(&page, "version");
    app.role("ship", &[]).await;
    let stale = browser.post("/console/roles/ship/delete", &[("version", &version)], 412).await;
    shows(&stale, &["This was changed by somebody else"]);
    let version = hidden(&stale, "version");
    let deleted = browser.post("/console/roles/ship/delete", &[("version", &version)], 303).await;
    assert_eq!(sent_to(&deleted), "/console/roles");
    browser.get("/console/roles/ship", 404).await;
}

#[tokio::test]
async fn a_change_does_not_undo_what_another_has_changed_meanwhile() {
    let app = App::start().await;
    app.role("ship", &["a:read"]).await;
    let browser = admin(&app).await;
    let version = hidden(&browser.get("/console/roles/ship/edit", 200).await, "version");
    app.role("ship", &["a:read", "b:read"]).await;
    let fields = |version: &str, previewed: &str| {
        [
            ("version", version),
            ("permissions", "a:write"),
            ("description", "mine"),
            ("step", "save"),
            ("previewed", previewed),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
    };
    let send = async |version: &str, previewed: &str, expected| {
        let fields = fields(version, previewed);
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        browser.post("/console/roles/ship/edit", &fields, expected).await
    };
    let stale = send(&version, "a:write", 412).await;
    is_sound(&stale);
    // What was typed is kept; what it would come to now is to be seen first.
    shows(
        &stale,
        &[
            "This was changed by somebody else",
            "a:write</textarea>",
            "mine</textarea>",
            "Show who gains and loses what",
        ],
    );
    let version = hidden(&stale, "version");
    let page = send(&version, "", 200).await;
    shows(&page, &["− b:read", "− a:read", "+ a:write"]);
    send(&version, "a:write", 303).await;
    browser.post("/console/roles/ship/edit", &[("permissions", "a:b"), ("version", "x")], 422).await;
}

#[tokio::test]
async fn what_is_wrong_stands_beside_its_field_and_what_was_typed_is_kept() {
    let app = App::start().await;
    let browser = admin(&app).await;
    app.role("taken", &[]).await;
    browser.get("/console/roles/~new", 200).await;
    for (fields, wrong, message) in [
        ([("name", "Ship"), ("permissions", "a:b")], "name", "a role name is"),
        ([("name", "taken"), ("permissions", "a:b")], "name", "there is a role of this name already"),
        ([("name", "ship"), ("permissions", "a:b\ndeploy everything")], "permissions", "“deploy everything”"),
        ([("name", "admin"), ("permissions", "a:b")], "", "are built in"),
    ] {
        let page = browser.post("/console/roles/~new", &fields, if wrong.is_empty() { 409 } else { 422 }).await;
        is_sound(&page);
        shows(&page, &[message, &format!("value=\"{}\"", fields[0].1), &format!("{}</textarea>", fields[1].1)]);
        if !wrong.is_empty() {
            shows(&page, &[&format!("id=\"e-{wrong}\""), "aria-invalid=\"true\""]);
        }
    }
    let long = "x".repeat(501);
    let page = browser.post("/console/roles/~new", &[("name", "ship"), ("description", &long)], 422).await;
    shows(&page, &["id=\"e-description\"", &long]);
    let many: Vec<String> = (0..201).map(|number| format!("a:{number}")).collect();
    let page = browser.post("/console/roles/~new", &[("name", "ship"), ("permissions", &many.join("\n"))], 422).await;
    shows(&page, &["a role has at most 200 permissions", "a:200</textarea>"]);
}

#[tokio::test]
async fn nothing_that_is_typed_runs() {
    let app = App::start().await;
    let browser = admin(&app).await;
    browser.get("/console/roles/~new", 200).await;
    for (number, text) in HOSTILE.iter().enumerate() {
        let page = browser
            .post("/console/roles/~new", &[("name", text), ("description", text), ("permissions", text)], 422)
            .await;
        is_sound_but_for_what_was_typed(&page, text);
        let name = format!("r{number}");
        app.admin().put(&format!("/roles/{name}"), json!({ "description": text, "permissions": [] }), 201).await;
        for path in
            [format!("/console/roles/{name}"), "/console/roles".into(), format!("/console/roles?query={number}")]
        {
            is_sound(&browser.get(&path, 200).await);
        }
        is_sound_but_for_what_was_typed(&browser.get(&format!("/console/roles/{name}/edit"), 200).await, text);
    }
    is_sound(&browser.get("/console/roles?query=%3Cscript%3E&cursor=%3Cscript%3E", 200).await);
}

/// In a field, what was typed stands as it was typed, also marks that turn the text around.
#[track_caller]
fn is_sound_but_for_what_was_typed(page: &crate::app::Answer, text: &str) {
    if !text.contains('\u{202e}') {
        is_sound(page);
    }
}

#[tokio::test]
async fn each_sees_and_does_only_what_he_may() {
    let app = App::start().await;
    app.role("ship", &["deployments:create"]).await;
    app.create(json!({ "username": "ci", "role": "ship", "valid_for_months": 6 })).await;
    let pages = [
        "/console/roles",
        "/console/roles/ship",
        "/console/roles/~new",
        "/console/roles/ship/edit",
        "/console/roles/ship/delete",
    ];
    for (name, permissions, expected) in [
        ("stranger", &["accounts:read"][..], [403, 403, 403, 403, 403]),
        ("reader", &["roles:read"], [200, 200, 403, 403, 403]),
        ("writer", &["roles:write"], [403, 403, 200, 403, 403]),
        ("both", &["roles:read", "roles:write", "deployments:create"], [200, 200, 200, 200, 200]),
    ] {
        let browser = visitor(&app, name, permissions).await;
        for (path, expected) in pages.iter().zip(expected) {
            is_sound(&browser.get(path, expected).await);
        }
    }
    let reader = visitor(&app, "auditor-of-roles", &["roles:read"]).await;
    let page = reader.get("/console/roles/ship", 200).await;
    hides(&page, &["/edit", "/delete", ">ci</a>", "by default"]);
    hides(&reader.get("/console/roles", 200).await, &["New role", "Accounts</th>"]);
    // A form that he was never given.
    let version = app.admin().get("/roles/ship", 200).await.header("etag").trim_matches('"').to_owned();
    for path in ["/console/roles/~new", "/console/roles/ship/edit", "/console/roles/ship/delete"] {
        reader.post(path, &[("version", &version), ("name", "x"), ("permissions", "")], 403).await;
    }
    let seer = visitor(&app, "seer", &["roles:read", "accounts:read"]).await;
    shows(&seer.get("/console/roles/ship", 200).await, &[">ci</a>", "1 account"]);

    // Nobody grants what he does not hold: what was typed is kept.
    let lead = visitor(&app, "lead", &["roles:read", "roles:write"]).await;
    lead.get("/console/roles/~new", 200).await;
    let page = lead.post("/console/roles/~new", &[("name", "mine"), ("permissions", "payments:delete")], 403).await;
    shows(
        &page,
        &[
            "nobody can grant what they don&#39;t hold: payments:delete",
            "id=\"e-permissions\"",
            "payments:delete</textarea>",
        ],
    );
    // Who has a role is not for those who may not read accounts.
    let page = lead.get("/console/roles/ship/edit", 200).await;
    let version = hidden(&page, "version");
    let page = lead
        .post("/console/roles/ship/edit", &[("version", &version), ("permissions", ""), ("step", "preview")], 200)
        .await;
    shows(&page, &["− deployments:create", "shown to those who may read accounts"]);
    hides(&page, &[">ci</a>"]);
}

#[tokio::test]
async fn a_long_list_comes_in_parts() {
    let app = App::start().await;
    for number in 0..60 {
        app.role(&format!("r{number:02}"), &[]).await;
    }
    let browser = admin(&app).await;
    let page = browser.get("/console/roles", 200).await;
    is_sound(&page);
    shows(&page, &[">admin</a>", ">r47</a>", "cursor=r47"]);
    hides(&page, &[">r48</a>"]);
    let page = browser.get("/console/roles?cursor=r47", 200).await;
    shows(&page, &[">r48</a>", ">r59</a>", "First page"]);
    hides(&page, &[">r47</a>", "Next page"]);
    shows(&browser.get("/console/roles?query=r5", 200).await, &[">r51</a>"]);
    shows(&browser.get("/console/roles?query=nothing", 200).await, &["No roles like these"]);
    app.role("held", &[]).await;
    for number in 0..52 {
        app.create(json!({ "username": format!("a{number:02}"), "role": "held", "valid_for_months": 6 })).await;
    }
    let page = browser.get("/console/roles/held", 200).await;
    shows(&page, &["52 accounts", ">a49</a>", "/console/roles/held?cursor=a49"]);
    hides(&page, &[">a50</a>"]);
    shows(&browser.get("/console/roles/held?cursor=a49", 200).await, &[">a50</a>", ">a51</a>"]);
    assert_eq!(sent_to(&browser.get("/console/roles/new", 303).await), "/console/roles/~new");
    app.role("new", &[]).await;
    browser.get("/console/roles/new", 200).await;
}
