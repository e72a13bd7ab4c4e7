//! `login`: check a token against a server, then remember both.

use std::io::{self, IsTerminal};

use clap::Args;

use super::Output;
use super::answer::{Answer, Failure};
use super::client::Client;
use super::connect::{self, ConnectionArgs, Credential, Surroundings};
use super::json::indent;
use super::secret::{self, BearerToken};
use super::stored::{self, Stored};
use super::table::text;

/// `login`: the server and its CA are those of the global options, the token comes from `--token-file`, standard input or
/// a prompt.
#[derive(Clone, Debug, Args)]
pub struct LoginArgs {}

/// Logs in.
pub async fn run(_: LoginArgs, connection: &ConnectionArgs, output: Output) -> Result<Answer, Failure> {
    let around = Surroundings::of_process();
    if connection.server.is_none() && around.server.is_none() {
        return Err(Failure::new("no server was named").next("countermark login --server URL [--ca-file FILE]"));
    }
    let token = match &connection.token_file {
        Some(path) => secret::read_file(path)?,
        None if io::stdin().is_terminal() => ask()?,
        None => secret::read_stdin("pass the token on standard input, or name its file with --token-file")?,
    };
    log_in(token, connection, &around, output).await
}

/// Nothing is stored that the server didn't accept.
pub async fn log_in(
    token: BearerToken,
    connection: &ConnectionArgs,
    around: &Surroundings,
    output: Output,
) -> Result<Answer, Failure> {
    let path = around.login.as_deref().ok_or_else(|| {
        Failure::new("there is no place to store a login").next("set HOME or XDG_CONFIG_HOME to an absolute path")
    })?;
    let target = connect::target(connection, around)?;
    let credential = Credential { token: token.clone(), source: "the login".to_owned(), is_first_admin: false };
    let reply = Client::new(&target, Some(credential))?.get(&["self"]).await?;
    let account = reply.body.get("account").filter(|account| account.is_object());
    let account = account.ok_or_else(|| {
        Failure::new("the server did not say whose token this is; nothing was stored")
            .next("is that really a Countermark server? check --server")
    })?;
    let said = format!(
        "Logged in to {} as {} (role {}).\nStored in {}.",
        target.server,
        text(account, "username"),
        text(account, "role"),
        path.display()
    );
    stored::write(path, &Stored { server: target.server, ca_pem: target.ca_pem, token })?;
    match output {
        Output::Json => indent(&reply.text).map(Answer::yes),
        Output::Table => Ok(Answer::yes(said)),
    }
}

fn ask() -> Result<BearerToken, Failure> {
    let next = "paste one token, or name its file with --token-file";
    let text = rpassword::prompt_password("Token (not shown): ")
        .map_err(|error| Failure::new(format!("the token can't be read: {error}")).next(next))?;
    BearerToken::parse(text).map_err(|why| Failure::new(format!("that is no token: {why}")).next(next))
}
