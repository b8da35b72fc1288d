//! Servers on this host: who has the port, by what the kernel says, and the token as they tell it to their own user and to root
//! ([`model::gate`]). Nobody else is asked anything: what they say would be believed.

use crate::{GivenToken, ShownCredential};
use identity::{Credential, Pin, PinnedToken, UNPROVEN};
use model::gate::{self, TOKEN_BYTES_MAX};
use parking_lot::Mutex;
use reqwest::Url;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;

/// How long a name service, or the server, may take: both answer at once.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);

/// How long to wait where others fill its queue.
const QUEUE_PAUSE: Duration = Duration::from_millis(5);

/// How long a name's addresses are taken for its addresses without asking again.
const NAME_LIMIT: Duration = Duration::from_secs(30);

/// Why a server that may well be there is asked nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Doubt {
    /// Whose program listens at the address.
    #[error(
        "a program of user {0} listens there, who is neither root, nor this user, nor the owner of the token file"
    )]
    Stranger(u32),
    /// It tells its token to its own user and to root.
    #[error("it gives its token only to its own user and to root")]
    Untold,
    /// It tells nobody a token.
    #[error("the program that listens there gives no token")]
    Mute,
    /// Somebody else has taken its place at the Unix socket where it would tell the token.
    #[error("a program of user {0} has taken the socket at which it would tell its token, `@{1}`")]
    Squatter(u32, String),
    /// Nobody answers at that Unix socket: the server stands still, or others fill its queue.
    #[error("it does not answer at the socket at which it tells its token, `@{0}`: {1}")]
    Silent(String, String),
    /// It is on another host, where only those are served who show something.
    #[error("it is on another host, and no token is given")]
    Elsewhere,
    /// Everybody on the way could read along.
    #[error("it is on another host, and everybody on the way there could read along")]
    Plain,
    /// The token does not say whom it may be shown.
    #[error("it is on another host, and the token does not say which servers it is for")]
    Unpinned,
    /// What listens there has another authority's certificate, or none.
    #[error("what listens there {UNPROVEN} {0}")]
    Unproven(Pin),
    /// The kernel does not tell who listens.
    #[error("the kernel does not tell who listens there: {0}")]
    Unknown(String),
}

impl Doubt {
    /// What to do about it.
    #[must_use]
    pub fn advice(&self) -> String {
        const GIVE: &str = "give the server's token, a copy of the file `token` in its data directory: --token-file FILE";
        match self {
            Self::Stranger(user) => format!(
                "end that program if it is not your server; if it is, give its token in a file that belongs to user {user} and that you can read: --token-file FILE"
            ),
            Self::Squatter(..) => {
                format!("end the program that has it (`ss -xlp` names it), or {GIVE}")
            }
            Self::Silent(..) => format!(
                "see whether the server stands still (stopped, or its disk hangs): let it go on, or start it again; if others fill that socket (`ss -xp` names them), end them, or {GIVE}"
            ),
            Self::Mute => format!("see what listens there (`ss -tlp` names it), or {GIVE}"),
            Self::Untold => format!(
                "run this as the server's user, or log in once with a one-time token that an admin makes (`upstart invite`, `upstart login`); or {GIVE}"
            ),
            Self::Elsewhere => "an admin of that server makes a one-time token: `upstart invite node NAME` for `upstart agent --token-file FILE`, `upstart invite operator NAME --role ROLE` for `upstart login --token-file FILE`".to_owned(),
            Self::Plain => "give its address as https://HOST:PORT".to_owned(),
            Self::Unpinned => "give a token that ends in a dot and a pin of 64 digits: that of the file `token` in the server's data directory, or a one-time token of `upstart invite`".to_owned(),
            Self::Unproven(_) => "see what listens there; if it is your server and its file `authority.pem` was lost, put that back from a backup, or log in and start agents with new one-time tokens of `upstart invite`".to_owned(),
            Self::Unknown(_) => {
                "let this program read /proc/net/tcp, or use the kernel's socket diagnosis"
                    .to_owned()
            }
        }
    }
}

