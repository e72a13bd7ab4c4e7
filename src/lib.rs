//! Countermark: service-account tokens for APIs.
//!
//! A token is a signed, self-contained JWT. Any API node checks it by its signature and by the account's current generation,
//! which lies in Redis, so that regenerating a token kills the older one everywhere. Every call leads back to its account.
//!
//! # For an API
//!
//! With `default-features = false` and the features `redis` and `tower`: the module `api_node` is where to begin.
//!
//! # The map
//!
//! Four floors; a module uses its own floor and those below.
//!
//! | floor | modules | what |
//! |---|---|---|
//! | 1 vocabulary | [`account`], [`permission`], [`name`], [`epoch`], [`token`], [`audit`], [`clock`], [`strict_json`], `session`, `subscriber` | pure: no I/O, no async; only `clock` reads time and randomness |
//! | 2 verify | [`verify`] | the one function that decides about a token |
//! | 3 nodes | `store` (as a node sees it), `node`, `durable`, `told` | Redis and its scripts; memory, lease, look-ups and recorder of every process that verifies |
//! | 3 service | `store` (the rest), `keyring`, `pkcs11`, `authority`, `config`, `sinks` | the sealed keys, and those in a hardware token; every decision, without HTTP; settings; the audit sent on |
//! | 4 edges | `api_node`, `web`, `layer`; `http`, `console`, `listen`, `cli`, `server`, `doctor` | they translate and never decide |
//!
//! Without features the crate is floors 1 and 2. `redis` adds what an API node needs, `tower` its layer, `server` (on by default) the
//! service.
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
pub mod console;
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
pub mod pkcs11;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "server")]
pub mod session;
#[cfg(feature = "server")]
pub mod sinks;
#[cfg(feature = "redis")]
pub mod store;
pub mod strict_json;
#[cfg(feature = "redis")]
pub mod subscriber;
pub mod token;
#[cfg(feature = "redis")]
mod told;
pub mod verify;
#[cfg(feature = "tower")]
pub mod web;

#[cfg(feature = "redis")]
pub use api_node::Verifier;
pub use permission::Permission;
pub use verify::Verified;
