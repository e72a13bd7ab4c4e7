//! A team.

use askama::Template;
use axum::response::Response;

use super::super::asked::Asked;
use super::super::menu::Section;
use super::super::named::{Holders, told};
use super::super::notice::see_other;
use super::super::shell::Page;
use super::super::visit::Visitor;
use crate::authority::Error;
use crate::http::Problem;
use crate::http::extract::{Name, Ready};
use crate::http::permissions::RolesRead;
use crate::name::TeamName;
use crate::permission::Team;

#[derive(Template)]
#[template(path = "console/teams/show.html")]
struct Show<'a> {
    team: &'a Team,
    /// `None`: not for whoever may not read accounts.
    members: Option<Holders>,
}

/// `GET /console/teams/{name}`
pub async fn page(
    visitor: Visitor<RolesRead>,
    Ready(authority): Ready,
    Name(name): Name<TeamName>,
    asked: Asked,
) -> Result<Response, Problem> {
    let visit = visitor.visit();
    let team = match authority.team(&name).await {
        // As somebody might type it.
        Err(Error::NotFound(_)) if name.as_str() == "new" => return Ok(see_other("/console/teams/~new")),
        team => team?.definition,
    };
    let members = match visit.may("accounts:read") {
        true => {
            let total = authority.count_of_teams([&name]).await?.into_iter().next().flatten();
            Some(Holders::of_team(&authority, &name, &asked, total).await?)
        }
        false => None,
    };
    let page = Page::new(visit, Section::Teams, name.to_string());
    let page = match visit.may("roles:write") {
        true => page
            .primary("Edit", format!("{}/edit", super::path(&name)))
            .action("Delete …", format!("{}/delete", super::path(&name))),
        false => page,
    };
    page.answer(&Show { team: &team, members })
}
