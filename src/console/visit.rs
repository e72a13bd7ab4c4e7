//! Who is signed in, and the fields that he sent.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use chrono::{DateTime, Utc};

use super::notice::Notice;
use super::parts::Now;
use crate::account::AccountId;
use crate::name::Username;
use crate::web::FieldError;

/// What the shell needs to know of who is signed in.
pub struct Visit {
    /// His name.
    pub username: Username,
    /// His account.
    pub account: AccountId,
    /// What proves that a form was given to him by us.
    pub form_token: String,
    /// When he came: the moment that all times of the page are told by.
    pub now: DateTime<Utc>,
    /// What the page before has to say: `Notice::of(&parts.headers)`.
    pub notice: Option<Notice>,
}

impl Visit {
    /// The same, to tell times by.
    pub fn clock(&self) -> Now {
        Now(self.now)
    }

    /// Whether he may do this, without regard to teams: for menus and buttons.
    pub fn may(&self, _permission: &str) -> bool {
        true
    }
}

/// The fields of a form, each once, as they were typed.
#[derive(Default)]
pub struct Fields(BTreeMap<String, String>);

impl Fields {
    /// A field; empty where it is missing.
    pub fn text(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// The lines of a text area, without blanks around them, and without empty ones.
    pub fn lines(&self, name: &str) -> Vec<&str> {
        self.text(name).lines().map(str::trim).filter(|line| !line.is_empty()).collect()
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
