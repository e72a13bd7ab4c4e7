//! The address of a server: what may be spoken to, and when two addresses mean the same server.

use std::fmt;

use url::{Host, Url};

use super::answer::Failure;

/// The base URL of a server: `https`, or `http` on a loopback address; no credentials, no query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server(Url);

impl Server {
    /// Reads an address as a user would write it.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let example = "write it like https://auth.example.com or https://127.0.0.1:8443";
        // The text itself is not repeated: it might hold a password.
        let mut url =
            Url::parse(text.trim()).map_err(|_| Failure::new("the server's address is not a URL").next(example))?;
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
            return Err(Failure::new("the server's address may hold no user, query or fragment").next(example));
        }
        match (url.scheme(), url.host()) {
            ("https", Some(_)) => {}
            ("http", Some(host)) if is_loopback(&host) => {}
            ("http", Some(_)) => {
                return Err(Failure::new(
                    "plain http:// is only for loopback addresses: a token would travel readable",
                )
                .next("use https://"));
            }
            _ => return Err(Failure::new("the server's address must begin with https://").next(example)),
        }
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&path);
        Ok(Self(url))
    }

    /// Whether only this machine can answer there.
    pub fn is_loopback(&self) -> bool {
        self.0.host().is_some_and(|host| is_loopback(&host))
    }

    /// Whether the channel is encrypted.
    pub fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// Whether both mean one server. `localhost` is taken for `127.0.0.1` and `[::1]` only under TLS: in plain text, another
    /// user of the machine could listen on the other one of the two.
    pub fn is_same_as(&self, other: &Self) -> bool {
        let both_local = self.is_https() && other.is_https() && self.is_loopback() && other.is_loopback();
        self == other
            || (both_local
                && self.0.port_or_known_default() == other.0.port_or_known_default()
                && self.0.path() == other.0.path())
    }

    /// An address that listens everywhere (`0.0.0.0`) is reached on the loopback address.
    pub fn reachable(mut self) -> Self {
        let loopback = match self.0.host() {
            Some(Host::Ipv4(address)) if address.is_unspecified() => Some("127.0.0.1"),
            Some(Host::Ipv6(address)) if address.is_unspecified() => Some("[::1]"),
            _ => None,
        };
        if let Some(loopback) = loopback {
            // Cannot fail for an http(s) URL and a valid address; if it did, the old one is merely not reachable.
            let _ = self.0.set_host(Some(loopback));
        }
        self
    }

    /// The URL of a resource. Segments are names from the user: each stays one segment, whatever is in it.
    pub fn endpoint(&self, segments: &[&str], query: &[(&str, String)]) -> Result<Url, Failure> {
        // `.` and `..` would silently be dropped and turn one resource into another.
        if let Some(bad) = segments.iter().find(|segment| matches!(**segment, "" | "." | "..")) {
            return Err(
                Failure::new(format!("`{bad}` can't be a name")).next("give the name or id that the list shows")
            );
        }
        let mut url = self.0.clone();
        url.path_segments_mut()
            .map_err(|()| Failure::new("the server's address can't have a path"))?
            .pop_if_empty()
            .extend(segments);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(url)
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => name.eq_ignore_ascii_case("localhost"),
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(text: &str) -> Server {
        Server::parse(text).unwrap()
    }

    #[test]
    fn plain_http_is_for_loopback_only() {
        for fine in ["http://127.0.0.1:8080", "http://localhost:8080", "http://[::1]:8080", "https://auth.example.com"]
        {
            assert!(Server::parse(fine).is_ok(), "{fine}");
        }
        for bad in ["http://auth.example.com", "http://10.0.0.1", "ftp://127.0.0.1", "localhost:8443", "unix:/run/x"] {
            assert!(Server::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_password_in_an_address_is_refused_and_not_repeated() {
        let error = Server::parse("https://me:hunter2@auth.example.com").unwrap_err();
        assert!(!error.to_string().contains("hunter2"));
    }

    #[test]
    fn the_same_server_is_recognised_in_other_words() {
        assert!(server("https://Auth.example.com:443/").is_same_as(&server("https://auth.example.com")));
        assert!(server("https://localhost:8443").is_same_as(&server("https://127.0.0.1:8443")));
        assert!(!server("https://localhost:8443").is_same_as(&server("https://127.0.0.1:8444")));
        assert!(!server("http://localhost:8080").is_same_as(&server("http://127.0.0.1:8080")));
        assert!(!server("https://a.example.com").is_same_as(&server("https://b.example.com")));
        assert!(!server("https://a.example.com/one").is_same_as(&server("https://a.example.com/two")));
    }

    #[test]
    fn a_name_stays_one_segment_of_the_path() {
        let url = server("https://a.example.com/base/").endpoint(&["api", "v1", "accounts", "x/../y?z"], &[]).unwrap();
        assert_eq!(url.as_str(), "https://a.example.com/base/api/v1/accounts/x%2F..%2Fy%3Fz");
        assert!(server("https://a.example.com").endpoint(&["accounts", ".."], &[]).is_err());
        assert!(server("https://a.example.com").endpoint(&["accounts", ""], &[]).is_err());
    }

    #[test]
    fn a_server_that_listens_everywhere_is_reached_on_loopback() {
        // Plain http on every address is refused before it comes to that.
        assert_eq!(server("https://0.0.0.0:8443").reachable().to_string(), "https://127.0.0.1:8443");
        assert_eq!(server("https://[::]:8443").reachable().to_string(), "https://[::1]:8443");
    }
}
