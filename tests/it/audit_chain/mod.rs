//! A3: the chain of the audit, its checkpoints, and exports that prove themselves.

mod archive;
mod archive_files;
mod marks;
mod tampering;
mod views;

use std::collections::BTreeSet;
use std::sync::Arc;

use countermark::audit::checkpoint::Part;
use countermark::audit::proof::{Report, Verification};
use countermark::authority::{Checkpoints, Error, Exporting, Metrics};
use countermark::clock::{Clock as _, SystemClock};
use countermark::token::{Algorithm, VerificationKey};
use futures_util::{Stream, TryStreamExt as _};
use redis::streams::StreamRangeReply;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::app::{App, Setup, eventually};

async fn audit_keys(app: &App) -> Vec<VerificationKey> {
    let set = app.nobody().door("GET", "/.well-known/jwks.json", 200).await;
    let keys = set["keys"].as_array().unwrap().iter().filter(|key| !key["key_ops"].is_null());
    keys.map(|key| VerificationKey::from_jwk(Algorithm::ES256, serde_json::from_value(key.clone()).unwrap()).unwrap())
        .collect()
}

fn an_export(app: &App, part: Part) -> impl Stream<Item = Result<String, Error>> + use<> {
    let place = app.authority.place_to_export().unwrap();
    app.authority.export(Exporting { part, after: None, place }, || async { Ok(true) })
}

async fn exported(app: &App, filter: Part) -> Vec<String> {
    let texts: Vec<String> = an_export(app, filter).try_collect().await.unwrap();
    texts.concat().lines().map(str::to_owned).collect()
}

fn verified<'a>(keys: &[VerificationKey], lines: impl IntoIterator<Item = &'a String>) -> Report {
    let mut verification = Verification::new(keys.to_vec());
    lines.into_iter().for_each(|line| verification.line(line));
    verification.finish()
}

async fn now(app: &App) -> Report {
    verified(&audit_keys(app).await, &exported(app, Part::default()).await)
}

#[track_caller]
fn sound(report: &Report) {
    assert!(report.is_sound(), "{:#?}", report.findings);
}

/// Calls and acts, and everything that they leave is in the store.
async fn busy(app: &App, name: &str) {
    let ci = app.account(name, &["deployments:read"]).await;
    for _ in 0..5 {
        ci.get("/self", 200).await;
    }
    app.admin().regenerate(name).await;
    ci.get("/self", 401).await;
    linked(app).await;
}

/// Until every act is linked, and every event written.
async fn linked(app: &App) {
    eventually("all acts are linked", || async {
        let unlinked: u64 = app.redis.run(&["HLEN", &app.key("unlinked")]).await;
        unlinked == 0 && app.authority.node().recorder().counters().waiting() == 0
    })
    .await;
}

/// Calls, acts and checkpoints, all of it proven.
async fn a_history(app: &App) -> Checkpoints {
    let mut known = Checkpoints::default();
    for name in ["a", "b", "c"] {
        busy(app, name).await;
        app.authority.checkpoint(&mut known).await.unwrap();
    }
    known
}

#[tokio::test]
async fn a3_everything_is_numbered_linked_and_proven() {
    let app = App::start().await;
    let mut known = a_history(&app).await;
    let lines = exported(&app, Part::default()).await;
    let report = verified(&audit_keys(&app).await, &lines);
    sound(&report);
    assert_eq!((report.checkpoints, report.unproven), (3, 0));
    assert!(report.proven_until.is_some() && report.acts > 6 && report.blocks >= 3);
    // Each number once, without gaps, in calls and acts together.
    let numbers: Vec<u64> = lines
        .iter()
        .filter(|line| !line.starts_with("{\"record\":"))
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["sequence"].as_u64().unwrap())
        .collect();
    let all: BTreeSet<u64> = numbers.iter().copied().collect();
    assert_eq!(all.len(), numbers.len());
    assert_eq!(all, (1..=all.len() as u64).collect());
    // What comes after the last checkpoint is not proven yet; when nothing comes, there is none.
    busy(&app, "d").await;
    let report = now(&app).await;
    sound(&report);
    assert!(report.unproven > 0);
    app.authority.checkpoint(&mut known).await.unwrap();
    app.authority.checkpoint(&mut known).await.unwrap();
    let report = now(&app).await;
    sound(&report);
    assert_eq!((report.checkpoints, report.unproven), (4, 0));
}

