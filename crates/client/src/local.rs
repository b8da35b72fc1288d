//! The token of a server on this host, as it tells it to its own user and to root ([`model::gate`]).

use model::gate::{self, TOKEN_BYTES_MAX};
use reqwest::Url;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;

/// How long the server may take: it answers at once.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);

/// How long to wait where others fill its queue.
const QUEUE_PAUSE: Duration = Duration::from_millis(5);

/// What is known of the token.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// It was told.
    Token(String),
    /// Nobody on this host tells it.
    Nothing,
    /// Somebody else would.
    Strangers(u32),
    /// It should have been told, and was not.
    Silence(String),
}

/// Whether a server's address can be nowhere but on this host.
pub(crate) fn is_here(server: &Url) -> bool {
    let addresses = addresses(server);
    !addresses.is_empty() && addresses.iter().all(|address| address.ip().is_loopback())
}

/// Asks the server at this address, if it is on this host.
pub(crate) async fn token(server: &Url) -> Found {
    let mut found = Found::Nothing;
    for name in addresses(server).into_iter().flat_map(gate::names) {
        match tokio::time::timeout(ANSWER_LIMIT, ask(&name)).await {
            Ok(Ok(Found::Token(token))) => return Found::Token(token),
            Ok(Ok(Found::Nothing)) => {}
            Ok(Ok(other)) => found = other,
            Ok(Err(error)) => found = Found::Silence(error.to_string()),
            Err(_) => found = Found::Silence("it does not answer".to_owned()),
        }
    }
    found
}

/// The addresses that a server's URL may mean without asking a name service.
fn addresses(server: &Url) -> Vec<SocketAddr> {
    let (Some(host), Some(port)) = (server.host_str(), server.port_or_known_default()) else {
        return Vec::new();
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let hosts = match host.parse::<IpAddr>() {
        Ok(address) => vec![address],
        Err(_) if host == "localhost" => {
            vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
        }
        Err(_) => Vec::new(),
    };
    let hosts = hosts.into_iter();
    hosts.map(|host| SocketAddr::new(host, port)).collect()
}

async fn ask(name: &str) -> io::Result<Found> {
    let mut line = match connect(name).await {
        Ok(line) => line,
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            return Ok(Found::Nothing);
        }
        Err(error) => return Err(error),
    };
    let user = line.peer_cred()?.uid();
    if user != 0 && user != rustix::process::geteuid().as_raw() {
        return Ok(Found::Strangers(user));
    }
    let mut text = String::new();
    let limit = TOKEN_BYTES_MAX as u64;
    (&mut line).take(limit).read_to_string(&mut text).await?;
    match text.trim() {
        "" => Err(io::Error::other("it does not tell this user")),
        token => Ok(Found::Token(token.to_owned())),
    }
}

/// Connects to an abstract socket; waits for its turn where the queue is full.
async fn connect(name: &str) -> io::Result<UnixStream> {
    loop {
        match UnixStream::connect(format!("\0{name}")).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                tokio::time::sleep(QUEUE_PAUSE).await;
            }
            outcome => return outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{addresses, is_here};
    use reqwest::Url;

    #[test]
    fn only_addresses_that_need_no_name_service_are_looked_for() {
        let url = |text: &str| Url::parse(text).expect("a URL");
        let of = |text: &str| {
            let found = addresses(&url(text)).into_iter();
            found.map(|at| at.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(of("http://127.0.0.1:7070"), ["127.0.0.1:7070"]);
        assert_eq!(of("http://[::1]:7070/prefix"), ["[::1]:7070"]);
        assert_eq!(
            of("http://localhost:7070"),
            ["127.0.0.1:7070", "[::1]:7070"]
        );
        assert_eq!(of("http://10.0.0.5"), ["10.0.0.5:80"]);
        assert!(of("http://upstart.example").is_empty());
        assert!(is_here(&url("http://localhost:7070")));
        assert!(!is_here(&url("http://10.0.0.5:7070")));
        assert!(!is_here(&url("http://upstart.example")));
    }
}
