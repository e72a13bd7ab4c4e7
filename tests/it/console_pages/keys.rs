//! Signing keys: prepared, activated, retired, revoked, and who has a new token since.

use serde_json::json;

use super::seen::{hidden, hides, is_sound, shows};
use super::{admin, visitor};
use crate::app::{App, DAY};
use crate::browser::{Browser, sent_to};

async fn prepared(browser: &Browser) -> String {
    let version = hidden(&browser.get("/console/keys", 200).await, "version");
    let made = browser.post("/console/keys/prepare", &[("version", &version)], 303).await;
    sent_to(&made).strip_prefix("/console/keys/").unwrap().to_owned()
}

async fn active(app: &App) -> String {
    let keys = app.admin().get("/keys", 200).await;
    let keys = keys["items"].as_array().unwrap();
    keys.iter().find(|key| key["state"] == "active").unwrap()["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_key_is_prepared_activated_and_retired() {
    let app = App::start().await;
    let browser = admin(&app).await;
    let first = active(&app).await;
    let page = browser.get("/console/keys", 200).await;
    is_sound(&page);
    shows(&page, &["Prepare a key", "As configured: ES256", "active since", "<svg class=\"spans\"", &first[..12]]);

    let version = hidden(&page, "version");
    let wrong = browser.post("/console/keys/prepare", &[("version", &version), ("algorithm", "none")], 422).await;
    is_sound(&wrong);
    shows(&wrong, &["id=\"e-algorithm\"", "choose one of the list"]);
    let made = browser.post("/console/keys/prepare", &[("version", &version), ("algorithm", "EdDSA")], 303).await;
    let path = sent_to(&made).to_owned();
    let second = path.strip_prefix("/console/keys/").unwrap();
    // The same form once more prepares no other.
    let again = browser.post("/console/keys/prepare", &[("version", &version), ("algorithm", "EdDSA")], 409).await;
    shows(&again, &["another change came first"]);
    assert_eq!(app.admin().get("/keys", 200).await["items"].as_array().unwrap().len(), 2);

    let page = browser.get(&path, 200).await;
    is_sound(&page);
    shows(
        &page,
        &["Pending", "EdDSA", "Not every cache of the key set has this key yet", "Activate it before its time"],
    );
    let early = browser.post(&format!("{path}/activate"), &[], 409).await;
    is_sound(&early);
    shows(&early, &["not every cache has this key yet"]);
    assert_eq!(active(&app).await, first);
    app.clock.advance(DAY);
    let browser = admin(&app).await;
    shows(&browser.get(&path, 200).await, &["Every cache of the key set has this key", ">Activate</button>"]);
    shows(&browser.get("/console/keys", 200).await, &["possible now", "Somebody has to activate it"]);
    browser.post(&format!("{path}/activate"), &[], 303).await;
    assert_eq!(active(&app).await, second);
    let page = browser.get(&path, 200).await;
    shows(&page, &["It signs from now on", "Active"]);
    hides(&page, &["Let it sign"]);

    // The one before retires when nobody needs it.
    let old = format!("/console/keys/{first}");
    shows(&browser.get(&old, 200).await, &["Retiring", "It retires by itself", ">admin</a>"]);
    let needed = browser.post(&format!("{old}/retire"), &[], 409).await;
    shows(&needed, &["1 living tokens need this key"]);
    let token = app.admin().regenerate("admin").await;
    let browser = app.signed_in(&token).await;
    shows(&browser.get(&old, 200).await, &["No living token needs this key", "Retire now"]);
    browser.post(&format!("{old}/retire"), &[], 303).await;
    let page = browser.get(&old, 200).await;
    shows(&page, &["It is published no longer", "Retired"]);
    is_sound(&browser.get("/console/keys", 200).await);
}

#[tokio::test]
async fn forcing_is_asked_for_and_explained() {
    let app = App::start().await;
    let browser = admin(&app).await;
    let key = prepared(&browser).await;
    shows(
        &browser.get(&format!("/console/keys/{key}"), 200).await,
        &["name=\"force\" value=\"yes\" required", "refuse new tokens"],
    );
    browser.post(&format!("/console/keys/{key}/activate"), &[("force", "yes")], 303).await;
    assert_eq!(active(&app).await, key);
    let again = browser.post(&format!("/console/keys/{key}/activate"), &[("force", "yes")], 409).await;
    shows(&again, &["it signs already"]);
    browser.post("/console/keys/none/activate", &[], 404).await;
    browser.get("/console/keys/none", 404).await;
    browser.get("/console/keys/prepare", 405).await;
}

#[tokio::test]
async fn a_key_is_revoked_once_its_id_is_typed_and_then_it_is_told_who_has_a_new_token() {
    let app = App::start().await;
    app.role("r", &[]).await;
    app.team("ops").await;
    for name in ["silent", "trying", "renewed"] {
        app.create(json!({ "username": name, "role": "r", "teams": { "ops": "r" }, "valid_for_months": 6 })).await;
    }
    let old = active(&app).await;
    let trying = app.bearer(&app.admin().regenerate("trying").await);
    let browser = admin(&app).await;
    let next = prepared(&browser).await;
    browser.post(&format!("/console/keys/{next}/activate"), &[("force", "yes")], 303).await;
    let admin_token = app.admin().regenerate("admin").await;
    let browser = app.signed_in(&admin_token).await;

    let path = format!("/console/keys/{old}/revoke");
    let page = browser.get(&path, 200).await;
    is_sound(&page);
    shows(&page, &["What dies with it", "ops: 3", "This can&#39;t be undone.", &format!("Type <code>{old}</code>")]);
    hides(&page, &["this session with it", "Count all of them"]);
    for typed in ["", "yes", &old[..20]] {
        let page = browser.post(&path, &[("confirm", typed)], 422).await;
        is_sound(&page);
        shows(&page, &["id=\"e-confirm\"", "type the id of the key"]);
    }
    shows(&browser.get(&format!("{path}?count=all"), 200).await, &["ops: 3"]);
    let done = browser.post(&path, &[("confirm", &old)], 303).await;
    assert_eq!(sent_to(&done), format!("/console/keys/{old}"));
    trying.door("GET", "/verify", 401).await;
    app.bearer(&admin_token).regenerate("renewed").await;
    app.settled().await;

    let page = browser.get(&format!("/console/keys/{old}"), 200).await;
    is_sound(&page);
    shows(
        &page,
        &[
            "The key is revoked; what it signed is refused",
            "1 of 3 tokens that died have",
            "<progress id=\"replaced\" max=\"3\" value=\"1\">",
        ],
    );
    let (board, rest) = page.text.split_once("still call with the dead one").unwrap();
    assert!(!board.contains(">trying</a>") && !page.text.contains(">renewed</a>"), "{}", page.text);
    let (still, silent) = rest.split_once("have not called since").unwrap();
    assert!(still.contains(">trying</a>") && !still.contains(">silent</a>"), "{still}");
    assert!(silent.contains(">silent</a>") && !silent.contains(">trying</a>"), "{silent}");
    hides(&page, &["Revoke …"]);
    assert_eq!(sent_to(&browser.get(&path, 303).await), format!("/console/keys/{old}"));
}

#[tokio::test]
async fn whoever_would_end_his_own_session_with_it_is_told() {
    let app = App::start().await;
    let browser = admin(&app).await;
    let key = active(&app).await;
    shows(&browser.get(&format!("/console/keys/{key}/revoke"), 200).await, &["this session with it", "It signs now"]);
    // Every admin's token would die.
    let refused = browser.post(&format!("/console/keys/{key}/revoke"), &[("confirm", &key)], 409).await;
    shows(&refused, &["every admin&#39;s token was signed by this key"]);
    assert_eq!(active(&app).await, key);
}

#[tokio::test]
async fn each_sees_and_does_only_what_he_may() {
    let app = App::start().await;
    let key = active(&app).await;
    let pages = ["/console/keys".to_owned(), format!("/console/keys/{key}"), format!("/console/keys/{key}/revoke")];
    for (name, permissions, expected) in [
        ("stranger", &["accounts:read"][..], [403, 403, 403]),
        ("reader", &["keys:read"], [200, 200, 403]),
        ("rotator", &["keys:rotate"], [403, 403, 403]),
        ("both", &["keys:read", "keys:rotate"], [200, 200, 200]),
    ] {
        let browser = visitor(&app, name, permissions).await;
        for (path, expected) in pages.iter().zip(expected) {
            is_sound(&browser.get(path, expected).await);
        }
    }
    let reader = visitor(&app, "other-reader", &["keys:read"]).await;
    hides(&reader.get("/console/keys", 200).await, &["Prepare a key"]);
    let page = reader.get(&pages[1], 200).await;
    // Nor does he learn of whom the tokens are.
    hides(&page, &["Revoke …", "/console/accounts/", ">admin<", "stranger"]);
    shows(&page, &["is shown to those who may read accounts"]);
    let own = app.account("key-reader", &["keys:read"]).await;
    assert_eq!(own.get(&format!("/keys/{key}"), 200).await["accounts"], serde_json::json!([]));
    let version = app.authority.keys().set().version().to_string();
    for path in [
        "/console/keys/prepare".to_owned(),
        format!("{}/activate", pages[1]),
        format!("{}/retire", pages[1]),
        pages[2].clone(),
    ] {
        reader.post(&path, &[("version", &version), ("confirm", &key), ("force", "yes")], 403).await;
    }
    // Blind: over the API he may, but no page is shown to him.
    let rotator = visitor(&app, "other-rotator", &["keys:rotate"]).await;
    rotator.post("/console/keys/prepare", &[("version", &version)], 403).await;
    assert_eq!(app.admin().get("/keys", 200).await["items"].as_array().unwrap().len(), 1);
}
