//! What the kernel tells of processes and their sockets (proc(5)).

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

/// A listening socket, or a connection, in the kernel's table.
#[derive(Clone, Debug)]
pub(crate) struct Socket {
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) listening: bool,
    pub(crate) inode: u64,
}

/// `TCP_LISTEN` and `TCP_ESTABLISHED` as /proc/net/tcp writes them.
const LISTEN: &str = "0A";
const ESTABLISHED: &str = "01";

/// `TCP_SYN_RECV`, also of handshakes that are half-way there.
const HALF_OPEN: &str = "03";

/// All processes that can be seen.
pub(crate) fn processes() -> Vec<i32> {
    numbers(Path::new("/proc"))
}

/// Whether somebody has stopped a process (SIGSTOP, a debugger), so that it does nothing until it is let go on.
pub(crate) fn stands_still(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name before it may hold anything.
    let state = stat
        .rsplit_once(')')
        .and_then(|(_, rest)| rest.split_ascii_whitespace().next());
    matches!(state, Some("T" | "t"))
}

/// A process and all its descendants.
pub(crate) fn family(main: i32) -> Vec<i32> {
    let mut family = vec![main];
    family.extend(crate::holder::group::below(main));
    family
}

fn numbers(folder: &Path) -> Vec<i32> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// A process that has a socket open, under one of its descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Owner {
    pub(crate) pid: i32,
    pub(crate) descriptor: i32,
}

/// Which of these processes have which of these sockets open; each process once for each.
pub(crate) fn owners(processes: &[i32], inodes: &BTreeSet<u64>) -> BTreeMap<u64, Vec<Owner>> {
    let mut owners: BTreeMap<u64, Vec<Owner>> = BTreeMap::new();
    for pid in processes {
        let folder = format!("/proc/{pid}/fd");
        for descriptor in numbers(Path::new(&folder)) {
            let Ok(target) = std::fs::read_link(format!("{folder}/{descriptor}")) else {
                continue;
            };
            let inode = target.to_str().and_then(|text| {
                text.strip_prefix("socket:[")?
                    .strip_suffix(']')?
                    .parse()
                    .ok()
            });
            if let Some(inode) = inode.filter(|inode| inodes.contains(inode)) {
                let processes = owners.entry(inode).or_default();
                if processes.iter().all(|owner| owner.pid != *pid) {
                    let pid = *pid;
                    processes.push(Owner { pid, descriptor });
                }
            }
        }
    }
    owners
}

/// The TCP sockets of a process's network namespace that listen. They come first in the kernel's tables (proc(5)), so what
/// follows is not read: connections that have ended may stay there in tens of thousands, and every look would format them all.
pub(crate) fn listeners(pid: i32) -> Vec<Socket> {
    tables(pid)
        .flat_map(|table| table.map_while(|line| socket(&line, LISTEN)))
        .collect()
}

/// The TCP connections of a process's network namespace.
pub(crate) fn connections(pid: i32) -> Vec<Socket> {
    tables(pid)
        .flat_map(|table| table.filter_map(|line| socket(&line, ESTABLISHED)))
        .collect()
}

/// Whether an address is this host's, in this network namespace.
pub(crate) fn is_here(ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    if ip.is_unspecified() || ip.is_loopback() {
        return true;
    }
    let all = nix::ifaddrs::getifaddrs().into_iter().flatten();
    all.filter_map(|interface| interface.address)
        .any(|address| match ip {
            IpAddr::V4(ip) => address.as_sockaddr_in().is_some_and(|at| at.ip() == ip),
            IpAddr::V6(ip) => address.as_sockaddr_in6().is_some_and(|at| at.ip() == ip),
        })
}

/// The ports of this network namespace at which a handshake is half-way there.
pub(crate) fn half_open_ports() -> BTreeSet<u16> {
    let me = i32::try_from(std::process::id()).unwrap_or(0);
    tables(me)
        .flat_map(|table| table.filter_map(|line| socket(&line, HALF_OPEN)))
        .map(|socket| socket.local.port())
        .collect()
}

/// The kernel's tables for both families, line by line.
fn tables(pid: i32) -> impl Iterator<Item = impl Iterator<Item = String>> {
    ["tcp", "tcp6"].into_iter().filter_map(move |table| {
        let file = File::open(format!("/proc/{pid}/net/{table}")).ok()?;
        Some(BufReader::new(file).lines().map_while(Result::ok).skip(1))
    })
}

/// The socket of this line, if it is in that state.
fn socket(line: &str, state: &str) -> Option<Socket> {
    let mut fields = line.split_whitespace().skip(1);
    let (local, remote) = (fields.next()?, fields.next()?);
    if fields.next()? != state {
        return None;
    }
    Some(Socket {
        local: address(local)?,
        remote: address(remote)?,
        listening: state == LISTEN,
        inode: fields.nth(5)?.parse().ok()?,
    })
}

/// An address as /proc/net/tcp writes it: hex, in words of the machine's byte order.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let words: Vec<[u8; 4]> = (0..ip.len() / 8)
        .map(|at| u32::from_str_radix(ip.get(at * 8..at * 8 + 8)?, 16).ok())
        .map(|word| word.map(u32::to_ne_bytes))
        .collect::<Option<_>>()?;
    let ip = match words.as_slice() {
        [v4] => IpAddr::from(*v4),
        [_, _, _, _] => {
            let bytes: [u8; 16] = words.concat().try_into().ok()?;
            IpAddr::from(bytes).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_found_in_the_kernels_table() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        let here = listener.local_addr().expect("address");
        let me = i32::try_from(std::process::id()).expect("pid");
        let found = listeners(me)
            .into_iter()
            .find(|socket| socket.local == here);
        let inode = found.expect("in the table").inode;
        let owners = owners(&[me], &BTreeSet::from([inode]));
        let owners = owners.get(&inode).expect("an owner");
        assert_eq!(owners.iter().map(|it| it.pid).collect::<Vec<_>>(), [me]);
    }

    #[test]
    fn a_connection_is_found_behind_those_that_have_ended() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        let here = listener.local_addr().expect("address");
        // Whoever closes first keeps the connection in TIME_WAIT.
        drop(std::net::TcpStream::connect(here).expect("connected"));
        drop(listener.accept().expect("accepted"));
        let kept = std::net::TcpStream::connect(here).expect("connected");
        let local = kept.local_addr().expect("address");
        let me = i32::try_from(std::process::id()).expect("pid");
        let found: Vec<Socket> = connections(me)
            .into_iter()
            .filter(|socket| socket.remote == here)
            .collect();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].local, local);
        assert!(!listeners(me).iter().any(|socket| socket.local == local));
    }

    #[test]
    fn addresses_of_both_families_are_read() {
        assert_eq!(address("0100007F:1F90"), "127.0.0.1:8080".parse().ok());
        assert_eq!(
            address("0000000000000000FFFF00000100007F:0050"),
            "127.0.0.1:80".parse().ok()
        );
        assert_eq!(address("nonsense"), None);
    }
}
