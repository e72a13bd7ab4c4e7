//! Roles: what each grants, who has it; a change shows who gains and loses what before it is made.

mod delete;
mod edit;
mod list;
mod new;
mod show;

use std::sync::Arc;

use axum::Router;
use axum::routing::get;

use super::menu::Section;
use super::shell::Page;
use super::visit::Visit;
use crate::http::Edge;
use crate::name::RoleName;

/// The pages. No role can have the name of the one on which a role is made.
pub fn routes() -> Router<Arc<Edge>> {
    Router::new()
        .route("/console/roles", get(list::page))
        .route("/console/roles/~new", get(new::page).post(new::create))
        .route("/console/roles/{name}", get(show::page))
        .route("/console/roles/{name}/edit", get(edit::page).post(edit::save))
        .route("/console/roles/{name}/delete", get(delete::page).post(delete::delete))
}

fn path(name: &RoleName) -> String {
    format!("/console/roles/{name}")
}

/// A page about a role.
fn page_of<'a>(visit: &'a Visit, name: &RoleName, title: &str) -> Page<'a> {
    Page::new(visit, Section::Roles, title).under(name.to_string(), path(name))
}
