//! The parameters of a page: filters, and where to go on.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Display;
use std::str::FromStr;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use chrono::{DateTime, NaiveDateTime, Utc};

use super::form::Form;
use super::parts::link;
use crate::http::Edge;
use crate::web::FieldError;

/// The parameters of a page, as they were typed. What is empty is as if it were not there, as forms send it so; of what is given
/// twice, the first counts.
#[derive(Debug, Default)]
pub struct Asked(BTreeMap<String, String>);

impl FromRequestParts<Arc<Edge>> for Asked {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Edge>) -> Result<Self, Infallible> {
        let mut values = BTreeMap::new();
        let query = parts.uri.query().unwrap_or_default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()).filter(|(_, value)| !value.trim().is_empty()) {
            values.entry(name.into_owned()).or_insert_with(|| value.into_owned());
        }
        Ok(Self(values))
    }
}

impl Asked {
    /// These parameters.
    #[cfg(test)]
    pub fn of(values: &[(&str, &str)]) -> Self {
        Self(values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    /// A parameter; empty where it is missing.
    pub fn text(&self, name: &str) -> &str {
        self.0.get(name).map_or("", |value| value.trim())
    }

    /// Reads a parameter, and says what is wrong with it. One that is missing is `None`, and nothing is wrong.
    pub fn read<T: FromStr>(&self, name: &str, errors: &mut Vec<FieldError>) -> Option<T>
    where
        T::Err: Display,
    {
        let text = self.text(name);
        if text.is_empty() {
            return None;
        }
        let read = text.parse();
        read.map_err(|error: T::Err| errors.push(FieldError { field: name.to_owned(), message: error.to_string() }))
            .ok()
    }

    /// A form with these parameters in its fields, and what is wrong with them.
    pub fn form(&self, errors: Vec<FieldError>) -> Form {
        self.0.iter().fold(Form::new(), |form, (name, value)| form.with(name, value)).wrong_with(errors)
    }

    /// Whether any of these was given.
    pub fn any(&self, names: &[&str]) -> bool {
        names.iter().any(|name| !self.text(name).is_empty())
    }

    /// A page at this path with these of the parameters.
    pub fn link(&self, path: &str, names: &[&str], cursor: Option<&str>) -> String {
        let parameters: Vec<(&str, &str)> = names.iter().map(|name| (*name, self.text(name))).collect();
        link(path, &parameters, cursor)
    }
}

/// A time as people type it, or as programs write it: in UTC where nothing else is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment(pub DateTime<Utc>);

impl FromStr for Moment {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let forms = ["%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M"];
        let typed = || forms.iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok());
        DateTime::parse_from_rfc3339(text)
            .map(|time| time.to_utc())
            .ok()
            .or_else(|| typed().map(|time| time.and_utc()))
            .map(Self)
            .ok_or("a time is written 2027-01-31 08:00, in UTC")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_as_people_and_as_programs_write_it() {
        let time = DateTime::parse_from_rfc3339("2027-01-31T08:00:00Z").unwrap().to_utc();
        for text in ["2027-01-31T08:00", "2027-01-31 08:00", "2027-01-31T08:00:00Z", "2027-01-31T09:00:00+01:00"] {
            assert_eq!(text.parse(), Ok(Moment(time)), "{text}");
        }
        for bad in ["", "yesterday", "2027-13-01 08:00", "2027-01-31"] {
            assert!(bad.parse::<Moment>().is_err(), "{bad}");
        }
    }
}
