//! Everything at a glance, as far as whoever looks may see it.

use std::collections::BTreeMap;
use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::response::Response;
use axum::routing::get;
use chrono::{Datelike as _, NaiveDate, TimeDelta};

use super::events::title_of;
use super::menu::Section;
use super::parts::{Badge, Bar, Bars, Empty, Now, Tone, Untrusted, counted, grouped};
use super::shell::page;
use super::visit::{Visit, Visitor};
use crate::audit::kinds;
use crate::authority::{
    AccountStates, AccountsOverview, CallsAt, CallsOverview, DeadTokenUser, GivenReceipt, NextRotation, Overview,
    RotationStep,
};
use crate::http::extract::Ready;
use crate::http::{Edge, OwnToken, Problem};
use crate::store::Node;

pub fn routes() -> Router<Arc<Edge>> {
    Router::new().route("/console", get(overview))
}

/// Receipts and accounts with dead tokens that are shown.
const ROWS: usize = 8;
/// Nodes that are shown.
const NODES: usize = 12;
/// Weeks of the calendar: it begins on a Monday, and holds 60 days.
const WEEKS: usize = 10;

#[derive(Template)]
#[template(path = "console/overview.html")]
struct Body<'a> {
    visit: &'a Visit,
    now: Now,
    overview: &'a Overview,
}

async fn overview(visitor: Visitor<OwnToken>, Ready(authority): Ready) -> Result<Response, Problem> {
    let visit = visitor.visit();
    let overview = authority.overview(&visitor).await?;
    page(visit, Section::Overview, Section::Overview.title(), &Body { visit, now: visit.clock(), overview: &overview })
}

/// A day of the calendar.
struct Day {
    date: NaiveDate,
    /// Tokens that expire on it. `None`: it is not among the days that are told of.
    tokens: Option<u64>,
}

impl Day {
    fn number(&self) -> u32 {
        self.date.day()
    }

    fn said(&self) -> String {
        self.date.format("%-d %B %Y").to_string()
    }

    /// The name of the month, where it begins.
    fn month(&self) -> Option<String> {
        (self.date.day() == 1).then(|| self.date.format("%b").to_string())
    }

    fn class(&self) -> &'static str {
        match self.tokens {
            None => "other",
            Some(0) => "none",
            Some(_) => "some",
        }
    }
}

impl<'a> Body<'a> {
    fn is_empty(&self) -> bool {
        let Overview { accounts, calls, signing, nodes, .. } = self.overview;
        accounts.is_none() && calls.is_none() && signing.is_none() && nodes.is_none()
    }

    fn nothing(&self) -> Empty {
        Empty::new(
            "There is nothing here that you may see",
            "Your role grants none of the permissions to read. An admin can give you another.",
        )
        .action("My account", Section::Me.href())
    }

    fn minutes(&self, calls: &CallsOverview) -> Bars {
        Bars::new("minutes", "Calls a minute in the last hour (UTC)", bars(&calls.minutes))
    }

    fn hours(&self, calls: &CallsOverview) -> Bars {
        Bars::new("hours", "Calls an hour in the last day (UTC)", bars(&calls.hours))
    }

    /// Calls that were let through, and failed for a fault of the service.
    fn failed(&self, calls: &CallsOverview) -> Option<String> {
        let failed = calls.hours.iter().map(|at| at.calls.failed).fold(0, u64::saturating_add);
        (failed > 0).then(|| {
            counted(failed, "call failed for a fault of the service", "calls failed for a fault of the service")
        })
    }

    /// What it is, how many, and the list of them where there is one.
    fn states(&self, states: &AccountStates) -> [(&'static str, String, &'static str); 5] {
        [
            ("in all", grouped(states.total), "/console/service-accounts"),
            ("with a good token", grouped(states.active), ""),
            ("with an expired token", grouped(states.expired), "/console/service-accounts?status=active&expires=0"),
            ("without a token", grouped(states.without_token), ""),
            ("disabled", grouped(states.disabled), "/console/service-accounts?status=disabled"),
        ]
    }

    fn users(&self, states: &AccountStates) -> String {
        let disabled = if states.disabled > 0 {
            format!(", {} of them disabled", grouped(states.disabled))
        } else {
            String::new()
        };
        format!("{}{disabled}", counted(states.total, "user", "users"))
    }

    /// What leads to lists of tokens that expire soon: in so many days, so many.
    fn expiring(&self, accounts: &AccountsOverview) -> [(u32, String); 3] {
        [
            (7, grouped(accounts.expiring_within_7_days)),
            (30, grouped(accounts.expiring_within_30_days)),
            (60, grouped(accounts.expiring_within_60_days)),
        ]
    }

    /// The calendar, week by week.
    fn weeks(&self, expiring: &BTreeMap<NaiveDate, u64>) -> Vec<Vec<Day>> {
        let today = self.now.0.date_naive();
        let last = today + TimeDelta::days(60);
        let monday = today - TimeDelta::days(today.weekday().num_days_from_monday().into());
        let day = |offset: usize| {
            let date = monday + TimeDelta::days(i64::try_from(offset).unwrap_or(0));
            let told = (today..=last).contains(&date);
            Day { date, tokens: told.then(|| expiring.get(&date).copied().unwrap_or(0)) }
        };
        let week = |week: usize| (0..7).map(|weekday| day(week * 7 + weekday)).collect::<Vec<_>>();
        (0..WEEKS).map(week).filter(|week| week.iter().any(|day| day.tokens.is_some())).collect()
    }

