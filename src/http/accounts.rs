//! `/api/v1/accounts`

use std::collections::BTreeMap;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::extract::{Account, Caller, Json, Limit, NoQuery, Only, Query, Ready, Time, given, text};
use super::permissions::{AccountsRead, AccountsWrite};
use super::problem::Problem;
use super::{no_store, tagged};
use crate::account::{Account as AccountView, Audience, Kind, Status};
use crate::authority::{AccountFilter, AccountPage, AccountPatch, Issued, NewAccount, Receipt};
use crate::name::{Description, RoleName, TeamName, Username};
use crate::permission::Permission;

/// A new account.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAccountBody {
    /// Its unique name, for good.
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
    /// APIs that its tokens are good for; none: the issuer's URL.
    #[serde(default)]
    audiences: Vec<Audience>,
    /// Networks (CIDR) that its tokens may be used from; none: everywhere.
    #[serde(default, deserialize_with = "networks")]
    #[schema(value_type = Vec<String>)]
    allowed_networks: Vec<IpNet>,
    /// 6, 12 or 24, unless configured otherwise.
    valid_for_months: u32,
}

/// What shall be changed; what is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AccountPatchBody {
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    description: Option<Description>,
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    role: Option<RoleName>,
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false, value_type = Option<BTreeMap<String, RoleName>>)]
    teams: Option<BTreeMap<TeamName, RoleName>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    audiences: Option<Vec<Audience>>,
    #[serde(default, deserialize_with = "given_networks")]
    #[schema(nullable = false, value_type = Option<Vec<String>>)]
    allowed_networks: Option<Vec<IpNet>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    status: Option<Status>,
}

pub(super) fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    Vec::<String>::deserialize(deserializer)?
        .into_iter()
        .map(|text| {
            let shown = crate::audit::printable(&text, 64);
            text.parse().map_err(|_| {
                serde::de::Error::custom(format!(
                    "{shown:?} is not a network in CIDR form, like 10.0.0.0/8 or 2001:db8::/32"
                ))
            })
        })
        .collect()
}

fn given_networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<IpNet>>, D::Error> {
    networks(deserializer).map(Some)
}

/// Which accounts are wanted.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AccountQuery {
    /// Part of the username or the description.
    #[serde(default)]
    #[param(nullable = false)]
    query: Option<String>,
    /// Whose username begins so.
    #[serde(default)]
    #[param(nullable = false)]
    prefix: Option<String>,
    /// Service accounts, or users.
    #[serde(default)]
    #[param(nullable = false, inline)]
    kind: Option<Kind>,
    /// With this role, by default or in a team.
    #[serde(default, deserialize_with = "text")]
    #[param(nullable = false)]
    role: Option<RoleName>,
    /// Members of this team.
    #[serde(default, deserialize_with = "text")]
    #[param(nullable = false)]
    team: Option<TeamName>,
    /// Of this status.
    #[serde(default)]
    #[param(nullable = false, inline)]
    status: Option<Status>,
    /// Whose token expires before this time.
    #[serde(default, deserialize_with = "text")]
    #[param(nullable = false, value_type = Option<String>, format = DateTime)]
    expires_before: Option<Time>,
    /// Items of a page: 1 to 500.
    #[serde(default, deserialize_with = "text")]
    #[param(nullable = false, value_type = Option<u32>, minimum = 1, maximum = 500)]
    limit: Option<Limit>,
    /// `next_cursor` of the page before.
    #[serde(default, deserialize_with = "text")]
    #[param(nullable = false, value_type = Option<String>)]
    cursor: Option<Cursor>,
}

/// The last username of the page before.
pub struct Cursor(pub String);

impl std::str::FromStr for Cursor {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let name = URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        name.filter(|name| name.parse::<Username>().is_ok()).map(Self).ok_or("it is not a next_cursor of this list")
    }
}

/// An account after a change.
#[derive(Serialize, ToSchema)]
pub struct ChangedAccount {
    account: AccountView,
    receipt: Receipt,
}

/// Something is gone.
#[derive(Serialize, ToSchema)]
pub struct Gone {
    /// Since when.
    pub receipt: Receipt,
}

/// Create an account with its first token, which is shown this once. Needs `tokens:issue` as well.
#[utoipa::path(post, path = "/accounts", tag = "accounts", request_body = NewAccountBody,
    security(("bearer" = ["accounts:write", "tokens:issue"])),
    responses((status = 201, body = Issued)))]
