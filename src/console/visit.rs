//! Who is signed in, and the fields that he sent.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::marker::PhantomData;
use std::ops::Deref;
use std::str::FromStr;
use std::sync::Arc;

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{Method, Uri};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde_json::Value;
use zeroize::Zeroize as _;

use super::failed::LetIn;
use super::notice::{Notice, see_other};
use super::parts::Now;
use crate::account::AccountId;
use crate::authority::{Act, Precondition};
use crate::http::{Demanded, Edge, Problem, cookies, extract};
use crate::name::Username;
use crate::permission::Permission;
use crate::verify::{Actor, Reason};
use crate::web::FieldError;

/// What the shell needs to know of who is signed in.
#[derive(Clone)]
pub struct Visit {
    /// His name.
    pub username: Username,
    /// What proves that a form was given to him by us.
    pub form_token: String,
    /// What the page before has to say.
    pub notice: Option<Notice>,
    /// When the page was asked for.
    pub now: DateTime<Utc>,
    actor: Actor,
}

impl Visit {
    /// That moment, to tell times by.
    pub fn clock(&self) -> Now {
        Now(self.now)
    }

    /// Whether this is his own account.
    pub fn is(&self, account: AccountId) -> bool {
        self.actor.account() == account
    }

    /// Whether he may do this, without regard to teams: for menus and buttons. What is decided is decided by the authority.
    pub fn may(&self, permission: &str) -> bool {
        permission.parse::<Permission>().is_ok_and(|permission| self.actor.allows(&permission, None))
    }
}

/// Somebody who is signed in, with the permission `P`. What it derefs to is the act that he is about to do.
pub struct Visitor<P> {
    act: Act,
    visit: Visit,
    permission: PhantomData<P>,
}

impl<P> Visitor<P> {
    /// What the shell needs.
    pub fn visit(&self) -> &Visit {
        &self.visit
    }
}

impl<P> Deref for Visitor<P> {
    type Target = Act;

    fn deref(&self) -> &Act {
        &self.act
    }
}

/// Why somebody does not see a page: he has to sign in first, or something is wrong.
pub enum TurnedAway {
    /// To the sign-in, and back to this page after it.
    SignIn(String),
    /// This is wrong.
    Problem(Box<Problem>),
}

impl From<Problem> for TurnedAway {
    fn from(problem: Problem) -> Self {
        Self::Problem(Box::new(problem))
    }
}

impl IntoResponse for TurnedAway {
    fn into_response(self) -> Response {
        match self {
            Self::SignIn(to) => see_other(&to),
            Self::Problem(problem) => problem.into_response(),
        }
    }
}

impl<P: Demanded> FromRequestParts<Arc<Edge>> for Visitor<P> {
    type Rejection = TurnedAway;

    async fn from_request_parts(parts: &mut Parts, edge: &Arc<Edge>) -> Result<Self, TurnedAway> {
        let call = extract::call(parts)?;
        let authority = edge.authority()?;
        let Some(secret) = cookies::secret(&parts.headers, cookies::SESSION) else {
            return Err(sign_in(parts, Reason::MissingToken.into()));
        };
        let decided = authority.signed_in(&call, &secret, &extract::demand::<P>(&authority, &call)).await;
        let signed_in = decided.map_err(|refused| match refused.refusal.reason {
            // What he signed in with is good no longer.
            reason if reason != Reason::InsufficientPermission && is_over(reason) => sign_in(parts, refused.into()),
            _ => TurnedAway::from(Problem::from(refused)),
        })?;
        let actor = Actor::Session(signed_in);
        let visit = Visit {
            username: actor.username().clone(),
            form_token: cookies::form_token(&secret),
            notice: Notice::of(&parts.headers),
            now: authority.clock().now(),
            actor: actor.clone(),
        };
        if let Some(let_in) = parts.extensions.get::<LetIn>() {
            let_in.note(&visit);
        }
        Ok(Self { act: Act { actor, call }, visit, permission: PhantomData })
    }
}

fn is_over(reason: Reason) -> bool {
    !matches!(
        reason,
        Reason::StoreUnavailable | Reason::NetworkNotAllowed | Reason::RateLimited | Reason::WrongAudience
    )
}

/// Whoever wanted to read is asked to sign in first; whoever sent something is told, so that he can keep it.
fn sign_in(parts: &Parts, problem: Problem) -> TurnedAway {
    if !matches!(parts.method, Method::GET | Method::HEAD) {
        return problem.into();
    }
    let to: String = form_urlencoded::byte_serialize(place(&parts.uri).as_bytes()).collect();
    TurnedAway::SignIn(format!("/console/sign-in?to={to}"))
}

