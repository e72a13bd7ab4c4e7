//! Every default, and every range, in one place.
use std::ops::RangeInclusive;
use std::time::Duration;

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

const fn days(count: u64) -> Duration {
    Duration::from_secs(count * 86_400)
}

pub(super) const FILE: &str = "countermark.toml";
pub(super) const DATA_DIR: &str = "./data";
pub(super) const MASTER_KEY: &str = "keys/master.key";
pub(super) const LISTEN: &str = "127.0.0.1:8443";
pub(super) const OPERATIONS_LISTEN: &str = "127.0.0.1:9443";

/// A number or a duration: its default and what is allowed.
pub(super) struct Bounded<T> {
    pub(super) default: T,
    pub(super) allowed: RangeInclusive<T>,
}

const fn bounded<T>(default: T, least: T, most: T) -> Bounded<T> {
    Bounded { default, allowed: RangeInclusive::new(least, most) }
}

pub(super) const MAX_STALENESS: Bounded<Duration> = bounded(Duration::from_millis(500), Duration::ZERO, seconds(5));

pub(super) const PUBLISH_AHEAD: Bounded<Duration> = bounded(days(1), Duration::ZERO, days(30));
/// 0: never.
pub(super) const ROTATE_EVERY: Bounded<Duration> = bounded(days(90), Duration::ZERO, days(3_650));

pub(super) const STORE_PREFIX: &str = "cm";
pub(super) const REPLICAS_REQUIRED: Bounded<u32> = bounded(0, 0, 16);
pub(super) const REPLICA_TIMEOUT: Bounded<Duration> = bounded(seconds(2), Duration::from_millis(10), seconds(60));
pub(super) const REPLICA_MAX_LAG: Bounded<Duration> = bounded(crate::store::REPLICA_MAX_LAG, seconds(1), seconds(300));
pub(super) const COMMAND_TIMEOUT: Bounded<Duration> = bounded(seconds(1), Duration::from_millis(10), seconds(60));
pub(super) const CONNECT_TIMEOUT: Bounded<Duration> = bounded(seconds(1), Duration::from_millis(10), seconds(60));

// hyper refuses a read buffer below 8 KiB.
pub(super) const HEAD_BYTES: Bounded<usize> = bounded(32 * 1024, 8 * 1024, 1024 * 1024);
pub(super) const HEAD_FIELDS: Bounded<usize> = bounded(100, 16, 1_000);
pub(super) const HEAD_TIMEOUT: Bounded<Duration> = bounded(seconds(10), Duration::from_millis(100), seconds(300));
pub(super) const BODY_BYTES: Bounded<usize> = bounded(64 * 1024, 1024, 64 * 1024);
pub(super) const BODY_TIMEOUT: Bounded<Duration> = bounded(seconds(30), Duration::from_millis(100), seconds(600));
pub(super) const CONNECTIONS: Bounded<usize> = bounded(10_000, 1, 1_000_000);
pub(super) const REQUESTS: Bounded<usize> = bounded(2_000, 1, 1_000_000);
pub(super) const REQUESTS_PER_CONNECTION: Bounded<u32> = bounded(100, 1, 10_000);
pub(super) const IDLE_TIMEOUT: Bounded<Duration> = bounded(seconds(60), Duration::from_millis(100), seconds(3600));
pub(super) const DRAIN_TIMEOUT: Bounded<Duration> = bounded(seconds(20), Duration::ZERO, seconds(600));
pub(super) const HANDSHAKE_TIMEOUT: Bounded<Duration> = bounded(seconds(10), Duration::from_millis(100), seconds(300));

const MIB: u64 = 1024 * 1024;
pub(super) const SIGNATURE_BYTES: Bounded<u64> = bounded(64 * MIB, 0, 64 * 1024 * MIB);
pub(super) const ACCOUNT_BYTES: Bounded<u64> = bounded(64 * MIB, MIB, 64 * 1024 * MIB);

pub(super) const VALID_FOR_MONTHS: [u32; 3] = [6, 12, 24];
pub(super) const MONTHS: RangeInclusive<u32> = 1..=120;

pub(super) const GUESSES_PER_MINUTE: Bounded<u32> = bounded(60, 1, 1_000_000);
pub(super) const GUESSES_BURST: Bounded<u32> = bounded(60, 1, 1_000_000);

pub(super) const SESSION_IDLE: Bounded<Duration> = bounded(seconds(1_800), seconds(60), days(1));
pub(super) const SESSION_LENGTH: Bounded<Duration> = bounded(seconds(43_200), seconds(60), days(30));

pub(super) const RETENTION: Bounded<Duration> = bounded(days(400), days(1), days(7_300));
pub(super) const ARCHIVE_EVERY: Bounded<Duration> = bounded(seconds(3_600), seconds(1), days(7));
pub(super) const ACTIVITY_MAX_ENTRIES: Bounded<u64> = bounded(10_000, 100, 10_000_000);
pub(super) const FIREHOSE_MAX_ENTRIES: Bounded<u64> = bounded(1_000_000, 1_000, 1_000_000_000);
pub(super) const SPILL_MAX_BYTES: Bounded<u64> = bounded(1024 * MIB, 16 * MIB, 16 * 1024 * MIB);
pub(super) const QUEUE_EVENTS: Bounded<usize> = bounded(65_536, 64, 16_777_216);
