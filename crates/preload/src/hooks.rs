//! The functions that replace libc's. Each asks its module; none decides.
#![expect(
    unreachable_pub,
    reason = "exported to the dynamic linker, not to Rust"
)]

use intercept::decide::Connect;
use intercept::stats::Counter;
use interpose::accept::{Variant, accept as accept_hook};
use interpose::connect::{connect as connect_hook, decide};
use interpose::kernel::{Errno, Given, errno, errno_kept};
use interpose::{bind as bind_hook, listen as listen_hook, paths, peer, state};
use libc::{c_char, c_int, c_void, msghdr, size_t, sockaddr, socklen_t, ssize_t};
use std::mem::transmute;
use std::sync::atomic::{AtomicPtr, Ordering};

type Sendto = unsafe extern "C-unwind" fn(
    c_int,
    *const c_void,
    size_t,
    c_int,
    *const sockaddr,
    socklen_t,
) -> ssize_t;
type Sendmsg = unsafe extern "C-unwind" fn(c_int, *const msghdr, c_int) -> ssize_t;

type Getsockopt =
    unsafe extern "C-unwind" fn(c_int, c_int, c_int, *mut c_void, *mut socklen_t) -> c_int;

static NEXT_GETSOCKOPT: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());
static NEXT_SENDTO: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());
static NEXT_SENDMSG: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());

/// Looks up the functions behind ours. Only where the call is passed on for any socket whatever: it then costs a test and a jump.
pub(crate) fn find_next() {
    let wanted = [
        (c"getsockopt", &NEXT_GETSOCKOPT),
        (c"sendto", &NEXT_SENDTO),
        (c"sendmsg", &NEXT_SENDMSG),
    ];
    for (name, next) in wanted {
        let name: *const c_char = name.as_ptr();
        // SAFETY: a terminated name; called from the constructor only, where allocation is allowed.
        next.store(
            unsafe { libc::dlsym(libc::RTLD_NEXT, name) },
            Ordering::Release,
        );
    }
}

/// Replaces libc's `connect`.
///
/// # Safety
/// As connect(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn connect(
    fd: c_int,
    address: *const sockaddr,
    length: socklen_t,
) -> c_int {
    errno_kept(|| {
        connect_hook(
            fd,
            Given {
                pointer: address,
                length,
            },
            None,
        )
    })
}

/// Replaces libc's `accept`.
///
/// # Safety
/// As accept(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn accept(
    fd: c_int,
    address: *mut sockaddr,
    length: *mut socklen_t,
) -> c_int {
    // SAFETY: the software's own pointers.
    errno_kept(|| unsafe { accept_hook(fd, address, length, Variant::Accept) })
}

/// Replaces libc's `accept4`.
///
/// # Safety
/// As accept4(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn accept4(
    fd: c_int,
    address: *mut sockaddr,
    length: *mut socklen_t,
    flags: c_int,
) -> c_int {
    // SAFETY: the software's own pointers.
    errno_kept(|| unsafe { accept_hook(fd, address, length, Variant::Accept4(flags)) })
}

/// Replaces libc's `bind`.
///
/// # Safety
/// As bind(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn bind(
    fd: c_int,
    address: *const sockaddr,
    length: socklen_t,
) -> c_int {
    errno_kept(|| {
        bind_hook::bind(
            fd,
            Given {
                pointer: address,
                length,
            },
        )
    })
}

/// Replaces libc's `listen`.
///
/// # Safety
/// As listen(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn listen(fd: c_int, backlog: c_int) -> c_int {
    errno_kept(|| listen_hook::listen(fd, backlog))
}

/// Replaces libc's `getpeername`.
///
/// # Safety
/// As getpeername(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn getpeername(
    fd: c_int,
    address: *mut sockaddr,
    length: *mut socklen_t,
) -> c_int {
    // SAFETY: the software's own pointers.
    errno_kept(|| unsafe { peer::getpeername(fd, address, length) })
}

/// Replaces libc's `getsockopt`, for SO_ERROR (it is how programs learn that a non-blocking connect has ended) and SO_REUSEPORT (which
/// is set for a while where something is kept beside the socket).
///
/// # Safety
/// As getsockopt(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn getsockopt(
    fd: c_int,
    level: c_int,
    name: c_int,
    value: *mut c_void,
    length: *mut socklen_t,
) -> c_int {
    // SAFETY: the software's own call, unchanged.
    let result = unsafe { next_getsockopt(fd, level, name, value, length) };
    if level != libc::SOL_SOCKET || result != 0 {
        return result;
    }
    match name {
        libc::SO_ERROR => errno_kept(|| {
            paths::asked_for_error(fd);
            Ok(0)
        }),
        libc::SO_REUSEPORT => errno_kept(|| {
            // SAFETY: the kernel has just written an integer there.
            unsafe { show_own_reuseport(fd, value.cast(), length) };
            Ok(0)
        }),
        _ => result,
    }
}

