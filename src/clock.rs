//! The only reader of time and randomness, so that tests can move the one and nobody has to trust another source of the other.

use std::cell::RefCell;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, Utc};
use uuid::{Builder, NoContext, Timestamp, Uuid};

/// Time as the code sees it.
pub trait Clock: Send + Sync + 'static {
    /// The wall clock. Only for what the world sees: `iat`, `exp`, the end of an overlap, entries of the audit.
    fn now(&self) -> DateTime<Utc>;
    /// The monotonic clock, for every duration.
    fn monotonic(&self) -> Instant;
    /// The wall clock in whole Unix seconds, which needs no calendar.
    fn unix_seconds(&self) -> i64 {
        self.now().timestamp()
    }
}

/// The machine's clocks.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods)] // the one place
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }

    fn monotonic(&self) -> Instant {
        Instant::now()
    }

    #[allow(clippy::disallowed_methods)] // the one place
    fn unix_seconds(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    }
}

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub struct ManualClock(Mutex<(DateTime<Utc>, Instant)>);

impl ManualClock {
    /// A clock that stands at `now`.
    pub fn at(now: DateTime<Utc>) -> Self {
        Self(Mutex::new((now, Instant::now())))
    }

    /// Moves both clocks forward.
    pub fn advance(&self, by: Duration) {
        let mut clocks = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        clocks.0 += by;
        clocks.1 += by;
    }

    /// Steps the wall clock alone, as somebody who sets it does.
    pub fn step_wall(&self, by: chrono::TimeDelta) {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).0 += by;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> DateTime<Utc> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).0
    }

    fn monotonic(&self) -> Instant {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).1
    }
}

/// The operating system's random source failed.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the operating system gave no random bytes")]
pub struct NoRandomness;

/// `N` bytes from the operating system's random source.
pub fn random<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0_u8; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(bytes)
}

/// A UUIDv7 (RFC 9562, section 5.7) of the given time.
pub fn uuid_v7(now: DateTime<Utc>) -> Uuid {
    let millis = u64::try_from(now.timestamp_millis()).unwrap_or(0);
    match stocked() {
        Some(bytes) => Builder::from_unix_timestamp_millis(millis, &bytes).into_uuid(),
        None => Uuid::new_v7(Timestamp::from_unix(NoContext, millis / 1000, now.timestamp_subsec_nanos())),
    }
}

/// Random bytes for one id. Fetched for many at once: there are two in each call, and each fetch costs as much as the rest of it.
fn stocked() -> Option<[u8; 10]> {
    type Stock = [[u8; 10]; 64];
    thread_local! {
        static STOCK: RefCell<(Stock, usize)> = const { RefCell::new(([[0; 10]; 64], 0)) };
    }
    STOCK.with_borrow_mut(|(stock, left)| {
        if *left == 0 {
            aws_lc_rs::rand::fill(stock.as_flattened_mut()).ok()?;
            *left = stock.len();
        }
        *left -= 1;
        stock.get(*left).copied()
    })
}

/// Times as the outside sees them: RFC 3339 UTC, whole milliseconds at most.
pub mod rfc3339 {
    use std::cell::RefCell;
    use std::fmt::Write as _;

    use chrono::{DateTime, SecondsFormat, Utc};
    use serde::{Deserialize, Deserializer, Serializer};

    /// `2026-11-23T21:12:00.123Z`, without the fraction where it is zero.
    pub fn text(time: &DateTime<Utc>) -> String {
        with_text(time, str::to_owned)
    }

    /// The same, to be read at once. Of a second, the date is worked out once.
    pub(crate) fn with_text<R>(time: &DateTime<Utc>, take: impl FnOnce(&str) -> R) -> R {
        thread_local! {
            /// A second, and its text without the fraction and the `Z`.
            static LAST: RefCell<(i64, String)> = const { RefCell::new((i64::MIN, String::new())) };
        }
        LAST.with_borrow_mut(|(second, text)| {
            if *second != time.timestamp() {
                *second = time.timestamp();
                *text = time.to_rfc3339_opts(SecondsFormat::Secs, true);
                text.pop();
            }
            let without_fraction = text.len();
            match time.timestamp_subsec_millis() {
                0 => text.push('Z'),
                millis => {
                    // Writing to a string does not fail.
                    let _ = write!(text, ".{millis:03}Z");
                }
            }
            let taken = take(text);
            text.truncate(without_fraction);
            taken
        })
    }

    /// For `#[serde(with = "…")]`.
    pub fn serialize<S: Serializer>(time: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
        with_text(time, |text| serializer.serialize_str(text))
    }

    /// For `#[serde(with = "…")]`.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DateTime<Utc>, D::Error> {
        let text = String::deserialize(deserializer)?;
        DateTime::parse_from_rfc3339(&text).map(|time| time.to_utc()).map_err(serde::de::Error::custom)
    }

    /// The same for an optional time.
    pub mod option {
        use chrono::{DateTime, Utc};
        use serde::{Deserialize, Deserializer, Serializer};

        /// For `#[serde(with = "…")]`.
        pub fn serialize<S: Serializer>(time: &Option<DateTime<Utc>>, serializer: S) -> Result<S::Ok, S::Error> {
            match time {
                Some(time) => super::serialize(time, serializer),
                None => serializer.serialize_none(),
            }
        }

        /// For `#[serde(with = "…")]`.
        pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<DateTime<Utc>>, D::Error> {
            let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
            DateTime::parse_from_rfc3339(&text).map(|time| Some(time.to_utc())).map_err(serde::de::Error::custom)
        }
    }
}
