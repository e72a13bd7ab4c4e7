//! A3: what is removed from the store is archived first, and the archive and what is there are one chain.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use countermark::audit::archive::SegmentName;
use countermark::audit::checkpoint::{KeptFrom, Part};
use countermark::audit::proof::{Report, Verification};
use countermark::authority::{Archive, ArchivePlace, Archiving, Checkpoints};
use countermark::store::{ACTS, StoreError, stream_of};
use countermark::token::VerificationKey;

use super::{TOGETHER, another, audit_keys, busy, exported, linked, now, sound};
use crate::app::{App, Setup, eventually};

/// An archive with segments of this size.
pub fn archived_to(directory: &Path, segment_bytes: u64) -> Archive {
    Archive::Here(ArchivePlace { directory: directory.to_owned(), segment_bytes, after: Duration::from_secs(3_600) })
}

/// One that keeps as few entries as this.
async fn archiving(directory: &Path, firehose: u64) -> App {
    App::with(Setup { firehose, archive: archived_to(directory, 6_000), ..Setup::default() }).await
}

/// The files of an archive, in their order.
pub fn segments(directories: &[&Path]) -> Vec<(SegmentName, PathBuf)> {
    let entries = directories.iter().flat_map(|directory| std::fs::read_dir(directory).unwrap());
    let mut segments: Vec<_> = entries
        .map(|entry| entry.unwrap())
        .filter_map(|entry| Some((SegmentName::read(entry.file_name().to_str().unwrap())?, entry.path())))
        .collect();
    segments.sort();
    segments
}

/// What comes of an archive, and of an export after it.
pub fn together(keys: &[VerificationKey], directories: &[&Path], export: Option<&[String]>) -> Report {
    let mut verification = Verification::new(keys.to_vec());
    for (name, path) in segments(directories) {
        verification.begin_segment(&name.file());
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().for_each(|line| verification.line(line));
    }
    verification.end_archive();
    export.into_iter().flatten().for_each(|line| verification.line(line));
    verification.finish()
}

/// The archive and what is there now are one chain.
async fn one_chain(app: &App, directories: &[&Path]) -> Report {
    let keys = audit_keys(app).await;
    if !segments(directories).is_empty() {
        sound(&together(&keys, directories, None));
    }
    let report = together(&keys, directories, Some(&exported(app, Part::default()).await));
    sound(&report);
    assert_eq!(report.unproven, 0);
    report
}

fn log(app: &App) -> String {
    format!("{{{}:a{}}}:log", app.prefix, stream_of("node-1"))
}

fn heads(app: &App) -> String {
    format!("{{{}:a{}}}:heads", app.prefix, stream_of("node-1"))
}

/// Calls and acts, until there are more than so many blocks and acts.
pub async fn grown(app: &App, name: &str, most: u64) {
    busy(app, name).await;
    let ci = app.account(&format!("{name}-ci"), &["deployments:read"]).await;
    let mut number = 0;
    while length(app, &app.key("acts")).await <= most {
        app.role(&format!("{name}-{number}"), &["a:b"]).await;
        number += 1;
    }
    linked(app).await;
    while length(app, &log(app)).await <= most {
        ci.get("/self", 200).await;
        linked(app).await;
    }
}

async fn length(app: &App, key: &str) -> u64 {
    app.redis.run(&["XLEN", key]).await
}

