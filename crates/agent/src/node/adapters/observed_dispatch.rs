//! Observed dispatch begins, and stays: every call of the software's own callers passes the agent, and none of them another way.

use crate::cached;
use crate::household::Household;
use crate::kernel::{self, SocketOwner};
use crate::node::child::ChildKeeper;
use crate::node::surroundings::Surroundings;
use crate::relay::{Observed, Relay, ResetReason};
use rustix::io::Errno;
use rustix::net::Shutdown;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Between two looks at the software's connections. What is in both is not on its way to the agent.
const LOOK: Duration = Duration::from_millis(100);

/// How often nothing must be found: a thread of the software may be between its accept and what it was told to do with the connection.
const LOOKS: u32 = 3;

/// How long it is tried, until the node says that it cannot.
const LIMIT: Duration = Duration::from_secs(10);

/// Which services are observed, as the picture and a file in the data directory say it.
pub(in crate::node) struct ObservedDispatch {
    surroundings: Arc<Surroundings>,
    relay: Arc<Relay>,
    child: Arc<ChildKeeper>,
}

/// Why it cannot begin.
#[derive(Debug, thiserror::Error)]
pub(in crate::node) enum ObserveError {
    /// The next agent would not know of it.
    #[error("cannot note which services are observed")]
    Note(#[source] io::Error),
    /// Connections that nobody is told of may be left.
    #[error("cannot see which connections the software has")]
    Look(#[source] io::Error),
    /// Connections are left that nobody is told of.
    #[error(
        "the software still has {connections} connections of callers whose calls the adapters would not be told of, and they cannot be ended{}; \
         end them, or let the agent run as root", why(.problem)
    )]
    Left {
        /// How many.
        connections: usize,
        /// Why they could not be ended.
        problem: Option<Errno>,
    },
}

fn why(problem: &Option<Errno>) -> String {
    problem.map_or_else(String::new, |error| format!(" ({error})"))
}

impl ObservedDispatch {
    pub(in crate::node) fn new(
        surroundings: &Arc<Surroundings>,
        relay: &Arc<Relay>,
        child: &Arc<ChildKeeper>,
    ) -> Self {
        Self {
            surroundings: surroundings.clone(),
            relay: relay.clone(),
            child: child.clone(),
        }
    }

    fn observed_file(&self) -> PathBuf {
        self.surroundings.layout.root().join("observed.json")
    }

    /// What was observed when an earlier agent ended. Its adapters remember something: until they are loaded, calls wait.
    pub(in crate::node) fn recall(&self) {
        let before: BTreeSet<String> = cached::load(&self.observed_file()).unwrap_or_default();
        let before = before.into_iter().map(|name| (name, Observed::Before));
        let before = Arc::new(before.collect());
        self.relay
            .traffic
            .change(|picture| picture.observed = before);
    }

    /// Finds out what is observed with the adapters that are loaded now. Until the table says so, and no older connection is left,
    /// callers at later versions wait.
    pub(in crate::node) fn observe(&self) {
        let picture = self.relay.traffic.picture();
        let ports = picture.catalog.ports(picture.standing.version);
        let was = &picture.observed;
        let followed = ports.keys().filter(|name| picture.is_followed(name));
        let observed = followed.map(|name| {
            let now = match was.get(name) {
                // Its connections have come to the agent ever since.
                Some(Observed::Before | Observed::InForce) => Observed::InForce,
                Some(Observed::Begins) | None => Observed::Begins,
            };
            (name.clone(), now)
        });
        let observed = Arc::new(observed.collect());
        self.relay
            .traffic
            .change(|picture| picture.observed = observed);
    }

    /// Ends the connections that the software has had directly from before: the table tells its hooks already that new ones are the
    /// agent's. Then callers at later versions are served.
    pub(in crate::node) async fn begin(&self) -> Result<(), ObserveError> {
        let picture = self.relay.traffic.picture();
        let ports = picture.catalog.ports(picture.standing.version);
        let begins: BTreeSet<&String> = (picture.observed.iter())
            .filter(|(_, state)| **state == Observed::Begins)
            .map(|(name, _)| name)
            .collect();
        let at: BTreeSet<u16> = begins
            .iter()
            .filter_map(|name| ports.get(*name))
            .copied()
            .collect();
        if !at.is_empty() {
            let ended = self.end_all(&at).await?;
            tracing::info!(services = ?begins, version = %picture.standing.version, ended, "observes all calls from now on");
            self.relay
                .tally
                .add(ResetReason::Observed.counter(), ended as u64);
        }
        // Durable before an adapter can remember anything that depends on it.
        self.note_observed(picture.observed.keys().collect())?;
        let observed = picture.observed.keys();
        let observed = observed.map(|name| (name.clone(), Observed::InForce));
        let observed = Arc::new(observed.collect());
        self.relay
            .traffic
            .change(|picture| picture.observed = observed);
        Ok(())
    }

    fn note_observed(&self, names: BTreeSet<&String>) -> Result<(), ObserveError> {
        let file = self.observed_file();
        let noted: BTreeSet<String> = cached::load(&file).unwrap_or_default();
        if noted.iter().eq(names.iter().copied()) {
            return Ok(());
        }
        cached::save_durably(&file, &names).map_err(ObserveError::Note)
    }

