//! `user …`: people, who sign in to the console.

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::accounts::{given, team_and_role, teams};
use super::answer::{Answer, Failure};
use super::client::{Call, Reply, Session};
use super::json::indent;
use super::pages::{self, Wanted};
use super::table::{day, details, or_dash, table, text};
use super::{Output, receipt};

/// `user …`.
#[derive(Clone, Debug, Subcommand)]
pub enum UserCommand {
    /// Create a person's account; the answer holds a link, shown this once, by which the password is set
    Create(CreateArgs),
    /// List people
    List {
        /// Only those whose name or description holds this
        #[arg(long, value_name = "TEXT")]
        query: Option<String>,
    },
    /// Make a new link by which a person sets the password; an earlier one is gone
    Link {
        /// Name or id
        name: String,
        /// End the present password, and all sessions that were begun with it, at once
        #[arg(long)]
        end_present: bool,
    },
    /// List the sessions of a person, or of whoever signed in with an account's token
    Sessions {
        /// Name or id
        name: String,
    },
    /// End all sessions of a person
    SignOut {
        /// Name or id
        name: String,
    },
}

/// `user create`.
#[derive(Clone, Debug, Args)]
pub struct CreateArgs {
    /// The name to sign in with
    name: String,
    /// The role where no team's role counts
    #[arg(long, value_name = "ROLE")]
    role: String,
    /// Who it is
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// A team and the role in it; repeatable
    #[arg(long = "team", value_name = "TEAM=ROLE", value_parser = team_and_role)]
    teams: Vec<(String, String)>,
    /// A network from which the person may come; repeatable
    #[arg(long = "network", value_name = "CIDR")]
    networks: Vec<String>,
}

/// Does what the command says.
pub async fn run(command: UserCommand, session: &Session) -> Result<Answer, Failure> {
    match command {
        UserCommand::Create(args) => create(args, session).await,
        UserCommand::List { query } => list(query, session).await,
        UserCommand::Link { name, end_present } => {
            let body = json!({ "ends_present": end_present });
            let call = Call::new(Method::POST, &["accounts", &name, "password-link"]).body(body);
            invited(session.client.call(call).await?, session.output, "A new link for")
        }
        UserCommand::Sessions { name } => sessions(&name, session).await,
        UserCommand::SignOut { name } => {
            let reply = session.client.call(Call::new(Method::DELETE, &["accounts", &name, "sessions"])).await?;
            match session.output {
                Output::Json => indent(&reply.text).map(Answer::yes),
                Output::Table => {
                    Ok(Answer::yes(format!("Sessions of {name} that were ended: {}.", text(&reply.body, "ended"))))
                }
            }
        }
    }
}

async fn create(args: CreateArgs, session: &Session) -> Result<Answer, Failure> {
    let mut body = Map::from_iter([("username".to_owned(), json!(args.name)), ("role".to_owned(), json!(args.role))]);
    if let Some(description) = args.description {
        body.insert("description".to_owned(), json!(description));
    }
    if !args.teams.is_empty() {
        body.insert("teams".to_owned(), teams(args.teams)?);
    }
    if !args.networks.is_empty() {
        body.insert("allowed_networks".to_owned(), json!(args.networks));
    }
    let reply = session.client.call(Call::new(Method::POST, &["users"]).body(body.into())).await?;
    invited(reply, session.output, "Created")
}

fn invited(reply: Reply, output: Output, done: &str) -> Result<Answer, Failure> {
    if output == Output::Json {
        return indent(&reply.text).map(Answer::yes);
    }
    let body = &reply.body;
    let account = body.get("account").unwrap_or(&Value::Null);
    let facts = details(&[
        ("account", text(account, "id")),
        ("role", text(account, "role")),
        ("link until", text(body, "link_expires_at")),
    ]);
    Ok(Answer::yes(format!(
        "{done} {}.\n{facts}{}\n\n{}\n\nThe link works once, and is shown this once. Whoever has it sets the password: give it to nobody else.",
        text(account, "username"),
        receipt::after(body),
        text(body, "link")
    )))
}

async fn list(query: Option<String>, session: &Session) -> Result<Answer, Failure> {
    let query = given([("kind", Some("user".to_owned())), ("query", query)]);
    pages::read(&session.client, &["accounts"], &query, Wanted::Everything).await?.answer(session, |items| {
        let rows = items.iter().map(|account| {
            let sign_in = account.get("sign_in").unwrap_or(&Value::Null);
            vec![
                text(account, "username"),
                text(account, "role"),
                text(account, "status"),
                or_dash(day(&text(sign_in, "password_set_at"))),
                or_dash(day(&text(sign_in, "link_expires_at"))),
            ]
        });
        table(&["NAME", "ROLE", "STATUS", "PASSWORD SET", "LINK UNTIL"], rows.collect())
    })
}

async fn sessions(name: &str, session: &Session) -> Result<Answer, Failure> {
    pages::read(&session.client, &["accounts", name, "sessions"], &[], Wanted::Everything).await?.answer(
        session,
        |items| {
            let rows = items.iter().map(|session| {
                vec![
                    text(session, "id"),
                    text(session, "signed_in_with"),
                    text(session, "began_at"),
                    text(session, "ends_at"),
                    or_dash(text(session, "client_address")),
                ]
            });
            table(&["ID", "WITH", "BEGUN", "ENDS", "FROM"], rows.collect())
        },
    )
}
