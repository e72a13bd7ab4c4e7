//! What is about processes: the real binary, real sockets, a real Redis that dies, hangs and comes back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod access;
mod call;
mod certificates;
mod effort;
mod ipv6;
mod listen;
mod machine;
mod redis;
mod schemathesis;
mod secrets;
mod serve;
mod server;
mod stop;
mod store;
mod story;
mod until;
