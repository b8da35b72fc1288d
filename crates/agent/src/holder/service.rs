//! The holder's loop: one thread, one `poll`, nothing that waits.

use super::agents::{self, Agent, NEWCOMER_AGE_MAX, NEWCOMERS_MAX, Newcomer, Received};
use super::child::Child;
use super::group::Group;
use super::hand_overs::{HandOvers, Offers};
use super::hooks::{HOOK_AGE_MAX, HOOKS_MAX, Hook, HookLook};
use super::keyring::GivenKeyring;
use super::listeners::Listeners;
use super::output::OutputFile;
use super::remains::Notes;
use super::stopping::Stopping;
use crate::birth::Birth;
use crate::seldom::Seldom;
use intercept::holder::ChildExit;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with, sockopt};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often the output's size is looked at, and orphans are reaped.
pub(super) const TICK: Duration = Duration::from_secs(1);

/// How often it is looked whether agents still find the way here.
pub(super) const SOCKET_TICK: Duration = Duration::from_secs(2);

/// How often a group is looked at that does not tell when it empties, or that is being killed.
const EMPTYING_TICK: Duration = Duration::from_millis(20);

/// How long accepting rests when descriptors have run out: each that closes meanwhile helps.
const SCARCITY_PAUSE: Duration = Duration::from_millis(50);

/// How many connections are accepted before others get their turn.
const ACCEPTS_A_TURN: usize = 64;

const ACCEPT_FLAGS: SocketFlags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);

/// Everything that a holder has.
#[derive(Debug)]
pub(super) struct HolderService {
    pub(super) data: PathBuf,
    /// Which directory that is.
    pub(super) home: Option<Birth>,
    pub(super) agent_listener: OwnedFd,
    hook_listener: OwnedFd,
    pub(super) group: Group,
    /// Its processes when they were last seen.
    seen: Vec<i32>,
    /// Where a successor finds the child.
    pub(super) notes: Notes,
    /// The soft limit of open files that the child gets back.
    pub(super) open_files: Option<u64>,
    pub(super) child: Option<Child>,
    pub(super) last_exit: Option<ChildExit>,
    pub(super) listeners: Listeners,
    pub(super) listening: Vec<SocketAddr>,
    pub(super) hand_overs: HandOvers,
    pub(super) offers: Offers,
    /// The keys for labels, once an agent has given some.
    pub(super) keyring: Option<GivenKeyring>,
    pub(super) agent: Option<Agent>,
    pub(super) last_agent: u64,
    newcomers: Vec<Newcomer>,
    hooks: Vec<Hook>,
    /// The group is to be killed until it is empty.
    pub(super) killing: bool,
    pub(super) stopping: Option<Stopping>,
    pub(super) exiting: bool,
    paused_until: Option<Instant>,
    /// Said of strangers at the hooks' socket.
    pub(super) strangers: Seldom,
    /// Said of descriptors that have run out.
    scarcity: Seldom,
    pub(super) last_tick: Instant,
    pub(super) last_look: Instant,
    /// The holder's own log, where it has one.
    pub(super) log: Option<OutputFile>,
}

/// Whose descriptor became ready.
#[derive(Clone, Copy, Debug)]
enum ListenerSource {
    Agents,
    Hooks,
    Agent,
    Newcomer(usize),
    Hook(usize),
    /// A kept listener, by its number.
    Kept(u64),
    /// Only wakes the loop, which then looks for itself.
    Wake,
}

impl HolderService {
    pub(super) fn new(
        data: &Path,
        agent_listener: OwnedFd,
        hook_listener: OwnedFd,
        (group, notes): (Group, Notes),
        open_files: Option<u64>,
    ) -> Self {
        let child = (!group.is_empty().unwrap_or(false)).then(Child::left_behind);
        Self {
            data: data.to_owned(),
            home: Birth::at(data),
            agent_listener,
            hook_listener,
            group,
            seen: Vec::new(),
            notes,
            open_files,
            child,
            last_exit: None,
            listeners: Listeners::default(),
            listening: Vec::new(),
            hand_overs: HandOvers::default(),
            offers: Offers::default(),
            keyring: None,
            agent: None,
            last_agent: 0,
            newcomers: Vec::new(),
            hooks: Vec::new(),
            killing: false,
            stopping: None,
            exiting: false,
            paused_until: None,
            strangers: Seldom::default(),
            scarcity: Seldom::default(),
            last_tick: Instant::now(),
            last_look: Instant::now(),
            log: None,
        }
    }

