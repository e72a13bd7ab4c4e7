mod limits;

use std::convert::Infallible;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Extension;
use axum::routing::get;
use hyper::Request;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::config::{Address, Config, Limits, Overrides, Tls};

struct Server {
    address: Address,
    connections: Arc<Connections>,
    shutdown: CancellationToken,
    ended: tokio::task::JoinHandle<Result<(), ListenError>>,
    /// Lets `/wait` answer.
    go: Arc<Notify>,
    /// Says that `/wait` has been reached.
    reached: Arc<Notify>,
    tls: Option<(Arc<TlsContext>, tempfile::TempDir)>,
}

fn limits(change: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Config::load(&Overrides::default(), std::iter::empty()).unwrap().limits;
    change(&mut limits);
    limits
}

async fn start(address: &str, limits: Limits) -> Server {
    let listener = Listener::bind(&Address::parse(address).unwrap()).await.unwrap();
    let address = listener.address().clone();
    let (go, reached) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let wait = {
        let (go, reached) = (Arc::clone(&go), Arc::clone(&reached));
        get(move || async move {
            reached.notify_one();
            go.notified().await;
            "waited"
        })
    };
    let goes_on = {
        let (go, reached) = (Arc::clone(&go), Arc::clone(&reached));
        get(move |Extension(arrival): Extension<Arrival>| async move {
            tokio::spawn(async move {
                let _arrival = arrival;
                reached.notify_one();
                go.notified().await;
            })
            .await
            .unwrap();
        })
    };
    let service = Router::new()
        .route("/", get(|Extension(arrival): Extension<Arrival>| async move { format!("{:?}", arrival.peer()) }))
        .route("/prove", get(|Extension(arrival): Extension<Arrival>| async move { arrival.prove() }))
        .route(
            "/head",
            get(|Extension(arrival): Extension<Arrival>| async move {
                if arrival.too_large().is_some() { "too large" } else { "fits" }
            }),
        )
        .route("/wait", wait)
        .route("/goes-on", goes_on)
        .route("/endless", get(|| async { Body::from_stream(ticks(Duration::ZERO, Bytes::from(vec![b'x'; 65_536]))) }))
        .route(
            "/ticks",
            get(|| async { Body::from_stream(ticks(Duration::from_millis(50), Bytes::from_static(b":\n\n"))) }),
        );
    let tls = matches!(address, Address::Tls(_)).then(|| {
        let directory = tempfile::tempdir().unwrap();
        (TlsContext::new(&Tls::default(), directory.path()).unwrap(), directory)
    });
    let connections = Connections::new(limits.connections, limits.requests, vec![]);
    let shutdown = CancellationToken::new();
    let context = tls.as_ref().map(|(context, _)| Arc::clone(context));
    let ended = tokio::spawn(serve(listener, service, limits, context, Arc::clone(&connections), shutdown.clone()));
    Server { address, connections, shutdown, ended, go, reached, tls }
}

fn ticks(every: Duration, bytes: Bytes) -> impl futures_util::Stream<Item = Result<Bytes, Infallible>> {
    futures_util::stream::unfold((), move |()| {
        let bytes = bytes.clone();
        async move {
            tokio::time::sleep(every).await;
            Some((Ok(bytes), ()))
        }
    })
}

impl Server {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address.socket_address().unwrap()).await.unwrap()
    }

    async fn connect_tls(&self, alpn: &[u8]) -> tokio_rustls::client::TlsStream<TcpStream> {
        let (context, _) = self.tls.as_ref().unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(context.ca_file().unwrap()).unwrap()).unwrap();
        let mut config = rustls::ClientConfig::builder_with_provider(certificates::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = if alpn.is_empty() { vec![] } else { vec![alpn.to_vec()] };
        let name = ServerName::try_from("localhost").unwrap();
        tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, self.connect().await).await.unwrap()
    }

    async fn http2(&self) -> (SendRequest<String>, tokio::task::JoinHandle<hyper::Result<()>>) {
        let stream = TokioIo::new(self.connect_tls(b"h2").await);
        let (send, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
        (send, tokio::spawn(connection))
    }

    async fn stop(self) {
        self.shutdown.cancel();
        let ended = tokio::time::timeout(Duration::from_secs(20), self.ended).await;
        ended.expect("does not end").unwrap().unwrap();
    }

    async fn until_open(&self, count: usize) {
        eventually(|| self.connections.open() == count).await;
    }
}

async fn eventually(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn ask(stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin), path: &str) -> String {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes()).await.unwrap();
    answer(stream).await
}

/// One answer that has a content-length.
async fn answer(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut text = String::new();
    loop {
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
            if body.len() >= length.parse().unwrap() {
                return text;
            }
        }
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer).await.unwrap();
        assert!(read > 0, "closed after {text:?}");
        text.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
    }
}

async fn is_closed(stream: &mut (impl AsyncReadExt + Unpin)) -> bool {
    let mut rest = Vec::new();
    // A reset is as closed as an end.
    tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut rest)).await.is_ok()
}

