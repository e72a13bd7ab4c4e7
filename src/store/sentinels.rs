//! Sentinels: which server is the primary.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use rustls::ClientConfig;
use tokio::sync::Mutex;

#[cfg(feature = "server")]
use super::error::describe;
#[cfg(feature = "server")]
use super::examine_servers::{Asked, SentinelFacts, said};
use super::kinds;
use super::link::is_broken;
use super::several;
use super::target::{ConnectError, Driver, Greeting, Primary};
use super::url::HostPort;
use super::wire::Route;

/// How long all of them together may take.
const PATIENCE: Duration = Duration::from_millis(500);

/// See the module.
pub(super) struct Sentinels {
    all: Vec<Sentinel>,
    /// Their name of the primary.
    name: String,
    greeting: Greeting,
    /// TLS with the servers that they watch.
    tls: Option<Arc<ClientConfig>>,
    /// What they said last.
    last: Mutex<Option<(Instant, Result<Primary, ConnectError>)>>,
}

/// Where the primary is, and what else is known of it.
type Said = (Option<(String, u16)>, HashMap<String, String>);

struct Sentinel {
    at: HostPort,
    route: Route,
    held: Mutex<Option<(MultiplexedConnection, Driver)>>,
}

impl Sentinels {
    /// How old an answer may be for those who only look whether something has changed.
    pub(super) const LATELY: Duration = Duration::from_secs(1);

    pub(super) fn new(
        all: &[HostPort],
        secured: Option<&Arc<ClientConfig>>,
        name: String,
        greeting: Greeting,
        tls: Option<Arc<ClientConfig>>,
    ) -> Result<Self, String> {
        let sentinel =
            |at: &HostPort| Ok(Sentinel { at: at.clone(), route: Route::to(at, secured)?, held: Mutex::new(None) });
        let all = all.iter().map(sentinel).collect::<Result<_, String>>()?;
        Ok(Self { all, name, greeting, tls, last: Mutex::new(None) })
    }

    pub(super) fn route(&self, at: &HostPort) -> Result<Route, ConnectError> {
        Route::to(at, self.tls.as_ref()).map_err(ConnectError::Refused)
    }

    /// The primary, by an answer that is at most so old, or was begun after this was asked. Of several answers the one with the
    /// highest configuration epoch counts: a sentinel that was cut off knows nothing of a failover.
    pub(super) async fn primary(&self, at_most: Duration) -> Result<Primary, ConnectError> {
        let asked = Instant::now();
        let mut last = self.last.lock().await;
        if let Some((at, answer)) = &*last
            && (*at >= asked || at.elapsed() < at_most)
        {
            return answer.clone();
        }
        let began = Instant::now();
        let answer = self.ask().await;
        *last = Some((began, answer.clone()));
        answer
    }

    async fn ask(&self) -> Result<Primary, ConnectError> {
        let patience = self.greeting.timeouts.connect.min(PATIENCE);
        let asked = self.all.iter().map(|sentinel| async move {
            let answer = tokio::time::timeout(patience, self.ask_one(sentinel)).await;
            answer.unwrap_or_else(|_| Err(ConnectError::Away(format!("the sentinel {} does not answer", sentinel.at))))
        });
        let (mut best, mut trouble): (Option<Primary>, Option<ConnectError>) = (None, None);
        for answer in several::answers(asked).await {
            match answer {
                Ok(primary) if best.as_ref().is_none_or(|best| primary.epoch > best.epoch) => best = Some(primary),
                Ok(_) => {}
                // What somebody has to change matters more than who is away.
                Err(error) if trouble.is_none() || matches!(error, ConnectError::Refused(_)) => trouble = Some(error),
                Err(_) => {}
            }
        }
        best.ok_or_else(|| trouble.unwrap_or_else(|| ConnectError::Away("no sentinel answers".into())))
    }

    async fn ask_one(&self, sentinel: &Sentinel) -> Result<Primary, ConnectError> {
        let mut held = sentinel.held.lock().await;
        let (mut connection, driver) = match held.take() {
            Some(held) => held,
            None => self.greeting.open(&sentinel.route).await.map_err(|error| {
                let (ConnectError::Away(why) | ConnectError::Refused(why)) = &error;
                let why = format!("the sentinel {}: {why}", sentinel.at);
                match error {
                    ConnectError::Away(_) => ConnectError::Away(why),
                    ConnectError::Refused(_) => kinds::of_a_sentinel(ConnectError::Refused(why)),
                }
            })?,
        };
        let mut questions = redis::pipe();
        questions.cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(&self.name);
        questions.cmd("SENTINEL").arg("MASTER").arg(&self.name);
        match questions.query_async::<Said>(&mut connection).await {
            Ok((address, facts)) => {
                driver.share.answered();
                *held = Some((connection, driver));
                let epoch = facts.get("config-epoch").and_then(|epoch| epoch.parse().ok()).unwrap_or(0);
                let (host, port) = address.ok_or_else(|| self.unknown(sentinel))?;
                Ok(Primary { at: HostPort { host, port }, epoch })
            }
            Err(error) if error.to_string().contains("No such master") => Err(self.unknown(sentinel)),
            Err(error) if is_broken(&error) => {
                Err(ConnectError::Away(format!("the sentinel {} went away", sentinel.at)))
            }
            Err(error) => Err(match kinds::no_sentinel(&error).unwrap_or_else(|| ConnectError::of(&error)) {
                ConnectError::Refused(why) => ConnectError::Refused(format!("the sentinel {}: {why}", sentinel.at)),
                ConnectError::Away(why) => ConnectError::Away(format!("the sentinel {}: {why}", sentinel.at)),
            }),
        }
    }

    /// What each of them knows, on connections of their own.
    #[cfg(feature = "server")]
    pub(super) async fn examine(&self) -> Vec<Asked<SentinelFacts>> {
        futures_util::future::join_all(
            self.all
                .iter()
                .map(|sentinel| async { Asked { at: sentinel.at.clone(), said: self.examine_one(sentinel).await } }),
        )
        .await
    }

    #[cfg(feature = "server")]
    async fn examine_one(&self, sentinel: &Sentinel) -> Result<SentinelFacts, String> {
        let (mut connection, _driver) = self.greeting.open(&sentinel.route).await.map_err(said)?;
        let mut questions = redis::pipe();
        for list in ["MASTER", "REPLICAS", "SENTINELS"] {
            questions.cmd("SENTINEL").arg(list).arg(&self.name);
        }
        let answers = questions.query_async(&mut connection).await.map_err(|error| describe(&error))?;
        let (primary, replicas, others) = answers;
        Ok(SentinelFacts { primary, replicas, others })
    }

    fn unknown(&self, sentinel: &Sentinel) -> ConnectError {
        ConnectError::Refused(format!("the sentinel {} knows no primary by the name {}", sentinel.at, self.name))
    }
}
