//! A team is made.

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;

use super::super::form::Form;
use super::super::menu::Section;
use super::super::named::description;
use super::super::notice::Notice;
use super::super::shell::Page;
use super::super::visit::{Fields, Sent, Visit, Visitor};
use crate::authority::{Error, Precondition};
use crate::http::Problem;
use crate::http::extract::Ready;
use crate::http::permissions::RolesWrite;
use crate::permission::Team;
use crate::web::FieldError;

#[derive(Template)]
#[template(path = "console/teams/new.html")]
struct New<'a> {
    form_token: &'a str,
    form: Form,
}

/// `GET /console/teams/~new`
pub async fn page(visitor: Visitor<RolesWrite>) -> Result<Response, Problem> {
    making(visitor.visit(), Form::new())
}

fn making(visit: &Visit, form: Form) -> Result<Response, Problem> {
    let page = Page::new(visit, Section::Teams, "New team");
    let page = match form.problem() {
        Some(problem) => page.telling(problem.clone()),
        None => page,
    };
    page.answer(&New { form_token: &visit.form_token, form })
}

/// `POST` of the same.
pub async fn create(
    visitor: Visitor<RolesWrite>,
    Ready(authority): Ready,
    Sent(fields): Sent,
) -> Result<Response, Problem> {
    let mut errors = Vec::new();
    let name = fields.read("name", &mut errors);
    let description = description(&fields, &mut errors);
    let (Some(name), Some(description)) = (name, description) else {
        return making(visitor.visit(), Form::wrong(&fields, errors));
    };
    let team = Team { name, description };
    let path = super::path(&team.name);
    match authority.set_team(&visitor, team, &Precondition::is_new()).await {
        Ok(changed) => Ok(Notice::done(format!("The team {} was made.", changed.value.name)).on(&path)),
        Err(Error::PreconditionFailed) => {
            let taken = FieldError { field: "name".into(), message: "there is a team of this name already".into() };
            making(visitor.visit(), Form::wrong(&fields, vec![taken]))
        }
        Err(error) => making(visitor.visit(), refused(&fields, error)?),
    }
}

/// The form again, with why it was refused. What is no matter of the form is a page of its own.
pub fn refused(fields: &Fields, error: Error) -> Result<Form, Problem> {
    let problem = Problem::from(error);
    let is_of_the_form = problem.status().is_client_error() && problem.status() != StatusCode::NOT_FOUND;
    if is_of_the_form { Ok(Form::refused(fields, problem)) } else { Err(problem) }
}
