use serde::Serialize;

/// What became of one look; what matters more is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// As it should be.
    Ok,
    /// Good to know; nothing is wrong.
    Notice,
    /// Nobody knows: it could not be looked at.
    Unchecked,
    /// Something to change.
    Finding,
}

impl Status {
    /// The word in the output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Notice => "notice",
            Self::Unchecked => "unchecked",
            Self::Finding => "finding",
        }
    }
}

/// One thing that was looked at. No text holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// What was looked at, as `theme.thing`; stays the same from version to version.
    pub check: &'static str,
    /// What became of it.
    pub status: Status,
    /// What was seen.
    pub seen: String,
    /// Why that matters; empty where all is well.
    pub why: String,
    /// What to do; empty where nothing is.
    pub action: String,
}

impl Entry {
    /// As it should be.
    pub fn ok(check: &'static str, seen: impl Into<String>) -> Self {
        Self { check, status: Status::Ok, seen: seen.into(), why: String::new(), action: String::new() }
    }

    /// Something to change.
    pub fn finding(
        check: &'static str,
        seen: impl Into<String>,
        why: impl Into<String>,
        action: impl Into<String>,
    ) -> Self {
        Self { check, status: Status::Finding, seen: seen.into(), why: why.into(), action: action.into() }
    }

    /// Good to know.
    pub fn notice(check: &'static str, seen: impl Into<String>, action: impl Into<String>) -> Self {
        Self { check, status: Status::Notice, seen: seen.into(), why: String::new(), action: action.into() }
    }

    /// It could not be looked at; `action` says how it could.
    pub fn unchecked(check: &'static str, why_not: impl Into<String>, action: impl Into<String>) -> Self {
        Self { check, status: Status::Unchecked, seen: why_not.into(), why: String::new(), action: action.into() }
    }
}
