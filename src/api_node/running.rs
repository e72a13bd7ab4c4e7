//! What a verifier does by itself: it recognises the store, follows the feed, keeps its lease, reads the keys again, writes events.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::StartError;
use super::home::ApiHome;
use crate::node::{Follower, Node, Writer};
use crate::store::{NotRecognised, Recognised, StoreError};

/// How often the key set is read again.
const KEYS_EVERY: Duration = Duration::from_secs(300);
/// And where it could not be.
const KEYS_AGAIN: Duration = Duration::from_secs(5);
/// How long it is until the store is asked again that was away.
const PAUSE: Duration = Duration::from_millis(100);
/// How long the start waits for a store that answers.
const AT_ONCE: Duration = Duration::from_secs(1);
/// How long what is left of the audit may take at the end.
const FLUSH: Duration = Duration::from_secs(8);

pub(super) struct Running {
    pub(super) node: Arc<Node<ApiHome>>,
    pub(super) node_id: String,
    pub(super) retire: CancellationToken,
    pub(super) max_staleness: Duration,
    /// Ends the connections, also those of a start that failed.
    pub(super) _disconnects: DropGuard,
}

/// Why a node has not begun.
#[derive(Debug, thiserror::Error)]
enum NotBegun {
    /// It may do so by itself.
    #[error(transparent)]
    Away(StoreError),
    /// Somebody has to change something.
    #[error(transparent)]
    Refused(StartError),
}

impl From<StoreError> for NotBegun {
    fn from(error: StoreError) -> Self {
        if error.is_forbidden() { forbidden("some command") } else { Self::Away(error) }
    }
}

impl From<NotRecognised> for NotBegun {
    fn from(error: NotRecognised) -> Self {
        match error {
            NotRecognised::Issuer { wanted, found } => Self::Refused(StartError::Issuer { wanted, found }),
            NotRecognised::Store(error) => error.into(),
        }
    }
}

fn forbidden(what: &str) -> NotBegun {
    NotBegun::Refused(StartError::Redis(format!(
        "the user of Redis may not do what a verifier does ({what}): `countermark acl verifier` prints the rules"
    )))
}

impl Running {
    /// Begins with a store that is there. Where it is away, or nobody has set it up yet, that is tried again later.
    pub(super) async fn begun_at_once(&self) -> Result<(), StartError> {
        match tokio::time::timeout(AT_ONCE, self.try_to_begin()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(NotBegun::Refused(error))) => Err(error),
            Ok(Err(NotBegun::Away(_))) | Err(_) => Ok(()),
        }
    }

    pub(super) async fn run(
        self,
        writer: Writer,
        begun: watch::Sender<Result<bool, String>>,
        ended: watch::Sender<bool>,
    ) {
        let reading = tokio::spawn(Self::read_keys(Arc::clone(&self.node), self.retire.clone()));
        tokio::select! {
            () = self.retire.cancelled() => {}
            () = self.begin(&begun) => self.work(writer).await,
        }
        let _ = reading.await;
        drop(self);
        ended.send_replace(true);
    }

    /// Until the store was recognised, and the numbers of earlier events are known.
    async fn begin(&self, begun: &watch::Sender<Result<bool, String>>) {
        let mut told = false;
        while !self.node.home().has_begun() {
            if let Err(why) = self.try_to_begin().await {
                let why = why.to_string();
                if !told {
                    tracing::warn!(why, "the store can't be used yet; trying again");
                    told = true;
                }
                let _ = begun.send_replace(Err(why));
                tokio::time::sleep(PAUSE).await;
            }
        }
        let _ = begun.send_replace(Ok(true));
    }

    async fn try_to_begin(&self) -> Result<(), NotBegun> {
        let (store, home, recorder) = (self.node.store(), self.node.home(), self.node.recorder());
        store.node_connected().await;
        let missing = store.missing_rights(recorder.node()).await?;
        if !missing.is_empty() {
            return Err(forbidden(&missing.join("; ")));
        }
        let Recognised { dataset, lease_ceiling } = home.recognise().await?;
        if self.max_staleness > lease_ceiling {
            let problem = format!("at most {} ms in this dataset", lease_ceiling.as_millis());
            return Err(NotBegun::Refused(StartError::setting("max_staleness", problem)));
        }
        recorder.claim(home, None).await?;
        home.begin_with_the_copy(&dataset);
        home.begin();
        Ok(())
    }

    async fn work(&self, writer: Writer) {
        let flushed = CancellationToken::new();
        let writing = tokio::spawn(writer.run(Arc::clone(&self.node), flushed.clone(), FLUSH));
        let follower = Follower::new(Arc::clone(&self.node), self.node_id.clone(), String::new());
        // It ends when it retires, after its goodbye.
        follower.run(self.retire.clone()).await;
        flushed.cancel();
        let _ = writing.await;
    }

    async fn read_keys(node: Arc<Node<ApiHome>>, retire: CancellationToken) {
        let reading = async {
            loop {
                let pause = if node.home().cache().read().await.is_ok() { KEYS_EVERY } else { KEYS_AGAIN };
                tokio::select! {
                    () = node.home().is_to_read_again() => {}
                    () = tokio::time::sleep(pause) => {}
                }
            }
        };
        tokio::select! {
            () = retire.cancelled() => {}
            () = reading => {}
        }
    }
}
