//! The service from the outside: the router in process, on a real Redis.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod app;
mod redis_server;

mod accounts;
mod doors;
mod permissions;
mod races;
mod roles;
mod teams;
mod tokens;
