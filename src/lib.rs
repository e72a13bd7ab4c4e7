//! Countermark: service-account tokens for APIs.
#[cfg(feature = "server")]
pub mod cli;
#[cfg(feature = "server")]
pub mod config;
#[cfg(feature = "server")]
pub mod durable;
#[cfg(feature = "server")]
pub mod listen;
#[cfg(feature = "server")]
pub mod store;
