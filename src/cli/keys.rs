//! `key …`: the keys that sign tokens.

use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;
use reqwest::Method;
use serde_json::{Value, json};

use super::accounts::changed;
use super::answer::{Answer, Exit, Failure};
use super::client::{Call, Reply, Session};
use super::connect::ConnectionArgs;
use super::export::{self, ExportArgs};
use super::json::indent;
use super::pages::{self, Wanted};
use super::serve::RotateMasterArgs;
use super::table::{day, details, or_dash, table, text};
use super::{Output, confirm, import, machine};
use crate::token::Algorithm;

/// Longer than a small hardware token takes for an RSA key, and than the server waits for it.
const MAKING: Duration = Duration::from_secs(120);

/// `key …`.
#[derive(Clone, Debug, Subcommand)]
pub enum KeyCommand {
    /// List keys, how many tokens rest on each, and what comes next for it
    List,
    /// Show a key and who needs it; of a revoked one, who has no new token yet
    Show {
        /// The key
        #[arg(value_name = "KID", value_parser = export::key_id, allow_hyphen_values = true)]
        key: String,
    },
    /// Make a new key and publish it; it can sign once every cache has it
    Prepare {
        /// ES256, EdDSA, RS256 or PS256 (default: signing.algorithm of the server)
        #[arg(long, value_name = "ALG")]
        algorithm: Option<Algorithm>,
        /// Make it in the server's hardware token (PKCS#11), which it never leaves
        #[arg(long)]
        in_token: bool,
    },
    /// Publish a key that exists, so that it can sign: PKCS#8, SEC1 or PKCS#1 in PEM, encrypted or not
    Import {
        /// The private key, readable by you alone
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// What it signs with (default: what fits; for RSA keys RS256)
        #[arg(long, value_name = "ALG")]
        algorithm: Option<Algorithm>,
        /// File with the passphrase (default: asks for it, where one is needed)
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
    },
    /// Let a pending key sign from now on; the one that did verifies only
    Activate {
        /// The key
        #[arg(value_name = "KID", value_parser = export::key_id, allow_hyphen_values = true)]
        key: String,
        /// Even before every cache has it
        #[arg(long)]
        force: bool,
        /// Don't ask
        #[arg(long)]
        yes: bool,
    },
    /// Publish a key no longer that no living token needs (this happens by itself, too)
    Retire {
        /// The key
        #[arg(value_name = "KID", value_parser = export::key_id, allow_hyphen_values = true)]
        key: String,
    },
    /// Accept nothing any more that a key signed; shows what dies with it, and asks
    Revoke {
        /// The key
        #[arg(value_name = "KID", value_parser = export::key_id, allow_hyphen_values = true)]
        key: String,
        /// Only show what would die
        #[arg(long, conflicts_with = "yes")]
        dry_run: bool,
        /// Don't ask
        #[arg(long)]
        yes: bool,
    },
    /// Count the living tokens of each key anew: exit code 0 if the counts were right, 1 if they had to be corrected
    Recount,
    /// Write public keys down, for verifiers that read them from files (needs no token)
    Export(ExportArgs),
    /// Change the master key while servers run, in two steps (needs the master key and the store)
    RotateMaster(RotateMasterArgs),
}

/// Does what the command says.
pub async fn run(command: KeyCommand, connection: &ConnectionArgs, output: Output) -> Result<Answer, Failure> {
    let session = || Session::open(connection, output);
    match command {
        KeyCommand::Export(args) => export::run(args, connection, output).await,
        KeyCommand::RotateMaster(args) => machine::rotate_master(args, output).await,
        other => at_the_server(other, &session()?).await,
    }
}

