//! What the kernel tells of processes and their sockets. That it cannot be read is an error, never "there is none".

mod process;

pub(crate) use process::{
    Image, below, descends, image, parent, process, program, read_process, user, users,
};
pub(crate) use sockets::{Socket, connection, connections, half_open_ports, is_here, listeners};

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

/// The program of whoever executes it: the one that runs, even where its file was replaced or removed.
pub(crate) const OWN_PROGRAM: &str = "/proc/self/exe";

/// All processes that can be seen.
///
/// # Errors
/// `/proc` cannot be read.
pub(crate) fn processes() -> io::Result<Vec<i32>> {
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
///
/// # Errors
/// They cannot be read.
pub(crate) fn family(main: i32) -> io::Result<Vec<i32>> {
    let mut family = vec![main];
    family.extend(below(main)?);
    Ok(family)
}

fn numbers(folder: &Path) -> io::Result<Vec<i32>> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name();
        numbers.extend(name.to_str().and_then(|name| name.parse::<i32>().ok()));
    }
    Ok(numbers)
}

/// Whether an error says that a process has ended, or may not be looked at by this one.
pub(crate) fn is_out_of_sight(error: &io::Error) -> bool {
    let ended = error.raw_os_error() == Some(libc::ESRCH);
    ended
        || matches!(
            error.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied
        )
}

/// A process that has a socket open, under one of its descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SocketOwner {
    pub(crate) pid: i32,
    pub(crate) descriptor: i32,
}

/// Which of these processes have which of these sockets open; each process once for each. Those that have ended, or that this process
/// may not look at, have none.
///
/// # Errors
/// Their descriptors cannot be read, as where this process has none left for it.
pub(crate) fn owners(
    processes: &[i32],
    inodes: &BTreeSet<u64>,
) -> io::Result<BTreeMap<u64, Vec<SocketOwner>>> {
    let mut owners: BTreeMap<u64, Vec<SocketOwner>> = BTreeMap::new();
    for pid in processes {
        let folder = format!("/proc/{pid}/fd");
        let descriptors = match numbers(Path::new(&folder)) {
            Ok(descriptors) => descriptors,
            Err(error) if is_out_of_sight(&error) => continue,
            Err(error) => return Err(error),
        };
        for descriptor in descriptors {
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
                    processes.push(SocketOwner { pid, descriptor });
                }
            }
        }
    }
    Ok(owners)
}

#[cfg(test)]
mod tests {
    use super::{listeners, owners};
    use std::collections::BTreeSet;

    #[test]
    fn a_listener_is_found_with_its_owner() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        let here = listener.local_addr().expect("address");
        let me = i32::try_from(std::process::id()).expect("a number");
        let found = listeners(me).expect("told");
        let mut found = found.into_iter().filter(|socket| socket.local == here);
        let inode = found.next().expect("it listens").inode;
        let owners = owners(&[me], &BTreeSet::from([inode])).expect("told");
        let owners = owners.get(&inode).expect("an owner");
        assert_eq!(owners.iter().map(|it| it.pid).collect::<Vec<_>>(), [me]);
    }
}
