//! `redis://HOST:PORT/DATABASE` and the other forms of [`RedisUrl`], or `unix:/path`.

use std::net::IpAddr;

use super::StartError;
use crate::store::{Address, Place, RedisUrl, Servers};

const FORM: &str = "it is redis://USER:PASSWORD@HOST:PORT/DATABASE, redis+sentinel://HOST:PORT,HOST:PORT/NAME/DATABASE or \
                    redis+cluster://HOST:PORT,HOST:PORT, with rediss:// for TLS, or unix:/PATH";

/// Reads an address. What it says is wrong does not show it.
pub(super) fn parse(text: &str, address: &mut Address) -> Result<(), StartError> {
    if let Some(path) = text.strip_prefix("unix:") {
        address.place = Place::Socket(path.trim_start_matches("//").into());
        return Ok(());
    }
    let url = RedisUrl::parse(text)
        .map_err(|problem| StartError::setting("redis", format!("the address {problem}; {FORM}")))?;
    address.sentinel.tls = url.tls;
    address.place = Place::Network { servers: url.servers, tls: url.tls };
    address.database = url.database;
    address.user = url.user.map(|user| user.as_str().to_owned());
    address.password = url.password;
    Ok(())
}

/// Whether what is sent there can be read on the way.
pub(super) fn is_in_the_open(place: &Place) -> bool {
    let Place::Network { servers, tls: false } = place else { return false };
    let hosts = match servers {
        Servers::One(at) => std::slice::from_ref(at),
        Servers::Sentinels { sentinels: hosts, .. } | Servers::Cluster(hosts) => hosts.as_slice(),
    };
    let is_here = |host: &str| host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    !hosts.iter().all(|at| is_here(&at.host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Address, StartError> {
        let mut address = Address::to(Place::Socket("".into()));
        parse(text, &mut address).map(|()| address)
    }

    #[test]
    fn an_address_is_read_whole() {
        let address = of("rediss://api:p%40ss%2Fword@redis.example.com:6380/2").unwrap();
        assert!(matches!(&address.place, Place::Network { servers: Servers::One(at), tls: true } if at.port == 6380));
        assert_eq!((address.database, address.user.as_deref(), address.sentinel.tls), (2, Some("api"), true));
        assert_eq!(address.password.unwrap().as_str(), "p@ss/word");
        for path in ["unix:/run/redis.sock", "unix:///run/redis.sock"] {
            assert!(matches!(of(path).unwrap().place, Place::Socket(path) if path.is_absolute()), "{path}");
        }
    }

    #[test]
    fn a_password_is_in_the_open_but_within_this_host_and_over_tls() {
        for (text, is_open) in [
            ("redis://redis.example.com", true),
            ("redis://192.0.2.1", true),
            ("redis://[2001:db8::1]", true),
            ("redis://127.0.0.1", false),
            ("redis://[::1]", false),
            ("redis://localhost", false),
            ("rediss://redis.example.com", false),
            ("unix:/run/redis.sock", false),
            ("redis+cluster://127.0.0.1,redis.example.com", true),
            ("redis+sentinel://127.0.0.1,[::1]/name", false),
            ("rediss+sentinel://redis.example.com/name", false),
        ] {
            assert_eq!(is_in_the_open(&of(text).unwrap().place), is_open, "{text}");
        }
    }

    #[test]
    fn a_wrong_address_is_told_and_not_shown() {
        for bad in [
            "",
            "redis.example.com",
            "http://u:SECRET@h",
            "redis://u:SECRET@h/x",
            "redis://u:SECRET@h/0?x",
            "redis://:SECRET@",
        ] {
            let error = of(bad).err().unwrap().to_string();
            assert!(error.starts_with("redis: ") && !error.contains("SECRET"), "{bad}: {error}");
        }
    }
}
