//! Who counts as one where addresses are counted.

use std::net::{IpAddr, Ipv4Addr};

/// Whoever has one IPv4 address, or one IPv6 network of 64 bits.
///
/// The smallest network that is given to a customer is a /64 (RFC 6177), and he may use another of its addresses for each
/// connection (RFC 8981): counted singly, they would be no limit. An IPv4 address that is written as IPv6, mapped (RFC 4291,
/// section 2.5.5.2) or translated (RFC 6052), is that IPv4 address: or all clients behind a translator would be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subscriber {
    /// One IPv4 address.
    Four(Ipv4Addr),
    /// The first 64 bits of an IPv6 address.
    Six([u16; 4]),
    /// All whose address isn't known: they came by a Unix socket, or a trusted proxy named something unreadable.
    Unknown,
}

impl From<Option<IpAddr>> for Subscriber {
    fn from(address: Option<IpAddr>) -> Self {
        match address.map(|address| address.to_canonical()) {
            None => Self::Unknown,
            Some(IpAddr::V4(address)) => Self::Four(address),
            Some(IpAddr::V6(address)) => match address.segments() {
                // RFC 6052, section 2.1: the well-known prefix.
                [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
                    Self::Four(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)))
                }
                [a, b, c, d, ..] => Self::Six([a, b, c, d]),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(address: &str) -> Subscriber {
        Subscriber::from(Some(address.parse::<IpAddr>().unwrap()))
    }

    #[test]
    fn an_ipv4_address_is_one_however_it_is_written() {
        for same in ["::ffff:192.0.2.1", "64:ff9b::192.0.2.1", "64:ff9b::c000:201"] {
            assert_eq!(of(same), of("192.0.2.1"), "{same}");
        }
        for other in ["192.0.2.2", "::192.0.2.1", "64:ff9b:1::192.0.2.1", "64:ff9b::192.0.2.2"] {
            assert_ne!(of(other), of("192.0.2.1"), "{other}");
        }
    }

    #[test]
    fn an_ipv6_network_of_64_bits_is_one() {
        assert_eq!(of("2001:db8:0:1::1"), of("2001:db8:0:1:ffff:ffff:ffff:ffff"));
        assert_ne!(of("2001:db8:0:1::1"), of("2001:db8:0:2::1"));
        assert_ne!(of("::1"), Subscriber::Unknown);
        assert_ne!(of("0.0.0.0"), Subscriber::Unknown);
    }
}
