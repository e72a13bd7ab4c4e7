//! `audit export`: the audit as files that can be checked without the server.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use reqwest::Method;

use super::super::accounts::{given, id_of};
use super::super::answer::{Answer, Failure, print};
use super::super::client::{Call, Session};
use super::super::when;
use crate::audit::proof::RECORD;
use crate::durable;

/// Events tell who did what, from where.
const MODE: u32 = 0o600;

/// Which part of the audit.
#[derive(Clone, Debug, Default, Args)]
pub struct PartArgs {
    /// Written to the store from this time or date on
    #[arg(long, value_name = "TIME", value_parser = when::moment)]
    from: Option<String>,
    /// Written to the store up to this time or date
    #[arg(long, value_name = "TIME", value_parser = when::moment)]
    to: Option<String>,
    /// Only events of this account (name or id); the others are there as hashes
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// Only events of this node
    #[arg(long, value_name = "NODE")]
    node: Option<String>,
}

impl PartArgs {
    /// What was written to the store since then.
    pub fn since(from: Option<String>) -> Self {
        Self { from, ..Self::default() }
    }

    /// The request for it.
    pub async fn call(self, session: &Session) -> Call<'static> {
        let account = match self.account {
            // A deleted account has no name any more that could be looked up; the server may still know what is meant.
            Some(name) => Some(id_of(&session.client, &name).await.unwrap_or(name)),
            None => None,
        };
        let query = given([("from", self.from), ("to", self.to), ("account", account), ("node", self.node)]);
        Call::new(Method::GET, &["audit", "export"]).query(query)
    }
}

/// `audit export`.
#[derive(Clone, Debug, Args)]
pub struct ExportArgs {
    #[command(flatten)]
    part: PartArgs,
    /// Write the events to this new file, one a line, and what proves them to FILE.proof (default: print both, in order)
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Two files that are there when they are whole.
struct Files {
    events: (BufWriter<File>, PathBuf, PathBuf),
    proof: (BufWriter<File>, PathBuf, PathBuf),
    count: u64,
}

/// What proves the events of a file lies beside it.
pub fn proof_of(events: &Path) -> PathBuf {
    let mut name = events.as_os_str().to_owned();
    name.push(".proof");
    name.into()
}

/// Exports.
pub async fn run(args: ExportArgs, session: &Session) -> Result<Answer, Failure> {
    let call = args.part.call(session).await;
    let Some(out) = args.out else {
        session.client.lines(call, print).await?;
        return Ok(Answer::yes(""));
    };
    let mut files = Files::create(&out)?;
    match session.client.lines(call, |line| files.take(line)).await {
        Ok(()) => {
            let count = files.finish()?;
            let proof = proof_of(&out);
            Ok(Answer::yes(format!(
                "{count} events were written to {}, and what proves them to {}.",
                out.display(),
                proof.display()
            )))
        }
        Err(failure) => {
            files.discard();
            Err(failure)
        }
    }
}

impl Files {
    fn create(out: &Path) -> Result<Self, Failure> {
        let create = |path: &Path| {
            let failed = |error: std::io::Error| {
                Failure::new(format!("{} can't be written: {error}", path.display()))
                    .next("name another file with --out")
            };
            if path.exists() {
                return Err(Failure::new(format!("{} exists", path.display())).next("name a new file with --out"));
            }
            let beside = durable::beside(path).map_err(failed)?;
            let file = durable::create_new(&beside, MODE).map_err(failed)?;
            Ok((BufWriter::with_capacity(1 << 20, file), beside, path.to_owned()))
        };
        Ok(Self { events: create(out)?, proof: create(&proof_of(out))?, count: 0 })
    }

    fn take(&mut self, line: &str) -> Result<(), Failure> {
        let is_record = line.starts_with(RECORD);
        let (file, _, path) = if is_record { &mut self.proof } else { &mut self.events };
        self.count += u64::from(!is_record);
        let written = file.write_all(line.as_bytes()).and_then(|()| file.write_all(b"\n"));
        written.map_err(|error| Failure::new(format!("{} can't be written: {error}", path.display())))
    }

    /// The events last: whoever finds them finds the proof.
    fn finish(self) -> Result<u64, Failure> {
        for (file, beside, path) in [self.proof, self.events] {
            let failed = |error: std::io::Error| Failure::new(format!("{} can't be written: {error}", path.display()));
            let file = file.into_inner().map_err(|error| failed(error.into_error()))?;
            file.sync_all().map_err(failed)?;
            durable::rename(&beside, &path).map_err(failed)?;
        }
        Ok(self.count)
    }

    fn discard(self) {
        for (_, beside, _) in [self.events, self.proof] {
            // What failed is told; a file that can't be removed either changes nothing about that.
            let _ = std::fs::remove_file(beside);
        }
    }
}
