//! Peers made by hand: connections that begin with whatever label a test wants.

use intercept::label::{LABEL_BYTES_MAX, Label};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// A label as bytes.
pub(crate) fn encoded(label: &Label) -> Vec<u8> {
    let mut bytes = [0; LABEL_BYTES_MAX];
    let length = label.encode(&mut bytes);
    bytes[..length].to_vec()
}

/// Connects with these bytes in the handshake, as the library does.
pub(crate) fn dial(to: SocketAddr, first: &[u8]) -> TcpStream {
    let raw = intercept::address::to_sockaddr(to, if to.is_ipv4() { 2 } else { 10 });
    let family = if to.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    // SAFETY: no pointers.
    let fd = unsafe { libc::socket(family, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    assert!(fd >= 0, "socket");
    // SAFETY: a descriptor that nobody else has.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let on: libc::c_int = 1;
    // SAFETY: one integer.
    let set = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_FASTOPEN_NO_COOKIE, (&raw const on).cast(), 4)
    };
    assert_eq!(set, 0, "TCP_FASTOPEN_NO_COOKIE");
    // SAFETY: slices with their lengths.
    let sent = unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            first.as_ptr().cast(),
            first.len(),
            libc::MSG_FASTOPEN | libc::MSG_NOSIGNAL,
            raw.bytes.as_ptr().cast(),
            raw.length as u32,
        )
    };
    assert_eq!(sent, first.len() as isize, "{}", std::io::Error::last_os_error());
    TcpStream::from(socket)
}

/// Says something, ends its side, and returns all that comes back.
pub(crate) fn ask(mut stream: TcpStream, question: &str) -> String {
    stream.set_read_timeout(Some(super::PATIENCE)).expect("a bound");
    stream.write_all(question.as_bytes()).expect("asked");
    stream.shutdown(Shutdown::Write).expect("ended");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    answer
}