#[tokio::test]
async fn a3_nothing_is_removed_that_is_not_archived_and_all_of_it_is_one_chain() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path().join("archive");
    let app = archiving(&directory, 20).await;
    let (mut known, mut archive) = (Checkpoints::default(), Archiving::default());
    // Nothing is proven yet, and from now on nothing is removed.
    app.authority.archive(&mut archive).await.unwrap();
    for most in [5, 15, 25] {
        grown(&app, &format!("ci-{most}"), most).await;
        app.authority.checkpoint(&mut known).await.unwrap();
    }
    let (blocks, acts) = (length(&app, &log(&app)).await, length(&app, &app.key("acts")).await);
    assert!(blocks > 25 && acts > 25 && !directory.exists());
    sound(&now(&app).await);
    // Not even where it was signed that it is.
    let removed = [(stream_of("node-1"), KeptFrom { first: "9999999999999-0".into(), removed: blocks })].into();
    app.store.remove_before(&removed).await.unwrap();
    assert_eq!(length(&app, &log(&app)).await, blocks);
    // In several segments, and in several removals.
    app.authority.archive(&mut archive).await.unwrap();
    app.authority.checkpoint(&mut known).await.unwrap();
    for key in [log(&app), app.key("acts")] {
        assert_eq!(length(&app, &key).await, 20, "{key}");
    }
    let mut report = one_chain(&app, &[&directory]).await;
    assert!(report.segments >= 3, "{report:?}");
    for round in 0..4 {
        grown(&app, &format!("more-{round}"), 25).await;
        app.authority.checkpoint(&mut known).await.unwrap();
        app.authority.archive(&mut archive).await.unwrap();
        app.authority.checkpoint(&mut known).await.unwrap();
        assert_eq!(length(&app, &log(&app)).await, 20);
        let next = one_chain(&app, &[&directory]).await;
        assert!(next.events > report.events, "each once: {next:?}");
        report = next;
    }
    // All that there ever was, each event once.
    let mut numbers = Vec::new();
    let texts = segments(&[&directory]).into_iter().map(|(_, path)| std::fs::read_to_string(path).unwrap());
    let lines: Vec<String> = texts.chain([exported(&app, Part::default()).await.join("\n")]).collect();
    for line in lines.iter().flat_map(|text| text.lines()).filter(|line| !line.starts_with("{\"record\":")) {
        numbers.push(serde_json::from_str::<serde_json::Value>(line).unwrap()["sequence"].as_u64().unwrap());
    }
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers, (1..=report.events).collect::<Vec<_>>());
    assert_eq!((app.metrics.archive_failures.get(), app.metrics.audit_alarms.get()), (0, 0));
    assert!(app.metrics.archived_entries.get() > 20 && app.metrics.archived_bytes.get() > 40_000);
    // Whatever is old enough, too.
    busy(&app, "late").await;
    app.authority.checkpoint(&mut known).await.unwrap();
    app.authority.archive(&mut archive).await.unwrap();
    assert!(app.metrics.archive_lag.get() < 60);
    app.clock.advance(Duration::from_secs(7_200));
    app.authority.archive(&mut archive).await.unwrap();
    assert!(app.metrics.archive_lag.get() > 3_600);
    app.authority.archive(&mut archive).await.unwrap();
    assert_eq!(app.metrics.archive_lag.get(), 0);
    one_chain(&app, &[&directory]).await;
    // Without the archive the service's part alone is whole, as it says itself.
    sound(&now(&app).await);
}

#[tokio::test]
async fn a3_a_stream_that_waits_for_its_archive_takes_no_more_and_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    // A file: nothing can be written to it.
    let nowhere = directory.path().join("file");
    std::fs::write(&nowhere, "").unwrap();
    let archive = archived_to(&nowhere, 6_000);
    let app = App::with(Setup { firehose: 20, archive, audit_queue: 8, ..Setup::default() }).await;
    let (mut known, mut archiving) = (Checkpoints::default(), Archiving::default());
    app.authority.archive(&mut archiving).await.unwrap();
    let ci = app.account("ci", &["deployments:read"]).await;
    linked(&app).await;
    // Each of them a block.
    while length(&app, &log(&app)).await < 40 {
        ci.get("/self", 200).await;
        eventually("it is written", || async {
            app.authority.node().recorder().counters().waiting() == 0 || length(&app, &log(&app)).await == 40
        })
        .await;
    }
    app.authority.checkpoint(&mut known).await.unwrap();
    let failed = app.authority.archive(&mut archiving).await.unwrap_err();
    assert!(failed.to_string().contains(nowhere.to_str().unwrap()), "{failed}");
    assert_eq!(app.metrics.archive_failures.get(), 1);
    app.authority.checkpoint(&mut known).await.unwrap();
    assert_eq!(length(&app, &log(&app)).await, 40);
    // A queue's worth of calls is answered, and the others are not.
    let mut refused = 0;
    for _ in 0..20 {
        let answer = ci.send("GET", "/self", None).await;
        assert!(answer.status == 200 || answer.status == 503, "{answer:?}");
        refused += u64::from(answer.status == 503);
    }
    assert!(refused >= 8, "{refused}");
    assert_eq!(length(&app, &log(&app)).await, 40, "nothing is cut off, and nothing added");
    sound(&now(&app).await);
    // With an archive all of it goes on.
    std::fs::remove_file(&nowhere).unwrap();
    app.authority.archive(&mut archiving).await.unwrap();
    app.authority.checkpoint(&mut known).await.unwrap();
    linked(&app).await;
    ci.get("/self", 200).await;
    busy(&app, "more").await;
    app.authority.checkpoint(&mut known).await.unwrap();
    one_chain(&app, &[&nowhere]).await;
}

