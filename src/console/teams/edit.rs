//! What a team is for is said anew. Who is in it is a matter of the accounts.

use askama::Template;
use axum::response::Response;

use super::super::form::Form;
use super::super::named::description;
use super::super::notice::Notice;
use super::super::visit::{Sent, Visitor};
use super::new::refused;
use super::page_of;
use crate::authority::Authority;
use crate::epoch::Epoch;
use crate::http::Problem;
use crate::http::extract::{Name, Ready};
use crate::http::permissions::RolesWrite;
use crate::name::TeamName;
use crate::permission::{Permission, Team};
use crate::store::Named;

#[derive(Template)]
#[template(path = "console/teams/edit.html")]
struct Edit<'a> {
    form_token: &'a str,
    name: &'a TeamName,
    version: Epoch,
    form: Form,
}

/// The team that is to be changed. Whoever may write teams and not read them changes them over the API, where nothing is shown.
pub async fn to_change(
    visitor: &Visitor<RolesWrite>,
    authority: &Authority,
    name: &TeamName,
) -> Result<Named<Team>, Problem> {
    authority.demand_also(visitor, &Permission::known("roles:read"))?;
    Ok(authority.team(name).await?)
}

/// `GET /console/teams/{name}/edit`
pub async fn page(
    visitor: Visitor<RolesWrite>,
    Ready(authority): Ready,
    Name(name): Name<TeamName>,
) -> Result<Response, Problem> {
    let team = to_change(&visitor, &authority, &name).await?;
    editing(&visitor, &name, team.version, Form::new().with("description", team.definition.description.as_str()))
}

fn editing(visitor: &Visitor<RolesWrite>, name: &TeamName, version: Epoch, form: Form) -> Result<Response, Problem> {
    let visit = visitor.visit();
    let page = page_of(visit, name, "Edit the team");
    let page = match form.problem() {
        Some(problem) => page.telling(problem.clone()),
        None => page,
    };
    page.answer(&Edit { form_token: &visit.form_token, name, version, form })
}

/// `POST` of the same.
pub async fn save(
    visitor: Visitor<RolesWrite>,
    Ready(authority): Ready,
    Name(name): Name<TeamName>,
    Sent(fields): Sent,
) -> Result<Response, Problem> {
    let team = to_change(&visitor, &authority, &name).await?;
    let only = fields.unchanged()?;
    let mut errors = Vec::new();
    let Some(description) = description(&fields, &mut errors) else {
        return editing(&visitor, &name, team.version, Form::wrong(&fields, errors));
    };
    match authority.set_team(&visitor, Team { name: name.clone(), description }, &only).await {
        Ok(_) => Ok(Notice::done(format!("The team {name} was changed.")).on(&super::path(&name))),
        // Whoever sends it again has been told.
        Err(error) => {
            let version = to_change(&visitor, &authority, &name).await?.version;
            editing(&visitor, &name, version, refused(&fields, error)?)
        }
    }
}
