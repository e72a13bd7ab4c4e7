//! Who uses an account's tokens: calls over time, from where, with what, for what.

use std::collections::BTreeMap;

use askama::Template;
use askama::filters::HtmlSafe;
use chrono::{DateTime, TimeDelta, Utc};

use super::super::parts::{Bar, Bars, Now, Untrusted, grouped, link};
use crate::account::AccountId;
use crate::authority::{Authority, Count, DeadToken, Usage};
use crate::http::Problem;

/// How far back is looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// A day, by the hour.
    Day,
    /// A week, by six hours.
    Week,
}

/// The window of this name; a day for everything else.
pub fn window(name: &str) -> Window {
    if name == "week" { Window::Week } else { Window::Day }
}

impl Window {
    fn hours(self) -> i64 {
        match self {
            Self::Day => 24,
            Self::Week => 7 * 24,
        }
    }

    /// Hours of one bar.
    fn step(self) -> i64 {
        match self {
            Self::Day => 1,
            Self::Week => 6,
        }
    }

    /// What it is called in a heading.
    pub fn title(self) -> &'static str {
        match self {
            Self::Day => "the last 24 hours",
            Self::Week => "the last 7 days",
        }
    }
}

/// The use of an account's tokens, as a page tells it.
pub struct Used {
    usage: Usage,
    now: DateTime<Utc>,
    window: Window,
}

impl Used {
    /// Of this account, up to now.
    pub async fn of(
        authority: &Authority,
        account: AccountId,
        now: DateTime<Utc>,
        window: Window,
    ) -> Result<Self, Problem> {
        // The hour that is under way is the last one.
        let from = now - TimeDelta::hours(window.hours() - 1);
        Ok(Self { usage: authority.usage(account, Some(from), Some(now)).await?, now, window })
    }

    /// Calls over time.
    pub fn chart(&self) -> Bars {
        let (step, first) = (self.window.step() * 3_600, hour_of(self.usage.from));
        let mut counted: BTreeMap<i64, (u64, u64)> = BTreeMap::new();
        for hour in &self.usage.calls_by_hour {
            let counts = counted.entry((hour.hour.timestamp() - first).div_euclid(step)).or_default();
            counts.0 = counts.0.saturating_add(hour.allowed);
            counts.1 = counts.1.saturating_add(hour.refused);
        }
        let bars = self.window.hours() / self.window.step();
        let bars = (0..bars).map(|place| {
            let (good, bad) = counted.get(&place).copied().unwrap_or_default();
            let begins = DateTime::from_timestamp(first + place * step, 0).unwrap_or(self.now);
            let form = if self.window == Window::Day { "%H:%M" } else { "%-d %b %H:%M" };
            Bar { label: begins.format(form).to_string(), good, bad }
        });
        Bars::new("calls", format!("Calls in {} (UTC)", self.window.title()), bars.collect())
    }

    /// From where, with what, for what; why refused.
    /// `path` is that of the account's page.
    pub fn tops(&self, path: impl std::fmt::Display) -> Tops<'_> {
        let list = |title, of_what, filter, counts| TopList { title, of_what, filter, counts };
        let usage = &self.usage;
        Tops {
            now: Now(self.now),
            window: self.window,
            activity: format!("{path}/activity"),
            lists: [
                list("Addresses", "Address", "address", &usage.addresses),
                list("User agents", "User agent", "", &usage.user_agents),
                list("Paths", "Method and path", "path", &usage.paths),
                list("Refusals", "Reason", "reason", &usage.refusals),
            ]
            .into_iter()
            .filter(|list| !list.counts.is_empty())
            .collect(),
            complete: usage.complete,
        }
    }

    /// Tokens that are dead and used all the same.
    pub fn dead(&self) -> &[DeadToken] {
        &self.usage.dead_tokens
    }
}

fn hour_of(time: DateTime<Utc>) -> i64 {
    time.timestamp().div_euclid(3_600) * 3_600
}

/// What was seen most often.
#[derive(Template)]
#[template(path = "console/accounts/tops.html")]
pub struct Tops<'a> {
    now: Now,
    window: Window,
    activity: String,
    lists: Vec<TopList<'a>>,
    complete: bool,
}

impl HtmlSafe for Tops<'_> {}

struct TopList<'a> {
    title: &'static str,
    of_what: &'static str,
    /// The filter of the activity log that finds these calls; empty: there is none.
    filter: &'static str,
    counts: &'a [Count],
}

/// Rows of each list on a page.
const ROWS: usize = 8;

impl<'a> TopList<'a> {
    fn rows(&self) -> impl Iterator<Item = &'a Count> {
        self.counts.iter().take(ROWS)
    }

    fn more(&self) -> usize {
        self.counts.len().saturating_sub(ROWS)
    }
}

impl Tops<'_> {
    fn value<'t>(&self, count: &'t Count) -> Untrusted<'t> {
        Untrusted::new(count.value.as_str()).at_most(100)
    }

    /// The calls that are counted here, in the activity log.
    fn calls(&self, list: &TopList<'_>, count: &Count) -> Option<String> {
        let value = count.value.as_str();
        let sought = match list.filter {
            "" => None,
            "address" => value.parse::<std::net::IpAddr>().ok().map(|_| value),
            // A method stands before it.
            "path" => value.find('/').and_then(|begin| value.get(begin..)),
            _ => Some(value),
        }?;
        Some(link(&self.activity, &[(list.filter, sought)], None))
    }

    /// Counts of what is not among the most frequent of each hour are bounds.
    fn count(&self, count: &Count) -> String {
        let about = if count.too_high_by > 0 || count.too_low_by > 0 { "about " } else { "" };
        format!("{about}{}", grouped(count.count))
    }
}