/// Why a server is not asked.
#[derive(Debug)]
pub(crate) enum Why {
    /// There is none.
    Nobody(String),
    /// It is not believed, or would not believe us.
    Doubt(Doubt),
}

/// How a request reaches a server.
#[derive(Debug)]
pub(crate) struct WayToServer {
    /// On this host: the address whose listener was looked at, for that is whom the request must reach.
    pub(crate) address: Option<SocketAddr>,
    pub(crate) token: Option<String>,
    pub(crate) tls: Option<Tls>,
}

/// Over TLS: whom is believed, and what is shown.
#[derive(Debug)]
pub(crate) struct Tls {
    /// The pin of the servers' authority; none where the kernel has told who listens.
    pub(crate) pin: Option<Pin>,
    pub(crate) credential: Option<Arc<Credential>>,
}

/// The addresses of servers that are given by name.
#[derive(Debug, Default)]
pub(crate) struct Names(Mutex<BTreeMap<String, (Instant, Vec<SocketAddr>)>>);

impl Names {
    /// Looks for a way to a server: on this host to nobody but root, this user and whose token was given; elsewhere only over TLS to
    /// those whom a token or a credential names; and never without something to show.
    pub(crate) async fn way(
        &self,
        server: &Url,
        given: Option<&GivenToken>,
        shown: Option<ShownCredential>,
    ) -> Result<WayToServer, Why> {
        let is_encrypted = server.scheme() == "https";
        let shown = shown.filter(|_| is_encrypted);
        if let Some(shown) = shown.as_ref().filter(|shown| !shown.is_last_resort) {
            return Ok(shown.way());
        }
        // Who has the server's certificate is the server, whoever listens.
        if is_encrypted && given.is_some_and(|given| given.token.pin.is_some()) {
            return elsewhere(is_encrypted, given, None).map_err(Why::Doubt);
        }
        let mut here = self.addresses(server).await.map_err(Why::Nobody)?;
        here.retain(|address| sockets::is_here(address.ip()));
        if here.is_empty() {
            let way = elsewhere(is_encrypted, given, shown.as_ref());
            return way.map_err(Why::Doubt);
        }
        let mut doubt = None;
        for address in here {
            match token_here(address, given).await {
                Ok(Some(token)) => {
                    let tls = is_encrypted.then_some(Tls {
                        pin: token.pin,
                        credential: None,
                    });
                    return Ok(WayToServer {
                        address: Some(address),
                        token: Some(token.secret),
                        tls,
                    });
                }
                Ok(None) => {}
                Err(why) => doubt = doubt.or(Some(why)),
            }
        }
        match (doubt, shown) {
            (Some(_), Some(shown)) => Ok(shown.way()),
            (Some(doubt), None) => Err(Why::Doubt(doubt)),
            (None, _) => Err(Why::Nobody("nobody listens there".to_owned())),
        }
    }

    /// The addresses that a server's URL means.
    async fn addresses(&self, server: &Url) -> Result<Vec<SocketAddr>, String> {
        let (Some(host), Some(port)) = (server.host_str(), server.port_or_known_default()) else {
            return Err("the address names no host".to_owned());
        };
        let hosts = match host.trim_start_matches('[').trim_end_matches(']').parse() {
            // The kernel takes it for loopback, too.
            Ok(IpAddr::V4(Ipv4Addr::UNSPECIFIED)) => vec![Ipv4Addr::LOCALHOST.into()],
            Ok(IpAddr::V6(Ipv6Addr::UNSPECIFIED)) => vec![Ipv6Addr::LOCALHOST.into()],
            Ok(address) => vec![address],
            Err(_) if host == "localhost" => {
                vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
            }
            Err(_) => return self.look_up(host, port).await,
        };
        let hosts = hosts.into_iter();
        Ok(hosts.map(|host| SocketAddr::new(host, port)).collect())
    }

