//! Bodies, queries and forms, as the handlers read them.

use axum::http::StatusCode;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::super::accounts::{AccountPatchBody, AccountQuery, NewAccountBody};
use super::super::audit::{ActivityQuery, AuditQuery};
use super::super::extract::{object, pairs, read};
use super::super::roles::RoleBody;
use super::super::teams::TeamBody;
use super::super::tokens::NewTokenBody;
use super::super::verify::Demanded;
use super::told;
use crate::fuzzing::repeats;
use crate::strict_json::{self, StrictJsonError};

/// The first byte says for which call the rest is.
pub fn json(data: &[u8]) {
    let Some((call, text)) = data.split_first() else { return };
    match call {
        b'a' => body::<NewAccountBody>(text),
        b'p' => body::<AccountPatchBody>(text),
        b't' => body::<NewTokenBody>(text),
        b'r' => body::<RoleBody>(text),
        b'm' => body::<TeamBody>(text),
        b'A' => query::<AccountQuery>(text),
        b'U' => query::<AuditQuery>(text),
        b'Y' => query::<ActivityQuery>(text),
        b'V' => query::<Demanded>(text),
        _ => {}
    }
}

const WRONG: [StatusCode; 2] = [StatusCode::BAD_REQUEST, StatusCode::UNPROCESSABLE_ENTITY];

fn body<T: DeserializeOwned>(text: &[u8]) {
    let strict = strict_json::parse(text);
    match (&strict, serde_json::from_slice::<Value>(text)) {
        (Ok(mine), Ok(theirs)) => assert_eq!(*mine, theirs, "two readers read two things"),
        (Err(StrictJsonError::NotJson(_)), Err(_)) | (Err(StrictJsonError::Duplicate(_)), _) => {}
        (mine, theirs) => unreachable!("only one takes it for JSON: {mine:?} {theirs:?}"),
    }
    assert!(strict.is_err() || !repeats(text), "a member twice");
    match object::<T>(text) {
        Ok(_) => {
            assert!(matches!(strict, Ok(Value::Object(_))), "no object");
            assert!(serde_json::from_slice::<T>(text).is_ok(), "the plain reader is stricter");
        }
        Err(problem) => {
            told(&problem, &WRONG);
            let wanted = match strict {
                Err(StrictJsonError::Duplicate(_)) | Ok(Value::Object(_)) => "invalid_field",
                Err(StrictJsonError::NotJson(_)) | Ok(_) => "invalid_json",
            };
            assert_eq!(problem.reason(), wanted);
        }
    }
}

fn query<T: DeserializeOwned>(text: &[u8]) {
    let given: Vec<_> = form_urlencoded::parse(text).collect();
    let twice =
        given.iter().enumerate().any(|(nth, (name, _))| given.iter().skip(nth + 1).any(|(other, _)| name == other));
    match pairs(text) {
        Ok(members) => {
            assert!(!twice && members.len() == given.len());
            if let Err(problem) = read::<T>(members) {
                told(&problem, &WRONG);
            }
        }
        Err(problem) => {
            assert!(twice);
            told(&problem, &WRONG);
        }
    }
}
