//! `/api/v1/users`, `/api/v1/accounts/{id}/password-link`, `/api/v1/self/password`

use std::collections::BTreeMap;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use ipnet::IpNet;
use serde::Deserialize;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::accounts::{Gone, networks};
use super::extract::{Account, Caller, Json, NoQuery, Only, Ready};
use super::permissions::{AccountsWrite, AnyToken, TokensIssue};
use super::problem::Problem;
use super::{cookies, no_store};
use crate::authority::{Invited, NewUser, Password};
use crate::name::{Description, RoleName, TeamName, Username};
use crate::permission::Permission;

/// A new person.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUserBody {
    /// The unique name to sign in with, for good.
    username: Username,
    /// For people; at most 500 characters.
    #[serde(default)]
    description: Description,
    /// The default role.
    role: RoleName,
    /// Team to role in that team.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, RoleName>)]
    teams: BTreeMap<TeamName, RoleName>,
    /// Networks (CIDR) from which he may come; none: everywhere.
    #[serde(default, deserialize_with = "networks")]
    #[schema(value_type = Vec<String>)]
    allowed_networks: Vec<IpNet>,
}

/// A link to set a password by.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PasswordLinkBody {
    /// Whether the present password ends with this, and all sessions that were begun with it; else it is good until the link is used.
    #[serde(default)]
    ends_present: bool,
}

/// Another password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PasswordBody {
    /// The one that is good now.
    #[schema(value_type = String, write_only)]
    present: Zeroizing<String>,
    /// At least 12 characters, and none of those that are easily guessed.
    #[schema(value_type = String, write_only, min_length = 12, max_length = 256)]
    new: Zeroizing<String>,
}

/// Create a person's account. The answer holds a link, shown this once, by which he sets his password. Needs `tokens:issue` as well.
#[utoipa::path(post, path = "/users", tag = "users", request_body = NewUserBody,
    security(("bearer" = ["accounts:write", "tokens:issue"])),
    responses((status = 201, body = Invited)))]
pub async fn create(
    caller: Caller<AccountsWrite>,
    Ready(authority): Ready,
    _: NoQuery,
    Json(body): Json<NewUserBody>,
) -> Result<Response, Problem> {
    authority.demand_also(&caller, &Permission::known("tokens:issue"))?;
    let new = NewUser {
        username: body.username,
        description: body.description,
        role: body.role,
        teams: body.teams,
        allowed_networks: body.allowed_networks,
    };
    let invited = authority.create_user(&caller, new).await?;
    let location = format!("/api/v1/accounts/{}", invited.account.id);
    let mut response = no_store((StatusCode::CREATED, axum::Json(invited)));
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// Make a link, shown this once, by which a person sets his password. An earlier one is gone.
#[utoipa::path(post, path = "/accounts/{account}/password-link", tag = "users", request_body = PasswordLinkBody,
    params(("account" = String, Path, description = "Id or username"), ("If-Match" = Option<String>, Header, description = "The version that was read")),
    security(("bearer" = ["tokens:issue"])), responses((status = 201, body = Invited)))]
pub async fn password_link(
    caller: Caller<TokensIssue>,
    Ready(authority): Ready,
    _: NoQuery,
    Account(account): Account,
    Only(only): Only,
    Json(body): Json<PasswordLinkBody>,
) -> Result<Response, Problem> {
    let invited = authority.password_link(&caller, &account, body.ends_present, &only).await?;
    Ok(no_store((StatusCode::CREATED, axum::Json(invited))))
}

/// Set my own password. All my other sessions end that were begun with the one before.
#[utoipa::path(post, path = "/self/password", tag = "self", request_body = PasswordBody, security(("bearer" = [])),
    responses((status = 200, body = Gone)))]
pub async fn change_own(
    caller: Caller<AnyToken>,
    Ready(authority): Ready,
    _: NoQuery,
    Json(body): Json<PasswordBody>,
) -> Result<Response, Problem> {
    let (present, new) = (Password::new(&body.present), Password::new(&body.new));
    let (receipt, device) = authority.change_password(&caller, &present, &new).await?;
    let mut response = no_store(axum::Json(Gone { receipt }));
    if let Some(device) = &device {
        response.headers_mut().append(header::SET_COOKIE, cookies::device(device)?);
    }
    Ok(response)
}
