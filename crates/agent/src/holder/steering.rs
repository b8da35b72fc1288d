//! Which of several listeners at one address a new connection comes to.
//!
//! Listeners with `SO_REUSEPORT` at one address are one group of the kernel's, whose order is that in which they began to
//! listen. A classic BPF program (`SO_ATTACH_REUSEPORT_CBPF`, Linux 4.5; socket(7)) picks one of them by its place in the
//! group, and the kernel spreads callers by a hash where the result is no place. What is kept listened first: its places are
//! the lowest, and stay so while whoever follows comes and goes.

use rustix::net::{AddressFamily, sockopt};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// How many connections may be told apart by their source port: a probe has one or two at once.
pub(super) const PORTS_MAX: usize = 64;

/// Where loads of a program reach into the network header (`SKF_NET_OFF` of linux/filter.h).
const NETWORK_HEADER: u32 = 0xfff0_0000;

/// Where a load gives a random number (`SKF_AD_OFF + SKF_AD_RANDOM` of linux/filter.h).
const RANDOM: u32 = 0xffff_f038;

/// What a listener of TCP is found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Spot {
    /// As the socket has it: an IPv6 socket at an IPv4-mapped address has an IPv6 one.
    pub(super) address: SocketAddr,
    /// IPv6 only.
    only_v6: bool,
}

/// What a spot covers of one of the two families.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cover {
    Nothing,
    One(IpAddr),
    All,
}

impl Spot {
    /// The spot that a socket has when it is bound to this address, or is bound to it already.
    pub(super) fn of(socket: impl AsFd, address: SocketAddr) -> io::Result<Self> {
        let only_v6 = sockopt::socket_domain(&socket)? == AddressFamily::INET6
            && sockopt::ipv6_v6only(&socket)?;
        Ok(Self::new(address, only_v6))
    }

    /// The spot of an address, an IPv6 one for IPv6 only where that is this host's way.
    pub(super) fn at(address: SocketAddr) -> Self {
        Self::new(address, false)
    }

    fn new(address: SocketAddr, only_v6: bool) -> Self {
        Self {
            // Without scope and flow, which hooks do not tell.
            address: SocketAddr::new(address.ip(), address.port()),
            only_v6,
        }
    }

