//! `key …`: the keys that sign tokens.

use clap::Subcommand;
use serde_json::Value;

use super::Output;
use super::answer::{Answer, Failure};
use super::client::Session;
use super::connect::ConnectionArgs;
use super::export::{self, ExportArgs};
use super::pages::{self, Wanted};
use super::table::{day, or_dash, table, text};

/// `key …`.
#[derive(Clone, Debug, Subcommand)]
pub enum KeyCommand {
    /// List keys, how many tokens rest on each, and what comes next for it
    List,
    /// Write public keys down, for verifiers that read them from files (needs no token)
    Export(ExportArgs),
}

/// Does what the command says.
pub async fn run(command: KeyCommand, connection: &ConnectionArgs, output: Output) -> Result<Answer, Failure> {
    match command {
        KeyCommand::Export(args) => export::run(args, connection, output).await,
        KeyCommand::List => {
            let session = &Session::open(connection, output)?;
            pages::read(&session.client, &["keys"], &[], Wanted::Everything).await?.answer(session, |items| {
                let rows = items.iter().map(|key| {
                    let next = key.get("next_step").unwrap_or(&Value::Null);
                    let next = format!("{} {}", text(next, "action"), day(&text(next, "possible_at")));
                    vec![
                        text(key, "id"),
                        text(key, "algorithm"),
                        text(key, "state"),
                        text(key, "live_tokens"),
                        or_dash(next.trim().to_owned()),
                    ]
                });
                table(&["KEY", "ALG", "STATE", "TOKENS", "NEXT STEP"], rows.collect())
            })
        }
    }
}
