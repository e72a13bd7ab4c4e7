//! The protocol of protocols.md, sections 2 and 3, as a model, searched through exhaustively.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod actions;
mod check;
mod clocks;
mod effort;
mod issuer;
mod node;
mod rules;
mod state;
mod store;
mod verification;

mod decision;
mod failover;
mod receipt;
