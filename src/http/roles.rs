//! `/api/v1/roles`

use std::collections::BTreeSet;

use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::accounts::Gone;
use super::extract::{Caller, Json, Name, NoQuery, Only, Ready};
use super::permissions::{RolesRead, RolesWrite};
use super::problem::Problem;
use super::{no_store, tagged};
use crate::authority::{Receipt, RolePreview};
use crate::name::{Description, RoleName};
use crate::permission::{Grant, Permission, Role};

/// What a role shall be. The name stands in the path; given here too, it must be the same.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleBody {
    #[serde(default, deserialize_with = "super::extract::given")]
    #[schema(nullable = false)]
    name: Option<RoleName>,
    #[serde(default)]
    description: Description,
    /// `resource:action`; either half may be `*`.
    permissions: BTreeSet<Grant>,
}

/// A role after a change.
#[derive(Serialize, ToSchema)]
pub struct ChangedRole {
    role: Role,
    receipt: Receipt,
}

/// Roles, by name.
#[derive(Serialize, ToSchema)]
pub struct RoleList {
    items: Vec<Role>,
}

/// List roles.
#[utoipa::path(get, path = "/roles", tag = "roles", security(("bearer" = ["roles:read"])),
    responses((status = 200, body = RoleList)))]
pub async fn list(_caller: Caller<RolesRead>, Ready(authority): Ready, _: NoQuery) -> Result<Response, Problem> {
    Ok(no_store(axum::Json(RoleList { items: authority.roles().await? })))
}

/// One role. The `ETag` is its version.
#[utoipa::path(get, path = "/roles/{name}", tag = "roles", params(("name" = RoleName, Path)),
    security(("bearer" = ["roles:read"])), responses((status = 200, body = Role)))]
pub async fn show(
    _caller: Caller<RolesRead>,
    Ready(authority): Ready,
    _: NoQuery,
    Name(name): Name<RoleName>,
) -> Result<Response, Problem> {
    let role = authority.role(&name).await?;
    Ok(tagged(role.version, axum::Json(role.definition)))
}

/// Create or change a role. It holds for all who have it, without a new token. With `If-Match` only if it is still of that version,
/// with `If-None-Match: *` only if there is none yet. The receipt's `epoch` is its version from then on.
#[utoipa::path(put, path = "/roles/{name}", tag = "roles", request_body = RoleBody,
    params(("name" = RoleName, Path), ("If-Match" = Option<String>, Header, description = "The version that was read"), ("If-None-Match" = Option<String>, Header, description = "`*`: only if there is none yet")),
    security(("bearer" = ["roles:write"])),
    responses((status = 200, body = ChangedRole), (status = 201, body = ChangedRole)))]
pub async fn set(
    caller: Caller<RolesWrite>,
    Ready(authority): Ready,
    _: NoQuery,
    Name(name): Name<RoleName>,
    Only(only): Only,
    Json(body): Json<RoleBody>,
) -> Result<Response, Problem> {
    if body.name.is_some_and(|other| other != name) {
        return Err(Problem::invalid_field("name", "it is another one than in the path"));
    }
    let role = Role { name, description: body.description, permissions: body.permissions };
    let changed = authority.set_role(&caller, role, &only).await?;
    let status = if changed.created { StatusCode::CREATED } else { StatusCode::OK };
    Ok(no_store((status, axum::Json(ChangedRole { role: changed.value, receipt: changed.receipt }))))
}

/// Delete a role that no account has; with `If-Match` only if it is still of that version.
#[utoipa::path(delete, path = "/roles/{name}", tag = "roles",
    params(("name" = RoleName, Path), ("If-Match" = Option<String>, Header, description = "The version that was read")),
    security(("bearer" = ["roles:write"])), responses((status = 200, body = Gone)))]
pub async fn delete(
    caller: Caller<RolesWrite>,
    Ready(authority): Ready,
    _: NoQuery,
    Name(name): Name<RoleName>,
    Only(only): Only,
) -> Result<Response, Problem> {
    Ok(no_store(axum::Json(Gone { receipt: authority.delete_role(&caller, &name, &only).await? })))
}

/// What a role shall grant.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PreviewBody {
    /// `resource:action`; either half may be `*`.
    permissions: BTreeSet<Grant>,
}

/// Which accounts would gain and lose what if the role granted this. Nothing is changed. Needs `accounts:read` as well.
#[utoipa::path(post, path = "/roles/{name}/preview", tag = "roles", request_body = PreviewBody,
    params(("name" = RoleName, Path)), security(("bearer" = ["roles:read", "accounts:read"])),
    responses((status = 200, body = RolePreview)))]
pub async fn preview(
    caller: Caller<RolesRead>,
    Ready(authority): Ready,
    _: NoQuery,
    Name(name): Name<RoleName>,
    Json(body): Json<PreviewBody>,
) -> Result<Response, Problem> {
    authority.demand_also(&caller, &Permission::known("accounts:read"))?;
    Ok(no_store(axum::Json(authority.preview_role(&name, &body.permissions).await?)))
}
