//! The accept loop of one listener.
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::arrival::Answers;
use super::certificates::TlsContext;
use super::connection::{self, Shared};
use super::places::Connections;
use super::socket::{Accepted, ListenError, Listener};
use crate::config::{Address, Limits};
use crate::told::Told;

// Long enough for a file descriptor to come free, short enough not to be noticed.
const AFTER_ERROR: Duration = Duration::from_millis(50);
// Somebody was just told to go.
const AFTER_ROOM: Duration = Duration::from_millis(1);
// What goes on without its client waits for the store at most, and that for two of its time-outs.
const LAST_WORK: Duration = Duration::from_secs(3);

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
    S: Answers,
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
    let works = TaskTracker::new();
    let name: Arc<str> = listener.address().to_string().into();
    let shared = Arc::new(Shared {
        service,
        limits,
        tls,
        listener: Arc::clone(&name),
        shutdown: shutdown.clone(),
        abort: abort.clone(),
        works: works.clone(),
    });
    let tasks = TaskTracker::new();
    let mut told = Told::default();
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok(accepted) => {
                let address = match &accepted {
                    Accepted::Tcp(_, address) => Some(*address),
                    Accepted::Unix(_) => None,
                };
                let place = tokio::select! {
                    biased;
                    () = shutdown.cancelled() => break,
                    place = connections.admit(address) => place,
                };
                // Dropped without a place: who is refused learns it now, and the queue of the kernel stays short.
                if let Some(place) = place {
                    tasks.spawn(connection::run(Arc::clone(&shared), accepted, place));
                }
            }
            // The client went away between its connect and our accept.
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                // Where the files are used up, a connection is the only thing that can be done without.
                let made_room = is_of_the_process(&error) && connections.displace();
                told.is("", |_| {
                    tracing::warn!(listener = %name, %error, made_room, "can't accept connections, trying again");
                });
                tokio::select! {
                    () = shutdown.cancelled() => break,
                    () = tokio::time::sleep(if made_room { AFTER_ROOM } else { AFTER_ERROR }) => {}
                }
            }
        }
    }
    drop(listener);
    tasks.close();
    works.close();
    if tokio::time::timeout(drain_timeout, tasks.wait()).await.is_err() {
        tracing::warn!(listener = %name, connections = tasks.len(), "dropping connections that did not finish in time");
        abort.cancel();
        tasks.wait().await;
    }
    if tokio::time::timeout(LAST_WORK, works.wait()).await.is_err() {
        tracing::warn!(listener = %name, requests = works.len(), "requests whose client has left did not end in time");
    }
    Ok(())
}

/// Too many open files, here or on the whole machine, or no memory for another.
fn is_of_the_process(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM))
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
