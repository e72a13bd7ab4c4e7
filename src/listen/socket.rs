//! Sockets that are listened on.
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};

use crate::config::Address;

// Who is in the socket's group may talk to it: a proxy under another user needs that. Its directory can forbid more.
const SOCKET_MODE: u32 = 0o660;

// Connections that the kernel holds until they are accepted; Linux takes as many as net.core.somaxconn (4,096). Where it is
// full a client waits a second before it tries again, so a burst should fit in.
const QUEUE: u32 = 4096;

/// Why an address can't be listened on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// Most often: the port is taken, or below 1024 without the right to it.
    #[error("can't listen on {address}: {source}")]
    Bind {
        /// The address.
        address: Address,
        /// What the system said.
        source: io::Error,
    },
    /// Another process answers on that Unix socket.
    #[error("can't listen on unix:{path}: another process answers there")]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// There is something else at the path of a Unix socket; it is left alone.
    #[error("can't listen on unix:{path}: there is something that is not a socket; choose another path or remove it")]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// An address with TLS was to be served without a certificate.
    #[error("{address} is to speak TLS, and there is no certificate")]
    NoCertificate {
        /// The address.
        address: Address,
    },
}

/// An open listener.
#[derive(Debug)]
pub struct Listener {
    address: Address,
    socket: Socket,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

pub(super) enum Accepted {
    Tcp(TcpStream, IpAddr),
    Unix(UnixStream),
}

impl Listener {
    /// Opens the address. Port 0 takes a free port; a Unix socket that nobody answers on any more is replaced.
    pub async fn bind(address: &Address) -> Result<Self, ListenError> {
        let failed = |source| ListenError::Bind { address: address.clone(), source };
        match address {
            Address::Tls(wanted) | Address::Plain(wanted) => {
                let socket = listen(*wanted).map_err(failed)?;
                let bound = socket.local_addr().map_err(failed)?;
                let address = match address {
                    Address::Tls(_) => Address::Tls(bound),
                    _ => Address::Plain(bound),
                };
                Ok(Self { address, socket: Socket::Tcp(socket) })
            }
            Address::Unix(path) => {
                remove_stale(path).await.map_err(|error| match error {
                    Stale::InUse => ListenError::InUse { path: path.clone() },
                    Stale::NotASocket => ListenError::NotASocket { path: path.clone() },
                    Stale::Io(source) => failed(source),
                })?;
                let socket = UnixListener::bind(path).map_err(failed)?;
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(SOCKET_MODE)).map_err(failed)?;
                Ok(Self { address: address.clone(), socket: Socket::Unix(socket) })
            }
        }
    }

    /// The address in use, with the real port.
    pub fn address(&self) -> &Address {
        &self.address
    }

    pub(super) async fn accept(&self) -> io::Result<Accepted> {
        match &self.socket {
            Socket::Tcp(socket) => {
                let (stream, peer) = socket.accept().await?;
                // Answers are small and written whole: waiting for more only delays them.
                stream.set_nodelay(true)?;
                // An IPv4 client of a dual-stack socket is that IPv4 address, or no list of networks would match it.
                Ok(Accepted::Tcp(stream, peer.ip().to_canonical()))
            }
            Socket::Unix(socket) => Ok(Accepted::Unix(socket.accept().await?.0)),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Address::Unix(path) = &self.address {
            // It is gone already, or stays as a stale one that the next start removes.
            let _ = std::fs::remove_file(path);
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A restart must not wait until the connections of the last run are forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(QUEUE)
}

enum Stale {
    InUse,
    NotASocket,
    Io(io::Error),
}

async fn remove_stale(path: &Path) -> Result<(), Stale> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Stale::Io(error)),
        Ok(metadata) if !metadata.file_type().is_socket() => return Err(Stale::NotASocket),
        Ok(_) => {}
    }
    match UnixStream::connect(path).await {
        Ok(_) => Err(Stale::InUse),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path).map_err(Stale::Io),
        // A full backlog, or no right to connect: somebody is there.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(Stale::InUse),
        Err(error) => Err(Stale::Io(error)),
    }
}
