//! What is about processes: the real binary, real sockets, a real Redis that dies, hangs and comes back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod access;
mod api_node;
mod audit_archive;
mod audit_export;
mod audit_pipeline;
mod audit_proof;
mod between;
mod call;
mod certificates;
mod client;
mod clients;
mod crash;
mod credentials;
mod doctor;
mod doctor_files;
mod doctor_store;
mod effort;
mod export;
mod faults;
mod first_start;
mod floods;
mod gateways;
mod heads;
mod ipv6;
mod key_runbooks;
mod listen;
mod lost_answers;
mod machine;
#[cfg(feature = "pkcs11")]
mod pkcs11;
mod race;
mod redis;
mod relay;
mod restart;
mod schemathesis;
mod secrets;
mod serve;
mod server;
mod shell;
mod signatures;
mod stop;
mod store;
mod story;
mod torn;
mod until;
