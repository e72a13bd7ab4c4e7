//! The signing keys: one sealed document in the store (protocols, section 5), and the copy of it that a process works with.

mod document;
mod live;
mod seal;

pub use document::{KeyEntry, KeyringDocument};
pub use live::{KeyFacts, KeyringError, Keys, Loaded};
pub use seal::{MasterKey, MasterKeyError, SealError};
