//! Talking to the holder: one message, perhaps one reply, on a connection of its own. Bounded and without allocation.

use crate::kernel::{self, Errno};
use intercept::environment::CALL_MARK;
use intercept::hook_protocol::{HookMessage, HookReply, MESSAGE_BYTES_MAX, REPLY_BYTES, REPLY_MS};
use libc::c_int;
use std::mem::size_of;
use std::sync::OnceLock;

static HOLDER: OnceLock<Holder> = OnceLock::new();

/// `sun_path` without its leading zero byte.
const NAME_BYTES_MAX: usize = 107;

/// Where the holder listens, and who it is.
struct Holder {
    /// The abstract name. A copy: programs that change their title write over the environment's memory.
    name: [u8; NAME_BYTES_MAX],
    length: usize,
    /// The owner of the table file: nobody else is believed to be the holder.
    user: u32,
}

impl Holder {
    fn new(name: &[u8], user: u32) -> Option<Self> {
        if name.is_empty() {
            return None;
        }
        let mut copy = [0; NAME_BYTES_MAX];
        copy.get_mut(..name.len())?.copy_from_slice(name);
        Some(Self {
            name: copy,
            length: name.len(),
            user,
        })
    }

    fn name(&self) -> &[u8] {
        &self.name[..self.length]
    }
}

/// Room for one descriptor in a control message.
#[repr(C, align(8))]
struct Control {
    bytes: [u8; 32],
}

/// Notes where the holder listens (its abstract name without the zero byte; empty where there is none) and whose it must be.
pub(crate) fn set_holder(name: &[u8], user: u32) {
    if let Some(holder) = Holder::new(name, user) {
        let _ = HOLDER.set(holder);
    }
}

/// Sends a message, with this descriptor where one is given.
pub(crate) fn tell(message: &HookMessage, descriptor: Option<c_int>) -> Result<(), Errno> {
    let line = open()?;
    let sent = send(line, message, descriptor);
    kernel::close(line);
    sent
}

/// Sends a message and waits for its reply; the descriptor that came with it, close-on-exec.
pub(crate) fn ask(message: &HookMessage) -> Result<Option<c_int>, Errno> {
    Ok(converse(message, None)?.1)
}

/// Sends a message, with this descriptor where one is given, and waits for its reply: whether it was found.
pub(crate) fn is_so(message: &HookMessage, descriptor: Option<c_int>) -> bool {
    converse(message, descriptor).is_ok_and(|(found, _)| found)
}

fn converse(
    message: &HookMessage,
    descriptor: Option<c_int>,
) -> Result<(bool, Option<c_int>), Errno> {
    let line = open()?;
    let answer = send(line, message, descriptor).and_then(|()| reply(line));
    kernel::close(line);
    answer
}

fn open() -> Result<c_int, Errno> {
    let holder = HOLDER.get().ok_or(libc::ENOENT)?;
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: no pointers.
    let made = unsafe {
        kernel::call(
            libc::SYS_socket,
            [libc::AF_UNIX as usize, kind as usize, 0, 0, 0, 0],
        )
    };
    let line = made? as c_int;
    match attach(line, holder) {
        Ok(()) => Ok(line),
        Err(error) => {
            kernel::close(line);
            Err(error)
        }
    }
}

fn attach(line: c_int, holder: &Holder) -> Result<(), Errno> {
    // Family, a zero byte (abstract), the name.
    let mut address = [0u8; 110];
    address[..2].copy_from_slice(&(libc::AF_UNIX as u16).to_ne_bytes());
    let end = 3 + holder.name().len();
    address
        .get_mut(3..end)
        .ok_or(libc::EINVAL)?
        .copy_from_slice(holder.name());
    reach(line, &address[..end])?;
    let peer: libc::ucred = kernel::option(line, libc::SOL_SOCKET, libc::SO_PEERCRED)?;
    if peer.uid == holder.user {
        Ok(())
    } else {
        Err(libc::EPERM)
    }
}

/// Connects. The holder's queue has room unless strangers fill it: then our turn comes, within [`REPLY_MS`] in all.
fn reach(line: c_int, address: &[u8]) -> Result<(), Errno> {
    let until = kernel::now_ms() + REPLY_MS;
    let limit = libc::timeval {
        tv_sec: (REPLY_MS / 1000) as _,
        tv_usec: (REPLY_MS % 1000 * 1000) as _,
    };
    kernel::set_option(line, libc::SOL_SOCKET, libc::SO_SNDTIMEO, &limit)?;
    let arguments = [
        line as usize,
        address.as_ptr() as usize,
        address.len(),
        0,
        0,
        CALL_MARK,
    ];
    loop {
        // SAFETY: the address is readable for its length.
        match unsafe { kernel::call(libc::SYS_connect, arguments) } {
            Err(libc::EINTR) if kernel::now_ms() < until => {}
            outcome => return outcome.map(|_| ()),
        }
    }
}

