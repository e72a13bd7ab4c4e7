//! An account: its facts, its token, who uses it, what happened last, and what can be done.

use askama::Template;
use axum::extract::Extension;
use axum::response::Response;

use super::super::asked::Asked;
use super::super::events::{Events, Names};
use super::super::notice::{Notice, see_other};
use super::super::parts::{Badge, Copy, Now, Tone, Untrusted, counted};
use super::super::shell::Page;
use super::super::visit::{Visit, Visitor};
use super::Place;
use super::activity;
use super::sessions::Sessions;
use super::usage::{Used, Window, window};
use crate::account::{Account, AccountId, Status};
use crate::audit::Event;
use crate::authority::{AccountRef, Act, Authority, DeadToken, Error, SessionView};
use crate::http::Problem;
use crate::http::extract::{Account as Wanted, Ready};
use crate::http::permissions::AccountsRead;

/// Events on the account's own page.
const NEWEST: usize = 10;

/// The page of an account.
#[derive(Template)]
#[template(path = "console/accounts/show.html")]
pub struct Show<'a> {
    place: Place,
    now: Now,
    visit: &'a Visit,
    account: &'a Account,
    path: String,
    /// Whoever may not read the audit sees neither.
    used: Option<Used>,
    newest: Option<Vec<Event>>,
    names: Names,
    /// Of a person.
    sessions: Vec<SessionView>,
    window: Window,
    /// It may do nothing that the visitor may not.
    may_dispose: bool,
    default_audience: &'a str,
}

/// `GET /console/service-accounts/{account}`
pub async fn page(
    visitor: Visitor<AccountsRead>,
    Ready(authority): Ready,
    Extension(place): Extension<Place>,
    Wanted(wanted): Wanted,
    asked: Asked,
) -> Result<Response, Problem> {
    let account = match place.account(&authority, &wanted).await {
        Err(problem) if problem.status() == 404 => return elsewhere(&authority, &wanted, problem).await,
        other => other?.view(),
    };
    Show::answer(visitor.visit(), &visitor, &authority, place, &account, window(asked.text("window")), None).await
}

/// One of the other kind has its page elsewhere, and one that was deleted has its activity.
async fn elsewhere(authority: &Authority, wanted: &AccountRef, problem: Problem) -> Result<Response, Problem> {
    match authority.id_of(wanted).await {
        Ok(id) => Ok(see_other(&format!("/console/accounts/{id}"))),
        Err(Error::NotFound(_)) => Err(problem),
        Err(error) => Err(error.into()),
    }
}

impl<'a> Show<'a> {
    /// The page again, with why something was not done.
    pub async fn telling(
        visit: &Visit,
        act: &Act,
        authority: &Authority,
        place: Place,
        account: AccountId,
        problem: Problem,
    ) -> Result<Response, Problem> {
        let account = place.account(authority, &AccountRef::Id(account)).await?.view();
        Self::answer(visit, act, authority, place, &account, Window::Day, Some(problem)).await
    }

    async fn answer(
        visit: &Visit,
        act: &Act,
        authority: &Authority,
        place: Place,
        account: &Account,
        window: Window,
        problem: Option<Problem>,
    ) -> Result<Response, Problem> {
        let (used, newest) = if visit.may("audit:read") {
            let (used, newest) = tokio::try_join!(
                Used::of(authority, account.id, visit.now, window),
                activity::newest(authority, account.id, NEWEST)
            )?;
            (Some(used), Some(newest))
        } else {
            (None, None)
        };
        let names = Names::of(visit, authority, newest.as_deref().unwrap_or_default()).await?;
        let stored = authority.account(&AccountRef::Id(account.id)).await?;
        let may_dispose = authority.may_dispose_of(act, &stored).await?;
        let sessions = authority.sessions_of(act, account.id).await?;
        let path = place.path(account.id);
        let mut page = Page::new(visit, place.section(), account.username.to_string());
        if visit.may("accounts:write") {
            page = page.action("Edit", format!("{path}/edit"));
        }
        if place == Place::ServiceAccounts
            && visit.may("tokens:issue")
            && may_dispose
            && account.status == Status::Active
        {
            page = page.primary("Generate new authentication token", format!("{path}/token"));
        }
        if place == Place::Users && visit.may("tokens:issue") && may_dispose && account.status == Status::Active {
            page = page.action("New link to set the password", format!("{path}/link"));
        }
        if let Some(problem) = problem {
            page = page.notice(Notice::failed(&problem)).telling(problem);
        }
        page.answer(&Show {
            place,
            now: visit.clock(),
            visit,
            account,
            path,
            used,
            newest,
            names,
            sessions,
            window,
            may_dispose,
            default_audience: authority.own_audience().as_str(),
        })
    }

    fn status(&self) -> Badge {
        Badge::of_status(self.account.status)
    }

    /// How its token stands.
    fn of_token(&self) -> Badge {
        match &self.account.token {
            None => Badge::new(Tone::Plain, "None"),
            Some(_) if self.account.status == Status::Disabled => Badge::new(Tone::Bad, "Account disabled"),
            Some(token) if self.now.is_past(token.expires_at) => Badge::new(Tone::Bad, "Expired"),
            Some(_) => Badge::new(Tone::Good, "Good"),
        }
    }

    fn description(&self) -> Untrusted<'_> {
        Untrusted::new(self.account.description.as_str()).at_most(500)
    }

    /// What is used although it is dead, in a sentence.
    fn dead(&self) -> Option<String> {
        let dead = self.account.dead_tokens.as_ref()?;
        Some(format!(
            "{} of this account is dead and still used: {}, the last {}.",
            counted(dead.tokens, "token", "tokens"),
            counted(dead.calls, "call was refused for it", "calls were refused for it"),
            self.now.relative(dead.last_used_at),
        ))
    }

    fn dead_tokens(&self) -> &[DeadToken] {
        self.used.as_ref().map(Used::dead).unwrap_or_default()
    }

    fn of_dead<'t>(&self, text: &'t Option<String>) -> Untrusted<'t> {
        Untrusted::new(text.as_deref().unwrap_or_default()).at_most(100)
    }

    fn events<'t>(&'t self, events: &'t [Event]) -> Events<'t> {
        Events::of_one(self.visit, self.account.id, events, &self.names)
    }

    fn sessions(&self) -> Sessions<'_> {
        Sessions { visit: self.visit, now: self.now, path: &self.path, sessions: &self.sessions }
    }

    /// Of machines only where somebody has signed in with the token of one.
    fn shows_sessions(&self) -> bool {
        self.place == Place::Users || !self.sessions.is_empty()
    }

    fn copy<'t>(&self, id: &'t str, what: &'t str) -> Copy<'t> {
        Copy { id, what }
    }

    fn has_token(&self) -> bool {
        self.place == Place::ServiceAccounts || self.account.token.is_some()
    }

    /// Where it is not what the page is about.
    fn may_generate_here(&self) -> bool {
        self.place == Place::Users && self.visit.may("tokens:issue") && self.may_dispose && self.is_active()
    }

    fn is_day(&self) -> bool {
        self.window == Window::Day
    }

    fn is_active(&self) -> bool {
        self.account.status == Status::Active
    }
}