#[tokio::test]
async fn a3_over_http_by_account_and_by_time_an_export_is_proven_too() {
    let app = App::start().await;
    let mut known = a_history(&app).await;
    let keys = audit_keys(&app).await;
    let auditor = app.account("auditor", &["audit:read"]).await;
    app.account("other", &["accounts:read"]).await.get("/audit/export", 403).await;
    let lines: Vec<String> =
        auditor.get("/audit/export?account=a", 200).await.text.lines().map(str::to_owned).collect();
    app.authority.checkpoint(&mut known).await.unwrap();
    let report = verified(&keys, &lines);
    sound(&report);
    let id = app.look("a").await["id"].clone();
    let events: Vec<Value> = lines
        .iter()
        .filter(|line| !line.starts_with("{\"record\":"))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(events.len() >= 8 && events.iter().all(|event| event["account_id"] == id), "{events:?}");
    // Of what is left out nothing can be changed either.
    let place = lines.iter().position(|line| line.contains("\"omitted\":[[")).unwrap();
    let mut changed = lines.clone();
    let hash = changed[place].find("\"omitted\":[[").unwrap() + 20;
    let other = if changed[place].as_bytes()[hash] == b'0' { "1" } else { "0" };
    changed[place].replace_range(hash..=hash, other);
    assert_ne!(changed[place], lines[place]);
    assert!(!verified(&keys, &changed).is_sound());
    // Nodes that are not asked for are there as headers alone.
    let filter = Part { node: Some("nobody".into()), ..Part::default() };
    let report = verified(&keys, &exported(&app, filter).await);
    sound(&report);
    assert_eq!(report.events, 0);
    // From some time on: whatever came before it is left out, and what came then is linked.
    let filter = Part { from: Some(real_time()), ..Part::default() };
    busy(&app, "z").await;
    app.authority.checkpoint(&mut known).await.unwrap();
    let report = verified(&keys, &exported(&app, filter).await);
    sound(&report);
    assert!(report.events > 0 && report.events < 30, "{report:?}");
    auditor.get("/audit/export?from=yesterday", 422).await;
}

/// As the store sees it.
fn real_time() -> chrono::DateTime<chrono::Utc> {
    SystemClock.now()
}

/// Everything in a stream: ids, and names and values.
async fn entries(app: &App, key: &str) -> Vec<(String, Vec<(String, String)>)> {
    let reply: StreamRangeReply = app.redis.run(&["XRANGE", key, "-", "+"]).await;
    let fields = |entry: &redis::streams::StreamId| {
        ["b", "e", "v", "c"].iter().filter_map(|name| Some(((*name).to_owned(), entry.get(name)?))).collect()
    };
    reply.ids.iter().map(|entry| (entry.id.clone(), fields(entry))).collect()
}

/// The stream is written anew.
async fn replace(app: &App, key: &str, entries: &[(String, Vec<(String, String)>)]) {
    app.redis.run::<u64>(&["DEL", key]).await;
    for (id, fields) in entries {
        let mut command = vec!["XADD", key, id.as_str()];
        for (name, value) in fields {
            command.extend([name.as_str(), value.as_str()]);
        }
        app.redis.run::<String>(&command).await;
    }
}

#[tokio::test]
async fn a3_an_issuer_signs_no_other_past_than_it_has_signed() {
    let app = App::start().await;
    let mut known = a_history(&app).await;
    let alarms = || app.metrics.audit_alarms.get();
    assert_eq!(alarms(), 0);
    // The last checkpoint is gone.
    let checkpoints = entries(&app, &app.key("checkpoints")).await;
    replace(&app, &app.key("checkpoints"), &checkpoints[..2]).await;
    app.authority.checkpoint(&mut known).await.unwrap();
    assert_eq!(alarms(), 1);
    // All are gone.
    app.redis.run::<u64>(&["DEL", &app.key("checkpoints")]).await;
    busy(&app, "d").await;
    app.authority.checkpoint(&mut known).await.unwrap();
    assert_eq!(alarms(), 2);
    // It goes on from what it has seen, so that the hole is seen.
    assert!(!now(&app).await.is_sound());
    replace(&app, &app.key("checkpoints"), &checkpoints).await;
    let mut known = Checkpoints::default();
    app.authority.checkpoint(&mut known).await.unwrap();
    app.authority.checkpoint(&mut known).await.unwrap();
    sound(&now(&app).await);
    // A block that was signed is changed, and everything after it follows from that.
    let shard = countermark::store::stream_of("node-1");
    let key = format!("{{{}:a{shard}}}:log", app.prefix);
    let mut blocks = entries(&app, &key).await;
    let last = blocks.len() - 1;
    blocks[last].1[0].1 = blocks[last].1[0].1.replace("\"count\":", "\"count\": ");
    replace(&app, &key, &blocks).await;
    busy(&app, "e").await;
    app.authority.checkpoint(&mut known).await.unwrap();
    assert_eq!(alarms(), 3);
    let report = now(&app).await;
    assert!(report.findings.iter().any(|what| what.contains("the service has noticed")), "{report:#?}");
    // One that nobody of ours has signed.
    app.redis.run::<String>(&["XADD", &app.key("checkpoints"), "*", "c", "eyJ.eyJ.x"]).await;
    app.authority.checkpoint(&mut known).await.unwrap();
    assert_eq!(alarms(), 4);
}

