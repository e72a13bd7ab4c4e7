//! What a backup reads of the store, and what is put back from one.

mod audit;
mod read;
mod restore;
mod since;

pub use audit::RestoredAct;
pub use read::{AccountTexts, Moment};
pub use restore::{AtLast, Begun, RestoredAccount, Standing, Texts};
pub use since::ChangedSince;