    /// The child's processes; where they cannot be read, those that were seen last.
    pub(super) fn members(&mut self) -> Vec<i32> {
        match self.group.members() {
            Ok(members) => self.seen.clone_from(&members),
            Err(error) => tracing::warn!(%error, "the software's processes cannot be seen"),
        }
        self.seen.clone()
    }

    /// Serves until an agent asks for the end.
    pub(super) fn serve(mut self) -> io::Result<()> {
        let mut buffer = Vec::new();
        while !self.exiting {
            let now = Instant::now();
            let timeout = self.keep_time(now);
            let ready = self.wait(timeout)?;
            let now = Instant::now();
            let mut finished_hooks = Vec::new();
            let mut finished_newcomers = Vec::new();
            for source in ready {
                match source {
                    ListenerSource::Wake => {}
                    ListenerSource::Kept(id) => self.accept_kept(id, now),
                    ListenerSource::Agents => self.accept_agents(now),
                    ListenerSource::Hooks => self.accept_hooks(now),
                    ListenerSource::Agent => self.read_agent(&mut buffer, now),
                    ListenerSource::Newcomer(index) => {
                        if self.read_newcomer(index, &mut buffer) == HookLook::Done {
                            finished_newcomers.push(index);
                        }
                    }
                    ListenerSource::Hook(index) => {
                        if self.read_hook(index, now) == HookLook::Done {
                            finished_hooks.push(index);
                        }
                    }
                }
            }
            remove_all(&mut self.hooks, &finished_hooks);
            remove_all(&mut self.newcomers, &finished_newcomers);
            self.look_after_child();
            self.look_after_listeners(now);
            self.look_after_way_in(now);
        }
        self.group.remove();
        Ok(())
    }

    /// Closes what has waited too long; gives how long the next wait may take.
    fn keep_time(&mut self, now: Instant) -> Option<Duration> {
        self.hooks.retain(|hook| now < hook.since + HOOK_AGE_MAX);
        self.newcomers
            .retain(|newcomer| now < newcomer.since + NEWCOMER_AGE_MAX);
        if self.paused_until.is_some_and(|until| until <= now) {
            self.paused_until = None;
        }
        let mut moments = vec![
            self.hand_overs.expire(now),
            self.offers.expire(now),
            self.hooks.first().map(|hook| hook.since + HOOK_AGE_MAX),
            self.newcomers
                .first()
                .map(|newcomer| newcomer.since + NEWCOMER_AGE_MAX),
            self.paused_until,
            self.listeners.next_look(),
            (self.stopping.as_ref())
                .filter(|_| !self.killing)
                .map(Stopping::over_at),
        ];
        if let Some(child) = &self.child {
            let ended = child.exit.is_some();
            let untold = ended && self.group.changes().is_none();
            let spreads = ended && self.stopping.is_some();
            let tick = if self.killing || untold || spreads {
                EMPTYING_TICK
            } else {
                TICK
            };
            moments.push(Some(now + tick));
        }
        moments.push(Some(self.last_look + SOCKET_TICK));
        let first = moments.into_iter().flatten().min()?;
        Some(first.saturating_duration_since(now))
    }

