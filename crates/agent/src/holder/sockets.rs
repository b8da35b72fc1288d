//! Finding the listening sockets of other processes and duplicating them (`pidfd_getfd`, Linux 5.6).

use super::steering::Spot;
use rustix::net::{AddressFamily, SocketType, sockopt};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

/// A duplicate of somebody's listening TCP socket.
#[derive(Debug)]
pub(super) struct FoundListener {
    pub(super) inode: u64,
    pub(super) spot: Spot,
    pub(super) socket: OwnedFd,
}

impl FoundListener {
    /// A listening socket of ours.
    pub(super) fn new(socket: OwnedFd) -> io::Result<Self> {
        Ok(Self {
            inode: inode(&socket)?,
            spot: Spot::of(&socket, local_address(&socket)?)?,
            socket,
        })
    }
}

/// Duplicates of the TCP sockets that these processes listen on at these ports; each socket once, except the inodes in
/// `known`.
///
/// # Errors
/// When the system does not let us look (a process that ended meanwhile is no error).
pub(super) fn find_all_listeners(
    processes: &[i32],
    ports: &[u16],
    known: &BTreeSet<u64>,
) -> io::Result<Vec<FoundListener>> {
    find(processes, ports, known, false)
}

/// The same of those processes that the system lets us look into.
///
/// # Errors
/// As [`find_all_listeners`].
pub(super) fn find_listeners(
    processes: &[i32],
    ports: &[u16],
    known: &BTreeSet<u64>,
) -> io::Result<Vec<FoundListener>> {
    find(processes, ports, known, true)
}

fn find(
    processes: &[i32],
    ports: &[u16],
    known: &BTreeSet<u64>,
    only_allowed: bool,
) -> io::Result<Vec<FoundListener>> {
    let mut seen = known.clone();
    let mut found = Vec::new();
    for &process in processes {
        let sockets = match sockets_of(process) {
            Err(error) if only_allowed && error.kind() == io::ErrorKind::PermissionDenied => {
                continue;
            }
            sockets => sockets?,
        };
        if sockets.iter().all(|(_, inode)| seen.contains(inode)) {
            continue;
        }
        let Some(pidfd) = open_process(process)? else {
            continue;
        };
        for (number, inode) in sockets {
            if !seen.insert(inode) {
                continue;
            }
            let socket = match pidfd_getfd(&pidfd, number, PidfdGetfdFlags::empty()) {
                Ok(socket) => socket,
                // Closed meanwhile, or the process has ended.
                Err(rustix::io::Errno::BADF | rustix::io::Errno::SRCH) => continue,
                Err(rustix::io::Errno::PERM) if only_allowed => break,
                Err(error) => return Err(error.into()),
            };
            // The number may name another socket by now: the inode of what we hold is the truth.
            if let Some(found_one) = listener(socket)
                && ports.contains(&found_one.spot.address.port())
                && !found
                    .iter()
                    .any(|other: &FoundListener| other.inode == found_one.inode)
                && !known.contains(&found_one.inode)
            {
                found.push(found_one);
            }
        }
    }
    Ok(found)
}

/// The inode of an open file of ours.
pub(super) fn inode(socket: impl AsFd) -> io::Result<u64> {
    Ok(rustix::fs::fstat(socket)?.st_ino)
}

/// The local address of a TCP socket.
pub(super) fn local_address(socket: impl AsFd) -> io::Result<SocketAddr> {
    Ok(SocketAddr::try_from(rustix::net::getsockname(socket)?)?)
}

fn open_process(process: i32) -> io::Result<Option<OwnedFd>> {
    let Some(pid) = Pid::from_raw(process) else {
        return Ok(None);
    };
    match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => Ok(Some(pidfd)),
        Err(rustix::io::Errno::SRCH) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Descriptor and inode of each socket of a process; none when it has ended.
fn sockets_of(process: i32) -> io::Result<Vec<(i32, u64)>> {
    let entries = match fs::read_dir(format!("/proc/{process}/fd")) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    Ok(entries
        .flatten()
        .filter_map(|entry| {
            let number = entry.file_name().to_str()?.parse().ok()?;
            let target = fs::read_link(entry.path()).ok()?;
            let inode = target
                .to_str()?
                .strip_prefix("socket:[")?
                .strip_suffix(']')?;
            Some((number, inode.parse().ok()?))
        })
        .collect())
}

/// The socket, if it is a listening TCP (or MPTCP) socket.
fn listener(socket: OwnedFd) -> Option<FoundListener> {
    let domain = sockopt::socket_domain(&socket).ok()?;
    if domain != AddressFamily::INET && domain != AddressFamily::INET6 {
        return None;
    }
    if sockopt::socket_type(&socket).ok()? != SocketType::STREAM
        || !sockopt::socket_acceptconn(&socket).ok()?
    {
        return None;
    }
    FoundListener::new(socket).ok()
}

#[cfg(test)]
mod tests {
    use super::find_listeners;
    use std::collections::BTreeSet;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn a_listener_is_found_once_and_what_is_connected_is_not() {
        let own = i32::try_from(std::process::id()).expect("a pid");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let again = listener.try_clone().expect("a duplicate");
        let address = listener.local_addr().expect("an address");
        let _caller = TcpStream::connect(address).expect("a connection");
        let _accepted = listener.accept().expect("accepted");
        let ports = [address.port()];
        let found = find_listeners(&[own, own], &ports, &BTreeSet::new()).expect("allowed");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].spot.address, address);
        let known = BTreeSet::from([found[0].inode]);
        assert!(
            find_listeners(&[own], &ports, &known)
                .expect("allowed")
                .is_empty()
        );
        drop((found, again));
    }
}
