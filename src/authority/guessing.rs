//! A dead token is not an attack (protocols, section 7): only invalid signatures count against an address, and only after
//! the signature was looked at.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use governor::clock::{Clock as _, MonotonicClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};

type Limiter = RateLimiter<IpAddr, DashMapStateStore<IpAddr>, MonotonicClock, NoOpMiddleware<Instant>>;

/// Addresses remembered for sampling within one minute.
const SAMPLED: usize = 10_000;

/// Counts invalid signatures by address.
pub struct Guessing {
    limiter: Limiter,
    sampled: Mutex<HashMap<IpAddr, Instant>>,
}

impl Guessing {
    /// So many a minute, and so many at once.
    pub fn new(per_minute: u32, burst: u32) -> Self {
        let one = NonZeroU32::MIN;
        let quota = Quota::per_minute(NonZeroU32::new(per_minute).unwrap_or(one))
            .allow_burst(NonZeroU32::new(burst).unwrap_or(one));
        Self { limiter: RateLimiter::dashmap_with_clock(quota, MonotonicClock), sampled: Mutex::default() }
    }

    /// Counts one invalid signature. `Err`: there were too many; for how long to wait.
    pub fn count(&self, address: Option<IpAddr>) -> Result<(), Duration> {
        let key = key(address);
        self.limiter.check_key(&key).map_err(|too_many| too_many.wait_time_from(MonotonicClock.now()))
    }

    /// Whether this one is the address' first in a minute.
    pub fn is_sample(&self, address: Option<IpAddr>, now: Instant) -> bool {
        let mut sampled = self.sampled.lock().unwrap_or_else(PoisonError::into_inner);
        let minute = Duration::from_secs(60);
        if sampled.len() >= SAMPLED {
            sampled.retain(|_, last| now.duration_since(*last) < minute);
        }
        let key = key(address);
        let first = sampled.get(&key).is_none_or(|last| now.duration_since(*last) >= minute);
        // A flood from more addresses than are remembered is counted, and not sampled further.
        if first && sampled.len() < SAMPLED {
            sampled.insert(key, now);
            return true;
        }
        false
    }

    /// Forgets addresses that have been quiet.
    pub fn forget_the_quiet(&self) {
        self.limiter.retain_recent();
        self.limiter.shrink_to_fit();
    }
}

/// IPv6 clients own a whole /64, so that is what is counted.
fn key(address: Option<IpAddr>) -> IpAddr {
    match address.map(|address| address.to_canonical()) {
        Some(IpAddr::V6(v6)) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        Some(v4) => v4,
        None => IpAddr::from([0, 0, 0, 0]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_told_to_wait_and_others_are_not() {
        let guessing = Guessing::new(1, 3);
        let one = Some("192.0.2.1".parse().unwrap());
        assert!((0..3).all(|_| guessing.count(one).is_ok()));
        let wait = guessing.count(one).unwrap_err();
        assert!(wait > Duration::from_secs(1) && wait <= Duration::from_secs(60));
        assert!(guessing.count(Some("192.0.2.2".parse().unwrap())).is_ok());
        assert!(guessing.count(Some("::ffff:192.0.2.1".parse().unwrap())).is_err());
        let six = |text: &str| Some(text.parse().unwrap());
        assert!((0..3).all(|_| guessing.count(six("2001:db8::1")).is_ok()));
        assert!(guessing.count(six("2001:db8::2")).is_err());
    }

    #[test]
    fn one_in_a_minute_is_a_sample() {
        let guessing = Guessing::new(1, 1);
        let (address, now) = (Some("192.0.2.1".parse().unwrap()), Instant::now());
        assert!(guessing.is_sample(address, now));
        assert!(!guessing.is_sample(address, now + Duration::from_secs(59)));
        assert!(guessing.is_sample(address, now + Duration::from_secs(60)));
    }
}
