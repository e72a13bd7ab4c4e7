//! What is proven of the audit, what is missing, and how far those have come who read it.

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::response::Response;
use axum::routing::get;

use super::menu::Section;
use super::parts::{Badge, Now, Tone, Untrusted, counted};
use super::shell::Page;
use super::visit::Visitor;
use crate::authority::{ArchiveStatus, AuditStatus, ChainEnd, ChainState, SinkStatus, StreamStatus};
use crate::http::extract::Ready;
use crate::http::permissions::AuditRead;
use crate::http::{Edge, Problem};

/// Chains that are shown: those that were written to last, and first those of which something is missing.
const CHAINS: usize = 50;
/// Longer than any of these takes to get its turn, in seconds.
const LATE: u64 = 60;

/// The page.
pub fn routes() -> Router<Arc<Edge>> {
    Router::new().route("/console/audit/status", get(page))
}

#[derive(Template)]
#[template(path = "console/audit_status.html")]
struct Status<'a> {
    now: Now,
    status: &'a AuditStatus,
    chains: Vec<&'a ChainEnd>,
    more: usize,
}

impl<'a> Status<'a> {
    /// As a whole, in a sentence.
    fn verdict(&self) -> (Tone, String) {
        let missing = self.status.chains.iter().filter(|chain| chain.state == ChainState::Missing).count();
        match &self.status.checkpoint {
            Some(checkpoint) if !checkpoint.verified => {
                (Tone::Bad, "The last checkpoint is none of ours: somebody has written to the audit by hand, or the store has lost some of it.".to_owned())
            }
            _ if missing > 0 || !self.status.lost.is_empty() => {
                (Tone::Bad, "Something that was signed is not there any more. countermark audit verify tells exactly what.".to_owned())
            }
            None => (Tone::Warn, "Nothing is signed yet.".to_owned()),
            Some(checkpoint) if checkpoint.age_seconds > 2 * LATE => {
                (Tone::Warn, "The last checkpoint is older than it should be: the issuers' logs say why.".to_owned())
            }
            Some(_) => (Tone::Good, "All that was signed is there. countermark audit verify checks every event of it.".to_owned()),
        }
    }

    fn is_cut(&self) -> bool {
        self.more > 0 || !self.status.complete
    }

    fn node(&self, node: &'a str) -> Untrusted<'a> {
        Untrusted::new(node).at_most(100)
    }

    fn state(&self, chain: &ChainEnd) -> Badge {
        match chain.state {
            ChainState::Signed => Badge::new(Tone::Good, "Signed"),
            ChainState::Waiting => Badge::new(Tone::Plain, "Waits to be signed"),
            ChainState::Removed => Badge::new(Tone::Plain, "Removed in time"),
            ChainState::Missing => Badge::new(Tone::Bad, "Missing"),
        }
    }

    fn stream(&self, stream: &StreamStatus) -> String {
        if stream.name == "acts" { "Acts".to_owned() } else { format!("Calls, shard {}", stream.name) }
    }

    fn activity(&self, stream: &StreamStatus) -> Option<Badge> {
        (stream.name != "acts").then(|| lag(stream.activity_lag_seconds, "written"))
    }

    fn archive(&self, archive: &ArchiveStatus) -> String {
        match archive.is_on {
            true => format!(
                "segment {}; {} not archived",
                archive.segment,
                counted(archive.lag_seconds, "second", "seconds")
            ),
            false => "ended".to_owned(),
        }
    }

    fn sink(&self, sink: &SinkStatus) -> Badge {
        match (sink.behind_entries, sink.is_delivered) {
            (None, _) => Badge::new(Tone::Bad, "How far it has come can't be read"),
            (Some(_), false) if sink.lag_seconds > LATE => Badge::new(Tone::Bad, "Nobody delivers it"),
            (Some(_), _) => lag(sink.lag_seconds, "delivered"),
        }
    }
}

fn lag(seconds: u64, done: &str) -> Badge {
    match seconds {
        0..=5 => Badge::new(Tone::Good, format!("All {done}")),
        seconds if seconds <= LATE => Badge::new(Tone::Plain, format!("{seconds} s behind")),
        seconds => Badge::new(Tone::Warn, format!("{} behind", counted(seconds / 60, "minute", "minutes"))),
    }
}

/// `GET /console/audit/status`
async fn page(visitor: Visitor<AuditRead>, Ready(authority): Ready) -> Result<Response, Problem> {
    let status = authority.audit_status().await?;
    let mut chains: Vec<&ChainEnd> = status.chains.iter().collect();
    chains.sort_by_key(|chain| chain.state != ChainState::Missing);
    let more = chains.len().saturating_sub(CHAINS);
    chains.truncate(CHAINS);
    let visit = visitor.visit();
    let body = Status { now: visit.clock(), status: &status, chains, more };
    Page::new(visit, Section::Audit, "Status").answer(&body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_late_something_is_is_told_in_the_unit_that_fits() {
        let told = |seconds| lag(seconds, "written").to_string();
        assert!(told(3).contains("All written") && told(20).contains("20 s behind"));
        assert!(told(61).contains("1 minute behind") && told(600).contains("10 minutes behind"));
    }
}
