//! The address of a store as a URL:
//!
//! | form | means |
//! |---|---|
//! | `redis://HOST:PORT/DATABASE` | one server |
//! | `redis+sentinel://HOST:PORT,HOST:PORT,…/NAME/DATABASE` | the primary that these sentinels know by that name |
//! | `redis+cluster://HOST:PORT,HOST:PORT,…` | a Redis Cluster, of which some servers are named |
//!
//! `rediss` in place of `redis` is TLS. User and password stand before an `@`, percent-encoded.

use std::collections::HashSet;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use url::Host;
use zeroize::Zeroizing;

/// A host, which is a name or an address (IPv6 without brackets), and a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostPort {
    /// The host.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Which servers a store is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Servers {
    /// One.
    One(HostPort),
    /// A primary with replicas, of which sentinels say which one it is.
    Sentinels {
        /// Where the sentinels are.
        sentinels: Vec<HostPort>,
        /// By which name they know the primary.
        primary: String,
    },
    /// A Redis Cluster: some of its servers, which name the others.
    Cluster(Vec<HostPort>),
}

/// What a URL says.
pub struct RedisUrl {
    /// Where.
    pub servers: Servers,
    /// Whether TLS is spoken.
    pub tls: bool,
    /// The number of the database.
    pub database: u32,
    /// The ACL user.
    pub user: Option<Zeroizing<String>>,
    /// Its password.
    pub password: Option<Zeroizing<String>>,
}

/// More servers than anybody names.
const MOST_SERVERS: usize = 64;

const REDIS: u16 = 6379;
const SENTINEL: u16 = 26379;

impl RedisUrl {
    /// Reads one. What is wrong with it is said without showing it, since it may hold a password.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const NO_URL: &str = "is no such URL";
        let (scheme, rest) = text.split_once("://").ok_or(NO_URL)?;
        let (security, kind) = scheme.split_once('+').unwrap_or((scheme, ""));
        let tls = match security {
            "redis" => false,
            "rediss" => true,
            _ => return Err(NO_URL),
        };
        if rest.contains(['?', '#']) {
            return Err("must have neither ? nor #");
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        if path.contains('@') {
            return Err(
                "has an @ after the first /: a / in a user, a password or a name is written %2F, and an @ is written %40",
            );
        }
        let (access, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        if access.contains('@') {
            return Err(
                "has several @: user and password stand once, before the first host, and an @ in them is written %40",
            );
        }
        let port = if kind == "sentinel" { SENTINEL } else { REDIS };
        let hosts: Vec<HostPort> = hosts.split(',').map(|host| host_port(host, port)).collect::<Result<_, _>>()?;
        if hosts.len() > MOST_SERVERS {
            return Err("names more than 64 hosts: some of them are enough, they know the others");
        }
        // Most of them have to answer before the others are waited for no longer: each counts once.
        if hosts.iter().collect::<HashSet<_>>().len() < hosts.len() {
            return Err("names a host twice with the same port: write it once");
        }
        let (servers, database) = match (kind, path) {
            ("", path) => match hosts.as_slice() {
                [one] => (Servers::One(one.clone()), database(path)?),
                _ => return Err("names several hosts: write redis+sentinel:// or redis+cluster:// for those"),
            },
            ("sentinel", path) => {
                let (name, number) = path.split_once('/').unwrap_or((path, ""));
                let primary = decoded(name)?.ok_or("does not name the primary after the sentinels: /NAME")?;
                let primary = primary.as_str().to_owned();
                (Servers::Sentinels { sentinels: hosts, primary }, database(number)?)
            }
            ("cluster", "" | "0") => (Servers::Cluster(hosts), 0),
            ("cluster", _) => {
                return Err("has a path, and a Redis Cluster has one database only: end it after the hosts");
            }
            _ => return Err(NO_URL),
        };
        let (user, password) = access.split_once(':').map_or((access, None), |(user, password)| (user, Some(password)));
        let password = password.map(decoded).transpose()?.flatten();
        Ok(Self { servers, tls, database, user: decoded(user)?, password })
    }
}

fn host_port(text: &str, default: u16) -> Result<HostPort, &'static str> {
    let (host, port) = match text.strip_prefix('[') {
        Some(bracketed) => {
            let (address, port) = bracketed.split_once(']').ok_or("has a [ without a ]: write [::1]:6379")?;
            let address =
                address.parse::<Ipv6Addr>().map_err(|_| "has something in brackets that is no IPv6 address")?;
            (address.to_string(), port)
        }
        None if text.matches(':').count() > 1 => return Err("has an IPv6 address without brackets: write [::1]:6379"),
        None => {
            let (host, port) = text.split_at(text.find(':').unwrap_or(text.len()));
            (plain(host)?, port)
        }
    };
    let port = match port.strip_prefix(':') {
        Some("") => return Err("has a : without a port after it: write HOST:PORT, or HOST alone"),
        Some(port) => number(port).filter(|port| *port > 0).ok_or("has a port that is none: it is 1 to 65535")?,
        None if port.is_empty() => default,
        None => return Err("has something between ] and the port: write [::1]:6379"),
    };
    Ok(HostPort { host, port })
}

