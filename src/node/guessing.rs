//! A dead token is not an attack (protocols, section 7): only invalid signatures count against an address, and only after
//! the signature was looked at.
//!
//! Whoever is limited and comes with a good token is let in: many may share an address with one who guesses, and a signature
//! that can't be guessed in the age of the universe needs no further protection. What is limited is the noise.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::subscriber::Subscriber;

/// How many are remembered: about 10 MB.
const REMEMBERED: usize = 65_536;
/// How many are sampled within one minute: a flood from more of them is counted, and not sampled further.
const SAMPLED: usize = 10_000;
const MINUTE: Duration = Duration::from_secs(60);

/// Counts invalid signatures by address.
pub struct Guessing {
    /// What one invalid signature costs.
    price: Duration,
    /// How deep in debt one may be and still try again.
    credit: Duration,
    debts: Mutex<Debts>,
    sampled: Mutex<Sampled>,
}

/// A virtual schedule (the generic cell rate algorithm): each invalid signature moves the moment when all is paid back by its
/// price. Who isn't in here owes nothing.
#[derive(Default)]
struct Debts {
    paid_at: HashMap<Subscriber, Instant>,
    in_order: BTreeSet<(Instant, Subscriber)>,
}

#[derive(Default)]
struct Sampled {
    began: Option<Instant>,
    seen: HashSet<Subscriber>,
}

impl Guessing {
    /// So many a minute, and so many at once.
    pub fn new(per_minute: u32, burst: u32) -> Self {
        let price = MINUTE / per_minute.max(1);
        let credit = price * (burst.max(1) - 1);
        Self { price, credit, debts: Mutex::default(), sampled: Mutex::default() }
    }

    /// Counts one invalid signature. `Err`: there were too many, and this one is not counted; for how long to wait.
    pub fn count(&self, address: Option<IpAddr>, now: Instant) -> Result<(), Duration> {
        let subscriber = Subscriber::from(address);
        let mut debts = held(&self.debts);
        debts.forget_the_paid(now);
        let paid_at = debts.paid_at.get(&subscriber).copied().unwrap_or(now);
        let owed = paid_at.saturating_duration_since(now);
        if owed > self.credit {
            return Err(owed - self.credit);
        }
        debts.owe(subscriber, paid_at + self.price);
        Ok(())
    }

    /// Whether this one is to be told of: the first of its address in a minute.
    pub fn is_sample(&self, address: Option<IpAddr>, now: Instant) -> bool {
        let mut sampled = held(&self.sampled);
        if sampled.began.is_none_or(|began| now.saturating_duration_since(began) >= MINUTE) {
            *sampled = Sampled { began: Some(now), seen: HashSet::new() };
        }
        sampled.seen.len() < SAMPLED && sampled.seen.insert(Subscriber::from(address))
    }
}

impl Debts {
    fn forget_the_paid(&mut self, now: Instant) {
        while self.in_order.first().is_some_and(|(paid_at, _)| *paid_at <= now) {
            self.forget_the_least();
        }
    }

    /// Where all places are taken, whoever owes least is forgotten. To be forgotten while owing much takes as many others who
    /// owe more: whoever has so many addresses may guess as often from them, and gains nothing by it.
    fn owe(&mut self, subscriber: Subscriber, paid_at: Instant) {
        match self.paid_at.insert(subscriber, paid_at) {
            Some(before) => drop(self.in_order.remove(&(before, subscriber))),
            None if self.paid_at.len() > REMEMBERED => self.forget_the_least(),
            None => {}
        }
        self.in_order.insert((paid_at, subscriber));
    }

