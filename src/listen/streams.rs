//! The streams of one HTTP/2 connection.
//!
//! Answers that are there at once, as they are from memory, go out together: all that came in one packet is answered where it came
//! in, and written once. With a task for each stream, each answer would be a write of its own, which costs more than the answer.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use hyper::rt::Executor;

use super::places::Standing;

type Stream = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Those that were accepted and not begun.
#[derive(Clone)]
pub(super) struct Streams {
    accepted: Arc<Mutex<Vec<Stream>>>,
    standing: Standing,
}

impl<F> Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner).push(Box::pin(stream));
    }
}

impl Streams {
    /// None yet, of a connection with this standing.
    pub(super) fn of(standing: Standing) -> Self {
        Self { accepted: Arc::default(), standing }
    }

    /// Begins what was accepted since. Whatever is not ready at once goes on in a task of its own, which can be woken.
    ///
    /// Not on a connection that has to leave: a hundred streams in one packet are often what was too many, and before its task has
    /// its turn again, dozens of others may have come with as many. A few are answered if they can be at once, so that whoever
    /// comes back time and again with as much gets on; nothing waits.
    fn begin(&self) -> bool {
        let accepted = std::mem::take(&mut *self.accepted.lock().unwrap_or_else(PoisonError::into_inner));
        let any = !accepted.is_empty();
        let most = if any && self.standing.leaves() { LAST } else { usize::MAX };
        for mut stream in accepted.into_iter().take(most) {
            if stream.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() && !self.standing.leaves() {
                tokio::spawn(stream);
            }
        }
        any
    }
}

/// Streams that are begun on a connection that has to leave.
const LAST: usize = 8;

/// A connection with its streams.
pub(super) struct Together<C> {
    connection: Pin<Box<C>>,
    streams: Streams,
}

impl<C> Together<C> {
    /// `streams` is the connection's executor.
    pub(super) fn new(connection: C, streams: Streams) -> Self {
        Self { connection: Box::pin(connection), streams }
    }

    /// What does something with the connection, as something that does it with all.
    pub(super) fn by<F: FnOnce(Pin<&mut C>)>(&self, act: F) -> impl FnOnce(Pin<&mut Self>) + use<C, F> {
        |mut together| act(together.connection.as_mut())
    }
}

impl<C: Future> Future for Together<C> {
    type Output = C::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<C::Output> {
        loop {
            let polled = self.connection.as_mut().poll(context);
            // Then once more, to write what they have answered.
            if !self.streams.begin() || polled.is_ready() {
                return polled;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::super::places::Connections;
    use super::*;

    /// A stream that waits for ever. Whether it is still there.
    fn waits(streams: &Streams) -> impl Fn() -> bool + use<> {
        let held = Arc::new(());
        let weak = Arc::downgrade(&held);
        streams.execute(async move {
            std::future::pending::<()>().await;
            drop(held);
        });
        move || weak.strong_count() > 0
    }

    /// A stream that is answered at once. Whether it was.
    fn answers(streams: &Streams) -> impl Fn() -> bool + use<> {
        let answered = Arc::new(AtomicBool::new(false));
        let sets = Arc::clone(&answered);
        streams.execute(async move { sets.store(true, Ordering::Relaxed) });
        move || answered.load(Ordering::Relaxed)
    }

    #[tokio::test]
    async fn what_is_answered_at_once_is_answered_and_nothing_waits_on_a_connection_that_has_to_leave() {
        let connections = Connections::new(10, 10, vec![]);
        let place = connections.admit(Some("192.0.2.1".parse().unwrap())).await.unwrap();
        let streams = Streams::of(place.standing());
        let (before, answered) = (waits(&streams), answers(&streams));
        assert!(streams.begin());
        assert!(before() && answered());
        assert!(connections.displace());
        let (after, answered) = (waits(&streams), answers(&streams));
        assert!(streams.begin());
        assert!(answered(), "whoever is told to leave gets what there is");
        assert!(!after(), "it is kept");
        let many: Vec<_> = (0..100).map(|_| answers(&streams)).collect();
        assert!(streams.begin());
        assert_eq!(many.iter().filter(|answered| answered()).count(), LAST);
        assert!(before(), "what has begun goes with its connection");
        assert!(!streams.begin(), "there is nothing more");
    }
}
