//! The software's processes, whichever of them is left: everything below its holder, who adopts whatever loses its parent, and
//! everything in its control group. The main process may have ended long ago, as a daemon's starter does.

use crate::holder::group::control_members;
use crate::kernel::{self, Socket, SocketOwner, below, program};
use intercept::address::canonical;
use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Where the software's processes are found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Household {
    /// The holder's process.
    holder: Option<i32>,
    /// The control group's directory, where there is one.
    group: Option<PathBuf>,
    /// Processes that are known beside them.
    known: Vec<i32>,
}

/// A process outside, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stranger {
    pub(crate) pid: i32,
    pub(crate) program: String,
}

/// Who listens at an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Listens {
    Nobody,
    /// A process of the software.
    Software,
    /// Upstart alone, for software that does not listen yet.
    Upstart,
    /// Somebody else.
    Stranger(Stranger),
    /// Somebody whom this process may not look at.
    Unknown,
}

/// What became of the other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FarEnd {
    /// It is not there (any more).
    Gone,
    /// It waits to be accepted.
    Queued,
    /// This process of the software has it open.
    Accepted(i32),
    /// Somebody else has.
    Stranger(Stranger),
    /// Somebody has whom this process may not look at.
    Unknown,
}

impl Household {
    /// That of a holder and its control group.
    pub(crate) fn new(holder: Option<i32>, group: Option<&str>) -> Self {
        Self {
            holder,
            group: group.map(PathBuf::from),
            known: Vec::new(),
        }
    }

    /// Just these processes.
    #[cfg(test)]
    pub(crate) fn of(known: Vec<i32>) -> Self {
        Self {
            known,
            ..Self::default()
        }
    }

    /// The processes now.
    ///
    /// # Errors
    /// They cannot be read.
    pub(crate) fn members(&self) -> io::Result<Vec<i32>> {
        let mut members: BTreeSet<i32> = self.known.iter().copied().collect();
        if let Some(holder) = self.holder {
            members.extend(below(holder)?);
        }
        if let Some(group) = &self.group {
            members.extend(control_members(group)?);
        }
        Ok(members.into_iter().collect())
    }

    /// A process of it, to look at its network through; the cheapest to find.
    fn window(&self) -> io::Result<Option<i32>> {
        let of_group = self.group.as_deref().map(control_members).transpose()?;
        let first = of_group.and_then(|members| members.first().copied());
        match first {
            None => Ok(self.members()?.first().copied()),
            found => Ok(found),
        }
    }

    /// The TCP connections of the network that the software is in; none where nobody of it is left.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub(crate) fn connections(&self) -> io::Result<Vec<Socket>> {
        let Some(window) = self.window()? else {
            return Ok(Vec::new());
        };
        kernel::connections(window)
    }

    /// The TCP listeners of the network that the software is in; none where nobody of it is left.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub(crate) fn listeners(&self) -> io::Result<Vec<Socket>> {
        let Some(window) = self.window()? else {
            return Ok(Vec::new());
        };
        kernel::listeners(window)
    }

    /// What became of the other end of the connection from `here` to `there`. A connection in an accept queue has no inode yet; an
    /// accepted one has, and somebody has it open.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub(crate) fn far_end(&self, there: SocketAddr, here: SocketAddr) -> io::Result<FarEnd> {
        let Some(window) = self.window()? else {
            return Ok(FarEnd::Gone);
        };
        let Some(end) = kernel::connection(window, there, here)? else {
            return Ok(FarEnd::Gone);
        };
        if end.inode == 0 {
            return Ok(FarEnd::Queued);
        }
        let inodes = BTreeSet::from([end.inode]);
        if let Some(owner) = first_owner(&self.members()?, &inodes)? {
            return Ok(FarEnd::Accepted(owner.pid));
        }
        Ok(match first_owner(&kernel::processes()?, &inodes)? {
            Some(owner) => FarEnd::Stranger(Stranger::new(owner.pid)),
            None => FarEnd::Unknown,
        })
    }

    /// Who takes connections to this address.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub(crate) fn listens(&self, at: SocketAddr) -> io::Result<Listens> {
        self.listens_where(|local| covers(local, at))
    }

    /// Somebody else who listens so that nobody of the software can at this address.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub(crate) fn taken(&self, at: SocketAddr) -> io::Result<Option<Stranger>> {
        let here = |local: SocketAddr| covers(local, at) && local.is_ipv4() == at.is_ipv4();
        Ok(match self.listens_where(here)? {
            Listens::Stranger(stranger) => Some(stranger),
            _ => None,
        })
    }

    fn listens_where(&self, here: impl Fn(SocketAddr) -> bool) -> io::Result<Listens> {
        let mut all = self.listeners()?;
        all.retain(|socket| here(socket.local));
        let inodes: BTreeSet<u64> = all.iter().map(|socket| socket.inode).collect();
        if inodes.is_empty() {
            return Ok(Listens::Nobody);
        }
        if first_owner(&self.members()?, &inodes)?.is_some() {
            return Ok(Listens::Software);
        }
        let owners = kernel::owners(&kernel::processes()?, &inodes)?;
        let mut others = owners.values().flatten();
        let stranger = others.find(|owner| !self.is_upstart(owner.pid));
        Ok(match stranger {
            Some(owner) => Listens::Stranger(Stranger::new(owner.pid)),
            None if owners.is_empty() => Listens::Unknown,
            None => Listens::Upstart,
        })
    }

    fn is_upstart(&self, pid: i32) -> bool {
        self.holder == Some(pid) || i64::from(pid) == i64::from(std::process::id())
    }
}

impl Stranger {
    fn new(pid: i32) -> Self {
        Self {
            pid,
            program: program(pid),
        }
    }
}

impl std::fmt::Display for Stranger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { pid, program } = self;
        write!(f, "process {pid} ({program}), which is not the software's")
    }
}

fn first_owner(processes: &[i32], inodes: &BTreeSet<u64>) -> io::Result<Option<SocketOwner>> {
    let owners = kernel::owners(processes, inodes)?;
    Ok(owners.values().flatten().next().copied())
}

/// Whether a listener at `local` takes connections to `at`. One at the wildcard of IPv6 takes those of IPv4 too, as a rule.
fn covers(local: SocketAddr, at: SocketAddr) -> bool {
    let (local, at) = (canonical(local), canonical(at));
    local.port() == at.port() && (local.ip() == at.ip() || local.ip().is_unspecified())
}

#[cfg(test)]
mod tests;
