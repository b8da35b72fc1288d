//! Accepting: look at what the connection begins with, then deliver it raw or give it away and go on accepting.
//!
//! After a hand-over the listener is asked again: until its real EAGAIN where it does not block (an edge-triggered one would not be
//! told a second time), and for as long as it takes where it does, as it was asked to. Only where something was there when the
//! software called, and nothing is any more, a blocking listener must not wait: whoever has polled counts on an answer. Then it gets
//! what the kernel gives for a caller that reset its connection in the queue: a socket that is dead.

use crate::kernel::{self, Errno, Storage};
use crate::labelling::Encoded;
use crate::{bind, dead_connection, keyring, messenger, peer, state};
use intercept::address::{FAMILY_V4, FAMILY_V6, RawAddress, to_sockaddr};
use intercept::decide::{
    Accept, Arrival, First, hand_over_counter, is_same_host, leaves_queued, on_accept, on_arrival,
};
use intercept::holder::HandOverReason;
use intercept::hook_protocol::HookMessage;
use intercept::label::{LABEL_BYTES_MAX, Label, Parsed, parse};
use intercept::stats::{Counter, Deed};
use libc::{c_int, sockaddr, socklen_t};
use std::net::SocketAddr;
use std::os::fd::{FromRawFd, OwnedFd};

/// How long an accept takes that leaves the queue alone: a program that is told of a full queue over and over does not spin.
const STOPPING_PAUSE_MS: u64 = 2;

/// How long a blocking accept of a listener that was readable may wait for what is left alone: its caller may have polled, and have
/// other things to do, as to end.
pub const POLLED_WAIT_MS: u64 = 100;

/// Which of the two calls the software made.
#[derive(Clone, Copy)]
pub enum Variant {
    /// `accept`.
    Accept,
    /// `accept4` with these flags.
    Accept4(c_int),
}

/// What became of an accepted connection.
enum Fate {
    /// It is the software's, with its address or another to show.
    Delivered(Option<SocketAddr>),
    /// It is gone.
    Given,
}

impl Variant {
    fn flags(self) -> c_int {
        match self {
            Self::Accept => 0,
            Self::Accept4(flags) => flags,
        }
    }
}

/// The hook.
///
/// # Errors
/// The kernel's.
///
/// # Safety
/// As the call: `address` and `length` are null, or the software's own to be written.
pub unsafe fn accept(
    listener: c_int,
    address: *mut sockaddr,
    length: *mut socklen_t,
    variant: Variant,
) -> Result<c_int, Errno> {
    let must_answer =
        kernel::is_blocking(listener) && kernel::ready(listener, libc::POLLIN, 0) == Ok(true);
    loop {
        if !leave_queued(listener, must_answer)? {
            let (new, from) = dead_connection::connection(listener, variant.flags())?;
            // SAFETY: the software's own pointers.
            return unsafe { show(new, &from, None, address, length) };
        }
        let mut from = Storage::new();
        let new = kernel_accept(listener, &mut from, variant)?;
        if let Fate::Delivered(shown) = inspect(listener, new, &from, variant) {
            let shown = shown.map(|caller| to_sockaddr(caller, from.family()));
            // SAFETY: the software's own pointers.
            return unsafe { show(new, &from, shown, address, length) };
        }
        if must_answer && kernel::ready(listener, libc::POLLIN, 0) == Ok(false) {
            let (new, _) = dead_connection::connection(listener, variant.flags())?;
            // SAFETY: the software's own pointers.
            return unsafe { show(new, &from, None, address, length) };
        }
    }
}

/// While the software is being stopped its listeners look as if nothing came: what stays in the kernel's queue is the next
/// software's, and what is accepted now may die with this one. A listener that was shut down says so itself. False when whoever must
/// be answered has waited long enough.
fn leave_queued(listener: c_int, must_answer: bool) -> Result<bool, Errno> {
    let mut waited_ms = 0;
    while is_left_alone(listener) && !state::wakes_itself() {
        if must_answer && waited_ms >= POLLED_WAIT_MS {
            return Ok(false);
        }
        if kernel::ready(listener, 0, STOPPING_PAUSE_MS)? {
            return Ok(true);
        }
        if kernel::status_flags(listener) & libc::O_NONBLOCK != 0 {
            return Err(libc::EAGAIN);
        }
        waited_ms += STOPPING_PAUSE_MS;
    }
    Ok(true)
}

fn kernel_accept(listener: c_int, from: &mut Storage, variant: Variant) -> Result<c_int, Errno> {
    let pointers = [from.pointer(), &raw mut from.length as usize];
    let (number, flags) = match variant {
        Variant::Accept => (libc::SYS_accept, 0),
        Variant::Accept4(flags) => (libc::SYS_accept4, flags),
    };
    let arguments = [
        listener as usize,
        pointers[0],
        pointers[1],
        flags as usize,
        0,
        state::mark(),
    ];
    // SAFETY: the kernel writes at most 128 bytes and the length.
    unsafe { kernel::call_cancellable(number, arguments) }.map(|new| new as c_int)
}

