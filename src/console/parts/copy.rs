//! A button that copies.

use askama::Template;
use askama::filters::HtmlSafe;

/// Copies the text of the element with this id, where there is a script.
#[derive(Template)]
#[template(
    ext = "html",
    source = r#"<span data-script hidden><button type="button" class="quiet" data-copy="{{ id }}">Copy <span class="unseen">{{ what }}</span></button> <span class="soft small" role="status" data-said></span></span>"#
)]
pub struct Copy<'a> {
    /// Whose text.
    pub id: &'a str,
    /// What that is, for those who hear the button without what is beside it.
    pub what: &'a str,
}

impl HtmlSafe for Copy<'_> {}
