//! What an entry of the audit says (protocols, section 6): what, not where.

mod event;
mod line;
mod printable;

pub use event::{Event, Outcome, kinds};
pub(crate) use line::{Address, Line, push_numbered};
pub use printable::printable;
