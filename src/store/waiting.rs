//! For which issuers the store waits, and when that is told: in every failover each issuer waits a moment for the others.

use std::time::{Duration, Instant};

use super::StoreError;
use crate::told::Told;

/// So long is no news.
const A_MOMENT: Duration = Duration::from_secs(5);

const TELL_AGAIN: Duration = Duration::from_secs(60);

/// See the module.
pub(super) struct Waiting {
    names: Vec<String>,
    since: Option<Instant>,
    told: Told,
}

impl Default for Waiting {
    fn default() -> Self {
        Self { names: Vec::new(), since: None, told: Told::every(TELL_AGAIN, A_MOMENT) }
    }
}

impl Waiting {
    /// Whom it waits for, as of the last look.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// As of a look now; none: it serves.
    pub(super) fn note(&mut self, names: Vec<String>) {
        self.note_at(Instant::now(), names);
    }

    fn note_at(&mut self, now: Instant, names: Vec<String>) {
        self.names = names;
        if self.names.is_empty() {
            self.since = None;
            if self.told.is_over() {
                tracing::info!("every issuer has raised the store; it serves again");
            }
            return;
        }
        let since = *self.since.get_or_insert(now);
        if now.saturating_duration_since(since) >= A_MOMENT {
            let issuers = self.names.join(", ");
            self.told.is(&issuers, |_| tracing::warn!(issuers, "{}", StoreError::Waits(issuers.clone())));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_that_issuers_are_waited_for_only_when_it_lasts() {
        let began = Instant::now();
        let at = |seconds: u64| began + Duration::from_secs(seconds);
        let names = || vec!["one".to_owned()];
        let mut waiting = Waiting::default();
        for seconds in [0, 4] {
            waiting.note_at(at(seconds), names());
            assert_eq!(waiting.names(), names());
        }
        waiting.note_at(at(4), Vec::new());
        waiting.note_at(at(5), names());
        assert!(!waiting.told.is_over(), "each was over in a moment");
        waiting.note_at(at(10), names());
        assert!(waiting.told.is_over());
        assert!(!waiting.names().is_empty());
    }
}
