//! One's own account: who one is, the password, the sessions.

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::http::header;
use axum::response::Response;
use axum::routing::{get, post};

use super::form::Form;
use super::menu::Section;
use super::notice::Notice;
use super::parts::{Now, Told, Untrusted, counted};
use super::shell::Page;
use super::visit::{Fields, Sent, Visit, Visitor};
use super::welcome::twice;
use crate::account::{Account, Kind};
use crate::authority::{Authority, Error, Password, SessionView};
use crate::http::{AnyToken, Edge, Problem, cookies, extract};
use crate::session::SessionId;

pub fn routes() -> Router<Arc<Edge>> {
    Router::new()
        .route("/console/me", get(page))
        .route("/console/me/password", post(change_password))
        .route("/console/me/sessions", post(end_sessions))
}

#[derive(Template)]
#[template(path = "console/me.html")]
struct Body<'a> {
    visit: &'a Visit,
    now: Now,
    account: Account,
    permissions: Vec<String>,
    teams: Vec<(String, Vec<String>)>,
    sessions: Vec<SessionView>,
    form: &'a Form,
}

impl Body<'_> {
    fn is_person(&self) -> bool {
        self.account.kind == Kind::User
    }

    fn password_set(&self) -> Option<Told> {
        let set_at = self.account.sign_in.as_ref()?.password_set_at?;
        Some(self.now.told(set_at))
    }
}

async fn page(visitor: Visitor<AnyToken>, extract::Ready(authority): extract::Ready) -> Result<Response, Problem> {
    answer(&visitor, &authority, &Form::new()).await
}

async fn answer(visitor: &Visitor<AnyToken>, authority: &Authority, form: &Form) -> Result<Response, Problem> {
    let me = authority.self_view(&visitor.actor).await?;
    let sessions = authority.sessions_of(visitor, visitor.actor.account()).await?;
    let body = Body {
        visit: visitor.visit(),
        now: Now(authority.clock().now()),
        account: me.account,
        permissions: me.permissions.iter().map(ToString::to_string).collect(),
        teams: me
            .team_permissions
            .iter()
            .map(|(team, grants)| (team.to_string(), grants.iter().map(ToString::to_string).collect()))
            .collect(),
        sessions,
        form,
    };
    let page = Page::new(visitor.visit(), Section::Me, Section::Me.title());
    match form.problem() {
        Some(problem) => page.telling(problem.clone()).answer(&body),
        None => page.answer(&body),
    }
}

async fn change_password(
    visitor: Visitor<AnyToken>,
    extract::Ready(authority): extract::Ready,
    Sent(fields): Sent,
) -> Result<Response, Problem> {
    let mut errors = Vec::new();
    let new = twice(&fields, &mut errors);
    let changed = match errors.is_empty() {
        true => {
            let present = Password::new(fields.text("present"));
            authority.change_password(&visitor, &present, &new).await
        }
        false => Err(Error::Invalid(errors)),
    };
    match changed {
        Ok((_, device)) => {
            let done = Notice::done("Your password is changed. All your other sessions have ended.");
            let mut response = done.on("/console/me");
            if let Some(device) = &device {
                response.headers_mut().append(header::SET_COOKIE, cookies::device(device)?);
            }
            Ok(response)
        }
        Err(error @ (Error::Invalid(_) | Error::TooManyTries(_) | Error::Busy)) => {
            let form = Form::refused(&Fields::default(), error.into()).naming("new", "password");
            answer(&visitor, &authority, &form).await
        }
        Err(error) => Err(error.into()),
    }
}

/// One session, or all others.
async fn end_sessions(
    visitor: Visitor<AnyToken>,
    extract::Ready(authority): extract::Ready,
    Sent(fields): Sent,
) -> Result<Response, Problem> {
    let account = visitor.actor.account();
    let text = if fields.text("session").is_empty() {
        let ended = authority.end_sessions(&visitor, account).await?;
        format!("{} ended.", counted(ended, "other session has", "other sessions have"))
    } else {
        let session: SessionId = fields.text("session").parse().map_err(|_| Error::NotFound("such session"))?;
        authority.end_session(&visitor, account, session).await?;
        "The session has ended.".to_owned()
    };
    Ok(Notice::done(text).on("/console/me"))
}
