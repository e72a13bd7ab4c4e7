//! `/api/v1/accounts/{id}/token`, `/api/v1/self`

use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use utoipa::ToSchema;

use super::accounts::Gone;
use super::extract::{Account, Caller, Json, NoQuery, Only, Ready};
use super::no_store;
use super::permissions::{AnyToken, TokensIssue, TokensRenew, TokensRevoke};
use super::problem::Problem;
use crate::authority::{Issued, SelfView};

/// A new token.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTokenBody {
    /// 6, 12 or 24, unless configured otherwise.
    valid_for_months: u32,
    /// For how long the older token stays good; at most 7 days.
    #[serde(default)]
    #[schema(maximum = 604_800)]
    overlap_seconds: u64,
}

/// Generate a new token. The older one is dead when this answers, or when the overlap ends. With `If-Match` only if the account is
/// still of that version.
#[utoipa::path(post, path = "/accounts/{account}/token", tag = "tokens", request_body = NewTokenBody,
    params(("account" = String, Path, description = "Id or username"), ("If-Match" = Option<String>, Header, description = "The version that was read")),
    security(("bearer" = ["tokens:issue"])), responses((status = 201, body = Issued)))]
pub async fn regenerate(
    caller: Caller<TokensIssue>,
    Ready(authority): Ready,
    _: NoQuery,
    Account(account): Account,
    Only(only): Only,
    Json(body): Json<NewTokenBody>,
) -> Result<Response, Problem> {
    let issued =
        authority.regenerate_token(&caller, &account, body.valid_for_months, body.overlap_seconds, &only).await?;
    Ok(no_store((StatusCode::CREATED, axum::Json(issued))))
}

/// Revoke all tokens of an account; none follows. With `If-Match` only if the account is still of that version.
#[utoipa::path(delete, path = "/accounts/{account}/token", tag = "tokens",
    params(("account" = String, Path, description = "Id or username"), ("If-Match" = Option<String>, Header, description = "The version that was read")),
    security(("bearer" = ["tokens:revoke"])), responses((status = 200, body = Gone)))]
pub async fn revoke(
    caller: Caller<TokensRevoke>,
    Ready(authority): Ready,
    _: NoQuery,
    Account(account): Account,
    Only(only): Only,
) -> Result<Response, Problem> {
    let receipt = authority.revoke_token(&caller, &account, &only).await?;
    Ok(no_store(axum::Json(Gone { receipt })))
}

/// Who I am and what I may do. Any good token may ask.
#[utoipa::path(get, path = "/self", tag = "self", security(("bearer" = [])),
    responses((status = 200, body = SelfView)))]
pub async fn show_self(caller: Caller<AnyToken>, Ready(authority): Ready, _: NoQuery) -> Result<Response, Problem> {
    Ok(no_store(axum::Json(authority.self_view(&caller.actor).await?)))
}

/// Renew my own token.
#[utoipa::path(post, path = "/self/token", tag = "self", request_body = NewTokenBody,
    security(("bearer" = ["tokens:renew"])), responses((status = 201, body = Issued)))]
pub async fn renew(
    caller: Caller<TokensRenew>,
    Ready(authority): Ready,
    _: NoQuery,
    Json(body): Json<NewTokenBody>,
) -> Result<Response, Problem> {
    let issued = authority.renew_token(&caller, body.valid_for_months, body.overlap_seconds).await?;
    Ok(no_store((StatusCode::CREATED, axum::Json(issued))))
}
