//! `/api/v1/audit`, and an account's activity and usage.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use ipnet::IpNet;
use serde::Deserialize;
use utoipa::IntoParams;

use super::edge::Edge;
use super::extract::{Account, Caller, Limit, NoQuery, Query, Ready, Time, text};
use super::no_store;
use super::permissions::AuditRead;
use super::problem::Problem;
use super::still_allowed::{StillAllowed, all_taken};
use crate::account::AccountId;
use crate::audit::Outcome;
use crate::audit::checkpoint::Part;
use crate::authority::{AccountRef, AuditStatus, Authority, EventPage, Exporting, Usage};
use crate::store::{AuditCursor, AuditFilter};

/// The query of a list of events: what all have, and what else there is.
macro_rules! query_of_events {
    ($(#[$doc:meta])* $name:ident { $($(#[$attribute:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Deserialize, IntoParams)]
        #[serde(deny_unknown_fields)]
        #[into_params(parameter_in = Query)]
        pub struct $name {
            $($(#[$attribute])* $field: $type,)*
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
            /// By a request of this method.
            #[serde(default)]
            #[param(nullable = false)]
            method: Option<String>,
            /// For a path that begins so.
            #[serde(default)]
            #[param(nullable = false)]
            path: Option<String>,
            /// From this address, or an address of this network (CIDR).
            #[serde(default, deserialize_with = "text")]
            #[param(nullable = false, value_type = Option<String>)]
            address: Option<Origin>,
        }

        impl $name {
            /// Which events are wanted, at whatever time.
            fn filter(&mut self) -> AuditFilter {
                AuditFilter {
                    kind: self.kind.take(),
                    outcome: self.outcome,
                    reason: self.reason.take(),
                    node: self.node.take(),
                    method: self.method.take(),
                    path: self.path.take(),
                    address: self.address.take().map(|Origin(network)| network),
                    from: None,
                    to: None,
                }
            }
        }
    };
}
pub(super) use query_of_events;

query_of_events! {
    /// Which events are wanted.
    AuditQuery {
        /// Of this account: id or username.
        #[serde(default)]
        #[param(nullable = false, pattern = "^[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?$")]
        account: Option<String>,
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
}

query_of_events! {
    /// Which events of an account are wanted.
    ActivityQuery {
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
}

/// An address is a network of one.
pub(crate) struct Origin(pub(crate) IpNet);

impl std::str::FromStr for Origin {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        network.map(Self).map_err(|_| "it is an address, 192.0.2.1, or a network, 192.0.2.0/24")
    }
}

struct Cursor(AuditCursor);

impl std::str::FromStr for Cursor {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        AuditCursor::decode(text).map(Self).ok_or("it is not a next_cursor of this list")
    }
}

/// Which part of the audit is exported.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ExportQuery {
    /// Events of this account: id or username. Of all others only their hashes are exported.
    #[serde(default)]
    #[param(nullable = false, pattern = "^[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?$")]
    account: Option<String>,
    /// Events of this node.
    #[serde(default)]
    #[param(nullable = false)]
    node: Option<String>,
    /// Written to the store not before this time.
    #[serde(default, deserialize_with = "text")]
    #[param(nullable = false, value_type = Option<String>, format = DateTime)]
    from: Option<Time>,
    /// Written to the store before this time.
    #[serde(default, deserialize_with = "text")]
    #[param(nullable = false, value_type = Option<String>, format = DateTime)]
    to: Option<Time>,
    /// Goes on with an export that was interrupted: the `text` of the last mark of what there is of it. It says itself which part that is,
    /// and goes without the others.
    #[serde(default)]
    #[param(nullable = false)]
    after: Option<String>,
}

/// The audit with what proves that it is whole, oldest first: lines of JSON, of which those that begin with `{"record":` say what
/// follows, and all others are events. `countermark audit verify` checks it. It is whole if it ends with the record `seal`; it ends
/// with the record `broken` as soon as the token is not good for it any more.
#[utoipa::path(get, path = "/audit/export", tag = "audit", params(ExportQuery), security(("bearer" = ["audit:read"])),
    responses((status = 200, body = String, content_type = "application/x-ndjson")))]
