//! Teams: who is in them.

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
use crate::name::TeamName;

/// The pages. No team can have the name of the one on which a team is made.
pub fn routes() -> Router<Arc<Edge>> {
    Router::new()
        .route("/console/teams", get(list::page))
        .route("/console/teams/~new", get(new::page).post(new::create))
        .route("/console/teams/{name}", get(show::page))
        .route("/console/teams/{name}/edit", get(edit::page).post(edit::save))
        .route("/console/teams/{name}/delete", get(delete::page).post(delete::delete))
}

fn path(name: &TeamName) -> String {
    format!("/console/teams/{name}")
}

/// A page about a team.
fn page_of<'a>(visit: &'a Visit, name: &TeamName, title: &str) -> Page<'a> {
    Page::new(visit, Section::Teams, title).under(name.to_string(), path(name))
}
