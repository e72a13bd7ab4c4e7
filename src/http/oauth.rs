//! `/oauth2/introspect` (RFC 7662) and `/oauth2/revoke` (RFC 7009).

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;
use zeroize::Zeroizing;

use super::edge::Edge;
use super::extract::{Caller, Ready, body, is_media_type, pairs};
use super::no_store;
use super::permissions::TokensIntrospect;
use super::problem::Problem;
use crate::account::{AccountId, Audience};
use crate::name::{RoleName, TeamName, Username};
use crate::node::Call;
use crate::token::TokenId;
use crate::verify::{Reason, Verified};

/// RFC 7662, section 2.2.
#[derive(Serialize)]
struct Active<'a> {
    active: bool,
    scope: String,
    client_id: AccountId,
    username: &'a Username,
    token_type: &'static str,
    exp: i64,
    iat: i64,
    sub: AccountId,
    aud: &'a [Audience],
    iss: &'a str,
    r#gen: u64,
    role: &'a RoleName,
    teams: &'a BTreeMap<TeamName, RoleName>,
    token_id: TokenId,
}

/// Tells an API about a token that was shown to it.
pub async fn introspect(
    caller: Caller<TokensIntrospect>,
    Ready(authority): Ready,
    State(edge): State<Arc<Edge>>,
    request: Request,
) -> Result<Response, Problem> {
    let token = form_token(request, &edge).await?;
    match authority.introspect(&caller, &token).await {
        Ok(verified) => Ok(no_store(axum::Json(active(&verified, authority.scope(&verified))))),
        Err(refusal) if refusal.reason == Reason::StoreUnavailable => Err((&refusal).into()),
        Err(_) => Ok(no_store(axum::Json(serde_json::json!({ "active": false })))),
    }
}

fn active(verified: &Verified, scope: String) -> Active<'_> {
    Active {
        active: true,
        scope,
        client_id: verified.account(),
        username: verified.username(),
        token_type: "Bearer",
        exp: verified.expires_at(),
        iat: verified.issued_at(),
        sub: verified.account(),
        aud: verified.audiences(),
        iss: verified.issuer(),
        r#gen: verified.generation(),
        role: verified.role(),
        teams: verified.teams(),
        token_id: verified.token_id(),
    }
}

/// Ends a token for its holder. 200 for one that is no longer good, as RFC 7009, section 2.2, wants it.
pub async fn revoke(State(edge): State<Arc<Edge>>, request: Request) -> Result<Response, Problem> {
    let call =
        request.extensions().get::<Call>().cloned().ok_or_else(|| Problem::internal("a request without a call"))?;
    let authority = edge.authority()?;
    let token = form_token(request, &edge).await?;
    // Anybody may have us wait for a body here: until it has come no room is taken for what comes after it.
    Box::pin(authority.revoke_presented(&call, &token)).await?;
    Ok(no_store(().into_response()))
}

/// The form field `token`. Further fields are ignored (RFC 7009, section 2.1); none may be given twice.
async fn form_token(request: Request, edge: &Edge) -> Result<Zeroizing<String>, Problem> {
    const FORM: &str = "application/x-www-form-urlencoded";
    if request.uri().query().is_some_and(|query| !query.is_empty()) {
        return Err(Problem::invalid_request("parameters stand in the body, never in the query"));
    }
    if !is_media_type(request.headers(), FORM) {
        return Err(Problem::media_type(FORM));
    }
    let bytes = body(request, edge).await?;
    let mut fields = pairs(&bytes).map_err(|_| Problem::invalid_request("a field is given more than once"))?;
    match fields.remove("token") {
        Some(Value::String(token)) if !token.is_empty() => Ok(Zeroizing::new(token)),
        _ => Err(Problem::invalid_request("the field token is missing")),
    }
}
