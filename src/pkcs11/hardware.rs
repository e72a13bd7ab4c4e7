//! The one thread that speaks to the token, and who may ask it for what.

use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SendError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use super::connection::Connection;
use super::key_pair;
use super::{InToken, TokenError};
use crate::config::Pkcs11;
use crate::token::{Algorithm, KeyError, Signer, VerificationKey};

/// How many may wait for the token at once. They hold a thread each.
const QUEUE: usize = 64;
/// How long a signature may take, the waiting for others included.
const SIGNING: Duration = Duration::from_secs(5);
/// How long a key may take to be made: small tokens need their time for RSA.
const MAKING: Duration = Duration::from_secs(90);
/// How long is waited for the thread to log out.
const LEAVING: Duration = Duration::from_secs(1);

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// What is amiss with a token, if anything: told by whoever asked it last.
pub(super) type Trouble = Arc<Mutex<Option<String>>>;

/// A hardware token.
pub struct HardwareToken {
    label: String,
    /// Gone when the thread is to end.
    jobs: Option<SyncSender<Job>>,
    thread: ThreadId,
    /// Nothing comes from there: its other end goes with the thread, after the connection.
    left: Mutex<Receiver<()>>,
    trouble: Trouble,
}

/// A module must not be taken down by the end of the process while its thread is still logging out: that crashes.
impl Drop for HardwareToken {
    fn drop(&mut self) {
        self.jobs = None;
        // The last of us may be dropped by the thread itself.
        if self.thread != std::thread::current().id() {
            let _ = self.left.get_mut().unwrap_or_else(PoisonError::into_inner).recv_timeout(LEAVING);
        }
    }
}

impl fmt::Debug for HardwareToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HardwareToken({} …)", self.label)
    }
}

impl HardwareToken {
    /// The token of these settings. It need not be there: it is looked for now, and again whenever it is asked for something.
    pub fn connect(settings: &Pkcs11) -> Option<Arc<Self>> {
        let (jobs, queue) = sync_channel::<Job>(QUEUE);
        let trouble = Trouble::default();
        let mut connection = Connection::new(settings.clone(), Arc::clone(&trouble));
        let (leaving, left) = sync_channel::<()>(1);
        let thread = std::thread::Builder::new().name("pkcs11".into()).spawn(move || {
            if connection.with(|_| Ok(())).is_ok() {
                tracing::info!(token = connection.label(), "the hardware token is there");
            }
            for job in queue {
                job(&mut connection);
            }
            drop(connection);
            drop(leaving);
        });
        match thread {
            Ok(thread) => {
                let (thread, left) = (thread.thread().id(), Mutex::new(left));
                Some(Arc::new(Self { label: settings.token_label.clone(), jobs: Some(jobs), thread, left, trouble }))
            }
            Err(error) => {
                tracing::error!(%error, "there is no thread for the hardware token");
                None
            }
        }
    }

    /// Its label.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Makes a key in it. Unless it is published, it is destroyed again.
    pub async fn make(self: &Arc<Self>, algorithm: Algorithm) -> Result<FreshKey, TokenError> {
        let token = Arc::clone(self);
        let made = tokio::task::spawn_blocking(move || {
            let keeper = Arc::clone(&token);
            let make = move |connection: &mut Connection| {
                let (object, is_begun) = (key_pair::new_id()?, Cell::new(false));
                let made = connection.with(|open| key_pair::make(open, algorithm, &object, &is_begun));
                let place = InToken { label: keeper.label.clone(), object };
                match made {
                    Ok(public) => Ok(FreshKey { token: keeper, public, place, is_published: AtomicBool::new(false) }),
                    Err(error) => {
                        if is_begun.get() {
                            clear(connection, &place);
                        }
                        Err(error)
                    }
                }
            };
            // Nobody waits for it any more, and the queue may be full.
            token.ask(MAKING, make, |connection, late| {
                late.set_published(true);
                clear(connection, &late.place);
            })
        });
        made.await.map_err(|error| TokenError::Away(error.to_string()))?
    }

    /// What signs with a key in it.
    pub fn signer(self: &Arc<Self>, public: VerificationKey, place: &InToken) -> Arc<dyn Signer> {
        Arc::new(TokenSigner { token: Arc::clone(self), public, place: place.clone() })
    }

