//! Generating and revoking tokens at the console.

use std::time::Duration;

use super::accounts::token_of;
use super::html::{check, text};
use super::{admin, field, followed, path_of, told};
use crate::app::App;

#[tokio::test]
async fn a_new_token_is_shown_once_and_the_form_sent_again_changes_nothing() {
    let app = App::start().await;
    let ci = app.account("ci", &[]).await;
    ci.verdict().await;
    app.settled().await;
    let browser = admin(&app).await;
    let path = path_of(&app, "ci").await;
    let ask = browser.get(&format!("{path}/token"), 200).await;
    check(&ask);
    // First what is using the present one.
    assert!(
        text(&ask).contains("What is using the present token") && text(&ask).contains("GET /verify"),
        "{}",
        text(&ask)
    );
    let (version, generation) = (field(&ask, "version"), field(&ask, "generation"));
    let fields = [
        ("version", version.as_str()),
        ("generation", generation.as_str()),
        ("valid_for_months", "24"),
        ("overlap_seconds", "0"),
    ];
    let shown = browser.post(&format!("{path}/token"), &fields, 200).await;
    check(&shown);
    let second = ci.holding(&token_of(&shown));
    assert!(told(&shown).contains("The older token is refused on the one node after "), "{}", told(&shown));
    assert_eq!((ci.verdict().await.as_str(), second.verdict().await.as_str()), ("superseded", "allowed"));
    let again = browser.post(&format!("{path}/token"), &fields, 412).await;
    check(&again);
    assert!(text(&again).contains("This was done already") && !again.text.contains("eyJ"), "{}", text(&again));
    assert_eq!(second.verdict().await, "allowed");
    assert_eq!(app.look("ci").await["generation"], 2);
    // Who still tries the old one is seen.
    ci.verdict().await;
    app.settled().await;
    let page = browser.get(&path, 200).await;
    check(&page);
    assert!(text(&page).contains("is dead and still used"), "{}", text(&page));
    assert!(text(&page).contains("Why it is refused") && text(&page).contains("superseded"), "{}", text(&page));
    assert!(text(&browser.get("/console/service-accounts", 200).await).contains("Dead token in use"));
}

#[tokio::test]
async fn in_an_overlap_both_are_good_and_the_page_counts_down() {
    let app = App::start().await;
    let ci = app.account("ci", &[]).await;
    let browser = admin(&app).await;
    let path = path_of(&app, "ci").await;
    let ask = browser.get(&format!("{path}/token"), 200).await;
    let (version, generation) = (field(&ask, "version"), field(&ask, "generation"));
    let fields = |overlap: &'static str, months: &'static str| {
        [
            ("version", version.clone()),
            ("generation", generation.clone()),
            ("valid_for_months", months.into()),
            ("overlap_seconds", overlap.into()),
        ]
    };
    let send = async |fields: [(&str, String); 4], expected| {
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        browser.post(&format!("{path}/token"), &fields, expected).await
    };
    // Longer than there is.
    let wrong = send(fields("604801", "12"), 422).await;
    check(&wrong);
    assert!(wrong.text.contains(r#"id="e-overlap-seconds">an overlap lasts at most"#), "{}", wrong.text);
    let wrong = send(fields("3600", "7"), 422).await;
    check(&wrong);
    assert!(wrong.text.contains(r#"<option value="3600" selected>"#), "what was chosen is kept");
    let shown = send(fields("3600", "12"), 200).await;
    check(&shown);
    assert!(told(&shown).contains("Both tokens are good now; the older one is refused from "), "{}", told(&shown));
    let second = ci.holding(&token_of(&shown));
    assert_eq!((ci.verdict().await.as_str(), second.verdict().await.as_str()), ("allowed", "allowed"));
    let page = browser.get(&path, 200).await;
    check(&page);
    assert!(text(&page).contains("The token before, in its overlap"), "{}", text(&page));
    assert!(page.text.contains(r#"data-time="countdown">in 1 hour<"#), "{}", page.text);
    app.clock.advance(Duration::from_secs(3600));
    assert_eq!(ci.verdict().await, "superseded");
}

#[tokio::test]
async fn a_token_is_revoked_after_a_question() {
    let app = App::start().await;
    let ci = app.account("ci", &[]).await;
    let browser = admin(&app).await;
    let path = path_of(&app, "ci").await;
    let ask = browser.get(&format!("{path}/revoke"), 200).await;
    check(&ask);
    assert_eq!(ci.verdict().await, "allowed");
    let version = field(&ask, "version");
    let done = browser.post(&format!("{path}/revoke"), &[("version", &version)], 303).await;
    let page = followed(&browser, &done).await;
    check(&page);
    assert!(told(&page).contains("The token is refused on the one node after"), "{}", told(&page));
    assert_eq!(ci.verdict().await, "revoked");
    assert!(!page.text.contains("Revoke it"));
    let ask = browser.get(&format!("{path}/token"), 200).await;
    check(&ask);
    assert!(text(&ask).contains("There is no token at present"), "{}", text(&ask));
}

#[tokio::test]
async fn a_disabled_account_gets_no_token_and_the_page_says_what_to_do() {
    let app = App::start().await;
    app.account("ci", &[]).await;
    let browser = admin(&app).await;
    app.admin().patch("/accounts/ci", serde_json::json!({ "status": "disabled" }), 200).await;
    let path = path_of(&app, "ci").await;
    let ask = browser.get(&format!("{path}/token"), 200).await;
    check(&ask);
    let version = field(&ask, "version");
    let fields =
        [("version", version.as_str()), ("generation", "1"), ("valid_for_months", "6"), ("overlap_seconds", "0")];
    let page = browser.post(&format!("{path}/token"), &fields, 409).await;
    check(&page);
    assert!(told(&page).contains("the account is disabled; enable it first"), "{}", told(&page));
}
