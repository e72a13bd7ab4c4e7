//! How long is waited after failures.

use std::time::Duration;

use crate::clock::random;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

/// Waits longer after each failure, up to a minute. Somewhere in the second half of that time, so that many who failed together do
/// not come back together.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    pub(super) fn failed(&mut self) -> Duration {
        let whole = FIRST.saturating_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX)).min(LONGEST);
        self.failures = self.failures.saturating_add(1).min(16);
        let [byte] = random::<1>().unwrap_or([0]);
        whole / 2 + whole / 2 * u32::from(byte) / 255
    }

    /// Whether it had failed before.
    pub(super) fn succeeded(&mut self) -> bool {
        std::mem::take(&mut self.failures) > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_is_waited_for_longer_and_no_longer_than_a_minute() {
        let mut backoff = Backoff::default();
        for whole in [1, 2, 4, 8, 16, 32, 60, 60, 60].into_iter().chain([60; 40]) {
            let (pause, whole) = (backoff.failed(), Duration::from_secs(whole));
            assert!((whole / 2..=whole).contains(&pause), "{pause:?} of {whole:?}");
        }
        assert!(backoff.succeeded() && !backoff.succeeded());
        assert!(backoff.failed() <= FIRST);
    }
}
