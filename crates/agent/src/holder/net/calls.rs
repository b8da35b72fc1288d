//! What is done about each call that the net catches: the hooks' work, on a duplicate of the software's socket.

use super::NetShared;
use super::accepting::{self, WantedConnection};
use intercept::decide::{Connect, leaves_queued, on_bind};
use intercept::stats::Counter;
use interpose::connect::{BegunConnect, begin, decide};
use interpose::kernel::{self, Errno, Storage};
use interpose::net::alarm::Alarm;
use interpose::net::notice::Notice;
use interpose::net::target::{Target, process_of};
use interpose::{bind, listen, peer, state};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

/// How often somebody who waits on our behalf is looked after.
const LOOK_MS: u64 = 50;

/// What becomes of a call.
#[derive(Clone, Copy, Debug)]
pub(super) enum NetOutcome {
    /// The kernel does it.
    GoOn,
    /// This is the answer.
    Answer(Result<i32, Errno>),
    /// It was answered already, waits elsewhere, or nobody waits any more.
    Settled,
}

/// A call and who made it.
struct NetCaller<'a> {
    shared: &'a Arc<NetShared>,
    notice: &'a Notice,
    alarm: &'a Alarm,
    target: Target,
}

/// Does a call.
pub(super) fn serve(shared: &Arc<NetShared>, notice: &Notice, alarm: &Alarm) {
    state::count(Counter::NetCall);
    let target = match Target::open(notice.thread) {
        Ok(target) => target,
        Err(error) => {
            if error != libc::ESRCH {
                shared.note_blind(notice.thread, error);
            }
            // Nobody may be there to hear it.
            let _ = shared.notices.go_on(notice);
            return;
        }
    };
    let caller = NetCaller {
        shared,
        notice,
        alarm,
        target,
    };
    match notice.call {
        libc::SYS_connect => caller.connect(),
        libc::SYS_accept => caller.accept(0),
        libc::SYS_accept4 => caller.accept(notice.arguments[3] as i32),
        libc::SYS_bind => caller.bind(),
        libc::SYS_listen => caller.listen(),
        libc::SYS_getpeername => caller.peer_name(),
        libc::SYS_sendto => caller.send(
            notice.arguments[4],
            notice.arguments[5],
            notice.arguments[3],
        ),
        libc::SYS_sendmsg => caller.send_message(),
        _ => caller.end(NetOutcome::GoOn),
    };
}

