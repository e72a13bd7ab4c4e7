//! What a verifier does by itself: it recognises the store, follows the feed, keeps its lease, reads the keys again, writes events.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::StartError;
use super::home::ApiHome;
use crate::node::{Follower, Node, Writer};
use crate::store::{Dataset, StoreError};

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
    pub(super) issuer: String,
    pub(super) retire: CancellationToken,
    pub(super) disconnect: CancellationToken,
}

impl Running {
    /// Asks a store that is there who it is. `false`: it is away, or nobody has set it up yet.
    pub(super) async fn recognised_at_once(&self) -> Result<bool, StartError> {
        let asked = async {
            self.node.store().node_connected().await;
            self.node.store().recognise().await
        };
        match tokio::time::timeout(AT_ONCE, asked).await {
            Ok(Ok(dataset)) => {
                self.is_of_the_issuer(&dataset)?;
                self.node.home().begin_with_the_copy(&dataset);
                Ok(true)
            }
            Ok(Err(StoreError::Unavailable(why))) if why.contains("NOPERM") => Err(StartError::Redis(
                "the user of Redis may not do what a verifier does: `countermark acl verifier` prints the rules"
                    .to_owned(),
            )),
            Ok(Err(_)) | Err(_) => Ok(false),
        }
    }

    fn is_of_the_issuer(&self, dataset: &Dataset) -> Result<(), StartError> {
        if dataset.issuer == self.issuer {
            return Ok(());
        }
        Err(StartError::Issuer { wanted: self.issuer.clone(), found: dataset.issuer.clone() })
    }

    pub(super) async fn run(
        self,
        writer: Writer,
        recognised: bool,
        begun: watch::Sender<Result<bool, String>>,
        ended: watch::Sender<bool>,
    ) {
        let reading = tokio::spawn(Self::read_keys(Arc::clone(&self.node), self.retire.clone()));
        tokio::select! {
            () = self.retire.cancelled() => {}
            () = self.begin(recognised, &begun) => self.work(writer).await,
        }
        let _ = reading.await;
        self.disconnect.cancel();
        ended.send_replace(true);
    }

    /// Until the store was recognised, and the numbers of earlier events are known.
    async fn begin(&self, mut recognised: bool, begun: &watch::Sender<Result<bool, String>>) {
        let mut told = false;
        loop {
            match self.try_to_begin(recognised).await {
                Ok(()) => break,
                Err(why) => {
                    if !told {
                        tracing::warn!(why, "the store can't be used yet; trying again");
                        told = true;
                    }
                    let _ = begun.send_replace(Err(why));
                }
            }
            recognised = false;
            tokio::time::sleep(PAUSE).await;
        }
        let _ = begun.send_replace(Ok(true));
    }

    async fn try_to_begin(&self, recognised: bool) -> Result<(), String> {
        let store = self.node.store();
        if !recognised {
            store.node_connected().await;
            let dataset = store.recognise().await.map_err(|error| error.to_string())?;
            self.is_of_the_issuer(&dataset).map_err(|error| error.to_string())?;
            self.node.home().begin_with_the_copy(&dataset);
        }
        let recorder = self.node.recorder();
        let last = store.last_call(recorder.node()).await.map_err(|error| error.to_string())?;
        recorder.go_on_after(last);
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
        loop {
            let pause = if node.home().cache().read().await.is_ok() { KEYS_EVERY } else { KEYS_AGAIN };
            tokio::select! {
                () = retire.cancelled() => return,
                () = node.home().is_to_read_again() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
}
