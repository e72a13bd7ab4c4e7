//! Where to listen: `ADDR:PORT` or `https://…` for TLS, `http://…` for plain HTTP, `unix:/path` for a plain socket.
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

/// An address to listen on, with the transport spoken there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// HTTPS on a TCP port.
    Tls(SocketAddr),
    /// Plain HTTP on a TCP port.
    Plain(SocketAddr),
    /// Plain HTTP on a Unix socket.
    Unix(PathBuf),
}

/// The text is not an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not an address: write 127.0.0.1:8443, https://[::1]:8443, http://127.0.0.1:8080 or unix:/run/countermark.sock"
)]
pub struct NotAnAddress;

impl Address {
    /// Reads an address; `ADDR:PORT` without a scheme means TLS.
    pub fn parse(text: &str) -> Result<Self, NotAnAddress> {
        Self::with_default(text, Self::Tls)
    }

    /// Reads an address; `ADDR:PORT` without a scheme means plain HTTP (the operations listener).
    pub fn parse_plain(text: &str) -> Result<Self, NotAnAddress> {
        Self::with_default(text, Self::Plain)
    }

    fn with_default(text: &str, default: fn(SocketAddr) -> Self) -> Result<Self, NotAnAddress> {
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.starts_with('/') && !path.contains('\0') {
                Ok(Self::Unix(path.into()))
            } else {
                Err(NotAnAddress)
            };
        }
        let (make, rest): (fn(SocketAddr) -> Self, &str) = if let Some(rest) = text.strip_prefix("https://") {
            (Self::Tls, rest.strip_suffix('/').unwrap_or(rest))
        } else if let Some(rest) = text.strip_prefix("http://") {
            (Self::Plain, rest.strip_suffix('/').unwrap_or(rest))
        } else {
            (default, text)
        };
        // The one name that needs no resolver, and the one people type.
        if let Some(port) = rest.strip_prefix("localhost:") {
            let port: u16 = port.parse().map_err(|_| NotAnAddress)?;
            return Ok(make(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)));
        }
        rest.parse().map(make).map_err(|_| NotAnAddress)
    }

    /// Whether only this machine can reach it: a loopback address or a Unix socket.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tls(address) | Self::Plain(address) => address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => true,
        }
    }

    /// The TCP address, if it is one.
    pub fn socket_address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tls(address) | Self::Plain(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

impl FromStr for Address {
    type Err = NotAnAddress;
    fn from_str(text: &str) -> Result<Self, NotAnAddress> {
        Self::parse(text)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tls(address) => write!(f, "https://{address}"),
            Self::Plain(address) => write!(f, "http://{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_scheme_speaks_tls_or_plain_by_its_place() {
        assert_eq!(Address::parse("127.0.0.1:8443").unwrap().to_string(), "https://127.0.0.1:8443");
        assert_eq!(Address::parse_plain("127.0.0.1:9443").unwrap().to_string(), "http://127.0.0.1:9443");
        assert_eq!(Address::parse("[::1]:0").unwrap().to_string(), "https://[::1]:0");
        assert_eq!(Address::parse("localhost:1").unwrap().to_string(), "https://127.0.0.1:1");
    }

    #[test]
    fn a_scheme_says_what_is_spoken() {
        for text in ["https://10.0.0.1:443", "http://[::]:80", "unix:/run/countermark.sock"] {
            assert_eq!(Address::parse(text).unwrap().to_string(), text);
            assert_eq!(Address::parse_plain(text).unwrap().to_string(), text);
        }
        assert_eq!(Address::parse("http://127.0.0.1:80/").unwrap().to_string(), "http://127.0.0.1:80");
    }

    #[test]
    fn anything_else_is_not_an_address() {
        for text in [
            "",
            "8443",
            ":8443",
            "example.com:8443",
            "127.0.0.1",
            "127.0.0.1:65536",
            "ftp://127.0.0.1:1",
            "unix:run",
            "unix:",
            "https://127.0.0.1:1/path",
            "https://",
            "localhost:",
            "localhost:x",
        ] {
            assert_eq!(Address::parse(text), Err(NotAnAddress), "{text}");
        }
    }

    #[test]
    fn only_loopback_and_unix_sockets_are_local() {
        for (text, local) in [
            ("127.8.0.1:1", true),
            ("[::1]:1", true),
            ("unix:/s", true),
            ("[::ffff:127.0.0.1]:1", true),
            ("0.0.0.0:1", false),
            ("[::]:1", false),
            ("192.0.2.1:1", false),
        ] {
            assert_eq!(Address::parse(text).unwrap().is_local(), local, "{text}");
        }
    }
}
