//! What a line of the firehose tells, as far as activity logs and roll-ups need it.

use std::borrow::Cow;

use chrono::DateTime;

use crate::account::AccountId;
use crate::audit::rollup::Seen;
use crate::audit::{Outcome, kinds};
use crate::token::TokenId;

/// Members of a line that we have written. Each line is read on its way into a log, so it is gone through once, and nothing of it is
/// copied. Texts from outside are still escaped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Told<'a> {
    pub(super) kind: &'a str,
    pub(super) outcome: &'a str,
    pub(super) account: Option<&'a str>,
    pub(super) actor: Option<&'a str>,
    pub(super) token: Option<&'a str>,
    pub(super) key_id: Option<&'a str>,
    pub(super) time: &'a str,
    generation: &'a str,
    reason: Option<&'a str>,
    method: Option<&'a str>,
    path: Option<&'a str>,
    client_address: Option<&'a str>,
    user_agent: Option<&'a str>,
}

impl<'a> Told<'a> {
    /// Of a line; `None` where it doesn't say what happened.
    pub(super) fn of(line: &'a str) -> Option<Self> {
        let mut rest = line.strip_prefix('{')?;
        let mut told = Self::default();
        loop {
            let (name, after) = name(rest)?;
            let (value, after) = value(after)?;
            match name {
                "kind" => told.kind = value,
                "outcome" => told.outcome = value,
                "account_id" => told.account = Some(value),
                "actor_id" => told.actor = Some(value),
                "token_id" => told.token = Some(value),
                "key_id" => told.key_id = Some(value),
                "time" => told.time = value,
                "generation" => told.generation = value,
                "reason" => told.reason = Some(value),
                "method" => told.method = Some(value),
                "path" => told.path = Some(value),
                "client_address" => told.client_address = Some(value),
                "user_agent" => told.user_agent = Some(value),
                // What an act adds comes last.
                "details" => break,
                _ => {}
            }
            match after.strip_prefix(',') {
                Some(next) => rest = next,
                None if after == "}" => break,
                None => return None,
            }
        }
        (!told.kind.is_empty() && !told.outcome.is_empty()).then_some(told)
    }

    /// Whether it is a call, and not an act.
    pub(super) fn is_call(&self) -> bool {
        self.kind == kinds::CALL
    }

    /// Whether it was let through.
    pub(super) fn is_allowed(&self) -> bool {
        self.outcome == Outcome::Allowed.as_str()
    }

    /// When it was, in milliseconds.
    fn time_ms(&self) -> Option<i64> {
        DateTime::parse_from_rfc3339(self.time).ok().map(|time| time.timestamp_millis())
    }

    pub(super) fn token_id(&self) -> Option<TokenId> {
        self.token?.parse().ok()
    }

    /// Whether it is about this account, and not of something that it did to another.
    pub(super) fn is_about(&self, account: AccountId) -> bool {
        self.account == Some(account.encode(&mut [0; 36]))
    }

    /// For a roll-up, if it is a call.
    pub(super) fn call(&self) -> Option<Call<'a>> {
        if !self.is_call() {
            return None;
        }
        Some(Call {
            time: self.time_ms()?,
            outcome: if self.is_allowed() { Outcome::Allowed } else { Outcome::Refused },
            token_id: self.token_id(),
            generation: self.generation.parse().ok(),
            reason: self.reason.map(plain),
            method: self.method.map(plain),
            path: self.path.map(plain),
            client_address: self.client_address.map(plain),
            user_agent: self.user_agent.map(plain),
        })
    }
}

/// A call, with its texts as they were before they were written.
pub(super) struct Call<'a> {
    /// When, in milliseconds.
    pub(super) time: i64,
    outcome: Outcome,
    token_id: Option<TokenId>,
    generation: Option<u64>,
    reason: Option<Cow<'a, str>>,
    method: Option<Cow<'a, str>>,
    path: Option<Cow<'a, str>>,
    client_address: Option<Cow<'a, str>>,
    user_agent: Option<Cow<'a, str>>,
}

impl Call<'_> {
    /// The token, if it was good.
    pub(super) fn good_token(&self) -> Option<TokenId> {
        self.token_id.filter(|_| self.outcome == Outcome::Allowed)
    }

    /// As a roll-up takes it in, at the time that it is believed to have been.
    pub(super) fn seen_at(&self, time: i64) -> Seen<'_> {
        Seen {
            time,
            outcome: self.outcome,
            reason: self.reason.as_deref(),
            token_id: self.token_id,
            generation: self.generation,
            method: self.method.as_deref(),
            path: self.path.as_deref(),
            client_address: self.client_address.as_deref(),
            user_agent: self.user_agent.as_deref(),
        }
    }
}

