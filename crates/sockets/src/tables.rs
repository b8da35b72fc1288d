//! The kernel's tables of TCP sockets as text (proc(5)): of the network namespace of any process that may be looked at. They hold
//! all connections, also those that have ended, tens of thousands of them on a busy host, and the kernel formats every line.

use crate::{Socket, SocketState};
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::net::{IpAddr, SocketAddr};

/// The sockets in this state in a process's network namespace.
pub(crate) fn sockets(pid: i32, state: SocketState) -> io::Result<Vec<Socket>> {
    let mut sockets = Vec::new();
    for table in ["tcp", "tcp6"] {
        let file = match File::open(format!("/proc/{pid}/net/{table}")) {
            Ok(file) => file,
            // A kernel without IPv6.
            Err(error) if table == "tcp6" && error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for line in BufReader::new(file).lines().skip(1) {
            let found = socket(&line?, state);
            // Listeners come first: what follows is not read.
            if found.is_none() && state == SocketState::Listen {
                break;
            }
            sockets.extend(found);
        }
    }
    Ok(sockets)
}

/// The socket of this line, if it is in that state.
fn socket(line: &str, state: SocketState) -> Option<Socket> {
    let mut fields = line.split_whitespace().skip(1);
    let (local, remote) = (fields.next()?, fields.next()?);
    if u8::from_str_radix(fields.next()?, 16) != Ok(state as u8) {
        return None;
    }
    Some(Socket {
        local: address(local)?,
        remote: address(remote)?,
        state,
        user: fields.nth(3)?.parse().ok()?,
        inode: fields.nth(1)?.parse().ok()?,
    })
}

/// An address as /proc/net/tcp writes it: hex, in words of the machine's byte order.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let words: Vec<[u8; 4]> = (0..ip.len() / 8)
        .map(|at| u32::from_str_radix(ip.get(at * 8..at * 8 + 8)?, 16).ok())
        .map(|word| word.map(u32::to_ne_bytes))
        .collect::<Option<_>>()?;
    let ip = match words.as_slice() {
        [v4] => IpAddr::from(*v4),
        [_, _, _, _] => {
            let bytes: [u8; 16] = words.concat().try_into().ok()?;
            IpAddr::from(bytes).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::address;

    #[test]
    fn addresses_of_both_families_are_read() {
        assert_eq!(address("0100007F:1F90"), "127.0.0.1:8080".parse().ok());
        assert_eq!(
            address("0000000000000000FFFF00000100007F:0050"),
            "127.0.0.1:80".parse().ok()
        );
        assert_eq!(address("nonsense"), None);
    }
}
