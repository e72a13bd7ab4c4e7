//! The states of keys over time, as SVG that holds nothing but numbers and escaped text, with the same in words beside it.

use askama::Template;
use askama::filters::HtmlSafe;
use chrono::{DateTime, TimeDelta, Utc};

use super::super::parts::Badge;
use super::{badge, path, short};
use crate::authority::{KeyView, NextRotation};
use crate::verify::KeyState;

/// Keys that are shown: those that were made last.
const KEYS: usize = 12;
/// Width and height of a row, in its own units; the page stretches it.
const WIDTH: i64 = 1_000;
const HEIGHT: i64 = 20;

/// The states of keys over time.
#[derive(Template)]
#[template(path = "console/keys/timeline.html")]
pub struct Timeline {
    rows: Vec<Row>,
    first: String,
    last: String,
    /// Where now is.
    now: i64,
}

impl HtmlSafe for Timeline {}

/// One key.
struct Row {
    id: String,
    short: String,
    state: Badge,
    spans: Vec<Span>,
    said: String,
}

/// A state, from when to when.
struct Span {
    class: &'static str,
    said: String,
    x: i64,
    width: i64,
    /// States are told apart by their height as well as by their colour.
    height: i64,
}

impl Span {
    fn y(&self) -> i64 {
        HEIGHT - self.height
    }
}

/// The time that is shown.
struct Scale {
    from: DateTime<Utc>,
    to: DateTime<Utc>,
}

impl Scale {
    fn x(&self, time: DateTime<Utc>) -> i64 {
        let whole = (self.to - self.from).num_seconds().max(1);
        ((time - self.from).num_seconds().clamp(0, whole) * WIDTH) / whole
    }
}

impl Timeline {
    /// Of these keys, in the order in which they were made. `None`: there are none.
    pub fn of(keys: &[KeyView], next: Option<&NextRotation>, now: DateTime<Utc>) -> Option<Self> {
        let shown = keys.get(keys.len().saturating_sub(KEYS)..).unwrap_or_default();
        let from = shown.iter().map(|key| key.created_at).min()?;
        let until = next.map_or(now, |next| next.at.max(now));
        let scale = Scale { from, to: until + (until - from) / 20 + TimeDelta::minutes(1) };
        let rows = shown.iter().rev().map(|key| row(key, keys, &scale, now));
        Some(Self { rows: rows.collect(), first: day(from), last: day(scale.to), now: scale.x(now) })
    }
}

fn day(time: DateTime<Utc>) -> String {
    time.format("%-d %b %Y").to_string()
}

fn row(key: &KeyView, all: &[KeyView], scale: &Scale, now: DateTime<Utc>) -> Row {
    let states = states(key, all, now);
    let spans: Vec<Span> = states
        .iter()
        .map(|(state, from, to)| {
            let (class, height) = match state {
                KeyState::Pending => ("pending", 6),
                KeyState::Active => ("active", 18),
                KeyState::Retiring => ("retiring", 12),
                KeyState::Retired => ("retired", 3),
                KeyState::Revoked => ("revoked", 3),
            };
            let x = scale.x(*from);
            Span { class, said: said(*state, *from, *to), x, width: (scale.x(to.unwrap_or(now)) - x).max(3), height }
        })
        .collect();
    Row {
        id: key.id.clone(),
        short: short(&key.id),
        state: badge(key.state),
        said: spans.iter().map(|span| span.said.as_str()).collect::<Vec<_>>().join(", "),
        spans,
    }
}

fn said(state: KeyState, from: DateTime<Utc>, to: Option<DateTime<Utc>>) -> String {
    match to {
        Some(to) => format!("{state} from {} to {}", day(from), day(to)),
        None => format!("{state} since {}", day(from)),
    }
}

