//! `audit verify`: whether the audit is what was written.

use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use clap::Args;
use serde_json::{Value, json};

use super::super::answer::{Answer, Exit, Failure};
use super::super::client::{Client, Session};
use super::super::connect::{self, ConnectionArgs, Surroundings};
use super::super::{Output, when};
use super::archive;
use super::export::{PartArgs, proof_of};
use crate::audit::block::Header;
use crate::audit::checkpoint::Part;
use crate::audit::proof::{RECORD, Record, Report, Verification};
use crate::token::{Algorithm, VerificationKey};

/// No line of an export is longer, in bytes.
const LONGEST: u64 = 64 * 1024 * 1024;

/// `audit verify`.
#[derive(Clone, Debug, Args)]
pub struct VerifyArgs {
    /// What `audit export` wrote, or the directory of an archive (default: what the server has now)
    #[arg(value_name = "FILE|DIR", conflicts_with = "from")]
    file: Option<PathBuf>,
    /// The directory of an archive, which is checked together with that (repeatable)
    #[arg(long, value_name = "DIR")]
    archive: Vec<PathBuf>,
    /// The published keys, as /.well-known/jwks.json has them (default: asks the server for them)
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// Only what was written to the store from this time or date on
    #[arg(long, value_name = "TIME", value_parser = when::moment)]
    from: Option<String>,
}

/// Checks.
pub async fn run(args: VerifyArgs, connection: &ConnectionArgs, output: Output) -> Result<Answer, Failure> {
    let keys = match &args.keys {
        Some(file) => {
            let text = std::fs::read(file).map_err(|error| {
                Failure::new(format!("{} can't be read: {error}", file.display()))
                    .next("--keys names a file with the key set")
            })?;
            audit_keys(&text).ok_or_else(|| {
                Failure::new(format!("{} holds no keys of an audit", file.display()))
                    .next("it should be the whole answer of /.well-known/jwks.json")
            })?
        }
        None => keys_of_server(connection).await?,
    };
    let mut verification = Verification::new(keys);
    let (directory, file) = match args.file {
        Some(file) if file.is_dir() => (Some(file), None),
        file => (None, file),
    };
    let is_archive_alone = directory.is_some();
    let directories: Vec<PathBuf> = directory.into_iter().chain(args.archive).collect();
    // Read first, so that what is wrong with a name is told at once.
    archive::read(&directories, &mut verification)?;
    match &file {
        None if is_archive_alone => {}
        Some(file) => read(file, &mut verification)?,
        None => {
            let session = Session::open(connection, output)?;
            let call = PartArgs::since(args.from).call(&session).await;
            session
                .client
                .lines(call, |line| {
                    verification.line(line);
                    Ok(())
                })
                .await?;
        }
    }
    Ok(answer(&verification.finish(), when::now(), output))
}

async fn keys_of_server(connection: &ConnectionArgs) -> Result<Vec<VerificationKey>, Failure> {
    let target = connect::target(connection, &Surroundings::of_process())?;
    let client = Client::new(&target, None)?;
    let raw = client.key_set().await?;
    audit_keys(&raw.body).ok_or_else(|| {
        Failure::new(format!("{} publishes no keys of an audit", client.server()))
            .next("name a file with them: --keys FILE")
    })
}

/// Those of a key set that sign checkpoints. `None`: there are none.
fn audit_keys(text: &[u8]) -> Option<Vec<VerificationKey>> {
    let set: Value = serde_json::from_slice(text).ok()?;
    let keys: Vec<VerificationKey> = set
        .get("keys")?
        .as_array()?
        .iter()
        .filter(|jwk| jwk.get("key_ops").is_some())
        .filter_map(|jwk| VerificationKey::from_jwk(Algorithm::ES256, serde_json::from_value(jwk.clone()).ok()?).ok())
        .collect();
    Some(keys).filter(|keys| !keys.is_empty())
}

