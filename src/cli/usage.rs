//! `account usage`: who uses an account's tokens, from where.

use clap::Args;
use serde_json::Value;

use super::accounts::{given, id_of};
use super::answer::{Answer, Failure};
use super::client::{Call, Session};
use super::json::indent;
use super::table::{or_dash, second, table, text};
use super::{Output, when};

/// `account usage`.
#[derive(Clone, Debug, Args)]
pub struct UsageArgs {
    /// Name or id (of a deleted account: its id)
    name: String,
    /// From the hour of this time on; else the last day
    #[arg(long, value_name = "TIME", value_parser = when::moment)]
    from: Option<String>,
    /// Up to this time or date
    #[arg(long, value_name = "TIME", value_parser = when::moment)]
    to: Option<String>,
    /// Show the calls of each hour, too
    #[arg(long)]
    by_hour: bool,
}

/// Does what the command says.
pub async fn run(args: UsageArgs, session: &Session) -> Result<Answer, Failure> {
    let id = id_of(&session.client, &args.name).await?;
    let query = given([("from", args.from), ("to", args.to)]);
    let path = ["accounts", &id, "usage"];
    let reply = session.client.call(Call::new(reqwest::Method::GET, &path).query(query)).await?;
    match session.output {
        Output::Json => indent(&reply.text).map(Answer::yes),
        Output::Table => Ok(told(&reply.body, args.by_hour)),
    }
}

fn told(usage: &Value, by_hour: bool) -> Answer {
    let rows = |name: &str| usage.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let hours = rows("calls_by_hour");
    let sum = |name: &str| hours.iter().filter_map(|hour| hour.get(name)?.as_u64()).sum::<u64>();
    let mut parts = vec![format!(
        "{} to {} (UTC): {} calls let through, {} refused.",
        second(&text(usage, "from")),
        second(&text(usage, "to")),
        sum("allowed"),
        sum("refused"),
    )];
    let mut part = |headings: &[&str], rows: Vec<Vec<String>>| {
        if !rows.is_empty() {
            parts.push(table(headings, rows));
        }
    };
    let dead = rows("dead_tokens").iter().map(|token| {
        vec![
            text(token, "token_id"),
            or_dash(text(token, "generation")),
            text(token, "reason"),
            text(token, "count"),
            second(&text(token, "last_seen_at")),
            or_dash(text(token, "client_address")),
            or_dash(text(token, "user_agent")),
        ]
    });
    part(&["DEAD TOKEN", "GENERATION", "REASON", "CALLS", "LAST (UTC)", "FROM", "AGENT"], dead.collect());
    let refusals = rows("refusals").iter();
    let refusals = refusals.map(|row| vec![text(row, "value"), count(row), second(&text(row, "last_seen_at"))]);
    part(&["REFUSED", "CALLS", "LAST (UTC)"], refusals.collect());
    for (name, heading) in [("addresses", "FROM"), ("user_agents", "AGENT"), ("paths", "PATH")] {
        let seen = rows(name).iter().map(|row| {
            vec![count(row), text(row, "refused"), second(&text(row, "last_seen_at")), or_dash(text(row, "value"))]
        });
        part(&["CALLS", "REFUSED", "LAST (UTC)", heading], seen.collect());
    }
    if by_hour {
        let hours =
            hours.iter().map(|hour| vec![second(&text(hour, "hour")), text(hour, "allowed"), text(hour, "refused")]);
        part(&["HOUR (UTC)", "ALLOWED", "REFUSED"], hours.collect());
    }
    let answer = Answer::yes(parts.join("\n\n"));
    match usage.get("complete") {
        Some(Value::Bool(false)) => {
            answer.with_note("Calls of the beginning of that time are not counted any more, or not yet.")
        }
        _ => answer,
    }
}

/// How often, or how often at least.
fn count(row: &Value) -> String {
    let number = |name: &str| row.get(name).and_then(Value::as_u64).unwrap_or_default();
    match (number("too_high_by"), number("too_low_by")) {
        (0, 0) => text(row, "count"),
        (too_high, _) => format!("≥{}", number("count").saturating_sub(too_high)),
    }
}
