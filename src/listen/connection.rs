//! One connection: the handshake, the version of HTTP, the requests.
use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::CONTENT_LENGTH;
use hyper::server::conn::{http1, http2};
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::arrival::{Answers, Arrival, HeadTooLarge, Origin, Peer, Transport, Work};
use super::certificates::{ALPN_HTTP2, TlsContext};
use super::places::Place;
use super::progress::{CountedBody, Progress, Watched};
use super::socket::Accepted;
use super::streams::{Streams, Together};
use crate::config::Limits;

/// What all connections of a listener share.
pub(super) struct Shared<S> {
    pub(super) service: S,
    pub(super) limits: Limits,
    pub(super) tls: Option<Arc<TlsContext>>,
    pub(super) listener: Arc<str>,
    /// Finish what has begun.
    pub(super) shutdown: CancellationToken,
    /// The time for that is over.
    pub(super) abort: CancellationToken,
    /// Requests, of which some go on without their connection.
    pub(super) works: TaskTracker,
}

pub(super) async fn run<S>(shared: Arc<Shared<S>>, accepted: Accepted, place: Place)
where
    S: Answers,
{
    let listener = Arc::clone(&shared.listener);
    let work = async {
        match accepted {
            Accepted::Unix(stream) => {
                let peer = Peer { address: None, transport: Transport::Unix, listener, server_name: None };
                http(&shared, &place, stream, peer, false).await;
            }
            Accepted::Tcp(stream, address) => match &shared.tls {
                None => {
                    let peer =
                        Peer { address: Some(address), transport: Transport::Plain, listener, server_name: None };
                    http(&shared, &place, stream, peer, false).await;
                }
                Some(tls) => {
                    let Some(stream) = handshake(tls, stream, shared.limits.handshake_timeout, &shared.shutdown).await
                    else {
                        return;
                    };
                    let session = stream.get_ref().1;
                    let http2 = session.alpn_protocol() == Some(ALPN_HTTP2);
                    let server_name = session.server_name().map(Arc::from);
                    let peer = Peer { address: Some(address), transport: Transport::Tls, listener, server_name };
                    http(&shared, &place, stream, peer, http2).await;
                }
            },
        }
    };
    tokio::select! {
        // Whoever has to leave does nothing else first.
        biased;
        () = place.displaced() => tracing::debug!("a connection makes room for another"),
        () = shared.abort.cancelled() => {}
        () = work => {}
    }
}

/// How long a request that is on its way may take to arrive once we are to stop.
const LAST_HEAD: Duration = Duration::from_secs(1);

async fn handshake(
    tls: &TlsContext,
    stream: TcpStream,
    limit: Duration,
    shutdown: &CancellationToken,
) -> Option<TlsStream<TcpStream>> {
    let accepting = TlsAcceptor::from(tls.server_config()).accept(stream);
    tokio::select! {
        done = tokio::time::timeout(limit, accepting) => match done {
            Ok(Ok(stream)) => Some(stream),
            Ok(Err(error)) => {
                tracing::debug!(%error, "TLS handshake failed");
                None
            }
            Err(_) => {
                tracing::debug!("TLS handshake took too long");
                None
            }
        },
        // Nothing has been asked yet, so nothing is lost.
        () = shutdown.cancelled() => None,
    }
}

async fn http<S, IO>(shared: &Arc<Shared<S>>, place: &Place, io: IO, peer: Peer, http2: bool)
where
    S: Answers,
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = &shared.limits;
    let progress = Progress::new();
    place.watch(&progress);
    let io = TokioIo::new(Watched::new(io, &progress));
    let service = {
        let (shared, progress) = (Arc::clone(shared), Arc::clone(&progress));
        let standing = place.standing();
        let origin = Arc::new(Origin { peer, standing: Some(standing.clone()) });
        let most = HeadTooLarge { bytes: limits.head_bytes, fields: limits.head_fields };
        hyper::service::service_fn(move |request: Request<Incoming>| {
            let guard = progress.request();
            let under_way = standing.request(progress.requests());
            let work = Work(Arc::new((guard, under_way, shared.works.token())));
            let is_too_large = head_length(&request) > most.bytes || request.headers().len() > most.fields;
            let arrival = Arrival {
                origin: Arc::clone(&origin),
                _work: Some(work.clone()),
                too_large: is_too_large.then_some(most),
            };
            let answer = shared.service.answer(request, arrival);
            async move {
                let mut answer = answer.await;
                if answer.status() == StatusCode::NOT_MODIFIED {
                    // The framework says how long the missing body is. A cache takes it for the length of what it has:
                    // only that may stand here (RFC 9110, section 8.6).
                    answer.headers_mut().remove(CONTENT_LENGTH);
                }
                Ok::<_, Infallible>(answer.map(|body| CountedBody { body, _work: work }))
            }
        })
    };
    if http2 {
        let streams = Streams::of(place.standing());
        let connection = http2_builder(limits, &streams).serve_connection(io, service);
        let together = Together::new(connection, streams);
        let finish = together.by(http2::Connection::graceful_shutdown);
        drive(together, finish, shared, &progress, None).await;
    } else {
        let connection = http1_builder(limits).serve_connection(io, service);
        let head = Some(limits.head_timeout);
        drive(connection, http1::Connection::graceful_shutdown, shared, &progress, head).await;
    }
}

