//! Everything at a glance. Nothing is counted when it is asked for: what has to be, was before (see [`census`]).

mod calls;
mod census;
mod receipts;
mod signing;

use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;

pub use calls::{CallsAt, CallsOverview};
pub use census::{AccountStates, Census, DeadTokenUser};
pub use receipts::GivenReceipt;
pub use signing::{NextRotation, RotationStep, SigningOverview};

use super::{Act, Authority, Error, LastCheckpoint, SinkStatus};
use crate::clock::rfc3339;
use crate::permission::Permission;
use crate::store::Node;

/// Nodes that are told of.
const NODES: usize = 50;

/// Everything at a glance, as far as the caller may see it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Overview {
    /// Now.
    #[serde(with = "rfc3339")]
    pub time: DateTime<Utc>,
    /// The accounts; null without `accounts:read`.
    #[schema(required = true)]
    pub accounts: Option<AccountsOverview>,
    /// Calls with genuine tokens; null without `audit:read`.
    #[schema(required = true)]
    pub calls: Option<CallsOverview>,
    /// The last changes and since when they hold, 20 at the most, the last one first; null without `audit:read`.
    #[schema(required = true)]
    pub receipts: Option<Vec<GivenReceipt>>,
    /// How the audit stands; null without `audit:read`.
    #[schema(required = true)]
    pub audit: Option<AuditHealth>,
    /// The key that signs tokens; null without `keys:read`.
    #[schema(required = true)]
    pub signing: Option<SigningOverview>,
    /// The nodes; null without `nodes:read`.
    #[schema(required = true)]
    pub nodes: Option<NodesOverview>,
}

/// The accounts, as they were counted last.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct AccountsOverview {
    /// The count: about a minute old, older where it takes more than two seconds to count them; null: there is none yet.
    #[schema(required = true)]
    pub census: Option<Census>,
    /// Current tokens of accounts that are not disabled that expire from today (UTC) up to the 7th day after.
    pub expiring_within_7_days: u64,
    /// Up to the 30th.
    pub expiring_within_30_days: u64,
    /// Up to the 60th.
    pub expiring_within_60_days: u64,
}

/// The nodes, and how many of them may answer from memory.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct NodesOverview {
    /// How many there are.
    pub total: u64,
    /// Those that have renewed their lease in time.
    pub with_lease: u64,
    /// Those whose lease is over: they look everything up, or are gone.
    pub overdue: u64,
    /// Those that look everything up, as they were told to.
    pub without_memory: u64,
    /// Each of them by name, 50 at the most.
    pub items: Vec<Node>,
}

/// How the audit stands. `GET /api/v1/audit/status` tells more.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct AuditHealth {
    /// What was signed last; null: nothing was yet.
    #[schema(required = true)]
    pub checkpoint: Option<LastCheckpoint>,
    /// Blocks that were signed and are not there any more.
    pub lost_blocks: u64,
    /// For how long the oldest block has been waiting for its place in the activity logs, in seconds. Counts of calls lag behind as much.
    pub activity_lag_seconds: u64,
    /// How old the oldest entry is that is to be archived and is not, in seconds; null: nothing is archived.
    #[schema(required = true)]
    pub archive_lag_seconds: Option<u64>,
    /// The sinks that there ever were.
    pub sinks: Vec<SinkStatus>,
}

impl Authority {
    /// Everything at a glance, as far as somebody may see it.
    pub async fn overview(&self, act: &Act) -> Result<Overview, Error> {
        let may = |permission| act.actor.allows(&Permission::known(permission), None);
        let reads_audit = may("audit:read");
        let (accounts, calls, receipts, audit, signing, nodes) = tokio::try_join!(
            if_so(may("accounts:read"), self.accounts_overview()),
            if_so(reads_audit, self.calls_overview()),
            if_so(reads_audit, self.given_receipts()),
            if_so(reads_audit, self.audit_health()),
            if_so(may("keys:read"), self.signing_overview()),
            if_so(may("nodes:read"), self.nodes_overview()),
        )?;
        Ok(Overview { time: self.clock.now(), accounts, calls, receipts, audit, signing, nodes })
    }

    async fn accounts_overview(&self) -> Result<AccountsOverview, Error> {
        let census = self.census().await?;
        let today: NaiveDate = self.clock.now().date_naive();
        let within = |days| census.as_ref().map_or(0, |census| census.expiring_within(today, days));
        Ok(AccountsOverview {
            expiring_within_7_days: within(7),
            expiring_within_30_days: within(30),
            expiring_within_60_days: within(census::DAYS),
            census,
        })
    }

    async fn nodes_overview(&self) -> Result<NodesOverview, Error> {
        let mut items = self.store.nodes().await?;
        let count = |is: fn(&&Node) -> bool| items.iter().filter(is).count() as u64;
        let (total, without_memory) = (items.len() as u64, count(|node| node.lease_ms == 0));
        let with_lease = count(|node| node.has_lease());
        items.truncate(NODES);
        Ok(NodesOverview { total, with_lease, overdue: total - with_lease - without_memory, without_memory, items })
    }

    async fn audit_health(&self) -> Result<AuditHealth, Error> {
        let stored = self.store.last_checkpoint().await?;
        let (checkpoint, signed) = match &stored {
            Some((id, text)) => {
                let (last, checkpoint) = self.last_checkpoint(id, text).await;
                (Some(last), checkpoint)
            }
            None => (None, None),
        };
        let kept = signed.as_ref().map(|signed| signed.kept.clone()).unwrap_or_default();
        let (streams, sinks) = tokio::try_join!(self.stream_statuses(&kept), self.sink_statuses())?;
        let archived = streams.iter().filter_map(|stream| stream.archive.as_ref()).filter(|archive| archive.is_on);
        Ok(AuditHealth {
            checkpoint,
            lost_blocks: signed.map_or(0, |signed| signed.lost.len() as u64),
            activity_lag_seconds: streams.iter().map(|stream| stream.activity_lag_seconds).max().unwrap_or(0),
            archive_lag_seconds: archived.map(|archive| archive.lag_seconds).max(),
            sinks,
        })
    }
}

/// `None`: it may not be seen, and is not asked for.
async fn if_so<T>(may: bool, part: impl Future<Output = Result<T, Error>>) -> Result<Option<T>, Error> {
    if may { part.await.map(Some) } else { Ok(None) }
}
