//! What hooks in the software's processes say to the holder: one message a connection, at most one reply.

use super::hand_overs::HandOver;
use super::service::HolderService;
use crate::packet::{self, Packet};
use intercept::holder::HolderEvent;
use intercept::hook_protocol::{HookMessage, HookReply, MESSAGE_BYTES_MAX};
use rustix::net::sockopt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// How many hooks may be connected at once; more wait in the socket's backlog.
pub(super) const HOOKS_MAX: usize = 1024;

/// How long a connected hook may take for its message: it sends it at once, so what is silent is no hook.
pub(super) const HOOK_AGE_MAX: Duration = Duration::from_secs(5);

/// How many listening addresses of a child are remembered.
const LISTENING_MAX: usize = 256;

/// A connected hook.
#[derive(Debug)]
pub(super) struct Hook {
    pub(super) socket: OwnedFd,
    pub(super) since: Instant,
}

/// What a look at a hook's connection says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum HookLook {
    /// Its message has not come yet.
    Waits,
    /// Nothing more to do with it.
    Done,
}

impl HolderService {
    /// Whether the process at the other end may speak: one of the child's group, in which nobody else can put a process. What a lost
    /// holder has left outside is ended, and not heard.
    pub(super) fn may_speak(&mut self, socket: &OwnedFd, now: Instant) -> bool {
        let Ok(peer) = sockopt::socket_peercred(socket) else {
            return false;
        };
        let uid = peer.uid.as_raw();
        if peer.pid == rustix::process::getpid() {
            // The net's threads do for others what hooks do for themselves.
            return true;
        }
        let own = rustix::process::geteuid().as_raw();
        let child = self.child.as_ref().and_then(|child| child.uid);
        let is_known = uid == 0 || uid == own || child == Some(uid);
        let pid = peer.pid.as_raw_nonzero().get();
        let speaks = match self.group.encloses(pid) {
            // Software that begins as root changes the user of its workers: the child's group says whose they are. A number may
            // have been given to a process of the group only after a stranger's ended: then its user is another than the one who connected.
            Some(true) => is_known || crate::kernel::user(pid) == Some(uid),
            Some(false) => false,
            // One that has ended already, having sent its message, cannot be looked up any more: then its user decides, who can do
            // with the software's processes what he likes anyway.
            None => is_known,
        };
        if !speaks && let Some(unsaid) = self.strangers.due(now) {
            tracing::warn!(
                uid,
                pid,
                unsaid,
                "a stranger speaks as a hook and is not heard"
            );
        }
        speaks
    }

    /// Reads a hook's message, if it is there, and does what it asks.
    pub(super) fn look_at_hook(&mut self, socket: &OwnedFd, now: Instant) -> HookLook {
        let mut buffer = [0; MESSAGE_BYTES_MAX];
        let packet = match packet::receive(socket, &mut buffer) {
            Ok(Some(packet)) => packet,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return HookLook::Waits,
            Ok(None) | Err(_) => return HookLook::Done,
        };
        let Packet { length, descriptor } = packet;
        match HookMessage::decode(&buffer[..length]) {
            Ok(message) => self.hear_hook(message, descriptor, socket, now),
            Err(error) => tracing::debug!(%error, "a hook is not understood"),
        }
        HookLook::Done
    }

    fn hear_hook(
        &mut self,
        message: HookMessage,
        descriptor: Option<OwnedFd>,
        socket: &OwnedFd,
        now: Instant,
    ) {
        match message {
            HookMessage::HandOver {
                reason,
                local,
                peer,
            } => {
                if let Some(connection) = descriptor {
                    let hand_over = HandOver {
                        reason,
                        local,
                        peer,
                        connection,
                    };
                    self.hand_overs.push(now, hand_over);
                    self.flush_hand_overs();
                }
            }
            HookMessage::Listening { local } => {
                self.note_listening(local);
                self.look_who_follows(now);
            }
            HookMessage::Bind { local } => {
                let found = descriptor.is_some_and(|bound| self.make_room(&bound, local, now));
                answer(socket, found);
            }
            HookMessage::Connect { to } => {
                let members = self.members();
                answer(
                    socket,
                    self.listeners.is_only_kept(to, &members).unwrap_or(false),
                );
            }
            HookMessage::Own { to } => {
                let members = self.members();
                let own =
                    descriptor.map(|socket| self.listeners.let_own_through(&socket, to, &members));
                answer(socket, matches!(own, Some(Ok(true))));
            }
            HookMessage::Lent { cookie } => answer(socket, self.listeners.is_lent(cookie)),
            HookMessage::Take { token } => {
                let taken = self.offers.take(now, &token);
                reply(socket, taken);
            }
            HookMessage::Keyring => {
                let shared = self.keyring.as_ref().and_then(|given| given.share().ok());
                reply(socket, shared);
            }
            HookMessage::Hello { library, table } => {
                tracing::info!(library, table, "the library in the software says hello");
            }
        }
    }

    fn note_listening(&mut self, address: SocketAddr) {
        if self.listening.contains(&address) || self.listening.len() >= LISTENING_MAX {
            return;
        }
        self.listening.push(address);
        self.tell(HolderEvent::Listening { address });
    }

    /// Prepares a bind of the software's; says whether anything is kept there.
    fn make_room(&mut self, socket: &OwnedFd, address: SocketAddr, now: Instant) -> bool {
        let before = self.listeners.list();
        let members = self.members();
        let made = match (self.listeners).make_room(socket, address, &members, now) {
            Ok(kept) => kept,
            Err((error, in_the_way)) => {
                tracing::warn!(%error, %address, "the software cannot bind beside what is kept, which is closed");
                for listener in in_the_way {
                    self.save_callers(listener.as_fd(), now);
                }
                false
            }
        };
        for connection in self.listeners.take_met() {
            self.hand_over_kept(connection, now);
        }
        self.flush_hand_overs();
        self.tell_kept(&before);
        made
    }
}

fn answer(socket: &OwnedFd, found: bool) {
    // A hook that has given up hears nothing.
    let _ = packet::send(socket, &HookReply { found }.encode(), None);
}

fn reply(socket: &OwnedFd, descriptor: Option<OwnedFd>) {
    let bytes = HookReply {
        found: descriptor.is_some(),
    }
    .encode();
    // A hook that has given up hears nothing; what was given is closed with its connection.
    let _ = packet::send(socket, &bytes, descriptor.as_ref().map(AsFd::as_fd));
}
