//! `role …`: named sets of permissions.

use clap::Subcommand;
use reqwest::Method;
use serde_json::json;

use super::accounts::changed;
use super::answer::{Answer, Failure};
use super::client::{Call, Session};
use super::pages::{self, Wanted};
use super::table::{or_dash, table, text};

/// `role …`.
#[derive(Clone, Debug, Subcommand)]
pub enum RoleCommand {
    /// List roles
    List,
    /// Create a role or replace its definition; takes effect on tokens that are out already
    Set {
        /// Name of the role
        name: String,
        /// What it is for
        #[arg(long, value_name = "TEXT", default_value = "")]
        description: String,
        /// A permission, RESOURCE:ACTION, `*` for either half; repeatable
        #[arg(long = "permission", value_name = "PERMISSION", required = true)]
        permissions: Vec<String>,
    },
    /// Delete a role that no account has
    Delete {
        /// Name of the role
        name: String,
    },
}

/// Does what the command says.
pub async fn run(command: RoleCommand, session: &Session) -> Result<Answer, Failure> {
    match command {
        RoleCommand::List => {
            pages::read(&session.client, &["roles"], &[], Wanted::Everything).await?.answer(session, |items| {
                let rows = items.iter().map(|role| {
                    vec![text(role, "name"), or_dash(text(role, "permissions")), or_dash(text(role, "description"))]
                });
                table(&["NAME", "PERMISSIONS", "DESCRIPTION"], rows.collect())
            })
        }
        RoleCommand::Set { name, description, permissions } => {
            let body = json!({"description": description, "permissions": permissions});
            let reply = session.client.call(Call::new(Method::PUT, &["roles", &name]).body(body)).await?;
            changed(&reply, session.output, &format!("The role {name} is set."))
        }
        RoleCommand::Delete { name } => {
            let reply = session.client.call(Call::new(Method::DELETE, &["roles", &name])).await?;
            changed(&reply, session.output, &format!("Deleted the role {name}."))
        }
    }
}
