//! `/api/v1/audit`, and an account's activity and usage.

use axum::response::Response;
use serde::Deserialize;
use utoipa::IntoParams;

use super::extract::{Account, Caller, Limit, NoQuery, Query, Ready, Time, text};
use super::no_store;
use super::permissions::AuditRead;
use super::problem::Problem;
use crate::audit::Outcome;
use crate::authority::{AccountRef, EventPage, Usage};
use crate::store::{AuditCursor, AuditFilter};

/// Which events are wanted.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// Of this account: id or username.
    #[serde(default)]
    #[param(nullable = false, pattern = "^[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?$")]
    account: Option<String>,
    /// Of this kind.
    #[serde(default)]
    #[param(nullable = false)]
    kind: Option<String>,
    /// That ended so.
    #[serde(default, deserialize_with = "text")]
    #[param(nullable = false, inline)]
    outcome: Option<Outcome>,
    /// For this reason.
    #[serde(default)]
    #[param(nullable = false)]
    reason: Option<String>,
    /// Decided by this node.
    #[serde(default)]
    #[param(nullable = false)]
    node: Option<String>,
    /// Not before this time.
    #[serde(default, deserialize_with = "text")]
    #[param(nullable = false, value_type = Option<String>, format = DateTime)]
    from: Option<Time>,
    /// Before this time.
    #[serde(default, deserialize_with = "text")]
    #[param(nullable = false, value_type = Option<String>, format = DateTime)]
    to: Option<Time>,
    /// Items of a page: 1 to 500.
    #[serde(default, deserialize_with = "text")]
    #[param(nullable = false, value_type = Option<u32>, minimum = 1, maximum = 500)]
    limit: Option<Limit>,
    /// `next_cursor` of the page before.
    #[serde(default, deserialize_with = "text")]
    #[param(nullable = false, value_type = Option<String>)]
    cursor: Option<Cursor>,
}

/// Which events of an account are wanted.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ActivityQuery {
    /// That ended so.
    #[serde(default, deserialize_with = "text")]
    #[param(nullable = false, inline)]
    outcome: Option<Outcome>,
    /// Not before this time.
    #[serde(default, deserialize_with = "text")]
    #[param(nullable = false, value_type = Option<String>, format = DateTime)]
    from: Option<Time>,
    /// Before this time.
    #[serde(default, deserialize_with = "text")]
    #[param(nullable = false, value_type = Option<String>, format = DateTime)]
    to: Option<Time>,
    /// Items of a page: 1 to 500.
    #[serde(default, deserialize_with = "text")]
    #[param(nullable = false, value_type = Option<u32>, minimum = 1, maximum = 500)]
    limit: Option<Limit>,
    /// `next_cursor` of the page before.
    #[serde(default, deserialize_with = "text")]
    #[param(nullable = false, value_type = Option<String>)]
    cursor: Option<Cursor>,
}

struct Cursor(AuditCursor);

impl std::str::FromStr for Cursor {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        AuditCursor::decode(text).map(Self).ok_or("it is not a next_cursor of this list")
    }
}

/// The audit, from the newest on. A page may be short, or empty, and still have a next one.
#[utoipa::path(get, path = "/audit", tag = "audit", params(AuditQuery), security(("bearer" = ["audit:read"])),
    responses((status = 200, body = EventPage)))]
pub async fn list(
    _caller: Caller<AuditRead>,
    Ready(authority): Ready,
    Query(query): Query<AuditQuery>,
) -> Result<Response, Problem> {
    let account = match &query.account {
        None => None,
        Some(text) => {
            let wanted = text.parse().map(AccountRef::Id).or_else(|_| text.parse().map(AccountRef::Name));
            let wanted =
                wanted.map_err(|_| Problem::invalid_field("account", "it is the id or the username of an account"))?;
            Some(authority.id_of(&wanted).await?)
        }
    };
    let filter = AuditFilter {
        kind: query.kind,
        outcome: query.outcome,
        reason: query.reason,
        node: query.node,
        from: query.from.map(|Time(time)| time),
        to: query.to.map(|Time(time)| time),
    };
    let cursor = query.cursor.map(|Cursor(cursor)| cursor);
    let page = authority.events(account, &filter, cursor.as_ref(), query.limit.unwrap_or_default().0).await?;
    Ok(no_store(axum::Json(page)))
}

/// An account's activity log, from the newest on: its calls, and the acts by it and upon it. Also of a deleted account.
#[utoipa::path(get, path = "/accounts/{account}/activity", tag = "audit",
    params(("account" = String, Path, description = "Id or username"), ActivityQuery),
    security(("bearer" = ["audit:read"])), responses((status = 200, body = EventPage)))]
pub async fn activity(
    _caller: Caller<AuditRead>,
    Ready(authority): Ready,
    Account(account): Account,
    Query(query): Query<ActivityQuery>,
) -> Result<Response, Problem> {
    let account = authority.id_of(&account).await?;
    let filter = AuditFilter {
        outcome: query.outcome,
        from: query.from.map(|Time(time)| time),
        to: query.to.map(|Time(time)| time),
        ..AuditFilter::default()
    };
    let cursor = query.cursor.map(|Cursor(cursor)| cursor);
    let page = authority.events(Some(account), &filter, cursor.as_ref(), query.limit.unwrap_or_default().0).await?;
    Ok(no_store(axum::Json(page)))
}

/// Who used an account's tokens within the last day, from where.
#[utoipa::path(get, path = "/accounts/{account}/usage", tag = "audit",
    params(("account" = String, Path, description = "Id or username")),
    security(("bearer" = ["audit:read"])), responses((status = 200, body = Usage)))]
pub async fn usage(
    _caller: Caller<AuditRead>,
    Ready(authority): Ready,
    _: NoQuery,
    Account(account): Account,
) -> Result<Response, Problem> {
    let account = authority.id_of(&account).await?;
    Ok(no_store(axum::Json(authority.usage(account).await?)))
}
