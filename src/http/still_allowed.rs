//! Answers that go on for long: whoever gets one may have it for as long as his token is good for it, and so many get one at once.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode};
use zeroize::Zeroizing;

use super::edge::Edge;
use super::extract::{Caller, demand};
use super::permissions::Demanded;
use super::problem::Problem;
use crate::authority::Authority;
use crate::session::SessionId;
use crate::verify::{Demand, Reason};
use crate::web::credential::Credential;

/// Asks again what was asked when the answer began.
#[derive(Clone)]
pub(super) struct StillAllowed {
    edge: Arc<Edge>,
    authority: Arc<Authority>,
    shown: Shown,
    demand: Arc<Demand>,
}

/// What he was let in by.
#[derive(Clone)]
enum Shown {
    Token(Arc<Zeroizing<String>>),
    Session(SessionId),
}

impl StillAllowed {
    /// Of a caller who was let through.
    pub(super) fn of<P: Demanded>(
        caller: &Caller<P>,
        edge: Arc<Edge>,
        authority: &Arc<Authority>,
        headers: &HeaderMap,
    ) -> Result<Self, Problem> {
        let shown = match (caller.actor.session(), Credential::of(headers, None)?) {
            (Some(session), _) => Shown::Session(session.id),
            (None, Credential::Bearer(token)) => Shown::Token(Arc::new(Zeroizing::new(token.to_owned()))),
            (None, _) => return Err(Problem::internal("a caller without a token")),
        };
        let demand = Arc::new(demand::<P>(authority, &caller.call));
        Ok(Self { edge, authority: Arc::clone(authority), shown, demand })
    }

    /// Rights follow the account: whoever is revoked or narrowed gets nothing more. Why not, if not; `false`: it can't be known now.
    pub(super) async fn ask(self) -> Result<bool, String> {
        if self.edge.is_draining() {
            return Err("stopping".to_owned());
        }
        let decided = match &self.shown {
            Shown::Token(token) => self.authority.node().decide(token, &self.demand).await.map(drop),
            Shown::Session(id) => self.authority.still_signed_in(*id, &self.demand).await.map(drop),
        };
        match decided {
            Ok(()) => Ok(true),
            Err(refusal) if refusal.reason == Reason::StoreUnavailable => Ok(false),
            Err(refusal) => Err(refusal.reason.as_str().to_owned()),
        }
    }
}

/// 429.
pub(super) fn all_taken(what: &str) -> Problem {
    let detail = format!("{what}; try again later");
    let mut problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", detail);
    problem.0.retry_after = Some(Duration::from_secs(10));
    problem
}
