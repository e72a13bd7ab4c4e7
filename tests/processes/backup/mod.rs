//! Backups, and what is put back of them, with the real binary and a real Redis.

pub mod audit;
mod broken;
mod existing;
mod large;
mod moment;
mod round_trip;
pub mod scene;
