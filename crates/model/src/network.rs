//! Networks, as people write them: `10.1.0.0/16`, `fd00::/8`, or one address.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// All addresses that share their first bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// Why a text names no network, and what to write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// Neither an address nor an address with a prefix length.
    #[error("`{0}` is not a network; write IP or IP/PREFIX, such as 10.1.0.0/16")]
    NotANetwork(String),
    /// The address has bits that the prefix does not cover: most likely a slip.
    #[error("`{text}` has bits beyond its prefix; write {meant}")]
    BitsBeyondPrefix {
        /// What was written.
        text: String,
        /// The network that it is in.
        meant: Network,
    },
}

impl Network {
    /// The first address.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// How many bits its addresses share.
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Whether the address belongs to it. An IPv4 address that is written as an IPv6 one is the same address.
    pub fn contains(&self, address: IpAddr) -> bool {
        masked(address.to_canonical(), self.prefix) == Some(self.address)
    }
}

/// The address without what lies beyond the prefix; `None` when it is not as long as the prefix.
fn masked(address: IpAddr, prefix: u8) -> Option<IpAddr> {
    let host_bits = |length: u32| length.checked_sub(u32::from(prefix));
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(host_bits(32)?).unwrap_or(0);
            Some(IpAddr::V4((v4.to_bits() & mask).into()))
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(host_bits(128)?).unwrap_or(0);
            Some(IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask)))
        }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let none = || NetworkError::NotANetwork(text.to_owned());
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| none())?;
        let written_v6 = address.is_ipv6();
        let address = address.to_canonical();
        let prefix = match prefix {
            None if address.is_ipv4() => 32,
            None => 128,
            // A prefix of a mapped address counts the 96 bits before it.
            Some(_) if written_v6 && address.is_ipv4() => return Err(none()),
            Some(digits) => digits.parse().map_err(|_| none())?,
        };
        let first = masked(address, prefix).ok_or_else(none)?;
        let network = Self {
            address: first,
            prefix,
        };
        if first != address {
            return Err(NetworkError::BitsBeyondPrefix {
                text: text.to_owned(),
                meant: network,
            });
        }
        Ok(network)
    }
}

impl TryFrom<String> for Network {
    type Error = NetworkError;

    fn try_from(text: String) -> Result<Self, NetworkError> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        text.parse().expect("a network")
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn addresses_belong_by_their_first_bits() {
        assert!(network("10.1.0.0/16").contains(ip("10.1.255.7")));
        assert!(network("10.1.0.0/16").contains(ip("::ffff:10.1.255.7")));
        assert!(!network("10.1.0.0/16").contains(ip("10.2.0.0")));
        assert!(!network("10.1.0.0/16").contains(ip("fd00::1")));
        assert!(network("10.1.2.3").contains(ip("10.1.2.3")));
        assert!(!network("10.1.2.3").contains(ip("10.1.2.4")));
        assert!(network("0.0.0.0/0").contains(ip("255.1.2.3")));
        assert!(!network("0.0.0.0/0").contains(ip("fd00::1")));
        assert!(network("fd00::/8").contains(ip("fdff::1")));
        assert!(!network("fd00::/8").contains(ip("fe00::1")));
        assert!(network("::/0").contains(ip("1::")));
    }

    #[test]
    fn networks_are_written_as_they_are_read() {
        for text in ["10.1.0.0/16", "10.1.2.3/32", "fd00::/8", "::/0"] {
            assert_eq!(network(text).to_string(), text);
        }
        assert_eq!(network("10.1.2.3").to_string(), "10.1.2.3/32");
        assert_eq!(network("::ffff:10.1.2.3").to_string(), "10.1.2.3/32");
    }

    #[test]
    fn what_is_no_network_is_refused_with_what_to_write() {
        for text in [
            "",
            "host",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0/8",
            "fd00::/129",
            "10.0.0.0/-1",
            "::ffff:10.0.0.0/104",
        ] {
            let error = text.parse::<Network>().expect_err(text);
            assert_eq!(error, NetworkError::NotANetwork(text.to_owned()));
        }
        let error = "10.1.2.3/16".parse::<Network>().expect_err("a slip");
        assert_eq!(
            error.to_string(),
            "`10.1.2.3/16` has bits beyond its prefix; write 10.1.0.0/16"
        );
    }
}
