//! The network: hosts around a router, and what the router does to their packets.

use crate::delay::{DEVICE, Forwarder, Times};
use crate::{HOSTS_MAX, Impairment, Namespace, NetworkError};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

/// The routing table of packets that come from a host: all go through the forwarder.
const TABLE: u32 = 77;

/// A host, with an address in each family.
#[derive(Clone, Debug)]
pub struct Host {
    /// Where its programs run.
    pub namespace: Namespace,
    /// Its IPv4 address.
    pub v4: Ipv4Addr,
    /// Its IPv6 address.
    pub v6: Ipv6Addr,
}

impl Host {
    /// Its addresses.
    pub fn addresses(&self) -> [IpAddr; 2] {
        [self.v4.into(), self.v6.into()]
    }
}

/// A network; everything in it ends with this value, but for what other processes keep open.
pub struct Network {
    router: Namespace,
    forwarder: Forwarder,
    hosts: u8,
    impairment: Impairment,
    cuts: Vec<(IpAddr, IpAddr)>,
}

/// Why networks cannot be made here, for people; `None` where they can.
pub fn unavailable() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("needs root".to_owned());
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let has = |program: &str| {
        std::env::split_paths(&folders)
            .chain(["/usr/sbin", "/sbin"].map(Into::into))
            .any(|folder| folder.join(program).is_file())
    };
    if let Some(program) = ["ip", "nft", "nsenter"]
        .into_iter()
        .find(|program| !has(program))
    {
        return Some(format!("{program} is not installed"));
    }
    if !Path::new("/dev/net/tun").exists() {
        return Some("there is no /dev/net/tun".to_owned());
    }
    Namespace::new().err().map(|error| error.to_string())
}

impl Network {
    /// A network without hosts, unimpaired.
    ///
    /// # Errors
    /// It cannot be made here; [`unavailable`] says why.
    pub fn new() -> Result<Self, NetworkError> {
        let router = Namespace::new()?;
        become_router(&router)?;
        let forwarder = Forwarder::begin(&router)?;
        for family in ["-4", "-6"] {
            router.ip(&format!(
                "{family} route add default dev {DEVICE} table {TABLE}"
            ))?;
        }
        let network = Self {
            router,
            forwarder,
            hosts: 0,
            impairment: Impairment::default(),
            cuts: Vec::new(),
        };
        network.apply()?;
        Ok(network)
    }

    /// One more host.
    ///
    /// # Errors
    /// The kernel refuses, or there are too many.
    pub fn host(&mut self) -> Result<Host, NetworkError> {
        let number = self.hosts.checked_add(1).filter(|next| *next <= HOSTS_MAX);
        let number = number.ok_or(NetworkError::TooManyHosts)?;
        self.hosts = number;
        let host = Host {
            namespace: Namespace::new()?,
            v4: Ipv4Addr::new(10, 77, number, 2),
            v6: Ipv6Addr::new(0xfd77, number.into(), 0, 0, 0, 0, 0, 2),
        };
        let device = format!("host{number}");
        cable(
            (
                &self.router,
                &device,
                &format!("10.77.{number}.1/24"),
                &format!("fd77:{number:x}::1/64"),
            ),
            (
                &host.namespace,
                "net",
                &format!("{}/24", host.v4),
                &format!("{}/64", host.v6),
            ),
        )?;
        for (family, gateway) in [
            ("-4", format!("10.77.{number}.1")),
            ("-6", format!("fd77:{number:x}::1")),
        ] {
            self.router
                .ip(&format!("{family} rule add iif {device} lookup {TABLE}"))?;
            host.namespace
                .ip(&format!("{family} route add default via {gateway}"))?;
        }
        Ok(host)
    }

    /// Impairs it, for everybody at once.
    ///
    /// # Errors
    /// The rules cannot be set.
    pub fn impair(&mut self, impairment: Impairment) -> Result<(), NetworkError> {
        self.forwarder.set(Times {
            delay: impairment.delay,
            jitter: impairment.jitter,
        });
        self.impairment = impairment;
        self.apply()
    }

    /// From now on nothing of the first host reaches the second; the other direction is as before.
    ///
    /// # Errors
    /// The rules cannot be set.
    pub fn cut_one_way(&mut self, from: &Host, to: &Host) -> Result<(), NetworkError> {
        self.cuts
            .extend(from.addresses().into_iter().zip(to.addresses()));
        self.apply()
    }

    /// From now on these two do not reach each other.
    ///
    /// # Errors
    /// The rules cannot be set.
    pub fn cut(&mut self, one: &Host, other: &Host) -> Result<(), NetworkError> {
        self.cut_one_way(one, other)?;
        self.cut_one_way(other, one)
    }

    /// From now on everybody reaches everybody.
    ///
    /// # Errors
    /// The rules cannot be set.
    pub fn heal(&mut self) -> Result<(), NetworkError> {
        self.cuts.clear();
        self.apply()
    }

    fn apply(&self) -> Result<(), NetworkError> {
        self.router.nft(&self.impairment.rules(&self.cuts))
    }
}

/// Lets a namespace pass packets on, whatever way they come.
pub(crate) fn become_router(namespace: &Namespace) -> Result<(), NetworkError> {
    for (setting, value) in [
        ("net/ipv4/ip_forward", "1"),
        ("net/ipv6/conf/all/forwarding", "1"),
        ("net/ipv4/conf/all/rp_filter", "0"),
        ("net/ipv4/conf/default/rp_filter", "0"),
        ("net/ipv4/conf/all/send_redirects", "0"),
        ("net/ipv4/conf/default/send_redirects", "0"),
    ] {
        namespace.set(setting, value)?;
    }
    Ok(())
}

/// Joins two namespaces by a cable, with nothing between them; each end has an IPv4 and an IPv6 address.
///
/// # Errors
/// The kernel refuses.
pub fn join(
    one: (&Namespace, [IpAddr; 2]),
    other: (&Namespace, [IpAddr; 2]),
) -> Result<(), NetworkError> {
    let written = |[v4, v6]: [IpAddr; 2]| (format!("{v4}/24"), format!("{v6}/64"));
    let (mine, its) = (written(one.1), written(other.1));
    cable(
        (one.0, "cable", &mine.0, &mine.1),
        (other.0, "cable", &its.0, &its.1),
    )
}

/// One end of a cable: its namespace, its device, its addresses.
type End<'a> = (&'a Namespace, &'a str, &'a str, &'a str);

/// Joins two namespaces.
pub(crate) fn cable(one: End<'_>, other: End<'_>) -> Result<(), NetworkError> {
    one.0.ip(&format!(
        "link add {} type veth peer name {} netns {}",
        one.1,
        other.1,
        other.0.path()
    ))?;
    for (namespace, device, v4, v6) in [one, other] {
        namespace.ip(&format!("address add {v4} dev {device}"))?;
        namespace.ip(&format!("address add {v6} dev {device} nodad"))?;
        namespace.ip(&format!("link set {device} up"))?;
    }
    Ok(())
}
