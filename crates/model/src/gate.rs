//! How a server and the commands of its own user find each other on one host, without anybody having to carry a token.
//!
//! A server that listens at an address also listens at an abstract Unix socket that is named after it. Whoever connects there is known
//! by the kernel, on both sides: the server tells its token to its own user and to root, and a client believes it to those two.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The longest token that is told.
pub const TOKEN_BYTES_MAX: usize = 1024;

/// The name of the socket, in the abstract namespace, at which the server that listens here tells its token.
#[must_use]
pub fn name(listens: SocketAddr) -> String {
    format!("upstart-server/{listens}")
}

/// The names under which a server at this address of this host may be found: it listens there, or at every address. That only
/// loopback's addresses are surely this host's own is why no other is looked for among the latter.
#[must_use]
pub fn names(asked: SocketAddr) -> Vec<String> {
    let mut names = vec![name(asked)];
    if asked.ip().is_loopback() {
        let everywhere = [
            IpAddr::from(Ipv4Addr::UNSPECIFIED),
            IpAddr::from(Ipv6Addr::UNSPECIFIED),
        ];
        names.extend(everywhere.map(|address| name(SocketAddr::new(address, asked.port()))));
    }
    names
}

#[cfg(test)]
mod tests {
    use super::{name, names};

    #[test]
    fn a_server_is_found_where_it_listens_and_one_that_listens_everywhere_by_loopback() {
        let at = |text: &str| text.parse().expect("an address");
        assert_eq!(name(at("[::1]:7070")), "upstart-server/[::1]:7070");
        assert_eq!(
            names(at("127.0.0.1:7070")),
            [
                "upstart-server/127.0.0.1:7070",
                "upstart-server/0.0.0.0:7070",
                "upstart-server/[::]:7070"
            ]
        );
        assert_eq!(names(at("10.0.0.5:7070")), ["upstart-server/10.0.0.5:7070"]);
    }
}