#[tokio::test]
async fn a3_a_chain_goes_on_after_a_crash_and_what_came_to_nothing_is_void() {
    let app = App::start().await;
    a_history(&app).await;
    // Numbers of acts that were on their way when the process died: one that was never committed, then one that was.
    let event = || countermark::audit::Event::new(real_time(), "role.set", countermark::audit::Outcome::Done);
    let lost = app.authority.node().recorder().number(event());
    app.role("late", &["a:b"]).await;
    assert!(lost.sequence > 0);
    let setup = |app: &App| Setup {
        redis: Arc::clone(&app.redis),
        prefix: app.prefix.clone(),
        master_key: app.master_key.clone(),
        admin: Some(app.admin().token().to_owned()),
        clock: Some(Arc::clone(&app.clock)),
        ..Setup::default()
    };
    // Another process of the same name takes the chain over, and the first one, which lives, takes it back.
    let next = App::with(setup(&app)).await;
    busy(&next, "next").await;
    busy(&app, "first").await;
    busy(&next, "again").await;
    let mut known = Checkpoints::default();
    next.authority.checkpoint(&mut known).await.unwrap();
    next.authority.checkpoint(&mut known).await.unwrap();
    let lines = exported(&next, Part::default()).await;
    let report = verified(&audit_keys(&next).await, &lines);
    sound(&report);
    assert_eq!(report.unproven, 0);
    let void = format!("\\\"void\\\":[{}]", lost.sequence);
    assert!(lines.iter().any(|line| line.contains(&void)), "{void}");
    // What was numbered under a claim that is gone can't be committed any more.
    let stop = CancellationToken::new();
    let store = setup(&app).open_store(app.clock.clone(), &stop);
    store.connected().await;
    assert_eq!(app.redis.run::<u64>(&["HLEN", &app.key("unlinked")]).await, 0);
}

#[tokio::test]
async fn a3_acts_of_a_command_that_has_ended_are_linked_by_an_issuer() {
    let app = App::start().await;
    let setup = Setup {
        redis: Arc::clone(&app.redis),
        prefix: app.prefix.clone(),
        master_key: app.master_key.clone(),
        ..Setup::default()
    };
    let stop = CancellationToken::new();
    let store = Arc::new(setup.open_store(app.clock.clone(), &stop));
    store.connected().await;
    let (command, _) = setup.begin(store, app.clock.clone(), Arc::new(Metrics::new()), "recover-node-1").await.unwrap();
    let admin = "admin".parse().unwrap();
    countermark::authority::recover(&command, &admin, None, |_| Ok(())).await.unwrap();
    drop(command);
    let mut seen = BTreeSet::new();
    app.authority.link_orphans(&mut seen).await.unwrap();
    assert_eq!(app.redis.run::<u64>(&["HLEN", &app.key("unlinked")]).await, 1, "it may still do it itself");
    app.authority.link_orphans(&mut seen).await.unwrap();
    assert_eq!(app.redis.run::<u64>(&["HLEN", &app.key("unlinked")]).await, 0);
    let mut known = Checkpoints::default();
    linked(&app).await;
    app.authority.checkpoint(&mut known).await.unwrap();
    let lines = exported(&app, Part::default()).await;
    sound(&verified(&audit_keys(&app).await, &lines));
    assert!(lines.iter().any(|line| line.contains("\\\"node\\\":\\\"recover-node-1\\\",\\\"block\\\":1,")));
}

