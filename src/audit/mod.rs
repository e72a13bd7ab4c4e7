//! What an entry of the audit says (protocols, section 6): what, not where.

#[cfg(feature = "server")]
pub mod archive;
#[cfg(feature = "redis")]
pub mod block;
#[cfg(feature = "server")]
pub mod checkpoint;
mod event;
#[cfg(feature = "redis")]
mod line;
#[cfg(feature = "redis")]
mod object;
#[cfg(feature = "server")]
pub mod ocsf;
mod printable;
#[cfg(feature = "server")]
pub mod proof;
#[cfg(feature = "server")]
pub mod rollup;

#[cfg(feature = "server")]
pub use event::Numbered;
pub use event::{Event, Outcome, kinds};
#[cfg(feature = "redis")]
pub(crate) use line::{Address, Line, id_of, push_numbered};
pub use printable::printable;
