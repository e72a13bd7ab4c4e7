//! `/api/v1/teams`

use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::accounts::Gone;
use super::extract::{Caller, Json, Name, NoQuery, Ready};
use super::no_store;
use super::permissions::{RolesRead, RolesWrite};
use super::problem::Problem;
use crate::authority::Receipt;
use crate::name::{Description, TeamName};
use crate::permission::Team;

/// What a team shall be. The name stands in the path; given here too, it must be the same.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TeamBody {
    #[serde(default, deserialize_with = "super::extract::given")]
    #[schema(nullable = false)]
    name: Option<TeamName>,
    #[serde(default)]
    description: Description,
}

/// A team after a change.
#[derive(Serialize, ToSchema)]
pub struct ChangedTeam {
    team: Team,
    receipt: Receipt,
}

/// Teams, by name.
#[derive(Serialize, ToSchema)]
pub struct TeamList {
    items: Vec<Team>,
}

/// List teams.
#[utoipa::path(get, path = "/teams", tag = "teams", security(("bearer" = ["roles:read"])),
    responses((status = 200, body = TeamList)))]
pub async fn list(_caller: Caller<RolesRead>, Ready(authority): Ready, _: NoQuery) -> Result<Response, Problem> {
    Ok(no_store(axum::Json(TeamList { items: authority.teams().await? })))
}

/// One team.
#[utoipa::path(get, path = "/teams/{name}", tag = "teams", params(("name" = TeamName, Path)),
    security(("bearer" = ["roles:read"])), responses((status = 200, body = Team)))]
pub async fn show(
    _caller: Caller<RolesRead>,
    Ready(authority): Ready,
    _: NoQuery,
    Name(name): Name<TeamName>,
) -> Result<Response, Problem> {
    Ok(no_store(axum::Json(authority.team(&name).await?)))
}

/// Create or change a team.
#[utoipa::path(put, path = "/teams/{name}", tag = "teams", request_body = TeamBody, params(("name" = TeamName, Path)),
    security(("bearer" = ["roles:write"])),
    responses((status = 200, body = ChangedTeam), (status = 201, body = ChangedTeam)))]
pub async fn set(
    caller: Caller<RolesWrite>,
    Ready(authority): Ready,
    _: NoQuery,
    Name(name): Name<TeamName>,
    Json(body): Json<TeamBody>,
) -> Result<Response, Problem> {
    if body.name.is_some_and(|other| other != name) {
        return Err(Problem::invalid_field("name", "it is another one than in the path"));
    }
    let changed = authority.set_team(&caller, Team { name, description: body.description }).await?;
    let status = if changed.created { StatusCode::CREATED } else { StatusCode::OK };
    Ok(no_store((status, axum::Json(ChangedTeam { team: changed.value, receipt: changed.receipt }))))
}

/// Delete a team without members.
#[utoipa::path(delete, path = "/teams/{name}", tag = "teams", params(("name" = TeamName, Path)),
    security(("bearer" = ["roles:write"])), responses((status = 200, body = Gone)))]
pub async fn delete(
    caller: Caller<RolesWrite>,
    Ready(authority): Ready,
    _: NoQuery,
    Name(name): Name<TeamName>,
) -> Result<Response, Problem> {
    Ok(no_store(axum::Json(Gone { receipt: authority.delete_team(&caller, &name).await? })))
}
