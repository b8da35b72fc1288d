//! Peers made by hand: connections that begin with whatever label a test wants.

use intercept::label::{LABEL_BYTES_MAX, Label, Parsed};
use rustix::net::{
    AddressFamily, SendFlags, SocketAddrAny, SocketFlags, SocketType, sendto, socket_with,
};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::mpsc::Sender;

/// A label as bytes.
pub(crate) fn encoded(label: &Label) -> Vec<u8> {
    let mut bytes = [0; LABEL_BYTES_MAX];
    let length = label.encode(&mut bytes);
    bytes[..length].to_vec()
}

/// Connects with these bytes in the handshake, as the library does.
pub(crate) fn dial(to: SocketAddr, first: &[u8]) -> TcpStream {
    connect(to, first).expect("connected")
}

/// The same, where the kernel may give up.
pub(crate) fn try_dial(to: SocketAddr, first: &[u8]) -> io::Result<TcpStream> {
    connect(to, first)
}

/// Connects with a one-time token: the other side takes the connection that was offered under it and resets this one, which may
/// be over before the call returns.
pub(crate) fn dial_token(to: SocketAddr, token_label: &[u8]) -> Option<TcpStream> {
    match connect(to, token_label) {
        Ok(stream) => Some(stream),
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => None,
        Err(error) => panic!("the dial: {error}"),
    }
}

/// Connects with these bytes and sees the connection reset without an answer.
pub(crate) fn expect_reset(to: SocketAddr, first: &[u8]) {
    let answer = connect(to, first).and_then(|mut stream| {
        stream.set_read_timeout(Some(super::PATIENCE))?;
        stream.read(&mut [0; 1])
    });
    let error = answer.expect_err("reset, never delivered");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{error}");
}

/// The kernel's answer may be that the other side has reset the connection before this call returned.
fn connect(to: SocketAddr, first: &[u8]) -> io::Result<TcpStream> {
    let family = if to.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    allow_data_in_handshake(&socket)?;
    let flags = SendFlags::from_bits_retain(libc::MSG_FASTOPEN as u32) | SendFlags::NOSIGNAL;
    let sent = sendto(&socket, first, flags, &SocketAddrAny::from(to))?;
    assert_eq!(sent, first.len(), "a handshake takes all of a label");
    Ok(TcpStream::from(socket))
}

fn allow_data_in_handshake(socket: &OwnedFd) -> io::Result<()> {
    set_option(socket.as_raw_fd(), libc::TCP_FASTOPEN_NO_COOKIE, 1)
}

/// Has a listener take data with the first packet, as the library does at a declared service.
pub(crate) fn take_data_at_once(listener: &TcpListener) {
    set_option(listener.as_raw_fd(), libc::TCP_FASTOPEN, 128).expect("an option");
}

#[expect(unsafe_code, reason = "no safe wrapper knows these options")]
fn set_option(socket: RawFd, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    // SAFETY: an open descriptor and one integer.
    let set = unsafe {
        libc::setsockopt(
            socket,
            libc::IPPROTO_TCP,
            name,
            (&raw const value).cast(),
            4,
        )
    };
    match set {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Serves callers for as long as the test's process runs: takes a label away where there is one and echoes the rest. The
/// labels go to `seen`.
pub(crate) fn serve_labelled(listener: TcpListener, seen: Sender<Option<Label>>) {
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let seen = seen.clone();
            std::thread::spawn(move || {
                let label = take_label(&mut stream);
                let _ = seen.send(label);
                let mut bytes = [0; 4096];
                while let Ok(count @ 1..) = stream.read(&mut bytes) {
                    let _ = stream.write_all(&bytes[..count]);
                }
            });
        }
    });
}

fn take_label(stream: &mut TcpStream) -> Option<Label> {
    let mut bytes = [0; LABEL_BYTES_MAX];
    loop {
        let count = stream.peek(&mut bytes).ok()?;
        match intercept::label::parse(&bytes[..count]) {
            Parsed::Label { label, length } => {
                stream.read_exact(&mut bytes[..length]).ok()?;
                return Some(label);
            }
            Parsed::Partial if count > 0 => {}
            _ => return None,
        }
    }
}

/// Says something, ends its side, and returns all that comes back.
pub(crate) fn ask(mut stream: TcpStream, question: &str) -> String {
    stream
        .set_read_timeout(Some(super::PATIENCE))
        .expect("a bound");
    stream.write_all(question.as_bytes()).expect("asked");
    stream.shutdown(Shutdown::Write).expect("ended");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    answer
}
