//! The issuer whose web tokens let operators in: its keys are kept, and asked for anew when they are old, or when a token names another.

use crate::outside::outside_client;
use crate::problem::{Kind, RequestRefusal, refuse};
use identity::{ClaimError, ClaimedOperator, Issuer, IssuerKeySet, issuer_tls};
use parking_lot::Mutex;
use reqwest::Url;
use serde::Deserialize;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How long keys are used before they are asked for again.
const OLD: Duration = Duration::from_secs(3600);

/// How often they are asked for at most, whatever tokens name.
const ASKED_PAUSE: Duration = Duration::from_secs(10);

/// How long the issuer may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// The largest answer.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Where an issuer says what it has (OpenID Connect Discovery 1.0, section 4).
const DISCOVERY: &str = "/.well-known/openid-configuration";

/// An issuer, and its keys.
pub(crate) struct TokenIssuer {
    issuer: Issuer,
    client: reqwest::Client,
    known: Mutex<KnownKeys>,
}

#[derive(Default)]
struct KnownKeys {
    keys: Option<Arc<IssuerKeySet>>,
    /// When they were asked for last, whatever came of it.
    asked_at: Option<Instant>,
    /// Why nothing came of it.
    trouble: String,
    /// It is being asked: ends when it has been.
    asking: Option<watch::Receiver<()>>,
}

impl KnownKeys {
    fn were_asked_within(&self, time: Duration) -> bool {
        self.asked_at.is_some_and(|asked| asked.elapsed() < time)
    }
}

/// What an issuer says of itself; there is more.
#[derive(Deserialize)]
struct Discovered {
    issuer: String,
    jwks_uri: String,
}

impl TokenIssuer {
    /// Asks nobody yet; a file with keys must be one.
    pub(crate) fn new(issuer: Issuer) -> Result<Self, String> {
        match &issuer.keys {
            Some(file) => drop(from_file(file)?),
            None => drop(asked_at(&issuer.url)?),
        }
        let tls = issuer_tls(&issuer).map_err(|error| error.to_string())?;
        let client = outside_client(tls, ANSWER_LIMIT)?;
        Ok(Self {
            issuer,
            client,
            known: Mutex::default(),
        })
    }

    /// Who shows this token. Whoever shows one by a known key waits for nobody.
    pub(crate) async fn check(
        self: &Arc<Self>,
        token: &str,
    ) -> Result<ClaimedOperator, RequestRefusal> {
        let (keys, may_be_old) = {
            let known = self.known.lock();
            (known.keys.clone(), !known.were_asked_within(OLD))
        };
        if let Some(keys) = keys {
            match self.issuer.check(token, &keys) {
                // It may have new ones.
                Err(ClaimError::UnknownKey | ClaimError::NotSigned) => {}
                checked => {
                    if may_be_old {
                        let _ = self.begin_to_ask(OLD);
                    }
                    return checked.map_err(|error| self.refused(&error));
                }
            }
        }
        if let Some(mut asking) = self.begin_to_ask(ASKED_PAUSE) {
            // It ends when nobody asks any more.
            while asking.changed().await.is_ok() {}
        }
        let known = {
            let known = self.known.lock();
            known.keys.clone().ok_or_else(|| known.trouble.clone())
        };
        let keys = known.map_err(|why| {
            let url = &self.issuer.url;
            let detail = format!("The keys of {url} cannot be had ({why}); ask again in a moment.");
            refuse(Kind::ISSUER_UNAVAILABLE, detail)
        })?;
        let checked = self.issuer.check(token, &keys);
        checked.map_err(|error| self.refused(&error))
    }

    fn refused(&self, error: &ClaimError) -> RequestRefusal {
        let detail = format!("The token of {} lets nobody in: {error}.", self.issuer.url);
        refuse(Kind::UNAUTHORIZED, detail)
    }

    /// Has it asked in a task of its own, whoever waits for that or does not; `None` where it was asked a moment ago.
    fn begin_to_ask(self: &Arc<Self>, pause: Duration) -> Option<watch::Receiver<()>> {
        let mut known = self.known.lock();
        if known.asking.is_some() {
            return known.asking.clone();
        }
        if known.were_asked_within(pause) {
            return None;
        }
        known.asked_at = Some(Instant::now());
        let (end, asking) = watch::channel(());
        known.asking = Some(asking.clone());
        let own = Arc::clone(self);
        tokio::spawn(async move {
            let asked = own.ask().await;
            let mut known = own.known.lock();
            known.asking = None;
            match asked {
                Ok(keys) => known.keys = Some(Arc::new(keys)),
                Err(why) => {
                    tracing::warn!("the issuer {} tells no keys: {why}", own.issuer.url);
                    known.trouble = why;
                }
            }
            drop(known);
            drop(end);
        });
        Some(asking)
    }

