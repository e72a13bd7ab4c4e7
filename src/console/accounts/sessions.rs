//! The sessions of an account that somebody else looks after.

use askama::Template;
use askama::filters::HtmlSafe;
use axum::extract::Extension;
use axum::response::Response;

use super::super::notice::Notice;
use super::super::parts::{Now, Untrusted, counted};
use super::super::visit::{Sent, Visit, Visitor};
use super::Place;
use crate::authority::{Error, SessionView};
use crate::http::Problem;
use crate::http::extract::{Account as Wanted, Ready};
use crate::http::permissions::AccountsWrite;
use crate::permission::Permission;

/// Rows of the table.
const ROWS: usize = 20;

/// The sessions of an account.
#[derive(Template)]
#[template(path = "console/accounts/sessions.html")]
pub struct Sessions<'a> {
    /// Who looks.
    pub visit: &'a Visit,
    /// The moment that times are told by.
    pub now: Now,
    /// The path of the account.
    pub path: &'a str,
    /// From the newest on.
    pub sessions: &'a [SessionView],
}

impl HtmlSafe for Sessions<'_> {}

impl<'a> Sessions<'a> {
    fn rows(&self) -> impl Iterator<Item = &'a SessionView> {
        self.sessions.iter().take(ROWS)
    }

    fn more(&self) -> usize {
        self.sessions.len().saturating_sub(ROWS)
    }

    fn address(&self, session: &SessionView) -> String {
        session.client_address.map_or_else(|| "unknown".to_owned(), |address| address.to_string())
    }

    fn agent<'t>(&self, session: &'t SessionView) -> Untrusted<'t> {
        Untrusted::new(session.user_agent.as_deref().unwrap_or("unknown")).at_most(100)
    }
}

/// `POST /console/users/{account}/sessions`: one session ends, or all of them.
pub async fn end(
    visitor: Visitor<AccountsWrite>,
    Ready(authority): Ready,
    Extension(place): Extension<Place>,
    Wanted(wanted): Wanted,
    Sent(fields): Sent,
) -> Result<Response, Problem> {
    authority.demand_also(&visitor, &Permission::known("accounts:read"))?;
    let account = place.account(&authority, &wanted).await?.id;
    let said = if fields.text("session").is_empty() {
        let ended = authority.end_sessions(&visitor, account).await?;
        format!("{} ended.", counted(ended, "session has", "sessions have"))
    } else {
        let session = fields.text("session").parse().map_err(|_| Error::NotFound("such session"))?;
        match authority.end_session(&visitor, account, session).await {
            Ok(()) => "The session has ended.".to_owned(),
            // It ended by itself, or somebody else was quicker.
            Err(Error::NotFound(_)) => "The session had ended already.".to_owned(),
            Err(error) => return Err(error.into()),
        }
    };
    Ok(Notice::done(said).on(&place.path(account)))
}
