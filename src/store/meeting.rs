//! An issuer meets the store: it recognises the dataset, begins a term where the server is another one (F6), and raises it by what it
//! knows and the server does not (R2).

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::RedisResult;
use tokio::sync::{Notify, watch};

use super::journal::{Change, Entry, KEPT_TERMS, Lineage, Lost, MetTerm};
use super::link::{Numbered, counted};
use super::node_store::noting;
use super::waiting::Waiting;
use super::{Dataset, Remembering, Store, StoreError, place, roles};
use crate::epoch::Epoch;
use crate::told::Told;
use crate::verify::freshness::Identity;

/// Why a store was not met.
#[derive(Debug, thiserror::Error)]
pub enum MeetError {
    /// The dataset belongs to this other issuer.
    #[error("the dataset belongs to the issuer {0}")]
    Issuer(String),
    /// It is not the dataset that was expected: another one, or none at all.
    #[error("the store holds another dataset than it did, or none")]
    Dataset {
        /// What was expected.
        expected: String,
        /// What is there.
        found: Option<String>,
    },
    /// This backup is being put back into it, or was begun to be.
    #[error("a backup is being restored into the store")]
    Restoring(String),
    /// The store is away, or holds something unreadable.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<MeetError> for StoreError {
    fn from(error: MeetError) -> Self {
        match error {
            MeetError::Store(error) => error,
            other => Self::Unavailable(other.to_string()),
        }
    }
}

/// Whether nodes are served by the store that was met.
enum Standing {
    /// They are.
    Serves,
    /// It lacks what this issuer knows.
    Lacks,
    /// It may lack what these issuers know.
    Waits(Vec<String>),
}

/// What lacks in which store.
#[derive(Debug, Clone)]
pub struct ToRaise {
    /// The server.
    pub identity: Identity,
    /// Its history.
    pub lineage: Arc<Lineage>,
    /// What it lacks.
    pub lost: Arc<Lost>,
}

/// What is to be raised, and who waits for it.
#[derive(Default)]
pub(super) struct Raising {
    /// The number of the connection on which the present term was begun, or found; 0: on none.
    begun: AtomicU64,
    lacks: Mutex<Option<ToRaise>>,
    /// That it lacks something.
    told: Mutex<Told>,
    bell: Notify,
    /// Rises each time that something was raised.
    done: watch::Sender<u64>,
    waiting: Mutex<Waiting>,
    /// Whether another server acts as this issuer.
    pub(super) has_twin: AtomicBool,
}

impl Raising {
    fn lacks(&self, what: ToRaise) {
        let (accounts, roles, keys) = (what.lost.accounts.len(), what.lost.roles.len(), what.lost.keys);
        self.told.lock().unwrap_or_else(PoisonError::into_inner).is("", |_| {
            tracing::warn!(
                accounts,
                roles,
                keys,
                "the store has become another server, which lacks changes that were made from here: what they ended is ended again"
            );
        });
        *self.lacks.lock().unwrap_or_else(PoisonError::into_inner) = Some(what);
        self.bell.notify_one();
    }

    /// The server that was met last lacks nothing more.
    fn is_done(&self) {
        *self.lacks.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.told.lock().unwrap_or_else(PoisonError::into_inner).is_over();
        self.done.send_modify(|done| *done += 1);
    }
}

/// As an issuer calls the dataset that it wants to meet.
struct Wanted<'a> {
    new_id: &'a str,
    issuer: Option<&'a str>,
    default_issuer: &'a str,
    former_issuers: &'a [String],
}

impl Store {
    /// Meets the store: creates or recognises the dataset, begins a new term where the server is another one. A store that was
    /// met before is only recognised: one that has been emptied meanwhile must not be taken for a new one. Whether nodes are served
    /// is another question: see [`to_raise`](Self::to_raise) and [`waited_for`](Self::waited_for).
    ///
    /// A dataset that has no issuer yet gets the `issuer`, or else the `default_issuer`.
    pub async fn meet(
        &self,
        new_id: &str,
        issuer: Option<&str>,
        default_issuer: &str,
        former_issuers: &[String],
    ) -> Result<Dataset, MeetError> {
        let _one = self.meeting.lock().await;
        let wanted = Wanted { new_id, issuer, default_issuer, former_issuers };
        self.meet_on(self.changes.now()?, &wanted).await.map(|(dataset, _)| dataset)
    }

