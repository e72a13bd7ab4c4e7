//! The signing keys: one sealed document in the store (protocols, section 5), and the copy of it that a process works with.

mod audit_keys;
mod carried;
mod document;
mod high_water;
mod live;
mod seal;
mod transitions;

pub use audit_keys::{AuditKey, AuditKeys};
pub use carried::{CarriedOver, Carrying};
pub use document::{KeyEntry, KeyringDocument, Revoked};
pub use live::{KeyFacts, KeyringError, Keys, KeysAt, Loaded, Read};
pub use seal::{Envelope, MasterKey, MasterKeyError, Opened, SealError};
pub use transitions::{MOST_PUBLISHED, StepError};
