//! The audit of all accounts: every filter, pages that stay as they are, the way out of it.

use super::admin;
use super::seen::{is_sound, shows};
use crate::app::App;
use crate::usage::{another_shard, call, write};

#[tokio::test]
async fn every_filter_finds_what_it_says() {
    let app = App::start().await;
    let ci = app.account("ci", &[]).await;
    let other = app.account("other", &[]).await;
    let now = countermark::clock::Clock::now(app.clock.as_ref());
    let events = [
        call(&ci.id, now, None, ["/deployments/1", "curl/8", "192.0.2.7"]),
        call(&ci.id, now, Some("superseded"), ["/builds", "old/1", "198.51.100.9"]),
    ];
    write(&app, another_shard(), None, &events).await;
    let earlier = now - chrono::TimeDelta::hours(3);
    let early = call(&other.id, earlier, None, ["/deployments/2", "late/1", "192.0.2.8"]);
    write(&app, (another_shard() + 1) % 4, Some(earlier.timestamp_millis()), &[early]).await;
    let browser = admin(&app).await;
    app.settled().await;
    let hour = (now - chrono::TimeDelta::hours(1)).format("%Y-%m-%dT%H:%M").to_string();
    for (query, found, not) in [
        ("account=ci&path=/", vec!["/deployments/1", "/builds"], vec!["/deployments/2"]),
        (&format!("account={}&path=/", ci.id), vec!["/deployments/1", "/builds"], vec!["/deployments/2"]),
        ("outcome=refused&path=/builds", vec!["/builds"], vec!["/deployments/"]),
        ("reason=superseded", vec!["/builds"], vec!["/deployments/"]),
        ("path=/deployments", vec!["/deployments/1", "/deployments/2"], vec!["/builds"]),
        ("address=192.0.2.0/24", vec!["/deployments/1", "/deployments/2"], vec!["/builds"]),
        ("address=192.0.2.7", vec!["/deployments/1"], vec!["/deployments/2", "/builds"]),
        ("method=get&path=/deployments/1", vec!["/deployments/1"], vec!["/builds"]),
        ("kind=account.create", vec!["Account created"], vec!["/deployments/1"]),
        (&format!("from={hour}&path=/deployments"), vec!["/deployments/1"], vec!["/deployments/2"]),
        (&format!("to={hour}&path=/"), vec!["/deployments/2"], vec!["/deployments/1", "/builds"]),
        ("node=nowhere", vec!["Nothing like this is in the audit"], vec!["/deployments/1"]),
        ("node=nowhere&from=2020-01-01T00:00", vec!["Nothing like this is in the audit"], vec!["/deployments/1"]),
    ] {
        let page = browser.get(&format!("/console/audit?{query}"), 200).await;
        is_sound(&page);
        // What stands in the form is no row.
        let rows = page.text.split_once("</form>\n<div class=\"sheet flush\">").unwrap().1;
        let rows = rows.split_once("<section").unwrap().0;
        for text in &found {
            assert!(rows.contains(text), "no {text} for {query}: {rows}");
        }
        for text in &not {
            assert!(!rows.contains(&format!("GET {text}")), "{text} for {query}: {rows}");
        }
    }
    for (query, field) in [
        ("account=nobody-known", "account"),
        ("account=A%20B", "account"),
        ("outcome=maybe", "outcome"),
        ("address=here", "address"),
        ("from=yesterday", "from"),
        ("to=%3Cscript%3E", "to"),
    ] {
        let page = browser.get(&format!("/console/audit?{query}"), 200).await;
        is_sound(&page);
        shows(&page, &[&format!("id=\"e-{field}\""), "This can&#39;t be looked for"]);
    }
    is_sound(&browser.get("/console/audit?cursor=%3Cscript%3E&kind=%22%3E%3Csvg+onload%3D1%3E", 200).await);
}

#[tokio::test]
async fn what_others_have_sent_is_shown_as_text() {
    let app = App::start().await;
    let ci = app.account("ci", &[]).await;
    let now = countermark::clock::Clock::now(app.clock.as_ref());
    let hostile = ["/<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>\u{202e}", "192.0.2.7"];
    write(&app, another_shard(), None, &[call(&ci.id, now, Some("<svg onload=alert(1)>"), hostile)]).await;
    let browser = admin(&app).await;
    app.settled().await;
    let page = browser.get("/console/audit", 200).await;
    is_sound(&page);
    shows(&page, &["&#60;script&#62;alert(1)"]);
}

#[tokio::test]
async fn pages_stay_as_they_are_while_events_arrive() {
    let app = App::start().await;
    let ci = app.account("ci", &[]).await;
    let now = countermark::clock::Clock::now(app.clock.as_ref());
    let events: Vec<_> = (0..120)
        .map(|number| {
            call(
                &ci.id,
                now + chrono::TimeDelta::milliseconds(number),
                None,
                [&format!("/call/{number:03}"), "a", "::1"],
            )
        })
        .collect();
    write(&app, another_shard(), None, &events).await;
    let browser = admin(&app).await;
    app.settled().await;
    let mut path = "/console/audit?account=ci&path=/call".to_owned();
    let mut seen = Vec::new();
    for number in 0..5 {
        let page = browser.get(&path, 200).await;
        is_sound(&page);
        assert_eq!(
            page.text.contains("data-tail=\"/api/v1/audit/tail?account="),
            number == 0,
            "only what is newest is followed"
        );
        seen.extend(page.text.split("GET /call/").skip(1).map(|rest| rest[..3].parse::<u32>().unwrap()));
        // What arrives meanwhile is on none of the next ones.
        write(
            &app,
            another_shard(),
            None,
            &[call(&ci.id, now + chrono::TimeDelta::seconds(9), None, ["/call/999", "a", "::1"])],
        )
        .await;
        app.settled().await;
        let Some(next) = page.text.split("rel=\"next\" href=\"").nth(1) else { break };
        path = next.split('"').next().unwrap().replace("&#38;", "&").replace("&amp;", "&");
    }
    assert_eq!(seen, (0..120).rev().collect::<Vec<_>>());
}

#[tokio::test]
async fn what_is_filtered_can_be_taken_along() {
    let app = App::start().await;
    let ci = app.account("ci", &[]).await;
    ci.door("GET", "/verify", 200).await;
    let browser = admin(&app).await;
    app.settled().await;
    let page = browser.get("/console/audit?account=ci&outcome=allowed&from=2026-01-01T00:00", 200).await;
    shows(&page, &["the other filters don't apply"]);
    let link = |after: &str| {
        let before = page.text.split(after).next().unwrap();
        before.rsplit("href=\"").next().unwrap().split('"').next().unwrap().replace("&#38;", "&").replace("&amp;", "&")
    };
    let export = link("\" download=\"audit.jsonl\"");
    assert_eq!(export, format!("/api/v1/audit/export?account={}&from=2026-01-01T00%3A00%3A00Z", ci.id));
    let file = browser.get(&export, 200).await;
    assert!(file.text.lines().any(|line| line.contains("\"path\":\"/verify\"")), "{}", file.text);
    let json = browser.get(&link("\">These events as JSON"), 200).await;
    assert!(json["items"].as_array().unwrap().iter().all(|event| event["outcome"] == "allowed"), "{json:?}");
    let tail = browser.send("GET", "/api/v1/audit/tail?account=ci", None, &[]).await.expect(200);
    assert_eq!(tail.header("content-type"), "text/event-stream");
}
