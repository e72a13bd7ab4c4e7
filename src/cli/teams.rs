//! `team …`: the teams in which an account can have a role of its own.

use clap::Subcommand;
use reqwest::Method;
use serde_json::json;

use super::accounts::changed;
use super::answer::{Answer, Failure};
use super::client::{Call, Session};
use super::pages::{self, Wanted};
use super::table::{or_dash, table, text};

/// `team …`.
#[derive(Clone, Debug, Subcommand)]
pub enum TeamCommand {
    /// List teams
    List,
    /// Create a team or change its description
    Set {
        /// Name of the team
        name: String,
        /// What it is
        #[arg(long, value_name = "TEXT", default_value = "")]
        description: String,
    },
    /// Delete a team that has no members
    Delete {
        /// Name of the team
        name: String,
    },
}

/// Does what the command says.
pub async fn run(command: TeamCommand, session: &Session) -> Result<Answer, Failure> {
    match command {
        TeamCommand::List => {
            pages::read(&session.client, &["teams"], &[], Wanted::Everything).await?.answer(session, |items| {
                let rows = items.iter().map(|team| vec![text(team, "name"), or_dash(text(team, "description"))]);
                table(&["NAME", "DESCRIPTION"], rows.collect())
            })
        }
        TeamCommand::Set { name, description } => {
            let body = json!({"description": description});
            let reply = session.client.call(Call::new(Method::PUT, &["teams", &name]).body(body)).await?;
            changed(&reply, session.output, &format!("The team {name} is set."))
        }
        TeamCommand::Delete { name } => {
            let reply = session.client.call(Call::new(Method::DELETE, &["teams", &name])).await?;
            changed(&reply, session.output, &format!("Deleted the team {name}."))
        }
    }
}
