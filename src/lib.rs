//! Countermark: service-account tokens for APIs.
pub mod account;
pub mod audit;
pub mod clock;
pub mod epoch;
pub mod name;
pub mod permission;
pub mod strict_json;
pub mod token;
pub mod verify;
#[cfg(feature = "server")]
pub mod cli;
#[cfg(feature = "server")]
pub mod config;
#[cfg(feature = "server")]
pub mod listen;