    /// Ends all connections at these ports that the software did not get from the agent; how many there were.
    async fn end_all(&self, ports: &BTreeSet<u16>) -> Result<usize, ObserveError> {
        let last = Instant::now() + LIMIT;
        let (mut seen, mut ended, mut quiet) = (BTreeSet::new(), BTreeSet::new(), 0);
        let mut problem = None;
        loop {
            if self.child.present().is_none() {
                return Ok(ended.len());
            }
            let household = self.child.household().clone();
            let at = ports.clone();
            let found = tokio::task::spawn_blocking(move || direct(&household, &at));
            let found = found.await.map_err(io::Error::other).flatten();
            let found = found.map_err(ObserveError::Look)?;
            quiet = if found.is_empty() && self.relay.returning() == 0 {
                quiet + 1
            } else {
                0
            };
            if quiet == LOOKS {
                return Ok(ended.len());
            }
            for (inode, owner) in found.iter().filter(|(inode, _)| seen.contains(*inode)) {
                match end(*owner, *inode) {
                    Ok(()) => drop(ended.insert(*inode)),
                    Err(error) => problem = Some(error),
                }
            }
            if Instant::now() > last {
                let connections = found.len();
                return Err(ObserveError::Left {
                    connections,
                    problem,
                });
            }
            seen = found.into_keys().collect();
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// The connections at these ports that the software's processes have, without the agent's own.
fn direct(household: &Household, ports: &BTreeSet<u16>) -> io::Result<BTreeMap<u64, SocketOwner>> {
    let here: Vec<kernel::Socket> = household
        .connections()?
        .into_iter()
        .filter(|socket| ports.contains(&socket.local.port()))
        .collect();
    let inodes = here.iter().map(|socket| socket.inode).collect();
    let owners = kernel::owners(&household.members()?, &inodes)?;
    // Looked at afterwards: a connection of the agent's that the software has is in it.
    let own = own_connections()?;
    let direct = here
        .iter()
        .filter(|socket| !own.contains(&(socket.remote, socket.local)))
        .filter_map(|socket| Some((socket.inode, *owners.get(&socket.inode)?.first()?)));
    Ok(direct.collect())
}

/// Both ends of this process's connections.
fn own_connections() -> io::Result<BTreeSet<(SocketAddr, SocketAddr)>> {
    let me = i32::try_from(std::process::id()).map_err(io::Error::other)?;
    let all = kernel::connections(me)?;
    let inodes = all.iter().map(|socket| socket.inode).collect();
    let mine = kernel::owners(&[me], &inodes)?;
    let mine = all
        .iter()
        .filter(|socket| mine.contains_key(&socket.inode))
        .map(|socket| (socket.local, socket.remote));
    Ok(mine.collect())
}

/// Ends a connection of another process, as a reset by its peer would.
fn end(owner: SocketOwner, inode: u64) -> Result<(), Errno> {
    let Some(pid) = Pid::from_raw(owner.pid) else {
        return Err(Errno::SRCH);
    };
    let process = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
    let socket: OwnedFd =
        rustix::process::pidfd_getfd(&process, owner.descriptor, PidfdGetfdFlags::empty())?;
    if rustix::fs::fstat(&socket)?.st_ino != inode {
        // It has ended meanwhile.
        return Ok(());
    }
    match rustix::net::connect_unspec(&socket) {
        // A thread waits in a call on it: it is told of an orderly end instead.
        Err(Errno::BUSY) => rustix::net::shutdown(&socket, Shutdown::Both),
        ended => ended,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufRead as _;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd as _;

    /// Has both ends of a connection, says at which port it was accepted, and how the other end ends.
    const PROGRAM: &str = "
import socket
listener = socket.create_server(('127.0.0.1', 0))
caller = socket.create_connection(listener.getsockname())
accepted, _ = listener.accept()
print(listener.getsockname()[1], flush=True)
try:
    print('ended', caller.recv(1), flush=True)
except ConnectionResetError:
    print('reset', flush=True)
";

    #[test]
    fn a_connection_of_a_process_is_found_and_ended() {
        let mut child = std::process::Command::new("python3")
            .args(["-c", PROGRAM])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("python3");
        let said = child.stdout.take().expect("piped");
        let mut lines = std::io::BufReader::new(said).lines();
        let mut line = || lines.next().expect("a line").expect("text");
        let port: u16 = line().parse().expect("a port");
        let pid = i32::try_from(child.id()).expect("a pid");
        let ports = BTreeSet::from([port]);
        let household = Household::of(vec![pid]);
        let found = direct(&household, &ports).expect("told");
        assert_eq!(found.len(), 1, "{found:?}");
        for (inode, owner) in found {
            end(owner, inode).expect("ended");
        }
        assert_eq!(line(), "reset");
        assert!(direct(&household, &ports).expect("told").is_empty());
        child.wait().expect("it ends");
    }

    #[test]
    fn connections_from_this_process_are_its_own() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let at = listener.local_addr().expect("an address");
        let own = TcpStream::connect(at).expect("connected");
        let (accepted, _) = listener.accept().expect("accepted");
        assert!(accepted.as_raw_fd() > 0 && own.as_raw_fd() > 0);
        let me = i32::try_from(std::process::id()).expect("a pid");
        let household = Household::of(vec![me]);
        assert!(
            direct(&household, &BTreeSet::from([at.port()]))
                .expect("told")
                .is_empty()
        );
    }
}
