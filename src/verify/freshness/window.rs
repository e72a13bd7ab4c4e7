//! The changes of the last few seconds.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::time::Instant;

use super::WINDOW;
use crate::epoch::Epoch;

/// More changes than that within the window make it shorter.
const MOST: usize = 100_000;

/// Changes that were applied lately, also of what is not in memory: a look-up may be under way that was answered before them.
pub(super) struct Window<K, V> {
    changes: HashMap<K, (Epoch, V)>,
    order: VecDeque<(Instant, K, Epoch)>,
    /// Everything that was applied since is here.
    since: Instant,
}

impl<K: Eq + Hash + Clone, V: Clone> Window<K, V> {
    pub(super) fn new(now: Instant) -> Self {
        Self { changes: HashMap::new(), order: VecDeque::new(), since: now }
    }

    pub(super) fn remember(&mut self, now: Instant, key: K, version: Epoch, value: V) {
        self.changes.insert(key.clone(), (version, value));
        self.order.push_back((now, key, version));
        self.forget(now);
    }

    /// Whether all that was applied since this moment is remembered.
    pub(super) fn covers(&mut self, now: Instant, moment: Instant) -> bool {
        self.forget(now);
        moment >= self.since && now.saturating_duration_since(moment) <= WINDOW
    }

    pub(super) fn newest(&self, key: &K) -> Option<&(Epoch, V)> {
        self.changes.get(key)
    }

    fn forget(&mut self, now: Instant) {
        while let Some((at, key, version)) = self.order.front() {
            let is_old = now.saturating_duration_since(*at) > WINDOW;
            if !is_old && self.order.len() <= MOST {
                break;
            }
            // A look-up that was asked for at the very moment may have been answered before the change.
            self.since = self.since.max(*at + std::time::Duration::from_nanos(1));
            // It may have changed again since.
            if self.changes.get(key).is_some_and(|(newest, _)| newest == version) {
                self.changes.remove(key);
            }
            self.order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_forgets_what_is_old_and_says_so() {
        let start = Instant::now();
        let mut window = Window::new(start);
        let epoch = |counter| Epoch { term: 1, counter };
        window.remember(start, "a", epoch(1), 1);
        window.remember(start + Duration::from_secs(1), "b", epoch(2), 2);
        window.remember(start + Duration::from_secs(2), "a", epoch(3), 3);
        let now = start + WINDOW + Duration::from_millis(500);
        assert!(window.covers(now, start + Duration::from_secs(1)));
        assert!(!window.covers(now, start), "the first change is forgotten");
        // Changed again since: remembered.
        assert_eq!(window.newest(&"a"), Some(&(epoch(3), 3)));
        assert!(window.covers(now + Duration::from_secs(1), start + Duration::from_secs(2)));
        assert_eq!(window.newest(&"b"), None);
    }

    #[test]
    fn more_changes_than_it_holds_make_it_shorter() {
        let start = Instant::now();
        let mut window = Window::new(start);
        for number in 0..=MOST {
            let now = start + Duration::from_micros(number as u64);
            window.remember(now, number, Epoch { term: 1, counter: number as u64 }, ());
        }
        let now = start + Duration::from_micros(MOST as u64);
        assert!(!window.covers(now, start));
        assert!(window.covers(now, start + Duration::from_micros(1)));
        assert_eq!(window.changes.len(), MOST);
    }
}
