//! Socket addresses as the kernel writes them, and one form for each address so that they compare.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// `AF_INET` on Linux.
pub const FAMILY_V4: u16 = 2;
/// `AF_INET6` on Linux.
pub const FAMILY_V6: u16 = 10;
/// `struct sockaddr_in`.
pub const V4_BYTES: usize = 16;
/// `struct sockaddr_in6`.
pub const V6_BYTES: usize = 28;

/// Shown in place of an IPv6 caller on an IPv4 socket: the dummy address of RFC 7600, which nothing trusts.
pub const DUMMY_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 8);

/// The address in a `struct sockaddr`; `None` for another family or too few bytes.
pub fn from_sockaddr(bytes: &[u8]) -> Option<SocketAddr> {
    let (family, rest) = bytes.split_first_chunk::<2>()?;
    let (port, rest) = rest.split_first_chunk::<2>()?;
    let port = u16::from_be_bytes(*port);
    match u16::from_ne_bytes(*family) {
        FAMILY_V4 if bytes.len() >= V4_BYTES => {
            let (ip, _) = rest.split_first_chunk::<4>()?;
            Some(SocketAddr::new(Ipv4Addr::from(*ip).into(), port))
        }
        // SIN6_LEN_RFC2133: the kernel takes the structure without its scope too.
        FAMILY_V6 if bytes.len() >= 24 => {
            let ip = rest.get(4..)?.first_chunk::<16>()?;
            Some(SocketAddr::new(Ipv6Addr::from(*ip).into(), port))
        }
        _ => None,
    }
}

/// A `struct sockaddr` with its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawAddress {
    /// The structure.
    pub bytes: [u8; V6_BYTES],
    /// How much of it counts.
    pub length: usize,
}

/// The address as a socket of this family shows it: mapped on IPv6; an IPv6 address on IPv4 becomes [`DUMMY_V4`].
pub fn to_sockaddr(address: SocketAddr, family: u16) -> RawAddress {
    let mut bytes = [0; V6_BYTES];
    bytes[2..4].copy_from_slice(&address.port().to_be_bytes());
    if family == FAMILY_V6 {
        let ip = match address.ip() {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        bytes[..2].copy_from_slice(&FAMILY_V6.to_ne_bytes());
        bytes[8..24].copy_from_slice(&ip.octets());
        return RawAddress {
            bytes,
            length: V6_BYTES,
        };
    }
    let ip = match address.ip().to_canonical() {
        IpAddr::V4(v4) => v4,
        IpAddr::V6(_) => DUMMY_V4,
    };
    bytes[..2].copy_from_slice(&FAMILY_V4.to_ne_bytes());
    bytes[4..8].copy_from_slice(&ip.octets());
    RawAddress {
        bytes,
        length: V4_BYTES,
    }
}

/// One form for each address: IPv4 even when mapped, no scope, no flow label.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Where a connect to this address goes: the unspecified address means this host.
pub fn destination(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip().to_canonical() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// The address as one number, by which tables are sorted; IPv4 addresses are mapped.
pub fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// The address of such a number.
pub fn from_number(number: u128) -> IpAddr {
    IpAddr::V6(Ipv6Addr::from_bits(number)).to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn addresses_survive_the_kernels_form() {
        for text in ["10.1.2.3:80", "[2001:db8::1]:443"] {
            let address = address(text);
            let family = if address.is_ipv4() {
                FAMILY_V4
            } else {
                FAMILY_V6
            };
            let raw = to_sockaddr(address, family);
            assert_eq!(from_sockaddr(&raw.bytes[..raw.length]), Some(address));
        }
    }

    #[test]
    fn a_socket_shows_its_own_family() {
        let shown = |text, family| {
            let raw = to_sockaddr(address(text), family);
            from_sockaddr(&raw.bytes[..raw.length]).map(|address| address.to_string())
        };
        assert_eq!(
            shown("10.0.0.1:5", FAMILY_V6).as_deref(),
            Some("[::ffff:10.0.0.1]:5")
        );
        assert_eq!(
            shown("[::ffff:10.0.0.1]:5", FAMILY_V4).as_deref(),
            Some("10.0.0.1:5")
        );
        assert_eq!(
            shown("[2001:db8::1]:5", FAMILY_V4).as_deref(),
            Some("192.0.0.8:5")
        );
    }

    #[test]
    fn other_families_and_short_structures_are_none() {
        assert_eq!(from_sockaddr(&[]), None);
        assert_eq!(from_sockaddr(&[1, 0, b'/', b't']), None);
        let raw = to_sockaddr(address("10.1.2.3:80"), FAMILY_V4);
        assert_eq!(from_sockaddr(&raw.bytes[..15]), None);
    }

    #[test]
    fn the_unspecified_address_means_this_host() {
        assert_eq!(destination(address("0.0.0.0:7")), address("127.0.0.1:7"));
        assert_eq!(destination(address("[::]:7")), address("[::1]:7"));
        assert_eq!(
            destination(address("[::ffff:10.0.0.1]:7")),
            address("10.0.0.1:7")
        );
    }

    #[test]
    fn numbers_name_addresses() {
        for ip in
            ["10.0.0.1", "2001:db8::1"].map(|text| text.parse::<IpAddr>().expect("an address"))
        {
            assert_eq!(from_number(number(ip)), ip);
        }
    }
}
