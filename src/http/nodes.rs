//! `/api/v1/nodes`

use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::extract::{Caller, NoQuery, Ready};
use super::no_store;
use super::permissions::NodesRead;
use super::problem::Problem;
use crate::authority::Error;
use crate::store::Node;

/// Nodes, by name.
#[derive(Serialize, ToSchema)]
pub struct NodeList {
    items: Vec<Node>,
}

/// List the nodes: the age of their leases, what they have applied, how much they have to do.
#[utoipa::path(get, path = "/nodes", tag = "nodes", security(("bearer" = ["nodes:read"])),
    responses((status = 200, body = NodeList)))]
pub async fn list(_caller: Caller<NodesRead>, Ready(authority): Ready, _: NoQuery) -> Result<Response, Problem> {
    let items = authority.store().nodes().await.map_err(Error::from)?;
    Ok(no_store(axum::Json(NodeList { items })))
}
