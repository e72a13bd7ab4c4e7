//! Sentinel and Cluster as they are run: real servers on this machine, whose network can be cut.

mod cluster;
mod doctor;
mod failovers;
mod fence;
mod harness_tests;
mod member;
mod net;
mod owner;
mod parts;
mod secured;
mod sentinels;
mod silence;
mod unconfirmed;
mod with_backups;
mod with_cluster;
mod with_sentinels;

/// Of each Redis.
fn redis_settings(least: u32, lag: u64) -> String {
    format!(
        "save \"\"\nappendonly yes\nappendfsync always\nrepl-timeout 10\nrepl-ping-replica-period 1\nrepl-diskless-sync-delay 0\n\
         min-replicas-to-write {least}\nmin-replicas-max-lag {lag}\n"
    )
}