    fn dead(&self, dead: &'a [DeadTokenUser]) -> impl Iterator<Item = &'a DeadTokenUser> {
        dead.iter().take(ROWS)
    }

    /// How many there are besides.
    fn more_dead(&self, all: impl std::borrow::Borrow<u64>) -> Option<String> {
        let more = all.borrow().saturating_sub(u64::try_from(ROWS).unwrap_or(u64::MAX));
        (more > 0).then(|| grouped(more))
    }

    fn receipts(&self, receipts: &'a [GivenReceipt]) -> impl Iterator<Item = &'a GivenReceipt> {
        receipts.iter().take(ROWS)
    }

    fn what(&self, receipt: &'a GivenReceipt) -> &'a str {
        title_of(&receipt.kind)
    }

    fn whom(&self, receipt: &'a GivenReceipt) -> Untrusted<'a> {
        Untrusted::new(receipt.name.as_deref().unwrap_or_default()).at_most(64)
    }

    fn page_of(&self, receipt: &GivenReceipt) -> Option<String> {
        if let Some(account) = receipt.account_id {
            return self.visit.may("accounts:read").then(|| format!("/console/accounts/{account}"));
        }
        let (of_what, _) = receipt.kind.split_once('.').filter(|(_, done)| *done != "delete")?;
        let section = match of_what {
            "key" => Section::Keys,
            "role" => Section::Roles,
            "team" => Section::Teams,
            _ => return None,
        };
        let name = receipt.name.as_deref().filter(|_| section.is_shown_to(self.visit))?;
        Some(format!("{}/{name}", section.href()))
    }

    fn by(&self, receipt: &'a GivenReceipt) -> Untrusted<'a> {
        let nobody = if receipt.kind == kinds::PASSWORD_SET { "the link's holder" } else { "Countermark" };
        Untrusted::new(receipt.actor.as_deref().unwrap_or(nobody)).at_most(64)
    }

    fn waited(&self, receipt: &GivenReceipt) -> String {
        let nodes = receipt.receipt.nodes_acknowledged + receipt.receipt.nodes_expired;
        let waited = format!("{} ms", grouped(receipt.receipt.waited_ms));
        if nodes == 0 { waited } else { format!("{waited}, {}", counted(nodes, "node", "nodes")) }
    }

    /// What comes next for the signing key.
    fn next(&self, next: &NextRotation) -> String {
        let what = match next.step {
            RotationStep::Prepare => "the next key is made and published",
            RotationStep::Activate => "the next key signs",
        };
        match (next.is_automatic, self.now.is_past(next.at)) {
            (true, _) => format!("{what} {}", self.now.relative(next.at)),
            (false, true) => format!("{what} as soon as somebody does it"),
            (false, false) => format!("{what} when somebody does it, which is possible {}", self.now.relative(next.at)),
        }
    }

    fn nodes(&self, nodes: &'a [Node]) -> impl Iterator<Item = &'a Node> {
        nodes.iter().take(NODES)
    }

    fn lease(&self, node: &Node) -> Badge {
        match (node.lease_ms, node.has_lease()) {
            (0, _) => Badge::new(Tone::Plain, "Looks everything up"),
            (lease, true) => Badge::new(Tone::Good, format!("Lease of {} ms", grouped(lease))),
            (_, false) => Badge::new(Tone::Warn, "Lease is over"),
        }
    }

    fn node_name<'t>(&self, node: &'t Node) -> Untrusted<'t> {
        Untrusted::new(&node.name).at_most(64)
    }

    /// How the audit stands, worst first: each in a badge and a sentence.
    fn audit(&self) -> Vec<(Badge, String)> {
        let Some(audit) = &self.overview.audit else { return Vec::new() };
        let mut told = Vec::new();
        let mut tell = |is_good: bool, bad: Tone, word: &str, text: String| {
            let badge = if is_good { Badge::new(Tone::Good, "Good") } else { Badge::new(bad, word) };
            told.push((badge, text));
        };
        match &audit.checkpoint {
            None => tell(false, Tone::Plain, "None yet", "No checkpoint was signed yet.".into()),
            Some(last) => {
                let number = last.number.map_or_else(
                    || "The last checkpoint".to_owned(),
                    |number| format!("Checkpoint {}", grouped(number)),
                );
                let when = self.now.relative(last.time);
                match &last.problem {
                    Some(problem) => tell(false, Tone::Bad, "Broken", format!("{number}, signed {when}: {problem}")),
                    None => tell(
                        last.verified && last.age_seconds < 600,
                        Tone::Warn,
                        "Old",
                        format!("{number} was signed {when}, and its signature was checked."),
                    ),
                }
            }
        }
        if audit.lost_blocks > 0 {
            tell(
                false,
                Tone::Bad,
                "Lost",
                format!("{} that were signed are not there any more.", counted(audit.lost_blocks, "block", "blocks")),
            );
        }
        let lag = audit.activity_lag_seconds;
        tell(
            lag < 60,
            Tone::Warn,
            "Behind",
            format!("Activity logs are {} behind.", counted(lag, "second", "seconds")),
        );
        if let Some(lag) = audit.archive_lag_seconds {
            tell(
                lag < 3_600,
                Tone::Warn,
                "Behind",
                format!("The archive is {} behind.", counted(lag, "second", "seconds")),
            );
        }
        for sink in &audit.sinks {
            let name = sink.name.as_str();
            let text = match sink.is_delivered {
                true => format!("The sink {name} is {} behind.", counted(sink.lag_seconds, "second", "seconds")),
                false => format!("Nothing is delivered to the sink {name} now."),
            };
            tell(sink.is_delivered && sink.lag_seconds < 300, Tone::Warn, "Behind", text);
        }
        told
    }
}

fn bars(calls: &[CallsAt]) -> Vec<Bar> {
    let bar = |at: &CallsAt| Bar {
        label: at.from.format("%H:%M").to_string(),
        good: at.calls.allowed.saturating_add(at.calls.failed),
        bad: at.calls.refused,
    };
    calls.iter().map(bar).collect()
}
