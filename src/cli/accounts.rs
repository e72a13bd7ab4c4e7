//! `account …`: the accounts, and what can be said about them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::answer::{Answer, Failure};
use super::client::{Call, Client, Reply, Session};
use super::json::indent;
use super::pages::{self, Wanted};
use super::table::{clean, day, details, or_dash, table, text};
use super::{Output, activity, confirm, issued, receipt, usage, when};

/// `account …`.
#[derive(Clone, Debug, Subcommand)]
pub enum AccountCommand {
    /// Create an account and its first token, which is shown this once
    Create(CreateArgs),
    /// List accounts
    List(ListArgs),
    /// Show all about one account
    Show {
        /// Name or id
        name: String,
    },
    /// Change an account
    Update(UpdateArgs),
    /// Let an account in again
    Enable {
        /// Name or id
        name: String,
    },
    /// Shut an account out; its token stays and works again when it is enabled
    Disable {
        /// Name or id
        name: String,
    },
    /// Delete an account for good
    Delete {
        /// Name or id
        name: String,
        /// Don't ask
        #[arg(long)]
        yes: bool,
    },
    /// What an account did, and what it was refused
    Activity(activity::ActivityArgs),
    /// Who uses an account's tokens, from where, and which dead ones
    Usage(usage::UsageArgs),
}

