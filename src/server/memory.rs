//! K7: the memory of a process holds the private keys and the master key.

use rustix::process::{DumpableBehavior, set_dumpable_behavior};

use crate::config::Config;

/// A crash leaves no core file, whatever the system's limits say, and no other process of this user reads our memory.
pub(super) fn keep_to_ourselves(config: &Config) {
    if config.core_dumps {
        return tracing::warn!("core_dumps is danger_on: a core file holds the private keys and the master key");
    }
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "core files can't be turned off: one would hold the private keys and the master key");
    }
}
