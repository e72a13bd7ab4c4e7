//! `node …`: the processes that verify tokens.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::answer::{Answer, Failure};
use super::client::Session;
use super::connect::ConnectionArgs;
use super::pages::{self, Wanted};
use super::serve::PlaceArgs;
use super::table::{or_dash, table, text};
use super::{Output, machine};

/// `node …`.
#[derive(Clone, Debug, Subcommand)]
pub enum NodeCommand {
    /// List nodes: how fresh each one keeps its state, what it has applied, how much it has to do
    List,
    /// Declare an issuer gone for good, so that a restored or promoted store waits for it no more (needs the master key and the store)
    Forget(ForgetArgs),
}

/// `node forget`: declare an issuer gone for good.
#[derive(Clone, Debug, Args)]
pub struct ForgetArgs {
    /// Its name or its id, as the log, /readyz and doctor call it
    pub name: String,
    /// Where the store is.
    #[command(flatten)]
    pub place: PlaceArgs,
}

/// Does what the command says.
pub async fn run(command: NodeCommand, connection: &ConnectionArgs, output: Output) -> Result<Answer, Failure> {
    match command {
        NodeCommand::Forget(args) => machine::forget_issuer(args, output).await,
        NodeCommand::List => {
            let session = &Session::open(connection, output)?;
            pages::read(&session.client, &["nodes"], &[], Wanted::Everything).await?.answer(session, |items| {
                let rows = items.iter().map(|node| {
                    vec![
                        text(node, "name"),
                        or_dash(text(node, "address")),
                        text(node, "version"),
                        lease(node),
                        text(node, "applied_epoch"),
                        text(node, "tokens_per_second"),
                    ]
                });
                table(&["NAME", "ADDRESS", "VERSION", "LEASE", "EPOCH", "TOKENS/S"], rows.collect())
            })
        }
    }
}

/// How old the lease is, and how long; or that there is none.
fn lease(node: &Value) -> String {
    let number = |name: &str| node.get(name).and_then(Value::as_u64).unwrap_or_default();
    let (length, age) = (number("lease_ms"), number("lease_age_ms"));
    match length {
        0 => "none: looks everything up".to_owned(),
        length if age > length => format!("over: renewed {age} ms ago, for {length} ms"),
        length => format!("{age} of {length} ms"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_lease_is_shown_with_its_age() {
        let lease = |length: u64, age: u64| lease(&json!({"lease_ms": length, "lease_age_ms": age}));
        assert_eq!(lease(500, 120), "120 of 500 ms");
        assert_eq!(lease(500, 730), "over: renewed 730 ms ago, for 500 ms");
        assert_eq!(lease(0, 730), "none: looks everything up");
    }
}
