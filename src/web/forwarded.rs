//! Where a call comes from.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName};
use ipnet::IpNet;

static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Whether the address is in one of these networks.
pub fn is_one_of(networks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}

/// The client's address: the peer's, or, where the peer is a trusted proxy, the rightmost address of `X-Forwarded-For` that is
/// not one.
pub fn client_address(trusted_proxies: &[IpNet], peer: Option<IpAddr>, headers: &HeaderMap) -> Option<IpAddr> {
    let address = peer?.to_canonical();
    if !is_one_of(trusted_proxies, address) {
        return Some(address);
    }
    let forwarded: Vec<&str> = headers
        .get_all(&X_FORWARDED_FOR)
        .iter()
        .flat_map(|value| value.to_str().unwrap_or("?").split(','))
        .map(str::trim)
        .collect();
    for text in forwarded.iter().rev() {
        match parse_address(text) {
            Some(hop) if is_one_of(trusted_proxies, hop) => {}
            Some(client) => return Some(client.to_canonical()),
            // Fail closed: whoever stands behind something unreadable is in no network.
            None => return None,
        }
    }
    Some(address)
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`.
fn parse_address(text: &str) -> Option<IpAddr> {
    text.parse::<IpAddr>()
        .ok()
        .or_else(|| text.parse::<std::net::SocketAddr>().ok().map(|address| address.ip()))
        .or_else(|| text.strip_prefix('[')?.strip_suffix(']')?.parse().ok())
}
