//! A3: whatever is done to the audit afterwards is found.

use std::collections::BTreeSet;

use countermark::audit::checkpoint::{Checkpoint, Part};
use serde_json::json;

use super::{TOGETHER, a_history, audit_keys, entries, exported, now, replace, sound, verified};
use crate::app::{App, Setup, eventually};

/// Rounds of what is done at random.
pub fn rounds() -> u64 {
    if std::env::var_os("COUNTERMARK_TEST_LONG").is_some() { 1_000 } else { 150 }
}

/// Small, repeatable, and good enough to choose places.
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }
}

#[tokio::test]
async fn a3_whatever_is_done_to_an_export_is_found() {
    let app = App::start().await;
    a_history(&app).await;
    let keys = audit_keys(&app).await;
    let lines = exported(&app, Part::default()).await;
    sound(&verified(&keys, &lines));
    for round in 0..rounds() {
        let mut dice = Dice(round);
        let mut changed = lines.clone();
        // The first line says when it was exported, which nothing proves.
        let place = 1 + dice.below(lines.len() - 1);
        let what = match dice.below(5) {
            0 => {
                let line = &mut changed[place];
                let at = dice.below(line.len());
                let old = line.as_bytes()[at];
                let new = [b'0', b'1', b'a', b'b', b'"', b' '].into_iter().find(|new| *new != old).unwrap();
                let mut bytes = line.clone().into_bytes();
                bytes[at] = new;
                *line = String::from_utf8_lossy(&bytes).into_owned();
                format!("byte {at} of line {place} is {:?}", char::from(new))
            }
            1 => format!("line {place} is gone: {}", changed.remove(place)),
            2 => {
                let other = 1 + dice.below(lines.len() - 1);
                changed.swap(place, other);
                format!("lines {place} and {other} have changed places")
            }
            3 => {
                let line = changed[place].clone();
                let other = 1 + dice.below(lines.len() - 1);
                changed.insert(other, line);
                format!("line {place} is there again before line {other}")
            }
            _ => {
                changed.truncate(place);
                format!("it ends before line {place}")
            }
        };
        if changed != lines {
            assert!(!verified(&keys, &changed).is_sound(), "round {round}: {what}");
        }
    }
    // What is left out where nothing was to be left out.
    let is_block = |line: &String| line.contains("\"record\":\"block\"") && !line.contains("\\\"count\\\":0,");
    let block = lines.iter().position(is_block).unwrap();
    let mut withheld = lines.clone();
    withheld[block] = withheld[block].replace("\"record\":\"block\",", "\"record\":\"block\",\"withheld\":true,");
    withheld.retain({
        let mut place = 0;
        move |line| {
            place += 1;
            place <= block + 1 || line.starts_with("{\"record\":") || place > block + 2
        }
    });
    let act = lines.iter().position(|line| line.contains("\"record\":\"act\"")).unwrap();
    let mut omitted = lines.clone();
    let hash = countermark::audit::block::hash(&omitted.remove(act + 1));
    let left_out = format!("\"record\":\"act\",\"omitted\":\"{hash}\",");
    omitted[act] = omitted[act].replace("\"record\":\"act\",", &left_out);
    let mut cut = lines.clone();
    cut[0] = cut[0].replace("\"from\":null", "\"from\":\"2000-01-01T00:00:00Z\"");
    assert_ne!(cut[0], lines[0]);
    for changed in [withheld, omitted, cut] {
        assert!(!verified(&keys, &changed).is_sound());
    }
    // Other keys prove nothing.
    assert!(!verified(&[], &lines).is_sound());
    let other = App::start().await;
    assert!(!verified(&audit_keys(&other).await, &lines).is_sound());
}

#[tokio::test]
async fn a3_whatever_is_done_to_the_streams_is_found() {
    let app = App::start().await;
    a_history(&app).await;
    let keys = audit_keys(&app).await;
    let shard = countermark::store::stream_of("node-1");
    let streams = [format!("{{{}:a{shard}}}:log", app.prefix), app.key("acts"), app.key("checkpoints")];
    app.stop_filler();
    for round in 0..rounds() {
        let mut dice = Dice(round);
        let key = &streams[dice.below(streams.len())];
        let before = entries(&app, key).await;
        let mut changed = before.clone();
        let place = dice.below(before.len());
        let what = match dice.below(4) {
            0 => {
                let field = dice.below(changed[place].1.len());
                let value = &mut changed[place].1[field].1;
                if value.is_empty() {
                    value.push('x');
                } else {
                    let at = dice.below(value.len());
                    let new = if value.as_bytes()[at] == b'0' { "1" } else { "0" };
                    value.replace_range(at..=at, new);
                }
                format!("field {field} of entry {place} is changed")
            }
            1 => {
                changed.remove(place);
                format!("entry {place} is gone")
            }
            2 if place > 0 => {
                let fields = changed[place].1.clone();
                changed[place].1 = std::mem::replace(&mut changed[place - 1].1, fields);
                format!("entries {place} and the one before have changed places")
            }
            _ => {
                changed.truncate(place);
                format!("it ends before entry {place}")
            }
        };
        replace(&app, key, &changed).await;
        let report = verified(&keys, &exported(&app, Part::default()).await);
        // The last checkpoint is missed by whoever has seen it: see below.
        let is_the_last = *key == streams[2] && changed[..] == before[..changed.len().min(before.len())];
        if !is_the_last {
            assert!(!report.is_sound(), "round {round}: {key}: {what}");
            assert!(report.findings[0].contains("stream") || report.findings[0].contains("checkpoint"), "{report:?}");
        }
        replace(&app, key, &before).await;
    }
    sound(&now(&app).await);
}