/// Where somebody wanted to go.
fn place(uri: &Uri) -> &str {
    uri.path_and_query().map_or("/console", |place| place.as_str())
}

/// A place within the console, as somebody may be sent on to; the overview for any other.
pub fn within(place: &str) -> &str {
    let (path, query) = place.split_once('?').unwrap_or((place, ""));
    let is_ours = path == "/console" || path.starts_with("/console/");
    // Nothing that a browser, or a proxy, could take for another place.
    let is_plain = |text: &str, more: &[u8]| {
        text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-._~".contains(&b) || more.contains(&b))
    };
    let is_straight = !path.contains("//") && path.split('/').all(|part| !matches!(part, "." | ".."));
    if is_ours && is_straight && is_plain(path, b"") && is_plain(query, b"=&%+:,*") { place } else { "/console" }
}

/// The fields of a form that somebody sent who is signed in: from a page of ours, with its form token.
pub struct Sent(pub Fields);

impl FromRequest<Arc<Edge>> for Sent {
    type Rejection = Problem;

    async fn from_request(request: Request, edge: &Arc<Edge>) -> Result<Self, Problem> {
        let session = cookies::secret(request.headers(), cookies::SESSION);
        let SentByStranger(mut fields) = SentByStranger::from_request(request, edge).await?;
        let shown = fields.0.remove("form_token").unwrap_or_default();
        let Some(session) = session.filter(|session| cookies::is_form_token(session, &shown)) else {
            return Err(cookies::cross_site());
        };
        // He was let in by the headers, and may have taken his time with the rest.
        edge.authority()?.goes_on(&session).await.map_err(|refusal| Problem::from(&refusal))?;
        Ok(Self(fields))
    }
}

/// The fields of a form that somebody sent from a page of ours who is not signed in.
pub struct SentByStranger(pub Fields);

impl FromRequest<Arc<Edge>> for SentByStranger {
    type Rejection = Problem;

    async fn from_request(request: Request, edge: &Arc<Edge>) -> Result<Self, Problem> {
        const FORM: &str = "application/x-www-form-urlencoded";
        let (parts, body) = request.into_parts();
        cookies::same_origin(&parts)?;
        if !extract::is_media_type(&parts.headers, FORM) {
            return Err(Problem::media_type(FORM));
        }
        let body = extract::body(Request::from_parts(parts, body), edge).await?;
        let fields = extract::pairs(&body)?;
        let text = |value| if let Value::String(text) = value { text } else { String::new() };
        Ok(Self(Fields(fields.into_iter().map(|(name, value)| (name, text(value))).collect())))
    }
}

/// The fields of a form, each once, as they were typed.
#[derive(Default)]
pub struct Fields(BTreeMap<String, String>);

/// A password may be among them.
impl Drop for Fields {
    fn drop(&mut self) {
        self.0.values_mut().for_each(String::zeroize);
    }
}

impl Fields {
    /// A field; empty where it is missing.
    pub fn text(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// The lines of a text area, without blanks around them, and without empty ones.
    pub fn lines(&self, name: &str) -> Vec<&str> {
        self.text(name).lines().map(str::trim).filter(|line| !line.is_empty()).collect()
    }

    /// That it is still of the version that the form was made for.
    pub fn unchanged(&self) -> Result<Precondition, Problem> {
        let wrong =
            || Problem::invalid_field("version", "the form does not say what it was made for; load its page anew");
        self.text("version").parse().map(Precondition::version).map_err(|_| wrong())
    }

    /// Fields whose names begin so, without that beginning.
    pub fn with_prefix(&self, prefix: &str) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().filter_map(move |(name, value)| Some((name.strip_prefix(prefix)?, value.as_str())))
    }

    /// Reads a field, and says what is wrong with it.
    pub fn read<T: FromStr>(&self, name: &str, errors: &mut Vec<FieldError>) -> Option<T>
    where
        T::Err: Display,
    {
        match self.text(name).trim().parse() {
            Ok(value) => Some(value),
            Err(error) => {
                errors.push(FieldError { field: name.to_owned(), message: error.to_string() });
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_on_to_another_place_than_the_console() {
        for ours in ["/console", "/console/keys", "/console/service-accounts?query=a%20b&limit=5"] {
            assert_eq!(within(ours), ours);
        }
        for other in [
            "",
            "/",
            "//evil.example/console",
            "https://evil.example/console",
            "/consolation",
            "/console//evil.example",
            "/console/../x",
            "/console/\\evil",
            "/console/\r\nSet-Cookie:a=b",
            "/console/%2e%2e",
            "\\\\evil",
            "/console?x=<script>",
            "javascript:alert(1)",
        ] {
            assert_eq!(within(other), "/console", "{other:?}");
        }
    }
}