async fn at_the_server(command: KeyCommand, session: &Session) -> Result<Answer, Failure> {
    match command {
        KeyCommand::Export(_) | KeyCommand::RotateMaster(_) | KeyCommand::List => list(session).await,
        KeyCommand::Show { key } => show(&key, session).await,
        KeyCommand::Prepare { algorithm, in_token } => {
            let algorithm = algorithm.map(|algorithm| ("algorithm".to_owned(), json!(algorithm)));
            let in_token = in_token.then(|| ("in_token".to_owned(), json!(true)));
            let body = Value::Object(algorithm.into_iter().chain(in_token).collect());
            let call = Call::new(Method::POST, &["keys"]).body(body).timeout(MAKING);
            let reply = session.client.call(call).await?;
            prepared(&reply, session)
        }
        KeyCommand::Import { file, algorithm, passphrase_file } => {
            let key = import::read(&file, passphrase_file.as_deref(), session.interactive)?;
            // Looked at here too: what does not fit need not travel.
            key.signing_key(algorithm).map_err(|error| import::failed(&file, error))?;
            let mut body = json!({ "private_key": key.expose_pem().as_str() });
            if let (Some(algorithm), Some(members)) = (algorithm, body.as_object_mut()) {
                members.insert("algorithm".to_owned(), json!(algorithm));
            }
            let reply = session.client.call(Call::new(Method::POST, &["keys"]).body(body)).await?;
            prepared(&reply, session)
        }
        KeyCommand::Activate { key, force, yes } => {
            if force {
                let question =
                    "Verifiers that read the key set rarely refuse new tokens until they read it again. Go on?";
                confirm::yes_or_no(question, session.interactive, yes)?;
            }
            let reply = step(session, &key, "activate", Some(json!({ "force": force }))).await?;
            changed(&reply, session.output, &format!("{key} signs from now on."))
        }
        KeyCommand::Retire { key } => {
            let reply = step(session, &key, "retire", None).await?;
            changed(&reply, session.output, &format!("{key} is retired."))
        }
        KeyCommand::Recount => recount(session).await,
        KeyCommand::Revoke { key, dry_run, yes } => revoke(&key, dry_run, yes, session).await,
    }
}

async fn step(session: &Session, key: &str, step: &str, body: Option<Value>) -> Result<Reply, Failure> {
    let path = ["keys", key, step];
    // Whoever revokes the key that signs may have to wait for another one.
    let call = Call::new(Method::POST, &path).timeout(MAKING);
    session.client.call(if let Some(body) = body { call.body(body) } else { call }).await
}

async fn list(session: &Session) -> Result<Answer, Failure> {
    pages::read(&session.client, &["keys"], &[], Wanted::Everything).await?.answer(session, |items| {
        let rows = items.iter().map(|key| {
            vec![
                text(key, "id"),
                text(key, "algorithm"),
                text(key, "state"),
                text(key, "live_tokens"),
                or_dash(day(&text(key, "last_expiry"))),
                or_dash(next_step(key)),
            ]
        });
        table(&["KEY", "ALG", "STATE", "TOKENS", "LAST EXPIRY", "NEXT STEP"], rows.collect())
    })
}

fn next_step(key: &Value) -> String {
    let next = key.get("next_step").unwrap_or(&Value::Null);
    format!("{} {}", text(next, "action"), text(next, "possible_at")).trim().to_owned()
}

