//! The service from the outside: the router in process, on a real Redis.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod app;
mod redis_server;
mod wire;

mod accounts;
mod api_node;
mod api_verifier;
mod attack;
mod attacks;
mod audit;
mod audit_chain;
mod audit_sinks;
mod audit_status;
mod audit_tail;
mod bad_input;
mod browser;
mod console_pages;
mod doors;
mod failover;
mod freshness;
mod guessing;
mod histories;
mod key_rotation;
mod keyring_in_the_store;
mod keys;
mod oauth;
mod overview;
mod paging;
mod permissions;
mod problems;
mod races;
mod roles;
mod search;
mod sessions;
mod store_away;
mod teams;
mod tokens;
mod usage;
mod users;
