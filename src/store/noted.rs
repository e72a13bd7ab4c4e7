//! Acts that change nothing that verifications consult.

use serde_json::json;

use super::schema::hard_bound;
use super::{Committed, Store, StoreError, refused};
use crate::audit::block::hash;
use crate::audit::{Event, Numbered};

/// An act that is only to be told.
#[derive(Debug)]
pub struct Note<'a> {
    /// The act, without a number.
    pub event: &'a Event,
    /// What meta says of the restore that it tells of: it says so no more.
    pub restored: Option<&'a str>,
}

impl Store {
    /// Commits the event of an act.
    ///
    /// `act` is its event with a number. `again`: it may have been committed before; then it is not done twice.
    pub async fn note(&self, note: &Note<'_>, act: &Numbered, again: bool) -> Result<Committed, StoreError> {
        let event = act.to_line();
        let plan = json!({
            "dataset": self.dataset_id().await?,
            "restored": note.restored.unwrap_or_default(),
            "node": act.node,
            "claim": act.claim,
            "sequence": act.sequence,
            "hash": hash(&event),
            // Nobody is served before it is told.
            "takes_away": note.restored.is_some(),
        });
        let schema = &self.schema;
        let mut script = self.scripts.noted.prepare_invoke();
        script
            .key(schema.meta())
            .key(schema.acts())
            .key(schema.act_heads())
            .key(schema.leases())
            .key(schema.unlinked())
            .arg(plan.to_string())
            .arg(event)
            .arg(hard_bound(self.options.retention.firehose));
        self.change(script, None, again).await?.map_err(|reply| refused(&reply))
    }
}
