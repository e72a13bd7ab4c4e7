//! Forward auth: `/verify`, for gateways that ask before they let a request through.

use std::fmt::{self, Write as _};

use axum::body::Body;
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::BytesMut;
use serde::Deserialize;

use super::edge::{Edge, NamedDemand};
use super::extract::{pairs, read, text};
use super::observe::note_missing;
use super::problem::Problem;
use crate::account::Audience;
use crate::audit::printable;
use crate::name::TeamName;
use crate::node::{Call, Original};
use crate::permission::Permission;
use crate::verify::{Demand, Presenter, Verified};
use crate::web::credential::Credential;

/// What the metrics call it.
pub use crate::authority::VERIFY as ROUTE;

/// Whether a path is this door's.
pub fn is_gateway_path(path: &str) -> bool {
    path == "/verify" || path.starts_with("/verify/")
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Demanded {
    #[serde(default, deserialize_with = "text")]
    permission: Option<Permission>,
    #[serde(default, deserialize_with = "text")]
    team: Option<TeamName>,
    #[serde(default, deserialize_with = "text")]
    audience: Option<Audience>,
}

/// Any method on `/verify` and `/verify/…`: 200 with who it is, or 401, 403, 429, 503.
pub async fn verify(edge: &Edge, request: Request, call: &Call) -> Response {
    let (parts, _body) = request.into_parts();
    match decide(edge, &parts, call).await {
        Ok(verified) => identity(&verified),
        Err(problem) => problem.for_gateway().into_response(),
    }
}

async fn decide(edge: &Edge, parts: &Parts, call: &Call) -> Result<Verified, Problem> {
    let path = parts.uri.path();
    call.record().original = original(parts);
    let (demanded, own_query) = demanded(edge, path, parts.uri.query())?;
    let token = match Credential::of(&parts.headers, own_query)? {
        Credential::Bearer(token) => token,
        Credential::Missing => return Err(note_missing(call)),
        Credential::Basic(_) => {
            return Err(Problem::invalid_request("send a bearer token: Authorization: Bearer ..."));
        }
    };
    let authority = edge.authority()?;
    let demand = Demand {
        audience: Some(demanded.audience.unwrap_or_else(|| authority.own_audience().clone())),
        permission: demanded.permission,
        team: demanded.team,
        presenter: Presenter::Holder { address: call.client_address(), proof: None },
    };
    authority.verify(call, token, &demand).await.map_err(Problem::from)
}

/// What is demanded, and the query that is ours and not the client's.
pub(super) fn demanded<'a>(
    edge: &Edge,
    path: &str,
    query: Option<&'a str>,
) -> Result<(NamedDemand, Option<&'a str>), Problem> {
    let below = path.strip_prefix("/verify").unwrap_or_default();
    if let Some(named) = below.strip_prefix("/~") {
        let name = named.split('/').next().unwrap_or_default();
        let policy = edge.policies.get(name);
        return policy.cloned().map(|policy| (policy, None)).ok_or_else(|| {
            Problem::invalid_request("the configuration has no policy of this name; see [policies] in countermark.toml")
        });
    }
    if means_a_policy(below) {
        // Taken for a client's path it would demand nothing.
        return Err(Problem::invalid_request("a policy is called as /verify/~NAME, with one slash and a plain ~"));
    }
    if !below.is_empty() {
        // Path and query are the client's: they may not say what is demanded of him.
        return Ok((NamedDemand::default(), None));
    }
    if query.is_none_or(str::is_empty) {
        return Ok((NamedDemand::default(), None));
    }
    let mut members = pairs(query.unwrap_or_default().as_bytes())?;
    // Told apart from an unknown parameter by what reads the credential.
    members.retain(|name, _| !matches!(name.as_str(), "access_token" | "token"));
    let Demanded { permission, team, audience } = read(members)?;
    if team.is_some() && permission.is_none() {
        // A team alone demands nothing, however much it looks as if it did.
        return Err(Problem::invalid_request("team says where a permission is needed; give the permission too"));
    }
    Ok((NamedDemand { permission, team, audience }, query))
}

