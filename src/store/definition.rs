//! A definition as it lies in the store: the epoch of its last change, a space, a JSON object.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::epoch::Epoch;
use crate::name::Description;
use crate::permission::Grant;

#[derive(Serialize, Deserialize)]
pub(super) struct RoleDefinition {
    #[serde(rename = "d")]
    pub(super) description: Description,
    #[serde(rename = "p")]
    pub(super) permissions: BTreeSet<Grant>,
}

pub(super) fn split(text: &str) -> Option<(Epoch, &str)> {
    let (version, body) = text.split_once(' ')?;
    Some((version.parse().ok()?, body))
}

/// The epoch of a stored definition.
pub(super) fn version(text: &str) -> Option<Epoch> {
    Some(split(text)?.0)
}

/// The grants of a stored definition.
pub(super) fn grants(text: &str) -> Option<BTreeSet<Grant>> {
    grants_of(split(text)?.1)
}

/// The grants of a definition without its epoch.
pub(super) fn grants_of(body: &str) -> Option<BTreeSet<Grant>> {
    Some(serde_json::from_str::<RoleDefinition>(body).ok()?.permissions)
}