fn send(line: c_int, message: &HookMessage, descriptor: Option<c_int>) -> Result<(), Errno> {
    let mut bytes = [0; MESSAGE_BYTES_MAX];
    let length = message.encode(&mut bytes);
    let mut part = libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: length,
    };
    let mut control = Control { bytes: [0; 32] };
    let mut header = header(&mut part, &mut control);
    match descriptor {
        // SAFETY: `control` has room for one header and one descriptor.
        Some(descriptor) => unsafe { put_descriptor(&mut header, descriptor) },
        None => header.msg_controllen = 0,
    }
    let flags = (libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT) as usize;
    // SAFETY: the header's pointers are the locals above.
    unsafe {
        kernel::call(
            libc::SYS_sendmsg,
            [line as usize, &raw mut header as usize, flags, 0, 0, 0],
        )
    }
    .map(|_| ())
}

fn header(part: &mut libc::iovec, control: &mut Control) -> libc::msghdr {
    // SAFETY: a structure of integers and pointers, for which zero is valid.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = part;
    header.msg_iovlen = 1;
    header.msg_control = control.bytes.as_mut_ptr().cast();
    header.msg_controllen = control.bytes.len() as _;
    header
}

/// # Safety
/// `msg_control` points to at least `CMSG_SPACE(4)` bytes.
unsafe fn put_descriptor(header: &mut libc::msghdr, descriptor: c_int) {
    let size = size_of::<c_int>() as u32;
    // SAFETY: macros over the room that the caller vouches for.
    unsafe {
        header.msg_controllen = libc::CMSG_SPACE(size) as _;
        let control = libc::CMSG_FIRSTHDR(header);
        (*control).cmsg_level = libc::SOL_SOCKET;
        (*control).cmsg_type = libc::SCM_RIGHTS;
        (*control).cmsg_len = libc::CMSG_LEN(size) as _;
        libc::CMSG_DATA(control)
            .cast::<c_int>()
            .write_unaligned(descriptor);
    }
}

fn reply(line: c_int) -> Result<(bool, Option<c_int>), Errno> {
    wait(line)?;
    let mut bytes = [0u8; REPLY_BYTES];
    let mut part = libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: REPLY_BYTES,
    };
    let mut control = Control { bytes: [0; 32] };
    let mut header = header(&mut part, &mut control);
    let flags = (libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC) as usize;
    // SAFETY: the header's pointers are the locals above.
    let count = unsafe {
        kernel::call(
            libc::SYS_recvmsg,
            [line as usize, &raw mut header as usize, flags, 0, 0, 0],
        )
    }?;
    // SAFETY: the kernel has filled the header that it was given.
    let descriptor = unsafe { descriptor(&header) };
    let reply = HookReply::decode(&bytes[..count.min(REPLY_BYTES)]).map_err(|_| libc::EPROTO)?;
    Ok((reply.found, descriptor.filter(|_| reply.found)))
}

/// Waits for the reply through interruptions, in all at most [`REPLY_MS`].
fn wait(line: c_int) -> Result<(), Errno> {
    let until = kernel::now_ms() + REPLY_MS;
    loop {
        let left = until.saturating_sub(kernel::now_ms());
        match kernel::ready(line, libc::POLLIN, left) {
            Ok(true) => return Ok(()),
            Err(libc::EINTR) if left > 0 => {}
            Ok(false) | Err(_) => return Err(libc::ETIMEDOUT),
        }
    }
}

/// # Safety
/// The header is one that `recvmsg` has filled.
unsafe fn descriptor(header: &libc::msghdr) -> Option<c_int> {
    // SAFETY: macros over a filled header.
    unsafe {
        let control = libc::CMSG_FIRSTHDR(header);
        let rights = !control.is_null()
            && (*control).cmsg_level == libc::SOL_SOCKET
            && (*control).cmsg_type == libc::SCM_RIGHTS
            && (*control).cmsg_len as usize >= libc::CMSG_LEN(size_of::<c_int>() as u32) as usize;
        rights.then(|| libc::CMSG_DATA(control).cast::<c_int>().read_unaligned())
    }
}
