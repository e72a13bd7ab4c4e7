//! `/api/v1/teams`

use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::accounts::Gone;
use super::extract::{Caller, Json, Name, NoQuery, Only, Ready};
use super::permissions::{RolesRead, RolesWrite};
use super::problem::Problem;
use super::{no_store, tagged};
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

/// One team. The `ETag` is its version.
#[utoipa::path(get, path = "/teams/{name}", tag = "teams", params(("name" = TeamName, Path)),
    security(("bearer" = ["roles:read"])), responses((status = 200, body = Team)))]
pub async fn show(
    _caller: Caller<RolesRead>,
    Ready(authority): Ready,
    _: NoQuery,
    Name(name): Name<TeamName>,
) -> Result<Response, Problem> {
    let team = authority.team(&name).await?;
    Ok(tagged(team.version, axum::Json(team.definition)))
}

/// Create or change a team. With `If-Match` only if it is still of that version, with `If-None-Match: *` only if there is none yet.
/// The receipt's `epoch` is its version from then on.
#[utoipa::path(put, path = "/teams/{name}", tag = "teams", request_body = TeamBody,
    params(("name" = TeamName, Path), ("If-Match" = Option<String>, Header, description = "The version that was read"), ("If-None-Match" = Option<String>, Header, description = "`*`: only if there is none yet")),
    security(("bearer" = ["roles:write"])),
    responses((status = 200, body = ChangedTeam), (status = 201, body = ChangedTeam)))]
pub async fn set(
    caller: Caller<RolesWrite>,
    Ready(authority): Ready,
    _: NoQuery,
    Name(name): Name<TeamName>,
    Only(only): Only,
    Json(body): Json<TeamBody>,
) -> Result<Response, Problem> {
    if body.name.is_some_and(|other| other != name) {
        return Err(Problem::invalid_field("name", "it is another one than in the path"));
    }
    let team = Team { name, description: body.description };
    let changed = authority.set_team(&caller, team, &only).await?;
    let status = if changed.created { StatusCode::CREATED } else { StatusCode::OK };
    Ok(no_store((status, axum::Json(ChangedTeam { team: changed.value, receipt: changed.receipt }))))
}

/// Delete a team without members; with `If-Match` only if it is still of that version.
#[utoipa::path(delete, path = "/teams/{name}", tag = "teams",
    params(("name" = TeamName, Path), ("If-Match" = Option<String>, Header, description = "The version that was read")),
    security(("bearer" = ["roles:write"])), responses((status = 200, body = Gone)))]
pub async fn delete(
    caller: Caller<RolesWrite>,
    Ready(authority): Ready,
    _: NoQuery,
    Name(name): Name<TeamName>,
    Only(only): Only,
) -> Result<Response, Problem> {
    Ok(no_store(axum::Json(Gone { receipt: authority.delete_team(&caller, &name, &only).await? })))
}
