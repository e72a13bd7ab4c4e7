//! What goes on and on is told when it begins, when it turns into something else, and once in a while.

use std::time::{Duration, Instant};

const MINUTE: Duration = Duration::from_secs(60);

/// What was told last of one thing that may go on and on.
#[derive(Debug)]
pub(crate) struct Told {
    /// How often the same is told.
    again: Duration,
    /// How soon something else is.
    news: Duration,
    last: Option<Last>,
}

#[derive(Debug)]
struct Last {
    what: String,
    at: Instant,
    /// How often it came since, and was not told.
    untold: u64,
}

/// Once a minute, whatever it is.
impl Default for Told {
    fn default() -> Self {
        Self::every(MINUTE, MINUTE)
    }
}

impl Told {
    /// Tells the same once in `again`, and something else `news` after the last at the soonest: causes may take turns.
    pub(crate) fn every(again: Duration, news: Duration) -> Self {
        Self { again, news, last: None }
    }

    /// It is so. `tell` says it, if it is time to, and is told how often it was not told since it was last.
    pub(crate) fn is(&mut self, what: &str, tell: impl FnOnce(u64)) {
        self.is_at(Instant::now(), what, tell);
    }

    /// It is over: the next is told at once. `true`: it was told that it began.
    pub(crate) fn is_over(&mut self) -> bool {
        self.last.take().is_some()
    }

    fn is_at(&mut self, now: Instant, what: &str, tell: impl FnOnce(u64)) {
        let untold = match &mut self.last {
            Some(last) => {
                let rest = if last.what == what { self.again } else { self.news };
                if now.saturating_duration_since(last.at) < rest {
                    last.untold += 1;
                    return;
                }
                last.untold
            }
            None => 0,
        };
        tell(untold);
        self.last = Some(Last { what: what.to_owned(), at: now, untold: 0 });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_is_told_once_in_a_while_and_something_else_sooner_and_what_was_not_told_is_counted() {
        let began = Instant::now();
        let mut told = Told::every(Duration::from_secs(30), Duration::from_secs(5));
        let mut heard = Vec::new();
        let mut is = |told: &mut Told, after: u64, what: &str| {
            let now = began + Duration::from_secs(after);
            told.is_at(now, what, |untold| heard.push((after, what.to_owned(), untold)));
        };
        for (after, what) in
            [(0, "a"), (1, "a"), (2, "b"), (4, "a"), (5, "a"), (6, "b"), (7, "a"), (10, "b"), (36, "b")]
        {
            is(&mut told, after, what);
        }
        assert!(told.is_over());
        assert!(!told.is_over());
        is(&mut told, 37, "b");
        let expected = [(0, "a", 0), (6, "b", 4), (36, "b", 2), (37, "b", 0)];
        assert_eq!(heard, expected.map(|(after, what, untold)| (after, what.to_owned(), untold)));
    }
}
