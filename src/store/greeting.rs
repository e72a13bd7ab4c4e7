//! How a connection begins, what carries it, and why there is none.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisConnectionInfo};
use tokio::task::{AbortHandle, JoinHandle};

use super::error::describe;
use super::wire::{Bounded, Intake, Route, Share};

/// How long the store may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timeouts {
    /// For a command.
    pub(super) command: Duration,
    /// For a connection.
    pub(super) connect: Duration,
}

/// How a connection begins.
#[derive(Clone)]
pub(super) struct Greeting {
    pub(super) settings: RedisConnectionInfo,
    pub(super) timeouts: Timeouts,
    pub(super) intake: Intake,
}

impl Greeting {
    /// A connection, and what drives it.
    pub(super) async fn open(&self, route: &Route) -> Result<(MultiplexedConnection, Driver), ConnectError> {
        let share = self.intake.share();
        let (connection, driver) = self.handshake(route, &share).await.map_err(|error| ConnectError::of(&error))?;
        let task = tokio::spawn(driver);
        Ok((connection, Driver { guard: Guard(task.abort_handle()), task, share }))
    }

    async fn handshake(
        &self,
        route: &Route,
        share: &Arc<Share>,
    ) -> redis::RedisResult<(MultiplexedConnection, Pin<Box<dyn Future<Output = ()> + Send>>)> {
        let late = |_| std::io::Error::from(std::io::ErrorKind::TimedOut);
        let wire = tokio::time::timeout(self.timeouts.connect, route.open()).await.map_err(late)??;
        let wire = Bounded { wire, share: Arc::clone(share) };
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(self.timeouts.command));
        let greeting = MultiplexedConnection::new_with_config(&self.settings, wire, config);
        let (connection, driver) = tokio::time::timeout(self.timeouts.command, greeting).await.map_err(late)??;
        Ok((connection, Box::pin(driver)))
    }
}

/// What carries the bytes of one connection. It ends when the connection does, or when this value goes: by itself it would
/// first send what nobody waits for any more, to a server that may never read it.
pub(super) struct Driver {
    pub(super) task: JoinHandle<()>,
    pub(super) share: Arc<Share>,
    pub(super) guard: Guard,
}

pub(super) struct Guard(AbortHandle);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Why there is no connection.
#[derive(Debug, Clone)]
pub(super) enum ConnectError {
    /// It may come: try again.
    Away(String),
    /// It won't do until somebody changes something.
    Refused(String),
}

impl ConnectError {
    /// The same, and of whom it is said.
    pub(super) fn at(self, whom: impl fmt::Display) -> Self {
        match self {
            Self::Away(why) => Self::Away(format!("{whom}: {why}")),
            Self::Refused(why) => Self::Refused(format!("{whom}: {why}")),
        }
    }

    pub(super) fn of(error: &redis::RedisError) -> Self {
        use redis::ErrorKind;
        let text = error.to_string();
        if error.kind() == ErrorKind::AuthenticationFailed || text.contains("NOAUTH") || text.contains("WRONGPASS") {
            return Self::Refused("the store refuses the user or the password".into());
        }
        if text.contains("NOPERM") {
            return Self::Refused("the store's ACL does not let this user do what Countermark needs".into());
        }
        match error.kind() {
            ErrorKind::Io => {
                let text = text.to_ascii_lowercase();
                if text.contains("certificate") || text.contains("corrupt message") || text.contains("alert") {
                    Self::Refused(format!("no TLS connection to the store: {}", describe(error)))
                } else {
                    Self::Away(describe(error))
                }
            }
            ErrorKind::Server(redis::ServerErrorKind::BusyLoading) => {
                Self::Away("the store is loading its data".into())
            }
            ErrorKind::Parse | ErrorKind::RESP3NotSupported => {
                Self::Refused("what answers at the store's address is not Redis".into())
            }
            ErrorKind::InvalidClientConfig => {
                Self::Refused(format!("the store's address is not usable: {}", describe(error)))
            }
            _ => Self::Away(describe(error)),
        }
    }
}
