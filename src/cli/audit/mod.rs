//! `audit …`: who did what, and what was refused; and whether that is all.

mod archive;
mod compression;
mod export;
mod files;
mod part;
mod status;
mod verify;

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::Value;

use super::Output;
use super::accounts::{given, id_of};
use super::answer::{Answer, Failure, print};
use super::client::{Call, Session};
use super::connect::ConnectionArgs;
use super::pages::{self, Wanted};
use super::table::{clean, or_dash, second, table, text};
use super::when::rfc3339;

/// How an event can have ended.
pub const OUTCOMES: [&str; 4] = ["allowed", "refused", "done", "failed"];

/// How long it is until a server that has gone is asked again, and for how long that is done.
const AGAIN: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(60);
/// Nodes write their events independently, so that an older one may still arrive after a newer one.
const LATE: TimeDelta = TimeDelta::seconds(10);

/// `audit …`.
#[derive(Clone, Debug, Subcommand)]
pub enum AuditCommand {
    /// Print the latest events in the order of time (all their members: --output json)
    Tail(TailArgs),
    /// Write the audit to a file, with what proves that it is whole
    Export(Box<export::ExportArgs>),
    /// How it stands: what is signed, what is missing, how far activity logs, archive and sinks have come: exit code 1 if anything is missing
    Status,
    /// Check that nothing of the audit was changed, moved or removed: exit code 0 yes, 1 no
    Verify(verify::VerifyArgs),
}

/// Which events are wanted, wherever events are listed.
#[derive(Clone, Debug, Args)]
pub struct EventArgs {
    /// Only those that ended like this
    #[arg(long, value_parser = OUTCOMES)]
    outcome: Option<String>,
    /// Only those with this reason
    #[arg(long, value_name = "REASON")]
    reason: Option<String>,
    /// Only those of this node
    #[arg(long, value_name = "NODE")]
    node: Option<String>,
    /// Only requests of this method
    #[arg(long, value_name = "METHOD")]
    method: Option<String>,
    /// Only requests for paths that begin so
    #[arg(long, value_name = "PREFIX")]
    path: Option<String>,
    /// Only from this address or network
    #[arg(long, value_name = "ADDRESS|CIDR")]
    address: Option<String>,
}