    /// Asks the name service now and then; goes by what it said last where it does not answer.
    async fn look_up(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
        let name = format!("{host}:{port}");
        let lock = || self.0.lock();
        let known = lock().get(&name).cloned();
        if let Some((since, addresses)) = &known
            && since.elapsed() < NAME_LIMIT
        {
            return Ok(addresses.clone());
        }
        let answer = tokio::time::timeout(ANSWER_LIMIT, tokio::net::lookup_host(&name)).await;
        let why = match answer {
            Ok(Ok(found)) => {
                let found: Vec<SocketAddr> = found.collect();
                lock().insert(name.clone(), (Instant::now(), found.clone()));
                return Ok(found);
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the name service does not answer".to_owned(),
        };
        let known = known.map(|(_, addresses)| addresses);
        known.ok_or_else(|| format!("its address is not known: {why}"))
    }
}

impl ShownCredential {
    fn way(&self) -> WayToServer {
        WayToServer {
            address: None,
            token: None,
            tls: Some(Tls {
                pin: Some(self.credential.pin()),
                credential: Some(Arc::clone(&self.credential)),
            }),
        }
    }
}

/// A way to a server on another host.
fn elsewhere(
    is_encrypted: bool,
    given: Option<&GivenToken>,
    shown: Option<&ShownCredential>,
) -> Result<WayToServer, Doubt> {
    if !is_encrypted {
        return Err(Doubt::Plain);
    }
    match (given, shown) {
        (Some(GivenToken { token, .. }), _) => match token.pin {
            Some(pin) => Ok(WayToServer {
                address: None,
                token: Some(token.secret.clone()),
                tls: Some(Tls {
                    pin: Some(pin),
                    credential: None,
                }),
            }),
            None => Err(Doubt::Unpinned),
        },
        (None, Some(shown)) => Ok(shown.way()),
        (None, None) => Err(Doubt::Elsewhere),
    }
}

/// The token for who listens at an address of this host, if anybody does.
async fn token_here(
    address: SocketAddr,
    given: Option<&GivenToken>,
) -> Result<Option<PinnedToken>, Doubt> {
    let listener = sockets::listener(address);
    let listener = listener.map_err(|error| Doubt::Unknown(error.to_string()))?;
    let Some(listener) = listener else {
        return Ok(None);
    };
    let believed = given.and_then(|given| given.owner);
    if !is_own_or_root(listener.user) && believed != Some(listener.user) {
        return Err(Doubt::Stranger(listener.user));
    }
    match given {
        Some(given) => Ok(Some(given.token.clone())),
        None => {
            let told = told(&gate::name(listener.local)).await?;
            Ok(Some(PinnedToken::of(&told)))
        }
    }
}

fn is_own_or_root(user: u32) -> bool {
    user == 0 || user == rustix::process::geteuid().as_raw()
}

/// Asks for the token at the server's Unix socket.
async fn told(name: &str) -> Result<String, Doubt> {
    let silent = |why: String| Doubt::Silent(name.to_owned(), why);
    match tokio::time::timeout(ANSWER_LIMIT, ask(name)).await {
        Ok(Ok(told)) => told,
        Ok(Err(error)) => Err(silent(error.to_string())),
        Err(_) => Err(silent("nothing came for 3 s".to_owned())),
    }
}

async fn ask(name: &str) -> io::Result<Result<String, Doubt>> {
    let mut line = match connect(name).await {
        Ok(line) => line,
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            return Ok(Err(Doubt::Mute));
        }
        Err(error) => return Err(error),
    };
    let user = line.peer_cred()?.uid();
    if !is_own_or_root(user) {
        return Ok(Err(Doubt::Squatter(user, name.to_owned())));
    }
    let mut text = String::new();
    let limit = TOKEN_BYTES_MAX as u64;
    (&mut line).take(limit).read_to_string(&mut text).await?;
    Ok(match text.trim() {
        "" => Err(Doubt::Untold),
        token => Ok(token.to_owned()),
    })
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
    use super::{Doubt, Names, Why};
    use crate::GivenToken;
    use identity::PinnedToken;
    use reqwest::Url;
    use std::net::{SocketAddr, TcpListener, UdpSocket};

