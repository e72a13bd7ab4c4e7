//! Lists that come in pages.

use reqwest::Method;
use serde_json::{Value, json};

use super::Output;
use super::answer::{Answer, Failure};
use super::client::{Call, Client, Session};
use super::json::indent;

/// The API's own default, for lists that it serves in pages.
const DEFAULT_LIMIT: usize = 50;

/// How much of a list is wanted.
#[derive(Clone, Copy, Debug)]
pub enum Wanted {
    /// All of it, with no page size: for lists that are short by nature.
    Everything,
    /// So many, or the default.
    AtMost(Option<u16>),
    /// All of it, in pages of so many.
    All(Option<u16>),
}

impl Wanted {
    /// From the options `--limit` and `--all`.
    pub fn from_options(limit: Option<u16>, all: bool) -> Self {
        if all { Self::All(limit) } else { Self::AtMost(limit) }
    }

    /// The `limit` of the next request, when `have` are already there. `None`: say nothing, there may be no such parameter.
    fn page(self, have: usize) -> Option<String> {
        match self {
            Self::Everything => None,
            Self::All(limit) => limit.map(|limit| limit.to_string()),
            Self::AtMost(None) if have == 0 => None,
            Self::AtMost(limit) => Some(limit.map_or(DEFAULT_LIMIT, usize::from).saturating_sub(have).to_string()),
        }
    }

    fn is_satisfied(self, have: usize) -> bool {
        matches!(self, Self::AtMost(limit) if have >= limit.map_or(DEFAULT_LIMIT, usize::from))
    }
}

/// What was read of a list.
pub struct List {
    /// The items, in the server's order.
    pub items: Vec<Value>,
    /// Where the rest begins.
    pub next_cursor: Option<String>,
    /// The body, when one page was all it took.
    only_page: Option<String>,
}

/// Reads a list. A page may hold fewer items than asked for, even none, and still not be the last.
pub async fn read(client: &Client, path: &[&str], query: &[(&str, String)], wanted: Wanted) -> Result<List, Failure> {
    let mut items = Vec::new();
    let mut cursor: Option<String> = None;
    let mut pages = 0_u32;
    loop {
        let mut query = query.to_vec();
        query.extend(wanted.page(items.len()).map(|limit| ("limit", limit)));
        query.extend(cursor.clone().map(|cursor| ("cursor", cursor)));
        let reply = client.call(Call::new(Method::GET, path).query(query)).await?;
        pages += 1;
        let next = reply.body.get("next_cursor").and_then(Value::as_str).map(str::to_owned);
        let page = reply.body.get("items").and_then(Value::as_array).or(reply.body.as_array());
        items.extend_from_slice(page.map(Vec::as_slice).unwrap_or_default());
        if next.is_some() && next == cursor {
            return Err(
                Failure::new("the server's list goes round in a circle").next("this is a bug; please report it")
            );
        }
        cursor = next;
        if cursor.is_none() || wanted.is_satisfied(items.len()) {
            return Ok(List { items, next_cursor: cursor, only_page: (pages == 1).then_some(reply.text) });
        }
    }
}

impl List {
    /// The list as the user wants to see it. `table` makes the text for people.
    pub fn answer(self, session: &Session, table: impl FnOnce(&[Value]) -> String) -> Result<Answer, Failure> {
        match session.output {
            Output::Json => match &self.only_page {
                Some(text) => indent(text).map(Answer::yes),
                None => {
                    indent(&json!({"items": self.items, "next_cursor": self.next_cursor}).to_string()).map(Answer::yes)
                }
            },
            Output::Table if self.items.is_empty() => Ok(Answer::yes("").with_note("nothing found")),
            Output::Table => {
                let answer = Answer::yes(table(&self.items));
                Ok(match self.next_cursor {
                    Some(_) => answer.with_note("there is more: repeat with --all, or with a larger --limit"),
                    None => answer,
                })
            }
        }
    }
}
