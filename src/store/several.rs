//! Several servers that are asked the same, of which some may be silent.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, timeout_at};

/// How long the others have once one has answered: each that is silent would delay every look otherwise.
const GRACE: Duration = Duration::from_millis(100);

/// All answers that came in time.
pub(super) async fn answers<T, E, F>(asked: impl IntoIterator<Item = F>) -> Vec<Result<T, E>>
where
    F: Future<Output = Result<T, E>>,
{
    let mut asked: FuturesUnordered<F> = asked.into_iter().collect();
    let (mut answers, mut until) = (Vec::new(), None);
    loop {
        let next = match until {
            None => asked.next().await,
            Some(until) => timeout_at(until, asked.next()).await.unwrap_or(None),
        };
        let Some(answer) = next else { return answers };
        if answer.is_ok() {
            until.get_or_insert_with(|| Instant::now() + GRACE);
        }
        answers.push(answer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_silent_one_is_waited_for_a_moment_only_once_another_has_answered() {
        let says = |after: u64, answer: Result<u8, u8>| async move {
            tokio::time::sleep(Duration::from_millis(after)).await;
            answer
        };
        let began = std::time::Instant::now();
        let heard = answers([says(60_000, Ok(9)), says(10, Err(1)), says(20, Ok(2)), says(30, Ok(3))]).await;
        assert_eq!(heard, [Err(1), Ok(2), Ok(3)]);
        assert!(began.elapsed() < Duration::from_secs(30));
        assert_eq!(answers([says(5, Err(1)), says(1, Err(2))]).await, [Err(2), Err(1)], "none is good: all are heard");
    }
}
