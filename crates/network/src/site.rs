//! A site behind an address-translating hop: its hosts have private addresses that nobody outside can reach, what they
//! send carries the hop's own address, and chosen ports of the hop lead to them. IPv4 only, as such hops are.

use crate::net::{become_router, cable};
use crate::{Host, Namespace, Network, NetworkError};
use std::net::{Ipv4Addr, Ipv6Addr};

/// The hop and what is behind it.
#[derive(Debug)]
pub struct Site {
    /// The hop, as the network outside sees it.
    pub hop: Host,
    hosts: u8,
}

impl Site {
    /// A site without hosts.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn new(network: &mut Network) -> Result<Self, NetworkError> {
        let hop = network.host()?;
        become_router(&hop.namespace)?;
        hop.namespace.nft(
            "table ip hop {
              chain in { type nat hook prerouting priority dstnat; }
              chain out { type nat hook postrouting priority srcnat; oifname \"net\" masquerade; }
            }",
        )?;
        Ok(Self { hop, hosts: 0 })
    }

    /// One more host behind the hop.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn host(&mut self) -> Result<Host, NetworkError> {
        self.hosts += 1;
        let number = self.hosts;
        let host = Host {
            namespace: Namespace::new()?,
            v4: Ipv4Addr::new(192, 168, number, 2),
            v6: Ipv6Addr::new(0xfdaa, number.into(), 0, 0, 0, 0, 0, 2),
        };
        let gateway = format!("192.168.{number}.1");
        cable(
            (
                &self.hop.namespace,
                &format!("in{number}"),
                &format!("{gateway}/24"),
                &format!("fdaa:{number:x}::1/64"),
            ),
            (
                &host.namespace,
                "net",
                &format!("{}/24", host.v4),
                &format!("{}/64", host.v6),
            ),
        )?;
        host.namespace
            .ip(&format!("route add default via {gateway}"))?;
        Ok(host)
    }

    /// Connections to this port of the hop, from outside, go to this host at the same port.
    ///
    /// # Errors
    /// The rule cannot be set.
    pub fn lead(&self, port: u16, to: &Host) -> Result<(), NetworkError> {
        self.hop.namespace.nft(&format!(
            "add rule ip hop in iifname \"net\" tcp dport {port} dnat to {}",
            to.v4
        ))
    }
}
