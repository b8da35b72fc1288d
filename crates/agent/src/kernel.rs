//! What the kernel tells of processes and their sockets (proc(5)).

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

/// A listening socket, or a connection, in the kernel's table.
pub(crate) struct Socket {
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) listening: bool,
    pub(crate) inode: u64,
}

/// `TCP_LISTEN` and `TCP_ESTABLISHED` as /proc/net/tcp writes them.
const LISTEN: &str = "0A";
const ESTABLISHED: &str = "01";

/// The child's main process and all its descendants, and whatever shares its cgroup.
pub(crate) fn family(main: i32) -> Vec<i32> {
    let mut parents: BTreeMap<i32, i32> = BTreeMap::new();
    for pid in numbers(Path::new("/proc")) {
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
            continue;
        };
        // The command, in brackets, may hold anything: what follows the last bracket does not.
        let parent = stat
            .rsplit_once(')')
            .and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok());
        if let Some(parent) = parent {
            parents.insert(pid, parent);
        }
    }
    let group = std::fs::read_to_string(format!("/proc/{main}/cgroup")).unwrap_or_default();
    let mut family = vec![main];
    for pid in parents.keys() {
        if *pid != main && (descends(*pid, main, &parents) || shares_group(*pid, &group)) {
            family.push(*pid);
        }
    }
    family
}

fn descends(mut pid: i32, ancestor: i32, parents: &BTreeMap<i32, i32>) -> bool {
    while let Some(parent) = parents.get(&pid) {
        if *parent == ancestor {
            return true;
        }
        if *parent <= 1 {
            return false;
        }
        pid = *parent;
    }
    false
}

/// Only a group of the child's own says anything.
fn shares_group(pid: i32, group: &str) -> bool {
    group.contains("/upstart-")
        && std::fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|other| other == group)
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

/// Which of these processes have which of these sockets open.
pub(crate) fn owners(processes: &[i32], inodes: &BTreeSet<u64>) -> BTreeMap<u64, Vec<i32>> {
    let mut owners: BTreeMap<u64, Vec<i32>> = BTreeMap::new();
    for pid in processes {
        let folder = format!("/proc/{pid}/fd");
        for number in numbers(Path::new(&folder)) {
            let Ok(target) = std::fs::read_link(format!("{folder}/{number}")) else {
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
                if !processes.contains(pid) {
                    processes.push(*pid);
                }
            }
        }
    }
    owners
}

/// The TCP sockets of a process's network namespace that listen or are connected.
pub(crate) fn sockets(pid: i32) -> Vec<Socket> {
    ["tcp", "tcp6"]
        .iter()
        .filter_map(|table| std::fs::read_to_string(format!("/proc/{pid}/net/{table}")).ok())
        .flat_map(|text| text.lines().skip(1).filter_map(socket).collect::<Vec<_>>())
        .collect()
}

fn socket(line: &str) -> Option<Socket> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let state = *fields.get(3)?;
    if state != LISTEN && state != ESTABLISHED {
        return None;
    }
    Some(Socket {
        local: address(fields.get(1)?)?,
        remote: address(fields.get(2)?)?,
        listening: state == LISTEN,
        inode: fields.get(9)?.parse().ok()?,
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
        let found = sockets(me)
            .into_iter()
            .find(|socket| socket.listening && socket.local == here);
        let inode = found.expect("in the table").inode;
        let owners = owners(&[me], &BTreeSet::from([inode]));
        assert_eq!(owners.get(&inode), Some(&vec![me]));
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
