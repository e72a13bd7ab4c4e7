use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

#[cfg(feature = "server")]
use super::{Line, push_numbered};
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

impl Outcome {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Allowed, Self::Refused, Self::Done, Self::Failed];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Refused => "refused",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }
}

impl std::str::FromStr for Outcome {
    type Err = crate::name::Invalid;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|outcome| outcome.as_str() == text);
        found.ok_or_else(|| crate::name::Invalid::new("an outcome is one of allowed, refused, done, failed"))
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
    /// Somebody signed in, or tried to.
    pub const SESSION_BEGIN: &str = "session.begin";
    /// Somebody signed out, or sessions of an account were ended.
    pub const SESSION_END: &str = "session.end";
    /// A link was made by which somebody can set his password.
    pub const PASSWORD_LINK: &str = "password.link";
    /// Somebody has set his password.
    pub const PASSWORD_SET: &str = "password.set";
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
    /// A signing key was made, or taken in, and is published.
    pub const KEY_PREPARE: &str = "key.prepare";
    /// A signing key signs from now on.
    pub const KEY_ACTIVATE: &str = "key.activate";
    /// A signing key is published no longer.
    pub const KEY_RETIRE: &str = "key.retire";
    /// Nothing that a signing key signed is accepted any more.
    pub const KEY_REVOKE: &str = "key.revoke";
    /// The master key that seals the signing keys is being changed, or was.
    pub const MASTER_KEY: &str = "key.master";
    /// Calls were answered without an event, as there was no room for it: how many stands in the details.
    pub const AUDIT_DROPPED: &str = "audit.dropped";
    /// Another key signs checkpoints of the audit.
    pub const AUDIT_KEY: &str = "key.audit";
    /// An admin got a new token on the machine itself.
    pub const RECOVER: &str = "admin.recover";
    /// The store had lost a change, and what that had ended was ended again.
    pub const RAISE: &str = "store.raise";
    /// An issuer was declared gone: the store waits for it no more.
    pub const ISSUER_FORGET: &str = "node.forget";
    /// The store was set up.
    pub const BOOTSTRAP: &str = "dataset.create";
    /// Accounts, roles, teams and keys were written to a file.
    pub const BACKUP: &str = "dataset.backup";
    /// They, or what was missing of them, came back from such a file.
    pub const RESTORE: &str = "dataset.restore";

    /// All there are.
    pub const ALL: [&str; 31] = [
        CALL,
        TOKEN_EXPOSED,
        INVALID_SIGNATURES,
        ACCOUNT_CREATE,
        ACCOUNT_UPDATE,
        ACCOUNT_DELETE,
        SESSION_BEGIN,
        SESSION_END,
        PASSWORD_LINK,
        PASSWORD_SET,
        TOKEN_REGENERATE,
        TOKEN_RENEW,
        TOKEN_REVOKE,
        OVERLAP_END,
        ROLE_SET,
        ROLE_DELETE,
        TEAM_SET,
        TEAM_DELETE,
        KEY_PREPARE,
        KEY_ACTIVATE,
        KEY_RETIRE,
        KEY_REVOKE,
        MASTER_KEY,
        AUDIT_DROPPED,
        AUDIT_KEY,
        RECOVER,
        RAISE,
        ISSUER_FORGET,
        BOOTSTRAP,
        BACKUP,
        RESTORE,
    ];
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
    /// An event that says nothing yet but when and what.
    #[cfg(feature = "server")]
    pub fn new(time: DateTime<Utc>, kind: &str, outcome: Outcome) -> Self {
        Line::new(time, kind, outcome).to_event()
    }

    /// Adds a detail.
    #[cfg(feature = "server")]
    #[must_use]
    pub fn detail(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.details.get_or_insert_default().insert(name.to_owned(), value.into());
        self
    }

    /// One line of JSON without the members that are null.
    #[cfg(feature = "server")]
    pub fn to_line(&self) -> String {
        let mut numbered = String::new();
        Line::from(self).with_text(|line| push_numbered(&mut numbered, line, &self.node, self.sequence));
        numbered
    }

    /// Whether it is about this account, or of something that it did.
    #[cfg(feature = "server")]
    pub fn concerns(&self, account: AccountId) -> bool {
        self.account_id == Some(account) || self.actor_id == Some(account)
    }

    /// Reads what was written as a line.
    pub fn from_line(line: &str) -> Option<Self> {
        serde_json::from_str(line).ok()
    }
}

/// The event of an act, with a number that is good under one claim of the node's chain alone: under a later one the act can't be
/// committed with it, and its number is nobody's.
#[cfg(feature = "server")]
#[derive(Debug, Clone, PartialEq)]
pub struct Numbered {
    /// The event, with the node's name and its number there.
    pub event: Event,
    /// The claim.
    pub claim: String,
}

#[cfg(feature = "server")]
impl std::ops::Deref for Numbered {
    type Target = Event;

    fn deref(&self) -> &Event {
        &self.event
    }
}

#[cfg(all(test, feature = "server"))]
mod tests {
    use super::super::printable;
    use super::*;

    #[test]
    fn an_outcome_has_one_spelling() {
        for outcome in Outcome::ALL {
            assert_eq!(outcome.as_str().parse(), Ok(outcome));
            assert_eq!(serde_json::to_value(outcome).unwrap(), outcome.as_str());
        }
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
