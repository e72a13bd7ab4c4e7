//! Who holds a connection without using it: progress is counted in bytes, either way.
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::arrival::Work;

const NOTHING: u64 = u64::MAX;

/// What happened on a connection, and when, in milliseconds since it began.
pub(super) struct Progress {
    began: Instant,
    last: AtomicU64,
    /// When the first byte of an unfinished request head came; `NOTHING` between requests and inside them.
    head: AtomicU64,
    requests: AtomicUsize,
    /// When the last of them ended.
    used: AtomicU64,
}

/// Why a connection is closed from our side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stalled {
    Head,
    Idle,
}

impl Progress {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            began: Instant::now(),
            last: AtomicU64::new(0),
            // Who connects and says nothing is late with a head too.
            head: AtomicU64::new(0),
            requests: AtomicUsize::new(0),
            used: AtomicU64::new(0),
        })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(NOTHING - 1)
    }

    fn moved(&self, received: bool) {
        let now = self.now();
        self.last.store(now, Ordering::Relaxed);
        if received && self.requests.load(Ordering::Relaxed) == 0 {
            // Only the first byte of a head starts its clock: one byte a second must not prolong it.
            let _ = self.head.compare_exchange(NOTHING, now, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// A head is complete; the request lasts until the guard is dropped.
    pub(super) fn request(self: &Arc<Self>) -> RequestGuard {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.head.store(NOTHING, Ordering::Relaxed);
        RequestGuard(Arc::clone(self))
    }

    /// How many requests are under way.
    pub(super) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    fn at(&self, moment: u64) -> Instant {
        self.began + Duration::from_millis(moment)
    }

    /// Since when no request has been under way; `None` while one is.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let used = self.used.load(Ordering::Relaxed);
        (self.requests() == 0).then(|| self.at(used))
    }

    /// Returns when nothing has moved for `idle`, or a head has taken longer than `head`. Without a limit for heads (frames of
    /// HTTP/2 don't tell where one begins) bytes alone are no use of a connection: a request has to come within `idle`.
    pub(super) async fn stalled(&self, head: Option<Duration>, idle: Duration) -> Stalled {
        loop {
            let unmoved_at = self.at(self.last.load(Ordering::Relaxed)) + idle;
            let unused_at = self.idle_since().filter(|_| head.is_none()).map(|since| since + idle);
            let idle_at = unused_at.map_or(unmoved_at, |at| at.min(unmoved_at));
            let head_began = self.head.load(Ordering::Relaxed);
            let head_at = head.filter(|_| head_began != NOTHING).map(|limit| self.at(head_began) + limit);
            let now = Instant::now();
            if head_at.is_some_and(|at| at <= now) {
                return Stalled::Head;
            }
            if idle_at <= now {
                return Stalled::Idle;
            }
            // A head that begins while this sleeps is looked at no later than its own limit from now.
            let look_again = [Some(idle_at), head_at, head.map(|limit| now + limit)].into_iter().flatten().min();
            tokio::time::sleep_until(look_again.unwrap_or(idle_at)).await;
        }
    }

    /// Returns when no request has been under way for `grace` from now on.
    pub(super) async fn unused(&self, grace: Duration) {
        let from = Instant::now();
        loop {
            let now = Instant::now();
            let end = self.idle_since().map(|since| since.max(from) + grace);
            if end.is_some_and(|end| end <= now) {
                return;
            }
            tokio::time::sleep_until(end.unwrap_or(now + grace)).await;
        }
    }
}

/// A request that is being answered.
pub(super) struct RequestGuard(Arc<Progress>);

impl Drop for RequestGuard {
    fn drop(&mut self) {
        self.0.used.store(self.0.now(), Ordering::Relaxed);
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A body that keeps its request going until it has been sent.
pub(super) struct CountedBody {
    pub(super) body: Body,
    pub(super) _work: Work,
}

impl HttpBody for CountedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A stream whose bytes are counted as progress, and of which no more is read at once than is fair to others.
pub(super) struct Watched<IO> {
    io: IO,
    progress: Arc<Progress>,
    read: usize,
}

/// A connection that has always more to say would be read on and on: thousands of pings are a few kilobytes, and tens of
/// milliseconds in which its thread does nothing else. After so much the others have their turn.
const TURN: usize = 16 * 1024;

impl<IO> Watched<IO> {
    pub(super) fn new(io: IO, progress: &Arc<Progress>) -> Self {
        Self { io, progress: Arc::clone(progress), read: 0 }
    }
}

// RFC 9113, section 6.7: length 8, type 6. Pings, ours and the peer's, keep no connection alive: they are no use of it.
fn is_ping(bytes: &[u8]) -> bool {
    bytes.len() == 17 && bytes.starts_with(&[0, 0, 8, 6])
}

impl<IO: AsyncRead + Unpin> AsyncRead for Watched<IO> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.read >= TURN {
            self.read = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.io).poll_read(cx, buffer);
        let read = buffer.filled().get(before..).unwrap_or_default();
        self.read = if result.is_pending() { 0 } else { self.read + read.len() };
        if !read.is_empty() && !is_ping(read) {
            self.progress.moved(true);
        }
        result
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Watched<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write(cx, bytes);
        if matches!(result, Poll::Ready(Ok(written)) if written > 0) && !is_ping(bytes) {
            self.progress.moved(false);
        }
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        if matches!(result, Poll::Ready(Ok(written)) if written > 0) && !matches!(slices, [one] if is_ping(one)) {
            self.progress.moved(false);
        }
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn a_stream_without_end_is_read_in_turns() {
        let mut watched = Watched::new(tokio::io::repeat(0), &Progress::new());
        for _ in 0..3 {
            // In one poll of the task: as much as there is, until it says that it is somebody else's turn.
            let read = poll_fn(|cx| {
                let mut bytes = [0; 4096];
                let mut read = 0;
                while read < 10 * TURN {
                    let mut buffer = ReadBuf::new(&mut bytes);
                    match Pin::new(&mut watched).poll_read(cx, &mut buffer) {
                        Poll::Ready(result) => result.unwrap(),
                        Poll::Pending => break,
                    }
                    read += buffer.filled().len();
                }
                Poll::Ready(read)
            });
            assert_eq!(read.await, TURN);
        }
        // And then it is read on.
        tokio::time::timeout(
            Duration::from_secs(10),
            tokio::io::AsyncReadExt::read_exact(&mut watched, &mut [0; 3 * TURN]),
        )
        .await
        .expect("nobody is woken")
        .unwrap();
    }
}
