//! How fast an export of the audit is checked, and in how much memory: `cargo bench --bench audit -- [EVENTS]`. `scripts/bench` runs
//! it; it prints a table, and writes a JSON file where `COUNTERMARK_BENCH_OUT` names one.
//!
//! Writes an export of that many events (a million) as the server would, and has the binary check it, several times. Beside it,
//! interleaved, the same bytes only read and hashed: no check can be faster than that.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a program for developers"
)]

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{Context, SHA256};
use chrono::{DateTime, Utc};
use countermark::audit::block::{Header, Lines, hash, hex};
use countermark::audit::checkpoint::{ActsHead, Checkpoint, NodeHead, Part, Seal};
use countermark::audit::proof::{Record, VERSION};
use countermark::keyring::KeyringDocument;
use countermark::store::stream_of;
use serde_json::json;

const BLOCK: u64 = 1_024;
const ROUNDS: usize = 5;
const NODE: &str = "api-1";

fn main() {
    // `cargo test --all-targets` runs benches, too, with this flag missing.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let events = std::env::args().skip(1).find_map(|text| text.parse::<u64>().ok()).unwrap_or(1_000_000);
    let directory = tempfile::tempdir().unwrap();
    let (file, keys) = (directory.path().join("audit.jsonl"), directory.path().join("keys.json"));
    write(events, &file, &keys);
    let size = std::fs::metadata(&file).unwrap().len();
    let (mut floor, mut checked, mut memory) = (Vec::new(), Vec::new(), 0);
    for _ in 0..ROUNDS {
        floor.push(hashed(&file));
        let (took, peak) = verified(&file, &keys);
        checked.push(took);
        memory = memory.max(peak);
    }
    let (floor, checked) = (median(floor), median(checked));
    let rate = |took: Duration| events as f64 / took.as_secs_f64();
    let report = json!({
        "events": events,
        "megabytes": size / 1_000_000,
        "read_and_hashed_events_a_second": rate(floor).round(),
        "verified_events_a_second": rate(checked).round(),
        "of_read_and_hashed": (floor.as_secs_f64() / checked.as_secs_f64() * 100.0).round() / 100.0,
        "most_memory_kb": memory,
    });
    println!("{}", serde_json::to_string_pretty(&report).unwrap());
    if let Some(path) = std::env::var_os("COUNTERMARK_BENCH_OUT") {
        std::fs::write(path, report.to_string()).unwrap();
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn hashed(file: &Path) -> Duration {
    let began = Instant::now();
    let (mut file, mut digest, mut buffer) = (File::open(file).unwrap(), Context::new(&SHA256), vec![0; 1 << 20]);
    loop {
        let read = file.read(&mut buffer).unwrap();
        if read == 0 {
            break;
        }
        digest.update(&buffer[..read]);
    }
    std::hint::black_box(digest.finish());
    began.elapsed()
}

/// How long it took, and the most memory in kilobytes.
fn verified(file: &Path, keys: &Path) -> (Duration, u64) {
    let began = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_countermark"))
        .args(["audit", "verify"])
        .arg(file)
        .arg("--keys")
        .arg(keys)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut peak = 0;
    let status = loop {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak = line.and_then(|line| line.trim().split(' ').next()?.parse().ok()).unwrap_or(peak);
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    assert!(status.success());
    (began.elapsed(), peak)
}

/// An export whose chain fits, and the keys.
fn write(events: u64, file: &Path, keys: &Path) {
    let now: DateTime<Utc> = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
    let mut document = KeyringDocument::default();
    document.change_audit_key(now).unwrap();
    let audit = document.audit_keys().unwrap();
    let (signer, _) = audit.signer.as_ref().unwrap();
    let published: Vec<_> = audit.published().collect();
    std::fs::write(keys, serde_json::json!({ "keys": published }).to_string()).unwrap();

    let blocks = events.div_ceil(BLOCK);
    let (mut previous, mut after) = (String::new(), String::new());
    let block = |number: u64, previous: &str, after: &str| {
        let (mut text, mut lines, count) = (String::new(), Lines::default(), BLOCK.min(events - (number - 1) * BLOCK));
        for sequence in (number - 1) * BLOCK + 1..=(number - 1) * BLOCK + count {
            let start = text.len();
            write!(
                text,
                "{{\"node\":\"{NODE}\",\"sequence\":{sequence},\"id\":\"01a20a8e-dd16-712f-8361-{sequence:012x}\",\
                 \"time\":\"2027-05-23T14:00:00.123Z\",\"kind\":\"call\",\"account_id\":\"01a20a8e-dd16-712f-8361-9b976a6f0eb8\",\
                 \"username\":\"ci-deploy\",\"token_id\":\"4b10a8802fc72dff4341c0a201db23a0\",\"generation\":3,\
                 \"key_id\":\"r3G48kkKDH41FYymW1_sHvTLrNFaxHRlGE0FbIJziOw\",\"outcome\":\"allowed\",\"method\":\"GET\",\
                 \"path\":\"/v1/deployments/{sequence}\",\"client_address\":\"192.0.2.7\",\"user_agent\":\"curl/7.88.1\",\
                 \"request_id\":\"01a20a8e-dd24-7283-bb49-{sequence:012x}\",\"duration_us\":41}}"
            )
            .unwrap();
            lines.push(&text[start..]);
            text.push('\n');
        }
        let header = Header {
            node: NODE.to_owned(),
            block: number,
            previous: previous.to_owned(),
            after: after.to_owned(),
            count,
            lines: lines.finish(),
            last: (number - 1) * BLOCK + count,
            acts: Vec::new(),
            void: Vec::new(),
            open: Vec::new(),
        };
        (header, text)
    };
    // The end of the chain is in the checkpoint, which comes first.
    let mut head = None;
    for number in 1..=blocks {
        let (header, _) = block(number, &previous, &after);
        previous = hash(&header.to_text());
        after = format!("{number}-0");
        head = Some(NodeHead { block: number, last: header.last, hash: previous.clone(), entry: after.clone() });
    }
    let checkpoint = Checkpoint {
        dataset: "d".to_owned(),
        number: 1,
        time: now,
        previous: String::new(),
        nodes: [(NODE.to_owned(), head.unwrap())].into(),
        acts: ActsHead::default(),
        kept: Default::default(),
        archived: Default::default(),
        oldest: 1,
        lost: Vec::new(),
    };
    let (mut out, mut digest) = (BufWriter::with_capacity(1 << 20, File::create(file).unwrap()), Context::new(&SHA256));
    let mut put = |text: &str| {
        out.write_all(text.as_bytes()).unwrap();
        digest.update(text.as_bytes());
    };
    put(&(Record::Begin { version: VERSION, dataset: "d".into(), time: now, part: Part::default() }.to_line() + "\n"));
    let text = checkpoint.sign(signer).unwrap();
    put(&(Record::Checkpoint { id: "1-0".into(), text }.to_line() + "\n"));
    (previous, after) = (String::new(), String::new());
    for number in 1..=blocks {
        let (header, text) = block(number, &previous, &after);
        let header = header.to_text();
        (previous, after) = (hash(&header), format!("{number}-0"));
        let stream = stream_of(NODE);
        let record = Record::Block { stream, id: after.clone(), header, withheld: false, omitted: Vec::new() };
        put(&(record.to_line() + "\n" + &text));
    }
    let lines = hex(digest.clone().finish().as_ref());
    let seal = Seal { dataset: "d".into(), time: now, checkpoint: 1, lines, part: Part::default() };
    out.write_all((Record::Seal { text: seal.sign(signer).unwrap() }.to_line() + "\n").as_bytes()).unwrap();
    out.flush().unwrap();
}
