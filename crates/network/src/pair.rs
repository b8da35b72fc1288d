//! Two hosts, each a network namespace: joined by a cable, or by a network that may be impaired. Needs root, `ip` and `nft`.

use crate::impairment::Impairment;
use crate::namespace::Namespace;
use crate::net::{Network, join, unavailable};
use std::net::IpAddr;

/// A pair of hosts, removed at its end. What cannot be made panics, as in a test.
pub struct Pair {
    /// Where callers are.
    pub callers: Namespace,
    /// Where servers are.
    pub servers: Namespace,
    /// The callers' addresses, IPv4 and IPv6.
    pub callers_at: [IpAddr; 2],
    /// The servers'.
    pub servers_at: [IpAddr; 2],
    /// What is between them, if it is not just a cable.
    _network: Option<Network>,
}

impl Pair {
    /// A pair with a cable between them, or a line that says why the test is skipped. Callers are at 10.99.0.1 and fd99::1,
    /// servers at 10.99.0.2 and fd99::2.
    pub fn make(test: &str) -> Option<Self> {
        if !possible(test) {
            return None;
        }
        let at = |last: u8| {
            [format!("10.99.0.{last}"), format!("fd99::{last}")]
                .map(|text| text.parse().expect("an address"))
        };
        let pair = Self {
            callers: Namespace::new().expect("a namespace"),
            servers: Namespace::new().expect("a namespace"),
            callers_at: at(1),
            servers_at: at(2),
            _network: None,
        };
        join(
            (&pair.callers, pair.callers_at),
            (&pair.servers, pair.servers_at),
        )
        .expect("a cable");
        Some(pair)
    }

    /// A pair with a network between them, impaired so; handshakes that carry data do not reach the servers.
    pub fn impaired(test: &str, impairment: Impairment) -> Option<Self> {
        if !possible(test) {
            return None;
        }
        let mut network = Network::new().expect("a network");
        let hosts = [(); 2].map(|()| network.host().expect("a host"));
        let impairment = Impairment {
            no_data_in_syn_to: hosts[1].addresses().to_vec(),
            ..impairment
        };
        network.impair(impairment).expect("impairment");
        let [callers, servers] = hosts;
        Some(Self {
            callers_at: callers.addresses(),
            servers_at: servers.addresses(),
            callers: callers.namespace,
            servers: servers.namespace,
            _network: Some(network),
        })
    }
}

fn possible(test: &str) -> bool {
    let why_not = unavailable();
    if let Some(why) = &why_not {
        println!("SKIPPED: {test}: {why}");
    }
    why_not.is_none()
}