#[tokio::test]
async fn a3_what_is_removed_in_time_is_signed_first_and_what_is_removed_otherwise_is_missed() {
    let app = App::with(Setup { firehose: 10, ..Setup::default() }).await;
    let mut known = Checkpoints::default();
    for number in 0..6 {
        busy(&app, &format!("ci-{number}")).await;
        app.authority.checkpoint(&mut known).await.unwrap();
    }
    let shard = countermark::store::stream_of("node-1");
    let key = format!("{{{}:a{shard}}}:log", app.prefix);
    for key in [&key, &app.key("acts")] {
        assert_eq!(app.redis.run::<u64>(&["XLEN", key]).await, 10, "{key}");
    }
    let report = now(&app).await;
    sound(&report);
    assert_eq!((report.blocks, report.acts), (10, 10));
    for key in [key, app.key("acts")] {
        let before = entries(&app, &key).await;
        app.redis.run::<u64>(&["XDEL", &key, &before[0].0]).await;
        assert!(!now(&app).await.is_sound(), "{key}");
        replace(&app, &key, &before).await;
    }
    sound(&now(&app).await);
    // By age: everything, and the chains of nodes that write no more with it.
    app.clock.advance(std::time::Duration::from_secs(401 * 24 * 3600));
    app.authority.checkpoint(&mut known).await.unwrap();
    let report = now(&app).await;
    sound(&report);
    assert_eq!((report.blocks, report.acts, report.events), (0, 0, 0));
}

#[tokio::test]
async fn a3_another_key_signs_after_a_while_and_the_one_before_still_proves() {
    let setup = Setup { rotate_every: Some(chrono::TimeDelta::days(90)), ..Setup::default() };
    let app = App::with(setup).await;
    let mut known = a_history(&app).await;
    let first = audit_keys(&app).await;
    assert_eq!(first.len(), 1);
    let stop = CancellationToken::new();
    app.clock.advance(std::time::Duration::from_secs(91 * 24 * 3600));
    tokio::spawn(countermark::authority::Upkeep::new(Arc::clone(&app.authority)).run(stop.clone()));
    eventually("there is another key", || async { audit_keys(&app).await.len() == 2 }).await;
    stop.cancel();
    assert_eq!(audit_keys(&app).await[0].key_id(), first[0].key_id());
    busy_admin(&app).await;
    app.authority.checkpoint(&mut known).await.unwrap();
    app.authority.checkpoint(&mut known).await.unwrap();
    let report = now(&app).await;
    sound(&report);
    assert!(!verified(&first, &exported(&app, Part::default()).await).is_sound());
    let acts: StreamRangeReply = app.redis.run(&["XRANGE", &app.key("acts"), "-", "+"]).await;
    let changes = acts.ids.iter().filter(|act| act.get::<String>("e").unwrap().contains("\"key.audit\"")).count();
    assert_eq!(changes, 1);
    // It signs no tokens, and whoever verifies tokens does not take it.
    let keys = app.admin().get("/keys", 200).await;
    assert!(keys["items"].as_array().unwrap().iter().all(|key| key["id"] != json!(first[0].key_id())));
}

async fn busy_admin(app: &App) {
    app.role("again", &["a:b"]).await;
    linked(app).await;
}

#[tokio::test]
async fn a3_what_is_written_while_it_is_exported_is_no_fault() {
    let app = App::start().await;
    let mut known = a_history(&app).await;
    let mut export = std::pin::pin!(an_export(&app, Part::default()));
    let mut text = String::new();
    while !text.contains("\"record\":\"block\"") {
        text.push_str(&export.try_next().await.unwrap().unwrap());
    }
    // Blocks that come too late for it, a checkpoint that names them, acts that come before the acts are read.
    busy(&app, "late").await;
    app.authority.checkpoint(&mut known).await.unwrap();
    while let Some(more) = export.try_next().await.unwrap() {
        text.push_str(&more);
    }
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let report = verified(&audit_keys(&app).await, &lines);
    sound(&report);
    assert_eq!(report.checkpoints, 4);
}

fn another(app: &App, node: &'static str) -> Setup {
    Setup {
        redis: Arc::clone(&app.redis),
        prefix: app.prefix.clone(),
        master_key: app.master_key.clone(),
        admin: Some(app.admin().token().to_owned()),
        clock: Some(Arc::clone(&app.clock)),
        node,
        ..Setup::default()
    }
}

/// Names of the same shard, so that one's blocks are removed for the other's.
const TOGETHER: [&str; 2] = ["node-1", "node-5"];

#[tokio::test]
async fn a3_a_node_that_was_idle_for_long_goes_on_where_it_was() {
    assert_eq!(TOGETHER.map(countermark::store::stream_of)[0], TOGETHER.map(countermark::store::stream_of)[1]);
    let app = App::with(Setup { firehose: 20, ..Setup::default() }).await;
    let idle = App::with(another(&app, TOGETHER[1])).await;
    busy(&idle, "once").await;
    let from = real_time();
    let mut known = Checkpoints::default();
    for number in 0..10 {
        busy(&app, &format!("ci-{number}")).await;
        app.authority.checkpoint(&mut known).await.unwrap();
        sound(&now(&app).await);
    }
    // From after its last block on it is no fault that there is none, whether that is there still or was removed.
    sound(&verified(&audit_keys(&app).await, &exported(&app, Part { from: Some(from), ..Part::default() }).await));
    let of_idle = |lines: &[String]| lines.iter().filter(|line| line.contains("\\\"node\\\":\\\"node-5\\\"")).count();
    assert_eq!(of_idle(&exported(&app, Part::default()).await), 0, "they are all removed");
    busy(&idle, "again").await;
    app.authority.checkpoint(&mut known).await.unwrap();
    let lines = exported(&app, Part::default()).await;
    sound(&verified(&audit_keys(&app).await, &lines));
    assert!(of_idle(&lines) > 0);
}

