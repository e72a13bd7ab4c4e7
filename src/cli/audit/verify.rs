//! `audit verify`: whether the audit is what was written.

use std::io::{self, BufRead, Read as _};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use clap::Args;
use serde_json::{Value, json};

use super::super::answer::{Answer, Exit, Failure};
use super::super::client::{Client, Session};
use super::super::connect::{self, ConnectionArgs, Surroundings};
use super::super::{Output, when};
use super::archive;
use super::compression;
use super::files::proof_that_is_there;
use super::part::PartArgs;
use crate::audit::block::Header;
use crate::audit::checkpoint::Part;
use crate::audit::ocsf;
use crate::audit::proof::{RECORD, Record, Report, Verification};
use crate::token::{Algorithm, VerificationKey};

/// No line of an export is longer, in bytes.
const LONGEST: u64 = 16 * 1024 * 1024;

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
            let take = |line: &str| {
                verification.line(line);
                Ok(())
            };
            PartArgs::since(args.from).read(&session, take).await?;
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
    let mut events = Lines::open(file)?;
    let mut line = String::new();
    let Some(proof) = proof_that_is_there(file) else {
        let mut is_first = true;
        while events.next(&mut line, verification)? {
            if std::mem::take(&mut is_first) && ocsf::is_one(&line) {
                return Err(Failure::new(format!("{} holds OCSF events, which prove nothing", file.display()))
                    .next("check an export as JSON lines: countermark audit export --out FILE"));
            }
            verification.line(&line);
        }
        return Ok(());
    };
    let mut records = Lines::open(&proof)?;
    let mut record = String::new();
    while records.next(&mut record, verification)? {
        verification.line(&record);
        for _ in 0..follow(&record) {
            if !events.next(&mut line, verification)? {
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
    while events.next(&mut line, verification)? {
        verification.line(&line);
    }
    Ok(())
}

/// The lines of a file that is compressed or not.
pub(super) struct Lines<'a> {
    path: &'a Path,
    from: Box<dyn BufRead>,
    bytes: Vec<u8>,
    is_at_its_end: bool,
}

impl<'a> Lines<'a> {
    pub(super) fn open(path: &'a Path) -> Result<Self, Failure> {
        let from = compression::open(path).map_err(|error| unreadable(path, &error))?;
        Ok(Self { path, from, bytes: Vec::new(), is_at_its_end: false })
    }

    /// `false`: there are no more, or what there is can't be read on, which is found then. What is no text becomes another one, which no
    /// hash fits.
    pub(super) fn next(&mut self, line: &mut String, verification: &mut Verification) -> Result<bool, Failure> {
        line.clear();
        self.bytes.clear();
        if self.is_at_its_end {
            return Ok(false);
        }
        let read = self.from.by_ref().take(LONGEST + 1).read_until(b'\n', &mut self.bytes);
        let why = match read {
            Ok(0) => None,
            Ok(read) if read as u64 > LONGEST => Some("a line is longer than any that is written".to_owned()),
            Ok(_) => {
                if self.bytes.last() == Some(&b'\n') {
                    self.bytes.pop();
                }
                line.push_str(&String::from_utf8_lossy(&self.bytes));
                return Ok(true);
            }
            Err(error) if compression::is_of_the_system(&error) => return Err(unreadable(self.path, &error)),
            Err(error) => Some(format!("its compressed form is damaged or cut off ({error})")),
        };
        if let Some(why) = why {
            verification.unreadable(&format!("{}: {why}", self.path.display()));
        }
        self.is_at_its_end = true;
        Ok(false)
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(format!("{} can't be read: {error}", path.display()))
        .next("name what `countermark audit export` wrote")
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
