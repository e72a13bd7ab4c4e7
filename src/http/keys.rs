//! `/api/v1/keys`

use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::extract::{Caller, NoQuery, Ready};
use super::no_store;
use super::permissions::KeysRead;
use super::problem::Problem;
use crate::authority::KeyView;

/// Keys, in the order in which they were made.
#[derive(Serialize, ToSchema)]
pub struct KeyList {
    items: Vec<KeyView>,
}

/// List the signing keys.
#[utoipa::path(get, path = "/keys", tag = "keys", security(("bearer" = ["keys:read"])),
    responses((status = 200, body = KeyList)))]
pub async fn list(_caller: Caller<KeysRead>, Ready(authority): Ready, _: NoQuery) -> Result<Response, Problem> {
    Ok(no_store(axum::Json(KeyList { items: authority.key_views().await? })))
}