async fn show(key: &str, session: &Session) -> Result<Answer, Failure> {
    let reply = session.client.call(Call::new(Method::GET, &["keys", key])).await?;
    if session.output == Output::Json {
        return indent(&reply.text).map(Answer::yes);
    }
    let body = &reply.body;
    let calls = body.get("calls_24h").unwrap_or(&Value::Null);
    let mut lines = vec![
        ("key", text(body, "id")),
        ("algorithm", text(body, "algorithm")),
        ("state", text(body, "state")),
        (
            "in hardware token",
            if body.get("in_token") == Some(&Value::Bool(true)) { "yes".into() } else { String::new() },
        ),
        ("CKA_ID there", text(body, "token_object")),
        ("created", text(body, "created_at")),
        ("published since", text(body, "published_at")),
        ("signs since", text(body, "activated_at")),
        ("retired", text(body, "retired_at")),
        ("revoked", text(body, "revoked_at")),
        ("tokens revoked", text(body, "tokens_revoked")),
        ("living tokens", text(body, "live_tokens")),
        ("last expiry", text(body, "last_expiry")),
        ("calls in 24 h", format!("{} allowed, {} refused", text(calls, "allowed"), text(calls, "refused"))),
        ("next step", next_step(body)),
    ];
    lines.retain(|(_, value)| !value.is_empty());
    let none = Vec::new();
    let accounts = body.get("accounts").and_then(Value::as_array).unwrap_or(&none);
    let mut shown = details(&lines);
    if !accounts.is_empty() {
        let rows = accounts.iter().map(|account| {
            vec![text(account, "username"), text(account, "status"), or_dash(text(account, "last_refused_at"))]
        });
        shown = format!("{shown}\n\n{}", table(&["ACCOUNT", "STATUS", "LAST REFUSED"], rows.collect()));
        if body.get("complete") != Some(&Value::Bool(true)) {
            shown.push_str("\n… and more");
        }
    }
    Ok(Answer::yes(shown))
}

async fn recount(session: &Session) -> Result<Answer, Failure> {
    let reply = session.client.call(Call::new(Method::POST, &["keys", "recount"])).await?;
    let corrected = text(&reply.body, "corrected");
    let answer = match session.output {
        Output::Json => Answer::yes(indent(&reply.text)?),
        Output::Table => {
            let none = Vec::new();
            let keys = reply.body.get("keys").and_then(Value::as_array).unwrap_or(&none);
            let rows = keys.iter().map(|key| vec![text(key, "id"), text(key, "before"), text(key, "after")]);
            let said =
                if corrected == "0" { "The counts were right." } else { "The counts were wrong; they are corrected." };
            Answer::yes(table(&["KEY", "COUNTED", "ARE"], rows.collect())).with_note(said)
        }
    };
    Ok(answer.with_exit(if corrected == "0" { Exit::Yes } else { Exit::No }))
}

fn prepared(reply: &Reply, session: &Session) -> Result<Answer, Failure> {
    let key = reply.body.get("key").unwrap_or(&Value::Null);
    let next = text(key.get("next_step").unwrap_or(&Value::Null), "possible_at");
    let done = format!("{} is published. It can be activated from {next} on.", text(key, "id"));
    changed(reply, session.output, &done)
}

async fn revoke(key: &str, dry_run: bool, yes: bool, session: &Session) -> Result<Answer, Failure> {
    let dry = step(session, key, "revoke", Some(json!({}))).await?;
    let radius = dry.body.get("blast_radius").unwrap_or(&Value::Null);
    if dry_run {
        return match session.output {
            Output::Json => indent(&dry.text).map(Answer::yes),
            Output::Table => Ok(Answer::yes(told(radius))),
        };
    }
    confirm::by_name(
        &format!("{}\nNothing that this key signed will be accepted.", told(radius)),
        key,
        session.interactive,
        yes,
    )?;
    let reply = step(session, key, "revoke", Some(json!({ "confirm": key }))).await?;
    changed(
        &reply,
        session.output,
        &format!("{key} is revoked. countermark key show {key} tells who has no new token yet."),
    )
}

/// What dies with a key.
fn told(radius: &Value) -> String {
    let calls = radius.get("calls_24h").unwrap_or(&Value::Null);
    let more = if radius.get("complete") == Some(&Value::Bool(true)) { "" } else { " and more" };
    let own = if radius.get("own_token") == Some(&Value::Bool(true)) { "yes" } else { "no" };
    details(&[
        ("living tokens", text(radius, "live_tokens")),
        ("last expiry", or_dash(text(radius, "last_expiry"))),
        ("accounts", format!("{}{more}", text(radius, "accounts"))),
        ("of teams", or_dash(text(radius, "teams"))),
        ("calls in 24 h", format!("{} allowed, {} refused", text(calls, "allowed"), text(calls, "refused"))),
        ("your own token", own.to_owned()),
    ])
}
