//! The processes that verify tokens: how fresh each keeps its state, what it has applied, how much it has to do.

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::response::Response;
use axum::routing::get;

use super::asked::Asked;
use super::menu::Section;
use super::named::ROWS;
use super::parts::{Badge, Empty, Now, Pager, Tone, Untrusted, grouped};
use super::shell::Page;
use super::visit::Visitor;
use crate::authority::Error;
use crate::http::extract::Ready;
use crate::http::permissions::NodesRead;
use crate::http::{Edge, Problem};
use crate::store::Node;

/// The page.
pub fn routes() -> Router<Arc<Edge>> {
    Router::new().route("/console/nodes", get(page))
}

#[derive(Template)]
#[template(path = "console/nodes.html")]
struct Body<'a> {
    now: Now,
    nodes: &'a [&'a Node],
    total: usize,
    with_lease: usize,
    tokens_per_second: u64,
    empty: Empty,
    pager: Pager,
}

impl<'a> Body<'a> {
    fn lease(&self, node: &Node) -> Badge {
        match (node.lease_ms, node.has_lease()) {
            (0, _) => Badge::new(Tone::Plain, "Looks everything up"),
            (length, true) => {
                Badge::new(Tone::Good, format!("{} of {} ms", grouped(node.lease_age_ms), grouped(length)))
            }
            (_, false) => Badge::new(Tone::Warn, "Over"),
        }
    }

    fn text(&self, text: &'a str) -> Untrusted<'a> {
        Untrusted::new(text).at_most(100)
    }
}

/// `GET /console/nodes`
async fn page(visitor: Visitor<NodesRead>, Ready(authority): Ready, asked: Asked) -> Result<Response, Problem> {
    let visit = visitor.visit();
    let all = authority.store().nodes().await.map_err(Error::from)?;
    // By name; one that has gone leads to the first page.
    let after = all.iter().position(|node| node.id == asked.text("cursor")).map_or(0, |place| place + 1);
    let some: Vec<&Node> = all.iter().skip(after).take(ROWS).collect();
    let next = some.last().filter(|_| all.len() > after + some.len()).map(|node| node.id.as_str());
    let body = Body {
        now: visit.clock(),
        total: all.len(),
        with_lease: all.iter().filter(|node| node.has_lease()).count(),
        tokens_per_second: all.iter().map(|node| node.tokens_per_second).sum(),
        empty: Empty::new(
            "No node is there",
            "A process that verifies tokens stands here as soon as it has reached the store.",
        ),
        pager: Pager::new(&asked, "/console/nodes", &[], next, false),
        nodes: &some,
    };
    Page::new(visit, Section::Nodes, Section::Nodes.title()).answer(&body)
}
