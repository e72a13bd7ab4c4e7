/// What can go wrong in the store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// It can't be reached, does not answer in time, or may not write (a replica, a cut-off primary). Nothing was changed.
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// The connection broke, or the reply was late, after a change had been sent.
    #[error("the store did not confirm the change: {0}")]
    Uncertain(String),
    /// The change was made; too few replicas confirmed it in time.
    #[error("{confirmed} of {required} replicas confirmed the change in time")]
    Unconfirmed {
        /// That did.
        confirmed: u64,
        /// That had to.
        required: u64,
    },
    /// Another change came first.
    #[error("another change came first")]
    Conflict,
    /// No such account, role or team.
    #[error("there is no such thing")]
    NotFound,
    /// The username belongs to another account.
    #[error("the username is taken")]
    UsernameTaken,
    /// The change would leave no active admin.
    #[error("the last active admin stays")]
    LastAdmin,
    /// So many accounts still name it.
    #[error("{0} accounts name it")]
    InUse(u64),
    /// No such role.
    #[error("there is no role {0}")]
    UnknownRole(String),
    /// No such team.
    #[error("there is no team {0}")]
    UnknownTeam(String),
    /// Whoever changes something is no longer what he was when he was let in.
    #[error("the author's account or a role changed")]
    AuthorChanged,
    /// The key set changed while a token was being signed.
    #[error("the signing keys changed")]
    KeysChanged,
    /// What lies in the store is not what this version of Countermark writes.
    #[error("the store holds something unreadable: {0}")]
    Corrupt(String),
}

impl From<redis::RedisError> for StoreError {
    /// Of a read, or of a change that was certainly not made.
    fn from(error: redis::RedisError) -> Self {
        Self::Unavailable(describe(&error))
    }
}

/// The error without whatever the server quoted of our arguments.
pub(super) fn describe(error: &redis::RedisError) -> String {
    match error.code() {
        Some(code) => format!("{} {code}", error.category()),
        None => error.category().to_owned(),
    }
}

/// Whether the change may have been made although the call failed.
pub(super) fn of_change(error: redis::RedisError) -> StoreError {
    use redis::ErrorKind::{AuthenticationFailed, InvalidClientConfig, Server};
    match error.kind() {
        // An error out of the script itself: what came before it was done.
        Server(redis::ServerErrorKind::ResponseError) => StoreError::Uncertain(describe(&error)),
        // The server itself refused, before the script ran.
        Server(_) | redis::ErrorKind::Extension | AuthenticationFailed | InvalidClientConfig => {
            StoreError::Unavailable(describe(&error))
        }
        _ if error.is_connection_refusal() => StoreError::Unavailable(describe(&error)),
        _ => StoreError::Uncertain(describe(&error)),
    }
}
