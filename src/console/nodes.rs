//! The processes that verify.

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::response::Response;
use axum::routing::get;

use super::menu::Section;
use super::parts::{Badge, Now, Tone, Untrusted, grouped};
use super::shell::page as shown;
use super::visit::Visitor;
use crate::authority::Error;
use crate::http::extract::Ready;
use crate::http::permissions::NodesRead;
use crate::http::{Edge, Problem};
use crate::store::Node;

/// Rows of the page: the rest is counted.
const ROWS: usize = 200;

pub fn routes() -> Router<Arc<Edge>> {
    Router::new().route("/console/nodes", get(page))
}

#[derive(Template)]
#[template(path = "console/nodes.html")]
struct Body {
    now: Now,
    nodes: Vec<Node>,
    more: u64,
}

impl Body {
    fn lease(&self, node: &Node) -> Badge {
        match (node.lease_ms, node.has_lease()) {
            (0, _) => Badge::new(Tone::Plain, "None: it looks everything up"),
            (length, true) => {
                Badge::new(Tone::Good, format!("{} of {} ms", grouped(node.lease_age_ms), grouped(length)))
            }
            (_, false) => Badge::new(Tone::Bad, "Over: it looks everything up, or is gone"),
        }
    }
}

async fn page(visitor: Visitor<NodesRead>, Ready(authority): Ready) -> Result<Response, Problem> {
    let mut nodes = authority.store().nodes().await.map_err(Error::from)?;
    let more = nodes.len().saturating_sub(ROWS) as u64;
    nodes.truncate(ROWS);
    let body = Body { now: visitor.visit().clock(), nodes, more };
    shown(visitor.visit(), Section::Nodes, Section::Nodes.title(), &body)
}
