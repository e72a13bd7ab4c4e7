use std::time::Duration;

use crate::account::AccountId;
use crate::audit::kinds;
use crate::keyring::{KeyringError, StepError};
use crate::pkcs11::TokenError;
use crate::store::{Full, StoreError};
use crate::verify::Refusal;
use crate::web::FieldError;

/// Why something was not done. The text is for the caller; a cause that is none of his business stands apart.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The token does not do.
    #[error("the token was refused: {}", .0.reason)]
    Refused(Box<Refusal>),
    /// The caller would grant what he does not hold.
    #[error("{0}")]
    Lacking(String),
    /// Fields are wrong.
    #[error("a field is wrong")]
    Invalid(Vec<FieldError>),
    /// There is none.
    #[error("there is no {0}")]
    NotFound(&'static str),
    /// It is not as `If-Match` and `If-None-Match` say.
    #[error("it has changed since it was read, or is there already; read it again")]
    PreconditionFailed,
    /// Another change came first.
    #[error("another change came first; read again and repeat")]
    Conflict,
    /// The caller's own account, or a role, changed while he was acting.
    #[error(
        "your own account or a role changed, or your session ended, while this was under way, so it was not done; repeat it"
    )]
    AuthorChanged,
    /// Another key signs by now.
    #[error("the signing keys changed while this was under way, so it was not done; repeat it")]
    KeysChanged,
    /// Only the newest token renews itself.
    #[error("a newer token of this account exists, and only that one can be renewed")]
    NotCurrent,
    /// The name belongs to another account.
    #[error("the username is taken, or belonged to an account whose activity is still kept")]
    UsernameTaken,
    /// Nobody could administer any more.
    #[error("this would leave no active admin; make another account admin first")]
    LastAdmin,
    /// Every admin's token would die with the key.
    #[error(
        "every admin's token was signed by this key: activate another key, renew an admin's token (POST /api/v1/self/token, or \
         countermark token regenerate), and revoke this one then"
    )]
    LastAdminOfKey,
    /// A signing key does not take that step.
    #[error(transparent)]
    Key(#[from] StepError),
    /// What confirms it is not the id of the key.
    #[error("confirm must be the id of the key that is to be revoked; leave it out to see what would die with it")]
    NotConfirmed,
    /// Two master keys open the signing keys already.
    #[error(
        "the master key is being changed already, to another one than this; finish that first (--finish), or run this, or --abort, with the master key \
         of before"
    )]
    MasterKeyUnderWay,
    /// It would shut out the key that everybody is about to have.
    #[error(
        "the configured master key is not the one that is to stay: to finish, put the new one in its place on every server first; to abort, \
         put the old one back. Nothing was changed"
    )]
    NotTheNewMasterKey,
    /// Accounts still have it.
    #[error("{0} accounts still have this role; give them another one first")]
    RoleInUse(u64),
    /// Accounts are still in it.
    #[error("{0} accounts are still members of this team; remove them first")]
    TeamInUse(u64),
    /// It can't be changed.
    #[error("the roles admin and auditor are built in and can't be changed or deleted")]
    BuiltIn,
    /// Username and password are not somebody's, or his account is disabled: which of them is not told.
    #[error("the username or the password is wrong, or the account may not sign in")]
    SignInRefused,
    /// It was tried too often to sign in.
    #[error("it was tried too often to sign in; wait, or sign in with a token")]
    TooManyTries(Duration),
    /// The link by which a password is set is not good, or no longer.
    #[error(
        "this link is not good, or no longer: it was used, has expired, another was made, or what the account may do has changed. Ask for a new one"
    )]
    LinkGone,
    /// Only people have a password.
    #[error("this is a service account; only people sign in with a password")]
    NotAUser,
    /// All places where passwords are checked are taken.
    #[error("too many are signing in at the moment; try again")]
    Busy,
    /// No token for a disabled account.
    #[error("the account is disabled; enable it first")]
    AccountDisabled,
    /// The state can't be known, or not be changed. Nothing was done.
    #[error("the store is not available; nothing was changed, try again")]
    Unavailable(String),
    /// What is changed can't be noted where no store can lose it. Nothing was done.
    #[error(
        "the journal of changes can't be written, so nothing was changed: make room in the data directory. Checking tokens goes on. The \
         log says why"
    )]
    Journal(String),
    /// There is no room for the change. Nothing was done.
    #[error(
        "the store's {0} is full, so nothing was changed: make room, or give it more. Checking tokens, revoking, disabling and \
         deleting go on meanwhile"
    )]
    Full(Full),
    /// The change may or may not have been made.
    #[error("the store did not confirm the change in time: it may or may not have been made. {next}")]
    Uncertain {
        /// What to do now.
        next: &'static str,
        /// What is none of the caller's business.
        cause: String,
    },
    /// What lies in the store can't be opened. Nothing was done.
    #[error(
        "the signing keys in the store can't be read, so nothing was changed; what was read before goes on. The log says why"
    )]
    KeysUnreadable(String),
    /// The hardware token with the signing keys does not do what it is asked. Nothing was done.
    #[error(
        "the hardware token that the signing key lies in can't be used at the moment, so nothing was changed; checking tokens goes on. \
         The log says why"
    )]
    TokenAway(String),
    /// It never does that.
    #[error(transparent)]
    Hardware(TokenError),
    /// Something that must not happen.
    #[error("an internal error; the log has the cause under this request's id")]
    Internal(String),
}

