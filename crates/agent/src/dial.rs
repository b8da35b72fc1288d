//! Connections of the agent's own to the software: the label rides with the handshake, as the hooks' does.

use parking_lot::Mutex;
use rustix::net::{SendFlags, SocketAddrAny};
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::OnceLock;
use tokio::net::TcpStream;

/// `TCP_FASTOPEN_NO_COOKIE` (linux/tcp.h): data may go out with the handshake without a cookie.
const TCP_FASTOPEN_NO_COOKIE: libc::c_int = 34;

/// Connects to `address` with `label` as the first bytes of the stream, there already when the peer accepts.
///
/// # Errors
/// What `connect` reports; `Unsupported` where `net.ipv4.tcp_fastopen` forbids client data in the handshake.
pub async fn dial(address: SocketAddr, label: &[u8]) -> io::Result<TcpStream> {
    connect(socket(address)?, address, label).await
}

/// A socket from which `address` can be dialled.
///
/// # Errors
/// The system has none left.
pub fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM.nonblocking().cloexec(),
        Some(Protocol::TCP),
    )?;
    socket.set_tcp_nodelay(true)?;
    Ok(socket)
}

/// As [`dial`], from this socket.
///
/// # Errors
/// The same.
pub async fn connect(socket: Socket, address: SocketAddr, label: &[u8]) -> io::Result<TcpStream> {
    allow_data_in_handshake(&socket)?;
    send_with_handshake(rustix::fd::AsFd::as_fd(&socket), address, label)?;
    let stream = TcpStream::from_std(socket.into())?;
    stream.writable().await?;
    match stream.take_error()? {
        Some(error) => Err(error),
        None => Ok(stream),
    }
}

/// What this host's kernel does with data in a handshake (`net.ipv4.tcp_fastopen` and the settings beside it).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FastOpen {
    /// Callers may send it: labels need that. The bit of value 1, on by default.
    pub sends: bool,
    /// They may at any time, by whatever socket. With `net.ipv4.tcp_fastopen_blackhole_timeout_sec`, 0 by default, they may not for a while
    /// where the kernel distrusts a network; and before Linux 6.2 sockets of Multipath TCP, which some programs take by default, may not.
    pub always_sends: bool,
    /// Listeners that ask for it take it, from callers that show a cookie which they were given before. The bit of value 2, off
    /// by default.
    pub takes: bool,
}

impl FastOpen {
    /// As it is set now.
    ///
    /// # Errors
    /// The settings cannot be read now, which says nothing about them.
    pub fn of_this_host() -> io::Result<Self> {
        Ok(Self::set_to(
            setting("tcp_fastopen")?,
            setting("tcp_fastopen_blackhole_timeout_sec")?,
            multipath_sends()?,
        ))
    }

    fn set_to(bits: u32, blackhole_timeout_s: u32, multipath_sends: bool) -> Self {
        let sends = bits & 1 != 0;
        Self {
            sends,
            always_sends: sends && blackhole_timeout_s == 0 && multipath_sends,
            takes: bits & 2 != 0,
        }
    }
}

/// The settings as they were read last: a look that fails says nothing of them.
#[derive(Debug)]
pub(crate) struct FastOpenSeen(Mutex<FastOpenState>);

#[derive(Debug)]
struct FastOpenState {
    settings: FastOpen,
    /// The last look failed.
    failed: bool,
}

impl FastOpenSeen {
    /// As they were at the start.
    pub(crate) fn new(settings: FastOpen) -> Self {
        let failed = false;
        Self(Mutex::new(FastOpenState { settings, failed }))
    }

    /// As they are set now, or were the last time that they could be read.
    pub(crate) fn now(&self) -> FastOpen {
        self.take(FastOpen::of_this_host())
    }

    fn take(&self, look: io::Result<FastOpen>) -> FastOpen {
        let mut seen = self.0.lock();
        match look {
            Ok(settings) => {
                *seen = FastOpenState {
                    settings,
                    failed: false,
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut seen.failed, true) {
                    tracing::warn!(%error, "net.ipv4.tcp_fastopen cannot be read now: what it was holds");
                }
            }
        }
        seen.settings
    }
}

