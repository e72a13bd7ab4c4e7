//! A3: exports that are interrupted, and by whom they may be had.

use axum::body::Body;
use countermark::audit::checkpoint::Part;
use http_body_util::BodyExt as _;
use serde_json::Value;

use super::{a_history, audit_keys, exported, linked, sound, verified};
use crate::app::{Actor, App, eventually};

/// So much that there are several marks: in many blocks, of which some are read at once, and among the acts.
async fn a_long_history(app: &App) {
    let ci = app.account("busy", &[]).await;
    let path = format!("/verify/{}", "x".repeat(500));
    for _ in 0..30 {
        for _ in 0..60 {
            ci.door("GET", &path, 200).await;
        }
        linked(app).await;
    }
    let many: Vec<String> = (0..100).map(|number| format!("a-resource-{number}:an-action")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for _ in 0..210 {
        app.role("large", &many).await;
    }
    a_history(app).await;
}

/// Where marks are, and their texts.
fn marks(lines: &[String]) -> Vec<(usize, String)> {
    let mark = |line: &String| {
        let record: Value = line.starts_with("{\"record\":").then(|| serde_json::from_str(line).unwrap())?;
        (record["record"] == "mark").then(|| record["text"].as_str().unwrap().to_owned())
    };
    lines.iter().enumerate().filter_map(|(place, line)| Some((place, mark(line)?))).collect()
}

async fn after(actor: &Actor, mark: &str) -> Vec<String> {
    let rest = actor.get(&format!("/audit/export?after={mark}"), 200).await;
    rest.text.lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn a3_an_export_that_was_interrupted_goes_on_after_any_mark_and_proves_the_same() {
    let app = App::start().await;
    a_long_history(&app).await;
    let keys = audit_keys(&app).await;
    let auditor = app.account("auditor", &["audit:read"]).await;
    let whole = exported(&app, Part::default()).await;
    sound(&verified(&keys, &whole));
    let marks = marks(&whole);
    assert!(marks.len() >= 4, "{}", marks.len());
    // In the middle of blocks, and of acts.
    let acts = whole.iter().position(|line| line.starts_with("{\"record\":\"act\"")).unwrap();
    assert!(marks[0].0 < acts && marks.last().unwrap().0 > acts);
    let is_event = |line: &&String| !line.starts_with("{\"record\":");
    let mut last = Vec::new();
    for (place, mark) in &marks {
        let rest = after(&auditor, mark).await;
        let joined = [&whole[..=*place], &rest].concat();
        let report = verified(&keys, &joined);
        sound(&report);
        // Nothing twice, nothing left out: what came meanwhile comes in its place.
        let events: Vec<&String> = joined.iter().filter(is_event).collect();
        assert!(whole.iter().filter(is_event).all(|event| events.contains(&event)));
        assert_eq!(events.iter().collect::<std::collections::BTreeSet<_>>().len(), events.len());
        last = rest;
    }
    // The end is signed for everything before it, whoever sent it.
    let (place, _) = marks.last().unwrap();
    let event = whole[..*place].iter().position(|line| !line.starts_with("{\"record\":")).unwrap();
    let mut changed = whole[..=*place].to_vec();
    changed[event] = changed[event].replace("\"GET\"", "\"PUT\"");
    assert_ne!(changed[event], whole[event]);
    let without_it = [&whole[..event], &whole[event + 1..=*place]].concat();
    let without_its_mark = whole[..*place].to_vec();
    let without_one_before = [&whole[..marks[0].0], &whole[marks[0].0 + 1..=*place]].concat();
    // Of a part of it: the mark of one is none of another.
    let id = app.look("busy").await["id"].as_str().unwrap().parse().unwrap();
    let of_one = exported(&app, Part { account: Some(id), ..Part::default() }).await;
    let of_another = of_one[..=super::marks::marks(&of_one).last().unwrap().0].to_vec();
    for beginning in [changed, without_it, without_its_mark, without_one_before, of_another] {
        assert!(!verified(&keys, &[beginning, last.clone()].concat()).is_sound());
    }
    // Not even where everything that was signed of the audit itself is there: only the lines up to a mark are others.
    let mut forged = [&whole[..=*place], &last].concat();
    forged[0] = forged[0].replace("\"time\":\"20", "\"time\":\"19");
    let report = verified(&keys, &forged);
    assert!(report.findings.iter().any(|what| what.contains("its lines are not those")), "{report:#?}");
    // And of the part that was asked for, the rest is the rest.
    let (place, of_one_mark) = super::marks::marks(&of_one)[0].clone();
    let rest = after(&auditor, &of_one_mark).await;
    let report = verified(&keys, &[&of_one[..=place], &rest].concat());
    sound(&report);
    assert_eq!(report.part.account, Some(id));
    assert!(!verified(&keys, &[&whole[..=marks[0].0], &rest].concat()).is_sound());
}

#[tokio::test]
async fn a3_only_what_was_signed_as_a_mark_within_the_hour_is_one() {
    let app = App::start().await;
    a_long_history(&app).await;
    let auditor = app.account("auditor", &["audit:read"]).await;
    let lines = exported(&app, Part::default()).await;
    let (_, mark) = marks(&lines)[0].clone();
    let text_of = |kind: &str| {
        let record: Value = serde_json::from_str(
            lines.iter().find(|line| line.starts_with(&format!("{{\"record\":\"{kind}\""))).unwrap(),
        )
        .unwrap();
        record["text"].as_str().unwrap().to_owned()
    };
    let other = App::start().await;
    a_long_history(&other).await;
    let foreign = marks(&exported(&other, Part::default()).await)[0].1.clone();
    let segments: Vec<&str> = mark.split('.').collect();
    let foreign_segments: Vec<&str> = foreign.split('.').collect();
    let mixed = [segments[0], foreign_segments[1], segments[2]].join(".");
    for bad in ["x", "", &text_of("seal"), &text_of("checkpoint"), &foreign, &mixed, &mark[..mark.len() - 4]] {
        let refused = auditor.get(&format!("/audit/export?after={bad}"), 422).await;
        assert_eq!(refused.json["errors"][0]["field"], "after", "{bad}");
    }
    let refused = auditor.get(&format!("/audit/export?after={mark}&node=node-1"), 422).await;
    assert!(refused.text.contains("leave the others out"), "{}", refused.text);
    app.account("nobody", &["accounts:read"]).await.get(&format!("/audit/export?after={mark}"), 403).await;
    app.clock.advance(std::time::Duration::from_secs(3599));
    auditor.get(&format!("/audit/export?after={mark}"), 200).await;
    app.clock.advance(std::time::Duration::from_secs(2));
    let refused = auditor.get(&format!("/audit/export?after={mark}"), 422).await;
    assert!(refused.text.contains("older than an hour; begin anew"), "{}", refused.text);
}

/// An export that is read as slowly as one likes.
struct Reader(Body);

impl Reader {
    async fn new(actor: &Actor) -> Self {
        let request = actor.request("GET", "/api/v1/audit/export").body(Body::empty()).unwrap();
        let arrival = countermark::listen::Arrival::from(actor.client.peer.clone());
        let response = actor.client.router.answer(request, arrival).await;
        assert_eq!(response.status(), 200);
        Self(response.into_body())
    }

    async fn next(&mut self) -> Option<String> {
        let frame = self.0.frame().await?.unwrap().into_data().unwrap();
        Some(String::from_utf8(frame.to_vec()).unwrap())
    }

    async fn rest(&mut self) -> String {
        let mut rest = String::new();
        while let Some(text) = self.next().await {
            rest.push_str(&text);
        }
        rest
    }
}

#[tokio::test]
async fn whoever_may_not_have_the_audit_any_more_gets_no_more_of_it() {
    let app = App::start().await;
    a_history(&app).await;
    let keys = audit_keys(&app).await;
    let auditor = app.account("auditor", &["audit:read"]).await;
    for (what, reason) in [("narrowed", "insufficient_permission"), ("superseded", "superseded")] {
        let mut reader = Reader::new(&auditor).await;
        let beginning = reader.next().await.unwrap();
        assert!(beginning.starts_with("{\"record\":\"begin\""), "{beginning}");
        match what {
            "narrowed" => app.role("auditor-role", &["accounts:read"]).await,
            _ => _ = app.admin().regenerate("auditor").await,
        }
        let rest = reader.rest().await;
        assert_eq!(rest, format!("{{\"record\":\"broken\",\"reason\":\"{reason}\"}}\n"));
        let lines: Vec<String> = (beginning + &rest).lines().map(str::to_owned).collect();
        let report = verified(&keys, &lines);
        for told in [format!("the export was stopped: {reason}"), "it has no end".to_owned()] {
            assert!(report.findings.iter().any(|what| what.contains(&told)), "{report:#?}");
        }
        app.role("auditor-role", &["audit:read"]).await;
    }
    let admin = app.admin();
    let mut reader = Reader::new(&admin).await;
    reader.next().await.unwrap();
    app.edge.drain();
    assert_eq!(reader.rest().await, "{\"record\":\"broken\",\"reason\":\"stopping\"}\n");
}

#[tokio::test]
async fn so_many_exports_are_under_way_at_once() {
    let app = App::start().await;
    let auditor = app.account("auditor", &["audit:read"]).await;
    let mut readers = Vec::new();
    for _ in 0..4 {
        readers.push(Reader::new(&auditor).await);
    }
    let refused = auditor.get("/audit/export", 429).await;
    assert_eq!((refused.reason(), refused.header("retry-after")), ("rate_limited", "10"));
    // One that was read to its end makes room, and so does one that nobody reads any more.
    readers[0].rest().await;
    drop(readers.remove(1));
    for _ in 0..2 {
        readers.push(Reader::new(&auditor).await);
    }
    auditor.get("/audit/export", 429).await;
    readers.clear();
    eventually("there is room", || async { app.authority.place_to_export().is_some() }).await;
}
