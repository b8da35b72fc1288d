//! Where metrics are told in the clear: at loopback unless an address is given.

use serde::Deserialize;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

/// Where metrics are told: a port of this host alone, or an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct MetricsAddress(pub SocketAddr);

/// It is neither a port nor an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is neither a port nor an address: write 9464 for that port of this host alone, or IP:PORT"
)]
pub struct AddressError(String);

impl FromStr for MetricsAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Ok(port) = text.parse::<u16>() {
            return Ok(Self((Ipv4Addr::LOCALHOST, port).into()));
        }
        let address = text.parse::<SocketAddr>();
        address.map(Self).map_err(|_| AddressError(text.to_owned()))
    }
}

impl TryFrom<String> for MetricsAddress {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        text.parse()
    }
}

impl fmt::Display for MetricsAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl MetricsAddress {
    /// Whether other hosts can read what is told there, without showing who they are.
    #[must_use]
    pub fn is_open_to_others(self) -> bool {
        let ip: IpAddr = self.0.ip();
        !ip.to_canonical().is_loopback()
    }
}

/// Says in the log where metrics are told.
pub fn say_where(address: MetricsAddress) {
    tracing::info!(%address, "metrics are told at /metrics");
    if address.is_open_to_others() {
        tracing::warn!(
            %address,
            "whoever reaches this address from other hosts reads the metrics too, and everybody on the way: let a firewall keep others away"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_of_this_host_and_others_are_said() {
        let own: MetricsAddress = "9464".parse().expect("a port");
        assert_eq!(own.to_string(), "127.0.0.1:9464");
        assert!(!own.is_open_to_others());
        for (text, is_open) in [
            ("[::1]:1", false),
            ("127.9.9.9:1", false),
            ("0.0.0.0:9464", true),
            ("10.0.0.1:9464", true),
            ("[::]:9464", true),
        ] {
            let address: MetricsAddress = text.parse().expect("an address");
            assert_eq!(address.is_open_to_others(), is_open, "{text}");
        }
        for text in ["", "host:9464", "127.0.0.1", "70000"] {
            let error = text.parse::<MetricsAddress>().expect_err("none");
            assert!(error.to_string().contains("write 9464"), "{error}");
        }
    }
}
