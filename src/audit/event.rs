use std::borrow::Cow;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::account::AccountId;
use crate::clock::rfc3339;
use crate::token::TokenId;

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub enum Outcome {
    /// A call that was let through.
    Allowed,
    /// A call or an act that was refused.
    Refused,
    /// An act that was carried out.
    Done,
    /// An act that was allowed and failed.
    Failed,
}

impl std::str::FromStr for Outcome {
    type Err = crate::name::Invalid;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "allowed" => Ok(Self::Allowed),
            "refused" => Ok(Self::Refused),
            "done" => Ok(Self::Done),
            "failed" => Ok(Self::Failed),
            _ => Err(crate::name::Invalid::new("an outcome is one of allowed, refused, done, failed")),
        }
    }
}

/// The kinds of events.
pub mod kinds {
    /// A call with a token: a verification, or a read of Countermark's own API.
    pub const CALL: &str = "call";
    /// A bearer token came in plain text from elsewhere.
    pub const TOKEN_EXPOSED: &str = "token.exposed";
    /// One in a minute of the calls of an address with invalid signatures.
    pub const INVALID_SIGNATURES: &str = "call.invalid";
    /// An account was created.
    pub const ACCOUNT_CREATE: &str = "account.create";
    /// An account was changed.
    pub const ACCOUNT_UPDATE: &str = "account.update";
    /// An account was deleted.
    pub const ACCOUNT_DELETE: &str = "account.delete";
    /// A token of a new generation was issued.
    pub const TOKEN_REGENERATE: &str = "token.regenerate";
    /// A token of a new generation was issued to its own holder.
    pub const TOKEN_RENEW: &str = "token.renew";
    /// An account's tokens were revoked.
    pub const TOKEN_REVOKE: &str = "token.revoke";
    /// The previous token's overlap ended.
    pub const OVERLAP_END: &str = "token.overlap_end";
    /// A role was created or changed.
    pub const ROLE_SET: &str = "role.set";
    /// A role was deleted.
    pub const ROLE_DELETE: &str = "role.delete";
    /// A team was created or changed.
    pub const TEAM_SET: &str = "team.set";
    /// A team was deleted.
    pub const TEAM_DELETE: &str = "team.delete";
    /// An admin got a new token on the machine itself.
    pub const RECOVER: &str = "admin.recover";
    /// The store was set up.
    pub const BOOTSTRAP: &str = "dataset.create";
}

/// One entry. It holds no token, no `jti`, no query, no cookie and no body (A4).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Event {
    /// UUIDv7.
    pub id: Uuid,
    /// When it happened, on the node's clock.
    #[serde(with = "rfc3339")]
    pub time: DateTime<Utc>,
    /// The node that decided.
    pub node: String,
    /// Its number on that node; without gaps.
    pub sequence: u64,
    /// What happened: see [`kinds`].
    pub kind: String,
    /// The account that it is about.
    #[serde(default)]
    #[cfg_attr(feature = "server", schema(required = true))]
    pub account_id: Option<AccountId>,
    /// That account's name.
    #[serde(default)]
    #[cfg_attr(feature = "server", schema(required = true))]
    pub username: Option<String>,
    /// The account's token that it is about.
    #[serde(default)]
    #[cfg_attr(feature = "server", schema(required = true))]
    pub token_id: Option<TokenId>,
    /// That token's generation.
    #[serde(default)]
    #[cfg_attr(feature = "server", schema(required = true))]
    pub generation: Option<u64>,
    /// The key that signed it.
    #[serde(default)]
    #[cfg_attr(feature = "server", schema(required = true))]
    pub key_id: Option<String>,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it was refused or failed.
    #[serde(default)]
    #[cfg_attr(feature = "server", schema(required = true))]
    pub reason: Option<String>,
    /// The method of the request.
    #[serde(default)]
    #[cfg_attr(feature = "server", schema(required = true))]
    pub method: Option<String>,
    /// The path of the request, without query.
    #[serde(default)]
    #[cfg_attr(feature = "server", schema(required = true))]
    pub path: Option<String>,
    /// The team asked for.
    #[serde(default)]
    #[cfg_attr(feature = "server", schema(required = true))]
    pub team: Option<String>,
    /// The permission asked for.
    #[serde(default)]
    #[cfg_attr(feature = "server", schema(required = true))]
    pub permission: Option<String>,
    /// Where it came from.
    #[serde(default)]
    #[cfg_attr(feature = "server", schema(required = true))]
    pub client_address: Option<String>,
    /// What the client says it is.
    #[serde(default)]
    #[cfg_attr(feature = "server", schema(required = true))]
    pub user_agent: Option<String>,
    /// The id of the request, also in its answer.
    #[serde(default)]
    #[cfg_attr(feature = "server", schema(required = true))]
    pub request_id: Option<String>,
    /// How long the decision took, in microseconds.
    #[serde(default)]
    #[cfg_attr(feature = "server", schema(required = true))]
    pub duration_us: Option<u64>,
    /// The account that acted, where that is not the one it is about.
    #[serde(default)]
    #[cfg_attr(feature = "server", schema(required = true))]
    pub actor_id: Option<AccountId>,
    /// More, by kind.
    #[serde(default)]
    #[cfg_attr(feature = "server", schema(required = true, value_type = Option<Object>))]
    pub details: Option<Map<String, Value>>,
}