    /// Has the thread do something, and something else with what comes of it too late.
    fn ask<T: Send + 'static>(
        &self,
        within: Duration,
        work: impl FnOnce(&mut Connection) -> Result<T, TokenError> + Send + 'static,
        too_late: impl FnOnce(&mut Connection, T) + Send + 'static,
    ) -> Result<T, TokenError> {
        let deadline = Instant::now() + within;
        let (reply, answer) = sync_channel(1);
        let job: Job = Box::new(move |connection| {
            // Nobody waits for it any more.
            if Instant::now() < deadline
                && let Err(SendError(Ok(late))) = reply.send(work(connection))
            {
                too_late(connection, late);
            }
        });
        let jobs = self.jobs.as_ref().ok_or_else(|| self.amiss("it is being left".into()))?;
        jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => self.amiss(format!("{QUEUE} signatures wait for it already")),
            TrySendError::Disconnected(_) => self.amiss("the thread that spoke to it is gone".into()),
        })?;
        answer.recv_timeout(within).unwrap_or_else(|error| {
            Err(self.amiss(match error {
                RecvTimeoutError::Timeout => format!("it did not answer within {} s", within.as_secs()),
                RecvTimeoutError::Disconnected => "its module gave up in the middle".into(),
            }))
        })
    }

    fn amiss(&self, why: String) -> TokenError {
        let why = format!("the hardware token {}: {why}", self.label);
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(why.clone());
        TokenError::Away(why)
    }
}

/// A key that was just made. When it is dropped unpublished, the token destroys it.
pub struct FreshKey {
    token: Arc<HardwareToken>,
    public: VerificationKey,
    place: InToken,
    is_published: AtomicBool,
}

impl fmt::Debug for FreshKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FreshKey({:?} in {})", self.public, self.place.label)
    }
}

impl FreshKey {
    /// Its public half.
    pub fn public(&self) -> &VerificationKey {
        &self.public
    }

    /// Where it lies.
    pub fn place(&self) -> &InToken {
        &self.place
    }

    /// Whether it may be published by now: then it stays.
    pub fn set_published(&self, may_be: bool) {
        self.is_published.store(may_be, Ordering::Relaxed);
    }
}

impl Drop for FreshKey {
    fn drop(&mut self) {
        if self.is_published.load(Ordering::Relaxed) {
            return;
        }
        // Also on the thread itself, which must not wait for its own queue.
        let Some(jobs) = &self.token.jobs else { return };
        let place = self.place.clone();
        if let Err(error) = jobs.try_send(Box::new(move |connection| clear(connection, &place))) {
            stays(
                &self.place,
                match error {
                    TrySendError::Full(_) => &"too many wait for it",
                    TrySendError::Disconnected(_) => &"the thread that spoke to it is gone",
                },
            );
        }
    }
}

/// Destroys what lies there and was never published, if anything does.
fn clear(connection: &mut Connection, place: &InToken) {
    match connection.with(|open| key_pair::destroy(open, &place.object)) {
        Ok(0) => {}
        Ok(_) => tracing::info!(
            token = place.label,
            object = place.object,
            "a key that was not published was destroyed in the hardware token"
        ),
        Err(error) => stays(place, &error),
    }
}

fn stays(place: &InToken, why: &dyn fmt::Display) {
    tracing::error!(
        %why, token = place.label, object = place.object,
        "a key that was never published may be left in the hardware token; remove the objects of this CKA_ID"
    );
}

/// A published key whose private half lies in a token.
struct TokenSigner {
    token: Arc<HardwareToken>,
    public: VerificationKey,
    place: InToken,
}

impl fmt::Debug for TokenSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenSigner({:?} in {})", self.public, self.place.label)
    }
}

impl Signer for TokenSigner {
    fn public(&self) -> &VerificationKey {
        &self.public
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let (public, object, message) = (self.public.clone(), self.place.object.clone(), message.to_vec());
        let work =
            move |connection: &mut Connection| connection.with(|open| key_pair::sign(open, &public, &object, &message));
        self.token.ask(SIGNING, work, |_, _| ()).map_err(|error| KeyError::OutOfReach(error.to_string()))
    }

    fn waits(&self) -> bool {
        true
    }

    fn trouble(&self) -> Option<String> {
        self.token.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