/// Replaces libc's `sendto`, for MSG_FASTOPEN only.
///
/// # Safety
/// As sendto(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn sendto(
    fd: c_int,
    buffer: *const c_void,
    count: size_t,
    flags: c_int,
    address: *const sockaddr,
    length: socklen_t,
) -> ssize_t {
    if flags & libc::MSG_FASTOPEN != 0
        && is_member(Given {
            pointer: address,
            length,
        })
    {
        return errno_kept(|| {
            connect_first(
                fd,
                Given {
                    pointer: address,
                    length,
                },
                flags,
            )?;
            // SAFETY: the software's own pointers, without the address.
            sent(unsafe {
                next_sendto(
                    fd,
                    buffer,
                    count,
                    flags & !libc::MSG_FASTOPEN,
                    std::ptr::null(),
                    0,
                )
            })
        });
    }
    // SAFETY: the software's own call, unchanged.
    unsafe { next_sendto(fd, buffer, count, flags, address, length) }
}

/// Replaces libc's `sendmsg`, for MSG_FASTOPEN only.
///
/// # Safety
/// As sendmsg(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn sendmsg(
    fd: c_int,
    message: *const msghdr,
    flags: c_int,
) -> ssize_t {
    if flags & libc::MSG_FASTOPEN != 0 && !message.is_null() {
        // SAFETY: the software's own header, which the kernel would read too.
        let mut plain = unsafe { *message };
        let to = Given {
            pointer: plain.msg_name.cast(),
            length: plain.msg_namelen,
        };
        if is_member(to) {
            plain.msg_name = std::ptr::null_mut();
            plain.msg_namelen = 0;
            return errno_kept(|| {
                connect_first(fd, to, flags)?;
                // SAFETY: a copy of the software's header without the address.
                sent(unsafe { next_sendmsg(fd, &raw const plain, flags & !libc::MSG_FASTOPEN) })
            });
        }
    }
    // SAFETY: the software's own call, unchanged.
    unsafe { next_sendmsg(fd, message, flags) }
}

/// Shows what the software has set itself.
///
/// # Safety
/// Both pointers are the software's own, and the kernel has written them.
unsafe fn show_own_reuseport(fd: c_int, value: *mut c_int, length: *mut socklen_t) {
    // SAFETY: the caller's promise; a shorter value than an integer is left alone.
    let is_set = unsafe {
        length.read_unaligned() as usize == size_of::<c_int>() && value.read_unaligned() != 0
    };
    if is_set && interpose::bind::is_lent(fd) {
        // SAFETY: as before.
        unsafe { value.write_unaligned(0) };
    }
}

fn is_member(to: Given) -> bool {
    !matches!(decide(to.address()), Connect::Bypass(_))
}

/// A send that also connects: to a member the label goes first, then what the software sends. A socket that does not wait
/// answers EINPROGRESS, as it does where the kernel has no cookie yet.
fn connect_first(fd: c_int, to: Given, flags: c_int) -> Result<(), Errno> {
    state::count(Counter::FastOpenReplaced);
    let nonblocking = (flags & libc::MSG_DONTWAIT != 0).then_some(true);
    connect_hook(fd, to, nonblocking).map(|_| ())
}

fn sent(result: ssize_t) -> Result<ssize_t, Errno> {
    if result < 0 { Err(errno()) } else { Ok(result) }
}

unsafe fn next_sendto(
    fd: c_int,
    buffer: *const c_void,
    count: size_t,
    flags: c_int,
    address: *const sockaddr,
    length: socklen_t,
) -> ssize_t {
    let next = NEXT_SENDTO.load(Ordering::Relaxed);
    if next.is_null() {
        // SAFETY: the software's own pointers. Only before the constructor has run.
        return unsafe {
            libc::syscall(libc::SYS_sendto, fd, buffer, count, flags, address, length) as ssize_t
        };
    }
    // SAFETY: found by dlsym under this function's name.
    let next = unsafe { transmute::<*mut c_void, Sendto>(next) };
    // SAFETY: the caller's promise.
    unsafe { next(fd, buffer, count, flags, address, length) }
}

unsafe fn next_sendmsg(fd: c_int, message: *const msghdr, flags: c_int) -> ssize_t {
    let next = NEXT_SENDMSG.load(Ordering::Relaxed);
    if next.is_null() {
        // SAFETY: the software's own pointers. Only before the constructor has run.
        return unsafe { libc::syscall(libc::SYS_sendmsg, fd, message, flags) as ssize_t };
    }
    // SAFETY: found by dlsym under this function's name.
    let next = unsafe { transmute::<*mut c_void, Sendmsg>(next) };
    // SAFETY: the caller's promise.
    unsafe { next(fd, message, flags) }
}

unsafe fn next_getsockopt(
    fd: c_int,
    level: c_int,
    name: c_int,
    value: *mut c_void,
    length: *mut socklen_t,
) -> c_int {
    let next = NEXT_GETSOCKOPT.load(Ordering::Relaxed);
    if next.is_null() {
        // SAFETY: the software's own pointers. Only before the constructor has run.
        return unsafe {
            libc::syscall(libc::SYS_getsockopt, fd, level, name, value, length) as c_int
        };
    }
    // SAFETY: found by dlsym under this function's name.
    let next = unsafe { transmute::<*mut c_void, Getsockopt>(next) };
    // SAFETY: the caller's promise.
    unsafe { next(fd, level, name, value, length) }
}
