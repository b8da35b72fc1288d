//! System calls with their errors as values. `errno` is left to [`errno_kept`].

use intercept::address::{V6_BYTES, from_sockaddr};
use intercept::environment::CALL_MARK;
use libc::{c_int, c_long, sockaddr, socklen_t};
use std::mem::{MaybeUninit, size_of};
use std::net::SocketAddr;
use std::time::Duration;

/// An error number.
pub type Errno = c_int;

unsafe extern "C-unwind" {
    // Declared here because libc's crate says that it cannot unwind; a cancelled thread does.
    fn syscall(number: c_long, ...) -> c_long;
    fn pthread_setcanceltype(kind: c_int, old: *mut c_int) -> c_int;
}

const PTHREAD_CANCEL_ASYNCHRONOUS: c_int = 1;

/// The kernel's `struct sockaddr_storage`: any address fits.
#[repr(C, align(8))]
pub struct Storage {
    /// The address, from the family on.
    pub bytes: [u8; 128],
    /// How many of the bytes it has.
    pub length: socklen_t,
}

/// An address that the software passed, and that only the kernel or [`Given::address`] look at.
#[derive(Clone, Copy)]
pub struct Given {
    /// Where it lies.
    pub pointer: *const sockaddr,
    /// How many bytes it has.
    pub length: socklen_t,
}

/// This thread's error number.
pub fn errno() -> Errno {
    // SAFETY: errno's address is always valid.
    unsafe { *libc::__errno_location() }
}

/// Sets this thread's error number.
pub(crate) fn set_errno(value: Errno) {
    // SAFETY: errno's address is always valid.
    unsafe { *libc::__errno_location() = value };
}

/// Runs a hook: its error goes to `errno`, a success leaves `errno` as it was.
pub fn errno_kept<T: From<i8>>(hook: impl FnOnce() -> Result<T, Errno>) -> T {
    let before = errno();
    let (value, after) = match hook() {
        Ok(value) => (value, before),
        Err(error) => (T::from(-1), error),
    };
    set_errno(after);
    value
}

/// One system call.
///
/// # Safety
/// The arguments are what the call asks for: pointers are valid for what it reads and writes, or the software's own.
pub(crate) unsafe fn call(number: c_long, arguments: [usize; 6]) -> Result<usize, Errno> {
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: the caller's promise.
    let result = unsafe { syscall(number, a, b, c, d, e, f) };
    if result < 0 {
        Err(errno())
    } else {
        Ok(result as usize)
    }
}

/// One system call that may block and is a cancellation point, as libc's is.
///
/// # Safety
/// As [`call`].
pub(crate) unsafe fn call_cancellable(
    number: c_long,
    arguments: [usize; 6],
) -> Result<usize, Errno> {
    let mut kind = 0;
    // SAFETY: no frame above holds anything that needs dropping, and the kind is put back below.
    unsafe { pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &raw mut kind) };
    // SAFETY: the caller's promise.
    let result = unsafe { call(number, arguments) };
    // SAFETY: `kind` is what it was before.
    unsafe { pthread_setcanceltype(kind, std::ptr::null_mut()) };
    result
}

impl Given {
    /// The internet address, if it is one.
    pub fn address(self) -> Option<SocketAddr> {
        if self.pointer.is_null() || self.length < 16 {
            return None;
        }
        let length = (self.length as usize).min(V6_BYTES);
        // SAFETY: the software says that this many bytes are an address; the kernel would read them too.
        from_sockaddr(unsafe { std::slice::from_raw_parts(self.pointer.cast(), length) })
    }
}

impl Default for Storage {
    fn default() -> Self {
        Self::new()
    }
}

impl Storage {
    /// Room for any address.
    pub fn new() -> Self {
        Self {
            bytes: [0; 128],
            length: 128,
        }
    }

    /// The internet address in it.
    pub fn address(&self) -> Option<SocketAddr> {
        from_sockaddr(self.bytes.get(..self.length as usize)?)
    }

    /// Its family.
    pub fn family(&self) -> u16 {
        u16::from_ne_bytes([self.bytes[0], self.bytes[1]])
    }

    /// The same, to be passed on.
    pub fn given(&self) -> Given {
        Given {
            pointer: self.bytes.as_ptr().cast(),
            length: self.length,
        }
    }

    pub(crate) fn pointer(&mut self) -> usize {
        self.bytes.as_mut_ptr() as usize
    }
}

/// The kernel's own connect; with `mark` the net lets it pass.
///
/// # Errors
/// The kernel's.
pub fn connect(fd: c_int, to: Given, mark: usize) -> Result<c_int, Errno> {
    let arguments = [
        fd as usize,
        to.pointer as usize,
        to.length as usize,
        0,
        0,
        mark,
    ];
    // SAFETY: the software's own address; the kernel checks it.
    unsafe { call_cancellable(libc::SYS_connect, arguments) }.map(|_| 0)
}

