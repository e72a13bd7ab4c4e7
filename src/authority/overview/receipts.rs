//! The receipts that were given last. They are noted once the answer is on its way: one that is lost is lost for the overview alone.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::account::AccountId;
use crate::audit::Event;
use crate::authority::call::By;
use crate::authority::{Authority, Error, Receipt};
use crate::clock::rfc3339;

/// A change, and since when it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct GivenReceipt {
    /// When the receipt was given.
    #[serde(with = "rfc3339")]
    pub time: DateTime<Utc>,
    /// The kind of the change's event: `token.regenerate`.
    pub kind: String,
    /// The id of that event's request; null: Countermark did it by itself.
    #[schema(required = true)]
    pub request_id: Option<String>,
    /// The account that was changed.
    #[schema(required = true)]
    pub account_id: Option<AccountId>,
    /// The name of what was changed: an account's, a role's, a team's, or a key's id.
    #[schema(required = true)]
    pub name: Option<String>,
    /// The username of whoever did it; null: Countermark, or the holder of a token that only ended it.
    #[schema(required = true)]
    pub actor: Option<String>,
    /// The receipt.
    pub receipt: Receipt,
}

impl Authority {
    /// Notes that a receipt was given. Nobody waits for that.
    pub(in crate::authority) fn receipt_given(&self, by: By<'_>, event: &Event, receipt: &Receipt) {
        // What it is about: an account, unless it is one of these.
        let named =
            event.kind.split_once('.').map(|(what, _)| what).filter(|what| ["role", "team", "key"].contains(what));
        let name = match named {
            Some(what) => event.details.as_ref().and_then(|details| Some(details.get(what)?.as_str()?.to_owned())),
            None => event.username.clone(),
        };
        let given = GivenReceipt {
            time: self.clock.now(),
            kind: event.kind.clone(),
            request_id: event.request_id.clone(),
            account_id: event.account_id.filter(|_| named.is_none()),
            name,
            actor: match by {
                By::Somebody(act) => Some(act.actor.username().to_string()),
                By::Holder(_) | By::Machine => None,
            },
            receipt: receipt.clone(),
        };
        // All that is in it has a JSON form.
        let (store, text) = (Arc::clone(&self.store), serde_json::to_string(&given).unwrap_or_default());
        tokio::spawn(async move {
            if let Err(error) = store.note_receipt(&text).await {
                tracing::debug!(%error, "a receipt was not noted");
            }
        });
    }

    /// The receipts that were given last, the last one first.
    pub(super) async fn given_receipts(&self) -> Result<Vec<GivenReceipt>, Error> {
        let texts = self.store.last_receipts().await?;
        Ok(texts.iter().filter_map(|text| serde_json::from_str(text).ok()).collect())
    }
}
