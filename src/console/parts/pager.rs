//! The way to the next rows. Lists are read by a cursor, so there is a next page and a first one, and no numbers.

use askama::Template;
use askama::filters::HtmlSafe;

use super::super::asked::Asked;

/// The foot of a list.
#[derive(Template)]
#[template(
    ext = "html",
    source = r#"{% if first.is_some() || next.is_some() %}<nav class="pager" aria-label="Pages">{% if let Some(href) = first %}<a class="button" href="{{ href }}">First page</a>{% endif %}{% if let Some(href) = next %}<a class="button" rel="next" href="{{ href }}">{{ label }}</a>{% endif %}</nav>{% endif %}"#
)]
pub struct Pager {
    first: Option<String>,
    next: Option<String>,
    label: &'static str,
}

impl HtmlSafe for Pager {}

impl Pager {
    /// Of the list at this path that was asked for with these filters. `next`: where its next page begins. `none_here`: nothing was found in this
    /// part, and there is more to look at.
    pub fn new(asked: &Asked, path: &str, filters: &[&str], next: Option<&str>, none_here: bool) -> Self {
        Self {
            first: asked.any(&["cursor"]).then(|| asked.link(path, filters, None)),
            next: next.map(|next| asked.link(path, filters, Some(next))),
            label: if none_here { "Look further" } else { "Next page" },
        }
    }
}

/// A link to a page with these parameters; those that are empty are left out.
pub fn link(path: &str, parameters: &[(&str, &str)], cursor: Option<&str>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    let given = parameters.iter().copied().filter(|(_, value)| !value.is_empty());
    query.extend_pairs(given.chain(cursor.map(|cursor| ("cursor", cursor))));
    match query.finish() {
        query if query.is_empty() => path.to_owned(),
        query => format!("{path}?{query}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_keeps_the_filters_and_leaves_out_what_is_empty() {
        assert_eq!(link("/console/users", &[("query", ""), ("role", "")], None), "/console/users");
        assert_eq!(link("/p", &[("query", "a&b=c"), ("role", "r")], Some("x")), "/p?query=a%26b%3Dc&role=r&cursor=x");
    }
}
