//! Test networks: each host is a network namespace with addresses of its own; between them lies a router that can lose,
//! delay and drop packets, cut hosts off from each other, and translate addresses.
//!
//! Namespaces have no names: two runs cannot collide, and the kernel removes a namespace with the last process in it, however that ended.
//! This kernel need not know netem: packets are lost by nftables, and delayed by a thread of ours behind a TUN device.
//! For tests and the demo only; it needs root.

mod delay;
mod impairment;
mod namespace;
mod net;
mod pair;
mod site;

pub use impairment::Impairment;
pub use namespace::Namespace;
pub use net::{Host, Network, join, unavailable};
pub use pair::Pair;
pub use site::Site;

/// Why a network cannot be made or changed.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// A program that configures the network failed.
    #[error("`{command}` failed: {said}; test networks need root, iproute2 and nftables")]
    Command {
        /// What was run.
        command: String,
        /// What it said.
        said: String,
    },
    /// The kernel refused something.
    #[error("cannot {what}; test networks need root and /dev/net/tun")]
    Kernel {
        /// What was tried.
        what: String,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The numbers that make addresses are used up.
    #[error("a test network has at most {HOSTS_MAX} hosts")]
    TooManyHosts,
}

/// The third byte of a host's address.
const HOSTS_MAX: u8 = 250;

/// Gives an error of the kernel its words.
fn refused(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> NetworkError {
    let what = what.into();
    move |source| NetworkError::Kernel { what, source }
}
