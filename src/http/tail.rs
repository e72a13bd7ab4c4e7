//! `/api/v1/audit/tail`: the audit as it is written, as server-sent events (WHATWG HTML, section 9.2).

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::response::sse::{Event, Sse};
use futures_util::StreamExt as _;
use serde::Deserialize;
use utoipa::IntoParams;
use zeroize::Zeroizing;

use super::audit::{Origin, account, query_of_events};
use super::edge::Edge;
use super::extract::{Caller, Query, Ready, Time, text};
use super::no_store;
use super::permissions::{AuditRead, Demanded as _};
use super::problem::Problem;
use crate::audit::Outcome;
use crate::authority::{Authority, Looking, Told};
use crate::store::{AuditFilter, TailPosition};
use crate::verify::{Demand, Presenter, Reason};
use crate::web::credential::Credential;

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
        place: authority.place_to_look().ok_or_else(all_taken)?,
    };
    let Credential::Bearer(token) = Credential::of(&headers, None)? else {
        return Err(Problem::internal("a caller without a token"));
    };
    let token = Arc::new(Zeroizing::new(token.to_owned()));
    let demand = Arc::new(Demand {
        audience: Some(authority.own_audience().clone()),
        permission: AuditRead::permission(),
        team: None,
        presenter: Presenter::Holder { address: caller.call.client_address(), proof: None },
    });
    let deciding = Arc::clone(&authority);
    let may_still =
        move || may_still(Arc::clone(&edge), Arc::clone(&deciding), Arc::clone(&token), Arc::clone(&demand));
    let told = authority.tail(looking, may_still).await?.map(|told| Ok::<_, Infallible>(written(told)));
    Ok(no_store(Sse::new(told)))
}

/// Rights follow the account: whoever is revoked or narrowed sees nothing more.
async fn may_still(
    edge: Arc<Edge>,
    authority: Arc<Authority>,
    token: Arc<Zeroizing<String>>,
    demand: Arc<Demand>,
) -> Result<bool, String> {
    if edge.is_draining() {
        return Err("stopping".to_owned());
    }
    match authority.node().decide(&token, &demand).await {
        Ok(_) => Ok(true),
        Err(refusal) if refusal.reason == Reason::StoreUnavailable => Ok(false),
        Err(refusal) => Err(refusal.reason.as_str().to_owned()),
    }
}

fn written(told: Told) -> Event {
    match told {
        // All members have a JSON form.
        Told::Event(event, id) => Event::default().id(id).data(serde_json::to_string(&event).unwrap_or_default()),
        Told::Still(id) => Event::default().id(id),
        Told::End(reason) => Event::default().event("end").data(serde_json::json!({ "reason": reason }).to_string()),
    }
}

fn all_taken() -> Problem {
    let mut problem = Problem::new(
        StatusCode::TOO_MANY_REQUESTS,
        "rate_limited",
        "too many look on at the audit already; try again later",
    );
    problem.0.retry_after = Some(Duration::from_secs(10));
    problem
}
