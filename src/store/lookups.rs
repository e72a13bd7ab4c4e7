//! Look-ups go together: those that are asked for while others are under way are sent in one script call, which looks once at
//! which server it is and reads each role once, however many accounts name it.
//!
//! An answer counts from when its look-up was asked for, so that nobody joins a call that has been sent already.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::{RedisResult, Script};
use tokio::sync::{OnceCell, oneshot};

use super::link::{Link, counted};
use super::node_store::noting;
use super::schema::Schema;
use super::{StoreError, definition};
use crate::account::{AccountId, StateRecord, Versioned};
use crate::name::RoleName;
use crate::verify::freshness::{Definition, Place};

/// Accounts in one call: Redis answers nobody else meanwhile.
const TOGETHER: usize = 64;

/// Calls under way at once: one is carried out while another travels. With fewer, a look-up is sent at once. One at a time
/// answers a fifth more from a store on the same machine; but from one that is far each would wait for the one before.
const CALLS: usize = 2;

/// Look-ups that may wait to be sent.
const WAITING: usize = 8192;

/// Definitions of roles that are kept as they were read.
const DEFINITIONS: usize = 256;

/// Sends look-ups.
pub(super) struct Lookups {
    link: Arc<Link>,
    script: Script,
    schema: Schema,
    timeout: Duration,
    queue: Mutex<Queue>,
    /// By name.
    definitions: Mutex<HashMap<Vec<u8>, Read>>,
}

/// A definition, and the text that it was read from. `None`: that can't be read.
struct Read {
    from: Vec<u8>,
    definition: Option<Definition>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Asked>,
    calls: usize,
}

struct Asked {
    account: AccountId,
    tell: oneshot::Sender<Result<Answer, StoreError>>,
}

/// What was found out about one account.
pub(super) struct Answer {
    call: Arc<Call>,
    state: Option<Vec<u8>>,
}

/// What all answers of one call share.
struct Call {
    head: [String; 3],
    /// The same once somebody has read it.
    place: OnceCell<Place>,
    keys_version: u64,
    roles: BTreeMap<RoleName, Option<Definition>>,
}

/// As the script replies.
type Reply = (String, String, String, u64, Vec<Option<Vec<u8>>>, Vec<Vec<u8>>, Vec<Option<Vec<u8>>>);

impl Lookups {
    /// Over this link, by the script of the look-up.
    pub(super) fn new(link: Arc<Link>, script: Script, schema: Schema, timeout: Duration) -> Arc<Self> {
        let (queue, definitions) = Default::default();
        Arc::new(Self { link, script, schema, timeout, queue, definitions })
    }

    /// Asks for one account, together with whoever asks for others.
    pub(super) async fn look_up(self: &Arc<Self>, account: AccountId) -> Result<Answer, StoreError> {
        self.link.now()?;
        let (tell, told) = oneshot::channel();
        if self.enqueue(Asked { account, tell })? {
            let sender = Sender { lookups: Arc::clone(self), is_done: false };
            tokio::spawn(sender.run());
        }
        // In the queue and on the way together no longer than a command may take.
        match counted(tokio::time::timeout(self.timeout, told)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(StoreError::Unavailable("the look-up was given up".into())),
            Err(_) => Err(StoreError::Unavailable("timed out".into())),
        }
    }

