//! `node …`: the processes that verify tokens.

use chrono::DateTime;
use clap::Subcommand;

use super::answer::{Answer, Failure};
use super::client::Session;
use super::pages::{self, Wanted};
use super::table::{or_dash, table, text};
use super::when;

/// `node …`.
#[derive(Clone, Debug, Subcommand)]
pub enum NodeCommand {
    /// List nodes, how fresh each one keeps its state, and when it was last heard of
    List,
}

/// Does what the command says.
pub async fn run(command: NodeCommand, session: &Session) -> Result<Answer, Failure> {
    match command {
        NodeCommand::List => {
            pages::read(&session.client, &["nodes"], &[], Wanted::Everything).await?.answer(session, |items| {
                let rows = items.iter().map(|node| {
                    let seen = text(node, "seen_at");
                    let seen = DateTime::parse_from_rfc3339(&seen)
                        .map_or(seen, |time| when::relative(time.to_utc(), session.now));
                    vec![
                        text(node, "name"),
                        or_dash(text(node, "address")),
                        text(node, "version"),
                        format!("{} ms", text(node, "lease_ms")),
                        text(node, "applied_epoch"),
                        or_dash(seen),
                    ]
                });
                table(&["NAME", "ADDRESS", "VERSION", "LEASE", "EPOCH", "SEEN"], rows.collect())
            })
        }
    }
}
