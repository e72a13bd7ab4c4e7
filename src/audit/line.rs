use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt::Write as _;
use std::net::IpAddr;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use uuid::Uuid;

#[cfg(feature = "server")]
use super::Event;
use super::Outcome;
use super::object::Object;
use crate::account::AccountId;
use crate::clock::rfc3339;
use crate::token::TokenId;

/// An [`Event`] on its way: it borrows what it tells of, has no number yet, and is written as JSON without the members that are
/// missing.
#[derive(Debug, Clone)]
pub struct Line<'a> {
    pub(crate) id: Uuid,
    pub(crate) time: DateTime<Utc>,
    pub(crate) kind: &'a str,
    pub(crate) account_id: Option<AccountId>,
    pub(crate) username: Option<&'a str>,
    pub(crate) token_id: Option<TokenId>,
    pub(crate) generation: Option<u64>,
    pub(crate) key_id: Option<&'a str>,
    pub(crate) outcome: Outcome,
    pub(crate) reason: Option<&'a str>,
    pub(crate) method: Option<&'a str>,
    pub(crate) path: Option<&'a str>,
    pub(crate) team: Option<&'a str>,
    pub(crate) permission: Option<Cow<'a, str>>,
    pub(crate) client_address: Option<Address<'a>>,
    pub(crate) user_agent: Option<&'a str>,
    pub(crate) request_id: Option<&'a str>,
    pub(crate) duration_us: Option<u64>,
    pub(crate) actor_id: Option<AccountId>,
    pub(crate) details: Option<Cow<'a, Map<String, Value>>>,
}

/// An address that came from the network, or one that was read back.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Address<'a> {
    Known(IpAddr),
    #[cfg_attr(not(feature = "server"), expect(dead_code, reason = "an API reads no events"))]
    Text(&'a str),
}

impl<'a> Line<'a> {
    /// Says nothing yet but when and what.
    pub(crate) fn new(time: DateTime<Utc>, kind: &'a str, outcome: Outcome) -> Self {
        Self {
            id: crate::clock::uuid_v7(time),
            time,
            kind,
            account_id: None,
            username: None,
            token_id: None,
            generation: None,
            key_id: None,
            outcome,
            reason: None,
            method: None,
            path: None,
            team: None,
            permission: None,
            client_address: None,
            user_agent: None,
            request_id: None,
            duration_us: None,
            actor_id: None,
            details: None,
        }
    }

    /// Adds a detail.
    pub(crate) fn detail(&mut self, name: &str, value: impl Into<Value>) {
        self.details.get_or_insert_default().to_mut().insert(name.to_owned(), value.into());
    }

    /// As it is written before it has a number: one JSON object, one line.
    pub(crate) fn with_text<R>(&self, take: impl FnOnce(&str) -> R) -> R {
        thread_local! {
            /// Written into again and again: most lines are as long as the one before.
            static TEXT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        TEXT.with_borrow_mut(|text| {
            text.clear();
            self.write(text);
            // JSON is UTF-8.
            take(std::str::from_utf8(text).unwrap_or_default())
        })
    }

    fn write(&self, text: &mut Vec<u8>) {
        let mut object = Object::begin(text);
        let (mut long, mut short) = ([0; 36], [0; 32]);
        object.own("id", Some(self.id.hyphenated().encode_lower(&mut long)));
        rfc3339::with_text(&self.time, |time| object.own("time", Some(time)));
        object.own("kind", Some(self.kind));
        object.own("account_id", self.account_id.as_ref().map(|id| id.encode(&mut long)));
        object.text("username", self.username);
        object.own("token_id", self.token_id.as_ref().map(|id| id.encode(&mut short)));
        object.number("generation", self.generation);
        object.text("key_id", self.key_id);
        object.own("outcome", Some(self.outcome.as_str()));
        object.text("reason", self.reason);
        object.text("method", self.method);
        object.text("path", self.path);
        object.text("team", self.team);
        object.text("permission", self.permission.as_deref());
        match self.client_address {
            Some(Address::Known(address)) => object.plain("client_address", Some(address)),
            Some(Address::Text(text)) => object.text("client_address", Some(text)),
            None => {}
        }
        object.text("user_agent", self.user_agent);
        object.text("request_id", self.request_id);
        object.number("duration_us", self.duration_us);
        object.own("actor_id", self.actor_id.as_ref().map(|id| id.encode(&mut long)));
        object.json("details", self.details.as_deref());
        object.end();
    }

    /// As an event that has no number yet.
    #[cfg(feature = "server")]
    pub(crate) fn to_event(&self) -> Event {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Event {
            id: self.id,
            time: self.time,
            node: String::new(),
            sequence: 0,
            kind: self.kind.to_owned(),
            account_id: self.account_id,
            username: owned(self.username),
            token_id: self.token_id,
            generation: self.generation,
            key_id: owned(self.key_id),
            outcome: self.outcome,
            reason: owned(self.reason),
            method: owned(self.method),
            path: owned(self.path),
            team: owned(self.team),
            permission: self.permission.as_deref().map(str::to_owned),
            client_address: self.client_address.map(|address| match address {
                Address::Known(address) => address.to_string(),
                Address::Text(text) => text.to_owned(),
            }),
            user_agent: owned(self.user_agent),
            request_id: owned(self.request_id),
            duration_us: self.duration_us,
            actor_id: self.actor_id,
            details: self.details.as_deref().cloned(),
        }
    }
}

#[cfg(feature = "server")]
impl<'a> From<&'a Event> for Line<'a> {
    fn from(event: &'a Event) -> Self {
        Self {
            id: event.id,
            time: event.time,
            kind: &event.kind,
            account_id: event.account_id,
            username: event.username.as_deref(),
            token_id: event.token_id,
            generation: event.generation,
            key_id: event.key_id.as_deref(),
            outcome: event.outcome,
            reason: event.reason.as_deref(),
            method: event.method.as_deref(),
            path: event.path.as_deref(),
            team: event.team.as_deref(),
            permission: event.permission.as_deref().map(Cow::Borrowed),
            client_address: event.client_address.as_deref().map(Address::Text),
            user_agent: event.user_agent.as_deref(),
            request_id: event.request_id.as_deref(),
            duration_us: event.duration_us,
            actor_id: event.actor_id,
            details: event.details.as_ref().map(Cow::Borrowed),
        }
    }
}

/// Writes a line that has no number, with the node that gives it one. `node` is a node's name, in which nothing needs escaping.
pub(crate) fn push_numbered(lines: &mut String, line: &str, node: &str, sequence: u64) {
    let rest = line.strip_prefix('{').unwrap_or(line);
    lines.push_str("{\"node\":\"");
    lines.push_str(node);
    // Writing to a string does not fail.
    let _ = write!(lines, "\",\"sequence\":{sequence},");
    lines.push_str(rest);
}

/// The id of an event that we have written, with or without a number. What stands before it has no other member of the name.
pub(crate) fn id_of(line: &str) -> Option<&str> {
    line.split_once("\"id\":\"")?.1.split('"').next()
}
