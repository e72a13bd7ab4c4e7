//! The console's pages: who sees them, what stands in them, and what their forms do.

mod accounts;
mod activity;
mod audit;
mod audit_status;
mod firehose;
mod hostile;
mod html;
mod keys;
mod nodes;
mod overview;
mod roles;
mod seen;
mod shell;
mod teams;
mod tokens;
mod users;
mod who;

use std::collections::BTreeMap;

use serde_json::json;

use crate::app::{Answer, App};
use crate::browser::Browser;

/// Somebody who has signed in with an account that may do this.
async fn visitor(app: &App, name: &str, permissions: &[&str]) -> Browser {
    let actor = app.account(name, permissions).await;
    app.signed_in(actor.token()).await
}

/// The admin at a browser.
async fn admin(app: &App) -> Browser {
    app.signed_in(app.admin().token()).await
}

/// The value of a field of a page, as a browser would send it.
#[track_caller]
fn field(page: &Answer, name: &str) -> String {
    let tag = format!(r#"name="{name}" value=""#);
    let (_, rest) = page.text.split_once(&tag).unwrap_or_else(|| panic!("no {name} in {}", page.text));
    unescaped(rest.split('"').next().unwrap())
}

fn unescaped(text: &str) -> String {
    let entities = [("&#34;", "\""), ("&#39;", "'"), ("&#60;", "<"), ("&#62;", ">"), ("&#38;", "&")];
    entities.iter().fold(text.to_owned(), |text, (entity, c)| text.replace(entity, c))
}

/// What a page says where people look first: of its notices and what is wrong with its form.
fn told(page: &Answer) -> String {
    let parts = page.text.split("<p class=\"notice").skip(1).chain(page.text.split("<div class=\"summary").skip(1));
    parts.map(|part| part.split_once("</p>").map_or(part, |(text, _)| text)).collect::<Vec<_>>().join("\n")
}

/// Sends what stands in the form that makes a service account.
async fn make(browser: &Browser, fields: &[(&str, &str)], expected: u16) -> Answer {
    let page = browser.get("/console/service-accounts/new", 200).await;
    let opened = field(&page, "opened");
    let usual = [("opened", opened.as_str()), ("valid_for_months", "12")];
    let all: BTreeMap<_, _> = usual.iter().chain(fields).copied().collect();
    let all: Vec<_> = all.into_iter().collect();
    browser.post("/console/service-accounts/new", &all, expected).await
}

/// The path of an account's page.
async fn path_of(app: &App, name: &str) -> String {
    let account = app.look(name).await;
    let place = if account["kind"] == json!("user") { "users" } else { "service-accounts" };
    format!("/console/{place}/{}", account["id"].as_str().unwrap())
}

/// Where an answer sends the browser, and what the page there says.
async fn followed(browser: &Browser, answer: &Answer) -> Answer {
    assert_eq!(answer.status, 303, "{answer:?}");
    browser.get(answer.header("location"), 200).await
}
