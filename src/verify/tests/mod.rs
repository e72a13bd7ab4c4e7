//! The verification function against a source made of values: no store, no network, a clock that stands still.

mod binding;
mod claims;
mod form;
mod generation;
mod header;
mod keys;
mod levels;
mod network;
mod order;
mod permission;
mod secrets;
#[cfg(feature = "server")]
mod session;
mod signatures;
mod store;
mod time;

use super::*;
use crate::token::Confirmation;
use scene::Scene;
