//! What handlers take: bodies, queries and paths that were checked, and callers with a permission.

use std::fmt::Display;
use std::marker::PhantomData;
use std::ops::Deref;
use std::str::FromStr;
use std::sync::Arc;

use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, header};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::cookies;
use super::edge::Edge;
use super::observe::note_missing;
use super::permissions::Demanded;
use super::problem::Problem;
use crate::authority::{AccountRef, Act, Authority, Precondition, Versions};
use crate::epoch::Epoch;
use crate::node::Call;
use crate::strict_json::{self, StrictJsonError};
use crate::verify::{Actor, Demand, Presenter};
use crate::web::credential::{Credential, id_and_token};

/// A caller with a good token and the permission `P`. What it derefs to is the act that he is about to do.
pub struct Caller<P> {
    act: Act,
    permission: PhantomData<P>,
}

impl<P> Deref for Caller<P> {
    type Target = Act;

    fn deref(&self) -> &Act {
        &self.act
    }
}

impl<P: Demanded> FromRequestParts<Arc<Edge>> for Caller<P> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, edge: &Arc<Edge>) -> Result<Self, Problem> {
        let call = call(parts)?;
        let credential = Credential::of(&parts.headers, parts.uri.query())?;
        let decoded;
        let (token, claimed) = match credential {
            Credential::Missing => {
                let Some(session) = cookies::secret(&parts.headers, cookies::SESSION) else {
                    return Err(note_missing(&call));
                };
                cookies::is_meant(parts, &session)?;
                let demand = demand::<P>(&*edge.authority()?, &call);
                let actor = edge.authority()?.signed_in(&call, &session, &demand).await?;
                return Ok(Self { act: Act { actor: Actor::Session(actor), call }, permission: PhantomData });
            }
            Credential::Bearer(token) => (token, None),
            Credential::Basic(basic) if P::BASIC => {
                let (id, token) = id_and_token(basic)?;
                decoded = token;
                (decoded.as_str(), Some(id))
            }
            Credential::Basic(_) => {
                return Err(Problem::invalid_request("send a bearer token: Authorization: Bearer ..."));
            }
        };
        let authority = edge.authority()?;
        let demand = demand::<P>(&authority, &call);
        let basic = |problem: Problem| if claimed.is_some() { problem.for_basic() } else { problem };
        let let_in = match P::FROM_MEMORY {
            true => authority.verify(&call, token, &demand).await,
            false => authority.verify_in_the_store(&call, token, &demand).await,
        };
        let actor = let_in.map_err(|refused| basic(refused.into()))?;
        if claimed.is_some_and(|id| actor.account().to_string() != id.as_str()) {
            // A good token under somebody else's name is no credential.
            call.record().refusal = Some(crate::verify::Reason::Malformed);
            return Err(Problem::from(crate::verify::Reason::Malformed).for_basic());
        }
        Ok(Self { act: Act { actor: Actor::Token(actor), call }, permission: PhantomData })
    }
}

/// What is demanded of whoever makes this call.
pub(crate) fn demand<P: Demanded>(authority: &Authority, call: &Call) -> Demand {
    Demand {
        audience: P::OWN_AUDIENCE.then(|| authority.own_audience().clone()),
        permission: P::permission(),
        team: None,
        presenter: Presenter::Holder { address: call.client_address(), proof: None },
    }
}

/// The call of this request.
pub fn call(parts: &Parts) -> Result<Call, Problem> {
    parts.extensions.get::<Call>().cloned().ok_or_else(|| Problem::internal("a request without a call"))
}

/// The call that this is, for whoever has not been let in.
pub struct ThisCall(Call);

impl Deref for ThisCall {
    type Target = Call;

    fn deref(&self) -> &Call {
        &self.0
    }
}

impl FromRequestParts<Arc<Edge>> for ThisCall {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Edge>) -> Result<Self, Problem> {
        call(parts).map(Self)
    }
}

/// The one that decides.
pub struct Ready(pub Arc<Authority>);

impl FromRequestParts<Arc<Edge>> for Ready {
    type Rejection = Problem;

    async fn from_request_parts(_: &mut Parts, edge: &Arc<Edge>) -> Result<Self, Problem> {
        edge.authority().map(Self)
    }
}

