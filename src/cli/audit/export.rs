//! `audit export`: the audit as files that can be checked without the server.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::super::answer::{Answer, Exit, Failure};
use super::super::client::Session;
use super::compression::Compression;
use super::files::{Files, proof_of};
use super::part::PartArgs;
use crate::audit::proof::RECORD;
use crate::audit::{Event, ocsf};

/// The form of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// As they were written (docs/event.schema.json), with what proves them
    #[default]
    Json,
    /// OCSF 1.9: a view for those who read that, which proves nothing
    Ocsf,
}

/// `audit export`.
#[derive(Clone, Debug, Args)]
pub struct ExportArgs {
    #[command(flatten)]
    part: PartArgs,
    /// Write the events to this new file, one a line, and what proves them to FILE.proof (default: print both, in order)
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The form of events
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Compress what is written (default: as the name of FILE ends, .gz or .zst)
    #[arg(long, value_enum)]
    compress: Option<Compression>,
}

/// Exports.
pub async fn run(args: ExportArgs, session: &Session) -> Result<Answer, Failure> {
    let by_name = args.out.as_deref().and_then(Compression::of_name);
    if let (Some(compression), Some(by_name)) = (args.compress, by_name)
        && compression != by_name
    {
        return Err(Failure::new(format!(
            "--compress and the .{} of the file's name contradict each other",
            by_name.suffix()
        ))
        .next("leave --compress out, or name another file"));
    }
    let compression = args.compress.or(by_name);
    let mut files = match &args.out {
        Some(out) => Files::create(out, compression, args.format == Format::Json)?,
        None => Files::printed(compression)?,
    };
    let mut unreadable = 0;
    let read = args.part.read(session, |line| match args.format {
        Format::Json => files.take(line),
        Format::Ocsf if line.starts_with(RECORD) => Ok(()),
        Format::Ocsf => match Event::from_line(line) {
            Some(event) => files.take(&ocsf::of(&event).to_string()),
            None => {
                unreadable += 1;
                Ok(())
            }
        },
    });
    if let Err(failure) = read.await {
        files.discard();
        return Err(failure);
    }
    let count = files.finish()?;
    let said = match (&args.out, args.format) {
        (None, _) => String::new(),
        (Some(out), Format::Json) => format!(
            "{count} events were written to {}, and what proves them to {}.",
            out.display(),
            proof_of(out).display()
        ),
        (Some(out), Format::Ocsf) => format!(
            "{count} events were written to {}. They prove nothing: what does is an export as JSON lines.",
            out.display()
        ),
    };
    if unreadable > 0 {
        let note = format!("{unreadable} events can't be read, and were left out: countermark audit verify says where");
        return Ok(Answer::yes(said).with_note(note).with_exit(Exit::No));
    }
    Ok(Answer::yes(said))
}