#[tokio::test]
async fn a3_acts_that_wait_for_their_archive_take_no_more_but_what_takes_something_away() {
    let directory = tempfile::tempdir().unwrap();
    let app = archiving(directory.path(), 10).await;
    let (mut known, mut archive) = (Checkpoints::default(), Archiving::default());
    app.authority.archive(&mut archive).await.unwrap();
    let ci = app.account("ci", &[]).await;
    let mut number = 0;
    while length(&app, &app.key("acts")).await < 20 {
        app.role(&format!("role-{number}"), &["a:b"]).await;
        number += 1;
    }
    let body = Some(serde_json::json!({ "permissions": ["a:b"] }));
    let refused = app.admin().send("PUT", "/roles/another", body.clone()).await;
    assert_eq!((refused.status.as_u16(), refused.reason()), (503, "store_full"), "{refused:?}");
    let refused = app
        .admin()
        .send("POST", &format!("/accounts/{}/token", ci.id), Some(serde_json::json!({ "valid_for_months": 6 })))
        .await;
    assert_eq!((refused.status.as_u16(), refused.reason()), (503, "store_full"), "{refused:?}");
    app.admin().send("DELETE", &format!("/accounts/{}/token", ci.id), None).await;
    ci.get("/self", 401).await;
    assert_eq!(length(&app, &app.key("acts")).await, 21);
    linked(&app).await;
    app.authority.checkpoint(&mut known).await.unwrap();
    app.authority.archive(&mut archive).await.unwrap();
    app.authority.checkpoint(&mut known).await.unwrap();
    app.role("another", &["a:b"]).await;
    linked(&app).await;
    app.authority.checkpoint(&mut known).await.unwrap();
    one_chain(&app, &[directory.path()]).await;
}

