//! A role is made.

use std::collections::BTreeSet;

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;

use super::super::form::Form;
use super::super::menu::Section;
use super::super::named::description;
use super::super::notice::Notice;
use super::super::shell::Page;
use super::super::visit::{Fields, Sent, Visit, Visitor};
use crate::audit::printable;
use crate::authority::{Error, Precondition};
use crate::http::Problem;
use crate::http::extract::Ready;
use crate::http::permissions::RolesWrite;
use crate::permission::{Grant, Role};
use crate::web::FieldError;

/// What Countermark's own API asks for.
pub const OWN: [&str; 12] = [
    "accounts:read",
    "accounts:write",
    "tokens:issue",
    "tokens:revoke",
    "tokens:renew",
    "tokens:introspect",
    "roles:read",
    "roles:write",
    "keys:read",
    "keys:rotate",
    "audit:read",
    "nodes:read",
];

#[derive(Template)]
#[template(path = "console/roles/new.html")]
struct New<'a> {
    form_token: &'a str,
    form: Form,
}

/// `GET /console/roles/~new`
pub async fn page(visitor: Visitor<RolesWrite>) -> Result<Response, Problem> {
    making(visitor.visit(), Form::new())
}

fn making(visit: &Visit, form: Form) -> Result<Response, Problem> {
    let page = Page::new(visit, Section::Roles, "New role");
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
    let permissions = permissions(&fields, &mut errors);
    let (Some(name), Some(description), Some(permissions)) = (name, description, permissions) else {
        return making(visitor.visit(), Form::wrong(&fields, errors));
    };
    let role = Role { name, description, permissions };
    let path = super::path(&role.name);
    match authority.set_role(&visitor, role, &Precondition::is_new()).await {
        Ok(changed) => Ok(Notice::done(format!("The role {} was made.", changed.value.name)).on(&path)),
        Err(Error::PreconditionFailed) => {
            let taken = FieldError { field: "name".into(), message: "there is a role of this name already".into() };
            making(visitor.visit(), Form::wrong(&fields, vec![taken]))
        }
        Err(error) => making(visitor.visit(), refused(&fields, error)?),
    }
}

/// The form again, with why it was refused. What is no matter of the form is a page of its own.
pub fn refused(fields: &Fields, error: Error) -> Result<Form, Problem> {
    let problem = Problem::from(error);
    match problem.status() {
        StatusCode::FORBIDDEN => Ok(Form::refused(fields, problem).beside("permissions")),
        status if status.is_client_error() => Ok(Form::refused(fields, problem)),
        _ => Err(problem),
    }
}

/// The permissions that were typed, one on each line.
pub fn permissions(fields: &Fields, errors: &mut Vec<FieldError>) -> Option<BTreeSet<Grant>> {
    let before = errors.len();
    let read = |line: &str| {
        let wrong = |error| FieldError {
            field: "permissions".into(),
            message: format!("“{}”: {error}", printable(line, 64)),
        };
        line.parse::<Grant>().map_err(wrong)
    };
    let mut grants = BTreeSet::new();
    for line in fields.lines("permissions") {
        match read(line) {
            Ok(grant) => _ = grants.insert(grant),
            // One is enough to know what is wrong with the others.
            Err(error) if errors.len() == before => errors.push(error),
            Err(_) => {}
        }
    }
    (errors.len() == before).then_some(grants)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::permission::Permission;

    #[test]
    fn what_is_suggested_is_a_permission() {
        assert!(OWN.iter().all(|text| text.parse::<Permission>().is_ok()));
    }
}
