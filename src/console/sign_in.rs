//! Signing in and out.

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use axum::routing::{get, post};
use serde::Deserialize;

use super::form::Form;
use super::notice::{Notice, see_other};
use super::shell::bare_page;
use super::visit::{Sent, SentByStranger, Visitor, within};
use crate::authority::{Begun, Error, Password};
use crate::http::{AnyToken, Edge, InPage, Problem, cookies, extract};

pub fn routes() -> Router<Arc<Edge>> {
    Router::new().route("/console/sign-in", get(page).post(sign_in)).route("/console/sign-out", post(sign_out))
}

#[derive(Template)]
#[template(path = "console/sign_in.html")]
struct Page<'a> {
    form: &'a Form,
    to: &'a str,
    notice: Option<&'a Notice>,
}

/// Where to go on.
#[derive(Deserialize)]
struct Query {
    #[serde(default)]
    to: String,
}

async fn page(headers: HeaderMap, extract::Query(query): extract::Query<Query>) -> Result<Response, Problem> {
    let notice = Notice::of(&headers);
    let page = Page { form: &Form::new(), to: within(&query.to), notice: notice.as_ref() };
    let mut response = bare_page(StatusCode::OK, "Sign in", &page)?;
    if notice.is_some() {
        Notice::was_said(&mut response);
    }
    Ok(response)
}

/// By username and password, or by a token: whichever field is filled.
async fn sign_in(
    State(edge): State<Arc<Edge>>,
    call: extract::ThisCall,
    headers: HeaderMap,
    SentByStranger(fields): SentByStranger,
) -> Result<Response, Problem> {
    let authority = edge.authority()?;
    let to = within(fields.text("to"));
    let token = fields.text("token").trim();
    let begun = if token.is_empty() {
        let device = cookies::secret(&headers, cookies::DEVICE);
        let password = Password::new(fields.text("password"));
        authority.sign_in(&call, fields.text("username"), &password, device.as_ref()).await
    } else {
        authority.sign_in_with_token(&call, token).await
    };
    match begun {
        Ok(begun) => let_in(&begun, to),
        Err(error @ (Error::Unavailable(_) | Error::Internal(_) | Error::Full(_))) => Err(error.into()),
        Err(error) => {
            let problem = Problem::from(error);
            let form = Form::refused(&fields, problem.clone());
            let page = Page { form: &form, to, notice: None };
            let mut response = bare_page(problem.status(), "Sign in", &page)?;
            if let Some(after) = problem.retry_after() {
                response.headers_mut().insert(header::RETRY_AFTER, after);
            }
            response.extensions_mut().insert(InPage(problem));
            Ok(response)
        }
    }
}

/// On to the page, with a new session: whatever session the browser had is another one's (session fixation).
fn let_in(begun: &Begun, to: &str) -> Result<Response, Problem> {
    let mut response = see_other(to);
    let headers = response.headers_mut();
    headers.append(header::SET_COOKIE, cookies::set(cookies::SESSION, &begun.secret, None)?);
    if let Some(device) = &begun.device {
        headers.append(header::SET_COOKIE, cookies::device(device)?);
    }
    Ok(response)
}

async fn sign_out(
    visitor: Visitor<AnyToken>,
    extract::Ready(authority): extract::Ready,
    Sent(_): Sent,
) -> Result<Response, Problem> {
    authority.sign_out(&visitor).await?;
    let mut response = Notice::done("You are signed out.").on("/console/sign-in");
    response.headers_mut().append(header::SET_COOKIE, cookies::remove(cookies::SESSION)?);
    Ok(response)
}