/// The body, whole, within size and time.
pub async fn body(request: Request, edge: &Edge) -> Result<Bytes, Problem> {
    let too_large = || Problem::too_large(edge.body_bytes);
    let announced =
        request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > u64::try_from(edge.body_bytes).unwrap_or(u64::MAX)) {
        return Err(too_large());
    }
    let collected =
        tokio::time::timeout(edge.body_timeout, Limited::new(request.into_body(), edge.body_bytes).collect());
    match collected.await {
        Err(_) => Err(Problem::too_slow()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(Problem::invalid_request("the body broke off")),
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
    }
}

/// Whether the body is said to be of this media type.
pub fn is_media_type(headers: &HeaderMap, wanted: &str) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.split(';').next())
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case(wanted))
}

/// A JSON body: strictly read, every wrong field named.
pub struct Json<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Arc<Edge>> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, edge: &Arc<Edge>) -> Result<Self, Problem> {
        if !is_media_type(request.headers(), "application/json") {
            return Err(Problem::media_type("application/json"));
        }
        object(&body(request, edge).await?).map(Self)
    }
}

/// Reads a text that is one JSON object.
pub fn object<T: DeserializeOwned>(text: &[u8]) -> Result<T, Problem> {
    if text.is_empty() {
        return Err(Problem::invalid_json("the body is missing; send a JSON object"));
    }
    match strict_json::parse(text) {
        Ok(Value::Object(members)) => read(members),
        Ok(_) => Err(Problem::invalid_json("the body must be a JSON object")),
        Err(StrictJsonError::NotJson(why)) => Err(Problem::invalid_json(format!("the body is not JSON: {why}"))),
        Err(StrictJsonError::Duplicate(path)) => {
            Err(Problem::invalid_field(crate::audit::printable(&path, 64), "it is given more than once"))
        }
    }
}

/// The query: no parameter twice, none unknown.
pub struct Query<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<Arc<Edge>> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Edge>) -> Result<Self, Problem> {
        read(pairs(parts.uri.query().unwrap_or_default().as_bytes())?).map(Self)
    }
}

/// For calls that take no parameters.
pub struct NoQuery;

impl FromRequestParts<Arc<Edge>> for NoQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Edge>) -> Result<Self, Problem> {
        match pairs(parts.uri.query().unwrap_or_default().as_bytes())?.keys().next() {
            None => Ok(Self),
            Some(name) => {
                Err(Problem::invalid_field(crate::audit::printable(name, 64), "this call takes no parameters"))
            }
        }
    }
}

/// Form fields, each at most once.
pub fn pairs(text: &[u8]) -> Result<Map<String, Value>, Problem> {
    let mut members = Map::new();
    for (name, value) in form_urlencoded::parse(text) {
        if members.contains_key(&*name) {
            return Err(Problem::invalid_field(crate::audit::printable(&name, 64), "it is given more than once"));
        }
        members.insert(name.into_owned(), Value::String(value.into_owned()));
    }
    Ok(members)
}

/// Reads an object into a type, and names the field that does not fit.
pub fn read<T: DeserializeOwned>(members: Map<String, Value>) -> Result<T, Problem> {
    serde_path_to_error::deserialize(Value::Object(members)).map_err(|error| {
        let path = error.path().to_string();
        let message = error.into_inner().to_string();
        let inside = if path == "." { String::new() } else { format!("{path}.") };
        let named = |name: &str| crate::audit::printable(name, 64);
        if let Some(missing) = message.strip_prefix("missing field `") {
            Problem::invalid_field(format!("{inside}{}", named(missing.trim_end_matches('`'))), "it is missing")
        } else if let Some((name, allowed)) = unknown_field(&message) {
            let field = if path == "." { name } else { &path };
            Problem::invalid_field(named(field), format!("there is no such field; {allowed}"))
        } else {
            // The message may quote what was sent.
            Problem::invalid_field(named(&path), crate::audit::printable(&message, 500))
        }
    })
}

