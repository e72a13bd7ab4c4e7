//! A list without rows.

use askama::Template;
use askama::filters::HtmlSafe;

/// Why there is nothing, and what to do.
#[derive(Template)]
#[template(
    ext = "html",
    source = r#"<div class="empty"><p class="empty-title">{{ title }}</p><p>{{ text }}</p>{% if let Some((label, href)) = action %}<p><a class="button" href="{{ href }}">{{ label }}</a></p>{% endif %}</div>"#
)]
pub struct Empty {
    title: String,
    text: String,
    action: Option<(String, String)>,
}

impl HtmlSafe for Empty {}

impl Empty {
    /// What is missing, and why that is, or what would be here.
    pub fn new(title: impl Into<String>, text: impl Into<String>) -> Self {
        Self { title: title.into(), text: text.into(), action: None }
    }

    /// What to do.
    #[must_use]
    pub fn action(mut self, label: impl Into<String>, href: impl Into<String>) -> Self {
        self.action = Some((label.into(), href.into()));
        self
    }
}