/// Whether this kernel sends data with a handshake for a socket of Multipath TCP too, or has none of that kind.
fn multipath_sends() -> io::Result<bool> {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    if let Some(answer) = ANSWER.get() {
        return Ok(*answer);
    }
    let answer = match Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::MPTCP)) {
        Ok(socket) => allow_data_in_handshake(&socket).is_ok(),
        Err(error) if is_shortage(&error) => return Err(error),
        Err(_) => true,
    };
    Ok(*ANSWER.get_or_init(|| answer))
}

/// Whether something has run out that a later try may have.
fn is_shortage(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOBUFS)
    )
}

/// A setting of the kernel; 0 where this kernel has none of that name.
fn setting(name: &str) -> io::Result<u32> {
    let text = match std::fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        text => text?,
    };
    text.trim().parse().map_err(io::Error::other)
}

fn send_with_handshake(
    socket: BorrowedFd<'_>,
    address: SocketAddr,
    label: &[u8],
) -> io::Result<()> {
    let flags = SendFlags::from_bits_retain(libc::MSG_FASTOPEN as u32)
        | SendFlags::DONTWAIT
        | SendFlags::NOSIGNAL;
    match rustix::net::sendto(socket, label, flags, &SocketAddrAny::from(address)) {
        Ok(sent) if sent == label.len() => Ok(()),
        Ok(_) => Err(io::Error::other("the kernel took half a label")),
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::INPROGRESS) => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "the kernel sends no data with the handshake; run `sysctl -w net.ipv4.tcp_fastopen=1`",
        )),
        Err(error) => Err(error.into()),
    }
}

/// Whether a packet of a connection's handshake was sent again: what was sent first may come late then. So it counts where the kernel
/// does not say.
#[expect(unsafe_code, reason = "no safe wrapper reads this socket option")]
pub(crate) fn was_repeated(stream: &TcpStream) -> bool {
    // SAFETY: a structure of integers, for which zero is valid.
    let mut about: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the descriptor is open for the call's duration; the kernel writes at most one structure and its length.
    let answer = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut about).cast(),
            &raw mut length,
        )
    };
    answer != 0 || about.tcpi_total_retrans > 0
}

#[expect(unsafe_code, reason = "no safe wrapper knows this socket option")]
fn allow_data_in_handshake(socket: &Socket) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the descriptor is open for the call's duration, and the pointer is to a c_int of the stated length.
    let answer = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            TCP_FASTOPEN_NO_COOKIE,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if answer == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    #[tokio::test]
    async fn the_label_is_there_when_the_peer_accepts() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        let _ours = dial(listener.local_addr().expect("address"), b"label")
            .await
            .expect("dial");
        let (theirs, _) = listener.accept().expect("accept");
        theirs.set_nonblocking(true).expect("nonblocking");
        let mut theirs = TcpStream::from_std(theirs).expect("stream");
        let mut bytes = [0; 5];
        theirs.read_exact(&mut bytes).await.expect("read");
        assert_eq!(&bytes, b"label");
    }

    #[test]
    fn labels_are_prompt_only_where_the_kernel_always_sends_them() {
        let said = |bits, blackhole_timeout_s| {
            let set = FastOpen::set_to(bits, blackhole_timeout_s, true);
            (set.sends, set.always_sends, set.takes)
        };
        assert_eq!(said(1, 0), (true, true, false));
        assert_eq!(said(3, 0), (true, true, true));
        assert_eq!(said(3, 3600), (true, false, true));
        assert_eq!(said(2, 0), (false, false, true));
        assert_eq!(said(0, 0), (false, false, false));
        assert!(!FastOpen::set_to(1, 0, false).always_sends);
    }

    #[test]
    fn a_look_that_fails_says_nothing_of_the_settings() {
        let seen = FastOpenSeen::new(FastOpen::set_to(1, 0, true));
        let out_of_descriptors = || Err(io::Error::from_raw_os_error(libc::EMFILE));
        assert!(seen.take(out_of_descriptors()).always_sends);
        assert!(seen.take(Ok(FastOpen::set_to(3, 0, true))).takes);
        assert!(seen.take(out_of_descriptors()).takes);
        assert!(!seen.take(Ok(FastOpen::set_to(0, 0, true))).sends);
    }

    #[tokio::test]
    async fn a_closed_port_refuses() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("address");
        drop(listener);
        let error = dial(address, b"label").await.expect_err("refused");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
