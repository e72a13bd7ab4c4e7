//! Numbers over time, as SVG that holds nothing but numbers and escaped text, with the same numbers as a table beside it.

use askama::Template;
use askama::filters::HtmlSafe;

use super::grouped;

/// Width and height of a chart, in its own units; the page stretches it.
const WIDTH: u64 = 1_000;
const HEIGHT: u64 = 160;

/// One bar: what was good of it below, what was bad upon it.
#[derive(Debug, Clone)]
pub struct Bar {
    /// When: `14:00`.
    pub label: String,
    /// Allowed.
    pub good: u64,
    /// Refused.
    pub bad: u64,
}

/// A bar chart of calls, let through and refused.
#[derive(Template)]
#[template(path = "console/parts/bars.html")]
pub struct Bars {
    title: String,
    id: &'static str,
    bars: Vec<Bar>,
    highest: u64,
}

impl HtmlSafe for Bars {}

impl Bars {
    /// `id` is unique on its page.
    pub fn new(id: &'static str, title: impl Into<String>, bars: Vec<Bar>) -> Self {
        let highest = bars.iter().map(|bar| bar.good.saturating_add(bar.bad)).max().unwrap_or(0);
        Self { title: title.into(), id, bars, highest: round_up(highest) }
    }

    fn good(&self) -> u64 {
        self.bars.iter().map(|bar| bar.good).fold(0, u64::saturating_add)
    }

    fn bad(&self) -> u64 {
        self.bars.iter().map(|bar| bar.bad).fold(0, u64::saturating_add)
    }

    fn first(&self) -> &str {
        self.bars.first().map_or("", |bar| bar.label.as_str())
    }

    fn last(&self) -> &str {
        self.bars.last().map_or("", |bar| bar.label.as_str())
    }

    fn shapes(&self) -> Vec<Shape> {
        let count = u64::try_from(self.bars.len()).unwrap_or(1).max(1);
        let step = WIDTH / count;
        let scaled = |number: u64| scaled(number, self.highest, HEIGHT);
        let shape = |(place, bar): (u64, &Bar)| {
            let (good, bad) = (scaled(bar.good), scaled(bar.bad));
            Shape {
                x: place * step + step / 8,
                width: (step - step / 4).max(1),
                good,
                bad: bad.min(HEIGHT - good),
                said: format!("{}: {} allowed, {} refused", bar.label, grouped(bar.good), grouped(bar.bad)),
            }
        };
        (0..).zip(&self.bars).map(shape).collect()
    }
}

struct Shape {
    x: u64,
    width: u64,
    good: u64,
    bad: u64,
    said: String,
}

/// What is there at all is seen: a call among a million is a line.
fn scaled(number: u64, highest: u64, height: u64) -> u64 {
    if number == 0 || highest == 0 {
        return 0;
    }
    let exact = u128::from(number) * u128::from(height) / u128::from(highest);
    u64::try_from(exact).unwrap_or(height).clamp(2, height)
}

/// The next of 1, 2, 5, 10, 20, 50, …
fn round_up(number: u64) -> u64 {
    let mut power = 1_u64;
    loop {
        for step in [1, 2, 5] {
            match power.checked_mul(step) {
                Some(round) if round >= number => return round,
                Some(_) => {}
                None => return number,
            }
        }
        let Some(next) = power.checked_mul(10) else { return number };
        power = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_is_as_high_as_its_highest_bar_and_shows_what_is_little() {
        assert_eq!([0, 1, 2, 3, 6, 11, 51, u64::MAX].map(round_up), [1, 1, 2, 5, 10, 20, 100, u64::MAX]);
        assert_eq!((scaled(0, 10, 160), scaled(10, 10, 160), scaled(1, 1_000_000, 160)), (0, 160, 2));
        let bar = |label: &str, good, bad| Bar { label: label.into(), good, bad };
        let chart = Bars::new("calls", "Calls", vec![bar("08:00", 9, 1), bar("<09:00>", 0, 0)]).to_string();
        assert!(chart.contains("08:00: 9 allowed, 1 refused") && chart.contains("&#60;09:00&#62;"), "{chart}");
        assert!(Bars::new("none", "Calls", vec![]).to_string().contains("0 allowed"));
    }
}
