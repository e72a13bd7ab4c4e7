//! Several servers that are asked the same again and again, of which some may be silent, far away, or wrong.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, timeout_at};

use super::greeting::ConnectError;
use super::url::HostPort;

/// How long all of them together may take.
const PATIENCE: Duration = Duration::from_millis(500);

/// How long the others have once most have answered: each that is silent would delay every look otherwise.
const GRACE: Duration = Duration::from_millis(100);

/// So many reasons are told why nobody answers.
const MOST_REASONS: usize = 8;

/// See the module. A question goes on when nobody waits for it any more: whoever is far away would have to be greeted anew in
/// each look, and never be heard. What comes of it counts in the next look.
pub(super) struct Several<T> {
    /// What each of them is, to whom a log is read.
    kind: &'static str,
    patience: Duration,
    /// Of which epoch an answer is.
    epoch: fn(&T) -> u64,
    questions: JoinSet<Result<T, ConnectError>>,
    under_way: HashMap<Id, Asked>,
}

/// Who was asked, and when.
struct Asked {
    whom: HostPort,
    at: Instant,
}

/// What is heard in one look.
struct Heard<T> {
    best: Option<Answer<T>>,
    trouble: Vec<ConnectError>,
}

struct Answer<T> {
    epoch: u64,
    asked_at: Instant,
    said: T,
}

impl<T: Send + 'static> Several<T> {
    /// `connect`: how long a connection may take.
    pub(super) fn new(kind: &'static str, connect: Duration, epoch: fn(&T) -> u64) -> Self {
        let (questions, under_way) = (JoinSet::new(), HashMap::new());
        Self { kind, patience: connect.min(PATIENCE), epoch, questions, under_way }
    }

    /// Asks each of these who is not being asked already. Whoever knows the highest epoch is believed: one that was cut off knows
    /// nothing of a failover. The questions have to end by themselves.
    pub(super) async fn ask<Q>(&mut self, questions: impl IntoIterator<Item = (HostPort, Q)>) -> Result<T, ConnectError>
    where
        Q: Future<Output = Result<T, ConnectError>> + Send + 'static,
    {
        let now = Instant::now();
        let mut heard = Heard { best: None, trouble: Vec::new() };
        while let Some(ended) = self.questions.try_join_next_with_id() {
            self.hear(ended, &mut heard);
        }
        let mut awaited = HashSet::new();
        for (whom, question) in questions {
            if !self.under_way.values().any(|asked| asked.whom == whom) {
                let id = self.questions.spawn(question).id();
                self.under_way.insert(id, Asked { whom: whom.clone(), at: now });
            }
            awaited.insert(whom);
        }
        let (mut until, most, mut well) = (now + self.patience, awaited.len() / 2 + 1, 0);
        while !awaited.is_empty() {
            let Ok(Some(ended)) = timeout_at(until, self.questions.join_next_with_id()).await else { break };
            let Some((whom, is_good)) = self.hear(ended, &mut heard) else { continue };
            if awaited.remove(&whom) && is_good {
                well += 1;
                // A minority may be what is near and wrong.
                if well == most {
                    until = until.min(Instant::now() + GRACE);
                }
            }
        }
        let silent = |whom: &HostPort| self.of(whom, ConnectError::Away("no answer yet".into()));
        heard.trouble.extend(awaited.iter().map(silent));
        heard.believed()
    }

    /// Notes an answer. Says whose it is, and whether it is a good one.
    fn hear(
        &mut self,
        ended: Result<(Id, Result<T, ConnectError>), JoinError>,
        heard: &mut Heard<T>,
    ) -> Option<(HostPort, bool)> {
        let (id, answer) = match ended {
            Ok(ended) => ended,
            Err(error) => (error.id(), Err(ConnectError::Away("the question ended without an answer".into()))),
        };
        let Asked { whom, at } = self.under_way.remove(&id)?;
        let is_good = answer.is_ok();
        match answer {
            Ok(said) => heard.note(Answer { epoch: (self.epoch)(&said), asked_at: at, said }),
            Err(error) => heard.trouble.push(self.of(&whom, error)),
        }
        Some((whom, is_good))
    }

    fn of(&self, whom: &HostPort, error: ConnectError) -> ConnectError {
        error.at(format_args!("the {} {whom}", self.kind))
    }
}

impl<T> Heard<T> {
    fn note(&mut self, answer: Answer<T>) {
        // In one epoch servers may get other addresses: then the later answer counts, and not the one that came late.
        let rank = |answer: &Answer<T>| (answer.epoch, answer.asked_at);
        if self.best.as_ref().is_none_or(|best| rank(&answer) > rank(best)) {
            self.best = Some(answer);
        }
    }

