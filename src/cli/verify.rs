//! `token verify`: ask the server about a token, as an API behind it would.

use std::path::PathBuf;

use clap::Args;
use reqwest::StatusCode;
use serde_json::json;

use super::Output;
use super::accounts::given;
use super::answer::{Answer, Exit, Failure};
use super::client::{Client, RawReply};
use super::connect::{self, ConnectionArgs, Surroundings};
use super::json::indent;
use super::problem::Problem;
use super::secret::BearerToken;
use super::table::{clean, details, or_dash};
use super::when;

/// `token verify`.
#[derive(Clone, Debug, Args)]
pub struct VerifyArgs {
    /// File that holds the token (default: standard input)
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Also demand this permission
    #[arg(long, value_name = "PERMISSION")]
    pub permission: Option<String>,
    /// …in this team
    #[arg(long, value_name = "TEAM")]
    pub team: Option<String>,
    /// Demand that the token is good for this API (default: the server's default audience)
    #[arg(long, value_name = "NAME")]
    pub audience: Option<String>,
}

/// What a good token's answer says, and under which header.
const FACTS: [(&str, &str, &str); 7] = [
    ("username", "name", "X-Countermark-Username"),
    ("account", "account", "X-Countermark-Account"),
    ("role", "role", "X-Countermark-Role"),
    ("teams", "teams", "X-Countermark-Teams"),
    ("generation", "generation", "X-Countermark-Generation"),
    ("token_id", "token id", "X-Countermark-Token-Id"),
    ("expires", "expires", "X-Countermark-Expires"),
];

/// Asks and tells.
pub async fn run(
    args: VerifyArgs,
    token: &BearerToken,
    connection: &ConnectionArgs,
    output: Output,
) -> Result<Answer, Failure> {
    let target = connect::target(connection, &Surroundings::of_process())?;
    let client = Client::new(&target, None)?;
    ask(args, token, &client, output).await
}

/// Asks a client's server.
pub async fn ask(args: VerifyArgs, token: &BearerToken, client: &Client, output: Output) -> Result<Answer, Failure> {
    let query = given([("permission", args.permission), ("team", args.team), ("audience", args.audience)]);
    let raw = client.verify(token, query).await?;
    match raw.status {
        StatusCode::OK => good(&raw, output),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => refused(&Problem::read(&raw), output),
        // Anything else says nothing about the token.
        _ => Err(Problem::read(&raw).into_failure(client.server(), None)),
    }
}

fn good(raw: &RawReply, output: Output) -> Result<Answer, Failure> {
    let fact =
        |header: &str| raw.headers.get(header).and_then(|value| value.to_str().ok()).map(clean).unwrap_or_default();
    if fact("X-Countermark-Account").is_empty() {
        // A web server that says 200 to everything must not be taken for a yes.
        return Err(
            Failure::new("the answer names no account").next("is that really a Countermark server? check --server")
        );
    }
    if output == Output::Json {
        let facts = FACTS.iter().map(|(member, _, header)| ((*member).to_owned(), json!(fact(header))));
        let mut body: serde_json::Map<_, _> = facts.collect();
        body.insert("valid".to_owned(), json!(true));
        return indent(&json!(body).to_string()).map(Answer::yes);
    }
    let lines: Vec<(&str, String)> = FACTS
        .iter()
        .map(|(member, label, header)| {
            let value = fact(header);
            let time = value.parse().ok().and_then(when::from_unix).filter(|_| *member == "expires");
            (*label, time.map_or_else(|| or_dash(value), when::rfc3339))
        })
        .collect();
    Ok(Answer::yes(format!("yes\n{}", details(&lines))))
}

fn refused(problem: &Problem, output: Output) -> Result<Answer, Failure> {
    let reason = match problem.reason.as_deref() {
        // These are about the question, not about the token.
        Some("invalid_request" | "invalid_field" | "missing_token") => {
            return Err(Failure::new(format!("the question was refused: {}", problem.detail))
                .next("check --permission, --team and --audience"));
        }
        None => {
            return Err(
                Failure::new("the server refused without a reason").next("is that really a Countermark server?")
            );
        }
        Some(reason) => reason,
    };
    let text = match output {
        Output::Json => {
            let status = problem.status.as_u16();
            indent(
                &json!({"valid": false, "reason": problem.reason, "detail": problem.detail, "status": status})
                    .to_string(),
            )?
        }
        Output::Table => format!("no: {reason}\n{}", problem.detail),
    };
    Ok(Answer::yes(text).with_exit(Exit::No))
}