/// Ends a connection attempt: the socket is as before it (`connect` with AF_UNSPEC).
pub(crate) fn disconnect(fd: c_int) {
    let unspecified = [0u8; 16];
    let arguments = [
        fd as usize,
        unspecified.as_ptr() as usize,
        16,
        0,
        0,
        CALL_MARK,
    ];
    // SAFETY: 16 readable bytes.
    let _ = unsafe { call(libc::SYS_connect, arguments) };
}

pub(crate) fn close(fd: c_int) {
    // SAFETY: closes a descriptor of ours.
    let _ = unsafe { call(libc::SYS_close, [fd as usize, 0, 0, 0, 0, 0]) };
}

/// Closes with RST, as a crash would.
pub(crate) fn reset(fd: c_int) {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    let _ = set_option(fd, libc::SOL_SOCKET, libc::SO_LINGER, &linger);
    close(fd);
}

pub(crate) fn set_option<T>(fd: c_int, level: c_int, name: c_int, value: &T) -> Result<(), Errno> {
    let pointer = std::ptr::from_ref(value) as usize;
    let arguments = [
        fd as usize,
        level as usize,
        name as usize,
        pointer,
        size_of::<T>(),
        0,
    ];
    // SAFETY: the kernel reads one `T`.
    unsafe { call(libc::SYS_setsockopt, arguments) }.map(|_| ())
}

/// Reads an option. `T` is a plain structure of the kernel's, valid for all bytes; what the kernel does not fill is zero.
pub(crate) fn option<T: Plain>(fd: c_int, level: c_int, name: c_int) -> Result<T, Errno> {
    let mut value = MaybeUninit::<T>::zeroed();
    let mut length = size_of::<T>() as socklen_t;
    let pointers = [value.as_mut_ptr() as usize, &raw mut length as usize];
    let arguments = [
        fd as usize,
        level as usize,
        name as usize,
        pointers[0],
        pointers[1],
        0,
    ];
    // SAFETY: the kernel writes at most one `T` and the length.
    unsafe { call(libc::SYS_getsockopt, arguments) }?;
    // SAFETY: `Plain`: every pattern of bytes is a value.
    Ok(unsafe { value.assume_init() })
}

/// Types for which every pattern of bytes is a value.
///
/// # Safety
/// That must be so.
pub(crate) unsafe trait Plain {}
// SAFETY: an integer.
unsafe impl Plain for c_int {}
// SAFETY: an integer.
unsafe impl Plain for u64 {}
// SAFETY: three integers.
unsafe impl Plain for libc::ucred {}
// SAFETY: integers.
unsafe impl Plain for libc::tcp_info {}
// SAFETY: two integers.
unsafe impl Plain for libc::linger {}
// SAFETY: two integers.
unsafe impl Plain for libc::timeval {}

/// TCP or MPTCP.
pub fn is_tcp(fd: c_int) -> bool {
    let protocol = option::<c_int>(fd, libc::SOL_SOCKET, libc::SO_PROTOCOL);
    matches!(protocol, Ok(libc::IPPROTO_TCP | libc::IPPROTO_MPTCP))
}

/// The number that the kernel gives a socket for its life.
pub fn cookie(fd: c_int) -> Option<u64> {
    option(fd, libc::SOL_SOCKET, libc::SO_COOKIE).ok()
}

pub(crate) fn status_flags(fd: c_int) -> c_int {
    fcntl(fd, libc::F_GETFL, 0).unwrap_or(0)
}

/// Whether calls on it wait.
pub fn is_blocking(fd: c_int) -> bool {
    status_flags(fd) & libc::O_NONBLOCK == 0
}

/// How long calls on a blocking socket wait, by this option (SO_RCVTIMEO or SO_SNDTIMEO); `None` for ever.
pub fn time_limit(fd: c_int, option_name: c_int) -> Option<Duration> {
    let limit = option::<libc::timeval>(fd, libc::SOL_SOCKET, option_name).ok()?;
    let limit = Duration::new(limit.tv_sec as u64, limit.tv_usec as u32 * 1000);
    (!limit.is_zero()).then_some(limit)
}

pub(crate) fn fcntl(fd: c_int, command: c_int, argument: c_int) -> Result<c_int, Errno> {
    // SAFETY: only commands with an integer argument are used.
    unsafe {
        call(
            libc::SYS_fcntl,
            [fd as usize, command as usize, argument as usize, 0, 0, 0],
        )
    }
    .map(|flags| flags as c_int)
}

