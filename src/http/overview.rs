//! `/api/v1/overview`

use axum::response::Response;

use super::extract::{Caller, NoQuery, Ready};
use super::no_store;
use super::permissions::OwnToken;
use super::problem::Problem;
use crate::authority::Overview;

/// Everything at a glance: accounts, calls, receipts, audit, signing key, nodes. What the caller lacks the permission for is null.
#[utoipa::path(get, path = "/overview", tag = "overview", security(("bearer" = [])),
    responses((status = 200, body = Overview)))]
pub async fn show(caller: Caller<OwnToken>, Ready(authority): Ready, _: NoQuery) -> Result<Response, Problem> {
    Ok(no_store(axum::Json(authority.overview(&caller).await?)))
}