/// Whether somebody who wrote this path meant `/~NAME`: with more slashes, or with the `~` percent-encoded.
fn means_a_policy(below: &str) -> bool {
    let first = below.split('/').find(|segment| !segment.is_empty()).unwrap_or_default();
    first.starts_with('~') || first.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("%7e"))
}

static X_ORIGINAL_URI: HeaderName = HeaderName::from_static("x-original-uri");
static X_ORIGINAL_METHOD: HeaderName = HeaderName::from_static("x-original-method");
static X_FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");
static X_FORWARDED_METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");

/// The request that the gateway asks about: nginx' headers, Traefik's and Caddy's, or the path below (Envoy).
pub(super) fn original(parts: &Parts) -> Option<Original> {
    let header =
        |name: &HeaderName| parts.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let below = || {
        let below = parts.uri.path().strip_prefix("/verify").unwrap_or_default();
        let below = match below.strip_prefix("/~") {
            Some(named) => named.split_once('/').map_or(String::new(), |(_, rest)| format!("/{rest}")),
            None => below.to_owned(),
        };
        (!below.is_empty()).then_some(below)
    };
    let nginx = header(&X_ORIGINAL_URI);
    let others = header(&X_FORWARDED_URI);
    // One of the two may be the client's own, passed on by a gateway that writes the other.
    let disagree = nginx.is_some() && others.is_some() && nginx != others;
    let uri = nginx.or(others).or_else(below)?;
    let method = header(&X_ORIGINAL_METHOD)
        .or_else(|| header(&X_FORWARDED_METHOD))
        .unwrap_or_else(|| parts.method.as_str().to_owned());
    Some(Original { method: printable(&method, 32), path: printable(path_of(&uri), 512), disagree })
}

/// Without scheme and authority (which may hold a password), and without the query, which may hold anything (A4).
fn path_of(uri: &str) -> &str {
    let path = uri.split(['?', '#']).next().unwrap_or_default();
    match path.split_once("://") {
        Some((_, rest)) => rest.find('/').and_then(|start| rest.get(start..)).unwrap_or("/"),
        None => path,
    }
}

static ACCOUNT: HeaderName = HeaderName::from_static("x-countermark-account");
static USERNAME: HeaderName = HeaderName::from_static("x-countermark-username");
static ROLE: HeaderName = HeaderName::from_static("x-countermark-role");
static TEAMS: HeaderName = HeaderName::from_static("x-countermark-teams");
static GENERATION: HeaderName = HeaderName::from_static("x-countermark-generation");
static TOKEN_ID: HeaderName = HeaderName::from_static("x-countermark-token-id");
static EXPIRES: HeaderName = HeaderName::from_static("x-countermark-expires");

fn identity(verified: &Verified) -> Response {
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    // With room for what every answer gets.
    headers.reserve(16);
    // All values lie in one piece of memory, which is as long as most need.
    let mut text = BytesMut::with_capacity(256);
    let mut insert = |name: &HeaderName, write: &dyn Fn(&mut BytesMut) -> fmt::Result| {
        // Writing to memory does not fail, and all of these are ASCII by construction.
        let _ = write(&mut text);
        if let Ok(value) = HeaderValue::from_maybe_shared(text.split().freeze()) {
            headers.insert(name, value);
        }
    };
    insert(&ACCOUNT, &|text| text.write_str(verified.account().encode(&mut [0; 36])));
    insert(&USERNAME, &|text| text.write_str(verified.username().as_str()));
    insert(&ROLE, &|text| text.write_str(verified.role().as_str()));
    insert(&TEAMS, &|text| write_teams(text, verified));
    insert(&GENERATION, &|text| write!(text, "{}", verified.generation()));
    insert(&TOKEN_ID, &|text| text.write_str(verified.token_id().encode(&mut [0; 32])));
    insert(&EXPIRES, &|text| write!(text, "{}", verified.expires_at()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// `TEAM=ROLE`, with commas between them.
fn write_teams(text: &mut BytesMut, verified: &Verified) -> fmt::Result {
    for (index, (team, role)) in verified.teams().iter().enumerate() {
        write!(text, "{}{team}={role}", if index == 0 { "" } else { "," })?;
    }
    Ok(())
}