#[tokio::test]
async fn a3_an_archive_that_was_interrupted_has_neither_gap_nor_repetition() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let app = archiving(directory, 20).await;
    let (mut known, mut archive) = (Checkpoints::default(), Archiving::default());
    app.authority.archive(&mut archive).await.unwrap();
    grown(&app, "a", 25).await;
    app.authority.checkpoint(&mut known).await.unwrap();
    let cursor = |app: &App| {
        let (redis, key) = (Arc::clone(&app.redis), heads(app));
        async move { redis.run::<String>(&["HGET", &key, "#archived"]).await }
    };
    let before = cursor(&app).await;
    assert!(before.starts_with("on 0-0 0 - "), "{before}");
    app.authority.archive(&mut archive).await.unwrap();
    let written = segments(&[directory]);
    // The process was killed when the file was there and the cursor was not moved; another one had hardly begun.
    app.redis.run::<u64>(&["HSET", &heads(&app), "#archived", &before]).await;
    std::fs::write(directory.join(format!(".{}.new-0123", SegmentName::stem(&stream_of("node-1"), 1))), "{\"rec")
        .unwrap();
    let mut archive = Archiving::default();
    busy(&app, "c").await;
    app.authority.checkpoint(&mut known).await.unwrap();
    assert!(length(&app, &log(&app)).await > 20, "what does not count is not archived");
    app.authority.archive(&mut archive).await.unwrap();
    app.authority.checkpoint(&mut known).await.unwrap();
    assert_eq!(length(&app, &log(&app)).await, 20);
    one_chain(&app, &[directory]).await;
    let again = segments(&[directory]);
    let firsts = |all: &[(SegmentName, PathBuf)]| {
        all.iter()
            .filter(|(name, _)| name.stream != ACTS && name.number == 1)
            .map(|(name, _)| name.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!((firsts(&written).len(), firsts(&again).len()), (1, 1));
    assert_ne!(firsts(&written), firsts(&again));
    // What did not count is beside it, and under another name.
    let names = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let (aside, names): (Vec<_>, Vec<_>) = names.partition(|name| name.ends_with(".aside"));
    assert_eq!(names.len(), again.len(), "{names:?}");
    assert!(aside.len() >= written.len() - 1, "{aside:?}");
    // A cursor that was put back is not believed once another was signed.
    let alarms = app.metrics.audit_alarms.get();
    app.redis.run::<u64>(&["HDEL", &heads(&app), "#archived"]).await;
    grown(&app, "d", 25).await;
    app.authority.checkpoint(&mut known).await.unwrap();
    assert_eq!(app.metrics.audit_alarms.get(), alarms + 1);
    app.authority.archive(&mut archive).await.unwrap();
    app.authority.checkpoint(&mut known).await.unwrap();
    app.authority.archive(&mut archive).await.unwrap();
    app.authority.checkpoint(&mut known).await.unwrap();
    one_chain(&app, &[directory]).await;
}

#[tokio::test]
async fn a3_two_issuers_archive_each_entry_once_and_one_without_an_archive_removes_nothing_before() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let app = archiving(one.path(), 20).await;
    let other =
        App::with(Setup { firehose: 20, archive: archived_to(two.path(), 6_000), ..another(&app, TOGETHER[1]) }).await;
    let without = App::with(Setup { firehose: 20, ..another(&app, "node-2") }).await;
    let (mut mine, mut others) = (Archiving::default(), Archiving::default());
    let (mut known, mut known_there, mut known_without) = Default::default();
    app.clock.advance(Duration::from_secs(7_200));
    app.authority.archive(&mut mine).await.unwrap();
    for round in 0..4 {
        grown(&app, &format!("ci-{round}"), 25).await;
        busy(&other, &format!("other-{round}")).await;
        without.authority.checkpoint(&mut known_without).await.unwrap();
        without.authority.archive(&mut Archiving::default()).await.unwrap();
        without.authority.checkpoint(&mut known_without).await.unwrap();
        let (at_once, and) = tokio::join!(app.authority.archive(&mut mine), other.authority.archive(&mut others));
        at_once.unwrap();
        and.unwrap();
        app.authority.checkpoint(&mut known).await.unwrap();
        // Whoever had no turn comes to it when there is something again.
        grown(&app, &format!("more-{round}"), 25).await;
        other.authority.checkpoint(&mut known_there).await.unwrap();
        // What is archived goes first: then it is due.
        other.authority.checkpoint(&mut known_there).await.unwrap();
        let (next, its) = if round % 2 == 0 { (&other, &mut others) } else { (&app, &mut mine) };
        next.authority.archive(its).await.unwrap();
        app.authority.checkpoint(&mut known).await.unwrap();
        app.authority.checkpoint(&mut known).await.unwrap();
        one_chain(&app, &[one.path(), two.path()]).await;
    }
    assert!(segments(&[one.path(), two.path()]).len() > 4);
    assert_eq!(app.metrics.audit_alarms.get() + other.metrics.audit_alarms.get(), 0);
    // Each has a part.
    let keys = audit_keys(&app).await;
    let export = exported(&app, Part::default()).await;
    // One that was written by both at once lies in both directories, and counts in one.
    let of = |part: &Path| -> BTreeSet<(String, u64)> {
        segments(&[part]).into_iter().map(|(name, _)| (name.stream, name.number)).collect()
    };
    let mut lacking = 0;
    for (part, rest) in [(one.path(), two.path()), (two.path(), one.path())] {
        assert!(!of(part).is_empty());
        if !of(rest).is_subset(&of(part)) {
            let report = together(&keys, &[part], Some(&export));
            assert!(report.findings.iter().any(|what| what.contains("missing")), "{report:#?}");
            lacking += 1;
        }
    }
    assert!(lacking > 0);
}