    /// Whether a call more is needed.
    fn enqueue(&self, asked: Asked) -> Result<bool, StoreError> {
        let mut queue = self.queue();
        if queue.waiting.len() >= WAITING {
            return Err(StoreError::Unavailable("too many look-ups wait for it".into()));
        }
        queue.waiting.push_back(asked);
        let may_send = queue.calls < CALLS;
        queue.calls += usize::from(may_send);
        Ok(may_send)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn send(&self, asked: Vec<Asked>) {
        match self.call(&asked).await {
            Ok((call, states)) => {
                for (Asked { tell, .. }, state) in asked.into_iter().zip(states) {
                    // Whoever is no longer there has given up.
                    let _ = tell.send(Ok(Answer { call: Arc::clone(&call), state }));
                }
            }
            Err(error) => {
                for Asked { tell, .. } in asked {
                    let _ = tell.send(Err(error.clone()));
                }
            }
        }
    }

    async fn call(&self, asked: &[Asked]) -> Result<(Arc<Call>, Vec<Option<Vec<u8>>>), StoreError> {
        let mut held = self.link.now()?;
        let mut script = self.script.prepare_invoke();
        script.key(self.schema.meta()).key(self.schema.roles()).key(self.schema.keyring());
        for Asked { account, .. } in asked {
            script.key(self.schema.state(*account));
        }
        let reply: RedisResult<Reply> = script.invoke_async(&mut held.connection).await;
        let (dataset, server, epoch, keys_version, states, names, definitions) =
            noting(&self.link, held.number, reply)?;
        if states.len() != asked.len() || names.len() != definitions.len() {
            return Err(StoreError::Corrupt("a look-up's reply".into()));
        }
        let mut roles = BTreeMap::new();
        for (name, text) in names.into_iter().zip(definitions) {
            let Some(text) = text else { continue };
            // A record in which there is another name can't be read either.
            let Some(role) = parsed::<RoleName>(&name) else { continue };
            roles.insert(role, self.definition(name, text));
        }
        let (head, place) = ([dataset, server, epoch], OnceCell::new());
        Ok((Arc::new(Call { head, place, keys_version, roles }), states))
    }

    /// Read once for all who look it up while it stays what it is.
    fn definition(&self, name: Vec<u8>, text: Vec<u8>) -> Option<Definition> {
        let mut known = self.definitions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(read) = known.get(&name).filter(|read| read.from == text) {
            return read.definition.clone();
        }
        let definition = std::str::from_utf8(&text).ok().and_then(|text| {
            Some(Definition { version: definition::version(text)?, grants: Some(Arc::new(definition::grants(text)?)) })
        });
        if known.len() >= DEFINITIONS && !known.contains_key(&name) {
            known.clear();
        }
        known.insert(name, Read { from: text, definition: definition.clone() });
        definition
    }
}

/// Sends what waits, one call after the other, until nothing does.
struct Sender {
    lookups: Arc<Lookups>,
    is_done: bool,
}

impl Sender {
    async fn run(mut self) {
        while let Some(asked) = self.next() {
            self.lookups.send(asked).await;
        }
    }

    /// What is sent next. `None`: nothing waits. From then on whoever comes needs a call of his own: nobody may fall in between.
    fn next(&mut self) -> Option<Vec<Asked>> {
        let mut queue = self.lookups.queue();
        let mut asked = Vec::new();
        while asked.len() < TOGETHER
            && let Some(next) = queue.waiting.pop_front()
        {
            if !next.tell.is_closed() {
                asked.push(next);
            }
        }
        if asked.is_empty() {
            queue.calls -= 1;
            self.is_done = true;
            return None;
        }
        Some(asked)
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        if !self.is_done {
            let mut queue = self.lookups.queue();
            queue.calls -= 1;
            if queue.calls == 0 {
                // Nobody would send them: they are told so now, and not when their time is over.
                queue.waiting.clear();
            }
        }
    }
}

impl Answer {
    /// Which server it was, and its epoch, as this reads the head of the script's reply: once for all who asked together.
    pub(super) async fn place(
        &self,
        read: impl AsyncFnOnce(&[String]) -> Result<Place, StoreError>,
    ) -> Result<Place, StoreError> {
        self.call.place.get_or_try_init(|| read(&self.call.head)).await.cloned()
    }

    pub(super) fn keys_version(&self) -> u64 {
        self.call.keys_version
    }

    /// The record, and the definitions of the roles that it names. What of others can't be read is not its fault.
    pub(super) fn read(&self) -> Result<(Option<Versioned>, BTreeMap<RoleName, Definition>), StoreError> {
        let Some(state) = &self.state else { return Ok((None, BTreeMap::new())) };
        let text = std::str::from_utf8(state).map_err(|_| StoreError::Corrupt("a record".into()))?;
        let found = Versioned::parse(text).map_err(|error| StoreError::Corrupt(error.0))?;
        let mut roles = BTreeMap::new();
        if let StateRecord::Live(state) = &found.record {
            for name in std::iter::once(&state.role).chain(state.teams.values()) {
                let Some(definition) = self.call.roles.get(name) else { continue };
                let definition = definition.clone().ok_or_else(|| StoreError::Corrupt("a role".into()))?;
                roles.insert(name.clone(), definition);
            }
        }
        Ok((Some(found), roles))
    }
}

fn parsed<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}