    fn believed(self) -> Result<T, ConnectError> {
        if let Some(best) = self.best {
            return Ok(best.said);
        }
        let mut reasons = Vec::new();
        for error in self.trouble {
            match error {
                // What somebody has to change matters more than who is away.
                ConnectError::Refused(_) => return Err(error),
                ConnectError::Away(why) => reasons.push(why),
            }
        }
        reasons.truncate(MOST_REASONS);
        Err(ConnectError::Away(reasons.join("; ")))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Notify;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    /// An epoch, and in which look it was asked for.
    type Said = (u64, u8);

    fn several() -> Several<Said> {
        Several { patience: LONG, ..Several::new("server", LONG, |said: &Said| said.0) }
    }

    fn at(port: u16) -> HostPort {
        HostPort { host: "a".into(), port }
    }

    /// Answers after a while, which is what the way there takes.
    async fn says(after: u64, answer: Result<Said, ConnectError>) -> Result<Said, ConnectError> {
        tokio::time::sleep(Duration::from_millis(after)).await;
        answer
    }

    fn away() -> Result<Said, ConnectError> {
        Err(ConnectError::Away("gone".into()))
    }

    #[tokio::test]
    async fn a_silent_one_is_waited_for_a_moment_only_once_most_have_answered() {
        let began = std::time::Instant::now();
        let asked = [(at(1), says(60_000, Ok((9, 1)))), (at(2), says(10, Ok((2, 1)))), (at(3), says(20, Ok((3, 1))))];
        assert_eq!(several().ask(asked).await.ok(), Some((3, 1)));
        assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn one_of_two_that_is_near_does_not_end_the_patience_with_the_other() {
        let far = 4 * u64::try_from(GRACE.as_millis()).unwrap();
        let asked = [(at(1), says(0, Ok((0, 1)))), (at(2), says(far, Ok((1, 1))))];
        assert_eq!(several().ask(asked).await.ok(), Some((1, 1)));
        let asked = [(at(1), says(0, Ok((0, 1)))), (at(2), says(1, away())), (at(3), says(far, Ok((1, 1))))];
        assert_eq!(several().ask(asked).await.ok(), Some((1, 1)), "one that is away has said nothing");
    }

    #[tokio::test]
    async fn whoever_is_late_counts_in_the_next_look_and_is_not_asked_twice_at_once() {
        let (arrived, asked) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
        let mut several = several();
        let mut look = async |look: u8, late: Result<Said, ConnectError>| {
            let (waits, begun) = (Arc::clone(&arrived), Arc::clone(&asked));
            let near = [1, 2].map(|port| (at(port), futures_util::future::Either::Left(says(0, Ok((1, look))))));
            let far = async move {
                begun.fetch_add(1, Ordering::SeqCst);
                waits.notified().await;
                late
            };
            several.ask(near.into_iter().chain([(at(3), futures_util::future::Either::Right(far))])).await.unwrap()
        };
        assert_eq!(look(1, Ok((7, 1))).await, (1, 1), "most have answered");
        arrived.notify_one();
        assert_eq!(look(2, Ok((8, 2))).await, (7, 1), "what was asked in the first look");
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        assert_eq!(look(3, Ok((9, 3))).await.0, 1, "each answer counts once");
    }

    #[tokio::test]
    async fn in_one_epoch_the_later_answer_counts_whichever_comes_first() {
        for earlier in [20, 80] {
            let mut several = several();
            several.patience = Duration::from_millis(1);
            assert!(several.ask([(at(1), says(earlier, Ok((1, 1))))]).await.is_err(), "the patience has an end");
            several.patience = LONG;
            let later = several.ask([1, 2].map(|port| (at(port), says(50, Ok((1, 2)))))).await;
            assert_eq!(later.ok(), Some((1, 2)), "{earlier} ms");
        }
    }

    #[tokio::test]
    async fn why_nobody_answers_is_said_of_each_and_what_has_to_be_changed_comes_first() {
        let mut several = several();
        let told = several.ask([(at(1), says(0, away())), (at(2), says(1, away()))]).await.unwrap_err();
        assert!(
            matches!(&told, ConnectError::Away(why) if why == "the server a:1: gone; the server a:2: gone"),
            "{told:?}"
        );
        let refused = Err(ConnectError::Refused("no".into()));
        let told = several.ask([(at(1), says(0, away())), (at(2), says(1, refused))]).await.unwrap_err();
        assert!(matches!(&told, ConnectError::Refused(why) if why == "the server a:2: no"), "{told:?}");
    }
}
