//! `account activity`: what an account did, and what it was refused.

use clap::Args;

use super::accounts::id_of;
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
    #[command(flatten)]
    which: audit::EventArgs,
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
    let query = args.which.query([("from", args.from), ("to", args.to)]);
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