pub async fn export(
    caller: Caller<AuditRead>,
    State(edge): State<Arc<Edge>>,
    Ready(authority): Ready,
    headers: HeaderMap,
    Query(query): Query<ExportQuery>,
) -> Result<Response, Problem> {
    let part = Part {
        from: query.from.map(|Time(time)| time),
        to: query.to.map(|Time(time)| time),
        account: account(&authority, query.account.as_deref()).await?,
        node: query.node,
    };
    let after = query.after.as_deref().map(|text| authority.export_mark(text)).transpose()?;
    let part = match &after {
        Some(_) if !part.is_all() => {
            return Err(Problem::invalid_field("after", "it says itself which part is exported: leave the others out"));
        }
        Some(after) => after.part().clone(),
        None => part,
    };
    let place = authority.place_to_export();
    let place = place.ok_or_else(|| all_taken("too many exports of the audit are under way already"))?;
    let still = StillAllowed::of(&caller, edge, &authority, &headers)?;
    let export = authority.export(Exporting { part, after, place }, move || still.clone().ask());
    Ok(no_store(([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(export))))
}

pub(super) async fn account(authority: &Authority, text: Option<&str>) -> Result<Option<AccountId>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let wanted = text.parse().map(AccountRef::Id).or_else(|_| text.parse().map(AccountRef::Name));
    let wanted = wanted.map_err(|_| Problem::invalid_field("account", "it is the id or the username of an account"))?;
    Ok(Some(authority.id_of(&wanted).await?))
}

/// The audit, from the newest on. A page may be short, or empty, and still have a next one.
#[utoipa::path(get, path = "/audit", tag = "audit", params(AuditQuery), security(("bearer" = ["audit:read"])),
    responses((status = 200, body = EventPage)))]
pub async fn list(
    _caller: Caller<AuditRead>,
    Ready(authority): Ready,
    Query(mut query): Query<AuditQuery>,
) -> Result<Response, Problem> {
    let account = account(&authority, query.account.as_deref()).await?;
    let (from, to) = (query.from.map(|Time(time)| time), query.to.map(|Time(time)| time));
    let filter = AuditFilter { from, to, ..query.filter() };
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
    Query(mut query): Query<ActivityQuery>,
) -> Result<Response, Problem> {
    let account = authority.id_of(&account).await?;
    let (from, to) = (query.from.map(|Time(time)| time), query.to.map(|Time(time)| time));
    let filter = AuditFilter { from, to, ..query.filter() };
    let cursor = query.cursor.map(|Cursor(cursor)| cursor);
    let page = authority.events(Some(account), &filter, cursor.as_ref(), query.limit.unwrap_or_default().0).await?;
    Ok(no_store(axum::Json(page)))
}

/// Of which time the use of an account's tokens is wanted.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct UsageQuery {
    /// From the hour of this time on; else of the last day. Seven days are kept.
    #[serde(default, deserialize_with = "text")]
    #[param(nullable = false, value_type = Option<String>, format = DateTime)]
    from: Option<Time>,
    /// Up to this time, and the end of its hour; else until now.
    #[serde(default, deserialize_with = "text")]
    #[param(nullable = false, value_type = Option<String>, format = DateTime)]
    to: Option<Time>,
}

/// Who used an account's tokens, from where, by whole hours; which dead tokens are still used. Also of a deleted account.
#[utoipa::path(get, path = "/accounts/{account}/usage", tag = "audit",
    params(("account" = String, Path, description = "Id or username"), UsageQuery),
    security(("bearer" = ["audit:read"])), responses((status = 200, body = Usage)))]
pub async fn usage(
    _caller: Caller<AuditRead>,
    Ready(authority): Ready,
    Account(account): Account,
    Query(query): Query<UsageQuery>,
) -> Result<Response, Problem> {
    let account = authority.id_of(&account).await?;
    let (from, to) = (query.from.map(|Time(time)| time), query.to.map(|Time(time)| time));
    Ok(no_store(axum::Json(authority.usage(account, from, to).await?)))
}

/// How the audit stands: the ends of all chains and the checkpoint that was signed last, what is missing, how far the activity logs, the
/// archive and the sinks have come.
#[utoipa::path(get, path = "/audit/status", tag = "audit", security(("bearer" = ["audit:read"])),
    responses((status = 200, body = AuditStatus)))]
pub async fn status(_caller: Caller<AuditRead>, Ready(authority): Ready, _: NoQuery) -> Result<Response, Problem> {
    Ok(no_store(axum::Json(authority.audit_status().await?)))
}