    async fn ask(&self) -> Result<IssuerKeySet, String> {
        if let Some(file) = &self.issuer.keys {
            return from_file(file);
        }
        let url = self.issuer.url.trim_end_matches('/');
        let said = self.get(&format!("{url}{DISCOVERY}")).await?;
        let said: Discovered = serde_json::from_slice(&said)
            .map_err(|error| format!("{url}{DISCOVERY} is not what it must be: {error}"))?;
        if said.issuer != self.issuer.url {
            return Err(format!(
                "what answers there is the issuer `{}`",
                said.issuer
            ));
        }
        let keys = self.get(&said.jwks_uri).await?;
        IssuerKeySet::read(&keys).map_err(|why| format!("{}: {why}", said.jwks_uri))
    }

    async fn get(&self, url: &str) -> Result<Vec<u8>, String> {
        let failed = |error: reqwest::Error| format!("{url}: {}", chain(&error));
        let target = asked_at(url)?;
        if let Some(address) = target.listens {
            is_believed(address)?;
        }
        let answer = self.client.get(target.url).send().await.map_err(failed)?;
        let mut answer = answer.error_for_status().map_err(failed)?;
        let mut body = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(failed)? {
            body.extend_from_slice(&part);
            if body.len() > ANSWER_BYTES_MAX {
                return Err(format!("{url} answers more than {ANSWER_BYTES_MAX} bytes"));
            }
        }
        Ok(body)
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let texts: Vec<String> = causes.map(ToString::to_string).collect();
    texts.join(": ")
}

/// Where an issuer is asked.
struct IssuerTarget {
    url: Url,
    /// The address on this host where it listens, which shows by no certificate who it is.
    listens: Option<SocketAddr>,
}

/// Where an issuer is asked: over TLS, or at an address of this host.
fn asked_at(url: &str) -> Result<IssuerTarget, String> {
    let bad = |why: &str| {
        format!(
            "issuer: `{url}` cannot be asked for its keys: {why}; give its URL as https://HOST/..., as its tokens say it (`iss`), or a file as `keys`"
        )
    };
    let parsed = Url::parse(url).map_err(|error| bad(&error.to_string()))?;
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err(bad("it names a user"));
    }
    let host = parsed.host_str().unwrap_or_default();
    let own: Option<IpAddr> = match host.trim_matches(['[', ']']) {
        "localhost" => Some(Ipv4Addr::LOCALHOST.into()),
        host => host.parse().ok().filter(IpAddr::is_loopback),
    };
    let listens = match (parsed.scheme(), own) {
        ("https", _) if !host.is_empty() => None,
        ("http", Some(ip)) => Some(SocketAddr::new(
            ip,
            parsed.port_or_known_default().unwrap_or(80),
        )),
        _ => return Err(bad("it is asked over TLS, but for one on this host")),
    };
    let mut url = parsed;
    if let Some(address) = listens {
        // The address that is looked at is the one that is asked.
        let _ = url.set_ip_host(address.ip());
    }
    Ok(IssuerTarget { url, listens })
}

/// Whether what listens there belongs to this user, or to root: any other local user could take the port while the issuer is away.
fn is_believed(address: SocketAddr) -> Result<(), String> {
    let listener = sockets::listener(address).map_err(|error| error.to_string())?;
    let Some(listener) = listener else {
        return Err(format!("nobody listens at {address}"));
    };
    let user = listener.user;
    if [0, rustix::process::geteuid().as_raw()].contains(&user) {
        return Ok(());
    }
    Err(format!(
        "a program of user {user} listens at {address}, who is neither root nor this user"
    ))
}