/// The name of an unknown field, and what serde says of those that there are. The name is the client's and may hold anything:
/// what comes after it is looked for from the end.
fn unknown_field(message: &str) -> Option<(&str, &str)> {
    let quoted = message.strip_prefix("unknown field `")?;
    let end = quoted.rfind("`, expected ").or_else(|| quoted.rfind("`, there are no fields"))?;
    Some((quoted.get(..end)?, quoted.get(end + "`, ".len()..)?))
}

/// For optional members: may be left out, may not be null.
pub fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// For optional parameters of a query, which are texts.
pub fn text<'de, D: Deserializer<'de>, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: FromStr,
    T::Err: Display,
{
    String::deserialize(deserializer)?.parse().map(Some).map_err(serde::de::Error::custom)
}

/// How many items a page has: 1 to 500.
#[derive(Debug, Clone, Copy)]
pub struct Limit(pub usize);

impl Default for Limit {
    fn default() -> Self {
        Self(50)
    }
}

impl FromStr for Limit {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = text.bytes().all(|b| b.is_ascii_digit());
        match text.parse() {
            Ok(limit @ 1..=500) if plain => Ok(Self(limit)),
            _ => Err("a limit is a number from 1 to 500"),
        }
    }
}

/// A time in a query.
#[derive(Debug, Clone, Copy)]
pub struct Time(pub chrono::DateTime<chrono::Utc>);

impl FromStr for Time {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        chrono::DateTime::parse_from_rfc3339(text)
            .map(|time| Self(time.to_utc()))
            .map_err(|_| "a time is written as in RFC 3339: 2027-01-31T08:00:00Z")
    }
}

/// An account in a path, by id or by name.
pub struct Account(pub AccountRef);

impl FromRequestParts<Arc<Edge>> for Account {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, edge: &Arc<Edge>) -> Result<Self, Problem> {
        let text = path(parts, edge).await?;
        let account = text.parse().map(AccountRef::Id).or_else(|_| text.parse().map(AccountRef::Name));
        // What can be nobody's name or id is nobody's.
        account.map(Self).map_err(|_| crate::authority::Error::NotFound("account").into())
    }
}

/// A name in a path.
pub struct Name<T>(pub T);

impl<T: FromStr<Err = crate::name::Invalid>> FromRequestParts<Arc<Edge>> for Name<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, edge: &Arc<Edge>) -> Result<Self, Problem> {
        let text = path(parts, edge).await?;
        text.parse().map(Self).map_err(|error| Problem::invalid_field("name", error.to_string()))
    }
}

/// The id of a signing key in a path: whatever stands there is one, or none that is known.
pub struct KeyId(pub String);

impl FromRequestParts<Arc<Edge>> for KeyId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, edge: &Arc<Edge>) -> Result<Self, Problem> {
        path(parts, edge).await.map(Self)
    }
}

async fn path(parts: &mut Parts, edge: &Arc<Edge>) -> Result<String, Problem> {
    Path::<String>::from_request_parts(parts, edge).await.map(|Path(text)| text).map_err(|_| Problem::no_such_path())
}

/// On what condition something is to be changed.
pub struct Only(pub Precondition);

impl FromRequestParts<Arc<Edge>> for Only {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Edge>) -> Result<Self, Problem> {
        Ok(Self::of(&parts.headers))
    }
}

impl Only {
    /// Reads it (RFC 9110, sections 13.1.1 and 13.1.2).
    pub fn of(headers: &HeaderMap) -> Self {
        let of = |name| versions(headers, name);
        Self(Precondition { is: of(&header::IF_MATCH), is_not: of(&header::IF_NONE_MATCH) })
    }
}

/// The versions that a header names. What is no version of ours is none.
fn versions(headers: &HeaderMap, name: &HeaderName) -> Option<Versions> {
    let mut versions = Vec::new();
    for value in headers.get_all(name) {
        for tag in value.to_str().unwrap_or("?").split(',').map(str::trim) {
            if tag == "*" {
                return Some(Versions::Any);
            }
            // Weak tags never match strongly, and `If-None-Match` matches weakly.
            let tag = if *name == header::IF_NONE_MATCH { tag.strip_prefix("W/").unwrap_or(tag) } else { tag };
            let tag = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
            versions.extend(tag.and_then(|tag| tag.parse::<Epoch>().ok()));
        }
    }
    headers.contains_key(name).then_some(Versions::These(versions))
}
