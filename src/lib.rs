//! Countermark: service-account tokens for APIs.
//!
//! A token is a signed, self-contained JWT. Any API node checks it by its signature and by the account's current generation,
//! which lies in Redis, so that regenerating a token kills the older one everywhere. Every call leads back to its account.
//!
//! # The map
//!
//! Four floors; a module uses its own floor and those below.
//!
//! | floor | modules | what |
//! |---|---|---|
//! | 1 vocabulary | [`account`], [`permission`], [`name`], [`epoch`], [`token`], [`audit`], [`clock`], [`strict_json`], `subscriber` | pure: no I/O, no async; only `clock` reads time and randomness |
//! | 2 verify | [`verify`] | the one function that decides about a token |
//! | 3 service | `store`, `keyring`, `authority`, `config`, `durable` | Redis and its scripts; the sealed keys; every decision, without HTTP; settings |
//! | 4 edges | `http`, `listen`, `cli`, `server`, `doctor` | they translate and never decide |
//!
//! Floors 3 and 4 come with the feature `server` (on by default). Without it the crate is the vocabulary and the verification.
//!
//! # What never stands in a log
//!
//! Tokens, their `jti`, private keys, the master key, passwords; also paths and queries of clients, which may hold anything.
//! A token is named by its [`token::TokenId`]. Types that hold a secret have a `Debug` that does not show it.

pub mod account;
#[cfg(feature = "redis")]
pub mod api_node;
pub mod audit;
#[cfg(feature = "server")]
pub mod authority;
#[cfg(feature = "server")]
pub mod cli;
pub mod clock;
#[cfg(feature = "server")]
pub mod config;
#[cfg(feature = "server")]
pub mod doctor;
#[cfg(feature = "redis")]
pub mod durable;
pub mod epoch;
#[cfg(any(feature = "fuzzing", all(test, feature = "server")))]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(feature = "server")]
pub mod http;
#[cfg(feature = "server")]
pub mod keyring;
#[cfg(feature = "tower")]
pub mod layer;
#[cfg(feature = "server")]
pub mod listen;
pub mod name;
#[cfg(feature = "redis")]
pub mod node;
pub mod permission;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "redis")]
pub mod store;
pub mod strict_json;
#[cfg(feature = "redis")]
pub mod subscriber;
pub mod token;
pub mod verify;
#[cfg(feature = "tower")]
pub mod web;

#[cfg(feature = "redis")]
pub use api_node::Verifier;
pub use permission::Permission;
pub use verify::Verified;
