//! One table of attacks against every door through which a token comes in. Each row is a text that somebody shows, and the
//! reason for which every door has to refuse it.

mod bench;
mod claims;
mod door;
mod expected;
mod forge;
mod form;
mod header;
mod keys;
mod malleable;
mod signature;
mod smuggled;
mod transport;