    fn wait(&self, timeout: Option<Duration>) -> io::Result<Vec<ListenerSource>> {
        let watched = self.watched();
        let mut descriptors: Vec<PollFd<'_>> = watched
            .iter()
            .map(|(_, descriptor, flags)| PollFd::from_borrowed_fd(*descriptor, *flags))
            .collect();
        // Rounded up, so that what was to be waited for is due afterwards.
        let timeout = timeout.map(|timeout| timeout + Duration::from_millis(1));
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        match poll(&mut descriptors, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(descriptors
            .iter()
            .zip(&watched)
            .filter(|(descriptor, _)| !descriptor.revents().is_empty())
            .map(|(_, (source, _, _))| *source)
            .collect())
    }

    fn watched(&self) -> Vec<(ListenerSource, BorrowedFd<'_>, PollFlags)> {
        let input = PollFlags::IN;
        let mut watched = Vec::with_capacity(8 + self.hooks.len());
        if self.newcomers.len() < NEWCOMERS_MAX && self.paused_until.is_none() {
            watched.push((ListenerSource::Agents, self.agent_listener.as_fd(), input));
        }
        if self.hooks.len() < HOOKS_MAX && self.paused_until.is_none() {
            watched.push((ListenerSource::Hooks, self.hook_listener.as_fd(), input));
        }
        if self.hand_overs.has_room() && self.paused_until.is_none() {
            let served = self.listeners.served();
            watched.extend(served.map(|(id, socket)| (ListenerSource::Kept(id), socket, input)));
        }
        if let Some(agent) = &self.agent {
            let behind = agent.is_behind() || self.hand_overs.first().is_some();
            let flags = if behind {
                input | PollFlags::OUT
            } else {
                input
            };
            watched.push((ListenerSource::Agent, agent.socket(), flags));
        }
        for (index, newcomer) in self.newcomers.iter().enumerate() {
            watched.push((
                ListenerSource::Newcomer(index),
                newcomer.socket.as_fd(),
                input,
            ));
        }
        for (index, hook) in self.hooks.iter().enumerate() {
            watched.push((ListenerSource::Hook(index), hook.socket.as_fd(), input));
        }
        if let Some(child) = &self.child {
            if let Some(ending) = child.ending() {
                watched.push((ListenerSource::Wake, ending, input));
            }
            if let Some(launch) = &child.launch {
                watched.push((ListenerSource::Wake, launch.socket.as_fd(), input));
            }
            if let Some(changes) = self.group.changes() {
                watched.push((ListenerSource::Wake, changes, PollFlags::PRI));
            }
        }
        watched
    }

    fn accept_agents(&mut self, now: Instant) {
        let own = rustix::process::geteuid().as_raw();
        while self.newcomers.len() < NEWCOMERS_MAX {
            let accepted = accept_with(&self.agent_listener, ACCEPT_FLAGS);
            let Some(socket) = self.accepted(accepted, now) else {
                return;
            };
            let uid = sockopt::socket_peercred(&socket).map(|peer| peer.uid.as_raw());
            if uid.is_ok_and(|uid| uid == 0 || uid == own) {
                crate::packet::make_room(&socket, intercept::holder::PACKET_BYTES_MAX);
                self.newcomers.push(Newcomer { socket, since: now });
            }
        }
    }

    fn accept_hooks(&mut self, now: Instant) {
        for _ in 0..ACCEPTS_A_TURN {
            if self.hooks.len() >= HOOKS_MAX {
                return;
            }
            let accepted = accept_with(&self.hook_listener, ACCEPT_FLAGS);
            let Some(socket) = self.accepted(accepted, now) else {
                return;
            };
            if self.may_speak(&socket, now) && self.look_at_hook(&socket, now) == HookLook::Waits {
                self.hooks.push(Hook { socket, since: now });
            }
        }
    }

    /// The accepted connection. When descriptors have run out, the caller who has waited longest makes room.
    pub(super) fn accepted(
        &mut self,
        accepted: Result<OwnedFd, Errno>,
        now: Instant,
    ) -> Option<OwnedFd> {
        if matches!(
            accepted,
            Err(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS)
        ) {
            if let Some(unsaid) = self.scarcity.due(now) {
                tracing::warn!(unsaid, "no descriptors are left");
            }
            self.hand_overs.drop_oldest();
            self.paused_until = Some(now + SCARCITY_PAUSE);
        }
        accepted.ok()
    }

    fn read_agent(&mut self, buffer: &mut Vec<u8>, now: Instant) {
        let Some(agent) = &mut self.agent else { return };
        if agent.flush().is_err() {
            self.agent = None;
            return;
        }
        match agents::receive(agent.socket(), buffer) {
            Received::Request(request, descriptor) => self.hear_agent(request, descriptor, now),
            Received::Nothing => {}
            Received::End => self.agent = None,
        }
        self.flush_hand_overs();
    }

    fn read_newcomer(&mut self, index: usize, buffer: &mut Vec<u8>) -> HookLook {
        let Some(newcomer) = self.newcomers.get(index) else {
            return HookLook::Done;
        };
        match agents::receive(newcomer.socket.as_fd(), buffer) {
            Received::Nothing => return HookLook::Waits,
            Received::End => {}
            Received::Request(request, _) => {
                if let Ok(socket) = newcomer.socket.try_clone() {
                    self.greet(socket, &request);
                }
            }
        }
        HookLook::Done
    }

    fn read_hook(&mut self, index: usize, now: Instant) -> HookLook {
        let Some(socket) = self.hooks.get(index).map(|hook| hook.socket.try_clone()) else {
            return HookLook::Done;
        };
        // Judged again: whoever has the connection by now need not be the one who made it.
        match socket {
            Ok(socket) if self.may_speak(&socket, now) => self.look_at_hook(&socket, now),
            _ => HookLook::Done,
        }
    }
}

/// Removes the elements at these places (rising).
fn remove_all<T>(from: &mut Vec<T>, places: &[usize]) {
    let mut index = 0;
    from.retain(|_| {
        let stays = places.binary_search(&index).is_err();
        index += 1;
        stays
    });
}