    fn url(text: &str) -> Url {
        Url::parse(text).expect("a URL")
    }

    #[tokio::test]
    async fn addresses_are_known_without_a_name_service_where_they_can_be() {
        let names = Names::default();
        let of = async |text: &str| {
            let found = names.addresses(&url(text)).await.expect("known");
            found.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(of("http://127.0.0.1:7070").await, ["127.0.0.1:7070"]);
        assert_eq!(of("http://0.0.0.0:7070").await, ["127.0.0.1:7070"]);
        assert_eq!(of("http://[::1]:7070/prefix").await, ["[::1]:7070"]);
        assert_eq!(
            of("http://localhost:7070").await,
            ["127.0.0.1:7070", "[::1]:7070"]
        );
        assert_eq!(of("http://10.0.0.5").await, ["10.0.0.5:80"]);
        let none = names.addresses(&url("http://no-such-host.invalid")).await;
        assert!(none.is_err(), "{none:?}");
    }

    /// An address of this host that is not loopback's, where it has one.
    fn own_address() -> Option<SocketAddr> {
        let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
        // Nothing is sent: the kernel only chooses a way.
        socket.connect("192.0.2.1:9").ok()?;
        let listener = TcpListener::bind((socket.local_addr().ok()?.ip(), 0)).ok()?;
        listener.local_addr().ok()
    }

    /// The addresses of this host's interfaces are here as loopback's are, and no server is asked without a token.
    #[tokio::test]
    async fn no_server_is_asked_without_a_token() {
        let names = Names::default();
        let listener = TcpListener::bind("0.0.0.0:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let loopback = url(&format!("http://127.0.0.1:{port}"));
        let mute = names.way(&loopback, None, None).await;
        assert!(matches!(mute, Err(Why::Doubt(Doubt::Mute))), "{mute:?}");
        if let Some(own) = own_address() {
            let own = url(&format!("http://{}:{port}", own.ip()));
            let mute = names.way(&own, None, None).await;
            assert!(matches!(mute, Err(Why::Doubt(Doubt::Mute))), "{mute:?}");
        } else {
            println!("SKIPPED: no_server_is_asked_without_a_token: an address besides loopback's");
        }
        let elsewhere = names.way(&url("https://192.0.2.1:9"), None, None).await;
        assert!(
            matches!(elsewhere, Err(Why::Doubt(Doubt::Elsewhere))),
            "{elsewhere:?}"
        );
        let given = GivenToken {
            token: PinnedToken::of("a-token"),
            owner: None,
        };
        let unpinned = names
            .way(&url("https://192.0.2.1:9"), Some(&given), None)
            .await;
        assert!(
            matches!(unpinned, Err(Why::Doubt(Doubt::Unpinned))),
            "{unpinned:?}"
        );
        let plain = names
            .way(&url("http://192.0.2.1:9"), Some(&given), None)
            .await;
        assert!(matches!(plain, Err(Why::Doubt(Doubt::Plain))), "{plain:?}");
        drop(listener);
        let given = GivenToken {
            token: PinnedToken::of("a-token"),
            owner: None,
        };
        for given in [None, Some(&given)] {
            let nobody = names.way(&loopback, given, None).await;
            assert!(matches!(nobody, Err(Why::Nobody(_))), "{nobody:?}");
        }
    }

    /// What was looked at is what is called, whatever else the name means.
    #[tokio::test]
    async fn a_request_goes_to_the_address_whose_listener_was_looked_at() {
        let listener = TcpListener::bind("[::1]:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let given = GivenToken {
            token: PinnedToken::of("a-token"),
            owner: None,
        };
        let server = url(&format!("http://localhost:{}", address.port()));
        let way = Names::default().way(&server, Some(&given), None).await;
        let way = way.expect("a way");
        assert_eq!(
            (way.address, way.token.as_deref()),
            (Some(address), Some("a-token"))
        );
    }
}
