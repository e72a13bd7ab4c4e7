//! All roles.

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
use crate::permission::{Role, is_built_in};

const FILTERS: [&str; 1] = ["query"];
/// Permissions that are named in a row.
const NAMED: usize = 6;

#[derive(Template)]
#[template(path = "console/roles/list.html")]
struct List<'a> {
    form: Form,
    roles: Vec<Row<'a>>,
    counts: bool,
    empty: Empty,
    pager: Pager,
    filtered: bool,
}

struct Row<'a> {
    role: &'a Role,
    accounts: Option<u64>,
}

impl Row<'_> {
    fn is_built_in(&self) -> bool {
        is_built_in(&self.role.name)
    }

    fn grants(&self) -> Vec<String> {
        self.role.permissions.iter().take(NAMED).map(ToString::to_string).collect()
    }

    fn more(&self) -> usize {
        self.role.permissions.len().saturating_sub(NAMED)
    }
}

/// `GET /console/roles`
pub async fn page(visitor: Visitor<RolesRead>, Ready(authority): Ready, asked: Asked) -> Result<Response, Problem> {
    let visit = visitor.visit();
    let query = asked.text("query").to_lowercase();
    let is_like = |role: &Role| {
        role.name.as_str().contains(&query)
            || role.description.as_str().to_lowercase().contains(&query)
            || role.permissions.iter().any(|grant| grant.to_string().contains(&query))
    };
    let mut roles = authority.roles().await?;
    roles.retain(is_like);
    let (some, next) = part_of(&roles, |role| role.name.as_str(), &asked);
    let counts = named::counts(visit);
    let accounts = match counts {
        true => authority.count_of_roles(some.iter().map(|role| &role.name)).await?,
        false => vec![None; some.len()],
    };
    let body = List {
        form: asked.form(Vec::new()),
        roles: some.iter().zip(accounts).map(|(role, accounts)| Row { role, accounts }).collect(),
        counts,
        empty: Empty::new("No roles like these", "Change what is searched for, or leave it out.")
            .action("Show all roles", "/console/roles"),
        pager: Pager::new(&asked, "/console/roles", &FILTERS, next.map(|role| role.name.as_str()), false),
        filtered: asked.any(&FILTERS),
    };
    let page = Page::new(visit, Section::Roles, Section::Roles.title());
    let page = if visit.may("roles:write") { page.primary("New role", "/console/roles/~new") } else { page };
    page.answer(&body)
}
