//! The pages that links lead to, each of which works once: the first person's, and the one by which a password is set.

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;

use super::form::Form;
use super::notice::Notice;
use super::shell::bare_page;
use super::visit::{Fields, SentByStranger};
use crate::authority::{Authority, Error, Link, Password, PasswordSet};
use crate::http::{Edge, InPage, Problem, cookies, extract};
use crate::name::Username;
use crate::session::Secret;
use crate::web::FieldError;

pub fn routes() -> Router<Arc<Edge>> {
    Router::new()
        .route("/console/setup", get(setup).post(set_up))
        .route("/console/password", get(password).post(set_password))
}

/// What a link holds.
#[derive(Deserialize)]
struct Query {
    #[serde(default)]
    link: String,
}

#[derive(Template)]
#[template(path = "console/setup.html")]
struct SetupPage<'a> {
    form: &'a Form,
    link: &'a str,
}

#[derive(Template)]
#[template(path = "console/password.html")]
struct PasswordPage<'a> {
    form: &'a Form,
    link: &'a str,
    username: &'a Username,
}

async fn setup(
    extract::Ready(authority): extract::Ready,
    extract::Query(query): extract::Query<Query>,
) -> Result<Response, Problem> {
    authority.setup_is_open(&secret(&query.link)?).await?;
    let form = Form::new().with("username", "");
    bare_page(StatusCode::OK, SETUP, &SetupPage { form: &form, link: &query.link })
}

const SETUP: &str = "Create the first admin";

async fn set_up(
    State(edge): State<Arc<Edge>>,
    call: extract::ThisCall,
    SentByStranger(fields): SentByStranger,
) -> Result<Response, Problem> {
    let link = fields.text("link");
    let done = create_first(&*edge.authority()?, &call, &fields).await;
    match done {
        Ok(set) => can_sign_in(&set),
        Err(error) => {
            let form = wrong(&fields, error)?;
            let response = bare_page(status(&form), SETUP, &SetupPage { form: &form, link })?;
            Ok(telling(response, &form))
        }
    }
}

async fn create_first(authority: &Authority, call: &extract::ThisCall, fields: &Fields) -> Result<PasswordSet, Error> {
    let secret = secret(fields.text("link"))?;
    let mut errors = Vec::new();
    let username: Option<Username> = fields.read("username", &mut errors);
    let password = twice(fields, &mut errors);
    match username {
        Some(username) if errors.is_empty() => authority.set_up(call, &secret, username, &password).await,
        _ => Err(Error::Invalid(errors)),
    }
}

async fn password(
    extract::Ready(authority): extract::Ready,
    extract::Query(query): extract::Query<Query>,
) -> Result<Response, Problem> {
    let username = authority.link_holder(&query.link.parse::<Link>()?).await?;
    let page = PasswordPage { form: &Form::new(), link: &query.link, username: &username };
    bare_page(StatusCode::OK, PASSWORD, &page)
}

const PASSWORD: &str = "Set your password";

async fn set_password(
    State(edge): State<Arc<Edge>>,
    call: extract::ThisCall,
    SentByStranger(fields): SentByStranger,
) -> Result<Response, Problem> {
    let authority = edge.authority()?;
    let text = fields.text("link");
    let link: Link = text.parse()?;
    let mut errors = Vec::new();
    let password = twice(&fields, &mut errors);
    let set = match errors.is_empty() {
        true => authority.set_password_by_link(&call, &link, &password).await,
        false => Err(Error::Invalid(errors)),
    };
    match set {
        Ok(set) => can_sign_in(&set),
        Err(error) => {
            let form = wrong(&fields, error)?;
            let username = authority.link_holder(&link).await?;
            let page = PasswordPage { form: &form, link: text, username: &username };
            Ok(telling(bare_page(status(&form), PASSWORD, &page)?, &form))
        }
    }
}

fn secret(link: &str) -> Result<Secret, Error> {
    link.parse().map_err(|_| Error::LinkGone)
}

fn can_sign_in(set: &PasswordSet) -> Result<Response, Problem> {
    let mut response =
        Notice::done(format!("Your password is set. Sign in as {}.", set.username)).on("/console/sign-in");
    if let Some(device) = &set.device {
        response.headers_mut().append(header::SET_COOKIE, cookies::device(device)?);
    }
    Ok(response)
}

/// The new password, typed twice.
pub fn twice(fields: &Fields, errors: &mut Vec<FieldError>) -> Password {
    if fields.text("password") != fields.text("repeated") {
        errors.push(FieldError { field: "repeated".into(), message: "this is another one than above".into() });
    }
    Password::new(fields.text("password"))
}

/// The form again, where something in it can be put right; else the problem itself.
fn wrong(fields: &Fields, error: Error) -> Result<Form, Problem> {
    match error {
        Error::Invalid(_) | Error::Busy => Ok(Form::refused(fields, error.into())),
        Error::UsernameTaken => Ok(Form::refused(fields, error.into()).beside("username")),
        other => Err(other.into()),
    }
}

fn status(form: &Form) -> StatusCode {
    form.problem().map_or(StatusCode::UNPROCESSABLE_ENTITY, Problem::status)
}

fn telling(mut response: Response, form: &Form) -> Response {
    if let Some(problem) = form.problem() {
        response.extensions_mut().insert(InPage(problem.clone()));
    }
    response
}
