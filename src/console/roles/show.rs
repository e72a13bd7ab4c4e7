//! A role.

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
use crate::name::RoleName;
use crate::permission::{Role, is_built_in};

#[derive(Template)]
#[template(path = "console/roles/show.html")]
struct Show<'a> {
    role: &'a Role,
    built_in: bool,
    /// `None`: not for whoever may not read accounts.
    holders: Option<Holders>,
}

/// `GET /console/roles/{name}`
pub async fn page(
    visitor: Visitor<RolesRead>,
    Ready(authority): Ready,
    Name(name): Name<RoleName>,
    asked: Asked,
) -> Result<Response, Problem> {
    let visit = visitor.visit();
    let role = match authority.role(&name).await {
        // As somebody might type it.
        Err(Error::NotFound(_)) if name.as_str() == "new" => return Ok(see_other("/console/roles/~new")),
        role => role?.definition,
    };
    let built_in = is_built_in(&name);
    let holders = match visit.may("accounts:read") {
        true => {
            let total = authority.count_of_roles([&name]).await?.into_iter().next().flatten();
            Some(Holders::of_role(&authority, &name, &asked, total).await?)
        }
        false => None,
    };
    let page = Page::new(visit, Section::Roles, name.to_string());
    let page = match visit.may("roles:write") && !built_in {
        true => page
            .primary("Edit", format!("{}/edit", super::path(&name)))
            .action("Delete …", format!("{}/delete", super::path(&name))),
        false => page,
    };
    page.answer(&Show { role: &role, built_in, holders })
}
