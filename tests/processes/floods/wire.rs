//! Connections as an attacker makes them: bytes, as he likes.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;

use crate::server::Server;

/// How long whoever is quiet stays.
pub const FOREVER: Duration = Duration::from_secs(3600);

pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}
pub type Connection = Box<dyn Stream>;

/// Who knows where the server is.
#[derive(Clone)]
pub struct Attacker {
    tls: SocketAddr,
    plain: SocketAddr,
    from: Ipv4Addr,
    http1: Arc<rustls::ClientConfig>,
    http2: Arc<rustls::ClientConfig>,
    /// Where he says, once, that he has done it.
    begun: Option<Arc<Semaphore>>,
    said: Arc<AtomicBool>,
}

impl Attacker {
    pub fn of(server: &Server) -> Self {
        let local = |number| SocketAddr::from((Ipv4Addr::LOCALHOST, server.port(number)));
        let config = |protocol: &[u8]| {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(CertificateDer::from_pem_file(server.ca()).unwrap()).unwrap();
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let mut config = rustls::ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(roots)
                .with_no_client_auth();
            config.alpn_protocols = vec![protocol.to_vec()];
            Arc::new(config)
        };
        let (http1, http2) = (config(b"http/1.1"), config(b"h2"));
        Self {
            tls: local(0),
            plain: local(1),
            from: Ipv4Addr::LOCALHOST,
            http1,
            http2,
            begun: None,
            said: Arc::default(),
        }
    }

    /// The same from another address.
    pub fn at(&self, from: [u8; 4]) -> Self {
        Self { from: from.into(), ..self.clone() }
    }

    pub(super) fn begins(self: &Arc<Self>, begun: &Arc<Semaphore>) -> Arc<Self> {
        Arc::new(Self { begun: Some(Arc::clone(begun)), said: Arc::default(), ..(**self).clone() })
    }

    /// Counts him among those whose attack is on.
    pub fn is_there(&self) {
        if let Some(begun) = self.begun.as_ref().filter(|_| !self.said.swap(true, Ordering::Relaxed)) {
            begun.add_permits(1);
        }
    }

    async fn connect(&self, to: SocketAddr) -> io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        // Not without need: a port that is chosen before the other end is known can't be one that was used shortly before.
        if self.from != Ipv4Addr::LOCALHOST {
            socket.bind((self.from, 0).into())?;
        }
        socket.connect(to).await
    }

    /// To the listener with TLS, without speaking it.
    pub async fn before_tls(&self) -> io::Result<TcpStream> {
        self.connect(self.tls).await
    }

    pub async fn plain(&self) -> io::Result<TcpStream> {
        self.connect(self.plain).await
    }

    pub async fn http1(&self) -> io::Result<Connection> {
        self.over_tls(&self.http1).await
    }

    /// HTTP/2, with its preface and whatever settings.
    pub async fn http2(&self, settings: &[u8]) -> io::Result<Connection> {
        let mut stream = self.over_tls(&self.http2).await?;
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await?;
        stream.write_all(&super::frames::frame(super::frames::SETTINGS, 0, 0, settings)).await?;
        Ok(stream)
    }

    async fn over_tls(&self, config: &Arc<rustls::ClientConfig>) -> io::Result<Connection> {
        let stream = self.connect(self.tls).await?;
        let name = ServerName::try_from("localhost").unwrap();
        Ok(Box::new(tokio_rustls::TlsConnector::from(Arc::clone(config)).connect(name, stream).await?))
    }

    /// Asks about a token on a new connection; the status.
    pub async fn verifies(&self, token: &str) -> io::Result<u16> {
        verifies_on(&mut self.http1().await?, token).await
    }
}

/// Asks about a token; the status. The connection can be used again.
pub async fn verifies_on(stream: &mut Connection, token: &str) -> io::Result<u16> {
    let head = format!("GET /verify HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    stream.flush().await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await?);
    }
    let text = String::from_utf8_lossy(&answer);
    let length = text.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    stream.read_exact(&mut vec![0; length.unwrap_or(0)]).await?;
    let status = text.split_whitespace().nth(1).and_then(|text| text.parse().ok());
    status.ok_or_else(|| io::Error::other("no status"))
}

/// Stays, reading whatever comes, until the other side ends it.
pub async fn until_closed(mut stream: impl AsyncRead + Unpin) -> io::Result<()> {
    let mut bytes = [0; 4096];
    while stream.read(&mut bytes).await? > 0 {}
    Ok(())
}