/// Its states, each from when to when; of the present one the end is open.
fn states(key: &KeyView, all: &[KeyView], now: DateTime<Utc>) -> Vec<(KeyState, DateTime<Utc>, Option<DateTime<Utc>>)> {
    // It signed until the next one did.
    let next = key.activated_at.and_then(|since| {
        all.iter()
            .filter(|other| other.id != key.id)
            .filter_map(|other| other.activated_at)
            .filter(|at| *at >= since)
            .min()
    });
    let ended = [key.retired_at, key.revoked_at].into_iter().flatten().min();
    let steps = [
        (KeyState::Pending, key.published_at),
        (KeyState::Active, key.activated_at),
        (KeyState::Retiring, next.filter(|next| ended.is_none_or(|ended| *next < ended))),
        (KeyState::Retired, key.retired_at),
        (KeyState::Revoked, key.revoked_at),
    ];
    let mut steps: Vec<_> = steps.into_iter().filter_map(|(state, from)| Some((state, from?))).collect();
    steps.sort_by_key(|(_, from)| *from);
    let mut told = Vec::new();
    for (place, (state, from)) in steps.iter().enumerate() {
        let to = steps.get(place + 1).map(|(_, from)| *from);
        // A state that lasted for no time was never seen.
        if to.is_none_or(|to| to > *from) && *from <= now {
            told.push((*state, *from, to));
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::Algorithm;

    fn at(day: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + day * 86_400, 0).unwrap()
    }

    fn key(id: &str, published: i64, activated: Option<i64>) -> KeyView {
        KeyView {
            id: id.to_owned(),
            algorithm: Algorithm::ES256,
            state: KeyState::Active,
            in_token: false,
            token_object: None,
            created_at: at(published),
            published_at: Some(at(published)),
            activated_at: activated.map(at),
            retired_at: None,
            revoked_at: None,
            tokens_revoked: None,
            live_tokens: 0,
            last_expiry: None,
            next_step: None,
        }
    }

    #[test]
    fn a_key_signs_until_the_next_one_does() {
        let first = KeyView { retired_at: Some(at(30)), ..key("a", 0, Some(0)) };
        let second = KeyView { revoked_at: Some(at(25)), ..key("b", 9, Some(10)) };
        let third = key("c", 20, Some(25));
        let pending = key("d", 40, None);
        let all = [first, second, third, pending];
        let told = |key: &KeyView| -> Vec<(KeyState, i64, Option<i64>)> {
            let day = |time: DateTime<Utc>| (time - at(0)).num_days();
            states(key, &all, at(50)).into_iter().map(|(state, from, to)| (state, day(from), to.map(day))).collect()
        };
        use KeyState::{Active, Pending, Retired, Retiring, Revoked};
        assert_eq!(told(&all[0]), [(Active, 0, Some(10)), (Retiring, 10, Some(30)), (Retired, 30, None)]);
        assert_eq!(told(&all[1]), [(Pending, 9, Some(10)), (Active, 10, Some(25)), (Revoked, 25, None)]);
        assert_eq!(told(&all[2]), [(Pending, 20, Some(25)), (Active, 25, None)]);
        assert_eq!(told(&all[3]), [(Pending, 40, None)]);
    }

    #[test]
    fn the_states_are_told_in_words_too_and_nothing_stands_outside_of_the_picture() {
        let all = [key("<a>", 0, Some(0)), key("b", 9, None)];
        let timeline = Timeline::of(&all, None, at(12)).unwrap();
        for span in timeline.rows.iter().flat_map(|row| &row.spans) {
            assert!(span.x >= 0 && span.x + span.width <= WIDTH + 3, "{} {}", span.x, span.width);
        }
        let text = timeline.to_string();
        assert!(text.contains("active since 15 Jan 2027") && text.contains("pending since 24 Jan 2027"), "{text}");
        assert!(!text.contains("<a>") && text.contains("&#60;a&#62;"), "{text}");
        assert!(Timeline::of(&[], None, at(0)).is_none());
    }
}
