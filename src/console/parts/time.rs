//! Times: how long ago, or from now, with the exact one beside it.

use std::borrow::Borrow;

use askama::Template;
use askama::filters::HtmlSafe;
use chrono::{DateTime, TimeDelta, Utc};

use super::counted;
use crate::clock::rfc3339;

/// The moment that a page is about; tells all other times by it.
#[derive(Debug, Clone, Copy)]
pub struct Now(pub DateTime<Utc>);

impl Now {
    /// `3 hours ago`, `in 5 months`.
    pub fn told(self, time: impl Borrow<DateTime<Utc>>) -> Told {
        let time = *time.borrow();
        Told::new(time, self.relative(time), "relative")
    }

    /// The same, counted down by the second where there is a script.
    pub fn countdown(self, time: impl Borrow<DateTime<Utc>>) -> Told {
        let time = *time.borrow();
        Told::new(time, self.relative(time), "countdown")
    }

    /// The exact time, and how long ago it was beside it.
    pub fn exact(self, time: impl Borrow<DateTime<Utc>>) -> Told {
        let time = *time.borrow();
        Told::new(time, exact(time), "exact")
    }

    /// `3 hours ago`, `in 5 months`.
    pub fn relative(self, time: impl Borrow<DateTime<Utc>>) -> String {
        let time = *time.borrow();
        let away = time - self.0;
        let length = length(away.abs());
        match away {
            _ if away.abs() < TimeDelta::seconds(1) => "now".to_owned(),
            _ if away > TimeDelta::zero() => format!("in {length}"),
            _ => format!("{length} ago"),
        }
    }

    /// Whether it is over.
    pub fn is_past(self, time: impl Borrow<DateTime<Utc>>) -> bool {
        *time.borrow() <= self.0
    }
}

/// In the largest unit of which there are two, or one of the next.
fn length(time: TimeDelta) -> String {
    const UNITS: [(i64, &str, &str); 6] = [
        (365 * 86_400, "year", "years"),
        // The mean month.
        (2_629_800, "month", "months"),
        (86_400, "day", "days"),
        (3_600, "hour", "hours"),
        (60, "minute", "minutes"),
        (1, "second", "seconds"),
    ];
    let seconds = time.num_seconds();
    // 23 months are said so, and 40 days: a year and a month are coarse.
    let (unit, one, many) = UNITS
        .into_iter()
        .find(|(unit, one, _)| seconds >= *unit * if matches!(*one, "year" | "month") { 2 } else { 1 })
        .unwrap_or((1, "second", "seconds"));
    let number = if seconds >= 60 { (seconds + unit / 2) / unit } else { seconds };
    counted(u64::try_from(number).unwrap_or(0), one, many)
}

fn exact(time: DateTime<Utc>) -> String {
    time.format("%-d %b %Y, %H:%M:%S UTC").to_string()
}

/// A time as it is told.
#[derive(Template)]
#[template(
    ext = "html",
    source = r#"<time datetime="{{ datetime }}" title="{{ title }}" data-time="{{ kind }}">{{ text }}</time>"#
)]
pub struct Told {
    datetime: String,
    title: String,
    kind: &'static str,
    text: String,
}

impl HtmlSafe for Told {}

impl Told {
    fn new(time: DateTime<Utc>, text: String, kind: &'static str) -> Self {
        Self { datetime: rfc3339::text(&time), title: exact(time), kind, text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_the_unit_that_fits() {
        let now = Now(DateTime::from_timestamp(1_800_000_000, 0).unwrap());
        let told = |seconds: i64| now.relative(now.0 + TimeDelta::seconds(seconds));
        for (seconds, text) in [
            (0, "now"),
            (1, "in 1 second"),
            (-59, "59 seconds ago"),
            (-90, "2 minutes ago"),
            (3_600, "in 1 hour"),
            (-7_200, "2 hours ago"),
            (86_400, "in 1 day"),
            (86_400 * 45, "in 45 days"),
            (86_400 * 365, "in 12 months"),
            (86_400 * 730, "in 2 years"),
        ] {
            assert_eq!(told(seconds), text, "{seconds}");
        }
    }

    #[test]
    fn the_exact_time_stands_beside_the_relative_one() {
        let now = Now(DateTime::from_timestamp(1_800_000_000, 0).unwrap());
        assert_eq!(
            now.told(now.0 - TimeDelta::hours(3)).to_string(),
            r#"<time datetime="2027-01-15T05:00:00Z" title="15 Jan 2027, 05:00:00 UTC" data-time="relative">3 hours ago</time>"#
        );
    }
}
