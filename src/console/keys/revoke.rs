//! A key is revoked: first what dies with it, then its id is to be typed.

use askama::Template;
use axum::response::Response;

use super::super::asked::Asked;
use super::super::notice::{Notice, see_other};
use super::super::parts::{Confirm, Now, in_words};
use super::super::visit::{Sent, Visitor};
use super::steps::may_see;
use super::{page_of, path, short};
use crate::authority::{Authority, BlastRadius, ChangedKey, Error};
use crate::http::Problem;
use crate::http::extract::{KeyId, Ready};
use crate::http::permissions::KeysRotate;
use crate::verify::KeyState;
use crate::web::FieldError;

/// Accounts that are looked at for the page. Whoever wants to know of more waits for it.
const LOOK_AT: usize = 1_000;
/// Teams that are named: those with the most members that lose their token.
const TEAMS: usize = 20;

#[derive(Template)]
#[template(path = "console/keys/revoke.html")]
struct Revoke<'a> {
    now: Now,
    radius: &'a BlastRadius,
    path: String,
    teams: Vec<(String, u64)>,
    more_teams: usize,
    confirm: Confirm<'a>,
}

impl Revoke<'_> {
    fn has_more_teams(&self) -> bool {
        self.more_teams > 0
    }
}

/// `GET /console/keys/{kid}/revoke`
pub async fn page(
    visitor: Visitor<KeysRotate>,
    Ready(authority): Ready,
    KeyId(kid): KeyId,
    asked: Asked,
) -> Result<Response, Problem> {
    revoking(&visitor, &authority, &kid, asked.text("count") == "all", None).await
}

async fn revoking(
    visitor: &Visitor<KeysRotate>,
    authority: &Authority,
    kid: &str,
    all: bool,
    problem: Option<Problem>,
) -> Result<Response, Problem> {
    may_see(visitor, authority)?;
    let state = authority.keys().set().find(kid).map(|key| key.state);
    if state == Some(KeyState::Revoked) {
        return Ok(see_other(&path(kid)));
    }
    let radius = match all {
        true => authority.blast_radius(visitor, kid).await?,
        false => authority.blast_radius_within(visitor, kid, LOOK_AT).await?,
    };
    let visit = visitor.visit();
    let wrong = problem.as_ref().and_then(|problem| {
        let mut errors = problem.told().errors.iter();
        errors.find(|error| error.field == "confirm").map(|error| error.message.clone())
    });
    let page = page_of(visit, &radius.key_id, "Revoke the key");
    let page = match problem {
        Some(problem) if wrong.is_some() => page.telling(problem),
        Some(problem) => page.notice(Notice::failed(&problem)).telling(problem),
        None => page,
    };
    let mut teams: Vec<(String, u64)> = radius.teams.iter().map(|(team, count)| (team.to_string(), *count)).collect();
    teams.sort_by(|a, b| (b.1, &a.0).cmp(&(a.1, &b.0)));
    let more_teams = teams.len().saturating_sub(TEAMS);
    teams.truncate(TEAMS);
    let consequences = consequences(&radius, state);
    let (path, button) = (path(&radius.key_id), format!("Revoke {}", short(&radius.key_id)));
    let action = format!("{path}/revoke");
    page.answer(&Revoke {
        now: visit.clock(),
        radius: &radius,
        teams,
        more_teams,
        confirm: Confirm {
            form_token: &visit.form_token,
            action: &action,
            version: "",
            consequences: &consequences,
            sends: &[],
            typed: Some(&radius.key_id),
            error: wrong.as_deref(),
            button: &button,
            back: &path,
        },
        path: path.clone(),
    })
}

fn consequences(radius: &BlastRadius, state: Option<KeyState>) -> Vec<String> {
    let mut consequences = vec![
        "Nothing that it signed is accepted any more, on any node. Whoever has such a token is refused until he has a new one."
            .to_owned(),
    ];
    if state == Some(KeyState::Active) {
        consequences.push(
            "It signs now: the pending key that was published first signs in its place at once, or a new one that is made for it."
                .to_owned(),
        );
    }
    if radius.own_token {
        consequences.push("The token that you have signed in with dies too, and this session with it.".to_owned());
    }
    consequences.push(
        "Verifiers that know only the published key set go on accepting until they read it again: some minutes with most.".to_owned(),
    );
    consequences.push("This can't be undone.".to_owned());
    consequences
}

/// `POST` of the same.
pub async fn revoke(
    visitor: Visitor<KeysRotate>,
    Ready(authority): Ready,
    KeyId(kid): KeyId,
    Sent(fields): Sent,
) -> Result<Response, Problem> {
    may_see(&visitor, &authority)?;
    match authority.revoke_key(&visitor, &kid, fields.text("confirm").trim()).await {
        Ok(ChangedKey { key, receipt }) => {
            let said = in_words(&receipt, "The key is revoked; what it signed is refused");
            Ok(Notice::done(said).on(&path(&key.id)))
        }
        Err(Error::NotConfirmed) => {
            let message = "type the id of the key that is to be revoked, as it stands here".to_owned();
            let wrong = Error::Invalid(vec![FieldError { field: "confirm".into(), message }]);
            revoking(&visitor, &authority, &kid, false, Some(wrong.into())).await
        }
        Err(error) => {
            let problem = Problem::from(error);
            let is_of_the_key = problem.status().is_client_error() && problem.status().as_u16() != 404;
            if is_of_the_key { revoking(&visitor, &authority, &kid, false, Some(problem)).await } else { Err(problem) }
        }
    }
}