#[tokio::test]
async fn a3_of_two_who_archive_the_same_at_once_one_counts() {
    let directory = tempfile::tempdir().unwrap();
    let app = archiving(directory.path(), 20).await;
    app.clock.advance(Duration::from_secs(7_200));
    let archive = archived_to(directory.path(), 6_000);
    let other = App::with(Setup { firehose: 20, archive, ..another(&app, TOGETHER[1]) }).await;
    let (mut known, mut mine, mut others) = (Checkpoints::default(), Archiving::default(), Archiving::default());
    app.authority.archive(&mut mine).await.unwrap();
    for round in 0..4 {
        grown(&app, &format!("ci-{round}"), 25).await;
        busy(&other, &format!("other-{round}")).await;
        app.authority.checkpoint(&mut known).await.unwrap();
        // Turns that are over before they are done with.
        let turns = async {
            loop {
                app.redis.run::<u64>(&["DEL", &app.key("archiving")]).await;
            }
        };
        let both = async { tokio::join!(app.authority.archive(&mut mine), other.authority.archive(&mut others)) };
        tokio::select! {
            () = turns => {}
            (one, two) = both => {
                one.unwrap();
                two.unwrap();
            }
        }
        app.authority.checkpoint(&mut known).await.unwrap();
        app.authority.checkpoint(&mut known).await.unwrap();
        one_chain(&app, &[directory.path()]).await;
    }
    // From where it was it is moved once.
    let (stream, was) = app.store.archive_cursors().await.unwrap().pop_first().unwrap();
    let is = was.cursor.clone().unwrap();
    let moved = |node: &str| countermark::store::ArchiveCursor { node: node.to_owned(), ..is.clone() };
    assert!(app.store.move_archive_cursor(&stream, &was, &moved("one")).await.unwrap().is_some());
    assert!(app.store.move_archive_cursor(&stream, &was, &moved("two")).await.unwrap().is_none());
    let numbers: Vec<_> =
        segments(&[directory.path()]).into_iter().map(|(name, _)| (name.stream, name.number)).collect();
    let mut once = numbers.clone();
    once.dedup();
    assert_eq!(numbers, once);
}

#[tokio::test]
async fn a3_an_archive_that_was_ended_is_said_to_be_and_one_that_begins_late_begins_there() {
    let directory = tempfile::tempdir().unwrap();
    let app = App::with(Setup { firehose: 20, ..Setup::default() }).await;
    let (mut known, mut archive) = (Checkpoints::default(), Archiving::default());
    grown(&app, "a", 25).await;
    app.authority.checkpoint(&mut known).await.unwrap();
    assert_eq!(length(&app, &log(&app)).await, 20);
    let with = |archive| Setup { firehose: 20, archive, ..another(&app, "node-2") };
    let here = App::with(with(archived_to(directory.path(), 6_000))).await;
    let rounds = async |app: &App, archive: &mut Archiving, known: &mut Checkpoints, names: [&str; 2]| {
        for name in names {
            grown(app, name, 25).await;
            app.authority.checkpoint(known).await.unwrap();
            here.authority.archive(archive).await.unwrap();
            app.authority.checkpoint(known).await.unwrap();
        }
    };
    here.authority.archive(&mut archive).await.unwrap();
    rounds(&app, &mut archive, &mut known, ["d", "e"]).await;
    assert_eq!(one_chain(&app, &[directory.path()]).await.notes, Vec::<String>::new());
    // Ended, by somebody who says so.
    let ended = App::with(Setup { node: "node-3", ..with(Archive::Ended) }).await;
    ended.authority.archive(&mut Archiving::default()).await.unwrap();
    for name in ["f", "g", "h", "k", "l"] {
        grown(&app, name, 25).await;
        app.authority.checkpoint(&mut known).await.unwrap();
    }
    assert_eq!(length(&app, &log(&app)).await, 20);
    sound(&now(&app).await);
    // And begun again.
    here.authority.archive(&mut archive).await.unwrap();
    rounds(&app, &mut archive, &mut known, ["i", "j"]).await;
    let report = one_chain(&app, &[directory.path()]).await;
    assert!(report.notes.iter().any(|note| note.contains("archiving was ended for a while")), "{report:?}");
}

#[tokio::test]
async fn a3_a_store_that_is_full_of_what_is_archived_is_told_apart() {
    let error = StoreError::Full(countermark::store::Full::Archive).to_string();
    assert_eq!(error, "the store has no room: its audit, which waits for its archive, is full");
}
