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
    /// Nothing begins on a connection that has to leave: a hundred streams in one packet are often what was too many, and before
    /// its task is asked again, dozens of others may have come with as many.
    fn begin(&self) -> bool {
        let accepted = std::mem::take(&mut *self.accepted.lock().unwrap_or_else(PoisonError::into_inner));
        if accepted.is_empty() || self.standing.leaves() {
            return false;
        }
        for mut stream in accepted {
            if stream.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
                tokio::spawn(stream);
            }
        }
        true
    }
}

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
