//! Where there is no net under the software: programs that the preloaded library cannot reach (static ones, Go, another libc, an
//! emptied environment, set-uid) are noticed by what they do. Half intercepted is worse than stopped.

use super::Inspection;
use crate::kernel::{Socket, owners};
use crate::node::child::KnownChild;
use intercept::stats::{Counter, Deed, StatsSnapshot};
use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::time::Instant;

/// Looking through a machine's connections takes at most one part of so many of a processor's time: where tens of thousands stand
/// or have just ended, a look takes tens of milliseconds.
const LOOK_SHARE: u32 = 200;

/// When connections are looked through.
#[derive(Debug, Default)]
pub(super) struct ConnectionsLook {
    /// When there may be another look.
    due: Option<Instant>,
    /// The last one found something wrong: the next follows at once, since only what stays so is believed.
    suspects: bool,
}

impl ConnectionsLook {
    fn is_due(&self) -> bool {
        self.suspects || self.due.is_none_or(|due| Instant::now() >= due)
    }

    /// A look that `began` then has just ended.
    fn looked(&mut self, began: Instant, suspects: bool) {
        *self = Self {
            due: Some(Instant::now() + began.elapsed().saturating_mul(LOOK_SHARE)),
            suspects,
        };
    }
}

impl Inspection {
    /// What is wrong with the running child, if the library does not reach all of it: a declared port is listening, or a
    /// member is connected, and the hooks never saw it.
    pub(in crate::node) fn unreachable_program(&self) -> Option<String> {
        let child = self
            .child
            .present()
            .filter(|child| !child.interception.net)?;
        self.missed(self.unseen_listeners(&child))
            .or_else(|| self.missed_connection())
    }

    fn missed_connection(&self) -> Option<String> {
        let mut look = self.connections.lock();
        if !look.is_due() {
            return None;
        }
        let began = Instant::now();
        let mut to_members = look_at(self.child.household().connections())?;
        to_members.retain(|socket| self.membership.listens(&socket.remote));
        let missed = self.missed(to_members);
        look.looked(began, missed.is_some());
        missed
    }

    /// What is wrong with the first of these sockets that the child has open though the hooks did not see it.
    fn missed(&self, suspects: Vec<Socket>) -> Option<String> {
        if suspects.is_empty() {
            return None;
        }
        let stats = self.stats.read().ok()?;
        let processes = look_at(self.child.household().members())?;
        let inodes: BTreeSet<u64> = suspects.iter().map(|socket| socket.inode).collect();
        let owners = look_at(owners(&processes, &inodes))?;
        suspects.iter().find_map(|socket| {
            let holders = owners.get(&socket.inode)?;
            let deed = if socket.is_listening() {
                Deed::Listen
            } else {
                Deed::Connect
            };
            let seen = processes.iter().any(|pid| hook_saw(&stats, *pid, deed));
            let missed = (holders.iter()).find(|owner| !seen || !self.library_in(owner.pid));
            missed.map(|owner| complaint(owner.pid, socket))
        })
    }

    /// How often the library has been loaded into a process of this node.
    pub(in crate::node) fn library_loads(&self) -> Option<u64> {
        let stats = self.stats.read().ok()?;
        Some(stats.get(Counter::Loaded) + stats.get(Counter::LoadedWithoutTable))
    }

    /// Said of a child that has ended, when the library was never loaded since it was started: it may well have ended
    /// because of that, since the ports of software that is not reached are in use by what is kept for it.
    pub(in crate::node) fn never_reached(&self, generation: u64) -> Option<String> {
        let start = self
            .child
            .present()
            .filter(|child| !child.interception.net)?
            .start;
        let loaded = start.generation != generation || self.library_loads() != start.loads_before;
        (!loaded && start.loads_before.is_some())
            .then(|| format!("Upstart's library was not in its calls: {CANNOT_BE_REACHED}"))
    }

    /// Whether the library is in a process (one that has ended counts as reached: it is no danger any more).
    fn library_in(&self, pid: i32) -> bool {
        let folder = self.surroundings.layout.library().display().to_string();
        std::fs::read_to_string(format!("/proc/{pid}/maps"))
            .is_ok_and(|maps| maps.contains(&folder) || maps.is_empty())
            || !Path::new(&format!("/proc/{pid}")).exists()
    }

    /// Listeners at declared ports that the hooks did not see.
    fn unseen_listeners(&self, child: &KnownChild) -> Vec<Socket> {
        let picture = self.relay.traffic.picture();
        let declared: BTreeSet<u16> = picture
            .catalog
            .ports(picture.standing.version)
            .values()
            .copied()
            .collect();
        let mut found = look_at(self.child.household().listeners()).unwrap_or_default();
        found.retain(|socket| {
            let port = socket.local.port();
            declared.contains(&port) && !child.listening.iter().any(|seen| seen.port() == port)
        });
        found
    }
}

/// What the kernel has told. Where it has not, the next look sees to it.
fn look_at<T>(told: io::Result<T>) -> Option<T> {
    told.inspect_err(|error| tracing::debug!(%error, "cannot look at the software's sockets"))
        .ok()
}

fn hook_saw(stats: &StatsSnapshot, pid: i32, deed: Deed) -> bool {
    stats
        .processes
        .iter()
        .any(|seen| i64::from(seen.pid) == i64::from(pid) && seen.did(deed))
}

fn complaint(pid: i32, socket: &Socket) -> String {
    let program = std::fs::read_link(format!("/proc/{pid}/exe")).map_or_else(
        |_| "a program".to_owned(),
        |path| path.display().to_string(),
    );
    let did = if socket.is_listening() {
        format!("listens on {}", socket.local)
    } else {
        format!("is connected to the member {}", socket.remote)
    };
    format!(
        "{program} (process {pid}) {did}, but Upstart's library is not in its calls: {CANNOT_BE_REACHED}"
    )
}

/// What people are to do about it.
const CANNOT_BE_REACHED: &str = "programs that are static, written in Go, set-uid, built for another libc, or started with an \
     emptied environment cannot be intercepted this way. The software was stopped; use a dynamically linked build, keep \
     LD_PRELOAD in the environment, then `upstart retry`";