/// The local address of a socket.
pub fn local(fd: c_int) -> Storage {
    name(libc::SYS_getsockname, fd).unwrap_or(Storage {
        bytes: [0; 128],
        length: 0,
    })
}

/// The peer's address.
pub(crate) fn peer(fd: c_int) -> Result<Storage, Errno> {
    name(libc::SYS_getpeername, fd)
}

fn name(number: c_long, fd: c_int) -> Result<Storage, Errno> {
    let mut storage = Storage::new();
    let pointers = [storage.pointer(), &raw mut storage.length as usize];
    // SAFETY: the kernel writes at most 128 bytes and the length.
    unsafe {
        call(
            number,
            [fd as usize, pointers[0], pointers[1], 0, 0, CALL_MARK],
        )
    }?;
    Ok(storage)
}

/// Sends what fits without waiting and without a signal. One that connects carries the mark in the upper half of the flags, which
/// the kernel does not look at: all six arguments are in use.
pub(crate) fn send(
    fd: c_int,
    bytes: &[u8],
    flags: c_int,
    to: Option<Given>,
) -> Result<usize, Errno> {
    let flags = flags | libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    let mark = if to.is_some() { CALL_MARK << 32 } else { 0 };
    let to = to.unwrap_or(Given {
        pointer: std::ptr::null(),
        length: 0,
    });
    let arguments = [
        fd as usize,
        bytes.as_ptr() as usize,
        bytes.len(),
        flags as usize | mark,
        to.pointer as usize,
        to.length as usize,
    ];
    // SAFETY: a slice, and the software's own address.
    unsafe { call(libc::SYS_sendto, arguments) }
}

/// Receives what is there without waiting.
pub(crate) fn receive(fd: c_int, into: &mut [u8], flags: c_int) -> Result<usize, Errno> {
    let flags = flags | libc::MSG_DONTWAIT;
    let arguments = [
        fd as usize,
        into.as_mut_ptr() as usize,
        into.len(),
        flags as usize,
        0,
        0,
    ];
    // SAFETY: a slice.
    unsafe { call(libc::SYS_recvfrom, arguments) }
}

/// How many bytes can be received.
pub(crate) fn waiting(fd: c_int) -> usize {
    let mut count: c_int = 0;
    let arguments = [
        fd as usize,
        libc::FIONREAD as usize,
        &raw mut count as usize,
        0,
        0,
        0,
    ];
    // SAFETY: the kernel writes one integer.
    let asked = unsafe { call(libc::SYS_ioctl, arguments) };
    if asked.is_ok() { count as usize } else { 0 }
}

/// Waits until the descriptor is ready for `events`; false after `wait_ms`.
///
/// # Errors
/// EINTR after a signal.
pub fn ready(fd: c_int, events: i16, wait_ms: u64) -> Result<bool, Errno> {
    let mut poll = libc::pollfd {
        fd,
        events,
        revents: 0,
    };
    let mut wait = libc::timespec {
        tv_sec: (wait_ms / 1000) as i64,
        tv_nsec: (wait_ms % 1000 * 1_000_000) as i64,
    };
    let arguments = [&raw mut poll as usize, 1, &raw mut wait as usize, 0, 8, 0];
    // SAFETY: one pollfd, one timespec, no signal mask.
    unsafe { call(libc::SYS_ppoll, arguments) }.map(|count| count > 0)
}

/// Milliseconds of the monotonic clock.
pub fn now_ms() -> u64 {
    clock_ms(libc::CLOCK_MONOTONIC)
}

/// Milliseconds since the machine was started, those that it slept included.
pub fn now_asleep_too_ms() -> u64 {
    clock_ms(libc::CLOCK_BOOTTIME)
}

/// Seconds since 1970, as this machine's clock has it.
pub fn now_unix_s() -> u64 {
    clock_ms(libc::CLOCK_REALTIME) / 1000
}

fn clock_ms(clock: libc::clockid_t) -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: writes one timespec; never fails for these clocks, and is async-signal-safe.
    unsafe { libc::clock_gettime(clock, &raw mut now) };
    now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000
}

/// Puts `new` in the place of `old` and closes its own number.
pub(crate) fn replace(old: c_int, new: c_int, close_on_exec: c_int) -> Result<(), Errno> {
    // SAFETY: no pointers; `old` is a descriptor that the software has just been given or has passed.
    let replaced = unsafe {
        call(
            libc::SYS_dup3,
            [new as usize, old as usize, close_on_exec as usize, 0, 0, 0],
        )
    };
    if replaced.is_ok() {
        close(new);
    }
    replaced.map(|_| ())
}