    /// The connection for changes, known to lead to the dataset that was met, which serves nodes. F6: whoever answers on a new one may
    /// be another server, whose epochs are another term's, so that it is met again before anything is changed on it.
    pub(super) async fn met(&self) -> Result<Numbered, StoreError> {
        for _ in 0..2 {
            let mut done = self.raising.done.subscribe();
            let held = self.changes.now()?;
            if self.met.load(Ordering::SeqCst) == held.number {
                return Ok(held);
            }
            let standing = {
                let _one = self.meeting.lock().await;
                let held = self.changes.now()?;
                if self.met.load(Ordering::SeqCst) == held.number {
                    return Ok(held);
                }
                let (dataset, standing) = self.recognise_on(held.clone()).await?;
                if matches!(standing, Standing::Serves) {
                    tracing::info!(epoch = %dataset.epoch, "met the store again");
                    return Ok(held);
                }
                standing
            };
            if let Standing::Waits(names) = standing {
                return Err(StoreError::Waits(names.join(", ")));
            }
            // Whoever has seen it before sees to that.
            let _ = tokio::time::timeout(self.longest_wait(), done.changed()).await;
        }
        Err(StoreError::Unavailable(
            "it lacks changes that this issuer has made, and they are not all made up for yet".into(),
        ))
    }

    /// The connection for changes, known to lead to a server that this issuer has met, whether or not nodes are served there.
    pub(super) async fn begun(&self) -> Result<Numbered, StoreError> {
        let is_begun = |held: &Numbered| self.raising.begun.load(Ordering::SeqCst) == held.number;
        let held = self.changes.now()?;
        if is_begun(&held) {
            return Ok(held);
        }
        let _one = self.meeting.lock().await;
        let held = self.changes.now()?;
        if !is_begun(&held) {
            self.recognise_on(held.clone()).await?;
        }
        Ok(held)
    }

    /// The dataset that was met before, and no other.
    async fn recognise_on(&self, held: Numbered) -> Result<(Dataset, Standing), StoreError> {
        // Not before it was met for the first time.
        self.dataset_id().await?;
        let wanted = Wanted { new_id: "", issuer: None, default_issuer: "", former_issuers: &[] };
        Ok(self.meet_on(held, &wanted).await?)
    }

