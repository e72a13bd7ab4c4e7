//! `redis://HOST:PORT/DATABASE`, `rediss://…` for TLS, `unix:/path`.

use std::net::IpAddr;

use url::Url;
use zeroize::Zeroizing;

use super::StartError;
use crate::store::{Address, Place};

const FORM: &str = "it is redis://USER:PASSWORD@HOST:PORT/DATABASE, rediss://… for TLS, or unix:/PATH";

/// Reads an address. What it says is wrong does not show it.
pub(super) fn parse(text: &str, address: &mut Address) -> Result<(), StartError> {
    let wrong = |problem: &str| StartError::setting("redis", format!("{problem}; {FORM}"));
    if let Some(path) = text.strip_prefix("unix:") {
        address.place = Place::Socket(path.trim_start_matches("//").into());
        return Ok(());
    }
    let url = Url::parse(text).map_err(|_| wrong("the address is no URL"))?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("the address has a ? or a #"));
    }
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
    if host.is_empty() {
        return Err(wrong("the address has no host"));
    }
    let port = url.port().unwrap_or(6379);
    address.place = match url.scheme() {
        "redis" => Place::Tcp(host, port),
        "rediss" => Place::Tls(host, port),
        _ => return Err(wrong("the address begins with something else")),
    };
    address.database = match url.path().trim_start_matches('/') {
        "" => 0,
        number => number.parse().map_err(|_| wrong("the path is no number of a database"))?,
    };
    let decoded = |part: &str| percent_decoded(part).ok_or_else(|| wrong("user or password are not UTF-8"));
    if !url.username().is_empty() {
        address.user = Some(decoded(url.username())?.as_str().to_owned());
    }
    if let Some(password) = url.password() {
        address.password = Some(decoded(password)?);
    }
    Ok(())
}

/// Whether what is sent there can be read on the way.
pub(super) fn is_in_the_open(place: &Place) -> bool {
    let Place::Tcp(host, _) = place else { return false };
    let is_here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    !is_here
}

fn percent_decoded(part: &str) -> Option<Zeroizing<String>> {
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
    std::str::from_utf8(&bytes).ok().map(|text| Zeroizing::new(text.to_owned()))
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
        assert!(matches!(&address.place, Place::Tls(host, 6380) if host == "redis.example.com"));
        assert_eq!((address.database, address.user.as_deref()), (2, Some("api")));
        assert_eq!(address.password.unwrap().as_str(), "p@ss/word");
        assert!(matches!(of("redis://[::1]").unwrap().place, Place::Tcp(host, 6379) if host == "::1"));
        assert!(
            matches!(of("unix:/run/redis.sock").unwrap().place, Place::Socket(path) if path.ends_with("redis.sock"))
        );
        assert!(matches!(of("unix:///run/redis.sock").unwrap().place, Place::Socket(path) if path.is_absolute()));
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
