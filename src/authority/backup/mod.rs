//! Backups: a sealed file of accounts, roles, teams, keys and, if wanted, the audit, as they were at one epoch; and what is put back of
//! it, where.
//!
//! Nothing that was revoked comes back (R2). Into an empty store everything is put back as it was, in a term above all that there ever
//! were, so that issuers raise what they know of later. In a store that lives on only what is missing is put back, without
//! anything that lets anybody in, and less what changed since.

mod file;
mod fill;
mod missing;
mod note;
mod plan;
mod record;
mod refill;
mod sealed;
mod since;
mod survey;
mod take;

#[cfg(any(feature = "fuzzing", test))]
#[doc(hidden)]
pub use file::fuzz;
pub use file::{FileError, Header, header, is_backup};
pub use fill::{Filling, NotFilled, restore_into_empty};
pub use plan::{Changes, Difference, Few, Into, KeyInBackup, RestorePlan, plan};
pub use refill::{NotRefilled, Refilled};
pub use survey::Survey;
pub use take::{Attempt, Taken, take};

use std::io;

use crate::store::StoreError;

/// Why there is no backup, or nothing was put back.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The store is away, or holds something unreadable.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file does not do.
    #[error(transparent)]
    File(#[from] FileError),
    /// It would do harm.
    #[error("{0}")]
    Refused(String),
}

impl From<io::Error> for BackupError {
    fn from(error: io::Error) -> Self {
        Self::File(error.into())
    }
}
