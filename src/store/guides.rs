//! Whether those who say which server is the primary answer: as long as the primary does, nobody would miss them.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::greeting::ConnectError;
use crate::told::Told;

/// So long is no news.
const A_MOMENT: Duration = Duration::from_secs(5);

const TELL_AGAIN: Duration = Duration::from_secs(60);

/// See the module.
pub(super) struct Guides(Mutex<Silence>);

struct Silence {
    /// Since when none answers, and why.
    since: Option<(Instant, String)>,
    told: Told,
}

impl Default for Guides {
    fn default() -> Self {
        Self(Mutex::new(Silence { since: None, told: Told::every(TELL_AGAIN, A_MOMENT) }))
    }
}

impl Guides {
    /// What came of a question: the trouble, or none.
    pub(super) fn note(&self, trouble: Option<&ConnectError>) {
        let mut silence = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        silence.note_at(Instant::now(), trouble);
    }

    /// What an operator should know of it.
    #[cfg(feature = "server")]
    pub(super) fn trouble(&self) -> Option<String> {
        let silence = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        silence.lasts_at(Instant::now())
    }
}

impl Silence {
    fn note_at(&mut self, now: Instant, trouble: Option<&ConnectError>) {
        let Some(ConnectError::Away(why) | ConnectError::Refused(why)) = trouble else {
            self.since = None;
            if self.told.is_over() {
                tracing::info!("sentinels say again which server is the primary");
            }
            return;
        };
        let since = self.since.as_ref().map_or(now, |(since, _)| *since);
        self.since = Some((since, why.clone()));
        if let Some(text) = self.lasts_at(now) {
            // Why may be said in another order each time.
            self.told.is("", |_| tracing::warn!("{text}"));
        }
    }

    fn lasts_at(&self, now: Instant) -> Option<String> {
        let (since, why) = self.since.as_ref()?;
        let lasts = now.saturating_duration_since(*since) >= A_MOMENT;
        lasts.then(|| {
            format!("no sentinel says which server is the primary, so that no failover would be noticed: {why}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentinels_that_are_silent_for_more_than_a_moment_are_told_of_until_one_answers() {
        let began = Instant::now();
        let at = |seconds: u64| began + Duration::from_secs(seconds);
        let away = ConnectError::Away("gone".into());
        let Guides(silence) = Guides::default();
        let mut silence = silence.into_inner().unwrap();
        silence.note_at(at(0), Some(&away));
        silence.note_at(at(4), Some(&away));
        assert_eq!(silence.lasts_at(at(4)), None);
        assert!(!silence.told.is_over());
        silence.note_at(at(5), Some(&away));
        assert!(silence.lasts_at(at(5)).unwrap().ends_with(": gone"));
        assert!(silence.told.is_over());
        silence.note_at(at(6), None);
        assert_eq!(silence.lasts_at(at(60)), None);
    }
}
