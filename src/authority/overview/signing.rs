//! The key that signs, and what comes after it.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::authority::{Authority, Error, KeyView};
use crate::clock::rfc3339;
use crate::verify::KeyState;

/// The key that signs tokens.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct SigningOverview {
    /// The key; null: none signs.
    #[schema(required = true)]
    pub key: Option<KeyView>,
    /// For how long it has been signing, in seconds.
    pub age_seconds: u64,
    /// What comes next; null: nothing, until somebody prepares another key.
    #[schema(required = true)]
    pub next: Option<NextRotation>,
    /// Keys that are published: pending, active and retiring ones.
    pub published: u64,
}

/// The next step on the way to the next signing key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct NextRotation {
    /// What is done.
    pub step: RotationStep,
    /// The key that is activated; null: it is still to be made.
    #[schema(required = true)]
    pub key_id: Option<String>,
    /// When; or, where somebody has to do it, from when on it is possible.
    #[serde(with = "rfc3339")]
    pub at: DateTime<Utc>,
    /// Whether it happens by itself.
    pub is_automatic: bool,
}

/// A step on the way to the next signing key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RotationStep {
    /// It is made and published.
    Prepare,
    /// It signs from then on.
    Activate,
}

impl Authority {
    /// The key that signs, and what comes after it.
    pub async fn signing_overview(&self) -> Result<SigningOverview, Error> {
        let loaded = self.keys.now();
        let now = self.clock.now();
        let active = loaded.facts.iter().find(|key| key.state == KeyState::Active);
        let key = match active {
            Some(facts) => Some(self.key_view_of(facts, self.store.live_tokens_of(&facts.id, now).await?)),
            None => None,
        };
        let since = key.as_ref().and_then(|key| key.activated_at);
        Ok(SigningOverview {
            key,
            age_seconds: since.map_or(0, |since| u64::try_from((now - since).num_seconds()).unwrap_or(0)),
            next: self.next_rotation(&loaded.facts),
            published: loaded.facts.iter().filter(|key| key.state.is_published()).count() as u64,
        })
    }
}
