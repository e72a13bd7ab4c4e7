//! A store that misbehaves: every door answers in time and fails closed, nothing leaks, and all is well again by itself.

mod disk;
mod doors;
mod endings;
mod footprint;
mod leaks;
mod load;
mod memory;
mod paused;
pub mod proxy;
mod redis_faults;
mod scene;
pub mod small_disk;
mod wire_faults;
