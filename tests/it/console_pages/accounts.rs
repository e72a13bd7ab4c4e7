//! Service accounts: the list, a new one, its page, changing and deleting it.

use std::time::Duration;

use serde_json::json;

use super::html::{check, links, text};
use super::{admin, field, followed, make, path_of, told};
use crate::app::{App, DAY};

#[tokio::test]
async fn a_list_that_is_empty_says_what_to_do_and_one_that_is_not_has_rows() {
    let app = App::start().await;
    let browser = admin(&app).await;
    let users = browser.get("/console/users", 200).await;
    check(&users);
    assert!(text(&users).contains("There are no users yet"));
    assert!(links(&users).contains("/console/users/new"));
    app.role("r", &[]).await;
    app.team("ops").await;
    let body = json!({ "username": "ci-deploy", "description": "Deploys <things>", "role": "r", "teams": { "ops": "r" }, "valid_for_months": 6 });
    app.create(body).await;
    let list = browser.get("/console/service-accounts", 200).await;
    check(&list);
    let said = text(&list);
    for part in ["ci-deploy", "Deploys <things>", "+ 1 team", "Active", "in 6 months", "never", "admin"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(links(&list).contains(&path_of(&app, "ci-deploy").await));
}

#[tokio::test]
async fn a_list_is_searched_and_filtered_and_keeps_what_was_typed() {
    let app = App::start().await;
    let browser = admin(&app).await;
    app.role("r", &[]).await;
    app.role("other", &[]).await;
    app.team("ops").await;
    for (name, role, team, months) in
        [("ci-one", "r", true, 6), ("ci-two", "other", false, 24), ("build", "r", false, 12)]
    {
        let teams = if team { json!({ "ops": "r" }) } else { json!({}) };
        let body = json!({ "username": name, "role": role, "teams": teams, "valid_for_months": months, "description": "of the PLATFORM" });
        app.create(body).await;
    }
    app.admin().patch("/accounts/build", json!({ "status": "disabled" }), 200).await;
    let found = async |query: &str| {
        let page = browser.get(&format!("/console/service-accounts?{query}"), 200).await;
        check(&page);
        let names = ["ci-one", "ci-two", "build", "admin"];
        let rows = page.text.split_once(r#"id="results""#).unwrap().1.to_owned();
        names.into_iter().filter(|name| rows.contains(&format!(">{name}</a></th>"))).collect::<Vec<_>>()
    };
    assert_eq!(found("query=ci").await, ["ci-one", "ci-two"]);
    assert_eq!(found("query=PLATform").await, ["ci-one", "ci-two", "build"]);
    assert_eq!(found("role=other&query=").await, ["ci-two"]);
    assert_eq!(found("team=ops").await, ["ci-one"]);
    assert_eq!(found("status=disabled").await, ["build"]);
    assert_eq!(found("status=active&role=r").await, ["ci-one"]);
    assert_eq!(found("expires=7").await, Vec::<&str>::new());
    app.clock.advance(160 * DAY);
    // The session is over by then.
    let browser = app.signed_in(&app.admin().regenerate("admin").await).await;
    let page = browser.get("/console/service-accounts?expires=60&query=%22%3E%3Cscript%3E", 200).await;
    check(&page);
    assert!(text(&page).contains("No service accounts like these"));
    assert!(page.text.contains(r#"name="query" type="search" value="&#34;&#62;&#60;script&#62;""#), "{}", page.text);
    assert!(page.text.contains(r#"<option value="60" selected>"#));
    let page = browser.get("/console/service-accounts?expires=60", 200).await;
    assert!(text(&page).contains("ci-one") && !text(&page).contains("ci-two"));
    assert!(text(&page).contains("Expires soon"), "{}", text(&page));
    let page = browser.get("/console/service-accounts?role=%3Cb%3E&status=x&expires=-1", 200).await;
    check(&page);
    assert_eq!(page.text.matches(r#"<p class="error""#).count(), 3, "{}", page.text);
}

#[tokio::test]
async fn a_long_list_has_pages_and_none_here_is_not_none() {
    let app = App::start().await;
    app.role("r", &[]).await;
    for number in 0..53 {
        let body = json!({ "username": format!("ci-{number:02}"), "role": "r", "valid_for_months": 6 });
        app.create(body).await;
    }
    let browser = admin(&app).await;
    let first = browser.get("/console/service-accounts?query=ci&role=r", 200).await;
    check(&first);
    assert!(first.text.contains(">ci-49</a>") && !first.text.contains(">ci-50</a>"));
    assert!(!text(&first).contains("First page"));
    let links = links(&first);
    let next = links.iter().find(|link| link.contains("cursor=")).expect("a next page");
    assert!(next.contains("query=ci&role=r&"), "{next}");
    let second = browser.get(next, 200).await;
    check(&second);
    assert!(second.text.contains(">ci-50</a>") && !second.text.contains(">ci-49</a>"));
    assert!(text(&second).contains("First page") && !text(&second).contains("Next page"));
    // A cursor that is none leads to the first page.
    let again = browser.get("/console/service-accounts?query=ci&cursor=%00x", 200).await;
    assert!(again.text.contains(">ci-00</a>"));
}

#[tokio::test]
async fn a_new_account_shows_its_token_once_and_the_form_sent_again_makes_nothing() {
    let app = App::start().await;
    app.role("deployer", &["deployments:create"]).await;
    app.team("ops").await;
    let browser = admin(&app).await;
    let fields = [
        ("username", "ci"),
        ("description", "Deploys\r\nthings"),
        ("role", "deployer"),
        ("teams.ops", "deployer"),
        ("valid_for_months", "6"),
        ("audiences", "payments\r\n\r\n  https://b.test  "),
        ("allowed_networks", "127.0.0.1\r\n10.0.0.0/8"),
    ];
    let form = browser.get("/console/service-accounts/new", 200).await;
    check(&form);
    let opened = field(&form, "opened");
    let all: Vec<_> = fields.iter().copied().chain([("opened", opened.as_str())]).collect();
    let shown = browser.post("/console/service-accounts/new", &all, 200).await;
    check(&shown);
    let token = token_of(&shown);
    assert_eq!(app.bearer(&token).get("/self", 200).await["account"]["username"], "ci");
    assert!(told(&shown).contains("The account ci was created."));
    assert!(
        text(&shown)
            .contains("curl --fail-with-body -H \"Authorization: Bearer $TOKEN\" https://countermark.test/api/v1/self")
    );
    let account = app.look("ci").await;
    assert_eq!(account["description"], "Deploys\nthings");
    assert_eq!(account["teams"], json!({ "ops": "deployer" }));
    assert_eq!(account["audiences"], json!(["payments", "https://b.test"]));
    assert_eq!(account["allowed_networks"], json!(["127.0.0.1/32", "10.0.0.0/8"]));
    // As a browser does that is told to reload.
    let again = browser.post("/console/service-accounts/new", &all, 409).await;
    check(&again);
    assert!(text(&again).contains("This was done already") && text(&again).contains("ci was made"), "{}", text(&again));
    assert!(!again.text.contains("eyJ"));
    assert_eq!(app.look("ci").await["generation"], 1);
    assert!(links(&again).contains(&path_of(&app, "ci").await));
    // Nor does any other page show it.
    for page in ["/console/service-accounts", &path_of(&app, "ci").await, "/console/service-accounts/new"] {
        assert!(!browser.get(page, 200).await.text.contains(&token[..60]), "{page}");
    }
    // An older account of that name is a mistake, and no repetition.
    app.clock.advance(Duration::from_secs(1));
    let taken = make(&browser, &[("username", "ci"), ("role", "deployer")], 409).await;
    check(&taken);
    assert!(taken.text.contains(r#"id="e-username">the username is taken"#), "{}", taken.text);
}

pub fn token_of(page: &crate::app::Answer) -> String {
    let (_, rest) = page.text.split_once("data-secret>\n").unwrap_or_else(|| panic!("no secret in {}", page.text));
    rest.split_once("</textarea>").unwrap().0.to_owned()
}

#[tokio::test]
async fn what_is_wrong_stands_beside_its_field_and_what_was_typed_is_kept() {
    let app = App::start().await;
    app.role("r", &[]).await;
    app.team("ops").await;
    let browser = admin(&app).await;
    let long = "ä".repeat(501);
    let fields = [
        ("username", "Ci <b>"),
        ("description", long.as_str()),
        ("role", ""),
        ("teams.ops", "not-a-role!"),
        ("valid_for_months", "many"),
        ("audiences", "a b"),
        ("allowed_networks", "10.0.0.0/99\nx"),
    ];
    let page = make(&browser, &fields, 422).await;
    check(&page);
    for id in ["username", "description", "role", "teams-ops", "valid-for-months", "audiences", "allowed-networks"] {
        assert!(page.text.contains(&format!(r#"<p class="error" id="e-{id}">"#)), "{id}: {}", page.text);
        assert!(page.text.contains(&format!(r##"<a href="#f-{id}">"##)), "{id}");
    }
    assert!(page.text.contains(r#"value="Ci &#60;b&#62;""#) && page.text.contains(&long));
    assert!(page.text.contains("10.0.0.0/99\nx</textarea>") && page.text.contains("a b</textarea>"));
    // What only the authority knows to be wrong.
    let page = make(&browser, &[("username", "ci"), ("role", "nothing"), ("valid_for_months", "7")], 422).await;
    check(&page);
    assert!(
        page.text.contains(r#"id="e-valid-for-months">a token is valid for one of 6, 12, 24 months"#),
        "{}",
        page.text
    );
    let page = make(&browser, &[("username", "ci"), ("role", "nothing")], 422).await;
    assert!(page.text.contains(r#"id="e-role">there is no role nothing"#), "{}", page.text);
    assert!(page.text.contains(r#"value="ci""#));
    app.admin().get("/accounts/ci", 404).await;
}

#[tokio::test]
async fn an_account_is_edited_and_only_what_is_different_is_a_change() {
    let app = App::start().await;
    app.role("r", &[]).await;
    app.role("s", &[]).await;
    app.team("ops").await;
    app.create(
        json!({ "username": "ci", "role": "r", "teams": { "ops": "s" }, "valid_for_months": 6, "description": "one" }),
    )
    .await;
    let browser = admin(&app).await;
    let path = path_of(&app, "ci").await;
    let page = browser.get(&format!("{path}/edit"), 200).await;
    check(&page);
    assert!(
        page.text.contains(r#"<option value="r" selected>"#) && page.text.contains(r#"<option value="s" selected>"#)
    );
    let version = field(&page, "version");
    let fields = [("version", version.as_str()), ("description", "two"), ("role", "r"), ("teams.ops", "s")];
    let saved = browser.post(&format!("{path}/edit"), &fields, 303).await;
    let page = followed(&browser, &saved).await;
    check(&page);
    assert!(told(&page).contains("Saved; it holds"), "{}", told(&page));
    assert!(text(&page).contains("two"));
    let change = app.activity("ci").await.into_iter().find(|event| event["kind"] == "account.update").unwrap();
    assert_eq!(change["details"]["changed"], json!(["description"]));
    let version = app.look("ci").await["version"].as_str().unwrap().to_owned();
    let fields = [("version", version.as_str()), ("role", "s"), ("teams.ops", ""), ("allowed_networks", "127.0.0.0/8")];
    browser.post(&format!("{path}/edit"), &fields, 303).await;
    let account = app.look("ci").await;
    assert_eq!((&account["role"], &account["teams"], &account["description"]), (&json!("s"), &json!({}), &json!("")));
    assert_eq!(account["allowed_networks"], json!(["127.0.0.0/8"]));
}

#[tokio::test]
async fn a_form_that_is_older_than_the_account_changes_nothing_and_says_so() {
    let app = App::start().await;
    app.account("ci", &[]).await;
    let browser = admin(&app).await;
    let path = path_of(&app, "ci").await;
    let stale = app.look("ci").await["version"].as_str().unwrap().to_owned();
    app.admin().patch("/accounts/ci", json!({ "description": "of somebody else" }), 200).await;
    for (form, fields) in [
        ("edit", vec![("description", "mine"), ("role", "ci-role")]),
        ("status", vec![("status", "disabled")]),
        ("token", vec![("valid_for_months", "6"), ("overlap_seconds", "0"), ("generation", "1")]),
        ("revoke", vec![]),
        ("delete", vec![("confirm", "ci")]),
    ] {
        let mut fields = fields;
        fields.push(("version", stale.as_str()));
        let page = browser.post(&format!("{path}/{form}"), &fields, 412).await;
        check(&page);
        assert!(told(&page).contains("This was changed by somebody else"), "{form}: {}", told(&page));
        assert!(form != "edit" || page.text.contains("mine</textarea>"), "{form}: what was typed is kept");
    }
    let account = app.look("ci").await;
    assert_eq!((&account["description"], &account["status"]), (&json!("of somebody else"), &json!("active")));
    assert_eq!(account["generation"], 1);
    // A form that says nothing of what it was made for does nothing.
    browser.post(&format!("{path}/delete"), &[("confirm", "ci")], 422).await;
    // Told, whoever sends it again means it.
    let page = browser
        .post(&format!("{path}/edit"), &[("version", &stale), ("description", "mine"), ("role", "ci-role")], 412)
        .await;
    let version = field(&page, "version");
    browser
        .post(&format!("{path}/edit"), &[("version", &version), ("description", "mine"), ("role", "ci-role")], 303)
        .await;
    assert_eq!(app.look("ci").await["description"], "mine");
}

#[tokio::test]
async fn an_account_is_disabled_enabled_and_deleted() {
    let app = App::start().await;
    let ci = app.account("ci", &[]).await;
    let browser = admin(&app).await;
    let path = path_of(&app, "ci").await;
    for (ask, status, verdict, said) in [
        ("/disable", "disabled", "disabled", "Disabled; its tokens are refused on the one node"),
        ("", "active", "allowed", "Enabled; it holds"),
    ] {
        let ask = browser.get(&format!("{path}{ask}"), 200).await;
        check(&ask);
        let version = field(&ask, "version");
        let done = browser.post(&format!("{path}/status"), &[("version", &version), ("status", status)], 303).await;
        let page = followed(&browser, &done).await;
        check(&page);
        assert!(told(&page).contains(said), "{}", told(&page));
        assert_eq!(ci.verdict().await, verdict);
    }
    let ask = browser.get(&format!("{path}/delete"), 200).await;
    check(&ask);
    let version = field(&ask, "version");
    let wrong = browser.post(&format!("{path}/delete"), &[("version", &version), ("confirm", "cj")], 422).await;
    check(&wrong);
    assert!(wrong.text.contains(r#"id="e-confirm">type ci, the name of the account"#), "{}", wrong.text);
    assert_eq!(ci.verdict().await, "allowed");
    let done = browser.post(&format!("{path}/delete"), &[("version", &version), ("confirm", " ci ")], 303).await;
    let page = followed(&browser, &done).await;
    assert!(told(&page).contains("ci was deleted; its tokens are refused"), "{}", told(&page));
    assert_eq!(ci.verdict().await, "unknown_account");
    // Its page is its activity from then on.
    app.settled().await;
    let page = followed(&browser, &browser.get(&path, 303).await).await;
    check(&page);
    assert!(
        text(&page).contains("ci, which was deleted") && text(&page).contains("Account deleted"),
        "{}",
        text(&page)
    );
}

#[tokio::test]
async fn the_last_admin_stays_and_the_page_says_why() {
    let app = App::start().await;
    let browser = admin(&app).await;
    let path = path_of(&app, "admin").await;
    let version = app.look("admin").await["version"].as_str().unwrap().to_owned();
    for (form, fields) in [
        ("status", vec![("status", "disabled")]),
        ("delete", vec![("confirm", "admin")]),
        ("revoke", vec![]),
        ("edit", vec![("role", "auditor")]),
    ] {
        let mut fields = fields;
        fields.push(("version", version.as_str()));
        let page = browser.post(&format!("{path}/{form}"), &fields, 409).await;
        check(&page);
        assert!(told(&page).contains("this would leave no active admin"), "{form}: {}", told(&page));
    }
}
