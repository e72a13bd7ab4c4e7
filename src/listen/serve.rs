//! The accept loop of one listener.
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use hyper::body::Incoming;
use hyper::{Request, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service;

use super::certificates::TlsContext;
use super::connection::{self, Shared};
use super::socket::{ListenError, Listener};
use crate::config::{Address, Limits};

// Long enough for a file descriptor to come free, short enough not to be noticed.
const AFTER_ERROR: Duration = Duration::from_millis(50);

/// The connections of the whole process: one limit for all listeners.
#[derive(Debug)]
pub struct Connections {
    limit: usize,
    free: Arc<Semaphore>,
    accepted: AtomicU64,
    refused: AtomicU64,
}

impl Connections {
    /// A limit to be shared by all listeners.
    pub fn new(limit: usize) -> Arc<Self> {
        let limit = limit.min(Semaphore::MAX_PERMITS);
        let free = Arc::new(Semaphore::new(limit));
        Arc::new(Self { limit, free, accepted: AtomicU64::new(0), refused: AtomicU64::new(0) })
    }

    /// How many are open now.
    pub fn open(&self) -> usize {
        self.limit.saturating_sub(self.free.available_permits())
    }

    /// How many were accepted since the start.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// How many were closed at once since the start, because the limit was reached.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    fn admit(&self) -> Option<OwnedSemaphorePermit> {
        let permit = Arc::clone(&self.free).try_acquire_owned().ok();
        let counter = if permit.is_some() { &self.accepted } else { &self.refused };
        counter.fetch_add(1, Ordering::Relaxed);
        permit
    }
}

/// Serves a listener until `shutdown`, then lets the requests under way finish for `limits.drain_timeout` and drops what
/// is left. `tls` is used by listeners on a TLS address only, and needed there.
pub async fn serve<S>(
    listener: Listener,
    service: S,
    limits: Limits,
    tls: Option<Arc<TlsContext>>,
    connections: Arc<Connections>,
    shutdown: CancellationToken,
) -> Result<(), ListenError>
where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
{
    let tls = match listener.address() {
        Address::Tls(_) if tls.is_none() => {
            return Err(ListenError::NoCertificate { address: listener.address().clone() });
        }
        Address::Tls(_) => tls,
        _ => None,
    };
    let drain_timeout = limits.drain_timeout;
    let abort = CancellationToken::new();
    let name: Arc<str> = listener.address().to_string().into();
    let shared = Arc::new(Shared {
        service,
        limits,
        tls,
        listener: Arc::clone(&name),
        shutdown: shutdown.clone(),
        abort: abort.clone(),
    });
    let tasks = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok(accepted) => {
                // Dropped without a permit: who is refused learns it now, and the queue of the kernel stays short.
                if let Some(permit) = connections.admit() {
                    let shared = Arc::clone(&shared);
                    tasks.spawn(async move {
                        connection::run(shared, accepted).await;
                        drop(permit);
                    });
                }
            }
            // The client went away between its connect and our accept.
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(listener = %name, %error, "can't accept connections, trying again");
                tokio::select! {
                    () = shutdown.cancelled() => break,
                    () = tokio::time::sleep(AFTER_ERROR) => {}
                }
            }
        }
    }
    drop(listener);
    tasks.close();
    if tokio::time::timeout(drain_timeout, tasks.wait()).await.is_err() {
        tracing::warn!(listener = %name, connections = tasks.len(), "dropping connections that did not finish in time");
        abort.cancel();
        tasks.wait().await;
    }
    Ok(())
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted, InvalidInput, NotConnected,
    };
    matches!(
        error.kind(),
        // The last two are set_nodelay's, on a connection that is gone.
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted | InvalidInput | NotConnected
    )
}