/// Writes the peer's address to where the software wants it, cut to its room, as the kernel does.
unsafe fn show(
    new: c_int,
    from: &Storage,
    shown: Option<RawAddress>,
    address: *mut sockaddr,
    length: *mut socklen_t,
) -> Result<c_int, Errno> {
    if address.is_null() {
        return Ok(new);
    }
    let bytes = shown
        .as_ref()
        .map_or(&from.bytes[..], |shown| &shown.bytes[..]);
    let whole = shown
        .as_ref()
        .map_or(from.length as usize, |shown| shown.length);
    // SAFETY: the caller's promise.
    let written = unsafe { peer::write(bytes, whole, address, length) };
    written.map(|()| new).inspect_err(|_| kernel::close(new))
}

fn inspect(listener: c_int, new: c_int, from: &Storage, variant: Variant) -> Fate {
    if !matches!(from.family(), FAMILY_V4 | FAMILY_V6) {
        state::count(Counter::AcceptNotInternet);
        return Fate::Delivered(None);
    }
    let local = kernel::local(new).address();
    let (Some(local), Some(peer)) = (local, from.address()) else {
        return Fate::Delivered(None);
    };
    let arrival = state::table(|table| (on_arrival(&table, local, peer), table.signs()));
    match arrival {
        Some((arrival @ (Arrival::Member | Arrival::Outsider), signs)) => {
            let fate = decide(new, (local, peer), arrival, signs, variant);
            if matches!(fate, Fate::Delivered(_)) {
                bind::return_lent(listener, new, local);
            }
            fate
        }
        Some((Arrival::NotAService, _)) => {
            state::count(Counter::AcceptNotAService);
            Fate::Delivered(None)
        }
        None => {
            state::count(Counter::AcceptNoTable);
            Fate::Delivered(None)
        }
    }
}

fn decide(
    new: c_int,
    (local, peer): (SocketAddr, SocketAddr),
    arrival: Arrival,
    signs: bool,
    variant: Variant,
) -> Fate {
    state::note(Deed::Accept);
    let mut bytes = [0; LABEL_BYTES_MAX];
    let same_host = is_same_host(local.ip(), peer.ip());
    let first = first(new, arrival, same_host, &mut bytes);
    // A table that has just vanished is one that cannot be read: nothing is delivered by guess.
    let undecided = Accept::HandOver(HandOverReason::Undecided);
    let proofs = keyring::proofs(signs);
    let decision = state::table(|table| on_accept(&table, local, peer, first, &proofs));
    match decision.unwrap_or(undecided) {
        Accept::Deliver {
            consume,
            caller,
            counter,
        } => deliver(new, consume, caller, counter),
        Accept::Answer { consume, answer } => {
            answer_question(new, consume, answer);
            Fate::Given
        }
        Accept::HandOver(reason) => {
            hand_over(new, reason, local, peer);
            Fate::Given
        }
        Accept::Take { token, caller } => take(new, token, caller, variant),
    }
}

/// Looks at the first bytes. From an outsider nothing is read where nothing is there: a read would take the error of a
/// connection that was reset in the queue, which is the software's to see. A member's begins with its label, reset or not.
/// On one host the agent is among the outsiders.
fn first(
    new: c_int,
    arrival: Arrival,
    same_host: bool,
    bytes: &mut [u8; LABEL_BYTES_MAX],
) -> First<'_> {
    if arrival == Arrival::Outsider && kernel::waiting(new) == 0 {
        return match kernel::ready(new, libc::POLLIN, 0) {
            Ok(false) if same_host && was_repeated(new) => First::Delayed,
            Ok(false) => First::Nothing,
            _ => First::End,
        };
    }
    match kernel::receive(new, bytes, libc::MSG_PEEK) {
        Ok(count) if count > 0 => First::Bytes(&bytes[..count]),
        Err(libc::EAGAIN) if was_repeated(new) => First::Delayed,
        Err(libc::EAGAIN) => First::Nothing,
        _ => First::End,
    }
}

/// Whether a packet of the handshake was repeated: where the listener's queue overflows, the one that carries the label is dropped, and
/// the answer to a repeated SYN-ACK opens the connection without it (seen up to 443 ms before the label).
fn was_repeated(new: c_int) -> bool {
    kernel::option::<libc::tcp_info>(new, libc::IPPROTO_TCP, libc::TCP_INFO)
        .map_or(true, |about| about.tcpi_total_retrans > 0)
}

fn deliver(new: c_int, consume: usize, caller: Option<SocketAddr>, counter: Counter) -> Fate {
    let mut label = [0; LABEL_BYTES_MAX];
    if consume > 0 && kernel::receive(new, &mut label[..consume], 0) != Ok(consume) {
        kernel::reset(new);
        return Fate::Given;
    }
    state::count(counter);
    if let Some(caller) = caller {
        peer::remember(new, caller);
    }
    Fate::Delivered(caller)
}

