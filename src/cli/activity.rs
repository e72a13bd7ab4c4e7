//! `account activity`: what an account did, and what it was refused.

use clap::Args;

use super::accounts::{given, id_of};
use super::answer::{Answer, Failure};
use super::client::Session;
use super::pages::{self, Wanted};
use super::table::{or_dash, second, table, text};
use super::{audit, when};

/// `account activity`.
#[derive(Clone, Debug, Args)]
pub struct ActivityArgs {
    /// Name or id (of a deleted account: its id)
    name: String,
    /// From this time or date on
    #[arg(long, value_name = "TIME", value_parser = when::moment)]
    from: Option<String>,
    /// Up to this time or date
    #[arg(long, value_name = "TIME", value_parser = when::moment)]
    to: Option<String>,
    /// Only what ended like this
    #[arg(long, value_parser = audit::OUTCOMES)]
    outcome: Option<String>,
    /// Only with this reason
    #[arg(long, value_name = "REASON")]
    reason: Option<String>,
    /// Only requests of this method
    #[arg(long, value_name = "METHOD")]
    method: Option<String>,
    /// Only requests for paths that begin so
    #[arg(long, value_name = "PREFIX")]
    path: Option<String>,
    /// Only from this address or network
    #[arg(long, value_name = "ADDRESS|CIDR")]
    address: Option<String>,
    /// Only what this node decided
    #[arg(long, value_name = "NODE")]
    node: Option<String>,
    /// How many, 1 to 500 (with --all: how many at a time)
    #[arg(long, value_name = "N")]
    limit: Option<u16>,
    /// All of it
    #[arg(long)]
    all: bool,
}

/// Does what the command says.
pub async fn run(args: ActivityArgs, session: &Session) -> Result<Answer, Failure> {
    let id = id_of(&session.client, &args.name).await?;
    let query = given([
        ("from", args.from),
        ("to", args.to),
        ("outcome", args.outcome),
        ("reason", args.reason),
        ("method", args.method),
        ("path", args.path),
        ("address", args.address),
        ("node", args.node),
    ]);
    let wanted = Wanted::from_options(args.limit, args.all);
    pages::read(&session.client, &["accounts", &id, "activity"], &query, wanted).await?.answer(session, |items| {
        let rows = items.iter().map(|event| {
            vec![
                second(&text(event, "time")),
                text(event, "outcome"),
                audit::what(event),
                or_dash(text(event, "client_address")),
                or_dash(text(event, "user_agent")),
            ]
        });
        table(&["TIME (UTC)", "OUTCOME", "WHAT", "FROM", "AGENT"], rows.collect())
    })
}
