//! The issuers that the store waits for when it has become another server (R2).

use std::sync::atomic::Ordering;
use std::time::Duration;

use redis::RedisResult;
use serde_json::json;

use super::link::{self, counted};
use super::node_store::{confirmed, noting};
use super::schema::hard_bound;
use super::{Committed, Store, StoreError, Table, error, refused};
use crate::audit::block::hash;
use crate::audit::{Event, Numbered};
use crate::verify::freshness::Identity;

/// An issuer that has changed the dataset, or may.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KnownIssuer {
    /// Its own id.
    pub id: String,
    /// Its configured name.
    pub name: String,
    /// Its id in the table of nodes, if it stands there.
    pub node: Option<String>,
    /// The last term in which it has raised the store.
    pub raised: u64,
    /// As it stands there.
    text: String,
}

/// One that is to be declared gone, with the event of that.
#[derive(Debug)]
pub struct Forgetting<'a> {
    /// Its own id.
    pub id: &'a str,
    /// The act.
    pub event: &'a Event,
}

impl KnownIssuer {
    /// Of its line in the table.
    pub fn read(id: String, text: String) -> Self {
        let mut parts = text.splitn(3, ' ');
        let raised = parts.next().and_then(|term| term.parse().ok()).unwrap_or(0);
        let node = parts.next().filter(|node| *node != "-").map(str::to_owned);
        let name = parts.next().unwrap_or(&id).to_owned();
        Self { name, node, raised, id, text }
    }
}

impl Store {
    /// The id by which the store knows this issuer; empty: it does not.
    pub(super) fn issuer_id(&self) -> &str {
        self.remembering().map_or("", |it| it.journal.issuer())
    }

    /// Why no change can be noted in the journal. `None`: they can.
    pub fn journal_trouble(&self) -> Option<String> {
        self.remembering().and_then(|it| it.journal.trouble())
    }

    /// That no sentinel says any more which server is the primary, for more than a moment.
    pub fn unguided(&self) -> Option<String> {
        self.changes.unguided()
    }

    /// Looks whether another server acts as this issuer. R2: the store waits for one of them, and takes the other for raised with it.
    pub fn look_for_twin(&self, issuers: &[KnownIssuer], table: &Table) {
        let own = self.remembering().and_then(|it| it.node.as_deref());
        let is_another =
            |node: &String| own.is_some_and(|own| own != node) && table.leases.iter().any(|lease| lease.id == *node);
        let of_ours = issuers.iter().filter(|issuer| issuer.id == self.issuer_id());
        let has_twin = of_ours.filter_map(|issuer| issuer.node.as_ref()).any(is_another);
        self.raising.has_twin.store(has_twin, Ordering::Relaxed);
    }

    /// That another server acts as this issuer, as of the last look, and what to do.
    pub fn twin(&self) -> Option<&'static str> {
        self.raising.has_twin.load(Ordering::Relaxed).then_some(
            "another server acts as this issuer, so that the data directory of one is a copy of the other's: a store that is promoted or \
             restored does not wait for both. Stop the copy, remove journal and node-name in its data directory, and start it again",
        )
    }

    /// Those that it knows, by name.
    pub async fn issuers(&self) -> Result<Vec<KnownIssuer>, StoreError> {
        let mut command = redis::cmd("HGETALL");
        command.arg(self.schema.issuers());
        let all: Vec<(String, String)> = self.query(&self.reads, command).await?;
        let mut issuers: Vec<_> = all.into_iter().map(|(id, text)| KnownIssuer::read(id, text)).collect();
        issuers.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
        Ok(issuers)
    }

    /// This issuer changes nothing more. `false`: the store still waits for it, as it has not raised it.
    pub async fn withdraw(&self) -> Result<bool, StoreError> {
        let id = self.issuer_id();
        if id.is_empty() {
            return Ok(true);
        }
        self.withdraw_as(id, "").await
    }

    /// Another one that has ended without that, if it still stands there so.
    pub async fn withdraw_gone(&self, gone: &KnownIssuer) -> Result<bool, StoreError> {
        self.withdraw_as(&gone.id, &gone.text).await
    }

    async fn withdraw_as(&self, id: &str, standing: &str) -> Result<bool, StoreError> {
        let mut held = self.begun().await?;
        held.connection.set_response_timeout(self.longest_wait());
        let mut script = self.scripts.withdraw.prepare_invoke();
        script.key(self.schema.meta()).key(self.schema.issuers()).arg(self.dataset_id().await?).arg(id).arg(standing);
        let reply: RedisResult<bool> = counted(script.invoke_async(&mut held.connection)).await;
        let is_gone = noting(&self.changes, held.number, reply)?;
        if is_gone && self.options.replicated {
            // A replica that is promoted without it waits for whoever has withdrawn, and for nothing.
            let replicas = self.options.replicas_required.max(1);
            held.connection.set_response_timeout(self.longest_wait() + self.options.replica_timeout);
            let reply = confirmed(&mut held.connection, replicas, self.options.replica_timeout).await;
            if let Err(error) = reply {
                tracing::debug!(
                    error = error::describe(&error),
                    "no replica has confirmed that an issuer has withdrawn"
                );
            }
        }
        Ok(is_gone)
    }

    /// Declares an issuer gone, together with the event of that (A1). What it alone may know is not made up for.
    ///
    /// `act` is its event with a number. `again`: it may have been carried out before; then it is not done twice.
    pub async fn forget_issuer(&self, id: &str, act: &Numbered, again: bool) -> Result<Committed, StoreError> {
        let event = act.to_line();
        let plan = json!({
            "dataset": self.dataset_id().await?,
            "id": id,
            "node": act.node,
            "claim": act.claim,
            "sequence": act.sequence,
            "hash": hash(&event),
            "takes_away": true,
        });
        let mut script = self.scripts.forget.prepare_invoke();
        script
            .key(self.schema.meta())
            .key(self.schema.issuers())
            .key(self.schema.acts())
            .key(self.schema.act_heads())
            .key(self.schema.unlinked())
            .arg(plan.to_string())
            .arg(event)
            .arg(hard_bound(self.options.retention.firehose));
        if again {
            script.arg("again");
        }
        let mut held = self.begun().await?;
        let reply: RedisResult<Vec<String>> = counted(script.invoke_async(&mut held.connection)).await;
        let reply = reply.map_err(|error| {
            self.changes.failed(&error, held.number);
            let lost = link::is_broken(&error);
            match error::of_change(error) {
                StoreError::Uncertain(why) if !lost => StoreError::Unavailable(why),
                other => other,
            }
        })?;
        match reply.as_slice() {
            [ok, epoch, server] if ok == "ok" => Ok(Committed {
                epoch: epoch.parse().map_err(|_| StoreError::Corrupt("an epoch".into()))?,
                identity: Identity::new(&self.dataset_id().await?, server),
                leases: Vec::new(),
                replicas: 0,
                waited: Duration::ZERO,
            }),
            [unmet] if unmet == "unmet" => Err(StoreError::Unmet),
            other => Err(refused(other)),
        }
    }
}
