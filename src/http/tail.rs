//! `/api/v1/audit/tail`: the audit as it is written, as server-sent events (WHATWG HTML, section 9.2).

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::response::sse::{Event, Sse};
use futures_util::StreamExt as _;
use serde::Deserialize;
use utoipa::IntoParams;

use super::audit::{Origin, account, query_of_events};
use super::edge::Edge;
use super::extract::{Caller, Query, Ready, Time, text};
use super::no_store;
use super::permissions::AuditRead;
use super::problem::Problem;
use super::still_allowed::{StillAllowed, all_taken};
use crate::audit::Outcome;
use crate::authority::{Looking, Told};
use crate::store::{AuditFilter, TailPosition};

query_of_events! {
    /// Which events are wanted.
    TailQuery {
        /// Of this account: id or username.
        #[serde(default)]
        #[param(nullable = false, pattern = "^[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?$")]
        account: Option<String>,
        /// Written to the store from this time on (default: from now on).
        #[serde(default, deserialize_with = "text")]
        #[param(nullable = false, value_type = Option<String>, format = DateTime)]
        from: Option<Time>,
    }
}

/// The audit as it is written: server-sent events whose data is an event each. After an interruption it goes on where `Last-Event-ID`
/// says. It ends, with an event named `end`, as soon as the token is not good for it any more.
#[utoipa::path(get, path = "/audit/tail", tag = "audit", params(TailQuery), security(("bearer" = ["audit:read"])),
    responses((status = 200, body = String, content_type = "text/event-stream")))]
pub async fn tail(
    caller: Caller<AuditRead>,
    State(edge): State<Arc<Edge>>,
    Ready(authority): Ready,
    headers: HeaderMap,
    Query(mut query): Query<TailQuery>,
) -> Result<Response, Problem> {
    let after = match headers.get("last-event-id") {
        Some(id) => {
            let position = id.to_str().ok().and_then(TailPosition::decode);
            Some(
                position
                    .ok_or_else(|| Problem::invalid_request("Last-Event-ID is no id of an event of this stream"))?,
            )
        }
        None => query.from.map(|Time(time)| TailPosition::at(u64::try_from(time.timestamp_millis()).unwrap_or(0))),
    };
    let looking = Looking {
        account: account(&authority, query.account.as_deref()).await?,
        filter: query.filter(),
        after,
        place: authority.place_to_look(&caller).ok_or_else(|| all_taken("too many look on at the audit already"))?,
    };
    let still = StillAllowed::of(&caller, edge, &authority, &headers)?;
    let may_still = move || still.clone().ask();
    let told = authority.tail(looking, may_still).await?.map(|told| Ok::<_, Infallible>(written(told)));
    Ok(no_store(Sse::new(told)))
}

fn written(told: Told) -> Event {
    match told {
        // All members have a JSON form.
        Told::Event(event, id) => Event::default().id(id).data(serde_json::to_string(&event).unwrap_or_default()),
        Told::Still(id) => Event::default().id(id),
        Told::End(reason) => Event::default().event("end").data(serde_json::json!({ "reason": reason }).to_string()),
    }
}