/// Whoever is a little over our own limit is answered by us, with a reason; only beyond this is it hyper that closes the
/// connection, or answers with a bare status.
const HEAD_SURPLUS: usize = 16 * 1024;

fn http1_builder(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // A head that takes too long, as an idle connection, is `Progress`' affair: a timer of hyper's own would be set anew for
        // each request. Half a head that came with the request before has the time of an idle connection.
        .header_read_timeout(None)
        .max_headers(limits.head_fields * 2)
        .max_buf_size(limits.head_bytes + HEAD_SURPLUS);
    builder
}

/// Nothing is left to defaults, which hyper does not hold stable: what a peer may make us keep or do is stated here. Against
/// CONTINUATION floods h2 itself holds the frames of a head to what its size needs; pings and settings are answered one at
/// a time, and nothing more is read meanwhile.
fn http2_builder(limits: &Limits, streams: &Streams) -> http2::Builder<Streams> {
    let head_bytes = limits.head_bytes + HEAD_SURPLUS;
    let mut builder = http2::Builder::new(streams.clone());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.requests_per_connection)
        // In the count of RFC 9113, section 6.5.2: 32 bytes more for each field.
        .max_header_list_size(u32::try_from(head_bytes).unwrap_or(u32::MAX))
        // What the peer's compressor may have us remember: the initial value, and no more.
        .header_table_size(4096)
        // Streams that were reset before we looked at them (CVE-2023-44487): an honest client does that now and then.
        .max_pending_accept_reset_streams(20)
        // Streams that we had to reset because of what the peer sent (CVE-2025-8671): an honest client has none.
        .max_local_error_reset_streams(100)
        // What a peer may send before somebody reads it: a whole body for each stream, a few of them for all together.
        .initial_stream_window_size(64 * 1024)
        .initial_connection_window_size(256 * 1024)
        .adaptive_window(false)
        .max_frame_size(16 * 1024)
        // What we keep for a peer that does not read, for each stream.
        .max_send_buf_size(64 * 1024)
        // Finds a dead peer in the middle of a request; a live one that does nothing is idle all the same.
        .keep_alive_interval(limits.idle_timeout / 2)
        .keep_alive_timeout(limits.idle_timeout / 2);
    builder
}

/// As it came in HTTP/1.1, or would have.
fn head_length(request: &Request<Incoming>) -> usize {
    let uri = request.uri().path_and_query().map_or(0, |text| text.as_str().len());
    let fields = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len());
    request.method().as_str().len() + uri + fields.sum::<usize>()
}

/// Runs a connection until it ends, stalls, or is told to finish.
async fn drive<S, C>(
    connection: C,
    finish: impl FnOnce(Pin<&mut C>),
    shared: &Shared<S>,
    progress: &Progress,
    head: Option<Duration>,
) where
    C: Future<Output = hyper::Result<()>>,
{
    let mut connection = pin!(connection);
    let mut stalled = pin!(progress.stalled(head, shared.limits.idle_timeout));
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        stalled = stalled.as_mut() => {
            tracing::debug!(?stalled, "connection dropped");
            return;
        }
        () = shared.shutdown.cancelled() => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            finish(connection.as_mut());
            tokio::select! {
                ended = connection => ended,
                _ = stalled => return,
                // Half a head, or a peer that does not answer our goodbye: nothing that has begun is lost.
                () = progress.unused(LAST_HEAD) => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}
