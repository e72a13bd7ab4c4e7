//! Signing keys: how they come and go, who needs them, and what dies with one.

mod list;
mod revoke;
mod show;
mod steps;
mod timeline;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

use super::menu::Section;
use super::parts::{Badge, Tone};
use super::shell::Page;
use super::visit::Visit;
use crate::http::Edge;
use crate::verify::KeyState;

/// The pages. No key's id is as short as a word.
pub fn routes() -> Router<Arc<Edge>> {
    Router::new()
        .route("/console/keys", get(list::page))
        .route("/console/keys/prepare", post(steps::prepare))
        .route("/console/keys/{kid}", get(show::page))
        .route("/console/keys/{kid}/activate", post(steps::activate))
        .route("/console/keys/{kid}/retire", post(steps::retire))
        .route("/console/keys/{kid}/revoke", get(revoke::page).post(revoke::revoke))
}

fn path(id: &str) -> String {
    format!("/console/keys/{id}")
}

/// A page about a key.
fn page_of<'a>(visit: &'a Visit, id: &str, title: &str) -> Page<'a> {
    Page::new(visit, Section::Keys, title).under(short(id), path(id))
}

/// The beginning of an id, which is enough to tell keys apart.
fn short(id: &str) -> String {
    format!("{}…", id.chars().take(12).collect::<String>())
}

/// The state of a key.
fn badge(state: KeyState) -> Badge {
    match state {
        KeyState::Pending => Badge::new(Tone::Plain, "Pending"),
        KeyState::Active => Badge::new(Tone::Good, "Active"),
        KeyState::Retiring => Badge::new(Tone::Warn, "Retiring"),
        KeyState::Retired => Badge::new(Tone::Plain, "Retired"),
        KeyState::Revoked => Badge::new(Tone::Bad, "Revoked"),
    }
}