/// A name, or an IPv4 address. What is neither is not made into one: 6379 would be the address 0.0.24.235.
fn plain(host: &str) -> Result<String, &'static str> {
    const NO_HOST: &str = "has a host that is none: it is a name, or an address such as 10.0.0.1 or [::1]";
    match Host::parse(host) {
        _ if host.is_empty() => Err("has no host, or none between two commas: write HOST:PORT,HOST:PORT"),
        Ok(Host::Domain(name)) => Ok(name),
        Ok(Host::Ipv4(address)) if host.parse() == Ok::<Ipv4Addr, _>(address) => Ok(host.to_owned()),
        _ => Err(NO_HOST),
    }
}

fn database(path: &str) -> Result<u32, &'static str> {
    match path {
        "" => Ok(0),
        path => number(path).ok_or("has a path that is not a database number, such as /0"),
    }
}

/// Of digits alone: Rust's own reading takes a + as well.
fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// Undoes the percent encoding; nothing for an empty part.
fn decoded(part: &str) -> Result<Option<Zeroizing<String>>, &'static str> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(part.len()));
    let mut rest = part.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let (byte, after) = match (first, tail) {
            (b'%', [high, low, after @ ..]) => (hex(*high).zip(hex(*low)).map(|(high, low)| high << 4 | low), after),
            (b'%', _) => (None, tail),
            (byte, after) => (Some(*byte), after),
        };
        bytes.push(byte.ok_or("has a % without two hexadecimal digits after it: a % itself is written %25")?);
        rest = after;
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| "has a user, a password or a name that is not UTF-8")?;
    Ok(Some(text).filter(|text| !text.is_empty()).map(|text| Zeroizing::new(text.to_owned())))
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(host: &str, port: u16) -> HostPort {
        HostPort { host: host.to_owned(), port }
    }

    #[test]
    fn each_form_is_read_whole() {
        let url = RedisUrl::parse("rediss://api:p%40ss%2Fword@redis.example.com:6380/2").unwrap();
        assert_eq!(url.servers, Servers::One(at("redis.example.com", 6380)));
        assert_eq!((url.tls, url.database), (true, 2));
        assert_eq!(url.user.unwrap().as_str(), "api");
        assert_eq!(url.password.unwrap().as_str(), "p@ss/word");
        let url = RedisUrl::parse("redis+sentinel://:s+1@a,b:1,[::1]:80/my%20primary/3").unwrap();
        let sentinels = vec![at("a", 26379), at("b", 1), at("::1", 80)];
        assert_eq!(url.servers, Servers::Sentinels { sentinels, primary: "my primary".into() });
        assert_eq!((url.tls, url.database, url.user.is_some()), (false, 3, false));
        assert_eq!(url.password.unwrap().as_str(), "s+1");
        let url = RedisUrl::parse("rediss+cluster://[::1],a:7000").unwrap();
        assert_eq!(url.servers, Servers::Cluster(vec![at("::1", 6379), at("a", 7000)]));
        assert!(url.tls && url.user.is_none() && url.password.is_none());
    }

    #[test]
    fn what_is_no_host_or_port_is_refused_in_every_form_and_not_made_into_one() {
        let wrong = [
            ("h:", "HOST alone"),
            ("[::1]:", "HOST alone"),
            ("h:0", "1 to 65535"),
            ("h:70000", "1 to 65535"),
            ("h:+1", "1 to 65535"),
            ("h:x", "1 to 65535"),
            ("::1:6379", "[::1]:6379"),
            ("::1", "[::1]:6379"),
            ("[::1", "[::1]:6379"),
            ("[::1]6379", "[::1]:6379"),
            ("[h]:1", "no IPv6 address"),
            ("", "HOST:PORT"),
            (":6379", "HOST:PORT"),
            ("6379", "a name, or an address"),
            ("10.0.1", "a name, or an address"),
            ("0x7f.0.0.1", "a name, or an address"),
            ("a\tb", "a name, or an address"),
            ("a b", "a name, or an address"),
            ("a\\b", "a name, or an address"),
        ];
        for (host, told) in wrong {
            for url in [
                format!("redis://{host}"),
                format!("rediss://u:SECRET@{host}/0"),
                format!("redis+sentinel://{host}/name"),
                format!("redis+sentinel://a:1,{host}/name"),
                format!("redis+cluster://{host},b:2"),
                format!("redis+cluster://a:1,{host},b:2"),
            ] {
                let error = RedisUrl::parse(&url).err().unwrap_or_else(|| panic!("{url}"));
                assert!(error.contains(told) && !error.contains("SECRET"), "{url}: {error}");
            }
        }
        for (host, port, found) in [
            ("h:80", 80, "h"),
            ("h:65535", 65535, "h"),
            ("[::1]:80", 80, "::1"),
            ("[0:0::1]", 6379, "::1"),
            ("10.0.0.1", 6379, "10.0.0.1"),
            ("redis_1.example.", 6379, "redis_1.example."),
        ] {
            let url = RedisUrl::parse(&format!("redis://{host}")).unwrap();
            assert_eq!(url.servers, Servers::One(at(found, port)), "{host}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_and_not_shown() {
        for bad in [
            "",
            "redis.example.com",
            "http://u:SECRET@h",
            "redis+other://u:SECRET@h",
            "redis://u:SECRET@h/x",
            "redis://u:SECRET@h/0?x",
            "redis://u:SECRET@h#x",
            "redis://:SECRET@",
            "redis://:SECRET@a,b",
            "redis://:SECRET@a b",
            "redis://:SECRET@a:99999",
            "redis+sentinel://:SECRET@a,b",
            "redis+sentinel://:SECRET@a,,b/name",
            "redis+sentinel://:SECRET@a/name/x",
            "redis+cluster://:SECRET@a/1",
            "redis+cluster://:SECRET%ff@a",
            "redis://u:SECRET%4@h",
            "redis://u:SECRET%+1@h",
            "redis://u:SE%40CRET@SECRET@h",
            "redis+cluster://u:SECRET@a,u:SECRET@b",
            "redis+sentinel://u:1/SECRET@a/name",
            "redis+sentinel://u:1/SECRET@a",
            "redis+cluster://:SECRET@a,b,a:6379",
            "redis://u:SECRET@h/+1",
            "redis://u:SECRET@h/0/1",
            "redis://u:SECRET@h/4294967296",
        ] {
            let error = RedisUrl::parse(bad).err().unwrap();
            assert!(!error.contains("SECRET"), "{bad}: {error}");
        }
        let many = vec!["a"; MOST_SERVERS + 1].join(",");
        assert!(RedisUrl::parse(&format!("redis+cluster://{many}")).is_err());
    }

    #[test]
    fn an_address_is_shown_as_it_is_written() {
        assert_eq!(at("::1", 1).to_string(), "[::1]:1");
        assert_eq!(at("a", 2).to_string(), "a:2");
    }
}
