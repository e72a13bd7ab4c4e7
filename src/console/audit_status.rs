//! How the audit stands: what is proven of it, what is missing, how far archive and sinks have come.

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::response::Response;
use axum::routing::get;
use chrono::TimeDelta;

use super::menu::Section;
use super::parts::{Badge, Now, Tone, Untrusted};
use super::shell::Page;
use super::visit::Visitor;
use crate::authority::{AuditStatus, ChainState, SinkStatus};
use crate::http::extract::Ready;
use crate::http::permissions::AuditRead;
use crate::http::{Edge, Problem};

/// A checkpoint is signed every few seconds; one that is older than this is late.
const LATE: u64 = 60;

pub fn routes() -> Router<Arc<Edge>> {
    Router::new().route("/console/audit/status", get(page))
}

#[derive(Template)]
#[template(path = "console/audit_status.html")]
struct Body {
    now: Now,
    status: AuditStatus,
}

impl Body {
    /// The whole in a word.
    fn verdict(&self) -> Badge {
        match &self.status.checkpoint {
            _ if !self.status.lost.is_empty() || self.status.alarms > 0 => {
                Badge::new(Tone::Bad, "Something is missing")
            }
            None => Badge::new(Tone::Warn, "Nothing is signed yet"),
            Some(last) if !last.verified => Badge::new(Tone::Bad, "The last checkpoint is not good"),
            Some(last) if last.age_seconds > LATE => Badge::new(Tone::Warn, "The last checkpoint is old"),
            Some(_) => Badge::new(Tone::Good, "Whole, as far as it is signed"),
        }
    }

    fn chain(&self, state: &ChainState) -> Badge {
        match state {
            ChainState::Signed => Badge::new(Tone::Good, "Signed"),
            ChainState::Waiting => Badge::new(Tone::Plain, "Waits for a checkpoint"),
            ChainState::Removed => Badge::new(Tone::Plain, "Removed in time"),
            ChainState::Missing => Badge::new(Tone::Bad, "Missing"),
        }
    }

    fn sink(&self, sink: &SinkStatus) -> Badge {
        match (sink.is_delivered, sink.behind_entries) {
            (_, None) => Badge::new(Tone::Bad, "Can't be read"),
            (true, _) => Badge::new(Tone::Good, "Delivered"),
            (false, _) => Badge::new(Tone::Warn, "Not delivered now"),
        }
    }

    /// How long something waits, from seconds.
    fn lag(&self, seconds: &u64) -> String {
        match seconds {
            0 => "nothing waits".to_owned(),
            seconds => {
                let length = TimeDelta::seconds(i64::try_from(*seconds).unwrap_or(i64::MAX));
                self.now.relative(self.now.0 - length).replace(" ago", "")
            }
        }
    }

    fn stream(&self, name: &str) -> String {
        match name {
            "acts" => "Acts of administration".to_owned(),
            shard => format!("Calls, part {shard}"),
        }
    }
}

async fn page(visitor: Visitor<AuditRead>, Ready(authority): Ready) -> Result<Response, Problem> {
    let body = Body { now: visitor.visit().clock(), status: authority.audit_status().await? };
    Page::new(visitor.visit(), Section::Audit, "Status").answer(&body)
}
