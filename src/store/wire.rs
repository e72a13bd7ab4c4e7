//! The bytes between us and Redis: the socket, TLS, and how much is taken in before anything of it is an answer.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::url::HostPort;

/// More than all answers of ours that may be under way at once. Whoever sends more without having answered never will.
const MOST: u64 = 64 * 1024 * 1024;

/// Where the other end is, ready to be reached.
#[derive(Clone)]
pub(super) enum Route {
    Socket(std::path::PathBuf),
    Tcp(HostPort),
    Tls { at: HostPort, name: ServerName<'static>, config: Arc<ClientConfig> },
}

/// As it is shown in a log; who gets in, and how, is no part of it.
impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(at) | Self::Tls { at, .. } => at.fmt(f),
        }
    }
}

/// Both directions of it.
pub(super) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

impl Route {
    /// To a server, over TLS where there is a configuration of it. The error says what is not usable.
    pub(super) fn to(at: &HostPort, tls: Option<&Arc<ClientConfig>>) -> Result<Self, String> {
        let at = at.clone();
        Ok(match tls {
            None => Self::Tcp(at),
            Some(config) => {
                let name = ServerName::try_from(at.host.clone()).map_err(|error| format!("{}: {error}", at.host))?;
                Self::Tls { at, name, config: Arc::clone(config) }
            }
        })
    }

    pub(super) async fn open(&self) -> io::Result<Box<dyn Wire>> {
        async fn tcp(at: &HostPort) -> io::Result<TcpStream> {
            let stream = TcpStream::connect((at.host.as_str(), at.port)).await?;
            // Each small command would wait for the last one's ACK.
            stream.set_nodelay(true)?;
            Ok(stream)
        }
        Ok(match self {
            Self::Socket(path) => Box::new(UnixStream::connect(path).await?),
            Self::Tcp(at) => Box::new(tcp(at).await?),
            Self::Tls { at, name, config } => {
                let stream = tcp(at).await?;
                Box::new(TlsConnector::from(Arc::clone(config)).connect(name.clone(), stream).await?)
            }
        })
    }
}

pub(crate) fn client_config(
    ca_pem: Option<&[u8]>,
    client_certificate: Option<(&[u8], &[u8])>,
) -> Result<ClientConfig, String> {
    fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
        let found = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
        found.ok().filter(|found| !found.is_empty()).ok_or_else(|| "no certificate in PEM".to_owned())
    }
    let mut roots = RootCertStore::empty();
    match ca_pem {
        Some(pem) => {
            for certificate in certificates(pem)? {
                roots.add(certificate).map_err(|error| format!("the CA certificate: {error}"))?;
            }
        }
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
    }
    // The provider is given explicitly, so that no other crate's default decides.
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots);
    match client_certificate {
        None => Ok(config.with_no_client_auth()),
        Some((chain, key)) => {
            let key =
                PrivateKeyDer::from_pem_slice(key).map_err(|_| "the client's key is not one in PEM".to_owned())?;
            let chain = certificates(chain).map_err(|error| format!("the client's certificate: {error}"))?;
            config.with_client_auth_cert(chain, key).map_err(|error| format!("the client's certificate: {error}"))
        }
    }
}

/// Counts what all connections of a store have taken in without an answer having come of it.
#[derive(Clone, Default)]
pub(super) struct Intake(Arc<AtomicU64>);

/// The part of one connection in it.
pub(super) struct Share {
    total: Intake,
    mine: AtomicU64,
}

impl Intake {
    pub(super) fn share(&self) -> Arc<Share> {
        Arc::new(Share { total: self.clone(), mine: AtomicU64::new(0) })
    }
}

impl Share {
    /// An answer came.
    pub(super) fn answered(&self) {
        self.total.0.fetch_sub(self.mine.swap(0, Ordering::AcqRel), Ordering::AcqRel);
    }

    /// Whether more may come.
    fn took(&self, bytes: u64) -> bool {
        // The whole first: an answer that is noted in between takes nothing from it that was not added.
        let total = self.total.0.fetch_add(bytes, Ordering::AcqRel) + bytes;
        self.mine.fetch_add(bytes, Ordering::AcqRel);
        total <= MOST
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.answered();
    }
}

/// A wire that ends when too much has come in.
pub(super) struct Bounded {
    pub(super) wire: Box<dyn Wire>,
    pub(super) share: Arc<Share>,
}

impl AsyncRead for Bounded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.wire).poll_read(context, buffer))?;
        let read = u64::try_from(buffer.filled().len() - before).unwrap_or(u64::MAX);
        let may_go_on = self.share.took(read);
        Poll::Ready(if may_go_on { Ok(()) } else { Err(io::Error::other("an answer without an end")) })
    }
}

impl AsyncWrite for Bounded {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.wire).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(intake: &Intake) -> u64 {
        intake.0.load(Ordering::Relaxed)
    }

    #[test]
    fn only_what_no_answer_has_come_of_is_counted_and_for_all_connections_together() {
        let intake = Intake::default();
        let (one, other) = (intake.share(), intake.share());
        assert!(one.took(MOST / 2) && other.took(MOST / 2) && !other.took(1));
        one.answered();
        assert_eq!(taken(&intake), MOST / 2 + 1);
        assert!(one.took(1));
        drop(other);
        assert_eq!(taken(&intake), 1);
    }

    #[test]
    fn an_answer_that_is_noted_while_more_comes_in_takes_nothing_from_the_others() {
        let intake = Intake::default();
        let (one, other) = (intake.share(), intake.share());
        let ended = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) {
                    one.answered();
                }
            });
            let taking = scope.spawn(|| (0..2_000_000).all(|_| one.took(1)));
            let undisturbed = std::iter::from_fn(|| (!taking.is_finished()).then(|| other.took(0))).all(|may| may);
            let took = taking.join();
            ended.store(true, Ordering::Relaxed);
            assert!(took.unwrap() && undisturbed);
        });
        one.answered();
        assert_eq!(taken(&intake), 0);
    }

    #[test]
    fn what_is_wrong_with_an_address_is_said() {
        let wrong = |ca: Option<&[u8]>, client: Option<(&[u8], &[u8])>| client_config(ca, client).err().unwrap();
        assert!(wrong(Some(b"none"), None).contains("no certificate"));
        assert!(wrong(None, Some((b"none", b"none"))).contains("client's key"));
        let tls = Arc::new(client_config(None, None).unwrap());
        let to = |host: &str| Route::to(&HostPort { host: host.to_owned(), port: 6380 }, Some(&tls));
        assert!(to("no host").err().unwrap().contains("no host"));
        assert!(to("localhost").is_ok() && to("::1").is_ok());
    }
}