#[tokio::test]
async fn a3_issuers_that_do_not_follow_the_feed_sign_with_the_latest_key() {
    let app = App::start().await;
    let other = App::with(Setup { max_staleness: std::time::Duration::ZERO, ..another(&app, "node-2") }).await;
    let (mut known, mut others) = (a_history(&app).await, Checkpoints::default());
    other.authority.checkpoint(&mut others).await.unwrap();
    let mut read = app.authority.keys().document().await.unwrap();
    read.document.change_audit_key(real_time()).unwrap();
    crate::keys::replace(&app.authority, &read).await;
    for round in 0..3 {
        busy(&app, &format!("ci-{round}")).await;
        app.authority.checkpoint(&mut known).await.unwrap();
        other.authority.checkpoint(&mut others).await.unwrap();
        busy(&other, &format!("other-{round}")).await;
        other.authority.checkpoint(&mut others).await.unwrap();
        app.authority.checkpoint(&mut known).await.unwrap();
    }
    assert_eq!((app.metrics.audit_alarms.get(), other.metrics.audit_alarms.get()), (0, 0));
    sound(&now(&app).await);
}

#[tokio::test]
async fn a3_whose_answer_was_lost_finds_its_block_though_others_came_after_it() {
    let app = App::start().await;
    let node = "somebody";
    let block = |claim: &str, number: u64, after: &str| {
        let header = countermark::audit::block::Header {
            node: node.to_owned(),
            block: number,
            previous: String::new(),
            after: after.to_owned(),
            count: 0,
            lines: claim.to_owned(),
            last: 0,
            acts: Vec::new(),
            void: Vec::new(),
            open: Vec::new(),
        };
        let text = header.to_text();
        countermark::store::Block {
            node: node.to_owned(),
            claim: claim.to_owned(),
            number,
            last: 0,
            hash: countermark::audit::block::hash(&text),
            open: Vec::new(),
            header: text,
            lines: String::new(),
            after: after.to_owned(),
            acts: Vec::new(),
        }
    };
    let mine = app.store.claim(node).await.unwrap().claim;
    let first = block(&mine, 1, "");
    assert!(!app.store.has_block(&first).await.unwrap());
    let entry = app.store.append(&first).await.unwrap().unwrap();
    assert_eq!(app.store.append(&first).await.unwrap(), Some(entry.clone()), "once");
    let theirs = app.store.claim(node).await.unwrap();
    assert_eq!((theirs.head.block, theirs.head.entry.as_str()), (1, entry.as_str()));
    assert!(app.store.append(&block(&theirs.claim, 2, &entry)).await.unwrap().is_some());
    assert_eq!(app.store.append(&first).await.unwrap(), None);
    assert!(app.store.has_block(&first).await.unwrap());
    let never_written = block(&mine, 2, &entry);
    assert_eq!(app.store.append(&never_written).await.unwrap(), None);
    assert!(!app.store.has_block(&never_written).await.unwrap());
}

#[tokio::test]
async fn a3_what_is_removed_while_it_is_exported_is_no_fault() {
    let app = App::with(Setup { firehose: 20, ..Setup::default() }).await;
    let mut known = Checkpoints::default();
    for number in 0..4 {
        busy(&app, &format!("ci-{number}")).await;
        app.authority.checkpoint(&mut known).await.unwrap();
    }
    let mut export = std::pin::pin!(an_export(&app, Part::default()));
    let mut text = String::new();
    while !text.contains("\"record\":\"block\"") {
        text.push_str(&export.try_next().await.unwrap().unwrap());
    }
    // What was read, and what comes next, is gone meanwhile.
    for number in 4..12 {
        busy(&app, &format!("ci-{number}")).await;
        app.authority.checkpoint(&mut known).await.unwrap();
    }
    while let Some(more) = export.try_next().await.unwrap() {
        text.push_str(&more);
    }
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    sound(&verified(&audit_keys(&app).await, &lines));
}