pub async fn create(
    caller: Caller<AccountsWrite>,
    Ready(authority): Ready,
    _: NoQuery,
    Json(body): Json<NewAccountBody>,
) -> Result<Response, Problem> {
    authority.demand_also(&caller, &Permission::known("tokens:issue"))?;
    let new = NewAccount {
        username: body.username,
        description: body.description,
        role: body.role,
        teams: body.teams,
        audiences: body.audiences,
        allowed_networks: body.allowed_networks,
        valid_for_months: body.valid_for_months,
    };
    let issued = authority.create_account(&caller, new).await?;
    let location = format!("/api/v1/accounts/{}", issued.account.id);
    let mut response = no_store((StatusCode::CREATED, axum::Json(issued)));
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// List accounts in the order of their usernames. A page may be short, or empty, and still have a next one.
#[utoipa::path(get, path = "/accounts", tag = "accounts", params(AccountQuery),
    security(("bearer" = ["accounts:read"])),
    responses((status = 200, body = AccountPage)))]
pub async fn list(
    _caller: Caller<AccountsRead>,
    Ready(authority): Ready,
    Query(query): Query<AccountQuery>,
) -> Result<Response, Problem> {
    let after = query.cursor.map(|Cursor(name)| name);
    let filter = AccountFilter {
        query: query.query.map(|query| query.to_lowercase()),
        prefix: query.prefix.map(|prefix| prefix.to_lowercase()),
        kind: query.kind,
        role: query.role,
        team: query.team,
        status: query.status,
        expires_before: query.expires_before.map(|Time(time)| time),
    };
    let mut page = authority.accounts(&filter, after.as_deref(), query.limit.unwrap_or_default().0).await?;
    page.next_cursor = page.next_cursor.map(|name| URL_SAFE_NO_PAD.encode(name));
    Ok(no_store(axum::Json(page)))
}

/// One account, by id or username. The `ETag` is its version.
#[utoipa::path(get, path = "/accounts/{account}", tag = "accounts", params(("account" = String, Path, description = "Id or username")),
    security(("bearer" = ["accounts:read"])),
    responses((status = 200, body = AccountView)))]
pub async fn show(
    _caller: Caller<AccountsRead>,
    Ready(authority): Ready,
    _: NoQuery,
    Account(account): Account,
) -> Result<Response, Problem> {
    let account = authority.account(&account).await?.view();
    Ok(tagged(account.version, axum::Json(account)))
}

/// Change an account; with `If-Match` only if it is still of that version.
#[utoipa::path(patch, path = "/accounts/{account}", tag = "accounts", request_body = AccountPatchBody,
    params(("account" = String, Path, description = "Id or username"), ("If-Match" = Option<String>, Header, description = "The version that was read")),
    security(("bearer" = ["accounts:write"])),
    responses((status = 200, body = ChangedAccount)))]
pub async fn update(
    caller: Caller<AccountsWrite>,
    Ready(authority): Ready,
    _: NoQuery,
    Account(wanted): Account,
    Only(only): Only,
    Json(body): Json<AccountPatchBody>,
) -> Result<Response, Problem> {
    let patch = AccountPatch {
        description: body.description,
        role: body.role,
        teams: body.teams,
        audiences: body.audiences,
        allowed_networks: body.allowed_networks,
        status: body.status,
    };
    let (account, receipt) = authority.update_account(&caller, &wanted, patch, &only).await?;
    Ok(tagged(account.version, axum::Json(ChangedAccount { account, receipt })))
}

/// Delete an account. Its activity stays readable. With `If-Match` only if it is still of that version.
#[utoipa::path(delete, path = "/accounts/{account}", tag = "accounts",
    params(("account" = String, Path, description = "Id or username"), ("If-Match" = Option<String>, Header, description = "The version that was read")),
    security(("bearer" = ["accounts:write"])),
    responses((status = 200, body = Gone)))]
pub async fn delete(
    caller: Caller<AccountsWrite>,
    Ready(authority): Ready,
    _: NoQuery,
    Account(account): Account,
    Only(only): Only,
) -> Result<Response, Problem> {
    let receipt = authority.delete_account(&caller, &account, &only).await?;
    Ok(no_store(axum::Json(Gone { receipt })))
}