impl Error {
    /// What is behind it, for the log.
    pub fn cause(&self) -> String {
        match self {
            Self::Unavailable(cause)
            | Self::Journal(cause)
            | Self::Uncertain { cause, .. }
            | Self::KeysUnreadable(cause)
            | Self::TokenAway(cause)
            | Self::Internal(cause) => cause.clone(),
            other => other.to_string(),
        }
    }

    /// One wrong field.
    pub fn field(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError { field: field.into(), message: message.into() }])
    }

    fn uncertain(cause: String) -> Self {
        Self::Uncertain { next: "Repeating it is safe", cause }
    }

    /// What to do after an act of this kind that may or may not have been carried out.
    pub(super) fn after(self, kind: &str) -> Self {
        let Self::Uncertain { cause, .. } = self else { return self };
        let next = match kind {
            kinds::ACCOUNT_CREATE => {
                "Repeating it is safe: a username that is taken then says that it was made. Its token was lost with this \
                 answer: generate a new one"
            }
            kinds::TOKEN_REGENERATE => {
                "Repeating it is safe: it ends whatever token was made, which nobody holds. The older token may be dead \
                 already. Under If-Match, a lost precondition may then be this change itself: read the account"
            }
            kinds::TOKEN_RENEW => {
                "Repeating it is safe. If this token is refused as superseded then, the renewal was made and the new token \
                 was lost with this answer: an admin has to generate another"
            }
            kinds::ACCOUNT_DELETE | kinds::ROLE_DELETE | kinds::TEAM_DELETE => {
                "Repeating it is safe: that there is none any more then says that it was made"
            }
            kinds::ACCOUNT_UPDATE | kinds::TOKEN_REVOKE => {
                "Repeating it is safe; under If-Match, a lost precondition may then be this change itself: read the account"
            }
            kinds::ROLE_SET | kinds::TEAM_SET => {
                "Repeating it is safe; under If-Match or If-None-Match, a lost precondition may then be this change itself: read it"
            }
            _ => "Repeating it is safe",
        };
        Self::Uncertain { next, cause }
    }

    pub(super) fn of_account(error: StoreError) -> Self {
        match error {
            StoreError::NotFound => Self::NotFound("account"),
            other => Self::from(other),
        }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(cause) => Self::Unavailable(cause),
            StoreError::Unmet | StoreError::Unclaimed | StoreError::Waits(_) => Self::Unavailable(error.to_string()),
            StoreError::Journal(cause) => Self::Journal(cause),
            StoreError::NotNoted(cause) => Self::uncertain(cause),
            StoreError::Uncertain(cause) => Self::uncertain(cause),
            StoreError::Unconfirmed { .. } => Self::uncertain(error.to_string()),
            StoreError::Full(what) => Self::Full(what),
            StoreError::Conflict => Self::Conflict,
            StoreError::KeysChanged => Self::KeysChanged,
            StoreError::AuthorChanged => Self::AuthorChanged,
            StoreError::NotFound => Self::NotFound("such thing"),
            StoreError::UsernameTaken => Self::UsernameTaken,
            StoreError::LastAdmin => Self::LastAdmin,
            StoreError::LinkGone => Self::LinkGone,
            StoreError::InUse(count) => Self::RoleInUse(count),
            StoreError::UnknownRole(role) => Self::field("role", format!("there is no role {role}")),
            StoreError::UnknownTeam(team) => Self::field(format!("teams.{team}"), format!("there is no team {team}")),
            StoreError::Corrupt(what) => Self::Internal(format!("the store holds something unreadable: {what}")),
        }
    }
}

impl From<KeyringError> for Error {
    fn from(error: KeyringError) -> Self {
        match error {
            KeyringError::Store(error) => error.into(),
            // The keys in memory go on meanwhile.
            KeyringError::Sealed
            | KeyringError::RolledBack { .. }
            | KeyringError::Forked(_)
            | KeyringError::Unreadable(_) => Self::KeysUnreadable(error.to_string()),
            other => Self::Internal(other.to_string()),
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(Box::new(refusal))
    }
}

impl From<crate::clock::NoRandomness> for Error {
    fn from(error: crate::clock::NoRandomness) -> Self {
        Self::Internal(error.to_string())
    }
}

impl From<crate::token::KeyError> for Error {
    fn from(error: crate::token::KeyError) -> Self {
        match error {
            crate::token::KeyError::OutOfReach(why) => Self::TokenAway(why),
            other => Self::Internal(other.to_string()),
        }
    }
}

impl From<TokenError> for Error {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Away(why) => Self::TokenAway(why),
            other => Self::Hardware(other),
        }
    }
}

/// Either spelling of an account in a path.
#[derive(Debug, Clone)]
pub enum AccountRef {
    /// By id.
    Id(AccountId),
    /// By name.
    Name(crate::name::Username),
}
