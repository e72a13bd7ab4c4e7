//! A team is deleted.

use axum::response::Response;

use super::super::notice::Notice;
use super::super::parts::{Confirm, Empty};
use super::super::visit::{Sent, Visitor};
use super::edit::to_change;
use super::{page_of, path};
use crate::authority::{Authority, Error};
use crate::http::Problem;
use crate::http::extract::{Name, Ready};
use crate::http::permissions::RolesWrite;
use crate::name::TeamName;

/// `GET /console/teams/{name}/delete`
pub async fn page(
    visitor: Visitor<RolesWrite>,
    Ready(authority): Ready,
    Name(name): Name<TeamName>,
) -> Result<Response, Problem> {
    deleting(&visitor, &authority, &name, None).await
}

async fn deleting(
    visitor: &Visitor<RolesWrite>,
    authority: &Authority,
    name: &TeamName,
    problem: Option<Problem>,
) -> Result<Response, Problem> {
    let team = to_change(visitor, authority, name).await?;
    let visit = visitor.visit();
    let page = page_of(visit, name, "Delete the team");
    let page = match problem {
        Some(problem) => page.notice(Notice::failed(&problem)).telling(problem),
        None => page,
    };
    let members = authority.count_of_teams([name]).await?.into_iter().next().flatten();
    if members.is_some_and(|members| members > 0) {
        let text = "A team that accounts are in can't be deleted. Take them out of it first.";
        return page.answer(&Empty::new("The team has members", text).action("Show its members", path(name)));
    }
    page.answer(&Confirm {
        form_token: &visit.form_token,
        action: &format!("{}/delete", path(name)),
        version: &team.version.to_string(),
        consequences: &[
            format!("No account can be made a member of {name} any more."),
            match members {
                Some(_) => "It has no members now.".to_owned(),
                None => "It is deleted only if it has no members.".to_owned(),
            },
        ],
        sends: &[],
        typed: None,
        error: None,
        button: &format!("Delete {name}"),
        back: &path(name),
    })
}

/// `POST` of the same.
pub async fn delete(
    visitor: Visitor<RolesWrite>,
    Ready(authority): Ready,
    Name(name): Name<TeamName>,
    Sent(fields): Sent,
) -> Result<Response, Problem> {
    to_change(&visitor, &authority, &name).await?;
    let only = fields.unchanged()?;
    match authority.delete_team(&visitor, &name, &only).await {
        Ok(_) => Ok(Notice::done(format!("The team {name} was deleted.")).on("/console/teams")),
        Err(error @ (Error::PreconditionFailed | Error::TeamInUse(_))) => {
            deleting(&visitor, &authority, &name, Some(error.into())).await
        }
        Err(error) => Err(error.into()),
    }
}
