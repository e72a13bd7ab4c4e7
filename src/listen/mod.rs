//! From a socket to a request: listeners, TLS, HTTP/1.1 and HTTP/2, and what a connection may cost.
//!
//! [`Listener::bind`] opens an address, [`serve`] runs its accept loop until it is told to stop. With a request comes its
//! [`Arrival`]; one whose head is too large is for the service to refuse. hyper is driven directly, because the time-outs and
//! the process-wide limit of connections need it.
mod arrival;
mod certificates;
mod connection;
mod inspect;
mod local_ca;
mod places;
mod progress;
mod serve;
mod socket;
mod streams;
#[cfg(test)]
mod tests;

pub(crate) use arrival::answer_by;
pub use arrival::{Answering, Answers, Arrival, HeadTooLarge, Peer, Transport};
pub(crate) use certificates::check;
pub use certificates::{CertificateError, TlsContext};
pub(crate) use inspect::{chain_accepts, ends_at, is_for, shown_by};
pub use local_ca::{LocalCa, LocalCaError};
pub use places::Connections;
pub use serve::serve;
pub use socket::{ListenError, Listener};
