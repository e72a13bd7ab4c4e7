/// What can go wrong in the store.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// It can't be reached, does not answer in time, or may not write (a replica, a cut-off primary). Nothing was changed.
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// The server has become another one (F6), and no issuer has met it yet. Nothing was changed.
    #[error("the store has become another server, and has not been met again yet")]
    Unmet,
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
    /// Issuers that have changed the dataset have not raised this server yet (R2). Nothing was changed.
    #[error(
        "the store may lack changes that these issuers have made, and serves nobody before they have made up for it: {0}. Start them \
         again, with their data directories; of one that is gone for good: countermark node forget NAME"
    )]
    Waits(String),
    /// The journal of changes can't be written or read. Nothing was changed.
    #[error("{0}. No change is made that could not be noted there")]
    Journal(String),
    /// The change was made, and could not be noted in the journal.
    #[error("the change was made, and could not be noted: {0}")]
    NotNoted(String),
    /// There is no room for it. Nothing was changed.
    #[error("the store has no room: its {0} is full")]
    Full(Full),
    /// The act's number was given under a claim of the node's chain that is not held any more. Nothing was changed.
    #[error("another process claims to be this node; give each its own node_name")]
    Unclaimed,
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
    /// The setup link was used, or another one was offered.
    #[error("the link is no longer good")]
    LinkGone,
    /// What lies in the store is not what this version of Countermark writes.
    #[error("the store holds something unreadable: {0}")]
    Corrupt(String),
}

/// What is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// Redis has reached its `maxmemory`.
    Memory,
    /// The disk that the private Redis writes to.
    Disk,
    /// The audit's streams are as long as they may get, because what is in them is not archived.
    Archive,
}

impl std::fmt::Display for Full {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::Archive => "audit, which waits for its archive,",
        })
    }
}

impl StoreError {
    /// Whether something is wrong with what lies there, and not with the way to it.
    pub fn is_of_what_is_stored(&self) -> bool {
        match self {
            Self::Corrupt(_) => true,
            Self::Unavailable(why) => why.contains("WRONGTYPE"),
            _ => false,
        }
    }

    /// Whether the ACL does not let the user do it.
    pub fn is_forbidden(&self) -> bool {
        matches!(self, Self::Unavailable(why) if why.contains("NOPERM"))
    }
}

#[cfg(feature = "server")]
impl StoreError {
    /// The same about a change that had been sent before, and may have been made then: that it can't be asked for now does not
    /// mean that nothing was changed. What a script says that looked for it stands.
    pub(super) fn of_what_was_sent_before(self) -> Self {
        match self {
            Self::Unavailable(_)
            | Self::Unmet
            | Self::Waits(_)
            | Self::Journal(_)
            | Self::Full(_)
            | Self::Corrupt(_) => Self::Uncertain(self.to_string()),
            said => said,
        }
    }
}

impl From<redis::RedisError> for StoreError {
    /// Of a read, or of a change that was certainly not made.
    fn from(error: redis::RedisError) -> Self {
        Self::Unavailable(describe(&error))
    }
}

/// The error without whatever the server quoted of our arguments; what the system says of a connection has nothing of them.
pub(super) fn describe(error: &redis::RedisError) -> String {
    let of_the_system = std::error::Error::source(error).filter(|_| error.kind() == redis::ErrorKind::Io);
    match (of_the_system, error.code()) {
        (Some(system), _) => system.to_string(),
        (None, Some(code)) => format!("{} {code}", error.category()),
        (None, None) => error.category().to_owned(),
    }
}

/// What a server says instead of beginning to carry anything out.
#[cfg(feature = "server")]
const REFUSALS: [&str; 14] = [
    "READONLY",
    "NOREPLICAS",
    "OOM",
    "MISCONF",
    "LOADING",
    "MASTERDOWN",
    "BUSY",
    "NOSCRIPT",
    "NOAUTH",
    "NOPERM",
    "MOVED",
    "ASK",
    "CLUSTERDOWN",
    "TRYAGAIN",
];

/// Whether the change may have been made although the call failed.
#[cfg(feature = "server")]
pub(super) fn of_change(error: redis::RedisError) -> StoreError {
    use redis::ErrorKind::{AuthenticationFailed, InvalidClientConfig};
    // An error out of a script itself bears the code of the command that failed: what came before that was done.
    let out_of_a_script = error.detail().is_some_and(|detail| detail.contains("@user_script"));
    let refused = error.code().is_some_and(|code| REFUSALS.contains(&code)) && !out_of_a_script;
    let never_sent =
        matches!(error.kind(), AuthenticationFailed | InvalidClientConfig) || error.is_connection_refusal();
    if refused && error.code() == Some("OOM") {
        StoreError::Full(Full::Memory)
    } else if refused || never_sent {
        StoreError::Unavailable(describe(&error))
    } else {
        StoreError::Uncertain(describe(&error))
    }
}

#[cfg(test)]
#[cfg(feature = "server")]
mod tests {
    use super::*;

    fn of(text: &str) -> StoreError {
        let reply = redis::parse_redis_value(format!("-{text}\r\n").as_bytes()).unwrap();
        of_change(reply.extract_error().unwrap_err())
    }

    #[test]
    fn only_what_a_server_refuses_before_it_begins_is_certainly_not_done() {
        for refused in [
            "READONLY You can't write against a read only replica.",
            "NOREPLICAS Not enough good replicas to write.",
            "MISCONF Redis is configured to save RDB snapshots, but it can't persist on disk.",
            "LOADING Redis is loading the dataset in memory",
            "BUSY Redis is busy running a script.",
            "NOPERM this user has no permissions to run the 'evalsha' command",
        ] {
            assert!(matches!(of(refused), StoreError::Unavailable(_)), "{refused}");
        }
        let full = of("OOM command not allowed when used memory > 'maxmemory'.");
        assert!(matches!(full, StoreError::Full(Full::Memory)), "{full}");
        for uncertain in [
            "OOM command not allowed when used memory > 'maxmemory'. script: f, on @user_script:65.",
            "WRONGTYPE Operation against a key holding the wrong kind of value script: f, on @user_script:65.",
            "ERR user_script:65: attempt to index a nil value script: f, on @user_script:65.",
            "NOPERM ACL failure in script: f, on @user_script:65.",
            "EXECABORT Transaction discarded",
            "SOMETHING new",
        ] {
            assert!(matches!(of(uncertain), StoreError::Uncertain(_)), "{uncertain}");
        }
    }
}
