//! A state in a word.

use askama::Template;
use askama::filters::HtmlSafe;
use serde::{Deserialize, Serialize};

use crate::account::Status;
use crate::audit::Outcome;

/// How something is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tone {
    /// As it should be.
    Good,
    /// To be looked at.
    Warn,
    /// Wrong, or refused.
    Bad,
    /// Neither.
    Plain,
}

impl Tone {
    /// Its class in the stylesheet.
    pub fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Warn => "warn",
            Self::Bad => "bad",
            Self::Plain => "plain",
        }
    }

    /// Whether it is to be read out at once.
    pub fn is_bad(self) -> bool {
        self == Self::Bad
    }

    /// The mark that tells it apart without colours.
    pub fn mark(self) -> Mark {
        Mark { tone: self }
    }
}

/// The mark of a tone.
#[derive(Template)]
#[template(ext = "html", source = r#"<span class="mark" aria-hidden="true">{{ self.sign() }}</span>"#)]
pub struct Mark {
    tone: Tone,
}

impl Mark {
    fn sign(&self) -> &'static str {
        match self.tone {
            Tone::Good => "✓",
            Tone::Warn => "!",
            Tone::Bad => "✕",
            Tone::Plain => "○",
        }
    }
}

impl HtmlSafe for Mark {}

/// A state in a word.
#[derive(Template)]
#[template(ext = "html", source = r#"<span class="badge {{ tone.class() }}">{{ tone.mark() }}{{ text }}</span>"#)]
pub struct Badge {
    tone: Tone,
    text: String,
}

impl HtmlSafe for Badge {}

impl Badge {
    /// This word, meant so.
    pub fn new(tone: Tone, text: impl Into<String>) -> Self {
        Self { tone, text: text.into() }
    }

    /// The word.
    pub fn word(&self) -> &str {
        &self.text
    }

    /// Whether an account may act.
    pub fn of_status(status: Status) -> Self {
        match status {
            Status::Active => Self::new(Tone::Good, "Active"),
            Status::Disabled => Self::new(Tone::Bad, "Disabled"),
        }
    }

    /// How something ended.
    pub fn of_outcome(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Allowed => Self::new(Tone::Good, "Allowed"),
            Outcome::Done => Self::new(Tone::Good, "Done"),
            Outcome::Refused => Self::new(Tone::Bad, "Refused"),
            Outcome::Failed => Self::new(Tone::Warn, "Failed"),
        }
    }
}
