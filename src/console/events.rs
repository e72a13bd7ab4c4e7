//! Events as rows: of one account, or of all.

use std::collections::{BTreeMap, BTreeSet};

use askama::Template;
use askama::filters::HtmlSafe;

use super::form::Choice;
use super::parts::{Badge, Now, Untrusted, tame};
use super::visit::Visit;
use crate::account::AccountId;
use crate::audit::{Event, Outcome, kinds};
use crate::authority::Authority;
use crate::http::Problem;
use crate::name::Username;
use crate::store::AuditFilter;
use crate::verify::Reason;

/// Rows of a page: each may be a kilobyte and a half, with all that a client said of itself.
pub const ROWS: usize = 25;

/// What accounts are called that events name by their id alone: whoever acted upon another one, and whose token was refused before its
/// account was looked at.
#[derive(Default)]
pub struct Names(BTreeMap<AccountId, Username>);

impl Names {
    /// Of the accounts in these events; none for whoever may not read accounts.
    pub async fn of(visit: &Visit, authority: &Authority, events: &[Event]) -> Result<Self, Problem> {
        if !visit.may("accounts:read") {
            return Ok(Self::default());
        }
        let unnamed = events.iter().filter(|event| event.username.is_none()).filter_map(|event| event.account_id);
        let actors = events.iter().filter_map(|event| event.actor_id.filter(|actor| Some(*actor) != event.account_id));
        let wanted: BTreeSet<AccountId> = unnamed.chain(actors).collect();
        Ok(Self(authority.names_of(&wanted.into_iter().collect::<Vec<_>>()).await?))
    }

    /// Its name, or its id where it is not known.
    fn name(&self, account: AccountId) -> Untrusted<'_> {
        self.0.get(&account).map_or_else(|| Untrusted::owned(account.to_string()), |name| shown(name.as_str()))
    }
}

/// A table of events, from the newest on. Where the audit is followed live, new rows arrive at its top.
#[derive(Template)]
#[template(path = "console/parts/events.html")]
pub struct Events<'a> {
    now: Now,
    /// Whether names of accounts lead to their pages.
    links: bool,
    events: &'a [Event],
    names: &'a Names,
    of_one: Option<AccountId>,
    tail: Option<String>,
}

impl HtmlSafe for Events<'_> {}

impl<'a> Events<'a> {
    /// Of all accounts.
    pub fn of_all(visit: &Visit, events: &'a [Event], names: &'a Names) -> Self {
        let links = visit.may("accounts:read");
        Self { now: visit.clock(), links, events, names, of_one: None, tail: None }
    }

    /// Of one account: which one is not said again in each row.
    pub fn of_one(visit: &Visit, account: AccountId, events: &'a [Event], names: &'a Names) -> Self {
        Self { of_one: Some(account), ..Self::of_all(visit, events, names) }
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
        self.events.iter().map(|event| Row { event, names: self.names, of_one: self.of_one })
    }
}

/// One event.
struct Row<'a> {
    event: &'a Event,
    names: &'a Names,
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
        match (self.event.username.as_deref(), self.event.account_id) {
            (Some(name), _) => shown(name),
            (None, Some(account)) => self.names.name(account),
            (None, None) => shown(""),
        }
    }

    /// The permission that was demanded in vain.
    fn demanded(&self) -> Option<Untrusted<'a>> {
        let event = self.event;
        let permission = event.permission.as_deref().filter(|_| event.outcome == Outcome::Refused)?;
        Some(match event.team.as_deref() {
            Some(team) => Untrusted::owned(format!("{permission} in {team}")),
            None => shown(permission),
        })
    }

    fn address(&self) -> Untrusted<'a> {
        shown(self.event.client_address.as_deref().unwrap_or_default())
    }

    fn agent(&self) -> Option<Untrusted<'a>> {
        self.event.user_agent.as_deref().map(shown)
    }

    /// Who acted, where that is another account than the one that this is about.
    fn actor(&self) -> Option<(AccountId, Untrusted<'a>)> {
        let actor = self.event.actor_id.filter(|actor| Some(*actor) != self.event.account_id)?;
        Some((actor, self.names.name(actor)))
    }

    /// Upon whom, where an event stands among those of whoever acted.
    fn upon(&self) -> Option<AccountId> {
        self.event.account_id.filter(|account| self.of_one.is_some_and(|one| one != *account))
    }

    /// What a row has no column for: never nothing.
    fn details(&self) -> Vec<(String, Untrusted<'a>)> {
        let event = self.event;
        let text = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
        let details = event.details.iter().flatten();
        let mut told: Vec<_> = details.map(|(name, value)| (name.replace('_', " "), text(value))).collect();
        let mut tell = |name: &str, value: Option<String>| told.extend(value.map(|value| (name.to_owned(), value)));
        if event.kind != kinds::CALL {
            tell(
                "request",
                event.method.as_ref().zip(event.path.as_ref()).map(|(method, path)| format!("{method} {path}")),
            );
        }
        tell("request id", event.request_id.clone());
        tell("permission", event.permission.clone());
        tell("team", event.team.clone());
        tell("token id", event.token_id.as_ref().map(ToString::to_string));
        tell("generation", event.generation.map(|generation| generation.to_string()));
        tell("node", Some(format!("{}, event {}", event.node, event.sequence)));
        told.into_iter().map(|(name, value)| (tame(&name, 40), Untrusted::owned(value))).collect()
    }
}

/// Kinds of events to filter by.
pub fn kinds() -> Vec<Choice> {
    let kinds = kinds::ALL.iter().map(|kind| Choice::new(*kind, title_of(kind)));
    std::iter::once(Choice::new("", "Any")).chain(kinds).collect()
}

/// Outcomes to filter by.
pub fn outcomes() -> Vec<Choice> {
    let outcomes = Outcome::ALL.iter().map(|outcome| Choice::new(outcome.as_str(), Badge::of_outcome(*outcome).word()));
    std::iter::once(Choice::new("", "Any")).chain(outcomes).collect()
}

/// Reasons to choose from where one is typed: of refusals that the audit holds.
#[derive(Template)]
#[template(
    ext = "html",
    source = r#"<datalist id="known-reasons">{% for reason in Reason::ALL %}<option value="{{ reason.as_str() }}"></option>{% endfor %}</datalist>"#
)]
pub struct Reasons;

impl HtmlSafe for Reasons {}

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
        kinds::RAISE => "Lost change made up for",
        kinds::ISSUER_FORGET => "Issuer declared gone",
        kinds::BOOTSTRAP => "Dataset created",
        kinds::BACKUP => "Backup made",
        kinds::RESTORE => "Restored from a backup",
        other => other,
    }
}