impl NetCaller<'_> {
    /// Gives the outcome to whoever waits for it; says whether somebody did.
    fn end(&self, outcome: NetOutcome) -> bool {
        let Self { shared, notice, .. } = self;
        match outcome {
            NetOutcome::GoOn => shared.notices.go_on(notice),
            NetOutcome::Answer(answer) => shared.notices.answer(notice, answer),
            NetOutcome::Settled => Ok(()),
        }
        .is_ok()
    }

    /// The call's socket, once it is sure that it is this caller's still; else what becomes of the call.
    fn socket(&self) -> Result<OwnedFd, NetOutcome> {
        let socket = self.target.duplicate(self.notice.arguments[0] as i32);
        if !self.shared.notices.is_valid(self.notice) {
            return Err(NetOutcome::Settled);
        }
        socket.map_err(|error| {
            if error != libc::EBADF {
                self.shared.note_blind(self.notice.thread, error);
            }
            // What is wrong with the descriptor the kernel says best.
            NetOutcome::GoOn
        })
    }

    /// The address that the call gives in its second and third argument.
    fn address(&self) -> Option<Storage> {
        let [_, address, length, ..] = self.notice.arguments;
        self.target.address(address, length).ok()
    }

    fn connect(&self) -> bool {
        let Some(to) = self.address() else {
            return self.end(NetOutcome::GoOn);
        };
        let Some(address) = to.address() else {
            state::count(Counter::ConnectNotInternet);
            return self.end(NetOutcome::GoOn);
        };
        if state::table(|table| leaves_queued(&table, address.port(), kernel::now_ms()))
            == Some(true)
            && crate::kernel::is_here(address.ip())
            && let Some(process) = process_of(self.notice.thread)
        {
            self.shared.note_waker(process);
        }
        let is_kept = state::table(|table| on_bind(&table, address.port())) == Some(true);
        if is_kept
            && let Ok(socket) = self.socket()
            && bind::is_only_kept(socket.as_raw_fd(), address)
        {
            drop(socket);
            return self.end(NetOutcome::Answer(Err(libc::ECONNREFUSED)));
        }
        // Beside what is kept the software may call itself, which the holder knows.
        if let Connect::Bypass(reason) = decide(Some(address))
            && !is_kept
        {
            state::count(reason.connect_counter());
            return self.end(NetOutcome::GoOn);
        }
        self.connect_to_member(&to, |fd, blocking| {
            if blocking {
                self.wait(fd, &to)
            } else {
                NetOutcome::Answer(Err(libc::EINPROGRESS))
            }
        })
    }

    /// Sends the label; `begun` says what becomes of the call once it is on its way.
    fn connect_to_member(&self, to: &Storage, begun: impl Fn(i32, bool) -> NetOutcome) -> bool {
        let Self { shared, notice, .. } = self;
        let socket = match self.socket() {
            Ok(socket) => socket,
            Err(outcome) => return self.end(outcome),
        };
        let Some(cookie) = kernel::cookie(socket.as_raw_fd()) else {
            return self.end(NetOutcome::GoOn);
        };
        let outcome = match shared.repeats.begin(notice.thread, cookie) {
            Some(first) => first,
            None => self.label(socket.as_raw_fd(), to, begun),
        };
        // What the software closes after its answer is closed then.
        drop(socket);
        let taken = self.end(outcome);
        shared.repeats.end(notice.thread, cookie, outcome, taken);
        taken
    }

    fn label(&self, fd: i32, to: &Storage, begun: impl Fn(i32, bool) -> NetOutcome) -> NetOutcome {
        let blocking = kernel::is_blocking(fd);
        let label = if blocking {
            self.alarm.during(|| begin(fd, to.given()))
        } else {
            begin(fd, to.given())
        };
        match label {
            BegunConnect::Plain => NetOutcome::GoOn,
            BegunConnect::Labelled => begun(fd, blocking),
            BegunConnect::Ended(Ok(_)) if !blocking => NetOutcome::Answer(Err(libc::EINPROGRESS)),
            BegunConnect::Ended(answer) => NetOutcome::Answer(answer),
        }
    }

    /// A socket that waits for its connection: the kernel's own connect waits best, with the right manners towards signals. Only
    /// where the wait is limited does that answer otherwise than for a connect that it has begun itself.
    fn wait(&self, fd: i32, to: &Storage) -> NetOutcome {
        let Some(limit) = kernel::time_limit(fd, libc::SO_SNDTIMEO) else {
            return NetOutcome::GoOn;
        };
        let until = Instant::now() + limit;
        while !kernel::ready(fd, libc::POLLOUT, LOOK_MS).unwrap_or(false) {
            if !self.shared.notices.is_valid(self.notice) {
                return NetOutcome::GoOn;
            }
            if Instant::now() >= until {
                return NetOutcome::Answer(Err(libc::EINPROGRESS));
            }
        }
        NetOutcome::Answer(
            self.alarm
                .during(|| kernel::connect(fd, to.given(), state::mark())),
        )
    }

    /// Every bind is the kernel's, with the software's own rights; at a service's port, room is made for it first.
    fn bind(&self) -> bool {
        // Who waits at a listener that was closed meanwhile keeps it open.
        self.shared.parking.sweep(self.shared);
        let local = self.address().and_then(|to| to.address());
        let outcome = match local.filter(|local| bind::is_service(local.port())) {
            Some(local) => match self.socket() {
                Ok(socket) => {
                    bind::make_room(socket.as_raw_fd(), local);
                    NetOutcome::GoOn
                }
                Err(outcome) => outcome,
            },
            None => NetOutcome::GoOn,
        };
        self.end(outcome)
    }

    fn listen(&self) -> bool {
        let backlog = self.notice.arguments[1] as i32;
        let outcome = match self.socket() {
            Ok(socket) if kernel::is_tcp(socket.as_raw_fd()) => {
                NetOutcome::Answer(listen::listen(socket.as_raw_fd(), backlog))
            }
            Ok(_) => NetOutcome::GoOn,
            Err(outcome) => outcome,
        };
        self.end(outcome)
    }

    fn peer_name(&self) -> bool {
        if !peer::any_shown() {
            return self.end(NetOutcome::GoOn);
        }
        let [_, address, length, ..] = self.notice.arguments;
        let outcome = match self.socket() {
            Ok(socket) => match peer::shown(socket.as_raw_fd()) {
                Some(shown) => {
                    let bytes = &shown.bytes[..shown.length];
                    NetOutcome::Answer(self.target.show(bytes, address, length).map(|()| 0))
                }
                None => NetOutcome::GoOn,
            },
            Err(outcome) => outcome,
        };
        self.end(outcome)
    }

    /// A send that also connects: to a member the label goes first. The kernel then finds a socket that connects already, waits for it,
    /// and sends; where it must not wait it answers as where it has no cookie yet.
    fn send(&self, address: u64, length: u64, flags: u64) -> bool {
        let to = self.target.address(address, length).ok();
        let to = to.filter(|to| !matches!(decide(to.address()), Connect::Bypass(_)));
        let Some(to) = to else {
            return self.end(NetOutcome::GoOn);
        };
        state::count(Counter::FastOpenReplaced);
        let may_wait = flags as i32 & libc::MSG_DONTWAIT == 0;
        self.connect_to_member(&to, |_, blocking| {
            if blocking && may_wait {
                NetOutcome::GoOn
            } else {
                NetOutcome::Answer(Err(libc::EINPROGRESS))
            }
        })
    }

    /// `struct msghdr` begins with the address's pointer and length.
    fn send_message(&self) -> bool {
        let mut head = [0; 12];
        if self
            .target
            .read(self.notice.arguments[1], &mut head)
            .is_err()
        {
            return self.end(NetOutcome::GoOn);
        }
        let [a, b, c, d, e, f, g, h, i, j, k, l] = head;
        let address = u64::from_ne_bytes([a, b, c, d, e, f, g, h]);
        let length = u32::from_ne_bytes([i, j, k, l]);
        self.send(address, length.into(), self.notice.arguments[2])
    }

    fn accept(self, flags: i32) -> bool {
        let listener = match self.socket() {
            Ok(socket) if kernel::is_tcp(socket.as_raw_fd()) => socket,
            Ok(other) => {
                drop(other);
                return self.end(NetOutcome::GoOn);
            }
            Err(outcome) => return self.end(outcome),
        };
        let wanted = WantedConnection::new(*self.notice, self.target, listener, flags);
        accepting::begin(self.shared, wanted, self.alarm);
        true
    }
}