    async fn meet_on(&self, mut held: Numbered, wanted: &Wanted<'_>) -> Result<(Dataset, Standing), MeetError> {
        let roles: serde_json::Map<String, serde_json::Value> = crate::permission::built_in_roles()
            .into_iter()
            .map(|role| (role.name.to_string(), roles::role_definition(&role).into()))
            .collect();
        let known = self.dataset.read().await.as_ref().map(|dataset| dataset.id.clone());
        let known = known.or_else(|| self.expected.get().cloned());
        self.has_some_room()?;
        // A change before it may still be waiting for its replicas.
        held.connection.set_response_timeout(self.longest_wait());
        let remembering = self.remembering();
        let (terms, is_blank) = match remembering {
            Some(Remembering { journal, .. }) => {
                let is_blank = journal.is_blank().await.map_err(StoreError::from)?;
                if is_blank {
                    journal.forget_terms().await.map_err(StoreError::from)?;
                }
                (journal.terms().await.map_err(StoreError::from)?, is_blank)
            }
            None => (String::new(), false),
        };
        let mut script = self.scripts.start.prepare_invoke();
        script
            .key(self.schema.meta())
            .key(self.schema.roles())
            .key(self.schema.issuers())
            .arg(known.as_deref().unwrap_or_default())
            .arg(wanted.new_id)
            .arg(wanted.issuer.unwrap_or_default())
            .arg(wanted.default_issuer)
            .arg(serde_json::Value::from(wanted.former_issuers.to_vec()).to_string())
            .arg(serde_json::Value::Object(roles).to_string())
            .arg(u64::try_from(place::LEASE_CEILING.as_millis()).unwrap_or(0))
            .arg(KEPT_TERMS)
            .arg(remembering.map_or("", |it| it.journal.issuer()))
            .arg(remembering.and_then(|it| it.node.as_deref()).unwrap_or_default())
            .arg(remembering.map_or("", |it| it.name.as_str()))
            .arg(terms)
            .arg(u8::from(is_blank));
        let reply: RedisResult<Vec<String>> = counted(script.invoke_async(&mut held.connection)).await;
        let reply = noting(&self.changes, held.number, reply)?;
        match reply.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["ok", id, issuer, term, counter, server, created, ceiling, raised, past, waited_for @ ..] => {
                let ceiling = ceiling.parse().map_err(|_| StoreError::Corrupt("the lease ceiling".into()))?;
                let epoch = format!("{term}-{counter}").parse().map_err(|_| StoreError::Corrupt("the epoch".into()))?;
                let identity = Identity::new(id, server);
                let lineage = Arc::new(Lineage::read(id, server, epoch, past));
                self.note_met(identity.clone(), lineage, *created == "1", Duration::from_millis(ceiling));
                let dataset = Dataset { id: (*id).to_owned(), issuer: (*issuer).to_owned(), epoch };
                *self.dataset.write().await = Some(dataset.clone());
                self.raising.begun.store(held.number, Ordering::SeqCst);
                self.name_term(id, epoch.term, server).await;
                let waited_for = waited_for.iter().map(|name| (*name).to_owned()).collect();
                let standing = self.standing(&mut held, *raised == "1", waited_for).await?;
                Ok((dataset, standing))
            }
            ["issuer", other] => Err(MeetError::Issuer((*other).to_owned())),
            ["restoring", backup] => Err(MeetError::Restoring((*backup).to_owned())),
            ["dataset", found] => Err(MeetError::Dataset {
                expected: known.unwrap_or_default(),
                found: Some((*found).to_owned()).filter(|found| !found.is_empty()),
            }),
            _ => Err(StoreError::Corrupt("the dataset".into()).into()),
        }
    }

    /// Before anybody is served in it: the next term has to be beyond.
    async fn name_term(&self, dataset: &str, term: u64, server: &str) {
        let Some(Remembering { journal, .. }) = self.remembering() else { return };
        let met = MetTerm { dataset: dataset.to_owned(), term, server: server.to_owned() };
        if let Err(error) = journal.name_term(met).await {
            // That nobody is served because of it would be worse than what it is for.
            tracing::warn!(%error, term, "the term that was met is not noted: nodes may have to be restarted after a failover that loses it");
        }
    }

    /// R2: what the journal names and the server lacks is to be raised before it serves anybody.
    async fn standing(
        &self,
        held: &mut Numbered,
        raised: bool,
        waited_for: Vec<String>,
    ) -> Result<Standing, StoreError> {
        let here = self.here().ok_or_else(|| StoreError::Corrupt("the place".into()))?;
        let Some(Remembering { journal, .. }) = self.remembering() else { return Ok(self.serves(held, waited_for)) };
        if raised && here.is_raised {
            return Ok(self.serves(held, waited_for));
        }
        if !here.is_raised {
            let lost = journal.lost(Arc::clone(&here.lineage), self.clock.now().timestamp()).await?;
            self.end_again(&lost.sessions).await?;
            if !lost.is_nothing() {
                self.raising.lacks(ToRaise { identity: here.identity, lineage: here.lineage, lost: Arc::new(lost) });
                return Ok(Standing::Lacks);
            }
        }
        let told = self.tell_raised(held, &here.identity).await?;
        self.raising.is_done();
        Ok(told)
    }

    /// What the store lacks of what this issuer has changed. `None`: nothing.
    pub fn to_raise(&self) -> Option<ToRaise> {
        self.raising.lacks.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until the store lacks something.
    pub async fn lacks_something(&self) {
        self.raising.bell.notified().await;
    }

    /// The names of issuers that have not raised the store yet, as of the last look: until they have, it serves nobody.
    pub fn waited_for(&self) -> Vec<String> {
        self.raising.waiting.lock().unwrap_or_else(PoisonError::into_inner).names().to_vec()
    }

    /// The number of the connection by which is read what is to be raised. `Unmet`: it leads to another server.
    pub async fn reads_lead_to(&self, identity: &Identity) -> Result<u64, StoreError> {
        let mut held = self.shared.now()?;
        let mut script = self.scripts.table.prepare_invoke();
        script.key(self.schema.meta()).key(self.schema.leases());
        let reply: RedisResult<Vec<String>> = counted(script.invoke_async(&mut held.connection)).await;
        match noting(&self.shared, held.number, reply)?.as_slice() {
            [dataset, server, ..] if Identity::new(dataset, server) == *identity => Ok(held.number),
            _ => Err(StoreError::Unmet),
        }
    }

    /// All of that is raised. `Unmet`: that is recorded nowhere, because it is another server, or knows nothing of this issuer, or because
    /// something else was found to lack since.
    pub async fn has_raised(&self, what: &ToRaise) -> Result<(), StoreError> {
        let _one = self.meeting.lock().await;
        // The server may have been left meanwhile, and be met again with more that it lacks.
        if !self.to_raise().is_some_and(|last| Arc::ptr_eq(&last.lost, &what.lost)) {
            return Err(StoreError::Unmet);
        }
        let mut held = self.changes.now()?;
        self.tell_raised(&mut held, &what.identity).await?;
        self.raising.is_done();
        Ok(())
    }

    /// Looks once more what the server lacks, whichever it is by now: what was to be raised may be something else.
    pub async fn look_again(&self) -> Result<(), StoreError> {
        let _one = self.meeting.lock().await;
        self.recognise_on(self.changes.now()?).await.map(|_| ())
    }

    /// Tells the store that it was raised, and the journal where.
    async fn tell_raised(&self, held: &mut Numbered, identity: &Identity) -> Result<Standing, StoreError> {
        let Some(Remembering { journal, name, node }) = self.remembering() else {
            return Ok(Standing::Waits(self.waited_for()));
        };
        let mut script = self.scripts.raised.prepare_invoke();
        script
            .key(self.schema.meta())
            .key(self.schema.issuers())
            .arg(self.dataset_id().await?)
            .arg(identity.server())
            .arg(journal.issuer())
            .arg(node.as_deref().unwrap_or_default())
            .arg(name)
            .arg(journal.terms().await.map_err(StoreError::from)?);
        let reply: RedisResult<Vec<String>> = counted(script.invoke_async(&mut held.connection)).await;
        let reply = noting(&self.changes, held.number, reply)?;
        let (epoch, waited_for) = match reply.as_slice() {
            [ok, epoch, waited_for @ ..] if ok == "ok" => (epoch, waited_for.to_vec()),
            [unmet] if unmet == "unmet" => {
                self.raising.begun.store(0, Ordering::SeqCst);
                return Err(StoreError::Unmet);
            }
            other => return Err(super::refused(other)),
        };
        let epoch: Epoch = epoch.parse().map_err(|_| StoreError::Corrupt("the epoch".into()))?;
        let lineage = {
            let mut here = self.here.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(met) = here.as_mut().filter(|met| met.identity == *identity) else {
                return Err(StoreError::Unmet);
            };
            met.is_raised = true;
            Arc::clone(&met.lineage)
        };
        let entry = Entry::of(&lineage, epoch, self.clock.now().timestamp(), Change::Raised);
        // Without it the same is looked at once more; changes are refused until it takes entries again.
        if let Err(error) = journal.append(&entry).await {
            tracing::debug!(%error, "that the store was raised is not noted");
        }
        Ok(self.serves(held, waited_for))
    }

    fn serves(&self, held: &Numbered, waited_for: Vec<String>) -> Standing {
        self.raising.waiting.lock().unwrap_or_else(PoisonError::into_inner).note(waited_for.clone());
        if waited_for.is_empty() {
            self.met.store(held.number, Ordering::SeqCst);
            Standing::Serves
        } else {
            self.met.store(0, Ordering::SeqCst);
            Standing::Waits(waited_for)
        }
    }
}
