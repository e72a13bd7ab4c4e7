//! The steps of a key's life that can be taken back, or that it takes by itself.

use axum::response::Response;

use super::super::asked::Asked;
use super::super::form::Form;
use super::super::notice::Notice;
use super::super::parts::in_words;
use super::super::visit::{Sent, Visitor};
use super::{list, path, short, show};
use crate::authority::{Authority, ChangedKey, Error, KeyToPrepare};
use crate::http::Problem;
use crate::http::extract::{KeyId, Ready};
use crate::http::permissions::KeysRotate;
use crate::permission::Permission;
use crate::token::Algorithm;
use crate::web::FieldError;

/// Whoever may rotate keys and not read them does so over the API, where nothing is shown.
pub fn may_see(visitor: &Visitor<KeysRotate>, authority: &Authority) -> Result<(), Problem> {
    Ok(authority.demand_also(visitor, &Permission::known("keys:read"))?)
}

/// `POST /console/keys/prepare`
pub async fn prepare(
    visitor: Visitor<KeysRotate>,
    Ready(authority): Ready,
    Sent(fields): Sent,
) -> Result<Response, Problem> {
    may_see(&visitor, &authority)?;
    let visit = visitor.visit();
    let refused = async |form: Form| list::answer(visit, &authority, &Asked::default(), &form).await;
    // A form that is sent twice prepares one key.
    if fields.text("version") != authority.keys().set().version().to_string() {
        return refused(Form::refused(&fields, Error::Conflict.into())).await;
    }
    let algorithm = match algorithm(fields.text("algorithm")) {
        Ok(algorithm) => algorithm,
        Err(message) => {
            let wrong = FieldError { field: "algorithm".into(), message };
            return refused(Form::wrong(&fields, vec![wrong])).await;
        }
    };
    let wanted = match fields.text("in_token") {
        "yes" => KeyToPrepare::InToken(algorithm),
        _ => KeyToPrepare::New(algorithm),
    };
    match authority.prepare_key(&visitor, wanted).await {
        Ok(ChangedKey { key, .. }) => {
            let said = format!("The key {} is published. It can sign once every cache has it.", short(&key.id));
            Ok(Notice::done(said).on(&path(&key.id)))
        }
        Err(error) => {
            let problem = Problem::from(error);
            if problem.status().is_client_error() {
                refused(Form::refused(&fields, problem)).await
            } else {
                Err(problem)
            }
        }
    }
}

fn algorithm(text: &str) -> Result<Option<Algorithm>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let found = Algorithm::ALL.into_iter().find(|algorithm| algorithm.as_str() == text);
    found.map(Some).ok_or_else(|| "choose one of the list".to_owned())
}

/// `POST /console/keys/{kid}/activate`
pub async fn activate(
    visitor: Visitor<KeysRotate>,
    Ready(authority): Ready,
    KeyId(kid): KeyId,
    Sent(fields): Sent,
) -> Result<Response, Problem> {
    may_see(&visitor, &authority)?;
    let done = authority.activate_key(&visitor, &kid, fields.text("force") == "yes").await;
    told(&visitor, &authority, &kid, done, "It signs from now on").await
}

/// `POST /console/keys/{kid}/retire`
pub async fn retire(
    visitor: Visitor<KeysRotate>,
    Ready(authority): Ready,
    KeyId(kid): KeyId,
    Sent(_): Sent,
) -> Result<Response, Problem> {
    may_see(&visitor, &authority)?;
    let done = authority.retire_key(&visitor, &kid).await;
    told(&visitor, &authority, &kid, done, "It is published no longer").await
}

async fn told(
    visitor: &Visitor<KeysRotate>,
    authority: &Authority,
    kid: &str,
    done: Result<ChangedKey, Error>,
    said: &str,
) -> Result<Response, Problem> {
    match done {
        Ok(ChangedKey { key, receipt }) => Ok(Notice::done(in_words(&receipt, said)).on(&path(&key.id))),
        Err(error) => {
            let problem = Problem::from(error);
            let is_of_the_key = problem.status().is_client_error() && problem.status().as_u16() != 404;
            if is_of_the_key {
                show::answer(visitor, visitor.visit(), authority, kid, Some(problem)).await
            } else {
                Err(problem)
            }
        }
    }
}
