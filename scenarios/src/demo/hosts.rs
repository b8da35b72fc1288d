//! The hosts of a run: every program on this machine's loopback, or each on a host of a test network.

use anyhow::{Context, bail};
use network::{Host, Namespace, Network, Site, unavailable};
use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;

/// The upgrade server's host.
pub const SERVER: &str = "server";

/// Where this program itself is, as an operator and as a caller outside.
pub const OPERATOR: &str = "operator";

/// The hosts of one run.
pub struct Hosts {
    net: Option<Net>,
    /// Where everything is that is on no host of a network.
    here: IpAddr,
}

struct Net {
    network: Mutex<Network>,
    hosts: BTreeMap<String, Host>,
    /// Addresses of translating hops at which hosts are reached besides their own.
    hops: BTreeMap<String, IpAddr>,
}

impl std::fmt::Debug for Hosts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = self.net.iter().flat_map(|net| net.hosts.keys());
        f.debug_list().entries(names).finish()
    }
}

impl Hosts {
    /// Everything on loopback.
    pub fn loopback() -> Self {
        Self::here(Ipv4Addr::LOCALHOST.into())
    }

    /// Everything at this address of the machine.
    pub fn here(here: IpAddr) -> Self {
        Self { net: None, here }
    }

    /// A test network with the server's host and this program's. The calling thread moves to the latter, and with it all
    /// threads that it starts from now on.
    pub fn network() -> anyhow::Result<Self> {
        if let Some(why) = unavailable() {
            bail!("no test network can be made here: {why}");
        }
        let mut net = Net {
            network: Mutex::new(Network::new()?),
            hosts: BTreeMap::new(),
            hops: BTreeMap::new(),
        };
        net.add(SERVER)?;
        net.add(OPERATOR)?.namespace.enter()?;
        Ok(Self {
            net: Some(net),
            ..Self::loopback()
        })
    }

    /// One more host of the network.
    pub fn add(&mut self, name: &str) -> anyhow::Result<Host> {
        self.net.as_mut().context("no network")?.add(name)
    }

    /// A site behind a translating hop, which is a host of the network under this name.
    pub fn site(&mut self, hop: &str) -> anyhow::Result<Site> {
        let net = self.net.as_mut().context("no network")?;
        let network = net.network.get_mut();
        let site = Site::new(network)?;
        net.hosts.insert(hop.to_owned(), site.hop.clone());
        Ok(site)
    }

    /// A host of a site; with a hop its programs are reached at the hop's address too.
    pub fn insert(&mut self, name: &str, host: Host, hop: Option<IpAddr>) -> anyhow::Result<()> {
        let net = self.net.as_mut().context("no network")?;
        take_labels_at_once(&host)?;
        net.hosts.insert(name.to_owned(), host);
        net.hops.extend(hop.map(|hop| (name.to_owned(), hop)));
        Ok(())
    }

    /// The network, to change it.
    pub fn net(&self) -> anyhow::Result<MutexGuard<'_, Network>> {
        let net = self.net.as_ref().context("no network")?;
        Ok(net.network.lock())
    }

    /// A host of the network.
    pub fn host(&self, name: &str) -> anyhow::Result<&Host> {
        let net = self.net.as_ref().context("no network")?;
        net.hosts
            .get(name)
            .with_context(|| format!("there is no host {name}"))
    }

    fn namespace(&self, name: &str) -> Option<&Namespace> {
        let host = self.net.as_ref()?.hosts.get(name)?;
        Some(&host.namespace)
    }

    /// A program that will run on this host.
    pub fn command(&self, host: &str, program: impl AsRef<OsStr>) -> Command {
        match self.namespace(host) {
            Some(namespace) => namespace.command(program),
            None => Command::new(program),
        }
    }

    /// The host's own address.
    pub fn address(&self, host: &str) -> IpAddr {
        match self.net.as_ref().and_then(|net| net.hosts.get(host)) {
            Some(host) => host.v4.into(),
            None => self.here,
        }
    }

    /// The address at which a host is reached from outside its site.
    pub fn reached_at(&self, host: &str) -> IpAddr {
        let hop = self.net.as_ref().and_then(|net| net.hops.get(host));
        hop.copied().unwrap_or_else(|| self.address(host))
    }

    /// What the kernel says of the host's TCP sockets, to be read again and again.
    pub fn sockets(&self, host: &str) -> anyhow::Result<Sockets> {
        match self.namespace(host) {
            Some(namespace) => namespace.within(Sockets::open)?,
            None => Sockets::open(),
        }
    }
}

impl Net {
    fn add(&mut self, name: &str) -> anyhow::Result<Host> {
        let network = self.network.get_mut();
        let host = network.host()?;
        take_labels_at_once(&host)?;
        self.hosts.insert(name.to_owned(), host.clone());
        Ok(host)
    }
}

/// The kernel's tables of TCP sockets on one host.
#[derive(Debug)]
pub struct Sockets {
    tables: Vec<File>,
}

impl Sockets {
    /// Those of the calling thread's host.
    fn open() -> anyhow::Result<Self> {
        let tables = ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"];
        let tables = tables.iter().filter_map(|path| File::open(path).ok());
        Ok(Self {
            tables: tables.collect(),
        })
    }

    /// Their lines now.
    pub fn read(&self) -> String {
        let mut text = String::new();
        for mut table in &self.tables {
            // A line that cannot be read is a socket that is not seen: the next look comes soon.
            let _ = table.seek(SeekFrom::Start(0));
            let _ = table.read_to_string(&mut text);
        }
        text
    }
}

/// As the manual recommends.
fn take_labels_at_once(host: &Host) -> anyhow::Result<()> {
    Ok(host.namespace.set("net/ipv4/tcp_fastopen", "3")?)
}
