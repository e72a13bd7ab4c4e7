//! Backups, and what is put back of them, with the real binary and a real Redis.

mod audit;
mod broken;
mod existing;
mod large;
mod moment;
mod round_trip;
mod scene;
