//! Events as rows: of one account, or of all.

use askama::Template;
use askama::filters::HtmlSafe;

use super::parts::{Badge, Now, Untrusted};
use super::visit::Visit;
use crate::account::AccountId;
use crate::audit::{Event, Outcome, kinds};
use crate::store::AuditFilter;

/// Rows of a page: each may be a kilobyte and a half, with all that a client said of itself.
pub const ROWS: usize = 25;

/// A table of events, from the newest on. Where the audit is followed live, new rows arrive at its top.
#[derive(Template)]
#[template(path = "console/parts/events.html")]
pub struct Events<'a> {
    now: Now,
    /// Whether names of accounts lead to their pages.
    links: bool,
    events: &'a [Event],
    of_one: Option<AccountId>,
    tail: Option<String>,
}

impl HtmlSafe for Events<'_> {}

impl<'a> Events<'a> {
    /// Of all accounts.
    pub fn of_all(visit: &Visit, events: &'a [Event]) -> Self {
        let links = visit.may("accounts:read");
        Self { now: visit.clock(), links, events, of_one: None, tail: None }
    }

    /// Of one account: which one is not said again in each row.
    pub fn of_one(visit: &Visit, account: AccountId, events: &'a [Event]) -> Self {
        Self { of_one: Some(account), ..Self::of_all(visit, events) }
    }

    /// With a button to follow those that pass as they are written.
    #[must_use]
    pub fn followed(mut self, filter: &AuditFilter) -> Self {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let mut query = form_urlencoded::Serializer::new(String::new());
        let given = [
            ("account", self.of_one.map(|account| account.to_string()).unwrap_or_default()),
            ("kind", text(&filter.kind)),
            ("outcome", filter.outcome.map_or("", Outcome::as_str).to_owned()),
            ("reason", text(&filter.reason)),
            ("node", text(&filter.node)),
            ("method", text(&filter.method)),
            ("path", text(&filter.path)),
            ("address", filter.address.map(|network| network.to_string()).unwrap_or_default()),
        ];
        query.extend_pairs(given.iter().filter(|(_, value)| !value.is_empty()));
        self.tail = Some(format!("/api/v1/audit/tail?{}", query.finish()));
        self
    }

    fn rows(&self) -> impl Iterator<Item = Row<'a>> {
        self.events.iter().map(|event| Row { event, of_one: self.of_one })
    }
}

/// One event.
struct Row<'a> {
    event: &'a Event,
    of_one: Option<AccountId>,
}

impl<'a> Row<'a> {
    fn outcome(&self) -> Badge {
        Badge::of_outcome(self.event.outcome)
    }

    /// `GET /a/b`, or what was done.
    fn what(&self) -> Untrusted<'a> {
        match (self.event.kind.as_str(), &self.event.method, &self.event.path) {
            (kinds::CALL, Some(method), Some(path)) => Untrusted::owned(format!("{method} {path}")),
            (kind, ..) => shown(title_of(kind)),
        }
    }

    fn reason(&self) -> Option<Untrusted<'a>> {
        self.event.reason.as_deref().map(shown)
    }

    fn username(&self) -> Untrusted<'a> {
        shown(self.event.username.as_deref().unwrap_or_default())
    }

    fn address(&self) -> Untrusted<'a> {
        shown(self.event.client_address.as_deref().unwrap_or_default())
    }

    fn agent(&self) -> Option<Untrusted<'a>> {
        self.event.user_agent.as_deref().map(shown)
    }

    fn request(&self) -> Untrusted<'a> {
        shown(self.event.request_id.as_deref().unwrap_or_default())
    }

    /// Who acted, where that is another account than the one that this is about.
    fn actor(&self) -> Option<AccountId> {
        self.event.actor_id.filter(|actor| Some(*actor) != self.event.account_id)
    }

    /// Upon whom, where an event stands among those of whoever acted.
    fn upon(&self) -> Option<AccountId> {
        self.event.account_id.filter(|account| self.of_one.is_some_and(|one| one != *account))
    }

    fn details(&self) -> Vec<(Untrusted<'a>, Untrusted<'a>)> {
        let details = self.event.details.iter().flatten();
        let text = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
        details.map(|(name, value)| (Untrusted::owned(name.replace('_', " ")), Untrusted::owned(text(value)))).collect()
    }
}

fn shown(text: &str) -> Untrusted<'_> {
    Untrusted::new(text).at_most(120)
}

/// What an event of this kind is called.
pub fn title_of(kind: &str) -> &str {
    match kind {
        kinds::CALL => "Call",
        kinds::TOKEN_EXPOSED => "Token sent in plain text",
        kinds::INVALID_SIGNATURES => "Invalid signatures",
        kinds::ACCOUNT_CREATE => "Account created",
        kinds::ACCOUNT_UPDATE => "Account changed",
        kinds::ACCOUNT_DELETE => "Account deleted",
        kinds::SESSION_BEGIN => "Signed in",
        kinds::SESSION_END => "Session ended",
        kinds::PASSWORD_LINK => "Link to set a password",
        kinds::PASSWORD_SET => "Password set",
        kinds::TOKEN_REGENERATE => "New token generated",
        kinds::TOKEN_RENEW => "Token renewed by its holder",
        kinds::TOKEN_REVOKE => "Token revoked",
        kinds::OVERLAP_END => "Overlap ended",
        kinds::ROLE_SET => "Role set",
        kinds::ROLE_DELETE => "Role deleted",
        kinds::TEAM_SET => "Team set",
        kinds::TEAM_DELETE => "Team deleted",
        kinds::KEY_PREPARE => "Signing key prepared",
        kinds::KEY_ACTIVATE => "Signing key activated",
        kinds::KEY_RETIRE => "Signing key retired",
        kinds::KEY_REVOKE => "Signing key revoked",
        kinds::MASTER_KEY => "Master key changed",
        kinds::AUDIT_DROPPED => "Calls without an event",
        kinds::AUDIT_KEY => "Audit key changed",
        kinds::RECOVER => "Admin recovered",
        kinds::BOOTSTRAP => "Dataset created",
        other => other,
    }
}
