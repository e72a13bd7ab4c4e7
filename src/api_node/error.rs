/// Why a verifier does not start: somebody has to change something first.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A setting of the builder can't be.
    #[error("{setting}: {problem}")]
    Setting {
        /// Which.
        setting: &'static str,
        /// What is wrong with it, and what it may be. Never the value: it may hold a password.
        problem: String,
    },
    /// Redis answers and won't do: a wrong password or user, too few rights, another version.
    #[error("{0}")]
    Redis(String),
    /// The store belongs to another issuer.
    #[error("the store belongs to the issuer {found}, not to {wanted}: which of the two addresses is wrong?")]
    Issuer {
        /// The one that was given.
        wanted: String,
        /// The one of the store.
        found: String,
    },
}

impl StartError {
    pub(super) fn setting(setting: &'static str, problem: impl Into<String>) -> Self {
        Self::Setting { setting, problem: problem.into() }
    }
}

/// What still stands in the way of deciding.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("calls can't be decided yet: {0}")]
pub struct NotReady(pub(super) String);
