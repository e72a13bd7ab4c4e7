//! What is told of the signing keys.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Authority, Error};
use crate::clock::rfc3339;
use crate::keyring::KeyFacts;
use crate::token::Algorithm;
use crate::verify::KeyState;

/// How long caches may keep the key set, in seconds.
const MAX_AGE: i64 = 300;

/// A key as the outside sees it.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct KeyView {
    /// RFC 7638 thumbprint; the `kid`.
    pub id: String,
    /// Its one algorithm.
    pub algorithm: Algorithm,
    /// Its state.
    pub state: KeyState,
    /// Whether its private half lies in a hardware token.
    pub in_token: bool,
    /// There the `CKA_ID` of its objects, in hex, as long as it signs or may.
    #[schema(required = true)]
    pub token_object: Option<String>,
    /// When it was made.
    #[serde(with = "rfc3339")]
    pub created_at: DateTime<Utc>,
    /// Since when it is published.
    #[serde(with = "rfc3339::option")]
    #[schema(required = true)]
    pub published_at: Option<DateTime<Utc>>,
    /// Since when it signs, or signed.
    #[serde(with = "rfc3339::option")]
    #[schema(required = true)]
    pub activated_at: Option<DateTime<Utc>>,
    /// Since when it is retired.
    #[serde(with = "rfc3339::option")]
    #[schema(required = true)]
    pub retired_at: Option<DateTime<Utc>>,
    /// Since when it is revoked.
    #[serde(with = "rfc3339::option")]
    #[schema(required = true)]
    pub revoked_at: Option<DateTime<Utc>>,
    /// Living tokens that died when it was revoked.
    #[schema(required = true)]
    pub tokens_revoked: Option<u64>,
    /// Living tokens that it signed; of a revoked key, those of them in whose place there is no new one yet.
    pub live_tokens: u64,
    /// When the last of them expires.
    #[serde(with = "rfc3339::option")]
    #[schema(required = true)]
    pub last_expiry: Option<DateTime<Utc>>,
    /// What may be done with it next; null: nothing.
    #[schema(required = true)]
    pub next_step: Option<NextStep>,
}

/// What may be done with a key next.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct NextStep {
    /// `activate` or `retire`.
    pub action: &'static str,
    /// From when on.
    #[serde(with = "rfc3339")]
    pub possible_at: DateTime<Utc>,
}

/// The published key set (RFC 7517, section 5).
#[derive(Debug, Serialize)]
pub struct PublishedKeys {
    /// Pending, active and retiring keys; and those that sign checkpoints of the audit, which have `key_ops`.
    pub keys: Vec<jsonwebtoken::jwk::Jwk>,
    /// The version of the key set, which only rises: so API nodes know whether what they read has what the store speaks of.
    pub countermark_version: u64,
}

impl Authority {
    /// All keys, in the order in which they were made.
    pub async fn key_views(&self) -> Result<Vec<KeyView>, Error> {
        let now = self.clock.now();
        let loaded = self.keys.now();
        // Asked for together: they may be many.
        let counts = loaded.facts.iter().map(|facts| self.store.live_tokens_of(&facts.id, now));
        let counts = futures_util::future::try_join_all(counts).await?;
        let views = loaded.facts.iter().zip(counts).map(|(facts, count)| self.key_view_of(facts, count));
        Ok(views.collect())
    }

    /// A key, with how many living tokens it signed and when the last of them expires.
    pub(super) fn key_view_of(
        &self,
        facts: &KeyFacts,
        (live_tokens, last_expiry): (u64, Option<DateTime<Utc>>),
    ) -> KeyView {
        let publish_ahead = self.settings.signing.publish_ahead;
        let next_step = match facts.state {
            KeyState::Pending => facts
                .published_at
                .map(|published| NextStep { action: "activate", possible_at: published + publish_ahead }),
            KeyState::Retiring => {
                Some(NextStep { action: "retire", possible_at: last_expiry.unwrap_or_else(|| self.clock.now()) })
            }
            KeyState::Active | KeyState::Retired | KeyState::Revoked => None,
        };
        KeyView {
            id: facts.id.clone(),
            algorithm: facts.algorithm,
            state: facts.state,
            in_token: facts.in_token.is_some(),
            token_object: facts.in_token.as_ref().map(|place| place.object.clone()),
            created_at: facts.created_at,
            published_at: facts.published_at,
            activated_at: facts.activated_at,
            retired_at: facts.retired_at,
            revoked_at: facts.revoked.map(|revoked| revoked.at),
            tokens_revoked: facts.revoked.map(|revoked| revoked.tokens),
            live_tokens,
            last_expiry,
            next_step,
        }
    }

    /// Whether new keys can be made in a hardware token.
    pub fn has_hardware_token(&self) -> bool {
        self.keys.hardware().is_some()
    }

    /// The algorithm of new keys, if nobody says otherwise.
    pub fn default_algorithm(&self) -> Algorithm {
        self.settings.signing.algorithm
    }

    /// How long a cache may keep the published set, in seconds: never longer than a key is published before it signs.
    pub fn published_max_age(&self) -> i64 {
        self.settings.signing.publish_ahead.num_seconds().clamp(0, MAX_AGE)
    }

    /// The published set (RFC 7517).
    pub fn published_keys(&self) -> PublishedKeys {
        let loaded = self.keys.now();
        let of_tokens = loaded.set.iter().filter(|key| key.state.is_published()).map(|key| key.public.jwk().clone());
        PublishedKeys {
            keys: of_tokens.chain(loaded.audit.published()).collect(),
            countermark_version: loaded.set.version(),
        }
    }

    /// The algorithms of the published set.
    pub fn published_algorithms(&self) -> Vec<&'static str> {
        let mut algorithms: Vec<_> = self
            .keys
            .now()
            .set
            .iter()
            .filter(|key| key.state.is_published())
            .map(|key| key.public.algorithm().as_str())
            .collect();
        algorithms.sort_unstable();
        algorithms.dedup();
        algorithms
    }
}