/// The keys in a file.
fn from_file(file: &Path) -> Result<IssuerKeySet, String> {
    let shown = file.display();
    let failed = |why: String| format!("keys: {shown}: {why}");
    let about = std::fs::metadata(file).map_err(|error| failed(error.to_string()))?;
    if !about.is_file() || about.len() > ANSWER_BYTES_MAX as u64 {
        return Err(failed("it is no file of a set of keys".to_owned()));
    }
    let text = std::fs::read(file).map_err(|error| failed(error.to_string()))?;
    IssuerKeySet::read(&text).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufRead as _;
    use std::os::unix::process::CommandExt as _;
    use tokio::net::TcpListener;

    /// A user who owns nothing.
    const NOBODY: u32 = 65_534;

    /// Somebody whose keys are known waits for nobody, and whoever hangs up does not have the issuer asked again.
    #[tokio::test]
    async fn whoever_shows_an_unknown_key_has_the_issuer_asked_once_and_waits_alone() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("issuer.toml");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let rules = format!(
            "issuer = \"{url}\"\naudience = \"a\"\nname = \"claims.sub\"\nrole = \"'viewer'\"\n"
        );
        std::fs::write(&file, rules).expect("written");
        let issuer = Issuer::read(&file).expect("rules");
        let issuer = Arc::new(TokenIssuer::new(issuer).expect("an issuer"));
        let none = IssuerKeySet::read(br#"{"keys": []}"#).expect("a set");
        issuer.known.lock().keys = Some(Arc::new(none));
        // {"alg":"ES256","kid":"1"}, and {"alg":"HS256"}, which no key is asked for.
        let unknown = "eyJhbGciOiJFUzI1NiIsImtpZCI6IjEifQ.e30.c2ln";
        let hopeless = "eyJhbGciOiJIUzI1NiJ9.e30.c2ln";
        let asks = |issuer: &Arc<TokenIssuer>| {
            let issuer = Arc::clone(issuer);
            tokio::spawn(async move { issuer.check(unknown).await.err().map(|why| why.kind) })
        };
        let waiting = asks(&issuer);
        let (asked, _) = listener.accept().await.expect("asked");
        for _ in 0..5 {
            let hangs_up = asks(&issuer);
            tokio::task::yield_now().await;
            hangs_up.abort();
        }
        let refused = issuer.check(hopeless).await.err().map(|why| why.kind);
        assert_eq!(refused, Some(Kind::UNAUTHORIZED));
        assert!(!waiting.is_finished(), "it waits for the issuer");
        // The issuer answers nothing that is of use, and is asked no more.
        drop(asked);
        assert_eq!(waiting.await.expect("runs"), Some(Kind::UNAUTHORIZED));
        assert_eq!(asks(&issuer).await.expect("runs"), Some(Kind::UNAUTHORIZED));
        let again = std::pin::pin!(listener.accept());
        let polled = futures_poll(again).await;
        assert!(polled.is_none(), "it was asked again");
    }

    /// Any local user could take the port of an issuer on this host while it is away, and name admins.
    #[test]
    fn an_issuer_on_this_host_is_root_or_the_servers_user() {
        if !rustix::process::geteuid().is_root() {
            println!("SKIPPED: an_issuer_on_this_host_is_root_or_the_servers_user: it takes root");
            return;
        }
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let own = listener.local_addr().expect("an address");
        assert_eq!(is_believed(own), Ok(()));
        let program = "import socket\ns = socket.socket()\ns.bind(('127.0.0.1', 0))\ns.listen()\nprint(s.getsockname()[1], flush=True)\ninput()\n";
        let mut other = std::process::Command::new("python3")
            .args(["-c", program])
            .uid(NOBODY)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("python runs");
        let mut port = String::new();
        let said = other.stdout.take().expect("a pipe");
        std::io::BufReader::new(said)
            .read_line(&mut port)
            .expect("a port");
        let port: u16 = port.trim().parse().expect("a port");
        let refused = is_believed(SocketAddr::from(([127, 0, 0, 1], port)));
        other.kill().expect("it can be ended");
        other.wait().expect("it ends");
        let refused = refused.expect_err("another user's");
        assert!(refused.contains(&format!("user {NOBODY}")), "{refused}");
    }

    /// What is there at once.
    async fn futures_poll<F: Future>(future: std::pin::Pin<&mut F>) -> Option<F::Output> {
        tokio::select! {
            biased;
            done = future => Some(done),
            () = std::future::ready(()) => None,
        }
    }

    #[test]
    fn an_issuer_is_asked_over_tls_or_on_this_host() {
        for (url, listens) in [
            ("https://login.example.org/ops", None),
            ("http://127.0.0.1:8080/x", Some("127.0.0.1:8080")),
            ("http://localhost/x", Some("127.0.0.1:80")),
            ("http://[::1]:81", Some("[::1]:81")),
        ] {
            let target = asked_at(url).expect(url);
            let listens = listens.map(|address| address.parse().expect("an address"));
            assert_eq!(target.listens, listens, "{url}");
        }
        for url in [
            "",
            "https://",
            "ftp://a",
            "http://login.example.org",
            "http://127.0.0.1.evil.example/x",
            "http://localhost.evil.example",
            "http://127.0.0.1:80@127.0.0.2:20002",
            "https://user@login.example.org",
        ] {
            assert!(asked_at(url).is_err(), "{url}");
        }
    }
}
