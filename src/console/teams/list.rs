//! All teams.

use askama::Template;
use axum::response::Response;

use super::super::asked::Asked;
use super::super::form::Form;
use super::super::menu::Section;
use super::super::named::{self, part_of, told};
use super::super::parts::{Empty, Pager};
use super::super::shell::Page;
use super::super::visit::Visitor;
use crate::http::Problem;
use crate::http::extract::Ready;
use crate::http::permissions::RolesRead;
use crate::permission::Team;

const FILTERS: [&str; 1] = ["query"];

#[derive(Template)]
#[template(path = "console/teams/list.html")]
struct List<'a> {
    form: Form,
    teams: Vec<(&'a Team, Option<u64>)>,
    counts: bool,
    empty: Empty,
    pager: Pager,
    filtered: bool,
}

/// `GET /console/teams`
pub async fn page(visitor: Visitor<RolesRead>, Ready(authority): Ready, asked: Asked) -> Result<Response, Problem> {
    let visit = visitor.visit();
    let query = asked.text("query").to_lowercase();
    let mut teams = authority.teams().await?;
    teams.retain(|team| {
        team.name.as_str().contains(&query) || team.description.as_str().to_lowercase().contains(&query)
    });
    let (some, next) = part_of(&teams, |team| team.name.as_str(), &asked);
    let counts = named::counts(visit);
    let members = match counts {
        true => authority.count_of_teams(some.iter().map(|team| &team.name)).await?,
        false => vec![None; some.len()],
    };
    let filtered = asked.any(&FILTERS);
    let may_write = visit.may("roles:write");
    let body = List {
        form: asked.form(Vec::new()),
        teams: some.iter().zip(members).collect(),
        counts,
        empty: match (filtered, may_write) {
            (true, _) => Empty::new("No teams like these", "Change what is searched for, or leave it out.")
                .action("Show all teams", "/console/teams"),
            (false, true) => Empty::new("There are no teams yet", "In a team an account can have a role of its own.")
                .action("New team", "/console/teams/~new"),
            (false, false) => Empty::new("There are no teams yet", "In a team an account can have a role of its own."),
        },
        pager: Pager::new(&asked, "/console/teams", &FILTERS, next.map(|team| team.name.as_str()), false),
        filtered,
    };
    let page = Page::new(visit, Section::Teams, Section::Teams.title());
    let page = if may_write { page.primary("New team", "/console/teams/~new") } else { page };
    page.answer(&body)
}
