//! What stands between the versions on the bus: takes connections that go from one to the other and translates what is said on them.
//!
//! The kernel sends such connections here; both ends see each other's addresses. Under Upstart interception and the agent do this.

use network::Namespace;
use nix::sys::socket::{getsockopt, setsockopt, sockopt};
use redis_bus_adapter::bus::{self, Translated};
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex};

const PORT: u16 = 20_000;
/// Marks the relay's own packets, so that they are not sent here again.
const MARK: u32 = 1;

/// The longest message of each version and type, as it was on the wire.
pub(crate) type Seen = Arc<Mutex<BTreeMap<(u16, u16), Vec<u8>>>>;

/// Stands between the nodes at these addresses, which are 7.0, and all others; everything runs until the process ends.
pub(crate) fn stand_between(namespace: &Namespace, new: &[Ipv4Addr]) -> Seen {
    let new: Vec<String> = new.iter().map(Ipv4Addr::to_string).collect();
    let new = format!("{{ {} }}", new.join(", "));
    namespace
        .nft(&format!(
            "table ip bus {{
                chain output {{
                    type nat hook output priority -100;
                    meta mark {MARK} return
                    tcp dport 17000 ip saddr {new} ip daddr != {new} redirect to :{PORT}
                    tcp dport 17000 ip saddr != {new} ip daddr {new} redirect to :{PORT}
                }}
            }}"
        ))
        .expect("nft takes the rules");
    let seen = Seen::default();
    let listener = namespace
        .within(|| TcpListener::bind(("0.0.0.0", PORT)))
        .expect("the namespace can be entered")
        .expect("the port is free");
    let (namespace, found) = (namespace.clone(), seen.clone());
    std::thread::spawn(move || {
        namespace.enter().expect("the namespace can be entered");
        for caller in listener.incoming().flatten() {
            let seen = found.clone();
            // The thread begins in its maker's namespace.
            std::thread::spawn(move || {
                // What fails is seen by both ends as a broken connection.
                let _ = serve(&caller, &seen);
                let _ = caller.shutdown(Shutdown::Both);
            });
        }
    });
    seen
}

fn serve(caller: &TcpStream, seen: &Seen) -> std::io::Result<()> {
    let wanted = getsockopt(caller, sockopt::OriginalDst)?;
    let wanted = SocketAddrV4::new(
        u32::from_be(wanted.sin_addr.s_addr).into(),
        u16::from_be(wanted.sin_port),
    );
    let std::net::SocketAddr::V4(from) = caller.peer_addr()? else {
        return Err(ErrorKind::InvalidInput.into());
    };
    let callee = dial(*from.ip(), wanted)?;
    std::thread::scope(|scope| {
        scope.spawn(|| pump(caller, &callee, seen));
        pump(&callee, caller, seen);
    });
    Ok(())
}

/// A connection from an address that is somebody else's, as the agent's connections to the software are.
fn dial(from: Ipv4Addr, to: SocketAddrV4) -> std::io::Result<TcpStream> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, socket};
    let made: OwnedFd = socket(
        AddressFamily::Inet,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    setsockopt(&made, sockopt::Mark, &MARK)?;
    bind(
        made.as_raw_fd(),
        &SockaddrIn::from(SocketAddrV4::new(from, 0)),
    )?;
    connect(made.as_raw_fd(), &SockaddrIn::from(to))?;
    Ok(TcpStream::from(made))
}

/// Carries messages one way until either end has had enough; then both ends.
fn pump(from: &TcpStream, to: &TcpStream, seen: &Seen) {
    // Why it ended is for nobody to know: a node closes its links as it likes.
    let _ = carry(from, to, seen);
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

fn carry(mut from: &TcpStream, mut to: &TcpStream, seen: &Seen) -> std::io::Result<()> {
    loop {
        let mut head = [0; 16];
        from.read_exact(&mut head)?;
        let length = u32::from_be_bytes([head[4], head[5], head[6], head[7]]) as usize;
        let mut message = head.to_vec();
        from.take(length.saturating_sub(head.len()) as u64)
            .read_to_end(&mut message)?;
        let at = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
        keep(seen, (at(8), at(12)), &message);
        let translated = bus::translate(&message).map_err(std::io::Error::other)?;
        if let Translated::Message(message) = translated {
            to.write_all(&message)?;
        }
    }
}

fn keep(seen: &Seen, kind: (u16, u16), message: &[u8]) {
    let mut seen = seen.lock().expect("nobody panics with it");
    let kept = seen.entry(kind).or_default();
    if kept.len() < message.len() {
        *kept = message.to_vec();
    }
}
