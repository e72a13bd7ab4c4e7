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
use super::greeting::{ConnectError, Driver, Greeting};
use super::kinds;
use super::several::Several;
use super::target::Primary;
use super::url::HostPort;
use super::wire::Route;

/// See the module.
pub(super) struct Sentinels {
    all: Vec<Arc<Sentinel>>,
    /// TLS with the servers that they watch.
    tls: Option<Arc<ClientConfig>>,
    asking: Mutex<Asking>,
}

struct Asking {
    several: Several<Primary>,
    /// What they said last.
    last: Option<(Instant, Result<Primary, ConnectError>)>,
}

/// Where the primary is, and what else is known of it.
type Said = (Option<(String, u16)>, HashMap<String, String>);

struct Sentinel {
    at: HostPort,
    route: Route,
    greeting: Greeting,
    /// Its name of the primary.
    name: String,
    held: Mutex<Option<(MultiplexedConnection, Driver)>>,
}

impl Sentinels {
    /// How old an answer may be for those who only look whether something has changed.
    pub(super) const LATELY: Duration = Duration::from_secs(1);

    pub(super) fn new(
        all: &[HostPort],
        secured: Option<&Arc<ClientConfig>>,
        name: &str,
        greeting: &Greeting,
        tls: Option<Arc<ClientConfig>>,
    ) -> Result<Self, String> {
        let sentinel = |at: &HostPort| {
            let (route, held) = (Route::to(at, secured)?, Mutex::new(None));
            Ok(Arc::new(Sentinel { at: at.clone(), route, greeting: greeting.clone(), name: name.to_owned(), held }))
        };
        let all = all.iter().map(sentinel).collect::<Result<_, String>>()?;
        let several = Several::new("sentinel", greeting.timeouts.connect, |primary: &Primary| primary.epoch);
        Ok(Self { all, tls, asking: Mutex::new(Asking { several, last: None }) })
    }

    pub(super) fn route(&self, at: &HostPort) -> Result<Route, ConnectError> {
        Route::to(at, self.tls.as_ref()).map_err(ConnectError::Refused)
    }

    /// The primary, by a look that is at most so old, or was begun after this was asked.
    pub(super) async fn primary(&self, at_most: Duration) -> Result<Primary, ConnectError> {
        let asked = Instant::now();
        let mut asking = self.asking.lock().await;
        if let Some((at, answer)) = &asking.last
            && (*at >= asked || at.elapsed() < at_most)
        {
            return answer.clone();
        }
        let began = Instant::now();
        let questions = self.all.iter().map(|sentinel| (sentinel.at.clone(), Arc::clone(sentinel).ask()));
        let answer = asking.several.ask(questions).await;
        asking.last = Some((began, answer.clone()));
        answer
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
        let (mut connection, _driver) = sentinel.greeting.open(&sentinel.route).await.map_err(said)?;
        let mut questions = redis::pipe();
        for list in ["MASTER", "REPLICAS", "SENTINELS"] {
            questions.cmd("SENTINEL").arg(list).arg(&sentinel.name);
        }
        let answers = questions.query_async(&mut connection).await.map_err(|error| describe(&error))?;
        let (primary, replicas, others) = answers;
        Ok(SentinelFacts { primary, replicas, others })
    }
}

impl Sentinel {
    /// On the connection of the last time, if that went well.
    async fn ask(self: Arc<Self>) -> Result<Primary, ConnectError> {
        let mut held = self.held.lock().await;
        let (mut connection, driver) = match held.take() {
            Some(held) => held,
            None => self.greeting.open(&self.route).await.map_err(kinds::of_a_sentinel)?,
        };
        let mut questions = redis::pipe();
        questions.cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(&self.name);
        questions.cmd("SENTINEL").arg("MASTER").arg(&self.name);
        let unknown = || ConnectError::Refused(format!("it knows no primary by the name {}", self.name));
        match questions.query_async::<Said>(&mut connection).await {
            Ok((address, facts)) => {
                driver.share.answered();
                *held = Some((connection, driver));
                let epoch = facts.get("config-epoch").and_then(|epoch| epoch.parse().ok()).unwrap_or(0);
                let (host, port) = address.ok_or_else(unknown)?;
                Ok(Primary { at: HostPort { host, port }, epoch })
            }
            Err(error) if error.to_string().contains("No such master") => Err(unknown()),
            Err(error) => Err(kinds::no_sentinel(&error).unwrap_or_else(|| ConnectError::of(&error))),
        }
    }
}
