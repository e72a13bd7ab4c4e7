//! The address of a store as a URL:
//!
//! | form | means |
//! |---|---|
//! | `redis://HOST:PORT/DATABASE` | one server |
//! | `redis+sentinel://HOST:PORT,HOST:PORT,…/NAME/DATABASE` | the primary that these sentinels know by that name |
//! | `redis+cluster://HOST:PORT,HOST:PORT,…` | a Redis Cluster, of which some servers are named |
//!
//! `rediss` in place of `redis` is TLS. User and password stand before an `@`, percent-encoded.

use std::fmt;

use url::Url;
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
        let (access, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        let port = if kind == "sentinel" { SENTINEL } else { REDIS };
        let hosts: Vec<HostPort> = hosts.split(',').map(|host| host_port(host, port)).collect::<Result<_, _>>()?;
        if hosts.len() > MOST_SERVERS {
            return Err("names too many hosts");
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
            ("cluster", _) => return Err("has a path, and a Redis Cluster has one database only"),
            _ => return Err(NO_URL),
        };
        let (user, password) = access.split_once(':').map_or((access, None), |(user, password)| (user, Some(password)));
        let password = password.map(decoded).transpose()?.flatten();
        Ok(Self { servers, tls, database, user: decoded(user)?, password })
    }
}

fn host_port(text: &str, default: u16) -> Result<HostPort, &'static str> {
    // The form of hosts and ports is that of any URL.
    let url = Url::parse(&format!("http://{text}/")).map_err(|_| "has no host, or one that is none")?;
    let is_plain = url.username().is_empty() && url.password().is_none() && url.path() == "/";
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
    if !is_plain || host.is_empty() {
        return Err("has no host, or one that is none");
    }
    // To this scheme 80 is what goes without saying.
    let said = text.rsplit(']').next().unwrap_or(text).contains(':');
    Ok(HostPort { host, port: url.port().unwrap_or(if said { 80 } else { default }) })
}

fn database(path: &str) -> Result<u32, &'static str> {
    match path {
        "" => Ok(0),
        number => number.parse().map_err(|_| "has a path that is not a database number, such as /0"),
    }
}

/// Undoes the percent encoding; nothing for an empty part.
fn decoded(part: &str) -> Result<Option<Zeroizing<String>>, &'static str> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(part.len()));
    let mut rest = part.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let digits = (*first == b'%').then(|| tail.get(..2)).flatten();
        match digits.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = tail.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| "has a user, a password or a name that is not UTF-8")?;
    Ok(Some(text).filter(|text| !text.is_empty()).map(|text| Zeroizing::new(text.to_owned())))
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
