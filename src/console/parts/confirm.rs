//! The box that is asked before what can't be undone.

use askama::Template;
use askama::filters::HtmlSafe;

/// What is about to happen, and the button that does it.
#[derive(Template)]
#[template(path = "console/parts/confirm.html")]
pub struct Confirm<'a> {
    /// `Visit::form_token`.
    pub form_token: &'a str,
    /// Where it is sent.
    pub action: &'a str,
    /// The version of what it is about.
    pub version: &'a str,
    /// What is going to be, one sentence each.
    pub consequences: &'a [String],
    /// What else is sent: names and values.
    pub sends: &'a [(&'a str, &'a str)],
    /// What must be typed, if anything: the name of what is lost.
    pub typed: Option<&'a str>,
    /// What is wrong with what was typed.
    pub error: Option<&'a str>,
    /// What the button says: `Delete ci`.
    pub button: &'a str,
    /// Where else one may go.
    pub back: &'a str,
}

impl HtmlSafe for Confirm<'_> {}
