//! `/api/v1/self/sessions`, `/api/v1/accounts/{id}/sessions`

use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::extract::{Account, Caller, Name, NoQuery, Ready};
use super::no_store;
use super::permissions::{AccountsRead, AccountsWrite, AnyToken};
use super::problem::Problem;
use crate::account::AccountId;
use crate::authority::{AccountRef, Authority, SessionView};
use crate::session::SessionId;

/// Sessions, the newest first.
#[derive(Serialize, ToSchema)]
pub struct SessionList {
    items: Vec<SessionView>,
}

/// Sessions that were ended.
#[derive(Serialize, ToSchema)]
pub struct EndedSessions {
    ended: u64,
}

/// My sessions.
#[utoipa::path(get, path = "/self/sessions", tag = "self", security(("bearer" = [])),
    responses((status = 200, body = SessionList)))]
pub async fn list_own(caller: Caller<AnyToken>, Ready(authority): Ready, _: NoQuery) -> Result<Response, Problem> {
    let items = authority.sessions_of(&caller, caller.actor.account()).await?;
    Ok(no_store(axum::Json(SessionList { items })))
}

/// End all my sessions but the one in which this is asked.
#[utoipa::path(delete, path = "/self/sessions", tag = "self", security(("bearer" = [])),
    responses((status = 200, body = EndedSessions)))]
pub async fn end_own(caller: Caller<AnyToken>, Ready(authority): Ready, _: NoQuery) -> Result<Response, Problem> {
    let ended = authority.end_sessions(&caller, caller.actor.account()).await?;
    Ok(no_store(axum::Json(EndedSessions { ended })))
}

/// End one of my sessions.
#[utoipa::path(delete, path = "/self/sessions/{session}", tag = "self", params(("session" = SessionId, Path)), security(("bearer" = [])),
    responses((status = 204)))]
pub async fn end_own_one(
    caller: Caller<AnyToken>,
    Ready(authority): Ready,
    _: NoQuery,
    Name(session): Name<SessionId>,
) -> Result<Response, Problem> {
    authority.end_session(&caller, caller.actor.account(), session).await?;
    Ok(no_store(StatusCode::NO_CONTENT))
}

/// The sessions of an account.
#[utoipa::path(get, path = "/accounts/{account}/sessions", tag = "users", params(("account" = String, Path, description = "Id or username")),
    security(("bearer" = ["accounts:read"])), responses((status = 200, body = SessionList)))]
pub async fn list(
    caller: Caller<AccountsRead>,
    Ready(authority): Ready,
    _: NoQuery,
    Account(account): Account,
) -> Result<Response, Problem> {
    let items = authority.sessions_of(&caller, id_of(&authority, &account).await?).await?;
    Ok(no_store(axum::Json(SessionList { items })))
}

/// End all sessions of an account but the one in which this is asked.
#[utoipa::path(delete, path = "/accounts/{account}/sessions", tag = "users", params(("account" = String, Path, description = "Id or username")),
    security(("bearer" = ["accounts:write"])), responses((status = 200, body = EndedSessions)))]
pub async fn end(
    caller: Caller<AccountsWrite>,
    Ready(authority): Ready,
    _: NoQuery,
    Account(account): Account,
) -> Result<Response, Problem> {
    let ended = authority.end_sessions(&caller, id_of(&authority, &account).await?).await?;
    Ok(no_store(axum::Json(EndedSessions { ended })))
}

/// End one session of an account.
#[utoipa::path(delete, path = "/accounts/{account}/sessions/{session}", tag = "users",
    params(("account" = String, Path, description = "Id or username"), ("session" = SessionId, Path)),
    security(("bearer" = ["accounts:write"])), responses((status = 204)))]
pub async fn end_one(
    caller: Caller<AccountsWrite>,
    Ready(authority): Ready,
    _: NoQuery,
    Path((account, session)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let account = account.parse().map(AccountRef::Id).or_else(|_| account.parse().map(AccountRef::Name));
    let account = account.map_err(|_| crate::authority::Error::NotFound("account"))?;
    let session = session.parse().map_err(|_| crate::authority::Error::NotFound("such session"))?;
    authority.end_session(&caller, id_of(&authority, &account).await?, session).await?;
    Ok(no_store(StatusCode::NO_CONTENT))
}

async fn id_of(authority: &Authority, account: &AccountRef) -> Result<AccountId, Problem> {
    Ok(authority.account(account).await?.id)
}