/// `account create`.
#[derive(Clone, Debug, Args)]
pub struct CreateArgs {
    /// Name of the account
    name: String,
    /// Its role where no team's role counts
    #[arg(long, value_name = "ROLE")]
    role: String,
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// A team and the role in it; repeatable
    #[arg(long = "team", value_name = "TEAM=ROLE", value_parser = team_and_role)]
    teams: Vec<(String, String)>,
    /// For how many months the token is good
    #[arg(long, value_name = "N")]
    months: u32,
    /// An API that the token is good for; repeatable
    #[arg(long = "audience", value_name = "NAME")]
    audiences: Vec<String>,
    /// A network that the token may be used from; repeatable
    #[arg(long = "network", value_name = "CIDR")]
    networks: Vec<String>,
    /// Write the token to this new file (mode 0600) instead of printing it
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// `account list`.
#[derive(Clone, Debug, Args)]
pub struct ListArgs {
    /// Only those whose name or description holds this
    #[arg(long, value_name = "TEXT")]
    query: Option<String>,
    /// Only those with this role
    #[arg(long, value_name = "ROLE")]
    role: Option<String>,
    /// Only members of this team
    #[arg(long, value_name = "TEAM")]
    team: Option<String>,
    /// Only those with this status
    #[arg(long, value_parser = ["active", "disabled"])]
    status: Option<String>,
    /// Only those whose token expires before this time or date
    #[arg(long, value_name = "TIME", value_parser = when::moment)]
    expires_before: Option<String>,
    /// How many, 1 to 500 (with --all: how many at a time)
    #[arg(long, value_name = "N")]
    limit: Option<u16>,
    /// All of them
    #[arg(long)]
    all: bool,
}

/// `account update`.
#[derive(Clone, Debug, Args)]
pub struct UpdateArgs {
    /// Name or id
    name: String,
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Its role where no team's role counts
    #[arg(long, value_name = "ROLE")]
    role: Option<String>,
    /// A team and the role in it; repeatable; replaces all that were there
    #[arg(long = "team", value_name = "TEAM=ROLE", value_parser = team_and_role)]
    teams: Vec<(String, String)>,
    /// Take it out of all teams
    #[arg(long, conflicts_with = "teams")]
    no_teams: bool,
    /// An API that tokens are good for; repeatable; replaces all that were there
    #[arg(long = "audience", value_name = "NAME")]
    audiences: Vec<String>,
    /// Back to the default audience
    #[arg(long, conflicts_with = "audiences")]
    no_audiences: bool,
    /// A network that tokens may be used from; repeatable; replaces all that were there
    #[arg(long = "network", value_name = "CIDR")]
    networks: Vec<String>,
    /// From anywhere
    #[arg(long, conflicts_with = "networks")]
    no_networks: bool,
    /// Only if the account is still at this version
    #[arg(long, value_name = "VERSION")]
    if_match: Option<String>,
}

/// Does what the command says.
pub async fn run(command: AccountCommand, session: &Session) -> Result<Answer, Failure> {
    match command {
        AccountCommand::Create(args) => create(args, session).await,
        AccountCommand::List(args) => list(args, session).await,
        AccountCommand::Show { name } => show(&name, session).await,
        AccountCommand::Update(args) => update(args, session).await,
        AccountCommand::Enable { name } => set_status(&name, "active", session).await,
        AccountCommand::Disable { name } => set_status(&name, "disabled", session).await,
        AccountCommand::Delete { name, yes } => delete(&name, yes, session).await,
        AccountCommand::Activity(args) => activity::run(args, session).await,
        AccountCommand::Usage(args) => usage::run(args, session).await,
    }
}

/// The id of an account. Only reading takes a name in place of the id, so a name is looked up.
pub async fn id_of(client: &Client, name: &str) -> Result<String, Failure> {
    if is_id(name) {
        return Ok(name.to_owned());
    }
    id_in(&client.get(&["accounts", name]).await?.body)
}

fn id_in(account: &Value) -> Result<String, Failure> {
    let id = account.get("id").and_then(Value::as_str).map(str::to_owned);
    id.ok_or_else(|| Failure::new("the server's answer is not an account").next("check --server"))
}

/// No account is named like an id.
pub fn is_id(name: &str) -> bool {
    name.len() == 36 && Uuid::try_parse(name).is_ok()
}

async fn create(args: CreateArgs, session: &Session) -> Result<Answer, Failure> {
    let mut body = Map::new();
    body.insert("username".to_owned(), json!(args.name));
    body.insert("description".to_owned(), json!(args.description.unwrap_or_default()));
    body.insert("role".to_owned(), json!(args.role));
    body.insert("valid_for_months".to_owned(), json!(args.months));
    if !args.teams.is_empty() {
        body.insert("teams".to_owned(), teams(args.teams)?);
    }
    if !args.audiences.is_empty() {
        body.insert("audiences".to_owned(), json!(args.audiences));
    }
    if !args.networks.is_empty() {
        body.insert("allowed_networks".to_owned(), json!(args.networks));
    }
    let reserved = issued::reserve(args.out.as_deref())?;
    let reply = session.client.call(Call::new(Method::POST, &["accounts"]).body(body.into())).await?;
    issued::answer(reply, reserved, session.output, "Created")
}

async fn list(args: ListArgs, session: &Session) -> Result<Answer, Failure> {
    let query = [
        ("query", args.query),
        ("role", args.role),
        ("team", args.team),
        ("status", args.status),
        ("expires_before", args.expires_before),
    ];
    let wanted = Wanted::from_options(args.limit, args.all);
    pages::read(&session.client, &["accounts"], &given(query), wanted).await?.answer(session, |items| {
        let rows = items.iter().map(|account| {
            let token = account.get("token").unwrap_or(&Value::Null);
            vec![
                text(account, "username"),
                text(account, "role"),
                text(account, "status"),
                or_dash(day(&text(token, "expires_at"))),
                or_dash(day(&text(token, "last_used_at"))),
                or_dash(team_names(account)),
            ]
        });
        table(&["NAME", "ROLE", "STATUS", "EXPIRES", "LAST USED", "TEAMS"], rows.collect())
    })
}

/// Without the roles in them, which `show` has: a row is short.
fn team_names(account: &Value) -> String {
    let teams = account.get("teams").and_then(Value::as_object);
    teams.map(|teams| teams.keys().map(|team| clean(team)).collect::<Vec<_>>().join(", ")).unwrap_or_default()
}

/// The query parameters that were given.
pub fn given<const N: usize>(query: [(&'static str, Option<String>); N]) -> Vec<(&'static str, String)> {
    query.into_iter().filter_map(|(name, value)| value.map(|value| (name, value))).collect()
}

async fn show(name: &str, session: &Session) -> Result<Answer, Failure> {
    let reply = session.client.get(&["accounts", name]).await?;
    match session.output {
        Output::Json => indent(&reply.text).map(Answer::yes),
        Output::Table => Ok(Answer::yes(all_about(&reply.body, session.now))),
    }
}

fn all_about(account: &Value, now: chrono::DateTime<chrono::Utc>) -> String {
    let value = |name: &str| or_dash(text(account, name));
    let mut lines = vec![
        ("name", value("username")),
        ("id", value("id")),
        ("kind", value("kind")),
        ("description", value("description")),
        ("status", value("status")),
        ("role", value("role")),
        ("teams", value("teams")),
        ("audiences", text_or(account, "audiences", "the default")),
        ("networks", text_or(account, "allowed_networks", "any")),
        ("generation", value("generation")),
    ];
    match account.get("token").filter(|token| token.is_object()) {
        Some(token) => {
            let expires = text(token, "expires_at");
            let words = chrono::DateTime::parse_from_rfc3339(&expires)
                .map(|time| format!(" ({})", when::relative(time.to_utc(), now)))
                .unwrap_or_default();
            lines.extend([
                ("token id", text(token, "id")),
                ("signed by", text(token, "key_id")),
                ("issued", text(token, "issued_at")),
                ("expires", format!("{expires}{words}")),
                ("last used", or_dash(text(token, "last_used_at"))),
            ]);
        }
        None => lines.push(("token", "none".to_owned())),
    }
    if let Some(dead) = account.get("dead_tokens").filter(|dead| dead.is_object()) {
        let (tokens, calls, last) = (text(dead, "tokens"), text(dead, "calls"), text(dead, "last_used_at"));
        lines.push(("dead tokens", format!("{tokens} still used, in {calls} calls, last {last}: see `account usage`")));
    }
    lines.extend([("created", value("created_at")), ("updated", value("updated_at")), ("version", value("version"))]);
    details(&lines)
}

fn text_or(account: &Value, list: &str, when_empty: &str) -> String {
    let text = text(account, list);
    if text.is_empty() { when_empty.to_owned() } else { text }
}

async fn update(args: UpdateArgs, session: &Session) -> Result<Answer, Failure> {
    let changes = changes(&args)?;
    let Reply { body: account, etag, .. } = session.client.get(&["accounts", &args.name]).await?;
    if let Some(expected) = &args.if_match {
        let version = text(&account, "version");
        if *expected != version && Some(expected) != etag.as_ref() {
            return Err(Failure::new(format!("the account is at version {version}, not at {expected}"))
                .next("somebody changed it: look at it with `account show`, then repeat the command"));
        }
    }
    let id = id_in(&account)?;
    let name = text(&account, "username");
    if changes.iter().all(|(member, value)| account.get(member) == Some(value)) {
        return match session.output {
            Output::Json => indent(&json!({"account": account, "receipt": null}).to_string()).map(Answer::yes),
            Output::Table => Ok(Answer::yes(format!("{name} is like that already; nothing was changed."))),
        };
    }
    let call = Call::new(Method::PATCH, &["accounts", &id]).body(changes.into()).if_match(etag);
    changed(&session.client.call(call).await?, session.output, &format!("Updated {name}."))
}

fn changes(args: &UpdateArgs) -> Result<Map<String, Value>, Failure> {
    let list = |given: &[String], none: bool| (none || !given.is_empty()).then(|| json!(given));
    let changes = [
        ("description", args.description.as_ref().map(|text| json!(text))),
        ("role", args.role.as_ref().map(|role| json!(role))),
        ("teams", (args.no_teams || !args.teams.is_empty()).then(|| teams(args.teams.clone())).transpose()?),
        ("audiences", list(&args.audiences, args.no_audiences)),
        ("allowed_networks", list(&args.networks, args.no_networks)),
    ];
    let changes: Map<String, Value> =
        changes.into_iter().filter_map(|(name, value)| value.map(|value| (name.to_owned(), value))).collect();
    if changes.is_empty() {
        return Err(Failure::new("nothing was said to be changed")
            .next("add --description, --role, --team, --audience or --network, or one of the --no-… options"));
    }
    Ok(changes)
}

/// No `If-Match` and no look before the leap: shutting an account out must not lose a race against a new description.
async fn set_status(name: &str, status: &str, session: &Session) -> Result<Answer, Failure> {
    let id = id_of(&session.client, name).await?;
    let call = Call::new(Method::PATCH, &["accounts", &id]).body(json!({"status": status}));
    let reply = session.client.call(call).await?;
    let done = if status == "active" { "is enabled" } else { "is disabled" };
    changed(&reply, session.output, &format!("{name} {done}."))
}

async fn delete(name: &str, yes: bool, session: &Session) -> Result<Answer, Failure> {
    let account =
        if yes && is_id(name) { json!({"id": name}) } else { session.client.get(&["accounts", name]).await?.body };
    let (id, username) = (id_in(&account)?, text(&account, "username"));
    let what = format!("Deletes {username} ({id}) and its token for good; the name can't be used again soon.");
    confirm::by_name(&what, &username, session.interactive, yes)?;
    let reply = session.client.call(Call::new(Method::DELETE, &["accounts", &id])).await?;
    changed(&reply, session.output, &format!("Deleted {name} ({id})."))
}

/// The answer to a change: a sentence and its receipt.
pub fn changed(reply: &Reply, output: Output, done: &str) -> Result<Answer, Failure> {
    match output {
        Output::Json => indent(&reply.text).map(Answer::yes),
        Output::Table => Ok(Answer::yes(format!("{done}{}", receipt::after(&reply.body)))),
    }
}

pub(super) fn team_and_role(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((team, role)) if !team.is_empty() && !role.is_empty() => Ok((team.to_owned(), role.to_owned())),
        _ => Err("write TEAM=ROLE".to_owned()),
    }
}

pub(super) fn teams(teams: Vec<(String, String)>) -> Result<Value, Failure> {
    let mut map = BTreeMap::new();
    for (team, role) in teams {
        if map.insert(team.clone(), role).is_some() {
            return Err(
                Failure::new(format!("the team {team} was named twice")).next("an account has one role in a team")
            );
        }
    }
    Ok(json!(map))
}