/// Answers whoever asks who listens here. An answer that does not fit into a new connection's buffer is none.
fn answer_question(new: c_int, question_bytes: usize, answer: Label) {
    let mut question = [0; LABEL_BYTES_MAX];
    let taken = kernel::receive(new, &mut question[..question_bytes], 0) == Ok(question_bytes);
    let asked_at =
        || asked_at(&question[..question_bytes]).or_else(|| kernel::local(new).address());
    let answer = match keyring::signs().then(asked_at).flatten() {
        Some(at) => keyring::signed(answer, at),
        None => answer,
    };
    let answer = Encoded::new(&answer);
    if taken && kernel::send(new, answer.bytes(), 0, None) == Ok(answer.bytes().len()) {
        state::count(Counter::AcceptAsked);
        kernel::close(new);
    } else {
        kernel::reset(new);
    }
}

/// The address at which a signed question was asked: the answer shows who listens there.
fn asked_at(question: &[u8]) -> Option<SocketAddr> {
    match parse(question) {
        Parsed::Label { label, .. } => label.proof.map(|proof| proof.destination),
        _ => None,
    }
}

fn hand_over(new: c_int, reason: HandOverReason, local: SocketAddr, peer: SocketAddr) {
    match messenger::tell(
        &HookMessage::HandOver {
            reason,
            local,
            peer,
        },
        Some(new),
    ) {
        Ok(()) => {
            state::count(hand_over_counter(reason));
            kernel::close(new);
        }
        Err(_) => {
            state::count(Counter::HandOverFailed);
            kernel::reset(new);
        }
    }
}

/// Puts the connection that was offered under the token in the dial's place: same descriptor, the software's flags.
fn take(dial: c_int, token: [u8; 16], caller: Option<SocketAddr>, variant: Variant) -> Fate {
    let Ok(Some(original)) = messenger::ask(&HookMessage::Take { token }) else {
        state::count(Counter::AcceptTokenUnknown);
        kernel::reset(dial);
        return Fate::Given;
    };
    let nonblocking = variant.flags() & libc::SOCK_NONBLOCK;
    let status = kernel::status_flags(original) & !libc::O_NONBLOCK | nonblocking;
    let _ = kernel::fcntl(original, libc::F_SETFL, status);
    let close_on_exec = variant.flags() & libc::SOCK_CLOEXEC;
    if kernel::replace(dial, original, close_on_exec).is_err() {
        kernel::reset(original);
        kernel::close(dial);
        return Fate::Given;
    }
    state::count(Counter::AcceptTaken);
    if let Some(caller) = caller {
        peer::remember(dial, caller);
        return Fate::Delivered(Some(caller));
    }
    let known = kernel::peer(dial).ok().and_then(|peer| peer.address());
    Fate::Delivered(known)
}

/// A connection for the software, as the net gives it to it.
#[derive(Debug)]
pub struct Delivered {
    /// Its descriptor, close-on-exec.
    pub descriptor: OwnedFd,
    /// The peer's address to show.
    pub peer: RawAddress,
}

/// Accepts one connection, as the hook does; `Err` of its caller when it was given away. `flags` are accept4's.
///
/// # Errors
/// The kernel's.
pub fn one(listener: c_int, flags: c_int) -> Result<Result<Delivered, RawAddress>, Errno> {
    let variant = Variant::Accept4(flags | libc::SOCK_CLOEXEC);
    let mut from = Storage::new();
    let new = kernel_accept(listener, &mut from, variant)?;
    let Fate::Delivered(shown) = inspect(listener, new, &from, variant) else {
        return Ok(Err(peer::raw(&from)));
    };
    let peer = match shown {
        Some(caller) => to_sockaddr(caller, from.family()),
        None => peer::raw(&from),
    };
    // SAFETY: the connection that was accepted, or taken in its place: nobody else has it.
    let descriptor = unsafe { OwnedFd::from_raw_fd(new) };
    Ok(Ok(Delivered { descriptor, peer }))
}

/// A dead connection, of this caller if there was one: for an accept that must not wait though its only connection was given away, or
/// is left alone.
///
/// # Errors
/// The kernel's, where descriptors or ports have run out.
pub fn dead(listener: c_int, flags: c_int, peer: Option<RawAddress>) -> Result<Delivered, Errno> {
    let (new, from) = dead_connection::connection(listener, flags | libc::SOCK_CLOEXEC)?;
    // SAFETY: it has just been made, and nobody else has it.
    let descriptor = unsafe { OwnedFd::from_raw_fd(new) };
    let peer = peer.unwrap_or_else(|| peer::raw(&from));
    Ok(Delivered { descriptor, peer })
}

/// Whether what waits at this listener is left to the next software: this one is being stopped.
pub fn is_left_alone(listener: c_int) -> bool {
    let now_ms = kernel::now_ms();
    state::table(|table| table.stopping(now_ms)) == Some(true)
        && kernel::local(listener).address().is_some_and(|local| {
            state::table(|table| leaves_queued(&table, local.port(), now_ms)) == Some(true)
        })
}
