//! What is shown once.

use askama::Template;
use askama::filters::HtmlSafe;

/// A token, or a link, that this page shows and no other ever will. The script takes it out when the page is left, so that going
/// back shows nothing either.
#[derive(Template)]
#[template(path = "console/parts/secret.html")]
pub struct Secret<'a> {
    /// What it is: `Token of ci`.
    pub label: &'a str,
    /// The secret.
    pub text: &'a str,
    /// What it is called when it is downloaded.
    pub file: &'a str,
}

impl HtmlSafe for Secret<'_> {}
