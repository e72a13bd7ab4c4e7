//! One entry: a line of a checksum and a JSON object.

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Lineage;
use crate::account::{AccountId, StateRecord};
use crate::epoch::Epoch;
use crate::name::RoleName;
use crate::permission::Grant;
use crate::session::SessionId;
use crate::store::account_record::{IssuedToken, Profile};

/// A change, and where it was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The dataset.
    #[serde(rename = "d")]
    pub dataset: String,
    /// The server to which the term belongs.
    #[serde(rename = "i")]
    pub server: String,
    /// The epoch of the change.
    #[serde(rename = "e")]
    pub epoch: Epoch,
    /// When it was noted, in Unix seconds.
    #[serde(rename = "at")]
    pub at: i64,
    /// What it was.
    #[serde(rename = "c")]
    pub change: Change,
}

/// What a change has ended: how things were after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// An account that was there before.
    Account(Box<AccountAfter>),
    /// A role that was there before.
    Role(RoleAfter),
    /// The signing keys have a new version; and this one is revoked.
    Keys {
        /// The key.
        revoked: Option<String>,
    },
    /// Sessions were ended. No epoch is about that.
    Sessions(Vec<SessionId>),
    /// A store was raised: whatever stands before this is in it, up to this epoch.
    Raised,
}

/// An account after a change. Of a password and a link there is no more than when they were made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountAfter {
    /// Which.
    pub id: AccountId,
    /// The version that was changed.
    pub before: Epoch,
    /// The server to whose term that version belongs.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub before_server: String,
    /// The state record.
    pub record: StateRecord,
    /// Of the current token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<IssuedToken>,
    /// Of the previous one, while it overlaps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<IssuedToken>,
    /// When the password was set, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_set_at: Option<i64>,
    /// Until when the link to set it is good, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link_expires_at: Option<i64>,
}

/// A role after a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleAfter {
    /// Which.
    pub name: RoleName,
    /// What it grants; nothing, where it was deleted.
    pub grants: BTreeSet<Grant>,
}

impl AccountAfter {
    /// What becomes of this version of an account.
    pub fn of(id: AccountId, before: Epoch, record: StateRecord, profile: Option<&Profile>) -> Self {
        Self {
            id,
            before,
            before_server: String::new(),
            record,
            token: profile.and_then(|profile| profile.token.clone()),
            previous: profile.and_then(|profile| profile.previous.clone()),
            password_set_at: profile.and_then(|profile| Some(profile.password.as_ref()?.set_at.timestamp_millis())),
            link_expires_at: profile.and_then(|profile| Some(profile.link.as_ref()?.expires_at.timestamp_millis())),
        }
    }
}

/// What later entries of the same are about, too.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum About {
    /// First in what is compacted: it says what of the rest still counts.
    Raised(String, Epoch),
    Account(AccountId),
    Role(RoleName),
    Key(Option<String>),
}

/// The number of a segment, and of the line in it: what was noted later has a higher one.
pub(super) type Place = (u64, u64);

/// An entry, and where it was noted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Noted {
    #[serde(rename = "n")]
    pub(super) place: Place,
    #[serde(rename = "w")]
    pub(super) entry: Entry,
}

impl Entry {
    /// A change that was made at this epoch of a store of this history.
    pub fn of(lineage: &Lineage, epoch: Epoch, at: i64, mut change: Change) -> Self {
        let server = |term| lineage.server_of(term).unwrap_or_default().to_owned();
        if let Change::Account(after) = &mut change {
            after.before_server = server(after.before.term);
        }
        Self { dataset: lineage.dataset.clone(), server: server(epoch.term), epoch, at, change }
    }

    pub(super) fn of_sessions(ids: &[SessionId], at: i64) -> Self {
        let (dataset, server, epoch) = Default::default();
        Self { dataset, server, epoch, at, change: Change::Sessions(ids.to_vec()) }
    }

    /// `None`: what is ended there never comes again.
    pub(super) fn about(&self) -> Option<About> {
        Some(match &self.change {
            Change::Account(after) => About::Account(after.id),
            Change::Role(after) => About::Role(after.name.clone()),
            Change::Keys { revoked } => About::Key(revoked.clone()),
            Change::Sessions(_) => return None,
            Change::Raised => About::Raised(self.server.clone(), self.epoch),
        })
    }

    /// With its line end.
    pub(super) fn to_line(&self) -> String {
        to_line(self)
    }
}

impl Change {
    /// At most so many bytes are written of it, wherever it is made.
    pub(super) fn longest_line(&self) -> usize {
        serde_json::to_string(self).map_or(0, |text| text.len()) + AROUND
    }
}

/// What stands around a change in its line: a checksum, the dataset, a server twice, an epoch, a time.
const AROUND: usize = 640;

/// A checksum and a JSON object, with the line end.
pub(super) fn to_line(what: &impl Serialize) -> String {
    // No map in it has keys that are no text.
    let text = serde_json::to_string(what).unwrap_or_default();
    format!("{:08x} {text}\n", crc32fast::hash(text.as_bytes()))
}

/// `None`: that is not what was written.
pub(super) fn parse<T: DeserializeOwned>(line: &[u8]) -> Option<T> {
    let (sum, text) = std::str::from_utf8(line).ok()?.strip_suffix('\n')?.split_once(' ')?;
    if sum.len() != 8 || u32::from_str_radix(sum, 16).ok()? != crc32fast::hash(text.as_bytes()) {
        return None;
    }
    serde_json::from_str(text).ok()
}