/// One file with everything in order, or events and their proof beside them.
fn read(file: &Path, verification: &mut Verification) -> Result<(), Failure> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |error: std::io::Error| {
            Failure::new(format!("{} can't be read: {error}", path.display()))
                .next("name what `countermark audit export` wrote")
        }
    };
    let open =
        |path: &Path| File::open(path).map(|file| BufReader::with_capacity(1 << 20, file)).map_err(unreadable(path));
    let (mut events, proof) = (open(file)?, proof_of(file));
    let mut line = String::new();
    if !proof.exists() {
        while next(&mut events, &mut line).map_err(unreadable(file))? {
            verification.line(&line);
        }
        return Ok(());
    }
    let mut records = open(&proof)?;
    let mut record = String::new();
    while next(&mut records, &mut record).map_err(unreadable(&proof))? {
        verification.line(&record);
        for _ in 0..follow(&record) {
            if !next(&mut events, &mut line).map_err(unreadable(file))? {
                break;
            }
            // Whatever a file of events holds, it is no record.
            if line.starts_with(RECORD) {
                line.insert(0, ' ');
            }
            verification.line(&line);
        }
    }
    // What nothing in the proof speaks of.
    while next(&mut events, &mut line).map_err(unreadable(file))? {
        verification.line(&line);
    }
    Ok(())
}

/// What is no text becomes another one, which no hash fits; so does what is longer than anything that is written.
pub(super) fn next(from: &mut impl BufRead, line: &mut String) -> std::io::Result<bool> {
    let mut bytes = Vec::new();
    let read = from.by_ref().take(LONGEST).read_until(b'\n', &mut bytes)?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    line.clear();
    line.push_str(&String::from_utf8_lossy(&bytes));
    Ok(read > 0)
}

/// How many events follow a record.
fn follow(record: &str) -> u64 {
    match serde_json::from_str(record) {
        Ok(Record::Block { header, withheld: false, omitted, .. }) => {
            let count = serde_json::from_str::<Header>(&header).map_or(0, |header| header.count);
            count.saturating_sub(omitted.len() as u64)
        }
        Ok(Record::Act { omitted: None, .. }) => 1,
        _ => 0,
    }
}

fn answer(report: &Report, now: DateTime<Utc>, output: Output) -> Answer {
    let exit = if report.is_sound() { Exit::Yes } else { Exit::No };
    let until = report.proven_until.map(when::rfc3339);
    let text = match output {
        Output::Json => json!({
            "sound": report.is_sound(),
            "events": report.events,
            "left_out": report.left_out,
            "part": report.part,
            "segments": report.segments,
            "notes": report.notes,
            "blocks": report.blocks,
            "acts": report.acts,
            "checkpoints": report.checkpoints,
            "proven_until": until,
            "unproven": report.unproven,
            "findings": report.findings,
            "further_findings": report.more,
        })
        .to_string(),
        Output::Table => {
            let mut lines = report.findings.clone();
            if report.more > 0 {
                lines.push(format!("… and {} more", report.more));
            }
            lines.extend(report.notes.iter().cloned());
            let segments = match report.segments {
                0 => String::new(),
                some => format!(", {some} segments of an archive"),
            };
            let counts = format!(
                "{} events in {} blocks and {} acts, {} checkpoints{segments}",
                report.events, report.blocks, report.acts, report.checkpoints
            );
            let proven = match &until {
                Some(until) => {
                    let age = report.proven_until.map_or(0, |until| (now - until).num_seconds().max(0));
                    let after = match report.unproven {
                        0 => "nothing came after it".to_owned(),
                        some => format!("{some} blocks or acts came after it, and are not proven yet"),
                    };
                    format!("The last checkpoint is of {until}, {age} s ago; {after}.")
                }
                None => "Nothing of it is proven.".to_owned(),
            };
            let verdict = if report.is_sound() {
                format!("The audit is whole: {counts}.")
            } else {
                format!("The audit is not what was written: {counts}.")
            };
            lines.push(verdict);
            if report.left_out > 0 || !report.part.is_all() {
                lines.push(format!(
                    "It is a part: {}. {} events are there as hashes only.",
                    part(&report.part),
                    report.left_out
                ));
            }
            lines.push(proven);
            lines.join("\n")
        }
    };
    Answer::yes(text).with_exit(exit)
}

fn part(part: &Part) -> String {
    let time = |time: &DateTime<Utc>| when::rfc3339(*time);
    let said = [
        part.from.as_ref().map(|from| format!("from {} on", time(from))),
        part.to.as_ref().map(|to| format!("up to {}", time(to))),
        part.account.as_ref().map(|account| format!("of the account {account}")),
        part.node.as_ref().map(|node| format!("of the node {node}")),
    ];
    let said: Vec<String> = said.into_iter().flatten().collect();
    if said.is_empty() { "all of it was asked for".to_owned() } else { said.join(", ") }
}
