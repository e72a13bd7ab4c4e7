//! `token …`: replace, revoke, look into, try.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Map, json};

use super::accounts::{changed, id_of};
use super::answer::{Answer, Failure};
use super::client::{Call, Session};
use super::connect::ConnectionArgs;
use super::secret::{self, BearerToken};
use super::verify::VerifyArgs;
use super::{Output, confirm, inspect, issued, verify, when};

/// `token …`.
#[derive(Clone, Debug, Subcommand)]
pub enum TokenCommand {
    /// Give an account a new token; the old one is dead at once, or after --overlap
    Regenerate(RegenerateArgs),
    /// Take an account's token away
    Revoke {
        /// Name or id
        name: String,
        /// Don't ask
        #[arg(long)]
        yes: bool,
    },
    /// Show what a token says, without sending it anywhere and without checking it
    Inspect {
        /// File that holds the token (default: standard input)
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Ask the server whether a token is good: exit code 0 yes, 1 no
    Verify(VerifyArgs),
}

/// `token regenerate`.
#[derive(Clone, Debug, Args)]
pub struct RegenerateArgs {
    /// Name or id
    name: String,
    /// For how many months the new token is good
    #[arg(long, value_name = "N")]
    months: u32,
    /// How long the old token works on: 0, 2s, 15m, 24h, 7d (default: not at all)
    #[arg(long, value_name = "DURATION", value_parser = when::whole_seconds)]
    overlap: Option<u64>,
    /// Don't ask
    #[arg(long)]
    yes: bool,
    /// Write the token to this new file (mode 0600) instead of printing it
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Does what the command says. Looking into a token needs no server, and trying one needs no other token.
pub async fn run(command: TokenCommand, connection: &ConnectionArgs, output: Output) -> Result<Answer, Failure> {
    match command {
        TokenCommand::Regenerate(args) => regenerate(args, &Session::open(connection, output)?).await,
        TokenCommand::Revoke { name, yes } => revoke(&name, yes, &Session::open(connection, output)?).await,
        TokenCommand::Inspect { file } => {
            inspect::run(&the_token(file, connection, "countermark token inspect")?, output, when::now())
        }
        TokenCommand::Verify(args) => {
            let token = the_token(args.file.clone(), connection, "countermark token verify")?;
            verify::run(args, &token, connection, output).await
        }
    }
}

/// The token that a command is about: not the one to act with, unless that is the one that was named.
fn the_token(file: Option<PathBuf>, connection: &ConnectionArgs, command: &str) -> Result<BearerToken, Failure> {
    match file.or_else(|| connection.token_file.clone()) {
        Some(file) => secret::read_file(&file),
        None => secret::read_stdin(&format!("name its file with --file, or: {command} < FILE")),
    }
}

async fn regenerate(args: RegenerateArgs, session: &Session) -> Result<Answer, Failure> {
    let until = match args.overlap {
        Some(seconds) if seconds > 0 => format!("stops working after {seconds} s"),
        _ => "stops working at once".to_owned(),
    };
    confirm::yes_or_no(&format!("The present token of {} {until}. Go on?", args.name), session.interactive, args.yes)?;
    let reserved = issued::reserve(args.out.as_deref())?;
    let id = id_of(&session.client, &args.name).await?;
    let mut body = Map::new();
    body.insert("valid_for_months".to_owned(), json!(args.months));
    body.extend(args.overlap.map(|seconds| ("overlap_seconds".to_owned(), json!(seconds))));
    let reply = session.client.call(Call::new(Method::POST, &["accounts", &id, "token"]).body(body.into())).await?;
    issued::answer(reply, reserved, session.output, "New token for")
}

async fn revoke(name: &str, yes: bool, session: &Session) -> Result<Answer, Failure> {
    let id = id_of(&session.client, name).await?;
    let question = format!("The token of {name} stops working at once, and nothing takes its place. Go on?");
    confirm::yes_or_no(&question, session.interactive, yes)?;
    let reply = session.client.call(Call::new(Method::DELETE, &["accounts", &id, "token"])).await?;
    changed(&reply, session.output, &format!("{name} has no token any more."))
}