#[tokio::test]
async fn a_plain_request_knows_its_peer_and_the_real_port() {
    let server = start("http://127.0.0.1:0", limits(|_| {})).await;
    assert_ne!(server.address.socket_address().unwrap().port(), 0);
    let mut stream = server.connect().await;
    for _ in 0..2 {
        let answer = ask(&mut stream, "/").await;
        assert!(answer.contains("address: Some(127.0.0.1), transport: Plain"), "{answer}");
        assert!(answer.contains(&server.address.to_string()), "{answer}");
    }
    server.stop().await;
}

#[tokio::test]
async fn tls_speaks_http2_to_those_who_ask_for_it_and_http1_to_all_others() {
    let server = start("https://127.0.0.1:0", limits(|_| {})).await;
    for alpn in [&b""[..], b"http/1.1"] {
        let answer = ask(&mut server.connect_tls(alpn).await, "/").await;
        assert!(answer.contains("transport: Tls") && answer.contains("server_name: Some(\"localhost\")"), "{answer}");
    }
    let (mut send, _connection) = server.http2().await;
    let answer = send.send_request(Request::get("https://localhost/").body(String::new()).unwrap()).await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.version()), (200, hyper::Version::HTTP_2));
    drop(send);
    server.stop().await;
}

#[tokio::test]
async fn a_tls_address_without_a_certificate_is_not_served() {
    let listener = Listener::bind(&Address::parse("https://127.0.0.1:0").unwrap()).await.unwrap();
    let ended =
        serve(listener, Router::new(), limits(|_| {}), None, Connections::new(1, 1, vec![]), CancellationToken::new())
            .await;
    assert!(matches!(ended, Err(ListenError::NoCertificate { .. })));
}

/// Frames that mean something, and answers to pings, but no request.
#[tokio::test]
async fn on_shutdown_requests_finish_and_idle_connections_close() {
    let server = start("http://127.0.0.1:0", limits(|_| {})).await;
    let mut idle = server.connect().await;
    ask(&mut idle, "/").await;
    let mut busy = server.connect().await;
    busy.write_all(b"GET /wait HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    server.reached.notified().await;
    server.shutdown.cancel();
    assert!(is_closed(&mut idle).await);
    let address = server.address.socket_address().unwrap();
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    server.go.notify_one();
    assert!(answer(&mut busy).await.ends_with("waited"));
    server.stop().await;
}

#[tokio::test]
async fn on_shutdown_http2_requests_finish() {
    let server = start("https://127.0.0.1:0", limits(|_| {})).await;
    let (mut send, connection) = server.http2().await;
    let asked = send.send_request(Request::get("https://localhost/wait").body(String::new()).unwrap());
    server.reached.notified().await;
    server.shutdown.cancel();
    server.go.notify_one();
    assert_eq!(asked.await.unwrap().status(), 200);
    drop(send);
    connection.await.unwrap().unwrap();
    server.stop().await;
}

#[tokio::test]
async fn on_shutdown_half_a_head_and_a_silent_http2_peer_are_not_waited_for() {
    let server = start("https://127.0.0.1:0", limits(|_| {})).await;
    let mut half = server.connect_tls(b"http/1.1").await;
    half.write_all(b"GET / HTTP/1.1\r\nhost:").await.unwrap();
    let mut silent = server.connect_tls(b"h2").await;
    silent.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    // Its settings tell that it has taken over.
    silent.read_exact(&mut [0; 9]).await.unwrap();
    server.until_open(2).await;
    let began = Instant::now();
    server.stop().await;
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
}

#[tokio::test]
async fn what_does_not_finish_in_time_is_dropped() {
    let server = start("http://127.0.0.1:0", limits(|limits| limits.drain_timeout = Duration::from_millis(100))).await;
    let mut busy = server.connect().await;
    busy.write_all(b"GET /wait HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    server.reached.notified().await;
    let connections = Arc::clone(&server.connections);
    server.stop().await;
    assert_eq!(connections.open(), 0);
    assert!(is_closed(&mut busy).await);
}

#[tokio::test]
async fn a_unix_socket_is_served_to_its_group_and_removed_at_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let text = format!("unix:{}", path.display());
    let server = start(&text, limits(|_| {})).await;
    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o660);
    let answer = ask(&mut UnixStream::connect(&path).await.unwrap(), "/").await;
    assert!(answer.contains("address: None, transport: Unix"), "{answer}");
    let second = Listener::bind(&server.address).await;
    assert!(matches!(second, Err(ListenError::InUse { .. })));
    server.stop().await;
    assert!(!path.exists());
}

#[tokio::test]
async fn only_a_dead_socket_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let address = Address::Unix(path.clone());
    // The standard library leaves the file behind, as a killed process does.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    drop(Listener::bind(&address).await.unwrap());
    std::fs::write(&path, "precious").unwrap();
    assert!(matches!(Listener::bind(&address).await, Err(ListenError::NotASocket { .. })));
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
}

#[tokio::test]
async fn the_end_waits_for_a_request_that_goes_on_without_its_client() {
    let mut server = start("http://127.0.0.1:0", limits(|_| ())).await;
    let mut client = server.connect().await;
    client.write_all(b"GET /goes-on HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    server.reached.notified().await;
    drop(client);
    server.shutdown.cancel();
    assert!(tokio::time::timeout(Duration::from_millis(500), &mut server.ended).await.is_err());
    server.go.notify_one();
    tokio::time::timeout(Duration::from_secs(10), server.ended).await.unwrap().unwrap().unwrap();
}