#[tokio::test]
async fn a3_what_is_put_between_afterwards_is_found() {
    let app = App::start().await;
    a_history(&app).await;
    let shard = countermark::store::stream_of("node-1");
    let key = format!("{{{}:a{shard}}}:log", app.prefix);
    let mut blocks = entries(&app, &key).await;
    let forged = countermark::audit::block::Header {
        node: TOGETHER[1].to_owned(),
        block: 1,
        previous: String::new(),
        after: String::new(),
        count: 0,
        lines: countermark::audit::block::Lines::default().finish(),
        last: 0,
        acts: Vec::new(),
        void: Vec::new(),
        open: Vec::new(),
    };
    let (ms, number) = blocks[0].0.split_once('-').unwrap();
    let id = format!("{ms}-{}", number.parse::<u64>().unwrap() + 1);
    blocks.insert(1, (id, vec![("b".to_owned(), forged.to_text()), ("e".to_owned(), String::new())]));
    replace(&app, &key, &blocks).await;
    let report = now(&app).await;
    assert!(report.findings.iter().any(|what| what.contains("it was not there when")), "{report:#?}");
    // A block between two that were signed hangs on the next one alone.
    let before = [blocks[..1].to_vec(), blocks[2..].to_vec()].concat();
    let signed: BTreeSet<String> = checkpoints_of(&app).await;
    let between = before.iter().skip(1).position(|(id, _)| !signed.contains(id)).unwrap() + 1;
    let mut changed = before.clone();
    let header = &mut changed[between].1[0].1;
    let digit = header.find("\"previous\":\"").unwrap() + 12;
    let other = if header.as_bytes()[digit] == b'0' { "1" } else { "0" };
    header.replace_range(digit..=digit, other);
    replace(&app, &key, &changed).await;
    let report = now(&app).await;
    assert!(report.findings.iter().any(|what| what.contains("was changed")), "{report:#?}");
    // And one that is gone is missed by the next one alone.
    let without = [&before[..between], &before[between + 1..]].concat();
    replace(&app, &key, &without).await;
    let report = now(&app).await;
    assert!(report.findings.iter().any(|what| what.contains("are missing before it")), "{report:#?}");
    // A header may say anything.
    for last in [u64::MAX, u64::MAX - 1, 1_000_000_000_000] {
        let header = countermark::audit::block::Header { last, ..forged.clone() };
        let next = countermark::audit::block::Header { block: 2, last: u64::MAX, ..forged.clone() };
        blocks[1].1[0].1 = header.to_text();
        replace(&app, &key, &blocks).await;
        let mut lines = exported(&app, Part::default()).await;
        let place = lines.iter().position(|line| line.contains("node-5")).unwrap();
        lines.insert(
            place + 1,
            lines[place].replace(&json!(header.to_text()).to_string(), &json!(next.to_text()).to_string()),
        );
        assert!(!verified(&audit_keys(&app).await, &lines).is_sound());
    }
}

/// The entries of blocks that checkpoints name.
async fn checkpoints_of(app: &App) -> BTreeSet<String> {
    let keys = audit_keys(app).await;
    let checkpoints = entries(app, &app.key("checkpoints")).await;
    let opened = checkpoints.iter().map(|(_, fields)| Checkpoint::open(&fields[0].1, &keys).unwrap());
    opened.flat_map(|checkpoint| checkpoint.nodes.into_values().map(|head| head.entry)).collect()
}

#[tokio::test]
async fn a3_what_is_written_in_place_of_a_last_block_stops_nothing_and_removes_nothing() {
    let app = App::with(Setup { firehose: 20, ..Setup::default() }).await;
    let mut known = a_history(&app).await;
    let shard = countermark::store::stream_of("node-1");
    let (log, heads) = (format!("{{{}:a{shard}}}:log", app.prefix), format!("{{{}:a{shard}}}:heads", app.prefix));
    let before: u64 = app.redis.run(&["XLEN", &log]).await;
    // More blocks than anybody can have written: only what is too much is removed.
    app.redis.run::<u64>(&["HSET", &heads, TOGETHER[1], "x 4000000000000 0 h 0-1 "]).await;
    app.authority.checkpoint(&mut known).await.unwrap();
    assert_eq!(app.redis.run::<u64>(&["XLEN", &log]).await, before.min(20));
    app.redis.run::<u64>(&["HDEL", &heads, TOGETHER[1]]).await;
    // One that can't be read: the chain begins anew, and that is seen.
    let mut bad = redis::cmd("HSET");
    bad.arg(&heads).arg("node-1").arg(&[0xff_u8, 0xfe]).exec_async(&mut app.redis.connection().await).await.unwrap();
    let mut act = redis::cmd("HSET");
    act.arg(app.key("unlinked"))
        .arg("node-1 x")
        .arg(&[0xff_u8])
        .exec_async(&mut app.redis.connection().await)
        .await
        .unwrap();
    let alarms = app.metrics.audit_alarms.get();
    let ci = app.account("after", &[]).await;
    ci.door("GET", "/verify", 200).await;
    eventually("it is written", || async { app.authority.node().recorder().counters().waiting() == 0 }).await;
    app.authority.checkpoint(&mut known).await.unwrap();
    assert!(app.metrics.audit_alarms.get() > alarms);
    assert!(!now(&app).await.is_sound());
}