    fn forget_the_least(&mut self) {
        if let Some((_, subscriber)) = self.in_order.pop_first() {
            self.paid_at.remove(&subscriber);
        }
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    fn at(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    /// The first address of the n-th network of 64 bits.
    fn network(number: u64) -> Option<IpAddr> {
        Some(Ipv6Addr::from((0x2001_0db8_u128 << 96) + (u128::from(number) << 64) + 1).into())
    }

    #[test]
    fn an_address_is_told_to_wait_and_others_are_not() {
        let (guessing, now) = (Guessing::new(1, 3), Instant::now());
        assert!((0..3).all(|_| guessing.count(at("192.0.2.1"), now).is_ok()));
        assert_eq!(guessing.count(at("192.0.2.1"), now), Err(MINUTE));
        assert_eq!(guessing.count(at("::ffff:192.0.2.1"), now), Err(MINUTE));
        assert!(guessing.count(at("192.0.2.2"), now).is_ok());
        assert!((0..3).all(|_| guessing.count(at("2001:db8::1"), now).is_ok()));
        assert!(guessing.count(at("2001:db8::2"), now).is_err());
        assert!(guessing.count(at("2001:db8:0:1::1"), now).is_ok());
        // Those of whom nothing is known are one.
        assert!((0..3).all(|_| guessing.count(None, now).is_ok()));
        assert!(guessing.count(None, now).is_err());
        assert!(guessing.count(at("0.0.0.0"), now).is_ok());
    }

    #[test]
    fn who_waits_as_long_as_told_may_try_once_and_asking_does_not_prolong_it() {
        let (guessing, mut now) = (Guessing::new(60, 5), Instant::now());
        assert!((0..5).all(|_| guessing.count(at("192.0.2.1"), now).is_ok()));
        for _ in 0..100 {
            assert_eq!(guessing.count(at("192.0.2.1"), now), Err(Duration::from_secs(1)));
        }
        now += Duration::from_millis(999);
        assert_eq!(guessing.count(at("192.0.2.1"), now), Err(Duration::from_millis(1)));
        now += Duration::from_millis(1);
        assert!(guessing.count(at("192.0.2.1"), now).is_ok());
        assert_eq!(guessing.count(at("192.0.2.1"), now), Err(Duration::from_secs(1)));
        now += Duration::from_secs(3600);
        assert!((0..5).all(|_| guessing.count(at("192.0.2.1"), now).is_ok()));
        assert!(guessing.count(at("192.0.2.1"), now).is_err());
    }

    #[test]
    fn a_million_addresses_take_no_more_memory_and_reset_nobody_who_guesses() {
        let (guessing, now) = (Guessing::new(60, 60), Instant::now());
        let guesser = at("192.0.2.1");
        assert!((0..60).all(|_| guessing.count(guesser, now).is_ok()));
        for number in 0..1_000_000 {
            assert!(guessing.count(network(number), now).is_ok(), "{number}");
        }
        let debts = held(&guessing.debts);
        assert_eq!((debts.paid_at.len(), debts.in_order.len()), (REMEMBERED, REMEMBERED));
        assert!(debts.paid_at.capacity() < 4 * REMEMBERED, "{}", debts.paid_at.capacity());
        assert!(size_of::<(Instant, Subscriber)>() <= 32);
        drop(debts);
        assert_eq!(guessing.count(guesser, now), Err(Duration::from_secs(1)));
        // And what is paid back makes room.
        assert!(guessing.count(guesser, now + 2 * MINUTE).is_ok());
        assert_eq!(held(&guessing.debts).paid_at.len(), 1);
    }

    #[test]
    fn one_in_a_minute_is_a_sample() {
        let (guessing, now) = (Guessing::new(1, 1), Instant::now());
        assert!(guessing.is_sample(at("192.0.2.1"), now));
        assert!(!guessing.is_sample(at("192.0.2.1"), now + Duration::from_secs(59)));
        assert!(guessing.is_sample(at("192.0.2.1"), now + MINUTE));
        assert!(guessing.is_sample(at("192.0.2.2"), now + MINUTE));
    }

    #[test]
    fn a_flood_from_everywhere_is_sampled_up_to_a_limit() {
        let (guessing, now) = (Guessing::new(1, 1), Instant::now());
        let sampled = (0..1_000_000).filter(|number| guessing.is_sample(network(*number), now)).count();
        assert_eq!(sampled, SAMPLED);
        assert!(guessing.is_sample(network(0), now + MINUTE));
    }
}
