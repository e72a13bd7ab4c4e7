//! What was measured, and what was to be reached.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A bound that a figure should keep.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    AtLeast(f64),
    AtMost(f64),
}

impl Target {
    fn is_met_by(self, value: f64) -> bool {
        match self {
            Self::AtLeast(bound) => value >= bound,
            Self::AtMost(bound) => value <= bound,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(bound) => write!(f, "at least {bound}"),
            Self::AtMost(bound) => write!(f, "at most {bound}"),
        }
    }
}

/// One figure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    pub what: String,
    pub value: f64,
    /// Empty for a ratio.
    pub unit: String,
    /// What it was computed from.
    #[serde(default)]
    pub of: String,
    #[serde(default)]
    pub target: Option<Target>,
    #[serde(default)]
    pub met: Option<bool>,
}

impl Figure {
    pub fn new(what: impl Into<String>, value: f64, unit: &str) -> Self {
        Self { what: what.into(), value, unit: unit.to_owned(), of: String::new(), target: None, met: None }
    }

    pub fn of(mut self, of: impl Into<String>) -> Self {
        self.of = of.into();
        self
    }

    pub fn at_least(self, bound: f64) -> Self {
        self.with(Target::AtLeast(bound))
    }

    pub fn at_most(self, bound: f64) -> Self {
        self.with(Target::AtMost(bound))
    }

    fn with(mut self, target: Target) -> Self {
        self.target = Some(target);
        self.met = Some(target.is_met_by(self.value));
        self
    }
}

/// What a server did under one load, over all rounds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Load {
    pub what: String,
    pub server: String,
    pub per_second: f64,
    pub p50_us: Option<f64>,
    pub p99_us: Option<f64>,
    /// Of the server's own, for each request, until the last answer.
    pub cpu_us: f64,
    /// The same until it had nothing left to do.
    pub cpu_in_the_end_us: f64,
    /// The share of its processor that it took. Much below 1, something else was the limit.
    pub busy: f64,
    pub rounds: usize,
}

/// All figures of one case.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Part {
    pub case: String,
    #[serde(default)]
    pub loads: Vec<Load>,
    #[serde(default)]
    pub figures: Vec<Figure>,
}

/// The one in the middle, or the mean of the two. NaN for none.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

/// The median of the ratios of one round each: what slows a whole round down is in both, and falls out.
pub fn ratio(ours: &[f64], theirs: &[f64]) -> f64 {
    median(ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs))
}

/// Three digits that count, and thousands apart.
pub fn number(value: f64) -> String {
    if !value.is_finite() {
        return "-".to_owned();
    }
    if value.abs() >= 100.0 {
        let digits = format!("{value:.0}");
        let mut text = String::new();
        for (place, digit) in digits.chars().enumerate() {
            if place > 0 && digit != '-' && (digits.len() - place) % 3 == 0 && !text.ends_with('-') {
                text.push(',');
            }
            text.push(digit);
        }
        return text;
    }
    let places = match value.abs() {
        0.0 => 0,
        large if large >= 10.0 => 1,
        large if large >= 1.0 => 2,
        small => (2.0 - small.log10().floor()) as usize,
    };
    format!("{value:.places$}")
}
