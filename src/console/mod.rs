//! The console: pages for people, rendered by the server.
//!
//! It is an edge as [`http`](crate::http) is: every page is one call of the authority or a few, and what it can do, but for signing in, the API can do too.
//! Everything works without script; `console.js` only makes it better. No page loads anything from elsewhere, and none holds a style or
//! a script of its own.
//!
//! * `shell` puts a body into a page: menu, breadcrumbs, notices, and the headers that all pages have.
//! * `parts` are the small things that pages are made of. They escape what they are given; templates never use `|safe`.
//! * `form` is what was typed, and what is wrong with it.
//! * `visit` is who is signed in, and the fields that he sent.
//!
//! Then one file for each page.

mod accounts;
mod asked;
mod assets;
mod audit;
mod audit_status;
mod events;
mod failed;
mod form;
mod keys;
mod me;
mod menu;
mod named;
mod nodes;
mod notice;
mod overview;
mod parts;
mod roles;
mod shell;
mod sign_in;
mod teams;
mod visit;
mod welcome;

use std::sync::Arc;

use axum::Router;

use crate::http::Edge;

pub use shell::problem_page;

/// All pages, and what they load.
pub fn router() -> Router<Arc<Edge>> {
    Router::new()
        .merge(assets::routes())
        .merge(sign_in::routes())
        .merge(welcome::routes())
        .merge(me::routes())
        .merge(overview::routes())
        .merge(accounts::routes())
        .merge(roles::routes())
        .merge(teams::routes())
        .merge(keys::routes())
        .merge(audit::routes())
        .merge(audit_status::routes())
        .merge(nodes::routes())
        .layer(axum::middleware::from_fn(failed::within_the_menu))
}