/// A text without its escapes. Most have none.
fn plain(text: &str) -> Cow<'_, str> {
    if memchr::memchr(b'\\', text.as_bytes()).is_none() {
        return Cow::Borrowed(text);
    }
    serde_json::from_str(&format!("\"{text}\"")).map_or(Cow::Borrowed(text), Cow::Owned)
}

/// A member's name, which we have given and in which nothing is escaped, and what follows it.
fn name(text: &str) -> Option<(&str, &str)> {
    let quoted = text.strip_prefix('"')?;
    let (name, after) = quoted.split_at_checked(memchr::memchr(b'"', quoted.as_bytes())?)?;
    Some((name, after.strip_prefix("\":")?))
}

/// A member's value, without the quotation marks of a text, and what follows it. Of what has members of its own, nothing.
fn value(text: &str) -> Option<(&str, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        if text.starts_with(['{', '[']) {
            return Some(("", "}"));
        }
        let end = memchr::memchr2(b',', b'}', text.as_bytes())?;
        return text.split_at_checked(end);
    };
    let mut end = 0;
    loop {
        end += memchr::memchr2(b'"', b'\\', quoted.as_bytes().get(end..)?)?;
        if quoted.as_bytes().get(end) == Some(&b'"') {
            return Some((quoted.get(..end)?, quoted.get(end + 1..)?));
        }
        end += 2;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::audit::Event;

    fn event(texts: &str) -> Event {
        let time = DateTime::from_timestamp_millis(1_700_000_000_123).unwrap();
        let mut event = Event::new(time, kinds::CALL, Outcome::Refused);
        event.path = Some(texts.to_owned());
        event.user_agent = Some(texts.to_owned());
        event.detail("said", json!({"kind": "call", "outcome": "allowed", "actor_id": texts, "token_id": texts}))
    }

    #[test]
    fn a_text_from_outside_is_taken_for_no_member() {
        let id = AccountId::nobody();
        for text in [
            format!(
                r#"","account_id":"{id}","actor_id":"{id}","token_id":"00112233445566778899aabbccddeeff","outcome":"allowed","x":""#
            ),
            format!(r#"","account_id":"{id}","details":{{"#),
            r#"\"#.to_owned(),
            r#"\","kind":"x"#.to_owned(),
        ] {
            let line = event(&text).to_line();
            let told = Told::of(&line).unwrap();
            assert_eq!((told.kind, told.outcome), (kinds::CALL, "refused"), "{line}");
            assert_eq!((told.account, told.actor, told.token), (None, None, None), "{line}");
            let call = told.call().unwrap();
            assert_eq!(call.seen_at(0).path, Some(text.as_str()));
            assert_eq!(call.seen_at(0).user_agent, Some(text.as_str()));
        }
    }

    #[test]
    fn what_decides_where_an_event_goes_is_read_as_it_was_written() {
        let mut event = event("/");
        let (account, actor) = (AccountId::nobody(), "0197f0a0-0000-7000-8000-0000deadbeef".parse().unwrap());
        event.account_id = Some(account);
        event.actor_id = Some(actor);
        event.token_id = Some("00112233445566778899aabbccddeeff".parse().unwrap());
        event.generation = Some(3);
        event.key_id = Some("key".to_owned());
        event.reason = Some("superseded".to_owned());
        let line = event.to_line();
        let told = Told::of(&line).unwrap();
        assert_eq!(told.actor, Some(actor.to_string().as_str()));
        assert!(told.is_about(account) && !told.is_about(actor) && !told.is_allowed());
        assert_eq!((told.time_ms(), told.token_id()), (Some(event.time.timestamp_millis()), event.token_id));
        assert_eq!(told.key_id, Some("key"));
        let call = told.call().unwrap();
        let seen = call.seen_at(7);
        assert_eq!((seen.time, seen.generation, seen.reason), (7, Some(3), Some("superseded")));
        for unreadable in
            ["", "{}", "{\"kind\":\"call\"}", "?", line.get(1..).unwrap(), "{\"kind\":\"call", "{\"kind\":"]
        {
            assert!(Told::of(unreadable).is_none(), "{unreadable}");
        }
        for end in 0..line.len() {
            // Whatever is cut off is not read beyond its end.
            let _ = Told::of(line.get(..end).unwrap());
        }
    }
}
