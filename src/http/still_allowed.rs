//! Answers that go on for long: whoever gets one may have it for as long as his token is good for it, and so many get one at once.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode};
use zeroize::Zeroizing;

use super::edge::Edge;
use super::extract::Caller;
use super::permissions::Demanded;
use super::problem::Problem;
use crate::authority::Authority;
use crate::verify::{Demand, Presenter, Reason};
use crate::web::credential::Credential;

/// Asks again what was asked when the answer began.
#[derive(Clone)]
pub(super) struct StillAllowed {
    edge: Arc<Edge>,
    authority: Arc<Authority>,
    token: Arc<Zeroizing<String>>,
    demand: Arc<Demand>,
}

impl StillAllowed {
    /// Of a caller who was let through.
    pub(super) fn of<P: Demanded>(
        caller: &Caller<P>,
        edge: Arc<Edge>,
        authority: &Arc<Authority>,
        headers: &HeaderMap,
    ) -> Result<Self, Problem> {
        let Credential::Bearer(token) = Credential::of(headers, None)? else {
            return Err(Problem::internal("a caller without a token"));
        };
        let demand = Demand {
            audience: Some(authority.own_audience().clone()),
            permission: P::permission(),
            team: None,
            presenter: Presenter::Holder { address: caller.call.client_address(), proof: None },
        };
        let token = Arc::new(Zeroizing::new(token.to_owned()));
        Ok(Self { edge, authority: Arc::clone(authority), token, demand: Arc::new(demand) })
    }

    /// Rights follow the account: whoever is revoked or narrowed gets nothing more. Why not, if not; `false`: it can't be known now.
    pub(super) async fn ask(self) -> Result<bool, String> {
        if self.edge.is_draining() {
            return Err("stopping".to_owned());
        }
        match self.authority.node().decide(&self.token, &self.demand).await {
            Ok(_) => Ok(true),
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
