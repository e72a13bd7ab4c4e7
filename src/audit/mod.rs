//! What an entry of the audit says (protocols, section 6): what, not where.

mod event;

pub use event::{Event, Outcome, kinds, printable};
