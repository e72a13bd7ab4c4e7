//! The audit: what is recorded of a call, and reading it back.

use std::collections::BTreeMap;

use super::{AccountRef, Authority, Error};
use crate::account::AccountId;
use crate::audit::Event;
use crate::name::Username;
use crate::store::{AuditCursor, AuditFilter, Trail};

/// A page of events.
#[derive(Debug, serde::Serialize, utoipa::ToSchema)]
pub struct EventPage {
    /// From the newest on.
    pub items: Vec<Event>,
    /// For the next page; null: there is none. A page may be short, or empty, and still have a next one.
    #[schema(required = true)]
    pub next_cursor: Option<String>,
}

impl Authority {
    /// A page of the firehose, or of one account.
    pub async fn events(
        &self,
        account: Option<AccountId>,
        filter: &AuditFilter,
        cursor: Option<&AuditCursor>,
        limit: usize,
    ) -> Result<EventPage, Error> {
        let trail = account.map_or(Trail::Firehose, Trail::Account);
        let (items, next) = self.store.events(trail, filter, cursor, limit).await?;
        Ok(EventPage { items, next_cursor: next.map(|next| next.encode()) })
    }

    /// The id of an account, also of one that was deleted.
    pub async fn id_of(&self, wanted: &AccountRef) -> Result<AccountId, Error> {
        let id = match wanted {
            AccountRef::Id(id) => *id,
            AccountRef::Name(name) => self.store.id_of(name).await?.ok_or(Error::NotFound("account"))?,
        };
        match self.store.record(id).await? {
            Some(_) => Ok(id),
            None => Err(Error::NotFound("account")),
        }
    }

    /// What accounts are called; those that are gone are missing.
    pub async fn names_of(&self, accounts: &[AccountId]) -> Result<BTreeMap<AccountId, Username>, Error> {
        if accounts.is_empty() {
            return Ok(BTreeMap::new());
        }
        let accounts = self.store.readable_accounts(accounts).await?;
        Ok(accounts.into_iter().map(|account| (account.id, account.state.username)).collect())
    }
}
