//! What an entry of the audit says (protocols, section 6): what, not where.

mod event;
#[cfg(feature = "redis")]
mod line;
#[cfg(feature = "redis")]
mod object;
mod printable;

pub use event::{Event, Outcome, kinds};
#[cfg(feature = "redis")]
pub(crate) use line::{Address, Line, push_numbered};
pub use printable::printable;