impl Event {
    /// An event that says nothing yet but when, where and what.
    pub fn new(time: DateTime<Utc>, kind: &str, outcome: Outcome) -> Self {
        Self {
            id: crate::clock::uuid_v7(time),
            time,
            node: String::new(),
            sequence: 0,
            kind: kind.to_owned(),
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
    #[must_use]
    pub fn detail(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.details.get_or_insert_default().insert(name.to_owned(), value.into());
        self
    }

    /// One line of JSON without the members that are null.
    pub fn to_line(&self) -> String {
        match serde_json::to_value(self) {
            Ok(Value::Object(mut members)) => {
                members.retain(|_, value| !value.is_null());
                Value::Object(members).to_string()
            }
            // Every member has a JSON form.
            _ => String::new(),
        }
    }

    /// Reads what [`Event::to_line`] wrote.
    pub fn from_line(line: &str) -> Option<Self> {
        serde_json::from_str(line).ok()
    }
}

/// A text from outside as it may stand in an entry: at most `length` characters, control characters replaced.
///
/// A4: what has the form of a token, or of its header or payload alone, is taken out, wherever a client may have put it and
/// however it has written it.
pub fn printable(text: &str, length: usize) -> String {
    redacted(text).chars().take(length).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// Without tokens, however often what is left is decoded: what reads as one may only come to light when another is gone.
fn redacted(text: &str) -> Cow<'_, str> {
    /// Nobody who is not looking for trouble writes a token within a token.
    const ROUNDS: usize = 4;
    let mut kept = Cow::Borrowed(text);
    for _ in 0..ROUNDS {
        match without_hidden_tokens(&kept) {
            Some(less) => kept = Cow::Owned(less),
            None => return kept,
        }
    }
    Cow::Borrowed("(token)")
}

/// As it was written, or with percent-encoding undone, twice at the most: a gateway may have added one. `None`: there are none.
fn without_hidden_tokens(text: &str) -> Option<String> {
    without_tokens(text).or_else(|| {
        let once = text.contains('%').then(|| decoded(text))?;
        without_tokens(&once).or_else(|| without_tokens(&decoded(&once)))
    })
}

/// `None`: there are none.
fn without_tokens(text: &str) -> Option<String> {
    /// Shorter than any header or payload of ours.
    const SHORT: usize = 32;
    // With what may stand there percent-encoded: a token that is so in the middle is one all the same.
    let of_a_token = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '%');
    let (mut kept, mut found) = (String::new(), false);
    let mut rest = text;
    while !rest.is_empty() {
        let word = rest.split(|c| !of_a_token(c)).next().unwrap_or_default();
        let (word, after) = rest.split_at(word.len());
        // A JSON object begins with {" and so its base64 with eyJ.
        match word.find("eyJ").filter(|start| word.len() - start > SHORT) {
            Some(start) => {
                kept.push_str(word.get(..start).unwrap_or_default());
                kept.push_str("(token)");
                found = true;
            }
            None => kept.push_str(word),
        }
        let (between, next) = after.split_at(after.find(of_a_token).unwrap_or(after.len()));
        kept.push_str(between);
        rest = next;
    }
    found.then_some(kept)
}

/// Percent-encoding undone.
fn decoded(text: &str) -> String {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let byte = (*first == b'%')
            .then(|| std::str::from_utf8(tail.get(..2)?).ok())
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        decoded.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { tail.get(2..).unwrap_or_default() } else { tail };
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a4_a_token_in_a_text_from_outside_is_taken_out() {
        let token = "eyJhbGciOiJFUzI1NiIsInR5cCI6ImF0K2p3dCJ9.eyJpc3MiOiJodHRwczovL2xvY2FsaG9zdCJ9.c2lnbmF0dXJl";
        assert_eq!(printable(&format!("/a/{token}/b?x"), 512), "/a/(token)/b?x");
        assert_eq!(printable(&format!("curl {token}"), 200), "curl (token)");
        assert_eq!(printable(token, 200), "(token)");
        for part in token.split('.').take(2) {
            assert_eq!(printable(&format!("/{part}/x"), 200), "/(token)/x");
        }
        assert_eq!(printable(&format!("/{}", token.replace('.', "%2E").replace("eyJ", "%65yJ")), 200), "/(token)");
        assert_eq!(printable(&format!("/{}", token.replace("eyJ", "%2565yJ")), 200), "/(token)");
        // Decoding must not be what hides one.
        for prefix in ["%4", "%254", "%25254"] {
            let shown = printable(&format!("/{prefix}{token}"), 200);
            assert!(shown.ends_with("(token)") && !shown.contains("yJ"), "{shown}");
        }
        let encoded = token.replace("eyJ", "%65yJ");
        assert_eq!(printable(&format!("/{token}/{encoded}"), 200), "/(token)/(token)");
        for part in [5, token.find('.').unwrap() + 9] {
            let encoded = format!("{}%{:02X}{}", &token[..part], token.as_bytes()[part], &token[part + 1..]);
            assert_eq!(printable(&format!("/{encoded}/x"), 200), "/(token)/x");
            assert_eq!(printable(&format!("/{}/x", encoded.replace('%', "%25")), 200), "/(token)/x");
        }
        let nested =
            (0..9).fold(String::new(), |text, _| format!("{token}/{}", text.replace('e', "%65").replace('%', "%25")));
        assert!(!printable(&nested, 1000).contains("yJ"));
        assert_eq!(printable("/a%20b/%zz/100%", 200), "/a%20b/%zz/100%");
        assert_eq!(printable("/eyJ.b/ä\u{1b}c", 200), "/eyJ.b/ä\u{fffd}c");
        assert_eq!(printable(&"ä".repeat(9), 3), "äää");
    }

    #[test]
    fn a_line_reads_back() {
        let mut event =
            Event::new(DateTime::from_timestamp_millis(1_700_000_000_123).unwrap(), kinds::CALL, Outcome::Refused)
                .detail("a", 1);
        event.path = Some(printable("/a\nb", 100));
        let line = event.to_line();
        assert!(!line.contains("null") && !line.contains('\n'));
        assert_eq!(Event::from_line(&line).unwrap(), event);
    }
}
