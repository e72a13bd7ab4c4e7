//! Reading an export from the server, also over interruptions.

use std::time::Instant;

use clap::Args;
use reqwest::Method;

use super::super::accounts::{given, id_of};
use super::super::answer::Failure;
use super::super::client::{Call, Session};
use super::super::when;
use super::{AGAIN, PATIENCE};
use crate::audit::proof::{RECORD, Record};

/// The most that comes between two marks, in bytes.
const HELD: usize = 64 * 1024 * 1024;
/// The reason of a server that stops.
const STOPPING: &str = "stopping";

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

    /// Takes all lines of the export, in order, each once, the seal last. Where the connection breaks it is gone on with after the last
    /// mark: what came after it is held until the next one comes, and forgotten if it does not. That is given up when there was no
    /// further mark for a minute.
    pub async fn read(
        self,
        session: &Session,
        mut take: impl FnMut(&str) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let account = match self.account {
            // A deleted account has no name any more that could be looked up; the server may still know what is meant.
            Some(name) => Some(id_of(&session.client, &name).await.unwrap_or(name)),
            None => None,
        };
        let part = given([("from", self.from), ("to", self.to), ("account", account), ("node", self.node)]);
        let mut reading = Reading::new();
        loop {
            let query = match &reading.after {
                Some(mark) => vec![("after", mark.clone())],
                None => part.clone(),
            };
            let call = Call::new(Method::GET, &["audit", "export"]).query(query);
            let ended = session.client.lines(call, |line| reading.take(line, &mut take)).await;
            let failure = match ended {
                Ok(()) if reading.is_sealed => return Ok(()),
                Ok(()) => without_seal(),
                Err(failure) => failure,
            };
            if !failure.is_passing() || !reading.has_begun || reading.moved.elapsed() > PATIENCE {
                return Err(failure);
            }
            reading.forget();
            tokio::time::sleep(AGAIN).await;
        }
    }
}

/// How far it is.
struct Reading {
    /// The last mark.
    after: Option<String>,
    /// Lines after it.
    held: String,
    /// When it came.
    moved: Instant,
    has_begun: bool,
    is_sealed: bool,
}

impl Reading {
    fn new() -> Self {
        Self { after: None, held: String::new(), moved: Instant::now(), has_begun: false, is_sealed: false }
    }

    fn take(&mut self, line: &str, take: &mut impl FnMut(&str) -> Result<(), Failure>) -> Result<(), Failure> {
        self.has_begun = true;
        if self.is_sealed || self.held.len() + line.len() > HELD {
            return Err(Failure::new("the server's answer is not an export").next("is it a newer version?"));
        }
        self.held.push_str(line);
        self.held.push('\n');
        if !line.starts_with(RECORD) {
            return Ok(());
        }
        match serde_json::from_str(line) {
            Ok(Record::Mark { text }) => {
                (self.after, self.moved) = (Some(text), Instant::now());
                self.pass_on(take)
            }
            Ok(Record::Seal { .. }) => {
                self.is_sealed = true;
                self.pass_on(take)
            }
            Ok(Record::Broken { reason }) if reason == STOPPING => {
                Err(Failure::new("the server stops in the middle of the export").next("try again").passing())
            }
            Ok(Record::Broken { reason }) => Err(Failure::new(format!("the server exports no more: {reason}"))
                .next("is the token still good? countermark token verify")),
            _ => Ok(()),
        }
    }

    fn pass_on(&mut self, take: &mut impl FnMut(&str) -> Result<(), Failure>) -> Result<(), Failure> {
        self.held.split_terminator('\n').try_for_each(take)?;
        self.held.clear();
        Ok(())
    }

    fn forget(&mut self) {
        self.held.clear();
    }
}

fn without_seal() -> Failure {
    Failure::new("the export ended without its seal, so that it may not be all").next("try again").passing()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(record: &Record) -> String {
        record.to_line()
    }

    #[test]
    fn lines_are_passed_on_up_to_a_mark_and_those_after_it_once_more() {
        let mut passed: Vec<String> = Vec::new();
        let mut reading = Reading::new();
        let (mark, seal) = (record(&Record::Mark { text: "m".into() }), record(&Record::Seal { text: "s".into() }));
        let mut take = |line: &str| {
            passed.push(line.to_owned());
            Ok(())
        };
        for line in ["a", "b", &mark, "c"] {
            reading.take(line, &mut take).unwrap();
        }
        assert_eq!(reading.after.as_deref(), Some("m"));
        // The connection breaks.
        reading.forget();
        for line in ["c", "d", &seal] {
            reading.take(line, &mut take).unwrap();
        }
        assert!(reading.is_sealed);
        assert!(reading.take("e", &mut take).is_err());
        assert_eq!(passed, ["a", "b", &mark, "c", "d", &seal]);
    }

    #[test]
    fn whoever_may_have_no_more_is_told_why_and_a_server_that_stops_is_asked_again() {
        let mut reading = Reading::new();
        let mut broken = |reason: &str| {
            reading.take(&record(&Record::Broken { reason: reason.into() }), &mut |_: &str| Ok(())).unwrap_err()
        };
        let superseded = broken("superseded");
        assert!(!superseded.is_passing() && superseded.to_string().contains("exports no more: superseded"));
        assert!(broken(STOPPING).is_passing());
    }

    #[test]
    fn what_never_comes_to_a_mark_is_not_held_for_ever() {
        let mut reading = Reading::new();
        let line = "x".repeat(HELD / 2);
        let mut take = |_: &str| Ok(());
        reading.take(&line, &mut take).unwrap();
        assert!(reading.take(&line, &mut take).is_err());
    }
}