impl EventArgs {
    /// As query parameters, with others.
    pub fn query<const N: usize>(self, others: [(&'static str, Option<String>); N]) -> Vec<(&'static str, String)> {
        let mut query = given(others);
        query.extend(given([
            ("outcome", self.outcome),
            ("reason", self.reason),
            ("node", self.node),
            ("method", self.method),
            ("path", self.path),
            ("address", self.address),
        ]));
        query
    }
}

/// `audit tail`.
#[derive(Clone, Debug, Args)]
pub struct TailArgs {
    /// Only those about this account (name or id)
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// Only those of this kind
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    #[command(flatten)]
    which: EventArgs,
    /// How many of the latest, 1 to 500
    #[arg(long, value_name = "N")]
    limit: Option<u16>,
    /// Go on with what happens from now on, until Ctrl-C
    #[arg(long, short)]
    follow: bool,
}

/// Does what the command says. To check a file needs no server, if the keys are there.
pub async fn run(command: AuditCommand, connection: &ConnectionArgs, output: Output) -> Result<Answer, Failure> {
    match command {
        AuditCommand::Tail(args) => tail(args, &Session::open(connection, output)?).await,
        AuditCommand::Export(args) => export::run(*args, &Session::open(connection, output)?).await,
        AuditCommand::Status => status::run(&Session::open(connection, output)?).await,
        AuditCommand::Verify(args) => verify::run(args, connection, output).await,
    }
}

/// The latest events, and those that follow.
pub async fn tail(args: TailArgs, session: &Session) -> Result<Answer, Failure> {
    let account = match args.account {
        // A deleted account has no name any more that could be looked up; the server may still know what is meant.
        Some(name) => Some(id_of(&session.client, &name).await.unwrap_or(name)),
        None => None,
    };
    let query = args.which.query([("account", account), ("kind", args.kind)]);
    let mut list = pages::read(&session.client, &["audit"], &query, Wanted::AtMost(args.limit)).await?;
    if !args.follow {
        if session.output == Output::Table {
            list.items.reverse();
            list.next_cursor = None;
        }
        return list.answer(session, as_table);
    }
    list.items.reverse();
    let mut seen = Seen::new(session.now);
    let telling = Telling { output: session.output, has_colours: has_colours() };
    seen.new_ones(list.items).iter().try_for_each(|event| telling.tell(event))?;
    tokio::select! {
        failure = follow(session, query, seen, telling) => Err(failure),
        // Ctrl-C is how one stops following; nothing failed.
        _ = tokio::signal::ctrl_c() => Ok(Answer::yes("")),
    }
}

/// What happens from now on, from whichever server answers; returns what ended it.
async fn follow(session: &Session, query: Vec<(&'static str, String)>, mut seen: Seen, telling: Telling) -> Failure {
    let mut stream = Stream::default();
    let mut heard = Instant::now();
    loop {
        let mut query = query.clone();
        if stream.id.is_none() {
            query.push(("from", rfc3339(seen.from())));
        }
        let call = Call::new(Method::GET, &["audit", "tail"]).query(query).last_event_id(stream.id.clone());
        let ended = session
            .client
            .lines(call, |line| {
                heard = Instant::now();
                match stream.take(line) {
                    Some(event) => seen.new_ones(vec![event]).iter().try_for_each(|event| telling.tell(event)),
                    None => Ok(()),
                }
            })
            .await;
        let why = stream.ended.take().filter(|reason| reason != "stopping");
        match (why, ended) {
            (Some(reason), _) => {
                return Failure::new(format!("the server tells no more: {reason}"))
                    .next("is the token still good? countermark token verify");
            }
            (None, Err(failure)) if !failure.is_passing() || heard.elapsed() > PATIENCE => return failure,
            // It has gone, and another one may answer.
            (None, _) => tokio::time::sleep(AGAIN).await,
        }
    }
}

/// Server-sent events (WHATWG HTML, section 9.2), as far as ours go.
#[derive(Default)]
struct Stream {
    /// Of the last one.
    id: Option<String>,
    name: String,
    data: String,
    /// Why the server has ended it.
    ended: Option<String>,
}

impl Stream {
    /// Takes a line; the event that it ends, if it ends one.
    fn take(&mut self, line: &str) -> Option<Value> {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => self.id = Some(value.to_owned()),
            "event" => value.clone_into(&mut self.name),
            "data" => self.data.push_str(value),
            "" if line.is_empty() => {
                let (name, data) = (std::mem::take(&mut self.name), std::mem::take(&mut self.data));
                let event: Value = serde_json::from_str(&data).ok()?;
                if name == "end" {
                    self.ended = Some(text(&event, "reason"));
                    return None;
                }
                return Some(event);
            }
            _ => {}
        }
        None
    }
}

/// The events already told. Those that are too old to be asked for again are forgotten.
struct Seen {
    newest: DateTime<Utc>,
    ids: HashMap<String, DateTime<Utc>>,
}

impl Seen {
    fn new(now: DateTime<Utc>) -> Self {
        Self { newest: now, ids: HashMap::new() }
    }

    /// From when on to ask.
    fn from(&self) -> DateTime<Utc> {
        self.newest - LATE
    }

    fn new_ones(&mut self, events: Vec<Value>) -> Vec<Value> {
        let mut fresh = events;
        fresh.retain(|event| {
            let time = DateTime::parse_from_rfc3339(&text(event, "time")).map_or(self.newest, |time| time.to_utc());
            self.newest = self.newest.max(time);
            self.ids.insert(text(event, "id"), time).is_none()
        });
        // A second more than is asked for: what is asked for is cut to whole seconds.
        let oldest = self.from() - TimeDelta::seconds(1);
        self.ids.retain(|_, time| *time >= oldest);
        fresh
    }
}

/// How events are told one by one.
#[derive(Clone, Copy)]
struct Telling {
    output: Output,
    has_colours: bool,
}

impl Telling {
    fn tell(self, event: &Value) -> Result<(), Failure> {
        match self.output {
            Output::Json => print(&event.to_string()),
            Output::Table => print(&line(event, self.has_colours)),
        }
    }
}

/// Where somebody looks on who has not asked for none (no-color.org).
fn has_colours() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// One line for one event, in columns as far as that goes without knowing the lines to come.
fn line(event: &Value, has_colours: bool) -> String {
    let outcome = text(event, "outcome");
    let colour = match outcome.as_str() {
        _ if !has_colours => "",
        "allowed" => "\u{1b}[32m",
        "done" => "\u{1b}[36m",
        "refused" => "\u{1b}[31m",
        _ => "\u{1b}[33m",
    };
    let end = if colour.is_empty() { "" } else { "\u{1b}[0m" };
    let line =
        format!("{}  {colour}{outcome:<7}{end}  {:<10}  {}", second(&text(event, "time")), whom(event), what(event));
    line.trim_end().to_owned()
}

fn as_table(events: &[Value]) -> String {
    let rows = events.iter().map(|event| {
        vec![
            second(&text(event, "time")),
            text(event, "outcome"),
            or_dash(whom(event)),
            what(event),
            or_dash(text(event, "client_address")),
        ]
    });
    table(&["TIME (UTC)", "OUTCOME", "ACCOUNT", "WHAT", "FROM"], rows.collect())
}

/// What happened: the request of a call, the kind of anything else (whose path says the same again); the reason, if any, or what was
/// made up for.
pub fn what(event: &Value) -> String {
    let (kind, reason, path) = (text(event, "kind"), text(event, "reason"), text(event, "path"));
    let what =
        if kind == "call" && !path.is_empty() { format!("{} {path}", or_dash(text(event, "method"))) } else { kind };
    let why = if reason.is_empty() { made_up_for(event) } else { reason };
    if why.is_empty() { what } else { format!("{what}: {why}") }
}

/// What was taken away again because a store or a backup lacked it: of an account, of a role, of the signing keys.
fn made_up_for(event: &Value) -> String {
    let details = &event["details"];
    let parts = details["made_up_for"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let parts = parts.map(clean).collect::<Vec<_>>().join(", ");
    if !parts.is_empty() || text(event, "kind") != "store.raise" {
        return parts;
    }
    let named = ["role", "key"].map(|what| (what, text(details, what)));
    let named: Vec<String> =
        named.into_iter().filter(|(_, name)| !name.is_empty()).map(|(what, name)| format!("{what} {name}")).collect();
    named.join(", ")
}

/// Whom it is about: the name, or the end of the id where no name was known.
fn whom(event: &Value) -> String {
    let name = text(event, "username");
    if name.is_empty() { short(&text(event, "account_id")) } else { name }
}

/// The end of an account's id, which is random; its beginning is a time and much alike in all of them.
fn short(id: &str) -> String {
    match id.char_indices().rev().nth(7) {
        Some((start, _)) if id.len() == 36 => format!("…{}", id.get(start..).unwrap_or(id)),
        _ => id.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(id: &str, time: &str) -> Value {
        json!({"id": id, "time": time, "kind": "call", "outcome": "refused", "reason": "expired", "method": "GET",
            "path": "/a\u{1b}[2J", "account_id": "0197f0a0-0000-7000-8000-0000deadbeef"})
    }

    #[test]
    fn what_was_made_up_for_is_told_with_it() {
        let told = |kind: &str, details: Value| what(&json!({"kind": kind, "details": details}));
        assert_eq!(
            told("store.raise", json!({"made_up_for": ["status", "to\u{1b}ken"]})),
            "store.raise: status, to\u{fffd}ken"
        );
        assert_eq!(told("store.raise", json!({"role": "deployer", "permissions": []})), "store.raise: role deployer");
        assert_eq!(told("store.raise", json!({"key": "k1", "version": 7})), "store.raise: key k1");
        assert_eq!(told("dataset.restore", json!({"backup": "b", "made_up_for": ["role"]})), "dataset.restore: role");
        assert_eq!(told("role.update", json!({"role": "deployer"})), "role.update");
    }

    #[test]
    fn an_event_is_told_once_though_it_is_asked_for_again() {
        let start = DateTime::parse_from_rfc3339("2027-05-23T14:00:00Z").unwrap().to_utc();
        let mut seen = Seen::new(start);
        let first = vec![event("a", "2027-05-23T14:00:01.5Z"), event("b", "2027-05-23T14:00:02Z")];
        assert_eq!(seen.new_ones(first.clone()).len(), 2);
        let late = [first, vec![event("c", "2027-05-23T13:59:58Z")]].concat();
        assert_eq!(seen.new_ones(late).len(), 1);
        assert_eq!(seen.from(), start + TimeDelta::seconds(2) - LATE);
        seen.new_ones(vec![event("d", "2027-05-23T15:00:00Z")]);
        assert_eq!(seen.ids.len(), 1);
    }

    #[test]
    fn a_stream_is_read_event_by_event() {
        let mut stream = Stream::default();
        let mut take = |lines: &[&str]| lines.iter().filter_map(|line| stream.take(line)).collect::<Vec<_>>();
        assert_eq!(take(&["id: a", "data: {\"x\":1}", "", ": comment", "", "id:b", ""]), [json!({"x": 1})]);
        assert_eq!(take(&["event: end", "data: {\"reason\":\"superseded\"}", ""]), Vec::<Value>::new());
        assert_eq!((stream.id.as_deref(), stream.ended.as_deref()), (Some("b"), Some("superseded")));
    }

    #[test]
    fn an_event_is_one_clean_line() {
        assert_eq!(
            line(&event("a", "2027-05-23T14:00:01.5Z"), false),
            "2027-05-23 14:00:01  refused  …deadbeef   GET /a\u{fffd}[2J: expired"
        );
        let mut act = event("a", "2027-05-23T14:00:01.5Z");
        act["kind"] = json!("token.regenerate");
        act["reason"] = json!(null);
        act["username"] = json!("ci");
        assert!(line(&act, true).contains("\u{1b}[31mrefused\u{1b}[0m"));
        assert_eq!(line(&act, false), "2027-05-23 14:00:01  refused  ci          token.regenerate");
    }
}