    /// Opens a listening socket there that may stand beside others of this user.
    pub(super) fn open(self, user: Option<u32>, backlog: i32) -> io::Result<OwnedFd> {
        use rustix::net::{SocketFlags, SocketType};
        let family = match self.address {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        // Non-blocking: whoever accepts from it must not wait for a caller that has left the queue.
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
        sockopt::set_socket_reuseaddr(&socket, true)?;
        sockopt::set_socket_reuseport(&socket, true)?;
        if family == AddressFamily::INET6 {
            sockopt::set_ipv6_v6only(&socket, self.only_v6)?;
        }
        if let Some(user) = user {
            give_to(&socket, user)?;
        }
        rustix::net::bind(&socket, &self.address)?;
        rustix::net::listen(&socket, backlog)?;
        Ok(socket)
    }

    /// Makes the kernel forget that listeners have shared this port: it remembers, as long as somebody has the port, and would let another
    /// process of the same user share it though nobody listens there any more who has the option on. What is bound at the port without the
    /// option ends that, at any address; the other family's is free where the software has one of them only.
    ///
    /// # Errors
    /// The software has both, or the kernel does not allow it; then the port stays as it is.
    pub(super) fn share_no_more(self) -> io::Result<()> {
        use rustix::net::{SocketFlags, SocketType};
        let port = self.address.port();
        let [v4, v6] = self.covers();
        let (family, loopback) = match (v4, v6) {
            (_, Cover::Nothing) => (AddressFamily::INET6, IpAddr::from(Ipv6Addr::LOCALHOST)),
            (Cover::Nothing, _) => (AddressFamily::INET, IpAddr::from(Ipv4Addr::LOCALHOST)),
            _ => return Err(io::ErrorKind::AddrInUse.into()),
        };
        let socket =
            rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        if family == AddressFamily::INET6 {
            sockopt::set_ipv6_v6only(&socket, true)?;
        }
        Ok(rustix::net::bind(
            &socket,
            &SocketAddr::new(loopback, port),
        )?)
    }

    /// Connects to it, from this host, without waiting.
    pub(super) fn call(self) -> io::Result<OwnedFd> {
        use rustix::net::{SocketFlags, SocketType};
        let (family, loopback) = match self.address.ip() {
            IpAddr::V4(_) => (AddressFamily::INET, IpAddr::from(Ipv4Addr::LOCALHOST)),
            IpAddr::V6(_) => (AddressFamily::INET6, IpAddr::from(Ipv6Addr::LOCALHOST)),
        };
        let mut to = self.address;
        if to.ip().is_unspecified() {
            to.set_ip(loopback);
        }
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
        match rustix::net::connect(&socket, &to) {
            Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Ok(socket),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the kernel refuses to bind one while somebody listens at the other.
    pub(super) fn collides(self, other: Self) -> bool {
        self.address.port() == other.address.port()
            && self
                .covers()
                .iter()
                .zip(other.covers())
                .any(|(mine, theirs)| meets(*mine, theirs))
    }

    /// Whether connections to `other` come to this spot while both listen. The kernel prefers the more exact address, then
    /// (for IPv4) a socket of that family; what is equal in both is found in an order that nobody is promised.
    pub(super) fn swallows(self, other: Self) -> bool {
        if self == other || self.address.port() != other.address.port() {
            return false;
        }
        let [mine_v4, mine_v6] = self.covers();
        let [theirs_v4, theirs_v6] = other.covers();
        let native = self.address.is_ipv4() || !other.address.is_ipv4();
        (meets(mine_v4, theirs_v4) && preferred(mine_v4, theirs_v4, native))
            || (meets(mine_v6, theirs_v6) && preferred(mine_v6, theirs_v6, true))
    }

    /// What it covers of IPv4 and of IPv6.
    fn covers(self) -> [Cover; 2] {
        let exact = |ip: IpAddr| {
            if ip.is_unspecified() {
                Cover::All
            } else {
                Cover::One(ip)
            }
        };
        match self.address.ip() {
            IpAddr::V4(ip) => [exact(ip.into()), Cover::Nothing],
            IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
                Some(mapped) => [exact(mapped.into()), Cover::Nothing],
                None if ip.is_unspecified() && !self.only_v6 => [Cover::All, Cover::All],
                None => [Cover::Nothing, exact(ip.into())],
            },
        }
    }
}

fn meets(one: Cover, other: Cover) -> bool {
    match (one, other) {
        (Cover::Nothing, _) | (_, Cover::Nothing) => false,
        (Cover::One(one), Cover::One(other)) => one == other,
        _ => true,
    }
}

/// Whether the first of two that meet is found before the other, or may be.
fn preferred(one: Cover, other: Cover, where_equal: bool) -> bool {
    match (one, other) {
        (Cover::All, Cover::One(_)) => false,
        (Cover::One(_), Cover::All) => true,
        _ => where_equal,
    }
}

/// Makes a socket this user's: a group is of one user.
pub(super) fn give_to(socket: impl AsFd, user: u32) -> io::Result<()> {
    if rustix::fs::fstat(&socket)?.st_uid == user {
        return Ok(());
    }
    let user = rustix::fs::Uid::from_raw(user);
    Ok(rustix::fs::fchown(socket, Some(user), None)?)
}

/// The number that the kernel gives a socket for its life.
pub(super) fn cookie(socket: impl AsFd) -> io::Result<u64> {
    Ok(sockopt::socket_cookie(socket)?)
}

/// All callers to the first of the kept ones, except those of this host from these ports, who come to whoever follows `kept` of them.
pub(super) fn hold(socket: impl AsFd, kept: u32, ports: &[u16]) -> io::Result<()> {
    attach(
        socket,
        libc::SO_ATTACH_REUSEPORT_CBPF,
        &mut holding(kept, ports),
    )
}

/// All callers to the `following` that come after `kept` of them.
pub(super) fn let_go(socket: impl AsFd, kept: u32, following: u32) -> io::Result<()> {
    attach(
        socket,
        libc::SO_ATTACH_REUSEPORT_CBPF,
        &mut letting_go(kept, following),
    )
}

/// No program: the kernel spreads callers over whoever listens.
pub(super) fn forget(socket: impl AsFd) -> io::Result<()> {
    let nothing: libc::c_int = 0;
    set_option(socket, libc::SO_DETACH_REUSEPORT_BPF, &nothing)
}

/// A filter that drops whatever opens a connection (SYN without ACK), so that callers try again a second later: a listener that is
/// about to be closed gets nobody new whom its closing would reset.
pub(super) fn shut(socket: impl AsFd) -> io::Result<()> {
    const FLAGS: u32 = 13;
    const SYN_ACK: u32 = 0x12;
    const SYN: u32 = 0x02;
    let mut program = [
        statement(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, FLAGS),
        statement(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, SYN_ACK),
        jump(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, SYN, 0, 1),
        statement(libc::BPF_RET | libc::BPF_K, 0),
        statement(libc::BPF_RET | libc::BPF_K, u32::MAX),
    ];
    attach(socket, libc::SO_ATTACH_FILTER, &mut program)
}

/// Takes the filter of its listener off an accepted connection.
pub(super) fn unshut(socket: impl AsFd) -> io::Result<()> {
    socket2::SockRef::from(&socket.as_fd()).detach_filter()
}

/// The program of [`hold`].
fn holding(kept: u32, ports: &[u16]) -> Vec<libc::sock_filter> {
    let load = |size, at: u32| statement(libc::BPF_LD | size | libc::BPF_ABS, NETWORK_HEADER + at);
    let first = statement(libc::BPF_RET | libc::BPF_K, 0);
    // Unless both words are equal, the caller is of another host.
    let equal = |one, other| {
        [
            load(libc::BPF_W, one),
            statement(libc::BPF_MISC | libc::BPF_TAX, 0),
            load(libc::BPF_W, other),
            jump(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_X, 0, 1, 0),
            first,
        ]
    };
    let mut six: Vec<libc::sock_filter> = (0..4)
        .flat_map(|word| equal(8 + 4 * word, 24 + 4 * word))
        .collect();
    six.push(load(libc::BPF_H, 40));
    let mut four = equal(12, 16).to_vec();
    four.extend([
        statement(libc::BPF_LDX | libc::BPF_MSH | libc::BPF_B, NETWORK_HEADER),
        statement(libc::BPF_LD | libc::BPF_H | libc::BPF_IND, NETWORK_HEADER),
        statement(libc::BPF_JMP | libc::BPF_JA, six.len() as u32),
    ]);
    let mut program = vec![
        load(libc::BPF_B, 0),
        statement(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, 0xf0),
        jump(
            libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
            0x60,
            four.len() as u8,
            0,
        ),
    ];
    program.extend(four);
    program.extend(six);
    for port in ports.iter().rev().take(PORTS_MAX) {
        program.push(jump(
            libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
            u32::from(*port),
            0,
            1,
        ));
        program.push(statement(libc::BPF_RET | libc::BPF_K, kept));
    }
    program.push(first);
    program
}

/// The program of [`let_go`].
fn letting_go(kept: u32, following: u32) -> Vec<libc::sock_filter> {
    if following <= 1 {
        return vec![statement(libc::BPF_RET | libc::BPF_K, kept)];
    }
    vec![
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, RANDOM),
        statement(libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K, following),
        statement(libc::BPF_ALU | libc::BPF_ADD | libc::BPF_K, kept),
        // The result is what has been computed (BPF_A).
        statement(libc::BPF_RET | 0x10, 0),
    ]
}

fn statement(code: u32, k: u32) -> libc::sock_filter {
    jump(code, k, 0, 0)
}

fn jump(code: u32, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    let code = code as u16;
    libc::sock_filter { code, jt, jf, k }
}

fn attach(
    socket: impl AsFd,
    name: libc::c_int,
    program: &mut [libc::sock_filter],
) -> io::Result<()> {
    let len = u16::try_from(program.len()).map_err(io::Error::other)?;
    let filter = program.as_mut_ptr();
    set_option(socket, name, &libc::sock_fprog { len, filter })
}

#[expect(unsafe_code, reason = "no safe wrapper knows these socket options")]
fn set_option<T>(socket: impl AsFd, name: libc::c_int, value: &T) -> io::Result<()> {
    // SAFETY: the descriptor is open for the call's duration, and the pointer is to a value of the stated length; a program that it
    // points to is borrowed by the caller, and copied by the kernel.
    let answer = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            name,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    if answer == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
